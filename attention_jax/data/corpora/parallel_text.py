"""A user's own parallel text, any languages: two files aligned line by line, or one TSV with source and target columns.

`text.alignment_file` adds links between their words, as another aligner found them, in a file with as many lines (corpora/links.py).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import tensorflow_datasets as tfds

from attention_jax.config import TextConfig
from attention_jax.data.corpora import links, raw, words
from attention_jax.data.corpora.builder import SPLITS, PairBuilder
from attention_jax.system.errors import ConfigError, DataError


class ParallelText(PairBuilder):
    """Split by md5 of the source line (5 % test, 5 % validation), so that equal sources stay together.

    A split that would be empty, as happens in small files, gets the source of smallest md5 from the largest one.
    """

    VERSION = tfds.core.Version("1.1.0")
    LICENSE = "the user's own"
    COLUMNS = ("source", "target", "links")  # the last one empty without text.alignment_file
    files: dict[str, tuple[Path, bytes]]  # setting → file

    @classmethod
    def open(cls, text: TextConfig, data_dir: Path | None, cache_dir: Path) -> Self:
        """Returns the builder of these files as they are now: its folder's name has a hash of paths and content."""
        if not text.source_file:
            raise ConfigError("text.source_file is not set: parallel_text needs a file of source lines (and text.target_file), or a TSV")
        names = {"source_file": text.source_file, "target_file": text.target_file, "alignment_file": text.alignment_file}
        paths = {setting: _find(setting, name, data_dir) for setting, name in names.items() if name}
        files = {setting: (path, raw.read_bytes(path)) for setting, path in paths.items()}
        for path, content in files.values():
            raw.check_ends(content, str(path))
        parts = [part for setting, (path, content) in files.items() for part in (setting.encode(), str(path).encode(), content)]
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
        builder = cls.kept_in(cache_dir / f"parallel_text-{key}")
        builder.files = files
        return builder

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, ...]]]:
        source, content = self.files["source_file"]
        if "target_file" not in self.files:
            pairs = raw.columns(content, str(source))
        else:
            target, target_content = self.files["target_file"]
            sources, targets = raw.lines(content, str(source)), raw.lines(target_content, str(target))
            pairs = raw.align(sources, targets, str(source), str(target))
        return split(self._linked(pairs, str(source)), str(source))

    def _linked(self, pairs: list[tuple[str, str]], source: str) -> list[tuple[str, str, str]]:
        """Adds to each pair the line of its links, possible ones included."""
        if "alignment_file" not in self.files:
            return [(*pair, "") for pair in pairs]
        path, content = self.files["alignment_file"]
        found = links.read(content, str(path))
        if len(found) != len(pairs):
            raise DataError(f"{path} has {len(found)} lines of links, {source} has {len(pairs)} lines: there must be one each")
        self._check_words()
        for number, ((source_line, target_line), of_pair) in enumerate(zip(pairs, found, strict=True), start=1):
            links.check(of_pair, source_line, target_line, f"{path}, line {number}")
        return [(*pair, links.text(of_pair.possible)) for pair, of_pair in zip(pairs, found, strict=True)]

    def _check_words(self) -> None:
        """Raises `DataError` for text that an aligner splits into other words, so that its links would be between others."""
        for setting in (name for name in ("source_file", "target_file") if name in self.files):
            path, content = self.files[setting]
            for number, line in enumerate(raw.text(content, str(path)).split("\n"), start=1):
                read = line if "target_file" in self.files else "\t".join(line.split("\t")[:2])
                if found := words.disputed(read):
                    raise DataError(
                        f"{path}, line {number}: aligners take {found[0][:40]!r} for one word, but it holds white space, which ends words "
                        "here; links would go astray: put plain spaces into the text, and align it again"
                    )


def split(rows: Sequence[tuple[str, ...]], where: str) -> dict[str, list[tuple[str, ...]]]:
    """Splits rows by their source: {split: rows in order}. Raises `DataError` for fewer than three different sources, one a split."""
    slots = {source: raw.percentile(source) for source, *_ in rows}
    if len(slots) < len(SPLITS):
        raise DataError(f"{where} has {len(slots)} different source lines; at least {len(SPLITS)} are needed, one for each split")
    members = {
        "train": {source for source, slot in slots.items() if slot >= 10},
        "validation": {source for source, slot in slots.items() if 5 <= slot < 10},
        "test": {source for source, slot in slots.items() if slot < 5},
    }
    for name in SPLITS:
        if not members[name]:
            largest = max(SPLITS, key=lambda other: len(members[other]))
            moved = min(members[largest], key=lambda source: hashlib.md5(source.encode(), usedforsecurity=False).digest())
            members[largest].remove(moved)
            members[name].add(moved)
    return {name: [row for row in rows if row[0] in members[name]] for name in SPLITS}


def _find(setting: str, name: str, data_dir: Path | None) -> Path:
    """Finds a file as given (from the current folder), else within `data_dir`."""
    folders = [Path()] if data_dir is None else [Path(), data_dir / "parallel_text", data_dir]
    for folder in folders:
        path = folder / Path(name).expanduser()
        if path.exists():
            return path.resolve()
    raise DataError(f"{name} is missing (looked from {', '.join(str(folder.resolve()) for folder in folders)}); check text.{setting}")
