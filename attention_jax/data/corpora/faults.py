"""What is wrong with files of a user's own text, all of it: a line of text each, with file and line number.

Reading stops at the first fault (`raw`); this looks for the others, too, so that a file can be mended at once. Notes are what reading
takes as if it were not there: a byte order mark, and carriage returns before newlines.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from attention_jax.data.corpora import words
from attention_jax.data.corpora.own_files import File, Side

BOM = b"\xef\xbb\xbf"


class Scan(NamedTuple):
    """The lines of a file, what is wrong with them, and notes."""

    file: File
    lines: int
    faults: list[str]
    notes: list[str]


def scanned(side: Side) -> list[Scan]:
    """Scans the one or two files of a split; where they have different numbers of lines, the longer one has that fault."""
    scans = [_scan(file, is_tsv=side.target is None) for file in side.files]
    if len({scan.lines for scan in scans}) > 1:
        short, long = sorted(scans, key=lambda scan: scan.lines)
        first = f"{long.file.path}, line {short.lines + 1}"
        long.faults.append(f"{first} has no partner: {short.file.path} has {short.lines} lines, this one {long.lines}")
    return scans


def _scan(file: File, is_tsv: bool) -> Scan:
    content = file.content.removeprefix(BOM)
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    notes = [f"{file.path}, line 1: begins with a byte order mark, which is left out"] * (content != file.content)
    if ended := [number for number, line in enumerate(lines, start=1) if line.endswith(b"\r")]:
        notes.append(f"{file.path}, line {ended[0]}: {len(ended)} lines end with a carriage return before the newline, which is left out")
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
