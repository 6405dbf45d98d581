"""Laws of the critical length: how many symbols a doubling of the vector, or of the budget, buys.

    power         L* = c · d^b                            least squares of log L* on log d
    per doubling  L* = a + b · log₂ d                     least squares of L* on log₂ d
    price         L* = a + b · log₂ d + c · log₂ budget
    exponential   U* = c · 2^(b · L)                      least squares of log₂ U* on L
    shared power  y = c_g · x^b                            one exponent for several groups g

The estimator has two steps. Counts of all seeds are pooled to one L* per size (`pooled`); a law is then fitted to the sizes. The size is
the unit of replication: its interval is Student's on k − 2 degrees of freedom, k sizes. Seeds as independent points would make intervals
too narrow, because the seeds of a size share what is particular to it. A bound of L* is not a point: it is counted and shown, never fitted.
Sizes whose L* still grows with the budget are lower bounds of what the vector can hold; a law of these holds at that budget alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from attention_jax.statistics import lengths
from attention_jax.statistics.intervals import CONFIDENCE, Interval
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites

Found = TypeVar("Found")

Counts = tuple[Sequence[float], np.ndarray, np.ndarray]
"""(lengths_L, exact_RxL, examples_RxL) of R seeds."""

FEWEST_SIZES = 4  # with an exact L*, of a law
FEWEST_FORMS = 6  # with an exact L*, of a comparison of forms: fewer do not tell them apart


class Pooled(NamedTuple):
    """The critical length of all seeds of one arm, size and budget, or the least budget of one arm and length (`budgets`).

    `low` and `high` are nan where there is no interval.
    """

    length: float
    bound: str  # as in `lengths.CriticalLength`
    low: float
    high: float
    seeds: int

    @property
    def is_exact(self) -> bool:
        """True where the value lies between the ends of what was measured, so that it is a point of a law."""
        return self.bound == "exact"


class Law(NamedTuple):
    """A fitted law: slopes with their intervals, n of them the number of points, and the scatter of points about it."""

    slopes: tuple[Interval, ...]
    intercept: float
    scatter: float  # residual standard deviation, in the units of what was fitted: log L* or symbols
    left_out: int  # bounds, which are no points
    p: float  # one-sided, of "the first slope is not above 0"

    @property
    def slope(self) -> Interval:
        """The first slope: that of the size, where there are several."""
        return self.slopes[0]

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the intervals: points less parameters."""
        return self.slope.n - len(self.slopes) - 1

    @property
    def error(self) -> float:
        """The standard error of the first slope."""
        from scipy import special

        return (self.slope.high - self.slope.mean) / float(special.stdtrit(self.freedom, (1 + CONFIDENCE) / 2))

    def p_of(self, slope: float) -> float:
        """Returns the two-sided p of "the first slope is `slope`", by Student's t; of a law without scatter 0, or 1."""
        from scipy import special

        away = abs(self.slope.mean - slope)
        return 2 * float(special.stdtr(self.freedom, -away / self.error)) if self.error else float(away == 0)


class Form(NamedTuple):
    """A form fitted to L* by size: `weight` is its Akaike weight among the forms compared."""

    name: str
    equation: str
    scatter: float  # residual standard deviation of log L*
    aicc: float
    weight: float


def pooled(lengths_L: Sequence[float] | np.ndarray, exact_RxL: np.ndarray, examples_RxL: np.ndarray, level: float = 0.5) -> Pooled:
    """Returns the critical length of counts pooled over seeds, by `lengths.fit`, with a jackknife interval over seeds.

    The interval is of log L*: pseudo-values R · log L* − (R − 1) · log L*₋ᵣ (Tukey 1958), Student's t on R − 1 degrees of freedom. There
    is none for one seed, or where L* without one of the seeds is a bound. Give trained lengths only.
    """
    exact, examples = np.asarray(exact_RxL), np.asarray(examples_RxL)
    R = len(exact)
    found = lengths.critical(lengths_L, exact.sum(0)[None], examples.sum(0)[None], level)[0]
    alone = found.bound != "exact" or R < 2
    return jackknifed(found, [] if alone else lengths.critical(lengths_L, exact.sum(0) - exact, examples.sum(0) - examples, level), R)


