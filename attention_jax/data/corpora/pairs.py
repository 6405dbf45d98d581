"""Config → `Pairs` of each split: reads the build of a corpus, joins consecutive pairs, caps the length of training sources."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, TextConfig, check, choose, validate
from attention_jax.data.corpora import TABLE, links, words
from attention_jax.data.corpora.links import Link
from attention_jax.system.errors import ConfigError


class Pairs(NamedTuple):
    """The examples of one split; `length_N` are the lengths in rows and axes: words or characters of the raw source, by `text.lengths`.

    Example i is the pairs first_N[i] to first_N[i] + joined_N[i] − 1 of the split, joined. `links`, per example, are those of
    text.alignment_file between its words; None: there is no such file. `references` are all targets that are right, the one of
    `targets` first; None: there is no other.
    """

    sources: list[str]
    targets: list[str]
    length_N: np.ndarray
    first_N: np.ndarray
    joined_N: np.ndarray
    links: list[list[Link]] | None = None
    references: list[list[str]] | None = None

    @property
    def accepted(self) -> list[list[str]]:
        """The references of each example: one or several."""
        return self.references or [[target] for target in self.targets]


def load(config: Config, data_dir: Path | None, cache_dir: Path) -> dict[str, Pairs]:
    """Loads {"train", "validation", "test", …} of the corpus `config.data.task`, further test sets behind the first.

    It is built in `cache_dir` if it is not there. `data_dir` holds <corpus>/<file> or <file>; None downloads. Raises `DataError` for bad or
    missing data, `ConfigError` for languages the corpus does not have, for invalid settings and for those that leave a split without
    examples.
    """
    return opened(config, data_dir, cache_dir).splits


class Corpus(NamedTuple):
    """A corpus as it was built: its splits, the names of its test sets, and its pairs before they were joined and capped."""

    splits: dict[str, Pairs]
    tests: dict[str, str]  # {test split: its name}; the first one is that of verdicts
    rows: dict[str, list[tuple[str, ...]]]  # source and target first
    place: Callable[[str, int], str]  # (split, number of a row, from 0) → where it comes from


def opened(config: Config, data_dir: Path | None, cache_dir: Path) -> Corpus:
    """Opens a corpus; raises what `load` does."""
    validate(config)
    name = choose("data.task", config.data.task, TABLE)
    build_class = TABLE[name]()
    from attention_jax.data.corpora import builder as builders  # here, not above: TFDS is not for those who train on synthetic data

    builder = build_class.open(config.text, data_dir, cache_dir)
    builders.build(builder, data_dir, cache_dir)
    rows = {split: builders.read_split(builder, split) for split in builder.parts}
    others = builder.COLUMNS.index(builder.REFERENCES) if builder.REFERENCES else None
    splits = {split: join(of_split, config.text, split, others) for split, of_split in rows.items()}
    splits |= {"train": cap(splits["train"], config.text.max_words)}
    return Corpus(splits, builder.names(), rows, lambda split, number: builder.place(split, number, rows[split][number]))


def join(rows: list[tuple[str, ...]], text: TextConfig, split: str, others: int | None = None) -> Pairs:
    """Joins, for every k of join_min … join_max, all whole groups of k consecutive pairs by a space.

    Each k covers the split once, except for a last group of fewer than k; every split is joined in the same way. `others`: the column of
    further references, with tabs between, which cannot be joined. Raises `ConfigError` for invalid settings, and a k larger than the
    number of pairs.
    """
    check(text)
    if others is not None and text.join_max > 1:
        raise ConfigError(f"text.join_max={text.join_max} is impossible: sources of this corpus have several references; set 1")
    places = [(i, k) for k in range(text.join_min, text.join_max + 1) for i in range(0, len(rows) - k + 1, k)]
    if not places:
        raise ConfigError(f"text.join_min={text.join_min} is more than the {len(rows)} pairs of the {split} split")
    groups = [rows[i : i + k] for i, k in places]
    sources, targets = ([" ".join(row[column] for row in group) for group in groups] for column in (0, 1))
    length_N = np.array([words.length(source, text.lengths) for source in sources], np.int32)
    first_N, joined_N = np.array(places, np.int32).T
    if others is not None:
        return Pairs(sources, targets, length_N, first_N, joined_N, references=[_references(row, others) for row in rows])
    if not text.alignment_file:
        return Pairs(sources, targets, length_N, first_N, joined_N)
    return Pairs(sources, targets, length_N, first_N, joined_N, [_linked(group, split) for group in groups])


def _linked(group: list[tuple[str, ...]], split: str) -> list[Link]:
    return links.joined([(source, target, links.parse(line, split).sure) for source, target, line, *_ in group])


def _references(row: tuple[str, ...], others: int) -> list[str]:
    return [row[1], *filter(None, row[others].split("\t"))]


def cap(pairs: Pairs, max_words: int) -> Pairs:
    """Leaves out examples whose source is longer than `max_words`, in what `text.lengths` counts; 0 leaves out none."""
    if not max_words:
        return pairs
    kept = np.flatnonzero(pairs.length_N <= max_words)
    if not len(kept):
        raise ConfigError(f"text.max_words={max_words} leaves no training example: the shortest has {pairs.length_N.min()}")
    kept_links = None if pairs.links is None else [pairs.links[i] for i in kept]
    references = None if pairs.references is None else [pairs.references[i] for i in kept]
    sources, targets = ([texts[i] for i in kept] for texts in pairs[:2])
    return Pairs(sources, targets, pairs.length_N[kept], pairs.first_N[kept], pairs.joined_N[kept], kept_links, references)
