"""Stage: test losses by sentence and seed of a text run ↔ a file, so that a bootstrap can draw sentences as it draws seeds.

    sentences.gz    gzip of a line of JSON, {"format", "seeds", "sentences"}, and of the arrays of `Sentences`, little-endian

Equal content gives equal bytes. Measured on losses that scatter as a model's do: 1,000 sentences of 8 seeds are 32 kB, the 2,083 that
1,000 captions make when 1 to 4 are joined 67 kB, 10,000 of 8 seeds 311 kB.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import packed
from attention_jax.system.errors import DataError

FILE = "sentences.gz"
FORMAT = 1
KINDS = ("<f4", "<i4", "<i4", "<i4", "<i4")
ROUNDING = 1e-5  # nats per token; a loss may be so far below 0


class Sentences(NamedTuple):
    """Losses of test sentences in the order of the corpus. A sentence is one caption, or several consecutive ones joined."""

    seeds: tuple[int, ...]
    nll_RxN: np.ndarray  # float32: teacher-forced nats, summed over target tokens, EOS included
    tokens_N: np.ndarray  # int32, as all that follow: target tokens, EOS included
    words_N: np.ndarray  # of the raw source
    first_N: np.ndarray  # number of the first caption in the test split
    joined_N: np.ndarray  # how many captions


def write(path: str | Path, sentences: Sentences) -> None:
    """Writes the file, replacing it whole. Raises `DataError` for invalid sentences, and writes nothing."""
    if wrong := _wrong(sentences):
        raise DataError(f"{path}: {wrong}")
    header = {"format": FORMAT, "seeds": [int(seed) for seed in sentences.seeds], "sentences": len(sentences.tokens_N)}
    arrays = [np.ascontiguousarray(values, kind).tobytes() for values, kind in zip(sentences[1:], KINDS, strict=True)]
    content = b"".join([json.dumps(header).encode(), b"\n", *arrays])
    packed.write(path, content)


def read(path: str | Path) -> Sentences:
    """Reads the sentences of a file. Raises `DataError` where it is missing, damaged or another program's."""
    return packed.read(path, _parse, "sentences")


def _parse(content: bytes) -> Sentences:
    line, _, arrays = content.partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict) or set(header) != {"format", "seeds", "sentences"}:
        raise ValueError("its first line is not that of such a file")
    number, seeds, N = header["format"], header["seeds"], header["sentences"]
    if not isinstance(seeds, list) or not all(type(each) is int and each >= 0 for each in (number, *seeds, N)):
        raise ValueError("its format, its seeds, or how many sentences it has, are no whole numbers")
    if number != FORMAT:
        raise ValueError(f"its format is {number}, and this version reads {FORMAT}")
    R = len(seeds)
    if len(arrays) != 4 * N * (R + 4):
        raise ValueError(f"{R} seeds and {N} sentences are {4 * N * (R + 4)} bytes, and it has {len(arrays)}")
    nll_RxN = np.frombuffer(arrays, "<f4", R * N).reshape(R, N).astype(np.float32)
    integers_4xN = np.frombuffer(arrays, "<i4", 4 * N, 4 * R * N).reshape(4, N).astype(np.int32)
    found = Sentences(tuple(seeds), nll_RxN, *integers_4xN)
    if wrong := _wrong(found):
        raise ValueError(wrong)
    return found


def _wrong(sentences: Sentences) -> str:
    """Returns what is invalid, as text; empty where nothing is."""
    seeds, nll_RxN, tokens_N, words_N, first_N, joined_N = sentences
    N = len(tokens_N)
    if not seeds or len(set(seeds)) < len(seeds) or not N:
        return f"sentences need different seeds, and {len(seeds)} seeds and {N} sentences are there"
    if nll_RxN.shape != (len(seeds), N) or any(values_N.shape != (N,) for values_N in sentences[2:]):
        return f"nll of {len(seeds)} seeds and {N} sentences, and four numbers of each sentence, are not of these sizes"
    if not (np.isfinite(nll_RxN).all() and (nll_RxN >= -ROUNDING * np.asarray(tokens_N)[None]).all()):
        return "nll is not finite, or negative"
    if not ((tokens_N > 0).all() and (words_N >= 0).all() and (first_N >= 0).all() and (joined_N > 0).all()):
        return "tokens and joined are 1 or more, words and first 0 or more"
    return ""
