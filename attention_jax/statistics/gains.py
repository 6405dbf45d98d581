"""What one arm gains over another on a ladder of budgets: symbols of critical length, or a multiple of the budget; paired by seed.

    gain(B)   = L(ours, B) − L(theirs, B)
    worth(B)  = k with L(theirs, k B) = L(ours, B)        their L linear in log budget between rungs

At a finite budget the two are one measurement in two units: an arm whose L grows with the logarithm of its budget makes up any gain with
enough updates. Only an arm whose L has stopped growing cannot.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from attention_jax.statistics import lengths
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.lengths import CriticalLength

Criticals = Sequence[CriticalLength]
"""Critical lengths of an arm at one budget, in order of seeds."""


def worth(ours: Criticals, theirs: Mapping[int, Criticals], budget: int) -> tuple[Interval, str]:
    """Returns k of `ours` at a budget on the ladder `theirs`, {budget: critical lengths}, and its sign as in `lengths.over_seeds`.

    The mean is geometric and the interval Student's of log k over seeds. Beyond the ladder a seed has a bound: ">=" where their longest
    budget does not get there, "<=" where their smallest is further already. Rungs at which their critical length is a bound are left out.
    """
    interval, sign = lengths.over_seeds([_shift(each, {b: of[r] for b, of in theirs.items()}, budget) for r, each in enumerate(ours)])
    mean, low, high = (float(np.exp2(x)) for x in interval[:3])
    return Interval(mean, low, high, interval.n), sign


def _shift(wanted: CriticalLength, ladder: Mapping[int, CriticalLength], budget: int) -> CriticalLength:
    """Returns log₂ k of one seed, where its ladder reaches the wanted length for the first time."""
    rungs = [(float(np.log2(each / budget)), found.length) for each, found in sorted(ladder.items()) if found.bound == "exact"]
    if wanted.bound != "exact" or not rungs:
        return CriticalLength(float("nan"), "unsupported")
    if wanted.length <= rungs[0][1]:
        return CriticalLength(rungs[0][0], "exact" if wanted.length == rungs[0][1] else "below")
    for (before, short), (after, long) in pairwise(rungs):
        if short < wanted.length <= long:
            return CriticalLength(before + (after - before) * (wanted.length - short) / (long - short), "exact")
    return CriticalLength(rungs[-1][0], "at_least")
