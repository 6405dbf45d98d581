"""Least budgets: how many updates it takes until exact match at one length reaches a level, from runs on a ladder of budgets.

    U*: p(U*) = level        p the exact match of a run of U updates, annealed to its own end

A rung says only on which side of U* it lies, so that U* is known to be between two rungs. The estimate is between them: log-odds of exact
match, which isotonic regression has made monotone in the budget, are interpolated in log budget. A ladder that ends below the level leaves
a lower bound, one that begins above it an upper bound. The search for U* by doubling and halving (Ebrahimi 2026, arXiv 2602.18333) has
the same two ends; a ladder is its list of runs, fixed beforehand.

A law of U* in the length is `laws.power`, on lengths whose U* is exact. In 800 simulated sweeps of five lengths, four seeds and rungs a
factor of 2 apart, U* scattering by 0.15 in its logarithm, its interval covers a planted exponent of 1 or 3 in 0.96. Where the longest
length is a bound in every second sweep, and then no point, it does in 0.95, and the exponent is 0.03 too small on average.
"""

from collections.abc import Sequence

import numpy as np

from attention_jax.statistics import laws
from attention_jax.statistics.intervals import INNER
from attention_jax.statistics.laws import Pooled
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.system.errors import DataError


def least(
    budgets_U: Sequence[int] | np.ndarray, exact_U: Sequence[int] | np.ndarray, examples_U: Sequence[int] | np.ndarray, level: float
) -> CriticalLength:
    """Returns U* of counts of exact matches out of so many examples at each budget, as the `length` of a record, in updates.

    Its bound is "exact" between two rungs, "at_least" the last rung where none reaches the level, "below" the first where that one does.
    Log-odds are log((k + ½)/(n − k + ½)). Raises `DataError` for no rung, a rung twice, and invalid counts.
    """
    budgets, k, n = np.asarray(budgets_U, float), np.asarray(exact_U, float), np.asarray(examples_U, float)
    fits = budgets.size and np.unique(budgets).size == budgets.size and budgets.shape == k.shape == n.shape and budgets.min() > 0
    if not fits or (k < 0).any() or (k > n).any() or not n.all():
        raise DataError("a least budget needs one or more different budgets, and for each exact matches out of so many examples")
    order = np.argsort(budgets)
    log_odds = increasing(np.log((k + INNER) / (n - k + INNER))[order])
    logs, wanted = np.log(budgets[order]), np.log(level / (1 - level))
    first = int(np.searchsorted(log_odds, wanted))
    if first == len(logs):
        return CriticalLength(float(budgets.max()), "at_least")
    if first == 0:
        return CriticalLength(float(budgets.min()), "below")
    share = (wanted - log_odds[first - 1]) / (log_odds[first] - log_odds[first - 1])
    return CriticalLength(float(np.exp(logs[first - 1] + share * (logs[first] - logs[first - 1]))), "exact")


def increasing(values_U: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the isotonic regression of equally weighted values: the nearest values, by squares, that never fall."""
    pools: list[tuple[float, int]] = []  # mean and number of values
    for value in values_U:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (x, m), (y, n) = pools[-2:]
            pools[-2:] = [((m * x + n * y) / (m + n), m + n)]
    return np.repeat([mean for mean, _ in pools], [count for _, count in pools])


def pooled(budgets_U: Sequence[int] | np.ndarray, exact_RxU: np.ndarray, examples_RxU: np.ndarray, level: float) -> Pooled:
    """Returns U* of counts pooled over seeds, with a jackknife interval of log U* over seeds as that of `laws.pooled`."""
    exact, examples = np.asarray(exact_RxU), np.asarray(examples_RxU)
    found = least(budgets_U, exact.sum(0), examples.sum(0), level)
    pairs = zip(exact.sum(0) - exact, examples.sum(0) - examples, strict=True) if len(exact) > 1 else ()
    return laws.jackknifed(found, [least(budgets_U, *pair, level) for pair in pairs], len(exact))
