"""Simulates the rows of a comparison under planted truths, by the model below, so that others can rebuild every row.

A symbol of an example of l symbols comes out wrong with probability e, independently; a seed shifts the log-odds of e:

    e(l) = 1 − (1 − floor) · p(l)^(1/l)          p(l) = σ(slope · log(half / l)), the exact match of an arm without a floor
    logit e_s(l) = logit e(l) + handicap + |o|³/8 + scatter · (cos φ · u + sin φ · w)        φ = (π/3) · log(l/l₁) / log(l_n/l₁)
    exact match of a seed at a length: (1 − e_s(l))^l

o is the distance of the rate from the arm's best one, in factors of two. (u, w) are normal: √½ of the seed and √½ of the run (seed, budget,
rate), so that every length scatters alike and short and long ones are correlated. Of the examples of a length the exact ones are binomial,
and the others hold a zero-truncated binomial number of wrong symbols: exact matches and forced symbol errors of a row are of the same
examples. Validation loss: 3 nats · the mean of e_s(l) over lengths · exp(0.1 · a normal); a fifth of
the best of all other rates' where the loss prefers a wrong one. A seed that fails has e = 7/8 at every length.

The generator acts as an experimenter does: attention's selection runs from the lowest rung up until it has learned, and one more; rates
chosen, grids grown; then reported seeds at the chosen rates.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from attention_jax.statistics import observations, rates
from attention_jax.statistics.ladder import climb
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison

LENGTHS = (3, 4, 5, 6, 8, 10, 12, 14, 16)
LADDER = (100, 200, 400)
GRID = (1, 2, 4, 8, 16)  # the best rate is the middle one
EXAMPLES = 512
CHANCE = 7 / 8  # symbol error of a seed that has learned nothing
TURN = math.pi / 3
NEVER = math.inf


def comparison(seeds: int) -> Comparison:
    """Returns the comparison that is declared for the simulated rows."""
    return Comparison("fixed", "attention", LENGTHS, LADDER, tuple(rate / 1000 for rate in GRID), seeds)


class Curve(NamedTuple):
    """Symbol errors of an arm's typical seed: `floor` at every length, and a curve with exact match ½ at `half`."""

    floor: float
    half: float = NEVER
    slope: float = 8.5  # of exact match in log length; as measured for a vector of 4 or 8 numbers

    def log_odds(self) -> np.ndarray:
        """Computes logit e(l) at `LENGTHS`."""
        lengths = np.array(LENGTHS)
        log_p = np.zeros(len(LENGTHS)) if self.half == NEVER else -np.log1p((lengths / self.half) ** self.slope)
        right = np.log1p(-self.floor) + log_p / lengths
        error = np.clip(-np.expm1(right), 1e-12, CHANCE)
        return np.log(error / (1 - error))


@dataclass(frozen=True)
class Truth:
    """One planted truth. Curves of the fixed arm are one a rung."""

    name: str
    kind: str  # "null": a bottleneck would be wrong; "effect": it would be right; "level": "levelling off" would be wrong
    says: str
    attention: Curve
    fixed: tuple[Curve, Curve, Curve]
    handicap: float = 0.0  # log-odds, of the fixed arm
    scatter: float = 0.8
    fixed_fail: float = 0.0  # share of seeds
    attention_fail: float = 0.0
    wrong: str = ""  # the arm whose best rate by loss (o = 0) is not the best by exact match; "beside": attention one step off its best
    off: Curve | Any = None  # the curve there


