"""Critical lengths, at which exact match falls to a level, by maximum likelihood: a logistic curve in log length with an asymptote.

    p(l) = A · σ(a − b · log l)        0 < A ≤ 1,  b ≥ 0
    L50: p(L50) = ½                    L99: p(L99) = 0.99

Interpolation between two neighbouring lengths, `interpolated`, uses two counts of a curve; the fit uses all of them.
Lengths are payload tokens. Give trained lengths only: beyond the longest of them a critical length is a bound.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.statistics.intervals import Interval, student
from attention_jax.system.errors import DataError

ASYMPTOTES = np.array(
    (1, 0.9995, 0.999, 0.998, 0.996, 0.994, 0.992, 0.99, 0.985, 0.98, 0.97, 0.95, 0.92, 0.88, 0.83, 0.77, 0.7, 0.6, 0.5, 0.3)
)
"""A is the likeliest of these."""
DROP = 1.92  # half the 95 % quantile of χ² with one degree of freedom: asymptotes that lose less log-likelihood than this remain possible
STEEPEST = 40.0  # standard deviation of the normal prior of b: curves that fall from 1 to 0 between two lengths have no likeliest slope
ITERATIONS = 16


class CriticalLength(NamedTuple):
    """A length with its `bound`: the true one is "exact" about this length, "at_least" or "below" it; "unsupported": there is none."""

    length: float
    bound: str


class Fit(NamedTuple):
    """A fitted curve; `lowest` is the smallest asymptote that the counts do not reject."""

    asymptote: float
    lowest: float
    a: float
    b: float
    lengths: tuple[float, ...]

    def at(self, length: float) -> float:
        """Returns p(l)."""
        from scipy import special

        return float(self.asymptote * special.expit(self.a - self.b * np.log(length)))

    def critical(self, level: float) -> CriticalLength:
        """Returns the length at which the curve falls to `level`, between the shortest and the longest length.

        "unsupported" where an asymptote at or below the level remains possible: L99 then has no meaning. A curve that is
        below the level from the shortest length on is "below" it.
        """
        from scipy import special

        shortest, longest = self.lengths[0], self.lengths[-1]
        if self.at(shortest) < level:
            return CriticalLength(shortest, "below" if level <= 0.5 or self.lowest > level else "unsupported")
        if self.lowest <= level:
            return CriticalLength(np.nan, "unsupported")
        if self.at(longest) >= level:
            return CriticalLength(longest, "at_least")
        return CriticalLength(float(np.exp((self.a - special.logit(level / self.asymptote)) / self.b)), "exact")


def fit(lengths_L: Sequence[float] | np.ndarray, exact_RxL: np.ndarray, examples_RxL: np.ndarray) -> list[Fit]:
    """Fits a curve per seed to counts of exact matches by maximum binomial likelihood, A from `ASYMPTOTES`.

    For each A, a and b by Fisher scoring; b has a wide normal prior (40 per unit of log length), so that a step has a slope too.
    Raises `DataError` for fewer than two lengths, or invalid counts.
    """
    from scipy import special

    lengths = np.asarray(lengths_L, float)
    k, n = np.asarray(exact_RxL, float), np.asarray(examples_RxL, float)
    order = np.argsort(lengths)
    fits = len(lengths) >= 2 and np.unique(lengths).size == lengths.size and lengths.min() > 0 and k.shape == n.shape
    if not fits or k.shape[-1:] != lengths.shape or (k < 0).any() or (k > n).any() or not n.all():
        raise DataError("a curve needs two or more different lengths, and for each seed and length exact matches out of so many examples")
    lengths, k, n = lengths[order], k[:, order], n[:, order]
    centre = np.log(lengths).mean()
    x = (np.log(lengths) - centre)[None, None, :]
    k, n, A = k[:, None, :], n[:, None, :], ASYMPTOTES[None, :, None]
    a, b = _start(k / n, x, A)
    for _ in range(ITERATIONS):
        s = special.expit(a[..., None] - b[..., None] * x)
        p = np.clip(A * s, 1e-9, 1 - 1e-9)
        slope = A * s * (1 - s)
        score, weight = (k - n * p) / (p * (1 - p)) * slope, n * slope**2 / (p * (1 - p)) + 1e-9
        g_a, g_b = score.sum(-1), -(score * x).sum(-1) - b / STEEPEST**2
        h_aa, h_ab, h_bb = weight.sum(-1), -(weight * x).sum(-1), (weight * x**2).sum(-1) + STEEPEST**-2
        det = h_aa * h_bb - h_ab**2 + 1e-12
        step_a, step_b = (h_bb * g_a - h_ab * g_b) / det, (h_aa * g_b - h_ab * g_a) / det
        scale = 1 / np.maximum(1, np.maximum(np.abs(step_a), np.abs(step_b)) / 3)
        a, b = a + scale * step_a, np.maximum(b + scale * step_b, 0)
        if max(np.abs(scale * step_a).max(), np.abs(scale * step_b).max()) < 1e-4:
            break
    p = np.clip(A * special.expit(a[..., None] - b[..., None] * x), 1e-12, 1 - 1e-12)
    likelihood = (special.xlogy(k, p) + special.xlog1py(n - k, -p)).sum(-1) - b**2 / (2 * STEEPEST**2)
    best = likelihood.argmax(-1)
    possible = likelihood >= likelihood.max(-1, keepdims=True) - DROP
    lowest = np.where(possible, ASYMPTOTES[None, :], 1.0).min(-1)
    rows = np.arange(len(best))
    a, b = a[rows, best], b[rows, best]
    trained = tuple(lengths.tolist())
    return [
        Fit(float(ASYMPTOTES[i]), float(low), float(each_a + each_b * centre), float(each_b), trained)
        for i, low, each_a, each_b in zip(best, lowest, a, b, strict=True)
    ]


def _start(share: np.ndarray, x: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns starting values for each asymptote: least squares of log-odds on log length."""
    share = np.clip(share / A, 0.01, 0.99)
    y = np.log(share / (1 - share))
    slope = (y * x).sum(-1) / (x**2).sum(-1)
    return y.mean(-1), np.maximum(-slope, 0.1)


