"""The conditions of a verdict, one function each: learned, a gap, b memory, c rates, d placebo.

Each says what it measured, on how many seeds, and whether it is met. Learned and a use intervals of the typical seed, b a paired Student
interval, c and d are means over the selection seeds.
"""

from typing import Any, NamedTuple

import numpy as np

from attention_jax.statistics import intervals, ladder, rates
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Ladder
from attention_jax.statistics.observations import Comparison, Counts, Observations

MARGIN = 0.1  # exact match
KNOWN = 0.9  # exact match on a short length


class Condition(NamedTuple):
    """One condition and its numbers. c and d have no interval, and `rate` is the one that decided."""

    name: str  # "learned", "gap", "memory", "rates", "placebo"
    says: str
    interval: Interval
    threshold: float
    met: bool
    p: float  # one-sided, of a and b; nan elsewhere
    rate: float | Any = None

    def __str__(self):
        mean, low, high, _ = self.interval
        at = "" if self.rate is None else f" (at rate {self.rate:g})"
        between = "" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        return f"{self.name}: {self.says} {mean:.3f}{between}{at}, {'' if self.met else 'not '}above {self.threshold:.3g}"


class Arms(NamedTuple):
    """Observations, comparison and rates of both arms at one rung."""

    observations: Observations
    comparison: Comparison
    ladder: Ladder
    budget: int  # the fixed arm's; attention is at its best rung

    def reported(self, arm: str, mode: str) -> Counts:
        """Returns counts of an arm's reported seeds at its chosen rate, in the order of `ladder.seeds`."""
        budget = self.ladder.best if arm == self.comparison.attention else self.budget
        return self.observations.get("reported", mode, arm, budget, self.ladder.choices[arm, budget].rate)

    def selection(self, arm: str, rate: float) -> float | Any:
        """Returns exact match on the long half, the mean over selection seeds; None where a diverged rate has no rows."""
        budget = self.ladder.best if arm == self.comparison.attention else self.budget
        counts = self.observations.get("selection", "free", arm, budget, rate)
        return None if counts is None else float(shares(counts, self.comparison.long, self.comparison).mean())

    def chosen(self, arm: str) -> rates.Choice:
        """Returns the arm's choice of rate at its budget."""
        return self.ladder.choices[arm, self.ladder.best if arm == self.comparison.attention else self.budget]


def shares(counts: Counts, lengths: tuple[int, ...], comparison: Comparison) -> np.ndarray:
    """Computes the exact match of each seed at each length: share_RxL."""
    columns = [comparison.lengths.index(length) for length in lengths]
    return counts.count_RxL[:, columns] / counts.total_RxL[:, columns]


def short(arms: Arms) -> tuple[int, ...]:
    """Returns the lengths of the first half that both arms have learned: mean exact match of selection seeds ≥ 0.9 at the chosen rates."""
    comparison, known = arms.comparison, []
    for arm in (comparison.fixed, comparison.attention):
        budget = arms.ladder.best if arm == comparison.attention else arms.budget
        counts = arms.observations.get("selection", "free", arm, budget, arms.chosen(arm).rate)
        known.append(shares(counts, comparison.first, comparison).mean(0) >= KNOWN)
    return tuple(length for length, fixed, attention in zip(comparison.first, *known, strict=True) if fixed and attention)


def learned(arms: Arms) -> Condition:
    """Tests that attention has learned: the lower bound of the typical seed's exact match on the long half is at least ½."""
    interval = ladder.learned(arms.reported(arms.comparison.attention, "free"), arms.comparison)
    says = f"attention's exact match on {_range(arms.comparison.long)}"
    return Condition("learned", says, interval, ladder.LEARNED, interval.low >= ladder.LEARNED, np.nan)


