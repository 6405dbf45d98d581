"""Where the files of a user's own text are, and what is in them: settings → files of each split."""

import os
from pathlib import Path
from typing import NamedTuple

from attention_jax.config import TextConfig
from attention_jax.data.corpora import raw
from attention_jax.system.errors import ConfigError, DataError


class File(NamedTuple):
    """A file of the user's: where it was found, and its content."""

    path: Path
    content: bytes


class Side(NamedTuple):
    """Files of a split: source lines and target lines, or a TSV and None; of a test set links that were made by hand, or None."""

    source: File
    target: File | None
    links: File | None = None

    def rows(self) -> list[tuple[str, str]]:
        """Reads the pairs. Raises `DataError` for whatever is wrong with them, with file and line."""
        where = str(self.source.path)
        if self.target is None:
            return raw.columns(self.source.content, where)
        other = str(self.target.path)
        return raw.align(raw.lines(self.source.content, where), raw.lines(self.target.content, other), where, other)

    @property
    def files(self) -> list[File]:
        """Those of text, one or two."""
        return [self.source, *([self.target] if self.target else [])]


def found(text: TextConfig, data_dir: Path | None) -> tuple[dict[str, Side], File | None]:
    """Finds and reads the files of these settings: ({split: its files}, the file of links).

    Raises `DataError` for a missing one, and `ConfigError` for a test set that is named twice: its rows could not be told apart.
    Test sets behind the first are the splits test_2, test_3, …
    """
    if not text.source_file:
        raise ConfigError("text.source_file is not set: parallel_text needs a file of source lines (and text.target_file), or a TSV")
    sides = {"train": _side(("source_file", text.source_file), ("target_file", text.target_file), data_dir)}
    if text.validation_source:
        of_validation = ("validation_source", text.validation_source), ("validation_target", text.validation_target)
        sides["validation"] = _side(*of_validation, data_dir)
    none = ("",) * len(text.test_sources)
    each = zip(text.test_sources, text.test_targets or none, text.test_links or none, strict=True)
    for number, (source, target, linked) in enumerate(each, start=1):
        side = _side(("test_sources", source), ("test_targets", target), data_dir)
        if any(side.source.path == other.source.path for split, other in sides.items() if split.startswith("test")):
            raise ConfigError(f"text.test_sources names {side.source.path} twice; name each test set once")
        of_hand = _file("test_links", linked, data_dir) if linked else None
        sides[f"test_{number}" if number > 1 else "test"] = side._replace(links=of_hand)
    return sides, _file("alignment_file", text.alignment_file, data_dir) if text.alignment_file else None


def _side(source: tuple[str, str], target: tuple[str, str], data_dir: Path | None) -> Side:
    """Reads the files of (setting, name) each; without the target's name the source is a TSV."""
    return Side(_file(*source, data_dir), _file(*target, data_dir) if target[1] else None)


def _file(setting: str, name: str, data_dir: Path | None) -> File:
    path = _find(setting, name, data_dir)
    return File(path, raw.read_bytes(path))


def _find(setting: str, name: str, data_dir: Path | None) -> Path:
    """Finds a file as given (from the current folder), else within `data_dir`."""
    folders = [Path()] if data_dir is None else [Path(), data_dir / "parallel_text", data_dir]
    for folder in folders:
        path = folder / os.path.expanduser(name)
        if path.exists():
            return path.resolve()
    raise DataError(f"{name} is missing (looked from {', '.join(str(folder.resolve()) for folder in folders)}); check text.{setting}")
