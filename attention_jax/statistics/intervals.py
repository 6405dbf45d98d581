"""Confidence intervals over seeds: of the mean, new means, the typical seed, a difference, a share; one-sided p and Holm's correction.

The seed is the unit of replication. Seeds of one arm scatter in their log-odds; the *typical seed* is σ(E θ), θ the log-odds of a seed's
own rate, which is the median seed where θ is symmetric. It is not the mean rate E σ(θ), which a few failed seeds move.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites

CONFIDENCE = 0.95  # of every interval, two-sided
FAILED = 0.5  # forced symbol accuracy on short lengths below which a seed has failed to train
RESAMPLES = 2000

INNER, OUTER = 0.5, 0.1
"""Added to counts before a logarithm is taken: ½, which is nearly unbiased, and less where an interval looks towards 0 or 1."""


class Interval(NamedTuple):
    """A value from n seeds and its confidence interval; low and high are nan where there is none."""

    mean: float
    low: float
    high: float
    n: int

    def within(self, least: float, most: float) -> "Interval":
        """Returns it clipped to the range of its value, as a share's to 0 … 1; an end that is nan stays so."""
        return self._replace(low=float(np.maximum(self.low, least)), high=float(np.minimum(self.high, most)))

    def of_difference(self, least: float, most: float) -> "Interval":
        """Returns it clipped to what the difference of two values of this range can be, as that of two shares to −1 … 1."""
        return self.within(least - most, most - least)


