"""Climbs a ladder of budgets on text: chooses rates, finds the rung at which attention uses the source, lists missing runs.

As on strings, but for what *learned* means: U is the smallest rung at which attention's loss on the long half lies 0.05 nats, its error
rate 0.25, below that of the control, which does not see the source, on the selection seeds; reported seeds and drawn sentences have to
confirm it. Attention and control run at U and 2U, the fixed arm at every rung from U to K. Reported are the fixed arm at all of these,
and the others at attention's best.

A comparison may declare the rungs of attention and control (`Comparison.attending`). U is one of those, they run at all of them from U on,
and higher rungs are the fixed arm's alone.
"""

import math

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.ladder import Ladder, Need, standing
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison
from attention_jax.statistics.rates import Choice
from attention_jax.statistics.text.observations import CONTROL, Observations


def climb(seen: Observations, comparison: Comparison) -> Ladder:
    """Returns the ladder of a comparison. What is missing becomes a `Need`: rates of a curve, seeds, a rate beyond the edge of a grid."""
    return _Climb(seen, comparison).ladder()


class _Climb:
    def __init__(self, seen: Observations, comparison: Comparison):
        self.seen, self.comparison = seen, comparison
        self.choices: dict[tuple[str, int], Choice] = {}
        self.needs: list[Need] = []

    def ladder(self) -> Ladder:
        """Attention and control first, from the lowest rung up until attention has learned; then all arms from there on."""
        arm, all_rungs = self.comparison.attention, self.comparison.ladder
        unit = next((budget for budget in self.comparison.attending or all_rungs if self.stops_at(budget)), None)
        if unit is None or self.needs:
            return Ladder(self.choices, None, None, (), (), tuple(self.needs))
        rungs = all_rungs[all_rungs.index(unit) :]
        attending = tuple(budget for budget in self.comparison.attending if budget >= unit) or rungs[:2]
        fixed = [(self.comparison.fixed, budget) for budget in rungs]
        if not self.choose(*((each, budget) for budget in attending for each in (arm, CONTROL)), *fixed):
            return Ladder(self.choices, unit, None, rungs, (), tuple(self.needs))
        best = min(attending, key=lambda budget: self.choices[arm, budget].log_loss)
        seeds = self.need_seeds([(arm, best), (CONTROL, best), *fixed])
        return Ladder(self.choices, unit, best, rungs, tuple(seeds), tuple(self.needs))

    def stops_at(self, budget: int) -> bool:
        """True where attention has learned at this rung, or something is missing to tell."""
        attention, control = places = [(arm, budget) for arm in (self.comparison.attention, CONTROL)]
        if not self.choose(*places):
            return True
        rate, best = self.choices[attention].rate, self.choices[control].best  # of the control not the lowest of the tied rates
        return learned(self.seen, (*attention, rate), (*control, best))

    def choose(self, *places: tuple[str, int]) -> bool:
        """Chooses a rate at each (arm, budget), or adds what it lacks to the needs; True where there is no need."""
        for place in places:
            found = self.choices.get(place) or choice(self.seen, self.comparison, *place)
            self.needs.append(found) if isinstance(found, Need) else self.choices.setdefault(place, found)
        return not self.needs

    def need_seeds(self, places: list[tuple[str, int]]) -> list[int]:
        """Adds the reported seeds that each (arm, budget) lacks to the needs; returns all that are there."""
        there = {place: seen.seeds if (seen := self.seen.reported.get((*place, self.choices[place].rate))) else () for place in places}
        seeds = sorted({seed for of_place in there.values() for seed in of_place})
        for (arm, budget), of_place in there.items():
            if lacking := max(len(seeds), self.comparison.seeds) - len(of_place):
                rate = self.choices[arm, budget].rate
                why = f"{lacking} seeds, or the sentences of their runs, are missing at the chosen rate {rate:g}"
                self.needs.append(Need(arm, budget, "reported", lacking, (rate,), why))
        return seeds


def learned(seen: Observations, attention: tuple, control: tuple) -> bool:
    """Returns whether control − attention on the long half is above the measure's bar, by Student's interval paired by selection seed."""
    return intervals.paired(seen.long[control], seen.long[attention]).low > seen.measure.learned


def choice(seen: Observations, comparison: Comparison, arm: str, budget: int) -> Choice | Need:
    """Returns the choice at a rung, or what it lacks."""
    losses = seen.losses.get((arm, budget), {})
    seeds = {seed for of_seed in losses.values() for seed in of_seed}
    needed = max(SELECTION_SEEDS, len(seeds))

    def is_whole(rate: float) -> bool:
        of_seed = losses.get(rate, {})
        if len(of_seed) < needed:
            return False
        return not all(map(math.isfinite, of_seed.values())) or set(seen.long.get((arm, budget, rate), {})) == seeds

    if absent := tuple(rate for rate in sorted({*comparison.rates, *losses}) if not is_whole(rate)):
        return Need(arm, budget, "selection", needed, absent, "the rate curve lacks these rates, seeds there or their losses by length")
    return standing(rates.choose(losses, comparison.rates), losses, arm, budget, needed)
