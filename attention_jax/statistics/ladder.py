"""Budgets: which rate each arm has at each rung, from which rung on attention has learned, and what is missing before a verdict can be had.

Budgets are a ladder of doublings. U is its smallest rung at which attention has learned the task on the selection seeds; results are
stated as multiples of U. Attention runs at U and 2U, the fixed arm at every rung from U to the largest, K.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison, Counts, Observations
from attention_jax.statistics.rates import Choice

LEARNED = 0.5  # exact match of the typical seed on the long half


class Need(NamedTuple):
    """Runs that are still to be made: so many seeds (further ones) at each of these rates."""

    arm: str
    budget: int
    role: str  # "reported" or "selection"
    seeds: int
    rates: tuple[float, ...]  # empty: the whole grid, then the chosen one
    why: str

    @property
    def updates(self) -> int:
        """Of all of them together, one run for each rate and seed; a grid that is not known yet counts as one rate."""
        return self.budget * self.seeds * max(1, len(self.rates))


class Ladder(NamedTuple):
    """What can be said before any arm is compared with another."""

    choices: dict[tuple[str, int], Choice]
    unit: int | Any  # U; None where needs are
    best: int | Any  # attention's rung with the smallest selection loss; None where needs are
    rungs: tuple[int, ...]  # from U on
    seeds: tuple[int, ...]  # reported
    needs: tuple[Need, ...]  # what is missing; a verdict needs this to be empty


def climb(observations: Observations, comparison: Comparison) -> Ladder:
    """The ladder of a comparison. Each lack becomes a `Need`: a curve, a rate, a seed; a grid whose best rate lies at an edge."""
    return _Climb(observations, comparison).ladder()


def learned(counts: Counts, comparison: Comparison) -> Interval:
    """Exact match of the typical seed on the long half; the task is learned where its lower bound is at least ½."""
    return typical(counts, comparison.long, comparison).interval()


def typical(counts: Counts, chosen: tuple[int, ...], comparison: Comparison) -> intervals.TypicalSeed:
    """The typical seed of counts pooled over the chosen lengths."""
    columns = [comparison.lengths.index(length) for length in chosen]
    return intervals.typical(counts.count_RxL[:, columns].sum(1), counts.total_RxL[:, columns].sum(1))


class _Climb:
    def __init__(self, observations: Observations, comparison: Comparison):
        self.seen, self.comparison = observations, comparison
        self.choices: dict[tuple[str, int], Choice] = {}
        self.needs: list[Need] = []

    def ladder(self) -> Ladder:
        """Attention first, from the lowest rung up until it has learned; then both arms from there on."""
        fixed, attention, all_rungs = self.comparison.fixed, self.comparison.attention, self.comparison.ladder
        unit = next((budget for budget in all_rungs if self.stops_at(budget)), None)
        if unit is None or self.needs:
            return Ladder(self.choices, None, None, (), (), tuple(self.needs))
        rungs = all_rungs[all_rungs.index(unit) :]
        wanted = [(attention, budget) for budget in rungs[:2]] + [(fixed, budget) for budget in rungs]
        for arm, budget in wanted:
            self.choose(arm, budget)
        more = [(attention, budget) for budget in rungs[2:] if self.is_there(attention, budget)]
        seeds = sorted({seed for arm, budget in wanted for seed in self.reported(arm, budget)})
        for arm, budget in wanted:
            if (arm, budget) in self.choices and (lacking := max(len(seeds), self.comparison.seeds) - len(self.reported(arm, budget))):
                rate = self.choices[arm, budget].rate
                self.need(arm, budget, "reported", lacking, (rate,), f"{lacking} seeds are missing at the chosen rate {rate:g}")
        more = [place for place in more if self.reported(*place) == set(seeds)]
        if self.needs:
            return Ladder(self.choices, unit, None, rungs, tuple(seeds), tuple(self.needs))
        best = min((budget for arm, budget in (*wanted, *more) if arm == attention), key=lambda b: self.choices[attention, b].log_loss)
        return Ladder(self.choices, unit, best, rungs, tuple(seeds), ())

    def stops_at(self, budget: int) -> bool:
        """Whether attention has learned at this rung, or nothing can be said about it."""
        arm = self.comparison.attention
        choice = self.choose(arm, budget)
        if choice is None:
            return True
        return learned(self.seen.get("selection", "free", arm, budget, choice.rate), self.comparison).low >= LEARNED

    def is_there(self, arm: str, budget: int) -> bool:
        """Whether a rung that is not asked for is whole."""
        needs = list(self.needs)
        whole = self.choose(arm, budget) is not None
        self.needs = needs
        return whole

    def choose(self, arm: str, budget: int) -> Choice | None:
        """The choice at a rung, or None, having said why not."""
        if (arm, budget) in self.choices:
            return self.choices[arm, budget]
        losses = self.seen.losses.get((arm, budget), {})
        seeds = {seed for of_seed in losses.values() for seed in of_seed}
        lacking = max(SELECTION_SEEDS, len(seeds))
        if absent := tuple(rate for rate in self.comparison.rates if rate not in losses):
            return self.need(arm, budget, "selection", lacking, absent, "the rate curve lacks these rates")
        for rate, of_seed in losses.items():
            if len(of_seed) < lacking:
                return self.need(arm, budget, "selection", lacking - len(of_seed), (rate,), f"selection seeds are missing at rate {rate:g}")
        choice = rates.choose(losses, self.comparison.rates)
        for rate in losses:
            counts = self.seen.get("selection", "free", arm, budget, rate)
            if rate not in choice.excluded and set(counts.seeds if counts else ()) != seeds:
                return self.need(
                    arm, budget, "selection", lacking, (rate,), f"exact match of the selection seeds is missing at rate {rate:g}"
                )
        if choice.rate is None:
            return self.need(arm, budget, "selection", lacking, (min(losses) / 2,), "every rate of the grid diverged")
        if choice.at_edge:
            more = (choice.add,) if choice.add else ()
            why = f"the best rate, {choice.best:g}, lies at an edge of the grid" + (
                "" if more else ", which has grown twice: declare another"
            )
            return self.need(arm, budget, "selection", lacking, more, why)
        self.choices[arm, budget] = choice
        return choice

    def reported(self, arm: str, budget: int) -> set[int]:
        """Seeds that are whole, free and forced, at the chosen rate."""
        if (arm, budget) not in self.choices:
            return set()
        rate = self.choices[arm, budget].rate
        found = [self.seen.get("reported", mode, arm, budget, rate) for mode in ("free", "forced")]
        return set.intersection(*(set(counts.seeds) for counts in found)) if all(found) else set()

    def need(self, arm: str, budget: int, role: str, seeds: int, of_rates: tuple[float, ...], why: str) -> None:
        """Notes it."""
        self.needs.append(Need(arm, budget, role, seeds, of_rates, why))


def multiple(budget: int, unit: int) -> str:
    """E.g. "16 ×"."""
    return f"{budget / unit:g} ×"


def more_seeds(n: int, decided: Callable[[float], bool], limit: int = 64) -> int | None:
    """How many seeds beyond n would decide, if value and scatter stay as they are; None where `limit` in all would not.

    `decided(f)` says whether an interval f times as wide would do; f is t₍m−1₎/√m over t₍n−1₎/√n for m seeds.
    """
    from scipy import special

    def width(m: int) -> float:
        return float(special.stdtrit(m - 1, (1 + intervals.CONFIDENCE) / 2)) / math.sqrt(m)

    return next((m - n for m in range(n + 1, limit + 1) if decided(width(m) / width(n))), None)