def ratio(above: Counts, below: Counts, level: float = 0.5) -> Pooled:
    """Returns L* of one set of counts over that of another of the same seeds, with the jackknife of `pooled`: a seed is left out of both.

    What seeds and strings share cancels. It is a bound where one of the two is one; "unsupported" where they pull to both sides.
    """
    ours, theirs = (lengths.critical(at, exact.sum(0)[None], examples.sum(0)[None], level)[0] for at, exact, examples in (above, below))
    R = len(above[1])
    found = CriticalLength(ours.length / theirs.length, RATIOS.get((ours.bound, theirs.bound), "unsupported"))
    if found.bound != "exact" or R < 2:
        return jackknifed(found, [], R)
    left = (lengths.critical(at, exact.sum(0) - exact, n.sum(0) - n, level) for at, exact, n in (above, below))
    pairs = zip(*left, strict=True)
    return jackknifed(found, [CriticalLength(a.length / b.length, RATIOS.get((a.bound, b.bound), "unsupported")) for a, b in pairs], R)


RATIOS = {("exact", "exact"): "exact"}
RATIOS |= dict.fromkeys((("at_least", "exact"), ("exact", "below"), ("at_least", "below")), "at_least")
RATIOS |= dict.fromkeys((("below", "exact"), ("exact", "at_least"), ("below", "at_least")), "below")
"""{bounds of two lengths: that of the first over the second}."""


@cites("tukey1958")
def jackknifed(found: CriticalLength, without: Sequence[CriticalLength], R: int) -> Pooled:
    """Returns a value of R pooled seeds with its jackknife interval, from its values `without` each of the seeds; see `pooled`."""
    if found.bound != "exact" or R < 2 or any(each.bound != "exact" for each in without):
        return Pooled(*found, np.nan, np.nan, R)
    from scipy import special

    logs_R = np.log([each.length for each in without])
    error = float(np.sqrt((R - 1) / R * ((logs_R - logs_R.mean()) ** 2).sum()))
    factor = float(np.exp(special.stdtrit(R - 1, (1 + CONFIDENCE) / 2) * error))
    return Pooled(*found, found.length / factor, found.length * factor, R)


def power(lengths_by_size: Mapping[Any, CriticalLength | Pooled]) -> Law:
    """Fits L* = c · d^b by least squares of log L* on log d: the slope is b, the intercept log c.

    Raises `DataError` for fewer than four sizes with an exact L*; `per_doubling` likewise.
    """
    sizes, found, left_out = _points(lengths_by_size)
    return _least_squares(np.log(found), [np.log(sizes)], left_out)


def per_doubling(lengths_by_size: Mapping[Any, CriticalLength | Pooled]) -> Law:
    """Fits L* = a + b · log₂ d by least squares of L* on log₂ d: the slope is in symbols per doubling of d."""
    sizes, found, left_out = _points(lengths_by_size)
    return _least_squares(found, [np.log2(sizes)], left_out)


def exponential(budgets_by_length: Mapping[Any, CriticalLength | Pooled]) -> Law:
    """Fits U* = c · 2^(b · L) by least squares of log₂ U* on L: the slope is in doublings of the budget per symbol.

    Raises `DataError` for fewer than four lengths with an exact U*.
    """
    sizes, found, left_out = _points(budgets_by_length)
    return _least_squares(np.log2(found), [sizes], left_out)


