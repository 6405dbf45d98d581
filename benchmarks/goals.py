"""Goals: targets of stored rows as tables of pages, beside the rows of other runs and machines."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from attention_jax.system.errors import DataError
from benchmarks import apart, rows, stored
from benchmarks.rows import Target

Rows = dict[tuple[str, ...], dict]
"""{key: row}."""


class Found(NamedTuple):
    """All rows that pages are made of."""

    rows: Rows
    elsewhere: dict[str, Rows]  # {whence: rows} of other runs and machines

    def runs(self) -> dict[str, Rows]:
        """{source: rows}, ours first."""
        return {"this run": self.rows} | self.elsewhere


def read(folder: Path) -> Found:
    """Reads rows.jsonl and machines/*.jsonl of a folder. The latter have the fields of rows as far as they are known, and `from`.

    Raises `DataError` where a file is damaged, or a row is there twice.
    """
    given, elsewhere = stored.read(folder / "rows.jsonl"), {}
    found = {stored.key(row): row for row in given}
    if len(found) < len(given):
        raise DataError(f"{folder / 'rows.jsonl'} holds rows of more than one run: measure them --anew")
    for file in sorted(folder.glob("machines/*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                elsewhere.setdefault(row["from"], {})[stored.key(row)] = row
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file}, line {number} is no row: {error}") from None
    return Found(found, elsewhere)


def markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (heading, ["---"] * len(heading), *lines))


def ends(values: Sequence[float], form: str) -> str:
    """Formats the smallest and the largest value, once where both read the same; a dash for none."""
    if not values:
        return "–"
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def times(ratio: float) -> str:
    """Formats a ratio in three digits or less."""
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.0f} ×"


def goals(found: Found) -> str:
    """Returns the table of the foremost goals: this run, and the range over all runs and machines."""
    lines = []
    for row, target in _targets(found):
        if foremost(row):
            name, sizes = f"{row['name']}, {row['what']}", row["sizes"]
            lines.append((name, sizes, goal(row, target), said(row, target), _over(found, row, target), verdict(row, target)))
    return markdown(("", "sizes", "goal", "this run", "runs and machines", ""), lines)


def foremost(row: dict) -> bool:
    """True for whole steps, decoding, and the layer at which PyTorch is best, with its memory kept."""
    return row["name"] in ("training", "decoding") or (row["what"] == "lstm both passes" and row["peer"].endswith(apart.KEPT))


def _targets(found: Found) -> Iterator[tuple[dict, Target]]:
    return ((row, target) for row in found.rows.values() for target in stored.targets(row["target"]))


def _over(found: Found, row: dict, target: Target) -> str:
    """Returns the range over all runs and machines that have the row."""
    given = [rows_of.get(stored.key(row), {}).get(target.quantity) for rows_of in found.runs().values()]
    given = [value for value in given if value is not None]
    return ends(given, "{:.0%}" if target.quantity == "share_of_peak" else "{:.2f}")


def goal(row: dict, target: Target) -> str:
    """Formats a target."""
    if target.quantity == "share_of_peak":
        return f"{target.sense} {target.bound:.0%} of peak"
    if target.quantity == "ratio":
        return f"{target.sense} {target.bound:g} × {row['peer']}"
    return f"{target.sense} {rows.quantity(target.bound, _unit(row, target))}"


def said(row: dict, target: Target) -> str:
    """Formats the row's value of a target's quantity."""
    value = row[target.quantity]
    if value is None:
        return "not measured"
    if target.quantity == "share_of_peak":
        return rows.percent(value)
    return times(value) if target.quantity == "ratio" else rows.quantity(value, _unit(row, target))


def _unit(row: dict, target: Target) -> str:
    return "MB" if target.quantity == "memory_mb" else row["unit"]


def verdict(row: dict, target: Target) -> str:
    """Returns "met", or "missed" in bold."""
    return "met" if target.met(row[target.quantity]) else "**missed**"


def missed(found: Found) -> str:
    """Returns the number of goals and of those met, and a list of missed ones other than the foremost."""
    every = list(_targets(found))
    not_met = [(row, target) for row, target in every if not target.met(row[target.quantity])]
    lines = [
        f"- {row['name']}, {row['what']}, {row['sizes']}: {said(row, target)}, goal {goal(row, target)}\n"
        for row, target in not_met
        if not foremost(row)
    ]
    heading = f"{len(every) - len(not_met)} of all {len(every)} goals are met."
    return f"{heading} Missed beside those of the table:\n\n{''.join(lines)}" if lines else f"{heading}\n"
