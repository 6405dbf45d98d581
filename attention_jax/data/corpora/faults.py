"""What is wrong with files of a user's own text, all of it: a line of text each, with file and line number.

Reading stops at the first fault (`raw`); this looks for the others, too, so that a file can be mended at once. Notes are what reading
takes as if it were not there: a byte order mark, carriage returns before newlines, and columns behind the second. A file of another kind,
packed or not in UTF-8 from its first byte on, is one fault.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from attention_jax.data.corpora import words
from attention_jax.data.corpora.own_files import File, Side

BOM = b"\xef\xbb\xbf"
OTHERS = {
    b"\x1f\x8b": "is packed by gzip; unpack it",
    b"PK\x03\x04": "is a zip archive; unpack it",
    b"BZh": "is packed by bzip2; unpack it",
    b"\xfd7zXZ\0": "is packed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it",
    b"\xff\xfe": "is in UTF-16; convert the file to UTF-8",
    b"\xfe\xff": "is in UTF-16; convert the file to UTF-8",
}
"""{how the content of a file begins that no line can be read of: what is wrong with it}."""


class Scan(NamedTuple):
    """The lines of a file, what is wrong with them, and notes."""

    file: File
    lines: int
    faults: list[str]
    notes: list[str]


def scanned(side: Side) -> list[Scan]:
    """Scans the one or two files of a split; where they have different numbers of lines, the longer one has that fault."""
    scans = [_scan(file, is_tsv=side.target is None) for file in side.files]
    counts = {scan.lines for scan in scans}
    if len(counts) > 1 and 0 not in counts:  # a file without lines has that fault
        short, long = sorted(scans, key=lambda scan: scan.lines)
        first = f"{long.file.path}, line {short.lines + 1}"
        long.faults.append(f"{first} has no partner: {short.file.path} has {short.lines} lines, this one {long.lines}")
    return scans


def _scan(file: File, is_tsv: bool) -> Scan:
    if kind := next((what for beginning, what in OTHERS.items() if file.content.startswith(beginning)), None):
        return Scan(file, 0, [f"{file.path} {kind}"], [])
    content = file.content.removeprefix(BOM)
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    notes = [f"{file.path}, line 1: begins with a byte order mark, which is left out"] * (content != file.content)
    if ended := [number for number, line in enumerate(lines, start=1) if line.endswith(b"\r")]:
        notes.append(f"{file.path}, line {ended[0]}: {len(ended)} lines end with a carriage return before the newline, which is left out")
    if is_tsv and (wide := [number for number, line in enumerate(lines, start=1) if line.count(b"\t") > 1]):
        notes.append(f"{file.path}, line {wide[0]}: {len(wide)} lines have more than two columns; those behind the second are left out")
    faults = [f"{file.path} is empty"] * (not lines)
    for number, line in enumerate(lines, start=1):
        faults += [f"{file.path}, line {number}{what}" for what in _wrong(line.removesuffix(b"\r"), is_tsv)]
    return Scan(file, len(lines), faults, notes)


def _wrong(line: bytes, is_tsv: bool) -> Iterator[str]:
    """Yields what is wrong with a line, to follow its number."""
    if re.search(rb"\r", line):
        yield ": a carriage return without a newline ends no line here"
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        yield f", byte {error.start + 1}: not UTF-8 ({error.reason})"
        return
    if "\0" in text:
        yield ": holds a NUL character, so it is no UTF-8 text"
    if not words.split(text):
        yield " is empty"
    elif is_tsv:
        cells = text.split("\t")[:2]
        if len(cells) < 2:
            yield " has no tab between source and target"
        elif empty := [column for column, cell in enumerate(cells, start=1) if not words.split(cell)]:
            yield f" has an empty column {empty[0]}"
