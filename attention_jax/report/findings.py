"""Sentences that are said of attention, and the numbers that decide them: findings of several experiments, corrected together.

A finding holds where its number lies above a bar and Holm's p, over all findings of a page, is at most 0.05; it does not hold where
the number lies below the bar and p is as small; else it is undecided. p is two-sided, of "the number is the bar".
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.report.tables import interval_text
from attention_jax.statistics import intervals
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.laws import Law

LEVEL = 0.05


class Finding(NamedTuple):
    """A sentence of the literature, and what was measured of it."""

    claim: str  # the sentence, as it is said
    source: str  # who says it
    number: str  # what is measured, with its unit and place
    interval: Interval
    p: float  # two-sided, of "the number is the bar"; nan where nothing can be tested, and the finding is undecided
    bar: float = 0.0
    digits: int = 2
    left_open: str | None = None  # why it is undecided whatever the number is; "": nothing is; None: what is so of its experiment's verdict

    def word(self, p: float) -> str:
        """Returns the word for a corrected p: "holds", "does not hold" or "undecided"."""
        if self.left_open or not p <= LEVEL or self.interval.mean == self.bar:
            return "undecided"
        return "holds" if self.interval.mean > self.bar else "does not hold"

    def __str__(self):
        bar = f"{self.bar:g}" if self.bar else "0"
        return f"{self.number}: {interval_text(self.interval, self.digits)}, against {bar}"


def of_seeds(claim: str, source: str, number: str, values_R: Sequence[float] | np.ndarray, bar: float = 0.0, digits: int = 2) -> Finding:
    """Returns a finding on the mean over seeds, by Student's t; a single seed decides nothing."""
    p = intervals.student_p(values_R, bar) if len(values_R) > 1 else math.nan
    return Finding(claim, source, number, intervals.student(values_R), p, bar, digits)


def of_interval(claim: str, source: str, number: str, at: Callable[[float], Interval], bar: float = 0.0, digits: int = 2) -> Finding:
    """Returns a finding on a number whose interval at confidence c is `at(c)`."""
    return Finding(claim, source, number, at(intervals.CONFIDENCE), intervals.two_sided(intervals.tail(at, bar)), bar, digits)


def of_law(claim: str, source: str, number: str, law: Law, bar: float = 0.0, digits: int = 2) -> Finding:
    """Returns a finding on the first slope of a law, by Student's t over the sizes that it is fitted to."""
    return Finding(claim, source, number, law.slope, law.p_of(bar), bar, digits)


def of_condition(claim: str, source: str, number: str, condition: Condition, digits: int = 2) -> Finding:
    """Returns a finding on the number of a verdict's condition."""
    return Finding(claim, source, number, condition.interval, intervals.two_sided(condition.p), condition.threshold, digits)


def together(found: Sequence[Finding]) -> list[tuple[Finding, float, str]]:
    """Returns each finding with its p corrected for all of them (Holm 1979), and its word."""
    adjusted = intervals.holm({str(i): each.p for i, each in enumerate(found) if not math.isnan(each.p)})
    p = [adjusted.get(str(i), math.nan) for i in range(len(found))]
    return [(each, mine, each.word(mine)) for each, mine in zip(found, p, strict=True)]