@cites("satterthwaite1946")
def slope_difference(a: Law, b: Law) -> tuple[Interval, float]:
    """Returns slope a − slope b of two laws fitted to different points, and its two-sided p, by Welch's t.

        ν = (v_a + v_b)² / (v_a²/ν_a + v_b²/ν_b)        v the squared standard error of a slope (Satterthwaite 1946)

    n is the smaller number of points. Two laws without scatter have no width, and p is 0, or 1 where the slopes are equal.
    """
    from scipy import special

    d, v_a, v_b = a.slope.mean - b.slope.mean, a.error**2, b.error**2
    n = min(a.slope.n, b.slope.n)
    if v_a + v_b == 0:
        return Interval(d, d, d, n), float(d == 0)
    freedom, error = (v_a + v_b) ** 2 / (v_a**2 / a.freedom + v_b**2 / b.freedom), np.sqrt(v_a + v_b)
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error)
    return Interval(d, d - half, d + half, n), float(2 * special.stdtr(freedom, -abs(d) / error))


def shared_power(values: Mapping[tuple[Any, float], float]) -> Law:
    """Fits y = c_g · x^b, keys (g, x): one exponent b for all groups g, a factor for each, by least squares of log y on log x.

    Raises `DataError` for values that leave no degree of freedom, or groups in which x does not vary.
    """
    groups = sorted({g for g, _ in values})
    x_K = np.log([x for _, x in values])
    beside_GxK = [np.array([float(g == group) for g, _ in values]) for group in groups[1:]]
    return _least_squares(np.log(list(values.values())), [x_K, *beside_GxK], 0)


def price(lengths_by_place: Mapping[Any, CriticalLength | Pooled]) -> Law:
    """Fits L* = a + b · log₂ d + c · log₂ budget, keys (d, budget): slopes are symbols per doubling of d, and of the budget.

    Raises `DataError` for fewer than four sizes with an exact L*, or a single budget.
    """
    exact = {place: each.length for place, each in lengths_by_place.items() if each.bound == "exact"}
    left_out = len(lengths_by_place) - len(exact)
    sizes, budgets = (np.array([place[i] for place in exact], float) for i in range(2))
    _require(len(set(sizes)), len({d for d, _ in lengths_by_place}))
    if len(set(budgets)) < 2:
        raise DataError("a price needs an exact L* at two or more budgets")
    return _least_squares(np.array(list(exact.values())), [np.log2(sizes), np.log2(budgets)], left_out)


def forms(lengths_by_size: Mapping[Any, CriticalLength | Pooled]) -> list[Form]:
    """Compares three forms of L*(d) by AICc, the best first: power c · d^b, affine a + b · d, logarithmic a + b · log₂ d.

    All have two parameters and the same error, normal in log L*. With six sizes that scatter by a tenth this tells the three apart more
    often than not; it says nothing about saturation, which no form here has. Raises `DataError` for fewer than six sizes with an exact L*.
    """
    sizes, found, _ = _points(lengths_by_size, FEWEST_FORMS)
    log_d, d, log_found = np.log(sizes), sizes, np.log(found)
    law = power(lengths_by_size)
    fitted = {"power": (law.scatter, f"{np.exp(law.intercept):.2g} · d^{law.slope.mean:.2f}")}
    for name, x, term in (("affine", d, "d"), ("logarithmic", log_d / np.log(2), "log₂ d")):
        a, b, scatter = _straight(x, log_found)
        fitted[name] = (scatter, f"{a:.2g} {'−' if b < 0 else '+'} {abs(b):.2g} · {term}")
    n, p = len(sizes), 3  # two parameters and the scatter
    aicc = {name: _aicc(scatter * np.sqrt((n - 2) / n), n, p) for name, (scatter, _) in fitted.items()}
    shares = {name: float(np.exp((min(aicc.values()) - value) / 2)) for name, value in aicc.items()}
    found_forms = [
        Form(name, equation, scatter, aicc[name], shares[name] / sum(shares.values())) for name, (scatter, equation) in fitted.items()
    ]
    return sorted(found_forms, key=lambda form: form.aicc)


