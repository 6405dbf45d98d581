"""Rows → tables of the test sets behind the first one, which no verdict is about.

Of text each has a table by length for each of its numbers, of which `NUMBERS` has all that text can have.
"""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.report import standings, tables
from attention_jax.report.standings import Group
from attention_jax.report.tables import Table


class Number(NamedTuple):
    """How a number of rows is tabulated: the mode of its rows, what it is, and its digits."""

    mode: str
    what: str
    digits: int


NUMBERS = {
    "loss": Number("forced", "Loss", 3),
    "chrf": Number("free", "chrF", 1),
    "bleu": Number("free", "BLEU", 1),
    "exact_match": Number("free", "Exact match", 3),
    "error_rate": Number("free", "Error rate, edits per symbol of the reference", 3),
}
"""{field of a row: how it is tabulated}, where rows have it."""


def exact_match(group: Group, rows: Sequence[dict], what: str = "Exact match by test set", first: str = "") -> Table:
    """Tabulates exact match of the typical seed on the first test set and those behind it, each arm at its largest budget.

    `rows` are those of further test sets under the names of arms, `first` is what the column of the first is called, if not by its name.
    Trained lengths alone count; a dash stands where a test set has none.
    """
    tests = list(dict.fromkeys(row["test"] for row in rows))
    lines = []
    for arm in group.arms:
        budget = group.budgets(arm)[-1]
        reached = [group.tested(arm, budget)]
        reached += [standings.tested([row | {"role": "reported"} for row in rows if row["test"] == test], arm, budget) for test in tests]
        both = (sorted({*each.trained} & {*group.trained}) for each in reached)
        pairs = zip(reached, both, strict=True)
        lines.append((arm, *(tables.interval_text(standings.pooled(each, chosen) if chosen else None) for each, chosen in pairs)))
    named = first or next(str(row["test"]) for row in group.rows if standings.is_reported(row))
    return Table(f"{what}, {group.name}: trained lengths, typical seed, {tables.TYPICAL}", ("arm", named, *tests), lines)


def by_length(
    rows: Sequence[dict], arms: Sequence[str], reference: str | None, budget: int, numbers: Sequence[str] = tuple(NUMBERS)
) -> list[Table]:
    """Tabulates `numbers` by length on each test set behind the first, of arms under the names that rows have, at a budget."""
    shown = []
    for test, of_test in tables.grouped(standings.further(rows), ("test",)).items():
        for value in numbers:
            mode, what, digits = NUMBERS[value]
            if any(isinstance(row.get(value), int | float) for row in of_test):
                title = f"{what}, {test}, {budget} updates"
                shown.append(tables.by_length(of_test, arms, reference, value, mode, budget, title, digits))
    return shown
