"""Rows with an error rate → what each arm loses from L, the longest trained length, to the longest that is tested, and the word for it.

Arms are at their largest budget. An arm has learned if the upper bound of its mean error rate at L is at most `LEARNED`. What those lose is
tested against `LOST`: paired by seed, two-sided, Student, by Holm for all of them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from attention_jax.report import by_seed, standings
from attention_jax.report.standings import Group
from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval

LEARNED, LOST, COLLAPSED, LEVEL = 0.2, 0.02, 0.5, 0.05


class Reached(NamedTuple):
    """How an arm reads at its largest budget: error rate by length and seed, and what it loses from L to the longest tested length."""

    budget: int
    at_L: Interval
    far: Interval
    lost: Interval
    p: float  # two-sided, of "it loses `LOST`"
    apart: tuple[Interval | None, ...]  # error rate at L on each further test set


def last(group: Group, arm: str) -> int:
    """Returns the largest budget of an arm."""
    return group.budgets(arm)[-1]


def longest(group: Group) -> int:
    """Returns L, the longest trained length that is tested."""
    return max(group.trained)


def farthest(group: Group) -> str:
    """Returns the longest tested length as a multiple of L, such as 10 L."""
    return f"{max(group.examples) / longest(group):.3g} L"


def wer(rows: Sequence[dict], arm: str, budget: int) -> dict[int, dict[int, float]]:
    """Returns {length: {seed: edits per symbol}}, free running."""
    return by_seed.by_length(standings.reported(rows), arm, "error_rate", "free", budget)


def reached(group: Group, arm: str, apart: Mapping[str, Sequence[dict]] = MappingProxyType({})) -> Reached:
    """Returns how an arm reads at its largest budget; `apart` are the results on each further test set."""
    budget, L = last(group, arm), longest(group)
    found, far = wer(group.rows, arm, budget), max(group.examples)
    lost = [found[far][seed] - found[L][seed] for seed in sorted(found[L])]
    at_L, at_far = (intervals.student(list(found[length].values())) for length in (L, far))
    others = (wer(of_test, arm, budget) for of_test in apart.values())
    of_others = tuple(intervals.student(list(other[L].values())) if L in other else None for other in others)
    return Reached(budget, at_L, at_far, intervals.student(lost), intervals.student_p(lost, LOST), of_others)


def words_of(found: Mapping[str, Reached]) -> tuple[dict[str, str], dict[str, float]]:
    """Returns {arm: "carries", "loses", "collapses", "undecided" or "not learned"}, and p corrected for the arms that have learned.

    An arm carries where it loses less than `LOST`. Where it loses more it collapses, if the lower bound of its error rate at the longest
    length is `COLLAPSED` or more.
    """
    p = intervals.holm({arm: each.p for arm, each in found.items() if each.at_L.high <= LEARNED})
    words = {}
    for arm, each in found.items():
        if arm not in p:
            words[arm] = "not learned"
        elif p[arm] >= LEVEL:
            words[arm] = "undecided"
        elif each.lost.mean < LOST:
            words[arm] = "carries"
        else:
            words[arm] = "collapses" if each.far.low >= COLLAPSED else "loses"
    return words, p
