"""What one arm gains over another at every budget of their ladders: rows of a group, read for `statistics.gains`."""

from typing import NamedTuple

from attention_jax.report import standings
from attention_jax.report.standings import Group
from attention_jax.statistics import gains, intervals, lengths
from attention_jax.statistics.intervals import Interval


class Gain(NamedTuple):
    """What an arm gains over another at a budget."""

    budget: int
    ours: tuple[Interval, str]  # L50 and its sign
    theirs: tuple[Interval, str]
    gain: Interval  # ours − theirs; without ends where a seed's L50 is a bound
    worth: tuple[Interval, str]  # k
    growth: Interval | None  # of theirs since half the budget, where that was run
    p: float  # one-sided, of a gain above 0


def over(group: Group, ours: str, theirs: str) -> list[Gain]:
    """Returns the gains of one arm over another, by budget; none where one of them was not run on the same seeds."""
    here, there = standings.criticals(group, ours), standings.criticals(group, theirs)
    found = []
    for budget in sorted(here.keys() & there.keys()):
        if here[budget].keys() != there[budget].keys():
            continue
        ours_R, theirs_R = list(here[budget].values()), list(there[budget].values())
        before = there.get(budget // 2) if budget % 2 == 0 else None
        growth = lengths.change(theirs_R, list(before.values())) if before and before.keys() == there[budget].keys() else None
        ladder = {each: list(of.values()) for each, of in there.items() if of.keys() == there[budget].keys()}
        differences = [a.length - b.length for a, b in zip(ours_R, theirs_R, strict=True)]
        p = intervals.student_tail(differences, 0.0) if len(differences) > 1 else 0.5
        sides = lengths.over_seeds(ours_R), lengths.over_seeds(theirs_R)
        found.append(Gain(budget, *sides, lengths.change(ours_R, theirs_R), gains.worth(ours_R, ladder, budget), growth, p))
    return found
