"""What a corpus holds, before anything is trained on it: counts, lengths, vocabularies, duplicates, what is too long, examples.

Everything is counted as training would read it: the same splits, joined pairs, vocabularies and padded sizes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, validate
from attention_jax.data.corpora import buckets, faults, own_files, pairs, vocabularies
from attention_jax.data.corpora.buckets import Encoded
from attention_jax.data.corpora.faults import Scan
from attention_jax.data.corpora.pairs import Corpus
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.system import files
from attention_jax.types import UNK

EXAMPLES = 10
QUANTILES = (50, 90, 99, 100)


class Side(NamedTuple):
    """Sources or targets of a split: lengths in tokens, EOS included, at `QUANTILES`, and the share of tokens that are unknown."""

    lengths: tuple[int, ...]
    unknown: float


class Part(NamedTuple):
    """A split. `left_out` are examples that no bucket holds, in training, or that are cut, in evaluation: where each comes from."""

    name: str
    pairs: int  # of its files
    examples: int  # of them, joined and capped
    source: Side
    target: Side
    left_out: list[str]
    repeated: list[str]  # pairs whose source line is in training, too: "place = place in training", and whether the target is the same


class Inspection(NamedTuple):
    """What a corpus holds, in order of splits, and `EXAMPLES` of training as the model sees them: (place, source, target)."""

    parts: list[Part]
    vocabularies: Vocabularies
    examples: list[tuple[str, str, str]]


def scans(config: Config, data_dir: Path | None) -> list[Scan]:
    """Scans every file of the user's own text; [] for other corpora, whose files are verified. Raises `DataError` for a missing one."""
    if validate(config).data.task != "parallel_text":
        return []
    sides, _ = own_files.found(config.text, data_dir)
    return [scan for side in sides.values() for scan in faults.scanned(side)]


def inspect(config: Config, data_dir: Path | None, cache_dir: Path | None) -> Inspection:
    """Reads a corpus, learns its vocabularies and counts. Raises `DataError` and `ConfigError` as training would."""
    cache = cache_dir or files.CACHE
    corpus = pairs.opened(config, data_dir, cache)
    train = corpus.splits["train"]
    vocabulary = vocabularies.learn(train.sources, train.targets, config.text, cache)
    encoded = {split: buckets.encode(of_split, vocabulary, config.text.buckets) for split, of_split in corpus.splits.items()}
    parts = [_part(config, corpus, split, encoded[split]) for split in corpus.splits]
    return Inspection(parts, vocabulary, _examples(corpus, vocabulary))


def _part(config: Config, corpus: Corpus, split: str, encoded: Encoded) -> Part:
    most = config.text.buckets[-1] if split == "train" else config.text.cut
    long = np.flatnonzero(np.maximum(encoded.source_length_N, encoded.target_length_N) > most)
    return Part(
        corpus.tests.get(split, split),
        len(corpus.rows[split]),
        len(encoded.length_N),
        _side(encoded.source_ids, encoded.source_length_N),
        _side(encoded.target_ids, encoded.target_length_N),
        [_place(corpus, split, int(i)) for i in long],
        _repeated(corpus, split),
    )


def _side(ids: np.ndarray, length_N: np.ndarray) -> Side:
    quantiles = np.percentile(length_N, QUANTILES, method="inverted_cdf")
    return Side(tuple(map(int, quantiles)), float((ids == UNK).sum() / (len(ids) - len(length_N))))


def _place(corpus: Corpus, split: str, example: int) -> str:
    """Says where the first pair of an example comes from, and how many are joined."""
    first, joined = int(corpus.splits[split].first_N[example]), int(corpus.splits[split].joined_N[example])
    return corpus.place(split, first) + (f" and {joined - 1} behind" if joined > 1 else "")


def _repeated(corpus: Corpus, split: str) -> list[str]:
    if split == "train":
        return []
    there = {row[0]: number for number, row in reversed(list(enumerate(corpus.rows["train"])))}
    same = {row[:2] for row in corpus.rows["train"]}
    return [
        f"{corpus.place(split, number)} = {corpus.place('train', there[row[0]])}{', with its target' * (row[:2] in same)}"
        for number, row in enumerate(corpus.rows[split])
        if row[0] in there
    ]


def _examples(corpus: Corpus, vocabulary: Vocabularies) -> list[tuple[str, str, str]]:
    """The first examples of training, as tokens between spaces."""

    def seen(text: str, side: int) -> str:
        return " ".join(vocabulary[side].pieces(vocabulary[side].encode(text)))

    train = corpus.splits["train"]
    chosen: Sequence[int] = range(min(EXAMPLES, len(train.sources)))
    return [(_place(corpus, "train", i), seen(train.sources[i], 0), seen(train.targets[i], 1)) for i in chosen]
