"""Rows of text → tables of the test sets behind the first one, which no verdict is about.

Each has a table by length for each of its numbers, of which `NUMBERS` has all that text can have.
"""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.report import standings, tables
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
