"""Config → `Pairs` of each split: reads the build of a corpus, joins consecutive pairs, caps the length of training sources."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, TextConfig, check, choose, validate
from attention_jax.data.corpora import TABLE, kept_links, links, words
from attention_jax.data.corpora.links import Link, Links
from attention_jax.system.errors import ConfigError


class Pairs(NamedTuple):
    """The examples of one split; `length_N` are the lengths in rows and axes: words or characters of the raw source, by `text.lengths`.

    Example i is the pairs first_N[i] to first_N[i] + joined_N[i] − 1 of the split, joined. `links`, per example, are those of
    text.alignment_file between its words, or of text.aligner; None: there are none. `gold`, per example, are those that were made by hand.
    `references` are all targets that are right, the one of `targets` first, or what is behind `text.given` in it; None: there is no other.
    """

    sources: list[str]
    targets: list[str]
    length_N: np.ndarray
    first_N: np.ndarray
    joined_N: np.ndarray
    links: list[list[Link]] | None = None
    references: list[list[str]] | None = None
    gold: list[Links] | None = None

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
    if config.text.swapped and builder.REFERENCES:
        raise ConfigError(f"text.swapped=True is impossible: sources of {name} have several references, and targets would have one each")
    if config.text.swapped:
        rows = {split: [swapped(row, split) for row in of_split] for split, of_split in rows.items()}
    others = builder.COLUMNS.index(builder.REFERENCES) if builder.REFERENCES else None
    splits = {split: join(of_split, config.text, split, others) for split, of_split in rows.items()}
    splits |= {"train": aligned(cap(splits["train"], config.text.max_words), config.text, cache_dir)}
    return Corpus(splits, builder.names(), rows, lambda split, number: builder.place(split, number, rows[split][number]))


def swapped(row: tuple[str, ...], split: str) -> tuple[str, ...]:
    """Exchanges source and target of a row, and the sides of its links."""
    source, target, *rest = row
    if rest and rest[0]:
        rest[0] = links.spelled(Links(*(frozenset((j, i) for i, j in side) for side in links.parse(rest[0], split))))
    return target, source, *rest


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
    pairs = Pairs(sources, targets, length_N, first_N, joined_N)
    if (references := _references(rows, text, others)) is not None:
        return pairs._replace(references=references)
    return _with_links(pairs, groups, text, split)


def _with_links(pairs: Pairs, groups: list[list[tuple[str, ...]]], text: TextConfig, split: str) -> Pairs:
    """Adds the links that the rows of each group have: hand-made ones of a test split, those of text.alignment_file of others."""
    of_hand = split not in ("train", "validation") and (text.test_links or not text.alignment_file)
    if not (of_hand and any(row[2] for group in groups for row in group if len(row) > 2)):
        return pairs._replace(links=_linked(groups, "sure", split)) if text.alignment_file else pairs
    sides = (map(frozenset, _linked(groups, side, split)) for side in Links._fields)
    return pairs._replace(gold=[Links(*of_example) for of_example in zip(*sides, strict=True)])


def _linked(groups: list[list[tuple[str, ...]]], which: str, split: str) -> list[list[Link]]:
    """Returns the sure or the possible links of each group of joined pairs."""
    linked = [[(source, target, getattr(links.parse(line, split), which)) for source, target, line, *_ in group] for group in groups]
    return [links.joined(group) for group in linked]


def aligned(pairs: Pairs, text: TextConfig, cache_dir: Path) -> Pairs:
    """Adds the links of `text.aligner` to training pairs, where there is one; those of equal pairs are kept in `cache_dir`."""
    if text.aligner == "none":
        return pairs
    return pairs._replace(links=kept_links.of(text.aligner, (pairs.sources, pairs.targets), None, cache_dir))


def _references(rows: list[tuple[str, ...]], text: TextConfig, others: int | None) -> list[list[str]] | None:
    """Returns all that is right of each target, which is not joined; None where the target is all there is."""
    if others is not None:
        return [[row[1], *filter(None, row[others].split("\t"))] for row in rows]
    return [[words.behind(row[1], text.given)] for row in rows] if text.given else None


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
