"""Targets that an experiment declares before its runs, as a table: whether the bound of an interval reaches each."""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.report.tables import Table, interval_text
from attention_jax.statistics.intervals import Interval


class Target(NamedTuple):
    """A number, the bar that was declared for it, and what was measured; None: it was not."""

    what: str
    bar: float
    found: Interval | None
    at_most: bool = False  # the upper bound has to lie at the bar or below; else the lower one at it or above
    digits: int = 1

    @property
    def reached(self) -> str:
        """ "yes", "no" or "not measured"; a single seed has no bounds, and reaches nothing."""
        if self.found is None:
            return "not measured"
        return "yes" if (self.found.high <= self.bar if self.at_most else self.found.low >= self.bar) else "no"


def table(targets: Sequence[Target], title: str) -> Table:
    """Tabulates targets: what, the bar, the value with its interval, and whether it is reached."""
    lines = [
        (each.what, f"at {'most' if each.at_most else 'least'} {each.bar:g}", interval_text(each.found, each.digits), each.reached)
        for each in targets
    ]
    return Table(title, ("what", "target", "value", "reached"), lines)