def critical(
    lengths_L: Sequence[float] | np.ndarray, exact_RxL: np.ndarray, examples_RxL: np.ndarray, level: float
) -> list[CriticalLength]:
    """Returns the critical length of each seed: L50 for level 0.5."""
    return [curve.critical(level) for curve in fit(lengths_L, exact_RxL, examples_RxL)]


def over_seeds(criticals: Sequence[CriticalLength]) -> tuple[Interval, str]:
    """Returns the mean over seeds with Student's interval, and its sign: "=", ">=", "<=" or "?".

    One seed at its bound makes the mean a bound and leaves no interval; "?" where bounds lie on both sides, or a curve has no such length.
    """
    interval = student([each.length for each in criticals])
    bounds = {each.bound for each in criticals}
    if bounds == {"exact"}:
        return interval, "="
    bound = "?" if "unsupported" in bounds or bounds >= {"at_least", "below"} else ">=" if "at_least" in bounds else "<="
    return interval._replace(low=np.nan, high=np.nan), bound


def change(later: Sequence[CriticalLength], earlier: Sequence[CriticalLength]) -> Interval:
    """Returns the interval of later − earlier in tokens, paired by seed; without an upper end where any of them is a bound."""
    interval = student([a.length - b.length for a, b in zip(later, earlier, strict=True)])
    exact = {each.bound for each in (*later, *earlier)} == {"exact"}
    return interval if exact else interval._replace(low=np.nan, high=np.nan)


def interpolated(lengths: Sequence[float] | np.ndarray, exact_match: Sequence[float] | np.ndarray, level: float) -> CriticalLength:
    """Returns the first length at which exact match falls below `level` (.99: L99, .50: L50), linear between evaluated lengths.

    l = lᵢ + (lᵢ₊₁ − lᵢ) · (eᵢ − level) / (eᵢ − eᵢ₊₁) at the first eᵢ₊₁ < level. Where e₁ < level already: "below" l₁.
    Where it never falls below: "at_least" the largest length. A later recovery does not count. Order of the arguments is free.
    """
    lengths, exact_match = np.asarray(lengths, float), np.asarray(exact_match, float)
    if lengths.shape != exact_match.shape or lengths.size == 0 or lengths.size != np.unique(lengths).size or np.isnan(exact_match).any():
        raise ValueError("a critical length needs one exact match (not nan) for each of one or more different lengths")
    order = np.argsort(lengths)
    lengths, exact_match = lengths[order], exact_match[order]
    below = np.flatnonzero(exact_match < level)
    if below.size == 0:
        return CriticalLength(float(lengths[-1]), "at_least")
    if below[0] == 0:
        return CriticalLength(float(lengths[0]), "below")
    (left, right), (high, low) = lengths[below[0] - 1 : below[0] + 1], exact_match[below[0] - 1 : below[0] + 1]
    return CriticalLength(float(left + (right - left) * (high - level) / (high - low)), "exact")
