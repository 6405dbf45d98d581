"""SNLI 1.0 (Bowman et al. 2015), in its publisher's files, for those who have them: 570,152 pairs of sentences, as `sick` has them.

    snli_1.0_train.jsonl, snli_1.0_dev.jsonl, snli_1.0_test.jsonl      a JSON object a line, or
    snli_1.0_train.txt, …                                              columns with tabs between, a header above

Read are gold_label, sentence1 (the premise) and sentence2. Pairs whose annotators did not agree, of the label "-", are left out. Words and
punctuation marks are apart.

Of these files no digest is known here. What is verified is their form, their labels and how many pairs each has: a file in which a sentence
was changed is taken. A part of SNLI, or pairs of another source, are one's own text: `premise<TAB>hypothesis => LABEL` a line,
data.task=parallel_text.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from attention_jax.data.corpora import raw, sick
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

ADDRESS = "https://nlp.stanford.edu/projects/snli/snli_1.0.zip"
PARTS = {"train": "train", "validation": "dev", "test": "test"}
SIZES = {"train": 550_152, "validation": 10_000, "test": 10_000}
COLUMNS = ("gold_label", "sentence1", "sentence2")
LABELS = {label.lower(): label for label in sick.LABELS}
LONGEST = 1 << 20  # bytes of a line
TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


class Snli(PairBuilder):
    """549,367 training, 9,842 validation and 9,824 test pairs, less those that a later split has."""

    HOMEPAGE = "https://nlp.stanford.edu/projects/snli/"
    LICENSE = "CC BY-SA 4.0"
    CITATION = """@inproceedings{bowman2015snli, title={A large annotated corpus for learning natural language inference},
        author={Bowman, Samuel R. and Angeli, Gabor and Potts, Christopher and Manning, Christopher D.}, booktitle={Proceedings of EMNLP},
        pages={632--642}, year={2015}}"""
    LANGUAGES = ("en-en",)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        return sick.apart({split: _pairs(_file(place, name), SIZES[split]) for split, name in PARTS.items()})


def _file(place: raw.Place, part: str) -> Path:
    """Finds the file of a split. Raises `DataError`: nothing is downloaded, since the published .zip unpacks to over a gigabyte."""
    folders = [] if place.data_dir is None else [place.data_dir / "snli", place.data_dir / "snli" / "snli_1.0", place.data_dir]
    for folder in folders:
        for ending in ("jsonl", "txt"):
            if (path := folder / f"snli_1.0_{part}.{ending}").exists():
                return path
    where = folders[0] if folders else Path("snli")
    raise DataError(
        f"snli: {where / f'snli_1.0_{part}.jsonl'} is missing, and so is .txt; unpack {ADDRESS} and name its folder with --data_dir"
    )


def _pairs(path: Path, size: int) -> list[tuple[str, str]]:
    found, count = [], 0
    for number, row in _rows(path):
        count += 1
        label, *sentences = row
        if label != "-":
            if label not in LABELS:
                raise DataError(f"{path}, line {number}: the label {label[:40]!r} is none of {', '.join(LABELS)} and -")
            premise, hypothesis = (" ".join(TOKEN.findall(text)) for text in sentences)
            if not premise or not hypothesis:
                raise DataError(f"{path}, line {number}: a sentence is empty")
            found.append(sick.example(premise, hypothesis, LABELS[label]))
    if count != size:
        raise DataError(
            f"{path} has {count} pairs, and SNLI 1.0 has {size} there; get it again from {ADDRESS}; a part of it works as "
            "your own text, data.task=parallel_text, a line being: premise, tab, hypothesis, =>, label"
        )
    return found


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yields (number of a line, its label and sentences), line by line, since the files are large."""
    places: list[int] | None = None
    try:
        with path.open("rb") as file:
            for number in range(1, 1 << 24):
                line = file.readline(LONGEST)
                if not line:
                    return
                where = f"{path}, line {number}"
                if len(line) == LONGEST:
                    raise DataError(f"{where} has more than {LONGEST >> 10} KiB; that is not the file it should be")
                text = raw.text(line, where).rstrip("\r\n")
                if path.suffix == ".jsonl":
                    yield number, _of_json(text, where)
                    continue
                cells = text.split("\t")
                if places is None:
                    if lacking := [name for name in COLUMNS if name not in cells]:
                        raise DataError(f"{where} is no header of SNLI: it lacks {', '.join(lacking)}")
                    places = [cells.index(name) for name in COLUMNS]
                    continue
                if len(cells) <= max(places):
                    raise DataError(f"{where} has {len(cells)} columns, fewer than its header")
                yield number, tuple(cells[place] for place in places)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _of_json(text: str, where: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
        row = tuple(found[name] for name in COLUMNS)
    except (ValueError, KeyError, TypeError, RecursionError):
        row = ()
    if not row or not all(isinstance(cell, str) for cell in row):
        raise DataError(f"{where} is no JSON object with texts {', '.join(COLUMNS)}")
    return row
