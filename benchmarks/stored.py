"""Reads stored rows as dicts: whole, or refused in one line that names file and line."""

import json
import math
from pathlib import Path

from attention_jax.system.errors import DataError
from benchmarks.rows import Target

KEY = ("name", "what", "sizes", "peer")
"""Which row it is."""
TEXTS, NUMBERS = (*KEY, "unit", "target", "device"), ("ours", "repeats", "cores")
MAYBE = ("theirs", "ratio", "memory_mb", "flop", "peak_flop_per_s", "share_of_peak")
"""Fields that a row must have, by what they hold: text, a number, a number or null."""


def read(file: Path, start: int = 0) -> list[dict]:
    """Reads the rows of a file from byte `start` on. Raises `DataError`, with the line, where one is not whole."""
    try:
        content = file.read_bytes()
        before, lines = content[:start].count(b"\n"), content[start:].decode().splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} holds no rows: it is not text") from None
    found = []
    for number, text in enumerate(lines, before + 1):
        try:
            row = json.loads(text, parse_constant=float)
        except ValueError:
            raise DataError(f"{file}, line {number} is no JSON, or torn: {text[:60]!r}") from None
        if wrong := _wrong(row):
            raise DataError(f"{file}, line {number} is no row of a benchmark: {wrong}")
        found.append(row)
    return found


def _wrong(row) -> str:
    """Returns what is wrong with the fields that others rely on; "" where nothing is."""
    if not isinstance(row, dict):
        return "it is no object"
    for name in (*TEXTS, *NUMBERS, *MAYBE, "versions"):
        if name not in row:
            return f"{name} is missing"
    wrong = [name for name in TEXTS if not isinstance(row[name], str)] + ["versions"] * (not isinstance(row["versions"], dict))
    wrong += [name for name in (*NUMBERS, *MAYBE) if not (_finite(row[name]) or (name in MAYBE and row[name] is None))]
    for name in ("ours", "theirs"):
        quartiles = row.get(f"{name}_quartiles")
        if row[name] is not None and not (isinstance(quartiles, list) and len(quartiles) == 2 and all(map(_finite, quartiles))):
            wrong.append(f"{name}_quartiles")
    return f"{wrong[0]} is {row.get(wrong[0])!r}" if wrong else ""


def _finite(value) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def key(row: dict) -> tuple[str, ...]:
    """Returns the values of `KEY`."""
    return tuple(row[name] for name in KEY)


def targets(text: str) -> tuple[Target, ...]:
    """Parses the targets of a stored row, from its field `target`."""
    parts = [part.split(" ") for part in text.split(", ")] if text else []
    return tuple(Target(quantity, sense, float(bound)) for quantity, sense, bound in parts)
