"""Climbs a ladder of budgets: chooses a rate per arm and rung, finds the rung at which attention has learned, lists missing runs.

Budgets are a ladder of doublings. U is its smallest rung at which attention has learned the task on the selection seeds; results are
stated as multiples of U. Attention runs at U and 2U, the fixed arm at every rung from U to the largest, K.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison, Counts, Observations
from attention_jax.statistics.rates import Choice, Losses

LEARNED = 0.5  # exact match of the typical seed on the long half


class Need(NamedTuple):
    """Runs that are missing: so many further seeds at each of these rates."""

    arm: str
    budget: int
    role: str  # "reported" or "selection"
    seeds: int
    rates: tuple[float, ...]  # empty: the whole grid, then the chosen one
    why: str

    @property
    def updates(self) -> int:
        """Updates of all these runs, one for each rate and seed; a grid that is not known yet counts as one rate."""
        return self.budget * self.seeds * max(1, len(self.rates))


class Ladder(NamedTuple):
    """Chosen rates and rungs of a comparison, before any arm is compared with another."""

    choices: dict[tuple[str, int], Choice]
    unit: int | Any  # U; None where needs are
    best: int | Any  # attention's rung with the smallest selection loss; None where needs are
    rungs: tuple[int, ...]  # from U on
    seeds: tuple[int, ...]  # reported
    needs: tuple[Need, ...]  # what is missing; a verdict needs this to be empty


def climb(observations: Observations, comparison: Comparison) -> Ladder:
    """Returns the ladder of a comparison. What is missing becomes a `Need`: rates of a curve, seeds, a rate beyond the edge of a grid."""
    return _Climb(observations, comparison).ladder()


def learned(counts: Counts, comparison: Comparison) -> Interval:
    """Returns exact match of the typical seed on the long half; the task is learned where its lower bound is at least ½."""
    return typical(counts, comparison.long, comparison).interval()


def typical(counts: Counts, chosen: tuple[int, ...], comparison: Comparison) -> intervals.TypicalSeed:
    """Returns the typical seed of counts pooled over the chosen lengths."""
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
        seeds = self.need_seeds(wanted)
        more = [place for place in more if self.reported(*place) == set(seeds)]
        if self.needs:
            return Ladder(self.choices, unit, None, rungs, tuple(seeds), tuple(self.needs))
        best = min((budget for arm, budget in (*wanted, *more) if arm == attention), key=lambda b: self.choices[attention, b].log_loss)
        return Ladder(self.choices, unit, best, rungs, tuple(seeds), ())

    def need_seeds(self, places: list[tuple[str, int]]) -> list[int]:
        """Adds the reported seeds that each (arm, budget) lacks to the needs; returns all that are there."""
        seeds = sorted({seed for place in places for seed in self.reported(*place)})
        for arm, budget in [place for place in places if place in self.choices]:
            if lacking := max(len(seeds), self.comparison.seeds) - len(self.reported(arm, budget)):
                rate = self.choices[arm, budget].rate
                why = f"{lacking} seeds are missing at the chosen rate {rate:g}"
                self.needs.append(Need(arm, budget, "reported", lacking, (rate,), why))
        return seeds

    def stops_at(self, budget: int) -> bool:
        """True where attention has learned at this rung, or something is missing to tell."""
        arm = self.comparison.attention
        choice = self.choose(arm, budget)
        if choice is None:
            return True
        return learned(self.seen.get("selection", "free", arm, budget, choice.rate), self.comparison).low >= LEARNED

    def is_there(self, arm: str, budget: int) -> bool:
        """True where a rung beyond those needed has its rate curve."""
        needs = list(self.needs)
        whole = self.choose(arm, budget) is not None
        self.needs = needs
        return whole

    def choose(self, arm: str, budget: int) -> Choice | None:
        """Returns the choice at a rung; None where it lacks something, which is added to the needs."""
        if (arm, budget) not in self.choices:
            found = choice(self.seen, self.comparison, arm, budget)
            if isinstance(found, Need):
                self.needs.append(found)
                return None
            self.choices[arm, budget] = found
        return self.choices[arm, budget]

    def reported(self, arm: str, budget: int) -> set[int]:
        """Returns the reported seeds that have all lengths, free and forced, at the chosen rate."""
        if (arm, budget) not in self.choices:
            return set()
        rate = self.choices[arm, budget].rate
        found = [self.seen.get("reported", mode, arm, budget, rate) for mode in ("free", "forced")]
        return set.intersection(*(set(counts.seeds) for counts in found)) if all(found) else set()


def choice(seen: Observations, comparison: Comparison, arm: str, budget: int) -> Choice | Need:
    """Returns the choice at a rung, or what it lacks."""
    losses = seen.losses.get((arm, budget), {})
    seeds = {seed for of_seed in losses.values() for seed in of_seed}
    needed = max(SELECTION_SEEDS, len(seeds))
    if absent := tuple(rate for rate in comparison.rates if rate not in losses):
        return Need(arm, budget, "selection", needed, absent, "the rate curve lacks these rates")
    for rate, of_seed in losses.items():
        if lacking := needed - len(of_seed):
            return Need(arm, budget, "selection", lacking, (rate,), f"selection seeds are missing at rate {rate:g}")
    found = rates.choose(losses, comparison.rates)
    for rate in losses:
        counts = seen.get("selection", "free", arm, budget, rate)
        if rate not in found.excluded and set(counts.seeds if counts else ()) != seeds:
            return Need(arm, budget, "selection", needed, (rate,), f"exact match of the selection seeds is missing at rate {rate:g}")
    return standing(found, losses, arm, budget, needed)


def standing(found: Choice, losses: Losses, arm: str, budget: int, seeds: int) -> Choice | Need:
    """Returns a choice that stands, or the rate that its grid lacks: half the lowest where all diverged, the next one beyond an edge.

    The need is of so many selection seeds; it has no rate where the grid may not grow any more.
    """
    if found.rate is None:
        return Need(arm, budget, "selection", seeds, (min(losses) / 2,), "every rate of the grid diverged")
    if found.at_edge:
        grown = "" if found.add else ", which has grown twice: declare another"
        why = f"the best rate, {found.best:g}, lies at an edge of the grid{grown}"
        return Need(arm, budget, "selection", seeds, (found.add,) if found.add else (), why)
    return found


def multiple(budget: int, unit: int) -> str:
    """Returns a budget as a multiple of U, such as "16 ×"."""
    return f"{budget / unit:g} ×"


def more_seeds(n: int, decided: Callable[[float], bool], limit: int = 64) -> int | None:
    """Returns how many seeds beyond n would decide, if value and scatter stay as they are; None where `limit` in all would not.

    `decided(f)` is True where an interval f times as wide would decide; f is t₍m−1₎/√m over t₍n−1₎/√n for m seeds.
    """
    from scipy import special

    def width(m: int) -> float:
        return float(special.stdtrit(m - 1, (1 + intervals.CONFIDENCE) / 2)) / math.sqrt(m)

    return next((m - n for m in range(n + 1, limit + 1) if decided(width(m) / width(n))), None)
