"""Rows measured by position (`sweeps.positions`) → shares by seed, position and third, and their tables.

Numbers are of one length, at which all positions are those of every example: the tested length nearest to an arm's critical length L*, or
the longest that was trained on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.report import standings, tables
from attention_jax.report.standings import Group
from attention_jax.report.tables import Table
from attention_jax.statistics import intervals, positions
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import DataError

WHAT = ("moved", "absent", "no symbol")


class Counts(NamedTuple):
    """What was measured of an arm at a budget and length: counts over as many examples of each seed, by seed and position."""

    arm: str
    budget: int
    length: int
    examples: int
    of: Mapping[int, Sequence[Mapping]]  # {seed: a row per position, in order}

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(sorted(self.of))

    def array(self, field: str) -> np.ndarray:
        """Returns the counts of a field, seeds × positions. Raises `DataError` where they were not measured."""
        if any(field not in row for rows in self.of.values() for row in rows):
            raise DataError(f"{self.arm} at {self.budget} updates, length {self.length}: {field} is not measured")
        return np.array([[row[field] for row in self.of[seed]] for seed in self.seeds], float)

    def by_third(self, field: str) -> dict[str, dict[int, float]]:
        """Returns {third: {seed: share of the examples' symbols there}}."""
        share_RxT = self.array(field) / self.examples
        means = {third: share_RxT[:, places].mean(1).tolist() for third, places in positions.thirds(self.length).items()}
        return {third: dict(zip(self.seeds, of_seeds, strict=True)) for third, of_seeds in means.items()}

    def by_position(self, field: str) -> dict[int, Interval]:
        """Returns {position, from 1: share of the typical seed}."""
        return {t: intervals.typical_seed(count_R, np.full(len(count_R), self.examples)) for t, count_R in self._columns(field)}

    def _columns(self, field: str) -> Iterable[tuple[int, np.ndarray]]:
        return enumerate(self.array(field).T.astype(int), start=1)


def read(rows: Iterable[Mapping], arm: str, budget: int, length: int) -> Counts | None:
    """Returns what was measured of an arm; None where nothing was. Raises `DataError` for a seed without a row of each position."""
    place, of_seed, examples = (arm, budget, length), {}, set()
    for row in rows:
        if standings.is_measured(row) and (row["attention"], row["budget"], row["length"]) == place:
            of_seed.setdefault(row["seed"], []).append(row)
            examples.add(row["examples"])
    if not of_seed:
        return None
    ordered = {seed: sorted(of, key=lambda row: row["position"]) for seed, of in of_seed.items()}
    if len(examples) > 1 or any([row["position"] for row in of] != list(range(1, length + 1)) for of in ordered.values()):
        raise DataError(f"{arm} at {budget} updates, length {length}: every seed needs a row of each position, of as many examples")
    return Counts(arm, budget, length, examples.pop(), ordered)


def nearest(group: Group, arm: str, budget: int) -> tuple[int | None, str]:
    """Returns the trained length of three symbols or more that is nearest to L50 of an arm, and L50 as text; None where L50 is a bound."""
    tested = group.tested(arm, budget)
    lengths = [length for length in tested.trained if length >= len(positions.THIRDS)]
    if len(tested.trained) < 2 or not lengths:
        return None, "unknown, fewer than two lengths being tested"
    l50, sign = standings.critical(tested)
    return min(lengths, key=lambda length: abs(length - l50.mean)) if sign == "=" else None, tables.critical_text(l50, sign)


def thirds_table(found: Sequence[tuple[str, Counts]], field: str, what: str) -> Table:
    """Tabulates shares of each third and their contrasts, paired by seed; found: (group, counts)."""
    lines = []
    for group, counts in found:
        shares = {third: list(of_seeds.values()) for third, of_seeds in counts.by_third(field).items()}
        contrasts = positions.contrasts(shares)
        cells = [tables.interval_text(intervals.student(shares[third])) for third in positions.THIRDS]
        cells += [f"{tables.interval_text(each.difference)}, p {each.p:.2g}" for each in contrasts.values()]
        lines.append((group, counts.arm, f"{counts.budget:,}", str(counts.length), *cells))
    header = ("group", "arm", "updates", "length", *positions.THIRDS, *(" − ".join(pair) for pair in positions.PAIRS))
    return Table(f"{what} by third of the positions, mean over seeds; differences paired by seed, p by Holm", header, lines)


def order_table(found: Sequence[tuple[str, Counts]]) -> Table:
    """Tabulates what the wrong symbols of free running are, and the share of order among them, all positions together."""
    lines = []
    for group, counts in found:
        free_R, moved_R, absent_R, chance_R = (counts.array(field).sum(1) for field in ("free", "moved", "absent", "absent_by_chance"))
        parts = np.stack([moved_R, absent_R, free_R - moved_R - absent_R])
        some = free_R > 0
        shares = [_over_seeds(part[some] / free_R[some]) for part in parts]
        symbols_R = moved_R + absent_R
        chance, some = _over_seeds(chance_R[symbols_R > 0] / symbols_R[symbols_R > 0]), chance_R > 0
        order = _over_seeds(np.array([positions.order(*each) for each in zip(absent_R[some], chance_R[some], strict=True)]))
        cells = [tables.interval_text(each) for each in (_over_seeds(free_R / counts.examples / counts.length), *shares, chance, order)]
        lines.append((group, counts.arm, f"{counts.budget:,}", str(counts.length), *cells))
    header = ("group", "arm", "updates", "length", "wrong", *WHAT, "absent by chance", "order")
    title = "What wrong symbols are, free running, shares by seed: 1 − absent / absent by chance is order"
    return Table(title, header, lines)


def positions_table(group: str, found: Sequence[Counts], fields: Mapping[str, str]) -> Table:
    """Tabulates shares of the typical seed by position, a column for each arm and each of `fields`, {field: what it is}."""
    columns = {f"{counts.arm}, {what}": counts.by_position(field) for field, what in fields.items() for counts in found}
    lines = [(str(t), *(tables.interval_text(each[t]) for each in columns.values())) for t in range(1, found[0].length + 1)]
    return Table(f"Shares by position, length {found[0].length}, {group}; typical seed", ("position", *columns), lines)


def gains_table(found: Sequence[tuple[str, Counts, Counts]], field: str, what: str) -> Table:
    """Tabulates, by third, the share of one arm less that of another, paired by seed; found: (group, ours, theirs) of one length."""
    lines = []
    for group, ours, theirs in found:
        here, there = ours.by_third(field), theirs.by_third(field)
        cells = (tables.interval_text(intervals.paired(here[third], there[third]).of_difference(0, 1)) for third in positions.THIRDS)
        lines.append((group, f"{ours.arm} − {theirs.arm}", f"{ours.budget:,}", str(ours.length), *cells))
    header = ("group", "arms", "updates", "length", *positions.THIRDS)
    return Table(f"{what} by third of the positions; differences paired by seed", header, lines)


def _over_seeds(values: np.ndarray) -> Interval | None:
    """Returns Student's interval; None where no seed has the value."""
    return intervals.student(values) if len(values) else None
