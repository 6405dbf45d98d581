"""What is kept of test sentences comes back as it was, or not at all."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import packed, sentences
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import truths
from attention_jax.system.errors import DataError

ERRORS = (0, 1, 3)
"""How many of exact, edits and symbols a run has: of older versions, of subwords, of symbols."""


def made(R: int, N: int, seed: int = 0, errors: int = 0) -> Sentences:
    """Of R seeds and N sentences."""
    random = np.random.default_rng(seed)
    integers = (random.integers(1, 1000, N, np.int32) for _ in range(4))
    found = Sentences(tuple(range(3, 3 + R)), random.exponential(50, (R, N)).astype(np.float32), *integers)
    counts = (random.integers(0, 2, (R, N), np.int32), random.integers(0, 9, (R, N), np.int32), random.integers(1, 9, N, np.int32))
    return found._replace(**dict(zip(("exact_RxN", "edits_RxN", "symbols_N"), counts[:errors], strict=False)))


def same(a: Sentences, b: Sentences) -> bool:
    """Whether both are, to the last bit, and of the same types."""
    pairs = [(x, y) for x, y in zip(a[1:], b[1:], strict=True) if not (x is None and y is None)]
    return a.seeds == b.seeds and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 99), st.sampled_from(ERRORS))
def test_what_is_written_is_read_and_equal_content_gives_equal_bytes(tmp_path_factory, R, N, seed, errors):
    first, second = (tmp_path_factory.mktemp("run") / sentences.FILE for _ in range(2))
    for file in (first, second):
        sentences.write(file, made(R, N, seed, errors))
    assert same(sentences.read(first), made(R, N, seed, errors)) and first.read_bytes() == second.read_bytes()
    assert json.loads(gzip.decompress(first.read_bytes()).partition(b"\n")[0])["format"] == (2 if errors else 1)


@pytest.mark.parametrize(("captions", "seeds", "kilobytes"), [(1000, 8, 67), (1000, 16, 128)])
def test_sizes_are_about_those_that_are_stated(tmp_path, captions, seeds, kilobytes):
    random = np.random.default_rng(1)
    (found,) = truths.sentences(truths.corpus(captions, random), [lambda words: 2.6 + 0 * words], tuple(range(seeds)), random)
    sentences.write(tmp_path / sentences.FILE, found)
    assert found.nll_RxN.shape == (seeds, 2083)
    assert (tmp_path / sentences.FILE).stat().st_size / 1000 == pytest.approx(kilobytes, rel=0.05)


@pytest.mark.parametrize("errors", ERRORS)
def test_every_torn_file_and_every_changed_byte_is_refused_or_changes_nothing(tmp_path, errors):
    path, content = tmp_path / sentences.FILE, made(2, 3, errors=errors)
    sentences.write(path, content)
    whole, unchanged = path.read_bytes(), []
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"is damaged, or no file of sentences: .*; remove it, or its directory$"):
            sentences.read(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            assert same(sentences.read(path), content)
            unchanged.append(place)
        except DataError:
            pass
    header = set(range(3, 10))  # of gzip: the time and the system, which say nothing of the content
    assert set(unchanged) <= header | {len(whole) - 9}  # and the bits that fill up the last byte before the checksum
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="it does not end where it should"):
        sentences.read(path)


HEADER = {"format": 1, "seeds": [3, 4], "sentences": 3}


@pytest.mark.parametrize(
    ("header", "arrays", "why"),
    [
        (HEADER | {"format": 3}, 72, "its format is 3, and this version reads 1 and 2"),
        (HEADER | {"format": 2}, 72, "its first line does not say"),
        (HEADER | {"edits": True}, 72, "its first line does not say"),
        (HEADER | {"format": 2, "edits": True}, 72, "2 seeds and 3 sentences are 132 bytes, and it has 72"),
        (HEADER | {"format": True}, 72, "are no whole numbers"),
        ({"format": 1, "seeds": [3]}, 72, "its first line is not that of such a file"),
        ([], 72, "its first line is not that of such a file"),
        (HEADER | {"seeds": 2}, 72, "are no whole numbers"),
        (HEADER | {"seeds": [3, True]}, 72, "are no whole numbers"),
        (HEADER | {"sentences": -3}, 72, "are no whole numbers"),
        (HEADER | {"sentences": 10**9}, 72, "2 seeds and 1000000000 sentences are 24000000000 bytes, and it has 72"),
        (HEADER | {"seeds": [3, 3]}, 72, "sentences need different seeds"),
        (HEADER | {"seeds": [], "sentences": 0}, 0, "sentences need different seeds"),
        (HEADER, 72, "tokens and joined are 1 or more"),
    ],
)
def test_files_of_others_are_refused_in_one_line(tmp_path, header, arrays, why):
    path = tmp_path / sentences.FILE
    path.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + bytes(arrays)))
    with pytest.raises(DataError, match=why):
        sentences.read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"rows", *(gzip.compress(content, mtime=0) for content in (b"", b"[" * 100_000 + b"\n", b"\xff\n"))],
    ids="empty text nothing deep bytes".split(),  # gzip's own bytes hold the time of day, and two workers would collect two tests
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / sentences.FILE
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged, or no file of sentences"):
        sentences.read(path)
    with pytest.raises(DataError, match=r"cannot read sentences from .*; run the experiment first"):
        sentences.read(tmp_path / "none")


def test_a_small_file_does_not_become_a_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "LARGEST", 1000)
    (tmp_path / sentences.FILE).write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(DataError, match="it does not end where it should"):
        sentences.read(tmp_path / sentences.FILE)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("nll_RxN", np.full((2, 3), np.nan, np.float32), "nll is not finite, or negative"),
        ("nll_RxN", np.full((2, 3), -1.0, np.float32), "nll is not finite, or negative"),
        ("nll_RxN", np.ones((2, 4), np.float32), "are not of these sizes"),
        ("length_N", np.ones(4, np.int32), "are not of these sizes"),
        ("tokens_N", np.zeros(3, np.int32), "tokens and joined are 1 or more"),
        ("seeds", (3, 3), "sentences need different seeds"),
    ],
)
def test_what_cannot_be_is_not_written(tmp_path, field, value, why):
    with pytest.raises(DataError, match=why):
        sentences.write(tmp_path / sentences.FILE, made(2, 3)._replace(**{field: value}))
    assert not list(tmp_path.iterdir())
