"""Are arms ordered on text as was declared? Steps from the worse arm to the better one, each judged by loss on the whole test set.

A step holds where all of these do; losses are nats per target token:

    gap      worse − better has a lower bound above 0: a bootstrap over seeds and blocks of sentences, p corrected for all steps (Holm)
    rates    the worse arm at every rate of its grid − the better one at its own is above 0; means over selection seeds
    placebo  the worse arm at its own rate − the better one at each neighbour of its own is above 0; means over selection seeds. A neighbour
             at which the better arm has not learned, 0.05 below the control at its best, counts as one at which it diverged: for none

It is `alike` where the upper bound of the gap lies below 0.05, and `open` else. The order holds where every step does; it does not where a
step is alike or reversed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.conditions import Condition, mean
from attention_jax.statistics.rates import Choice, Losses
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import Estimate, Sums
from attention_jax.statistics.text.measures import NATS

HOLDS, ALIKE, OPEN = "holds", "alike", "open"

LEVEL = (1 - intervals.CONFIDENCE) / 2
"""Of one-sided p, as that of the intervals."""


class Arm(NamedTuple):
    """What was measured of an arm at one budget."""

    name: str
    sums: Sums  # of the whole test set, `blocks.whole`
    curve: Losses  # validation loss of selection seeds by rate
    choice: Choice


class Step(NamedTuple):
    """A step of the declared order. `p` is one-sided, of the gap, corrected for all steps."""

    worse: str
    better: str
    gap: Estimate
    conditions: tuple[Condition, ...]  # gap, rates, placebo
    p: float = math.nan

    @property
    def name(self) -> str:
        """The arms, the worse one first."""
        return f"{self.worse} < {self.better}"

    @property
    def value(self) -> str:
        """ "holds", "alike" or "open"."""
        if all(condition.met for condition in self.conditions) and self.p <= LEVEL:
            return HOLDS
        return ALIKE if self.conditions[0].interval.high < NATS.margin else OPEN

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the conditions that are not met; "families" where the corrected p alone is too large."""
        names = tuple(condition.name for condition in self.conditions if not condition.met)
        return names or (("families",) if self.p > LEVEL else ())


def steps(pairs: Sequence[tuple[Arm, Arm]], control: Losses) -> list[Step]:
    """Judges the steps of an order, pairs (worse, better); their p are corrected together. `control` is the rate curve of the control.

    Raises `DataError` for arms of different seeds or sentences, and for a test set of fewer than `blocks.FEWEST` blocks.
    """
    level = min(float(np.mean(list(of_seed.values()))) for of_seed in control.values()) - NATS.learned
    found = [_step(worse, better, level) for worse, better in pairs]
    p = intervals.holm({step.name: step.gap.p(0.0) for step in found})
    return [step._replace(p=p[step.name]) for step in found]


def learned(control: Sums, arm: Arm) -> Condition:
    """Tests that an arm has learned to translate: control − arm has a lower bound above 0.05 nats; the control sees no source."""
    found = blocks.estimate(blocks.gap, control, arm.sums)
    interval = found.interval()
    return Condition("learned", f"blind − {arm.name} in nats", interval, NATS.learned, interval.low > NATS.learned, math.nan)


def losses(sums: Sums) -> dict[int, float]:
    """Returns {seed: nats per token on the whole test set}."""
    tokens = sums.tokens_Kx2[:, blocks.LONG].sum()
    return dict(zip(sums.seeds, (sums.nll_RxKx2[:, :, blocks.LONG].sum(1) / tokens).tolist(), strict=True))


def _step(worse: Arm, better: Arm, level: float) -> Step:
    found = blocks.estimate(blocks.gap, worse.sums, better.sums)
    interval = found.interval()
    gap = Condition("gap", f"{worse.name} − {better.name} in nats", interval, 0.0, interval.low > 0, found.p(0.0))
    return Step(worse.name, better.name, found, (gap, _all_rates(worse, better), _placebo(worse, better, level)))


def _all_rates(worse: Arm, better: Arm) -> Condition:
    theirs, ours = _means(worse), _means(better)
    rate = min(theirs, key=theirs.__getitem__)
    says = f"smallest gap over the rates of {worse.name}, selection seeds,"
    return mean("rates", says, theirs[rate] - ours[better.choice.rate], 0.0, rate)


def _placebo(worse: Arm, better: Arm, level: float) -> Condition:
    says, ours = f"{worse.name} − {better.name} one rate off, selection seeds,", _means(better)
    beside = [rate for rate in rates.neighbours(better.choice, better.curve) if ours[rate] < level]
    if not beside:
        return Condition("placebo", says, intervals.Interval(np.nan, np.nan, np.nan, 0), 0.0, True, np.nan)
    rate = max(beside, key=ours.__getitem__)
    return mean("placebo", says, _means(worse)[worse.choice.rate] - ours[rate], 0.0, rate)


def _means(arm: Arm) -> Mapping[float, float]:
    """Returns {rate: mean validation loss over selection seeds}, without rates at which a seed diverged."""
    return {rate: float(np.mean(list(of_seed.values()))) for rate, of_seed in arm.curve.items() if rate not in arm.choice.excluded}
