"""Budgets: which rate each arm has at each rung, from which rung on attention uses the source, and what is missing before a verdict.

As on strings, but for what *learned* means: U is the smallest rung at which attention's loss on the long half lies 0.05 nats below that of
the control, which does not see the source, on the selection seeds; reported seeds and drawn sentences have to confirm it. Attention and
control run at U and 2U, the fixed arm at every rung from U to K. Reported are the fixed arm at all of these, and the others at attention's
best.
"""

import math

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.ladder import Ladder, Need
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison
from attention_jax.statistics.rates import Choice
from attention_jax.statistics.text.observations import CONTROL, Observations

MARGIN = 0.05  # nats per token; less is no difference


def climb(seen: Observations, comparison: Comparison) -> Ladder:
    """The ladder of a comparison. Each lack becomes a `Need`: a curve, a rate, a seed; a grid whose best rate lies at an edge."""
    choices: dict[tuple[str, int], Choice] = {}
    needs: list[Need] = []

    def choose(*places: tuple[str, int]) -> bool:
        """Whether all of these have a choice that stands; else the needs say why not."""
        for place in places:
            found = choices.get(place) or choice(seen, comparison, *place)
            needs.append(found) if isinstance(found, Need) else choices.setdefault(place, found)
        return not needs

    def stops(budget: int) -> bool:
        """Whether attention has learned at this rung, or nothing can be said about it."""
        attention, control = places = [(arm, budget) for arm in (comparison.attention, CONTROL)]
        if not choose(*places):
            return True
        return learned(seen, (*attention, choices[attention].rate), (*control, choices[control].best))  # not the lowest of the tied ones

    unit = next((budget for budget in comparison.ladder if stops(budget)), None)
    if unit is None or needs:
        return Ladder(choices, None, None, (), (), tuple(needs))
    rungs = comparison.ladder[comparison.ladder.index(unit) :]
    fixed = [(comparison.fixed, budget) for budget in rungs]
    if not choose(*((arm, budget) for budget in rungs[:2] for arm in (comparison.attention, CONTROL)), *fixed):
        return Ladder(choices, unit, None, rungs, (), tuple(needs))
    best = min(rungs[:2], key=lambda budget: choices[comparison.attention, budget].log_loss)
    wanted = [(comparison.attention, best), (CONTROL, best), *fixed]
    there = {place: seen.reported.get((*place, choices[place].rate)) for place in wanted}
    seeds = sorted({seed for sums in there.values() if sums for seed in sums.seeds})
    for (arm, budget), sums in there.items():
        if lacking := max(len(seeds), comparison.seeds) - (len(sums.seeds) if sums else 0):
            rate = choices[arm, budget].rate
            why = f"{lacking} seeds, or the sentences of their runs, are missing at the chosen rate {rate:g}"
            needs.append(Need(arm, budget, "reported", lacking, (rate,), why))
    return Ladder(choices, unit, best, rungs, tuple(seeds), tuple(needs))


def learned(seen: Observations, attention: tuple, control: tuple) -> bool:
    """Whether control − attention on the long half is above 0.05: Student's interval, paired by selection seed.

    Each arm is (arm, budget, rate).
    """
    return intervals.paired(seen.long[control], seen.long[attention]).low > MARGIN


def choice(seen: Observations, comparison: Comparison, arm: str, budget: int) -> Choice | Need:
    """The choice at a rung, or what it lacks."""
    losses = seen.losses.get((arm, budget), {})
    seeds = {seed for of_seed in losses.values() for seed in of_seed}
    lacking = max(SELECTION_SEEDS, len(seeds))

    def need(of_rates: tuple[float, ...], why: str) -> Need:
        return Need(arm, budget, "selection", lacking, of_rates, why)

    def is_whole(rate: float) -> bool:
        of_seed = losses.get(rate, {})
        if len(of_seed) < lacking:
            return False
        return not all(map(math.isfinite, of_seed.values())) or set(seen.long.get((arm, budget, rate), {})) == seeds

    if absent := tuple(rate for rate in sorted({*comparison.rates, *losses}) if not is_whole(rate)):
        return need(absent, "the rate curve lacks these rates, seeds there or their losses by length")
    found = rates.choose(losses, comparison.rates)
    if found.rate is None:
        return need((min(losses) / 2,), "every rate of the grid diverged")
    if found.at_edge:
        grown = "" if found.add else ", which has grown twice: declare another"
        return need((found.add,) if found.add else (), f"the best rate, {found.best:g}, lies at an edge of the grid{grown}")
    return found