def shifts(truth: Truth, u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Returns the shifts of log-odds of seeds, by length (last axis)."""
    angle = TURN * np.log(np.array(LENGTHS) / LENGTHS[0]) / math.log(LENGTHS[-1] / LENGTHS[0])
    return truth.scatter * (u[..., None] * np.cos(angle) + w[..., None] * np.sin(angle))


def typical_long(curve: Curve, scatter: float, handicap: float = 0.0) -> float:
    """Returns exact match of the typical seed on the long half, σ(E logit), by Gauss–Hermite quadrature over (u, w)."""
    points, weights = np.polynomial.hermite_e.hermegauss(21)
    u, w = np.meshgrid(points, points)
    share = np.outer(weights, weights) / weights.sum() ** 2
    truth = Truth("", "", "", curve, (curve, curve, curve), scatter=scatter)
    e = 1 / (1 + np.exp(-(curve.log_odds() + handicap + shifts(truth, u, w))))
    long = [LENGTHS.index(length) for length in comparison(8).long]
    exact = ((1 - e) ** np.array(LENGTHS))[..., long].mean(-1)
    logit = (share * np.log(exact / (1 - exact))).sum()
    return float(1 / (1 + np.exp(-logit)))


@cache
def floor_at(exact: float, scatter: float) -> float:
    """Returns the floor at which the typical seed has this exact match on the long half."""
    return math.exp(_solve(lambda at: -typical_long(Curve(math.exp(at)), scatter), -exact, math.log(1e-6), math.log(0.5)))


@cache
def half_at(gap: float, floor: float, scatter: float) -> float:
    """Returns `half` of a fixed arm with this gap to attention on the long half, typical seeds, the same floor."""
    exact = typical_long(Curve(floor), scatter) - gap
    return _solve(lambda half: typical_long(Curve(floor, half), scatter), exact, 3.0, 200.0)


def _solve(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Returns where an increasing function meets the target, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < target else (low, middle)
    return (low + high) / 2


class _Experimenter:
    """Draws the rows of one data set."""

    def __init__(self, truth: Truth, seeds: int, random: np.random.Generator):
        self.truth, self.comparison, self.random = truth, comparison(seeds), random
        self.rows: list[dict] = []
        self.ids = {"selection": tuple(range(1000, 1000 + SELECTION_SEEDS)), "reported": tuple(range(seeds))}
        fail = {"fixed": truth.fixed_fail, "attention": truth.attention_fail}
        self.own = {(role, arm): random.standard_normal((2, len(ids))) for role, ids in self.ids.items() for arm in fail}
        self.failed = {(role, arm): random.random(len(ids)) < fail[arm] for role, ids in self.ids.items() for arm in fail}

    def errors(self, role: str, arm: str, budget: int, grid: tuple[float, ...]) -> np.ndarray:
        """Returns e by rate, seed and length."""
        truth = self.truth
        u, w = (self.own[role, arm][:, None, :] + self.random.standard_normal((2, len(grid), len(self.ids[role])))) / math.sqrt(2)
        curve = truth.attention if arm == "attention" else truth.fixed[LADDER.index(budget)]
        steps = [round(math.log2(rate * 1000 / GRID[len(GRID) // 2])) for rate in grid]
        of_rate = [(truth.off if self.is_off(arm, step) else curve).log_odds() + abs(step) ** 3 / 8 for step in steps]
        log_odds = np.stack(of_rate)[:, None, :] + shifts(truth, u, w) + (truth.handicap if arm == "fixed" else 0.0)
        return np.where(self.failed[role, arm][None, :, None], CHANCE, 1 / (1 + np.exp(-log_odds)))

    def is_off(self, arm: str, step: int) -> bool:
        """True where this rate has the truth's other curve."""
        return (arm == self.truth.wrong and step == 0) or (self.truth.wrong == "beside" and arm == "attention" and abs(step) == 1)

    def select(self, arm: str, budget: int) -> float:
        """Simulates selection runs at every rate, grows the grid where the best lies at an edge, and returns the chosen rate."""
        losses: dict = {}
        grid, chosen = self.comparison.rates, math.nan
        while grid:
            e = self.errors("selection", arm, budget, grid)
            exact = self.random.binomial(EXAMPLES, (1 - e) ** np.array(LENGTHS)).tolist()
            # A wrong rate is one that the loss prefers: what it measures there is the curve of the other rates.
            preferred = self.truth.wrong == arm
            loss = 3 * e.mean(-1) * np.exp(0.1 * self.random.standard_normal(e.shape[:2]))
            for i, rate in enumerate(grid):
                if preferred and rate == self.comparison.rates[len(GRID) // 2]:
                    loss[i] = 0.2 * loss[[j for j in range(len(grid)) if j != i]].min(0)
                losses[rate] = dict(zip(self.ids["selection"], loss[i].tolist(), strict=True))
                for seed, value, of_length in zip(self.ids["selection"], loss[i].tolist(), exact[i], strict=True):
                    run = {"attention": arm, "budget": budget, "learning_rate": rate, "seed": seed, "role": "selection"}
                    self.rows.append(run | {"validation_loss": value})
                    self.rows += [
                        run | {"length": length, "seen": True, "mode": "free", "examples": EXAMPLES, "exact": k}
                        for length, k in zip(LENGTHS, of_length, strict=True)
                    ]
            choice = rates.choose(losses, self.comparison.rates)
            grid, chosen = (choice.add,) if choice.add else (), choice.rate
        return chosen

    def report(self, arm: str, budget: int, rate: float) -> None:
        """Simulates reported seeds at the chosen rate: free and forced rows of the same examples."""
        e = self.errors("reported", arm, budget, (rate,))[0]
        exact = self.random.binomial(EXAMPLES, (1 - e) ** np.array(LENGTHS))
        wrong = wrong_symbols(e, EXAMPLES - exact, self.random)
        for seed, exact_L, wrong_L in zip(self.ids["reported"], exact.tolist(), wrong.tolist(), strict=True):
            run = {"attention": arm, "budget": budget, "learning_rate": rate, "seed": seed, "role": "reported"}
            for length, k, errors in zip(LENGTHS, exact_L, wrong_L, strict=True):
                place = run | {"length": length, "seen": True, "examples": EXAMPLES}
                self.rows.append(place | {"mode": "free", "exact": k})
                self.rows.append(place | {"mode": "forced", "symbols": EXAMPLES * length, "symbol_errors": errors})


def wrong_symbols(e_RxL: np.ndarray, examples_RxL: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws how many symbols are wrong in all examples of a length that each have at least one wrong: wrong_RxL.

    Each example draws a zero-truncated binomial number, of l symbols that are wrong with probability `e_RxL` each; `examples_RxL` counts
    them.
    """
    lengths = np.array(LENGTHS)[None, :, None]
    numbers = np.arange(1, LENGTHS[-1] + 1)[None, None, :]
    choose = np.array([[math.comb(length, number) for number in range(1, LENGTHS[-1] + 1)] for length in LENGTHS], float)[None]
    e = np.clip(e_RxL, 1e-15, 1 - 1e-15)[..., None]
    chances = choose * e**numbers * (1 - e) ** np.maximum(lengths - numbers, 0)
    chances /= chances.sum(-1, keepdims=True)
    return (random.multinomial(examples_RxL, chances) * numbers).sum(-1)


def rows(truth: Truth, seeds: int, random: np.random.Generator) -> list[dict]:
    """Simulates one data set: all rows that a verdict needs."""
    made = _Experimenter(truth, seeds, random)
    chosen = {}
    unit = None
    for budget in LADDER:
        chosen["attention", budget] = made.select("attention", budget)
        if unit is not None:
            break
        needs_none = climb(observations.read(made.rows, made.comparison), made.comparison)
        unit = needs_none.unit
    for budget in LADDER[LADDER.index(unit) :] if unit else ():
        chosen["fixed", budget] = made.select("fixed", budget)
    for (arm, budget), rate in chosen.items():
        if rate is not None and (unit is None or budget >= unit):
            made.report(arm, budget, rate)
    return made.rows


def truths() -> Iterator[Truth]:
    """Returns all planted truths, in the order of the table."""
    high, middle = floor_at(0.97, 0.8), floor_at(0.87, 0.8)
    top, mid = Curve(high), Curve(middle)

    def equal(curve: Curve) -> tuple[Curve, Curve, Curve]:
        return curve, curve, curve

    def behind(gap: float, scatter: float = 0.8) -> tuple[Curve, Curve, Curve]:
        floor = floor_at(0.97, scatter)
        return equal(Curve(floor, half_at(gap, floor, scatter)))

    known = equal(top)

    yield Truth("equal", "null", "equal arms, exact match 0.87 on the long half", mid, equal(mid))
    calm = Curve(floor_at(0.87, 0.3))
    yield Truth("equal, calm", "null", "the same, seeds scatter by 0.3 logits", calm, equal(calm), scatter=0.3)
    near = Curve(floor_at(0.9, 0.8))
    yield Truth("equal, 0.9", "null", "equal arms at 0.9", near, equal(near))
    yield Truth("equal, ceiling", "null", "equal arms at 0.97", top, known)
    yield Truth("untrained", "null", "both untrained: a symbol is wrong with probability 0.8", Curve(0.8), equal(Curve(0.8)))
    perfect = Curve(1e-5)
    yield Truth("handicap", "null", "2 % symbol errors at every length, attention at the ceiling", perfect, equal(Curve(0.02)))
    yield Truth("-1 logit", "null", "−1 logit per symbol at every length, attention at 0.87", mid, equal(mid), handicap=1.0)
    yield Truth("-1.5 logit", "null", "−1.5 logit per symbol at every length, attention at 0.87", mid, equal(mid), handicap=1.5)
    yield Truth("-2 logit, 0.97", "null", "−2 logit per symbol at every length, attention at 0.97", top, known, handicap=2.0)
    yield Truth("25 % fail", "null", "equal arms at 0.97, a quarter of the fixed arm's seeds fail", top, known, fixed_fail=0.25)
    yield Truth("50 % fail", "null", "equal arms at 0.97, half of the fixed arm's seeds fail", top, known, fixed_fail=0.5)
    bad = Curve(high, half_at(0.4, high, 0.8))
    says = "the loss prefers a rate at which the fixed arm is 0.4 behind"
    yield Truth("fixed, wrong rate", "null", says, top, known, wrong="fixed", off=bad)
    poor = Curve(high, half_at(0.2, high, 0.8))
    says = "the loss prefers a rate at which attention is 0.2 behind"
    yield Truth("attention, wrong rate", "null", says, top, known, wrong="attention", off=poor)
    says = "both arms lose 0.4 one rate off the best, and the fixed arm is always there"
    yield Truth("one rate off", "null", says, top, equal(bad), wrong="beside", off=bad)
    yield Truth("gap 0.05", "null", "gap 0.05 on the long half: real, and below the margin", top, behind(0.05))
    later = (bad, bad, top)
    yield Truth("4 x slower", "null", "the fixed arm is 0.4 behind at U and 2U and equal at 4U", top, later)
    rising = Curve(high, 7.0), Curve(high, 8.5), Curve(high, 10.0)
    yield Truth("L50 + 1.5", "level", "L50 of the fixed arm 7, 8.5, 10: 1.5 symbols a doubling", top, rising)
    for gap in (0.14, 0.27, 0.4, 0.63):
        yield Truth(f"gap {gap}", "effect", f"gap {gap} on the long half, attention at 0.97", top, behind(gap))
    calm = Curve(floor_at(0.97, 0.3))
    yield Truth("gap 0.27, calm", "effect", "gap 0.27, seeds scatter by 0.3 logits", calm, behind(0.27, 0.3), scatter=0.3)
    holds = Curve(high, 5.5), Curve(high, 6.0), Curve(high, 6.0)
    yield Truth("holds 4 to 5", "effect", "levels off, keeps 4 to 5 symbols: L50 of the fixed arm 5.5, 6, 6", top, holds)
    falls = Curve(high, 4.0), Curve(high, 4.5), Curve(high, 4.5)
    yield Truth("L50 4.5", "effect", "levels off at L50 = 4.5, exact match 0.7 at 4 symbols", top, falls)
    yield Truth("gap 0.63, 25 % fail", "effect", "gap 0.63, a quarter of attention's seeds fail", top, behind(0.63), attention_fail=0.25)