def student(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE, freedom: float | None = None) -> Interval:
    """Returns x̄ ± t · s/√n, Student's interval of the mean over seeds; one seed has none. Raises `DataError` for no seed.

    t has n − 1 degrees of freedom unless `freedom` says otherwise.
    """
    values_R = np.asarray(values, float)
    n = len(values_R)
    if n == 0:
        raise DataError("an interval needs at least one seed")
    mean = float(values_R.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    from scipy import special  # only now: it takes a third of a second to import

    half = float(special.stdtrit(freedom or n - 1, (1 + confidence) / 2) * values_R.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired(a_by_seed: Mapping[int, float], b_by_seed: Mapping[int, float], confidence: float = CONFIDENCE) -> Interval:
    """Returns Student's interval of a − b, paired by seed. Raises `DataError` for a seed that only one side has."""
    if unpaired := sorted(set(a_by_seed) ^ set(b_by_seed)):
        raise DataError(f"seeds {unpaired} are in only one of the two arms")
    return student([a_by_seed[seed] - b_by_seed[seed] for seed in sorted(a_by_seed)], confidence)


@cites("clopper1934")
def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Returns the exact interval of a share of independent trials (Clopper and Pearson 1934), by quantiles of beta distributions."""
    if not 0 <= count <= total or total == 0:
        raise DataError(f"{count} of {total} is no share")
    from scipy import special  # only now: it takes a third of a second to import

    tail = (1 - confidence) / 2
    low = float(special.betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Interval(count / total, low, high, total)


class TypicalSeed(NamedTuple):
    """Sufficient statistics of the typical seed: its interval at any confidence comes from these."""

    centre: float  # mean log-odds
    low: tuple[float, float]  # mean and standard error of log-odds, looking down
    high: tuple[float, float]  # and up
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]  # not the tuple's method
    total: int
    n: int

    @property
    def error(self) -> float:
        """The standard error of the rate, by the delta method."""
        from scipy import special

        return float(special.expit(self.centre) * special.expit(-self.centre)) * max(self.low[1], self.high[1])

    def interval(self, confidence: float = CONFIDENCE, freedom: float | None = None) -> Interval:
        """Computes a Student interval of the mean log-odds, mapped by σ and united with Clopper–Pearson's on pooled counts.

        One seed has no interval. Student's t has n − 1 degrees of freedom unless `freedom` says otherwise.
        """
        from scipy import special

        mean = float(special.expit(self.centre))
        if self.n == 1:
            return Interval(mean, np.nan, np.nan, 1)
        t = float(special.stdtrit(freedom or self.n - 1, (1 + confidence) / 2))
        pooled = clopper_pearson(self.count, self.total, confidence)
        low, high = special.expit(self.low[0] - t * self.low[1]), special.expit(self.high[0] + t * self.high[1])
        return Interval(mean, min(float(low), pooled.low), max(float(high), pooled.high), self.n)


def typical(counts_R: Sequence[int] | np.ndarray, totals_R: Sequence[int] | np.ndarray) -> TypicalSeed:
    """Returns the typical seed of counts per seed.

    Log-odds of a seed: log((k + a)/(n − k + b)), a = b = ½. A seed without errors says only that its log-odds are large; so the upper
    end is the higher of those with b = ½ and b = 0.1, the lower end the lower of those with a = ½ and a = 0.1. Where all counts are large
    this changes nothing. Coverage and width over seeds, scatter and rates: docs/characteristics.md.
    """
    counts, totals = np.asarray(counts_R), np.asarray(totals_R)
    if counts.shape != totals.shape or counts.ndim != 1 or not counts.size or not ((counts >= 0) & (counts <= totals) & (totals > 0)).all():
        raise DataError("a typical seed needs counts between 0 and their totals, one of each for every seed")
    n, t = len(counts), 2.0
    ends = []
    for right, wrong in ((INNER, INNER), (OUTER, INNER), (INNER, OUTER)):
        logits = np.log((counts + right) / (totals - counts + wrong))
        ends.append((float(logits.mean()), float(logits.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan))
    plain, down, up = ends
    low = min(plain, down, key=lambda end: end[0] - t * end[1])
    high = max(plain, up, key=lambda end: end[0] + t * end[1])
    return TypicalSeed(plain[0], low, high, int(counts.sum()), int(totals.sum()), n)


def typical_seed(counts_R: Sequence[int] | np.ndarray, totals_R: Sequence[int] | np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Returns the interval of the typical seed, σ(E θ), from counts per seed such as exact matches of examples; see `typical`."""
    return typical(counts_R, totals_R).interval(confidence)


@cites("zou2008")
def difference(a: Interval, b: Interval) -> Interval:
    """Returns the interval of a − b from the intervals of both (MOVER: Zou and Donner 2008).

        low  = d − √((a − low_a)² + (high_b − b)²)        d = a − b
        high = d + √((high_a − a)² + (b − low_b)²)

    The arms count as independent, which is wide where the same seed helps both.
    """
    d = a.mean - b.mean
    low = d - float(np.hypot(a.mean - a.low, b.high - b.mean))
    high = d + float(np.hypot(a.high - a.mean, b.mean - b.low))
    return Interval(d, low, high, min(a.n, b.n))


@cites("welch1947", "satterthwaite1946")
def welch(a_R: Sequence[float], b_R: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the interval of mean a − mean b, unpaired, with unequal variances (Welch 1947); one seed on a side has none.

    ν = (v_a + v_b)² / (v_a²/(n_a − 1) + v_b²/(n_b − 1))        v = s²/n (Satterthwaite 1946)
    """
    a, b = np.asarray(a_R, float), np.asarray(b_R, float)
    freedom = _freedom(*((len(x), x.var(ddof=1) / len(x) if len(x) > 1 else np.nan) for x in (a, b)))
    return difference(student(a, confidence, freedom), student(b, confidence, freedom))


def typical_difference(a: TypicalSeed, b: TypicalSeed, confidence: float = CONFIDENCE) -> Interval:
    """Returns the interval of a − b of two typical seeds, unpaired: MOVER of their intervals, both at Welch's degrees of freedom.

    ν is that of `welch` with v = (p (1 − p) s/√n)², p the rate and s that of log-odds. Against `difference` of the two intervals at
    n − 1 each this matters far out: at 8 seeds and 99.93 % t is 4.3 instead of 5.8.
    """
    freedom = _freedom((a.n, a.error**2), (b.n, b.error**2))
    return difference(a.interval(confidence, freedom), b.interval(confidence, freedom))


def _freedom(a: tuple[int, float], b: tuple[int, float]) -> float | None:
    """Returns Welch's ν of two (n, v); None where a side has one seed, so that v is nan, or neither scatters."""
    total = a[1] + b[1]
    if not total > 0:
        return None
    return 1 / sum((v / total) ** 2 / (n - 1) for n, v in (a, b))


def prediction(shares_R: Sequence[float], examples: int, repeats: int, samples: int, confidence: float = CONFIDENCE) -> Interval:
    """Returns where the mean of `repeats` new seeds lies, each a share of `samples` examples; from shares of `examples` examples each.

        x̄ ± t √(s²/n + s²/r + (1/e − 1/E) · q/r)        q the mean of x (1 − x), r repeats, e samples, E examples

    s² has the scatter of seeds and that of E examples; a new share has that of e. t has n − 1 degrees of freedom. One seed has no interval.
    """
    x = np.asarray(shares_R, float)
    here = student(x, confidence)
    if here.n == 1:
        return here
    scatter = float(x.var(ddof=1))
    drawn = scatter + max(1 / samples - 1 / examples, 0.0) * float((x * (1 - x)).mean())
    from scipy import special  # only now: it takes a third of a second to import

    half = float(special.stdtrit(here.n - 1, (1 + confidence) / 2)) * float(np.sqrt(scatter / here.n + drawn / repeats))
    return Interval(here.mean, here.mean - half, here.mean + half, here.n)


def tail(at: Callable[[float], Interval], threshold: float) -> float:
    """Returns the one-sided p of "not above `threshold`": (1 − c)/2 at the confidence c whose interval `at(c)` just touches it.

    Between 1e-12 and 1 − 1e-12, by bisection on log((1 − c)/2). Above ½ where the value itself is not above the threshold.
    """
    above = at(CONFIDENCE).mean > threshold
    low, high = np.log(1e-12), np.log(0.5)
    for _ in range(30):
        middle = (low + high) / 2
        interval = at(1 - 2 * float(np.exp(middle)))
        beyond = interval.low > threshold if above else interval.high < threshold
        low, high = (low, middle) if beyond else (middle, high)
    p = float(np.exp(high))
    return p if above else 1 - p


def student_tail(values: Sequence[float] | np.ndarray, threshold: float) -> float:
    """Returns the one-sided p of "the mean is not above `threshold`", by Student's t over seeds; without scatter it is 0, ½ or 1."""
    from scipy import special

    values_R = np.asarray(values, float)
    above, error = values_R.mean() - threshold, values_R.std(ddof=1) / np.sqrt(len(values_R))
    return float(special.stdtr(len(values_R) - 1, -above / error)) if error > 0 else (1 - float(np.sign(above))) / 2


def two_sided(tail: float) -> float:
    """Returns the two-sided p of a one-sided one."""
    return min(1.0, 2 * min(tail, 1 - tail))


def student_p(values: Sequence[float] | np.ndarray, threshold: float = 0.0) -> float:
    """Returns the two-sided p of "the mean is `threshold`", by Student's t over seeds; 1 for a single seed."""
    tail = student_tail(values, threshold) if len(values) > 1 else 0.5
    return two_sided(tail)


@cites("holm1979")
def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Returns Holm's adjusted p (Holm 1979): the i-th smallest of m times m − i + 1, at most 1, never below the one before."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        largest = min(1.0, max(largest, (len(p) - rank) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def failed_share(accuracies_R: Sequence[float] | np.ndarray, below: float = FAILED) -> Interval:
    """Returns the share of seeds that failed to train (forced symbol accuracy on short lengths < ½), with Clopper–Pearson's interval."""
    accuracies = np.asarray(accuracies_R, float)
    return clopper_pearson(int((accuracies < below).sum()), len(accuracies))


@cites("agarwal2021")
def interquartile_mean(values_R: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the interquartile mean over seeds (Agarwal 2021), ⌊n/4⌋ left out at each end, with a percentile bootstrap over seeds."""
    values = np.asarray(values_R, float)
    return _bootstrap(lambda drawn: _middle(drawn).mean(-1), [values], confidence)


@cites("agarwal2021")
def better(a_R: Sequence[float], b_R: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns P(a seed of a beats one of b), ties counting half (Agarwal 2021), with a percentile bootstrap over the seeds of both."""

    def share(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = a[..., :, None], b[..., None, :]
        return (np.greater(a, b) + 0.5 * np.equal(a, b)).mean((-2, -1))

    return _bootstrap(share, [np.asarray(a_R, float), np.asarray(b_R, float)], confidence)


def _middle(values: np.ndarray) -> np.ndarray:
    cut = values.shape[-1] // 4
    return np.sort(values, -1)[..., cut : values.shape[-1] - cut]


def _bootstrap(statistic: Callable, arms: list[np.ndarray], confidence: float) -> Interval:
    if not all(arm.size for arm in arms):
        raise DataError("an interval needs at least one seed in each arm")
    random = np.random.default_rng(0)
    drawn = statistic(*(arm[random.integers(0, len(arm), (RESAMPLES, len(arm)))] for arm in arms))
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(float(statistic(*arms)), float(low), float(high), min(map(len, arms)))
