"""Measured rows of what looks point at → tables and figures: by arm and kind of word, and by size of the source.

    beyond a uniform look = (pointing − that of a uniform look) / (1 − that of a uniform look)

It is 0 where looks are as good as uniform and 1 where they never miss, however large a box is.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from attention_jax.report import tables
from attention_jax.report.figures import curves
from attention_jax.report.standings import Group
from attention_jax.report.tables import Table
from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval

VALUES = ("pointing", "mass", "chance", "vectors")


def at_last(rows: Iterable[Mapping], group: Group) -> list[Mapping]:
    """Returns the rows of each arm of a group at its largest budget."""
    last = {arm: group.budgets(arm)[-1] for arm in group.arms}
    return [row for row in rows if row["budget"] == last.get(row["attention"])]


def by_seed(rows: Iterable[Mapping], value: str) -> list[float]:
    """Returns the mean of a value over words, seed by seed."""
    sums: dict[int, list[float]] = {}
    for row in rows:
        total = sums.setdefault(row["seed"], [0.0, 0.0])
        total[0], total[1] = total[0] + row["count"] * row[value], total[1] + row["count"]
    return [total / count for _, (total, count) in sorted(sums.items())]


def beyond(rows: Sequence[Mapping]) -> list[float]:
    """Returns how far pointing lies beyond that of a uniform look, seed by seed, both as means over words."""
    pointing_R, chance_R = (np.array(by_seed(rows, value)) for value in ("pointing", "chance"))
    return list((pointing_R - chance_R) / (1 - chance_R))


def over_seeds(values: Sequence[float]) -> Interval | None:
    """Returns the interval of the mean over seeds, within 0 and above; None for no seed."""
    if not values:
        return None
    found = intervals.student(values)
    return found._replace(low=float(np.fmax(found.low, 0)))


def table(rows: Sequence[Mapping], arms: Sequence[str], kinds: Sequence[str], name: str) -> Table:
    """Tabulates arms and kinds of words on the first test set: pointing, mass, chance, vectors that are read."""
    lines = []
    for arm in arms:
        for kind in kinds:
            ours = [row for row in rows if row["attention"] == arm and row["words"] == kind and row["split"] == "test"]
            if ours:
                shown = [tables.interval_text(over_seeds(by_seed(ours, value))) for value in VALUES]
                lines.append((arm, kind, *shown, str(ours[0]["places"])))
    header = ("arm", "words", "pointing", "weight in the box", "of a uniform look", "vectors read", "of")
    return Table(f"Where looks point, {name}; mean over seeds, true words before each", header, lines)


def by_test(rows: Sequence[Mapping], arms: Sequence[str], name: str) -> Table | None:
    """Tabulates pointing of each arm by test set, all words; None where there is one test set alone."""
    tests = list(dict.fromkeys(row["test"] for row in rows))
    if len(tests) < 2:
        return None
    lines = []
    for arm in arms:
        of_tests = ([row for row in rows if row["attention"] == arm and row["test"] == test] for test in tests)
        lines.append((arm, *(tables.interval_text(over_seeds(by_seed(of_test, "pointing"))) for of_test in of_tests)))
    return Table(f"Pointing by size of the source, {name}; mean over seeds", ("arm", *tests), lines)


def drawn(rows: Sequence[Mapping], arms: Sequence[str], name: str, trained: tuple[int, int]):
    """Draws pointing by length on the first test set, a line for each arm."""
    ours = [row for row in rows if row["split"] == "test"]
    by_length = {}
    for arm in arms:
        of_arm = [row for row in ours if row["attention"] == arm]
        lengths = sorted({row["length"] for row in of_arm})
        found = {length: over_seeds(by_seed([row for row in of_arm if row["length"] == length], "pointing")) for length in lengths}
        by_length[arm] = {length: interval for length, interval in found.items() if interval}
    return curves.length_curves(by_length, title=f"{name}: looks that point at what is said", ylabel="pointing", trained=trained)
