"""A user's own parallel text, any languages: two files aligned line by line, or one TSV with source and target columns."""

import hashlib
from pathlib import Path

from attention_jax.config import TextConfig
from attention_jax.corpora import raw
from attention_jax.corpora.builder import SPLITS, PairBuilder
from attention_jax.types import ConfigError, DataError


class ParallelText(PairBuilder):
    """Split by md5 of the source line (5 % test, 5 % validation), so that equal sources stay together.

    A split that would be empty, as happens in small files, gets the source of smallest md5 from the largest one.
    """

    LICENSE = "the user's own"
    files: list[tuple[Path, bytes]]

    @classmethod
    def open(cls, text: TextConfig, data_dir: Path | None, cache_dir: Path) -> "ParallelText":
        """The builder for these two files as they are now: paths and content are in its folder's name."""
        if not text.source_file:
            raise ConfigError("text.source_file is not set: parallel_text needs a file of source lines (and text.target_file), or a TSV")
        paths = [_find(name, data_dir) for name in (text.source_file, text.target_file) if name]
        contents = [raw.read_bytes(path) for path in paths]
        parts = [part for path, content in zip(paths, contents, strict=True) for part in (str(path).encode(), content)]
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
        builder = cls(data_dir=cache_dir / f"parallel_text-{key}", file_format="array_record")
        builder.files = list(zip(paths, contents, strict=True))
        return builder

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        (source, content), *rest = self.files
        if not rest:
            return split(raw.columns(content, str(source)), str(source))
        ((target, target_content),) = rest
        sources, targets = raw.lines(content, str(source)), raw.lines(target_content, str(target))
        return split(raw.align(sources, targets, str(source), str(target)), str(source))


def split(pairs: list[tuple[str, str]], where: str) -> dict[str, list[tuple[str, str]]]:
    """{split: pairs in order}; fewer than three different source lines raise `DataError`, since each split needs one."""
    slots = {source: raw.percentile(source) for source, _ in pairs}
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
    return {name: [pair for pair in pairs if pair[0] in members[name]] for name in SPLITS}


def _find(name: str, data_dir: Path | None) -> Path:
    """As given (from the current folder), else within `data_dir`."""
    folders = [Path()] if data_dir is None else [Path(), data_dir / "parallel_text", data_dir]
    for folder in folders:
        path = folder / Path(name).expanduser()
        if path.exists():
            return path.resolve()
    raise DataError(f"{name} is missing (looked from {', '.join(str(folder.resolve()) for folder in folders)}); check text.source_file")