def bits(length: float, alphabet: int, entropy: float = 0.0) -> float:
    """Returns the bits of a string of so many symbols: L* · log₂ V of independent, uniform ones, log₂ V + (L* − 1) · h of a chain.

    h = `entropy` is that of a symbol behind another, in bits; 0: symbols are independent.
    """
    one = np.log2(alphabet)
    return float(one + (length - 1) * (entropy or one))


def attempt(law: Callable[[Mapping[Any, CriticalLength | Pooled]], Found], points: Mapping[Any, CriticalLength | Pooled]) -> Found | str:
    """Returns a law, or forms, of the points, or the reason why there is none."""
    try:
        return law(points)
    except DataError as error:
        return str(error)


def _points(lengths_by_size: Mapping[Any, CriticalLength | Pooled], fewest: int = FEWEST_SIZES) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns sizes and L* of the sizes whose L* is exact, ascending, and how many others there are."""
    exact = {size: each.length for size, each in sorted(lengths_by_size.items()) if each.bound == "exact"}
    _require(len(exact), len(lengths_by_size), fewest)
    return np.array(list(exact), float), np.array(list(exact.values()), float), len(lengths_by_size) - len(exact)


def _require(exact: int, sizes: int, fewest: int = FEWEST_SIZES) -> None:
    if exact < fewest:
        raise DataError(f"{exact} of {sizes} sizes have an exact L*, and {fewest} are needed: a bound is not a point")


def _least_squares(y_K: np.ndarray, x_PxK: Sequence[np.ndarray], left_out: int) -> Law:
    """Fits y = intercept + Σ slope · x by least squares; intervals are Student's on K − P − 1 degrees of freedom."""
    from scipy import special

    K = len(y_K)
    design_KxP = np.stack([np.ones(K), *x_PxK], 1)
    freedom = K - design_KxP.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(design_KxP) < design_KxP.shape[1]:
        raise DataError("sizes and budgets do not vary independently: the slopes cannot be told apart")
    inverse_PxP = np.linalg.inv(design_KxP.T @ design_KxP)
    coefficients_P = inverse_PxP @ design_KxP.T @ y_K
    residual_K = y_K - design_KxP @ coefficients_P
    scatter = float(np.sqrt(residual_K @ residual_K / freedom))
    half_P = special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * scatter * np.sqrt(np.diag(inverse_PxP))
    ends = [Interval(float(b), float(b - half), float(b + half), K) for b, half in zip(coefficients_P, half_P, strict=True)]
    error = scatter * float(np.sqrt(inverse_PxP[1, 1]))
    t = coefficients_P[1] / error if error > 0 else np.inf * np.sign(coefficients_P[1])
    return Law(tuple(ends[1:]), ends[0].mean, scatter, left_out, float(special.stdtr(freedom, -t)))


def _straight(x_K: np.ndarray, log_y_K: np.ndarray) -> tuple[float, float, float]:
    """Fits log y = log(a + b · x) by least squares, and returns a, b and the residual standard deviation.

    The parameters of the search are the logarithms of the line at both ends, so that it is positive in between.
    """
    from scipy import optimize

    share_K = (x_K - x_K.min()) / (x_K.max() - x_K.min())

    def residual(ends):
        low, high = np.exp(ends)
        return np.log(low + (high - low) * share_K) - log_y_K

    solved = optimize.least_squares(residual, (log_y_K[x_K.argmin()], log_y_K[x_K.argmax()]))
    low, high = np.exp(solved.x)
    b = (high - low) / (x_K.max() - x_K.min())
    return float(low - b * x_K.min()), float(b), float(np.sqrt(2 * solved.cost / (len(x_K) - 2)))


@cites("hurvich1989")
def _aicc(scatter: float, n: int, p: int) -> float:
    """Returns n · log s² + 2p + 2p(p + 1)/(n − p − 1), s² the mean squared residual (Hurvich and Tsai 1989)."""
    return float(n * np.log(max(scatter, 1e-12) ** 2) + 2 * p + 2 * p * (p + 1) / (n - p - 1))
