"""Targets that a claim declared before its runs → a table that says whether its numbers reach them."""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.report import tables
from attention_jax.report.tables import Table
from attention_jax.statistics.intervals import Interval


class Target(NamedTuple):
    """A number and the bar that was declared for it: `value` has to be at most, or at least, so large; None was not measured."""

    what: str
    bar: float
    value: Interval | None
    at_most: bool = False

    @property
    def reached(self) -> str:
        """ "yes" where all of the interval is on the right side of the bar, else "no"; one number without an interval decides nothing."""
        if self.value is None or not self.value.low <= self.value.high:
            return "not measured" if self.value is None else "one seed alone"
        return "yes" if (self.value.high <= self.bar if self.at_most else self.value.low >= self.bar) else "no"


def table(targets: Sequence[Target], name: str, digits: int = 3) -> Table:
    """Tabulates targets, their numbers with intervals, and whether these reach them throughout."""
    lines = []
    for each in targets:
        bar = f"{'at most' if each.at_most else 'at least'} {each.bar:g}"
        lines.append((each.what, bar, tables.interval_text(each.value, digits), each.reached))
    return Table(f"Targets, declared before the runs, {name}", ("what", "bar", "value", "reached"), lines)
