from collections import Counter
from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora import buckets as stage
from attention_jax.data.corpora import subwords
from attention_jax.data.corpora.pairs import Pairs
from attention_jax.data.corpora.vocabularies import shared
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import BOS, EOS, FIRST_SYMBOL, PAD, Batch

SIZES = (4, 8, 12)
SEEDS = (0, 1, 7)


class Letters(NamedTuple):
    """A vocabulary simple enough to be read off: one id a letter, spaces dropped."""

    def encode(self, text: str) -> list[int]:
        return [4 + ord(letter) - ord("a") for letter in text.replace(" ", "")]


def unjoined(N: int) -> tuple[np.ndarray, np.ndarray]:
    """`first_N` and `joined_N` of examples that are one pair each."""
    return np.arange(N, dtype=np.int32), np.ones(N, np.int32)


def make(lengths: list[tuple[int, int]]) -> tuple[Pairs, stage.Encoded]:
    sources = [" ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] * source) for i, (source, _) in enumerate(lengths)]
    targets = ["zyxwvutsrqponmlkjihgfedcba"[i % 26] * target for i, (_, target) in enumerate(lengths)]
    pairs = Pairs(sources, targets, np.array([len(source.split()) for source in sources], np.int32), *unjoined(len(sources)))
    return pairs, stage.encode(pairs, shared(Letters()), SIZES)


RANDOM = np.random.default_rng(0)
LENGTHS = [(int(a), int(b)) for a, b in RANDOM.integers(1, 12, (57, 2))] + [(12, 3), (3, 30), (1, 1)]
PAIRS, ENCODED = make(LENGTHS)


def rows(batch: Batch):
    """Each row of a batch without R axis, as (source text, target text) read back letter by letter, after checking its padding."""
    for source, source_mask, target, target_mask, words in zip(
        batch.source_BxS, batch.source_mask_BxS, batch.target_BxT, batch.target_mask_BxT, batch.length_B, strict=True
    ):
        texts = []
        for ids, mask in ((source, source_mask), (target, target_mask)):
            length = int(mask.sum())
            assert mask.tolist() == [True] * length + [False] * (len(mask) - length)
            assert (ids[length:] == PAD).all() and ids[length - 1] == EOS and BOS not in ids
            texts.append("".join(chr(token - 4 + ord("a")) for token in ids[: length - 1]))
        assert words == len(texts[0])  # one word a letter, by construction
        yield texts[0], texts[1]


def replica(batch: Batch, r: int) -> Batch:
    return jax.tree.map(lambda x: x[r], batch)


def expected(i: int) -> tuple[str, str]:
    return PAIRS.sources[i].replace(" ", ""), PAIRS.targets[i]


FITTING = [i for i, (source, target) in enumerate(LENGTHS) if max(source, target) + 1 <= SIZES[-1]]


def test_an_epoch_holds_every_fitting_example_for_every_seed_at_the_smallest_size():
    steps = stage.batches_per_epoch(ENCODED, 5)
    assert stage.dropped(ENCODED) == len(LENGTHS) - len(FITTING) == 2
    for epoch in (0, 2):
        seen = [Counter() for _ in SEEDS]
        for step in range(epoch * steps, (epoch + 1) * steps):
            batch = stage.train_batch(ENCODED, SIZES, 5, SEEDS, step)
            size = batch.source_BxS.shape[-1]
            for r in range(len(SEEDS)):
                texts = list(rows(replica(batch, r)))
                seen[r].update(texts)
                for source, target in texts:
                    assert size == min(s for s in SIZES if s >= max(len(source), len(target)) + 1)
        for counter in seen:
            assert set(counter) == {expected(i) for i in FITTING}
            assert sum(counter.values()) == 5 * steps < len(FITTING) + 5 * len(SIZES)


def test_shapes_and_types():
    batch = stage.train_batch(ENCODED, SIZES, 5, SEEDS, 0)
    size = batch.source_BxS.shape[-1]
    for name in ("source_BxS", "target_BxT", "gold_BxT"):
        assert getattr(batch, name).shape == (3, 5, size) and getattr(batch, name).dtype == np.int32
    assert batch.source_mask_BxS.dtype == batch.target_mask_BxT.dtype == bool
    assert (batch.gold_BxT == -1).all()
    assert batch.example_B.tolist() == [[0, 1, 2, 3, 4]] * 3 and batch.length_B.dtype == np.int32


def test_a_batch_is_a_function_of_seed_and_step():
    for step in (0, 3, 40):
        together = stage.train_batch(ENCODED, SIZES, 5, SEEDS, step)
        stage._permutation.cache_clear()
        for r, seed in enumerate(SEEDS):
            alone = stage.train_batch(ENCODED, SIZES, 5, (seed,), step)
            jax.tree.map(np.testing.assert_array_equal, replica(alone, 0), replica(together, r))


def test_seeds_and_epochs_differ_in_order():
    steps = stage.batches_per_epoch(ENCODED, 5)
    sources = [stage.train_batch(ENCODED, SIZES, 5, SEEDS, step).source_BxS for step in range(2 * steps)]
    assert any((batch[0] != batch[1]).any() for batch in sources[:steps])
    first, second = ([batch.shape for batch in part] for part in (sources[:steps], sources[steps:]))
    assert sorted(first) == sorted(second) and first != second


def test_a_bucket_smaller_than_a_batch_repeats_its_examples():
    _, encoded = make([(1, 1), (2, 2)])
    assert stage.batches_per_epoch(encoded, 5) == 1
    assert set(Counter(rows(replica(stage.train_batch(encoded, SIZES, 5, (0,), 9), 0))).values()) == {2, 3}


def test_no_fitting_example():
    _, encoded = make([(12, 1), (1, 13)])
    with pytest.raises(ConfigError, match=r"text\.buckets: no training example fits .* the shortest example has 13 tokens"):
        stage.train_batch(encoded, SIZES, 5, (0,), 0)


@given(st.integers(2, 40), st.integers(1, 9))
def test_evaluation_covers_every_example_once_and_cuts_only_what_is_too_long(cut, batch_size):
    found, shapes = [], set()
    for batch, index_B in stage.eval_batches(ENCODED, SIZES, batch_size, cut):
        assert batch.source_BxS.shape == batch.target_BxT.shape and batch.source_BxS.shape[0] == batch_size == len(index_B)
        shapes.add(batch.source_BxS.shape[1])
        real = index_B >= 0
        for name in ("source_BxS", "source_mask_BxS", "target_BxT", "target_mask_BxT", "length_B"):
            assert not getattr(batch, name)[~real].any()
        np.testing.assert_array_equal(batch.length_B[real], PAIRS.length_N[index_B[real]])
        for row, i in enumerate(index_B):
            if i < 0:
                continue
            found.append(int(i))
            for text, ids, mask in zip(
                expected(i),
                (batch.source_BxS[row], batch.target_BxT[row]),
                (batch.source_mask_BxS[row], batch.target_mask_BxT[row]),
                strict=True,
            ):
                kept = [4 + ord(letter) - ord("a") for letter in text][: cut - 1]
                assert ids[mask].tolist() == [*kept, EOS] and mask[: len(kept) + 1].all()
    assert sorted(found) == list(range(len(LENGTHS)))
    assert len(shapes) <= len(SIZES) + 1 and max(shapes) <= cut
    assert stage.truncated(ENCODED, cut) == sum(max(lengths) + 1 > cut for lengths in LENGTHS)


class Halves(NamedTuple):
    """Every letter is a subword; those that begin a word carry ▁."""

    def encode(self, text: str) -> list[int]:
        return [4 + ord(letter) - ord("a") + 26 * (i == 0) for word in text.split() for i, letter in enumerate(word)]

    def spelled(self, text: str) -> list[str]:
        return [" " * (i == 0) + letter for word in text.split() for i, letter in enumerate(word)]


LINKED = Pairs(
    ["ab c def", "xyz"],
    ["uv w", "q rs t"],
    np.array([3, 1], np.int32),
    *unjoined(2),
    [[(2, 0), (0, 1), (1, 1)], [(0, 1)]],
)
GOLD = {"ab c def": [3, 3, 0, 6], "xyz": [-1, 0, 0, -1, 3]}


def test_links_become_gold_positions():
    encoded = stage.encode(LINKED, shared(Halves()), SIZES)
    ((batch, index_B),) = stage.eval_batches(encoded, (8,), 3, 8)
    for row, i in enumerate(index_B):
        wanted = GOLD[LINKED.sources[i]] if i >= 0 else []
        assert batch.gold_BxT[row].tolist() == wanted + [-1] * (8 - len(wanted))
        assert all(batch.source_BxS[row, s] >= 30 for s in wanted[:-1] if s >= 0)  # the first subword of a word
        assert not wanted or batch.source_BxS[row, wanted[-1]] == EOS == batch.target_BxT[row, len(wanted) - 1]
    together = stage.train_batch(encoded, SIZES, 2, SEEDS, 0)
    assert together.gold_BxT.shape == together.target_BxT.shape and together.gold_BxT.dtype == np.int32
    for r in range(len(SEEDS)):
        found = {tuple(row[row >= 0].tolist()) for row in together.gold_BxT[r]}
        assert found <= {tuple(s for s in gold if s >= 0) for gold in GOLD.values()}


def test_gold_that_is_cut_off_is_none_and_eos_keeps_its_own():
    encoded = stage.encode(LINKED, shared(Halves()), SIZES)
    ((batch, index_B),) = stage.eval_batches(encoded, (4,), 2, 4)
    rows = {LINKED.sources[i]: batch.gold_BxT[row].tolist() for row, i in enumerate(index_B)}
    assert rows == {"ab c def": [-1, -1, 0, 3], "xyz": [-1, 0, 0, 3]}  # position 3 holds EOS now, and no word


def test_links_with_a_real_vocabulary():
    lines = ["der kleine Hund läuft", "ein Hund", "die Hunde laufen weit"] * 3
    vocabulary = subwords.from_bytes(subwords.train(lines, 40))
    pairs = Pairs(lines[:1], lines[2:3], np.array([4]), *unjoined(1), [[(2, 1)]])
    encoded = stage.encode(pairs, shared(vocabulary), (40,))
    ((batch, _),) = stage.eval_batches(encoded, (40,), 1, 40)
    source, target = (vocabulary.pieces(ids[0]) for ids in (batch.source_BxS, batch.target_BxT))
    of_word = [t for t, word in enumerate(np.cumsum([piece.startswith("▁") for piece in target]) - 1) if word == 1]
    wanted = sum(np.cumsum([piece.startswith("▁") for piece in source]) < 3)
    gold = batch.gold_BxT[0].tolist()
    assert of_word and all(gold[t] == wanted for t in of_word) and gold[len(target)] == len(source)
    assert sum(position >= 0 for position in gold) == len(of_word) + 1
    marked = stage.encode(pairs._replace(sources=["a▁b\xa0c"], targets=["▁ x"], links=[[(1, 1)]]), shared(vocabulary), (40,))
    source, target = (vocabulary.encode(text) for text in ("a▁b", "▁"))
    assert set(marked.gold[len(target) : -1].tolist()) == {len(source)}  # the first subword of c


class Unmarked:
    """Subwords that do not say where words begin."""

    def encode(self, text):
        return [FIRST_SYMBOL] * len(text)

    def spelled(self, text):
        return ["x" for _ in text]


def test_links_need_subwords_that_tell_where_words_begin():
    with pytest.raises(DataError, match=r"the tokens of 'ab c' do not tell: \['x', 'x', 'x', 'x'\]$"):
        stage.encode(Pairs(["ab c"], ["x"], np.array([2]), *unjoined(1), [[]]), shared(Unmarked()), (40,))


def test_a_blind_batch_differs_in_nothing_but_its_sources():
    pairs, encoded = make([(3, 2), (1, 4), (5, 5)])
    plain = stage.train_batch(encoded, SIZES, 2, SEEDS, 0)
    batch = stage.blinded(plain)
    assert (batch.source_BxS[..., 0] == EOS).all() and (batch.source_BxS[..., 1:] == PAD).all()
    assert batch.source_mask_BxS.tolist() == (np.arange(plain.source_BxS.shape[-1]) < np.ones((*plain.length_B.shape, 1))).tolist()
    assert (batch.gold_BxT == -1).all()
    for name in ("target_BxT", "target_mask_BxT", "length_B", "example_B"):
        assert np.array_equal(getattr(batch, name), getattr(plain, name))
    ((filled, index_B), *_) = stage.eval_batches(encoded, (8,), 4, 8)
    assert stage.blinded(filled).source_mask_BxS.sum(1).tolist() == (index_B >= 0).tolist()


PROMPTED = Pairs(["a b", "c"], ["x y : z", "w : z z"], np.array([2, 1], np.int32), *unjoined(2))


class Words(Letters):
    """The same, with a colon as a token of its own."""

    def encode(self, text: str) -> list[int]:
        return [30 if letter == ":" else 4 + ord(letter) - ord("a") for letter in text.replace(" ", "")]


def test_given_words_are_inputs_alone():
    encoded = stage.encode(PROMPTED, shared(Words()), (4, 8), ":")
    assert encoded.given_N is not None and encoded.given_N.tolist() == [3, 2]
    batches = [batch for batch, _ in stage.eval_batches(encoded, (4, 8), 2, 8)]
    assert [batch.target_BxT.shape[1] for batch in batches] == [8]
    assert batches[0].target_mask_BxT.tolist() == [[False] * 3 + [True] * 2 + [False] * 3, [False] * 2 + [True] * 3 + [False] * 3]
    plain = next(stage.eval_batches(stage.encode(PROMPTED, shared(Words()), (4, 8)), (4, 8), 2, 8))[0]
    assert (plain.target_BxT == batches[0].target_BxT).all() and plain.target_mask_BxT.sum() == 10


@pytest.mark.parametrize(("target", "message"), [("x y", "has no such word: 'x y'"), ("x :", "has nothing behind such word: 'x :'")])
def test_a_target_without_given_words_or_without_more_is_refused(target, message):
    with pytest.raises(DataError, match=rf"text\.given=:: a target {message}"):
        stage.encode(Pairs(["a"], [target], np.array([1]), *unjoined(1)), shared(Words()), (8,), ":")
