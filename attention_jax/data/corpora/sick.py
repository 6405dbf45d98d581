"""SICK: pairs of sentences and whether the first entails the second (Marelli et al. 2014), as SemEval 2014, task 1, published them.

The source is the premise; the target is the hypothesis, `=>`, and the label, for `text.given`: a decoder reads the hypothesis and says the
label. Sentences are in lower case; labels are not, so that none is a word.
"""

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, raw, words
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

ADDRESS = "https://alt.qcri.org/semeval2014/task1/data/uploads/"
MEMBERS = {"train": "SICK_train.txt", "validation": "SICK_trial.txt", "test": "SICK_test_annotated.txt"}
ARCHIVES = {"train": "sick_train.zip", "validation": "sick_trial.zip", "test": "sick_test_annotated.zip"}
WHOLE = "SICK.txt"  # all three, one behind the other, under one header
SIZES = {"train": 4500, "validation": 500, "test": 4927}
SHA256 = {
    "train": "f4d128aad59deb5f3d539a97fb8bf23ee111df99c904387b5025c69b7fc31b81",
    "validation": "5e24b7fb1639e20a9c39f34dd2868e0cd05abbddce749063224a822109b9038c",
    "test": "a7b22f10009c0094f213d7ad721152c5d0b63225c9e440fe1d754dbc61b0f21b",
}
"""Of the lines of pairs, without header and carriage returns, which are the same in one file and in three."""

HEADER = ("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
LABELS = ("NEUTRAL", "ENTAILMENT", "CONTRADICTION")
GIVEN = "=>"
"""Ends the hypothesis in a target, see `text.given`."""


class Sick(PairBuilder):
    """9,796 pairs: 4,378 training, 491 validation (of the trial data) and 4,927 test, as published.

    Left out of training and validation are pairs that a later split has, in either order, and those that occur twice in their own split.
    Splits share sentences all the same, since pairs were made of each other's: of 5,007 in test pairs 3,705 are in pairs of training, too.
    """

    HOMEPAGE = "https://alt.qcri.org/semeval2014/task1/"
    LICENSE = "CC BY-NC-SA 3.0: not for commercial use"
    CITATION = """@inproceedings{marelli2014sick, title={A {SICK} cure for the evaluation of compositional distributional semantic models},
        author={Marelli, Marco and Menini, Stefano and Baroni, Marco and Bentivogli, Luisa and Bernardi, Raffaella and Zamparelli, Roberto},
        booktitle={Proceedings of LREC}, pages={216--223}, year={2014}}"""
    RESTRICTED = True
    LANGUAGES = ("en-en",)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        return apart({split: [example(*pair) for pair in of_split] for split, of_split in _splits(place).items()})


def example(premise: str, hypothesis: str, label: str) -> tuple[str, str]:
    """Returns source and target of a pair."""
    return words.collapsed(premise).lower(), f"{words.collapsed(hypothesis).lower()} {GIVEN} {label}"


def apart(splits: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Leaves out of a split the pairs that a later one has, in either order, and those that came before; the last one stays as it is."""
    names = list(splits)
    kept, seen = {names[-1]: splits[names[-1]]}, {_unordered(*row) for row in splits[names[-1]]}
    for name in reversed(names[:-1]):
        kept[name] = []
        for row in splits[name]:
            if _unordered(*row) not in seen:
                kept[name].append(row)
                seen.add(_unordered(*row))
    return {name: kept[name] for name in names}


def _unordered(source: str, target: str) -> frozenset[str]:
    return frozenset((source, words.parted(target, GIVEN)[0]))


def _splits(place: raw.Place) -> dict[str, list[tuple[str, str, str]]]:
    """Returns the pairs of every split, of the one file in `data_dir` or else of the publisher's three."""
    if place.data_dir is not None and any((folder / WHOLE).exists() for folder in (place.data_dir / "sick", place.data_dir)):
        return raw.obtain(place, "sick", WHOLE, f"{ADDRESS}{ARCHIVES['train']}", _whole)
    return {split: _archive(place, split) for split in MEMBERS}


def _archive(place: raw.Place, split: str) -> list[tuple[str, str, str]]:
    name, member = ARCHIVES[split], MEMBERS[split]

    def read(data: bytes, where: str) -> list[tuple[str, str, str]]:
        members = archives.unzip(data, where, lambda path: path == member)
        if member not in members:
            raise DataError(f"{where} has no {member} in it; get it from {ADDRESS}{name}")
        where = f"{where}, {member}"
        return pairs(_lines(members[member], where), split, where)

    return raw.obtain(place, "sick", name, f"{ADDRESS}{name}", read)


def _whole(data: bytes, where: str) -> dict[str, list[tuple[str, str, str]]]:
    lines, found, first = _lines(data, where), {}, 0
    for split, size in SIZES.items():
        found[split] = pairs(lines[first : first + size], split, f"{where}, {split} pairs")
        first += size
    if lines[first:]:
        raise DataError(f"{where} has {len(lines)} pairs, and SICK has {first}; get it from {ADDRESS}")
    return found


def _lines(data: bytes, where: str) -> list[str]:
    """Returns the lines behind the header."""
    header, *lines = raw.text(data, where).replace("\r\n", "\n").removesuffix("\n").split("\n")
    if tuple(header.split("\t")) != HEADER:
        raise DataError(
            f"{where}, line 1: the columns are {header[:80]!r}, and those of SICK are {', '.join(HEADER)}; get it from {ADDRESS}"
        )
    return lines


def pairs(lines: list[str], split: str, where: str) -> list[tuple[str, str, str]]:
    """Returns (premise, hypothesis, label) of a split's lines. Raises `DataError` where they are not those that were published."""
    content = "".join(f"{line}\n" for line in lines).encode()
    raw.verify(content, SHA256[split], f"{where} ({len(lines)} of {SIZES[split]} pairs)", f"get it from {ADDRESS}{ARCHIVES[split]}")
    rows = [line.split("\t") for line in lines]
    return [(premise, hypothesis, label) for _, premise, hypothesis, _, label in rows]
