"""A user's own parallel text, any languages: two files aligned line by line, or one TSV with source and target columns.

    text.source_file, text.target_file              training
    text.validation_source, text.validation_target  validation
    text.test_sources, text.test_targets            one or more test sets; the first one is that of verdicts

A split without files of its own is a share of the training lines, by content. `text.alignment_file` adds links between words of the
training lines, as another aligner found them, in a file with as many lines (corpora/links.py). `text.test_links` adds links that were made
by hand to test sets, which the experiment `alignment` scores (corpora/gold.py).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import tensorflow_datasets as tfds

from attention_jax.config import TextConfig
from attention_jax.data.corpora import gold, links, own_files, raw, words
from attention_jax.data.corpora.builder import SPLITS, PairBuilder
from attention_jax.data.corpora.own_files import File, Side
from attention_jax.system.errors import DataError


class ParallelText(PairBuilder):
    """Split by file, or by md5 of the source line (5 % test, 5 % validation), so that equal sources stay together.

    A split by content that would be empty, as happens in small files, gets the source of smallest md5 from the largest one.
    """

    VERSION = tfds.core.Version("1.2.0")
    LICENSE = "the user's own"
    COLUMNS = ("source", "target", "links", "line")  # links: of either file of links, else empty; line: its number in the file, from 1
    sides: dict[str, Side]  # split → its files; always train
    alignment: File | None

    @classmethod
    def open(cls, text: TextConfig, data_dir: Path | None, cache_dir: Path) -> Self:
        """Returns the builder of these files as they are now: its folder's name has a hash of paths and content."""
        sides, alignment = own_files.found(text, data_dir)
        files = [(split, file) for split, side in sides.items() for file in side.files]
        files += [(f"links of {split}", side.links) for split, side in sides.items() if side.links]
        files += [("alignment", alignment)] if alignment else []
        for _, file in files:
            raw.check_ends(file.content, str(file.path))
        parts = [part for name, file in files for part in (name.encode(), str(file.path).encode(), file.content)]
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
        builder = cls.kept_in(cache_dir / f"parallel_text-{key}")
        builder.sides, builder.alignment = sides, alignment
        builder.parts = (*SPLITS, *(split for split in sides if split not in SPLITS))
        return builder

    def names(self) -> dict[str, str]:
        tests = [split for split in self.parts if split not in ("train", "validation")]
        paths = [self.sides[split].source.path if split in self.sides else Path(split) for split in tests]
        short = len({path.name for path in paths}) == len(paths)
        return {split: path.name if short else str(path) for split, path in zip(tests, paths, strict=True)}

    def place(self, split: str, number: int, row: Sequence[str]) -> str:
        return f"{self.sides.get(split, self.sides['train']).source.path}, line {row[self.COLUMNS.index('line')]}"

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, ...]]]:
        rows = {split: self._numbered(side.rows(), split) for split, side in self.sides.items()}
        shared = [split for split in SPLITS if split not in rows]
        return rows | split_by_content(rows["train"], str(self.sides["train"].source.path), shared)

    def _numbered(self, pairs: list[tuple[str, str]], split: str) -> list[tuple[str, ...]]:
        """Adds to each pair the line of its links, and its number in the file."""
        linked = self._linked(pairs) if split == "train" else self._gold(pairs, self.sides[split])
        return [(*row, str(number)) for number, row in enumerate(linked, start=1)]

    def _gold(self, pairs: list[tuple[str, str]], side: Side) -> list[tuple[str, str, str]]:
        """Adds to each pair of a test set the line of its links, in Pharaoh format."""
        if side.links is None:
            return [(*pair, "") for pair in pairs]
        self._check_words(side)
        found = gold.read(side.links.content, str(side.links.path), pairs)
        return [(*pair, links.spelled(of_pair)) for pair, of_pair in zip(pairs, found, strict=True)]

    def _linked(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Adds to each training pair the line of its links, possible ones included."""
        if self.alignment is None:
            return [(*pair, "") for pair in pairs]
        path, source = self.alignment.path, self.sides["train"].source.path
        found = links.read(self.alignment.content, str(path))
        if len(found) != len(pairs):
            raise DataError(f"{path} has {len(found)} lines of links, {source} has {len(pairs)} lines: there must be one each")
        self._check_words(self.sides["train"])
        for number, ((source_line, target_line), of_pair) in enumerate(zip(pairs, found, strict=True), start=1):
            links.check(of_pair, source_line, target_line, f"{path}, line {number}")
        return [(*pair, links.text(of_pair.possible)) for pair, of_pair in zip(pairs, found, strict=True)]

    def _check_words(self, side: Side) -> None:
        """Raises `DataError` for text that an aligner splits into other words, so that its links would be between others."""
        for path, content in side.files:
            for number, line in enumerate(raw.text(content, str(path)).split("\n"), start=1):
                read = line if side.target else "\t".join(line.split("\t")[:2])
                if found := words.disputed(read):
                    raise DataError(
                        f"{path}, line {number}: aligners take {found[0][:40]!r} for one word, but it holds white space, which ends words "
                        "here; links would go astray: put plain spaces into the text, and align it again"
                    )


def split_by_content(rows: Sequence[tuple[str, ...]], where: str, shared: Sequence[str] = SPLITS[1:]) -> dict[str, list[tuple[str, ...]]]:
    """Splits rows by their source: {split: rows in order} of train and of each of `shared`, validation and test or one of them.

    Raises `DataError` for fewer different sources than splits.
    """
    slots = {source: raw.percentile(source) for source, *_ in rows}
    names = ("train", *shared)
    if len(slots) < len(names):
        raise DataError(f"{where} has {len(slots)} different source lines; at least {len(names)} are needed, one for each split")
    members: dict[str, set[str]] = {name: set() for name in names}
    for source, slot in slots.items():
        name = "test" if slot < 5 else "validation" if slot < 10 else "train"
        members[name if name in members else "train"].add(source)
    for name in names:
        if not members[name]:
            largest = max(names, key=lambda other: len(members[other]))
            moved = min(members[largest], key=lambda source: hashlib.md5(source.encode(), usedforsecurity=False).digest())
            members[largest].remove(moved)
            members[name].add(moved)
    return {name: [row for row in rows if row[0] in members[name]] for name in names}