def gap(arms: Arms) -> Condition:
    """Tests a: attention − fixed in exact match on the long half, typical seeds, has a lower bound above 0.1."""
    comparison = arms.comparison
    attention, fixed = (
        ladder.typical(arms.reported(arm, "free"), comparison.long, comparison) for arm in (comparison.attention, comparison.fixed)
    )

    def at(confidence: float) -> Interval:
        return intervals.difference(attention.interval(confidence), fixed.interval(confidence))

    interval = at(intervals.CONFIDENCE)
    says = f"attention − fixed in exact match on {_range(comparison.long)}"
    return Condition("gap", says, interval, MARGIN, interval.low > MARGIN, intervals.tail(at, MARGIN))


def memory(arms: Arms, of_short: tuple[int, ...]) -> Condition:
    """Tests b: (fixed − attention) log-odds of a teacher-forced symbol error, long − short, paired by seed, has a lower bound above 0.

        log((k/n + δ) / (1 − k/n + δ))        k errors of n symbols in a half;  δ = 1/(2 · the smaller half's n), one for all

    A handicap that is the same at every length is no memory. Exact match falls with length at a constant error per symbol; this does not.
    """
    comparison = arms.comparison
    grown = {arm: _growth(arms.reported(arm, "forced"), of_short, comparison) for arm in (comparison.fixed, comparison.attention)}
    difference_R = grown[comparison.fixed] - grown[comparison.attention]
    interval = intervals.student(difference_R)
    says = f"(fixed − attention) log-odds of a symbol error, {_range(comparison.long)} − {_range(of_short)}"
    return Condition("memory", says, interval, 0.0, interval.low > 0, intervals.student_tail(difference_R, 0.0))


def all_rates(arms: Arms) -> Condition:
    """Tests c: attention at its chosen rate − fixed, at every rate of its grid, is above 0.1; means over selection seeds."""
    comparison = arms.comparison
    ours = arms.selection(comparison.attention, arms.chosen(comparison.attention).rate)
    grid = sorted(arms.observations.losses[comparison.fixed, arms.budget])
    theirs = {rate: exact for rate in grid if (exact := arms.selection(comparison.fixed, rate)) is not None}
    rate = max(theirs, key=theirs.__getitem__)
    return mean("rates", "smallest gap of the fixed arm over its rates, selection seeds,", ours - theirs[rate], MARGIN, rate)


def placebo(arms: Arms) -> Condition:
    """Tests d: the fixed arm's gap − attention's gap at a neighbour of its own rate is above 0, for each; means over selection seeds."""
    comparison = arms.comparison
    attention = arms.chosen(comparison.attention)
    fixed = arms.selection(comparison.fixed, arms.chosen(comparison.fixed).rate)
    beside = rates.neighbours(attention, arms.observations.losses[comparison.attention, arms.ladder.best])
    says = "the fixed arm's gap − attention's one rate off, selection seeds,"
    if not beside:
        return Condition("placebo", says, Interval(np.nan, np.nan, np.nan, 0), 0.0, True, np.nan)
    losses = {rate: arms.selection(comparison.attention, rate) - fixed for rate in beside}
    rate = min(losses, key=losses.__getitem__)
    return mean("placebo", says, losses[rate], 0.0, rate)


def mean(name: str, says: str, value: float, threshold: float, rate: float) -> Condition:
    """Returns a condition on a mean over selection seeds, which has no interval; `rate` is the one that decided."""
    return Condition(name, says, Interval(value, np.nan, np.nan, 0), threshold, value > threshold, np.nan, rate)


def _growth(counts: Counts, of_short: tuple[int, ...], comparison: Comparison) -> np.ndarray:
    halves = [[comparison.lengths.index(length) for length in half] for half in (of_short, comparison.long)]
    errors, symbols = ([values[:, half].sum(1) for half in halves] for values in (counts.count_RxL, counts.total_RxL))
    floor = 1 / (2 * np.minimum(*symbols))
    low, high = (np.log((k / n + floor) / (1 - k / n + floor)) for k, n in zip(errors, symbols, strict=True))
    return high - low


def _range(lengths: tuple[int, ...]) -> str:
    return f"lengths {lengths[0]} to {lengths[-1]}"
