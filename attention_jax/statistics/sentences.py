"""Stage: test losses and errors by sentence and seed of a text run ↔ a file, so that a bootstrap can draw sentences as it draws seeds.

    sentences.gz    gzip of a line of JSON, {"format", "seeds", "sentences"}, and of the arrays of `Sentences`, little-endian

Format 1 has no errors, format 2 says by "edits" whether there is an error rate.

Equal content gives equal bytes. Measured on losses that scatter as a model's do: 1,000 sentences of 8 seeds are 32 kB, the 2,083 that
1,000 captions make when 1 to 4 are joined 67 kB, 10,000 of 8 seeds 311 kB.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import packed
from attention_jax.system.errors import DataError
from attention_jax.types.signatures import Array

FILE = "sentences.gz"
FORMAT = 2
ROUNDING = 1e-5  # nats per token; a loss may be so far below 0


class Sentences(NamedTuple):
    """Losses of test sentences in the order of the corpus. A sentence is one caption, or several consecutive ones joined."""

    seeds: tuple[int, ...]
    nll_RxN: np.ndarray  # float32: teacher-forced nats, summed over target tokens, EOS included
    tokens_N: np.ndarray  # int32, as all that follow: target tokens, EOS included
    length_N: np.ndarray  # of the raw source
    first_N: np.ndarray  # number of the first caption in the test split
    joined_N: np.ndarray  # how many captions
    exact_RxN: np.ndarray | None = None  # 1 where the output of free running is right; None of runs of older versions
    edits_RxN: np.ndarray | None = None  # its edit distance to the nearest reference; None where targets are in subwords
    symbols_N: np.ndarray | None = None  # symbols of the first reference, by which edits are divided


def write(path: str | Path, sentences: Sentences) -> None:
    """Writes the file, replacing it whole. Raises `DataError` for invalid sentences, and writes nothing."""
    if wrong := _wrong(sentences):
        raise DataError(f"{path}: {wrong}")
    header: dict = {"format": 1, "seeds": [int(seed) for seed in sentences.seeds], "sentences": len(sentences.tokens_N)}
    if sentences.exact_RxN is not None:
        header |= {"format": FORMAT, "edits": sentences.edits_RxN is not None}
    nll_RxN, *counts = (values for values in sentences[1:] if values is not None)
    arrays = [np.ascontiguousarray(nll_RxN, "<f4").tobytes(), *(np.ascontiguousarray(values, "<i4").tobytes() for values in counts)]
    content = b"".join([json.dumps(header).encode(), b"\n", *arrays])
    packed.write(path, content)


def read(path: str | Path) -> Sentences:
    """Reads the sentences of a file. Raises `DataError` where it is missing, damaged or another program's."""
    return packed.read(path, _parse, "sentences")


def _parse(content: bytes) -> Sentences:
    line, _, arrays = content.partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict) or set(header) - {"edits"} != {"format", "seeds", "sentences"}:
        raise ValueError("its first line is not that of such a file")
    number, seeds, N = header["format"], header["seeds"], header["sentences"]
    if not isinstance(seeds, list) or not all(type(each) is int and each >= 0 for each in (number, *seeds, N)):
        raise ValueError("its format, its seeds, or how many sentences it has, are no whole numbers")
    if number not in (1, FORMAT):
        raise ValueError(f"its format is {number}, and this version reads 1 and {FORMAT}")
    if type(header.get("edits")) is not (bool if number == FORMAT else type(None)):
        raise ValueError("its first line does not say whether it has edits, as its format should")
    R = len(seeds)
    shapes = [(R, N), *[(N,)] * 4, *[(R, N)] * (number == FORMAT), *[(R, N), (N,)] * bool(header.get("edits"))]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if len(arrays) != 4 * sum(sizes):
        raise ValueError(f"{R} seeds and {N} sentences are {4 * sum(sizes)} bytes, and it has {len(arrays)}")
    starts = 4 * np.cumsum([0, *sizes])
    parts = [np.frombuffer(arrays, "<i4", size, start) for size, start in zip(sizes, starts, strict=False)]
    nll_RxN, *counts = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    found = Sentences(tuple(seeds), nll_RxN.view("<f4").astype(np.float32), *(values.astype(np.int32) for values in counts))
    if wrong := _wrong(found):
        raise ValueError(wrong)
    return found


def _wrong(sentences: Sentences) -> str:
    """Returns what is invalid, as text; empty where nothing is."""
    seeds, nll_RxN, tokens_N, length_N, first_N, joined_N, *errors = sentences
    N = len(tokens_N)
    if not seeds or len(set(seeds)) < len(seeds) or not N:
        return f"sentences need different seeds, and {len(seeds)} seeds and {N} sentences are there"
    if nll_RxN.shape != (len(seeds), N) or any(values_N.shape != (N,) for values_N in sentences[2:6]):
        return f"nll of {len(seeds)} seeds and {N} sentences, and four numbers of each sentence, are not of these sizes"
    if not (np.isfinite(nll_RxN).all() and (nll_RxN >= -ROUNDING * np.asarray(tokens_N)[None]).all()):
        return "nll is not finite, or negative"
    if not ((tokens_N > 0).all() and (length_N >= 0).all() and (first_N >= 0).all() and (joined_N > 0).all()):
        return "tokens and joined are 1 or more, length and first 0 or more"
    return _wrong_errors(nll_RxN.shape, *errors)


def _wrong_errors(shape: tuple[int, ...], exact_RxN: Array | None, edits_RxN: Array | None, symbols_N: Array | None) -> str:
    """Returns what is invalid in the errors, as text."""
    there = tuple(values is not None for values in (exact_RxN, edits_RxN, symbols_N))
    if there not in ((False, False, False), (True, False, False), (True, True, True)):
        return "some of exact, edits and symbols are missing"
    for values, expected in ((exact_RxN, shape), (edits_RxN, shape), (symbols_N, shape[1:])):
        if values is not None and (values.shape != expected or (np.asarray(values) < 0).any()):
            return "exact, edits or symbols are not of each seed and sentence, or negative"
    return ""
