"""Raw files: a folder or a public address → verified content, with an error for every fault that a file can have."""

import hashlib
import os
import re
import urllib.error
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from attention_jax.data.corpora import downloads, words
from attention_jax.system import files
from attention_jax.system.errors import DataError

Content = TypeVar("Content")


class Place(NamedTuple):
    """The folder of raw files; with `data_dir` None it is `downloads`, filled from public addresses."""

    data_dir: Path | None
    downloads: Path


def obtain(place: Place, corpus: str, name: str, address: str, read: Callable[[bytes, str], Content]) -> Content:
    """Returns `read(bytes, where)` of a file, found or downloaded; a download is kept once `read`, which verifies it, has accepted it.

    The next call resumes an interrupted download (`downloads`).
    """
    if place.data_dir is not None:
        candidates = [place.data_dir / corpus / name, place.data_dir / name]
        for path in candidates:
            if path.exists():
                return read(read_bytes(path), str(path))
        raise DataError(f"{corpus}: {candidates[0]} is missing; get it from {address} and name its folder with --data_dir")
    path = place.downloads / corpus / name
    if path.exists():
        return read(read_bytes(path), str(path))
    part = path.with_name(f"{name}.part")
    try:
        data = downloads.fetch(address, part)
    except downloads.FAILURES as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError) else error
        kept = "; the next attempt goes on where this one broke off" if part.exists() else ""
        raise DataError(
            f"{corpus}: {address} cannot be downloaded ({reason}){kept}; or get it another way, keep its name {name}, "
            "and name the folder it is in with --data_dir"
        ) from error
    try:
        content = read(data, address)
        partial = path.with_name(f"{name}.{uuid.uuid4().hex}")
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        part.unlink(missing_ok=True)
    return content


def given(place: Place, corpus: str, name: str, origin: str, read: Callable[[bytes, str], Content]) -> Content:
    """Returns `read(bytes, where)` of a file that no address offers as it is: it has to be there. `origin` says where it comes from."""
    folder = place.data_dir or place.downloads
    candidates = [folder / corpus / name, folder / name]
    for path in candidates:
        if path.exists():
            return read(read_bytes(path), str(path))
    raise DataError(f"{corpus}: {candidates[0]} is missing, and cannot be downloaded: it is {origin}; name its folder with --data_dir")


def read_bytes(path: Path) -> bytes:
    """Reads a file. Raises `DataError` where it is missing or unreadable."""
    try:
        return files.read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def verify(content: bytes, expected: str, where: str, remedy: str) -> bytes:
    """Returns `content`. Raises `DataError` where its sha256 is not the expected one."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(f"{where} has other content than expected (sha256 {found}, expected {expected}); {remedy}")
    return content


def lines(data: bytes, where: str) -> list[str]:
    """Returns UTF-8 lines, whitespace collapsed, without byte order mark and CR. Raises `DataError` for an empty line.

    Only newlines end a line: a U+2028 within one must not shift later lines against the other language.
    """
    out = [words.collapsed(line) for line in text(data, where).removesuffix("\n").split("\n")]
    if out == [""]:
        raise DataError(f"{where} is empty; it needs one sentence a line")
    if "" in out:
        raise DataError(f"{where}, line {out.index('') + 1} is empty; remove it, and its partner in the other language")
    return out


def check_ends(data: bytes, where: str) -> None:
    """Raises `DataError` for a carriage return that no newline follows: whoever wrote it ends lines so, and here it is a space."""
    if found := re.search(rb"\r(?!\n)", data):
        line = data[: found.start()].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: a carriage return without a newline ends no line here; convert the file: tr '\\r' '\\n'")


def text(data: bytes, where: str) -> str:
    """Decodes UTF-8, without a byte order mark. Raises `DataError` for anything else."""
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # the file up to there, its byte order mark aside
        line, byte = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise DataError(f"{where}, line {line}, byte {byte}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error
    if "\0" in decoded:
        line = decoded[: decoded.index("\0")].count("\n") + 1
        raise DataError(f"{where}, line {line}: holds a NUL character, so it is no UTF-8 text (UTF-16?); convert the file to UTF-8")
    return decoded


def columns(data: bytes, where: str) -> list[tuple[str, str]]:
    """Returns the first two columns of a TSV, whitespace collapsed; no quoting, no header, further columns are ignored."""
    out = []
    for number, line in enumerate(text(data, where).removesuffix("\n").split("\n"), start=1):
        cells = [words.collapsed(cell) for cell in line.split("\t")[:2]]
        if len(cells) < 2 or not all(cells):
            problem = (
                "is empty" if not words.split(line) else "has no tab" if len(cells) < 2 else f"has an empty column {cells.index('') + 1}"
            )
            raise DataError(f"{where}, line {number} {problem}; a line is: source, tab, target")
        out.append((cells[0], cells[1]))
    return out


def align(sources: list[str], targets: list[str], source: str, target: str) -> list[tuple[str, str]]:
    """Pairs line i of one file with line i of the other. Raises `DataError` where counts differ, naming the files `source` and `target`."""
    if len(sources) != len(targets):
        longer = source if len(sources) > len(targets) else target
        first = min(len(sources), len(targets)) + 1
        raise DataError(f"{source} has {len(sources)} lines, {target} has {len(targets)}: line {first} of {longer} has no partner")
    return list(zip(sources, targets, strict=True))


def apart(splits: Mapping[str, Sequence[tuple[str, ...]]]) -> dict[str, list[tuple[str, ...]]]:
    """Leaves out of each split the rows that share a source or a target with a split behind it; the last one stays as it is."""
    kept: dict[str, list[tuple[str, ...]]] = {}
    seen: tuple[set[str], set[str]] = (set(), set())
    for name in reversed(list(splits)):
        kept[name] = [row for row in splits[name] if row[0] not in seen[0] and row[1] not in seen[1]]
        for side in range(2):
            seen[side].update(row[side] for row in kept[name])
    return {name: kept[name] for name in splits}


def percentile(key: str) -> int:
    """Returns md5(key) mod 100: equal on every machine, so that a split depends on neither order nor random numbers."""
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % 100
