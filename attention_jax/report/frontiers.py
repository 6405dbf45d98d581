"""Rows of several cells and state sizes → what is recalled by how many numbers of state: frontiers, their table, paired contrasts.

A frontier is the runs of one arm and cell on one task: points by (n, budget), n the numbers that the encoder hands over. Accuracy is the
share of right symbols on the long half of the trained lengths, EOS aside, true symbols before each (Arora 2023 has it like this); L* is
that of exact match, free running, by `capacities`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.report import capacities, standings, tables
from attention_jax.report.capacities import WORD, Place, Series
from attention_jax.report.tables import Table
from attention_jax.statistics import intervals, laws
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import DataError


class Frontier(NamedTuple):
    """The measurements of one arm and cell on one task."""

    task: str
    label: str  # the cell, and what else is not as in the others
    series: Series
    right: dict[Place, dict[int, tuple[int, int]]]  # {seed: (right symbols, symbols)} on the long half
    exact: dict[Place, Interval]  # exact match of the typical seed there, free running
    long: tuple[int, ...]

    @property
    def arm(self) -> str:
        """The mechanism."""
        return self.series.arm

    @property
    def name(self) -> str:
        """The cell and the mechanism."""
        return f"{self.label}, {self.arm}"

    @property
    def last(self) -> int:
        """The largest budget."""
        return self.series.budgets[-1]

    @property
    def sizes(self) -> list[int]:
        """The sizes n at the largest budget, ascending."""
        return list(self.series.at(self.last))

    def accuracy(self, place: Place) -> Interval:
        """Returns the accuracy of the typical seed at a place."""
        right_R, symbols_R = zip(*self.right[place].values(), strict=True)
        return intervals.typical_seed(right_R, symbols_R)

    def shares(self, n: int) -> dict[int, float]:
        """Returns {seed: accuracy} of a size at the largest budget."""
        return {seed: right / symbols for seed, (right, symbols) in self.right[n, self.last].items()}

    def by_seed(self, n: int) -> np.ndarray:
        """Returns these accuracies, seeds ascending."""
        shares = self.shares(n)
        return np.array([shares[seed] for seed in sorted(shares)])


class Contrast(NamedTuple):
    """A difference of accuracies of two points, paired by seed; `p` is two-sided, by Holm over its family."""

    name: str
    difference: Interval
    p: float

    def sign(self, level: float) -> int:
        """Returns 1 or −1 where the difference is significant at `level`, else 0."""
        return 0 if self.p >= level else 1 if self.difference.mean > 0 else -1


def read(rows: Sequence[dict], label: Callable[[Mapping], str]) -> list[Frontier]:
    """Groups rows into frontiers by task, `label` and arm, in order of appearance; those without results are left out."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["task"], label(row), row["attention"]), []).append(row)
    return [_frontier(task, named, ours) for (task, named, _), ours in groups.items() if standings.reported(ours)]


def _frontier(task: str, named: str, rows: Sequence[dict]) -> Frontier:
    (series,) = capacities.read(rows, lambda row: f"{named} {task}")
    right, exact, long = {}, {}, ()
    for n, budget in series.half:
        ours = [row for row in rows if (row["state_size"], row["budget"]) == (n, budget)]
        forced, free = (standings.tested(ours, series.arm, budget, mode) for mode in ("forced", "free"))
        long = free.trained[-max(1, len(free.trained) // 2) :]
        wrong_R, all_R = (part.sum(1).tolist() for part in forced.at(long)[3:])
        right[n, budget] = {seed: (total - wrong, total) for seed, wrong, total in zip(forced.seeds, wrong_R, all_R, strict=True)}
        exact[n, budget] = standings.pooled(free, long)
    return Frontier(task, named, series, right, exact, long)


def contrasts(pairs: Sequence[tuple[str, Mapping[int, float], Mapping[int, float]]]) -> list[Contrast]:
    """Returns the contrasts a − b of (name, a by seed, b by seed), paired; they are one family.

    Raises `DataError` for a seed that only one side has, and for two pairs of one name.
    """
    differences = {name: intervals.paired(a, b) for name, a, b in pairs}
    if len(differences) < len(pairs):
        raise DataError("two contrasts of one name")
    p = intervals.holm({name: intervals.student_p([a[seed] - b[seed] for seed in sorted(a)]) for name, a, b in pairs})
    return [Contrast(name, difference, p[name]) for name, difference in differences.items()]


def table(several: Sequence[Frontier], budget: int) -> Table:
    """Tabulates the frontiers of one task at a budget: accuracy and L* by numbers and bits of state, parameters beside."""
    lines = []
    for each in several:
        for n in (n for n, of in each.series.half if of == budget):
            place = n, budget
            half, one = each.series.half[place], laws.bits(1, each.series.alphabet)
            known = half.bound != "unsupported"
            share = f"{capacities.SIGNS[half.bound]}{one * half.length / (WORD * n):.1%}" if known else "–"
            sizes = (str(n), f"{WORD * n:,}", f"{each.series.parameters[place]:,}", f"{each.series.rates[place]:g}")
            found = (tables.interval_text(each.accuracy(place), 3), capacities.length_text(half))
            lines.append((each.label, each.arm, *sizes, *found, capacities.length_text(each.series.ninety[place]), share))
    long = f"{several[0].long[0]} to {several[0].long[-1]}"
    header = ("cell", "attention", "n", "bits", "parameters", "rate", f"accuracy on {long}", "L*", "L* at 0.9", "L* · log₂ V of the bits")
    return Table(f"State and {several[0].task} after {budget:,} updates; n numbers handed over, of {WORD} bits", header, lines)


def contrasts_table(found: Sequence[Contrast], title: str) -> Table:
    """Tabulates a family of contrasts."""
    lines = [(each.name, tables.interval_text(each.difference, 3), tables.p_text(each.p)) for each in found]
    return Table(f"{title}; accuracy on the long half, paired by seed, p two-sided by Holm", ("contrast", "difference", "p"), lines)
