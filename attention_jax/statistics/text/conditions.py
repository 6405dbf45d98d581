"""The conditions of a verdict on text, one function each: learned, a gap, b widening and ratio, c rates, d placebo.

Losses are nats per target token of a half of the trained buckets, and tokens weigh alike; so are error rates, in errors per symbol, by a
`Measure` whose bars are then those of the conditions. Learned, a and b have intervals of a bootstrap
over seeds and sentences; c and d are means over the selection seeds.
"""

from typing import NamedTuple

import numpy as np

from attention_jax.statistics import rates
from attention_jax.statistics.conditions import Condition, mean
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Ladder
from attention_jax.statistics.observations import Comparison
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import Estimate, Sums
from attention_jax.statistics.text.measures import Measure
from attention_jax.statistics.text.observations import CONTROL, Observations


class Arms(NamedTuple):
    """Observations, comparison and rates of all arms at one rung."""

    seen: Observations
    comparison: Comparison
    ladder: Ladder
    budget: int  # the fixed arm's; attention and control are at attention's best rung

    def place(self, arm: str) -> tuple[str, int]:
        """Returns (arm, its budget)."""
        return arm, self.budget if arm == self.comparison.fixed else self.ladder.best

    def rate(self, arm: str) -> float:
        """Returns the arm's chosen rate at its budget."""
        return self.ladder.choices[self.place(arm)].rate

    def reported(self, arm: str) -> Sums:
        """Returns the sums of an arm's reported seeds at its chosen rate."""
        return self.seen.reported[(*self.place(arm), self.rate(arm))]

    def selection(self, arm: str) -> dict[float, float]:
        """Returns {rate: loss on the long half, mean over selection seeds} of an arm, without rates at which a seed diverged."""
        place = self.place(arm)
        grid = [rate for rate in sorted(self.seen.losses[place]) if rate not in self.ladder.choices[place].excluded]
        return {rate: float(np.mean(list(self.seen.long[(*place, rate)].values()))) for rate in grid}

    @property
    def measure(self) -> Measure:
        """What is compared."""
        return self.seen.measure


STATISTICS = {"gap": blocks.gap, "widening": blocks.widening, "ratio": blocks.ratio}
"""What the bootstrap draws of (fixed, attention), by condition."""


def estimate(arms: Arms, name: str) -> Estimate:
    """Estimates a condition by bootstrap: "learned", or one of `STATISTICS`."""
    attention = arms.reported(arms.comparison.attention)
    if name == "learned":
        return blocks.estimate(blocks.gap, arms.reported(CONTROL), attention)
    return blocks.estimate(STATISTICS[name], arms.reported(arms.comparison.fixed), attention)


def learned(arms: Arms) -> Condition:
    """Tests that attention has learned: its loss on the long half is below that of the control, which does not see the source.

    The lower bound of the difference in nats per token is above 0.05.
    """
    says = f"blind − attention in {arms.measure.unit} on {_long(arms)}"
    return _condition(arms, "learned", says, arms.measure.learned)._replace(p=np.nan)


def gap(arms: Arms) -> Condition:
    """Tests a: fixed − attention in nats per token on the long half has a lower bound above 0.05."""
    return _condition(arms, "gap", f"fixed − attention in {arms.measure.unit} on {_long(arms)}", arms.measure.margin)


def widening(arms: Arms) -> Condition:
    """Tests b: fixed − attention in nats per token, long − short, has a lower bound above 0. Equal nats at every length do not count."""
    return _condition(arms, "widening", f"fixed − attention in {arms.measure.unit}, long − short", 0.0)


def ratio(arms: Arms) -> Condition:
    """Tests b: log(fixed / attention) of the losses, long − short, has a lower bound above 0.

    An equal factor at every length does not count.
    """
    return _condition(arms, "ratio", "log of fixed/attention, long − short", 0.0)


def all_rates(arms: Arms) -> Condition:
    """Tests c: fixed at every rate of its grid − attention at its chosen rate is above 0.05 nats; means over selection seeds."""
    fixed, attention = arms.comparison.fixed, arms.comparison.attention
    theirs = arms.selection(fixed)
    rate = min(theirs, key=theirs.__getitem__)
    value = theirs[rate] - arms.selection(attention)[arms.rate(attention)]
    says = f"smallest gap of the fixed arm over its rates, {arms.measure.unit}, selection seeds,"
    return mean("rates", says, value, arms.measure.margin, rate)


def placebo(arms: Arms) -> Condition:
    """Tests d: the fixed arm's gap − attention's gap at a neighbour of its own rate is above 0, for each; means over selection seeds."""
    fixed, attention = arms.comparison.fixed, arms.comparison.attention
    place, ours = arms.place(attention), arms.selection(attention)
    beside = rates.neighbours(arms.ladder.choices[place], arms.seen.losses[place])
    says = f"the fixed arm's gap − attention's one rate off, {arms.measure.unit}, selection seeds,"
    if not beside:
        return Condition("placebo", says, Interval(np.nan, np.nan, np.nan, 0), 0.0, True, np.nan)
    rate = max(beside, key=ours.__getitem__)
    return mean("placebo", says, arms.selection(fixed)[arms.rate(fixed)] - ours[rate], 0.0, rate)


def _condition(arms: Arms, name: str, says: str, threshold: float) -> Condition:
    found = estimate(arms, name)
    interval = found.interval()
    return Condition(name, says, interval, threshold, interval.low > threshold, found.p(threshold))


def _long(arms: Arms) -> str:
    comparison = arms.comparison
    return f"sources of {comparison.lengths[-len(comparison.long) - 1] + 1} to {comparison.lengths[-1]} {arms.measure.lengths}"
