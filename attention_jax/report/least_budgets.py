"""Rows of several lengths and budgets → the least budget of each length, its laws, and tables.

U* is the least budget, in updates, at which a share `REACHED` of the strings of a length come out entirely right (`statistics.budgets`).
The warm-up of a run is a floor of it: laws are fitted to U*, and to U* less the warm-up.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.report import standings, tables
from attention_jax.report.tables import Table
from attention_jax.statistics import budgets, laws
from attention_jax.statistics.laws import Law, Pooled
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.system.errors import DataError

REACHED = 0.95
SIGNS = {"exact": "", "at_least": "> ", "below": "<= "}


class Series(NamedTuple):
    """What is measured of one arm at one d, by length."""

    name: str
    arm: str
    rows: dict[int, list[dict]]
    ladder: dict[int, list[int]]
    least: dict[int, Pooled]  # U* in updates
    warmup: int  # updates of it that are warm-up
    by_seed: dict[int, list[CriticalLength]]  # each seed's own
    seconds: dict[int, float]  # of an update of all seeds

    @property
    def times(self) -> dict[int, Pooled]:
        """Seconds to U*, by length."""
        scaled = ((length, each, self.seconds[length]) for length, each in self.least.items())
        return {
            length: each._replace(length=each.length * each_s, low=each.low * each_s, high=each.high * each_s)
            for length, each, each_s in scaled
        }

    @property
    def behind_warmup(self) -> dict[int, Pooled]:
        """U* less the warm-up, by length; a bound where nothing is left."""
        found = {}
        for length, each in self.least.items():
            left = each._replace(length=each.length - self.warmup, low=each.low - self.warmup, high=each.high - self.warmup)
            found[length] = left if left.length > 0 else left._replace(bound="below")
        return found

    def deciding(self, length: int) -> list[int]:
        """Returns the rungs that U* lies between; of a bound, the one that it is at."""
        least, ladder = self.least[length], self.ladder[length]
        if least.bound != "exact":
            return [int(least.length)]
        above = next(rung for rung in ladder if rung >= least.length)
        return ladder[max(ladder.index(above) - 1, 0) : ladder.index(above) + 1]


def read(rows: Sequence[dict], group: Sequence[str]) -> list[Series]:
    """Groups rows into series by the fields of `group` and arm, in order of appearance.

    Raises `DataError` where seeds differ between budgets.
    """
    found = []
    for title, of_size in tables.grouped(rows, group).items():
        for arm in dict.fromkeys(row["attention"] for row in of_size if standings.is_reported(row)):
            found.append(_series(f"{arm} {title}", arm, [row for row in of_size if row["attention"] == arm]))
    return found


def _series(title: str, arm: str, rows: Sequence[dict]) -> Series:
    series = Series(title, arm, {}, {}, {}, rows[0].get("warmup", 0), {}, {})
    for length in sorted({row["longest"] for row in rows}):
        ours = [row for row in rows if row["longest"] == length]
        ladder = sorted({row["budget"] for row in ours if standings.is_reported(row)})
        columns = [standings.tested(ours, arm, budget).at((length,)) for budget in ladder]
        if len({column.seeds for column in columns}) > 1:
            raise DataError(f"{title}, L = {length}: every budget needs the same seeds")
        exact, examples = (np.concatenate([getattr(column, name) for column in columns], 1) for name in ("count_RxL", "total_RxL"))
        series.rows[length], series.ladder[length] = ours, ladder
        series.least[length] = budgets.pooled(ladder, exact, examples, REACHED)
        series.by_seed[length] = [budgets.least(ladder, *pair, REACHED) for pair in zip(exact, examples, strict=True)]
        series.seconds[length] = min(row["seconds"] / row["budget"] for row in ours if standings.is_reported(row))
    return series


def least_table(series: Series) -> Table:
    """Tabulates U* by length: pooled, of each seed, and in seconds."""
    lines = []
    for length, each in series.least.items():
        ladder, times = series.ladder[length], series.times
        seeds = ", ".join(f"{SIGNS[own.bound]}{own.length:,.0f}" for own in series.by_seed[length])
        cost, seconds = f"{1000 * series.seconds[length]:.2f}", budget_text(times[length], 1)
        lines.append((str(length), f"{ladder[0]:,} to {ladder[-1]:,}", budget_text(each), seeds, cost, seconds))
    header = ("L", "ladder", "U*, updates", "of each seed", "ms an update", "U*, seconds")
    return Table(
        f"Least budgets for {REACHED} of length L, {series.name}; seconds: of the machine of the runs, with all else that ran there",
        header,
        lines,
    )


def exact_table(series: Series) -> Table:
    """Tabulates exact match of the typical seed at length L, and the rate, by budget."""
    lines = []
    for length, ours in series.rows.items():
        for budget in series.ladder[length]:
            tested = standings.tested(ours, series.arm, budget)
            rate = next(row["learning_rate"] for row in ours if row["budget"] == budget and standings.is_reported(row))
            share = tables.interval_text(standings.pooled(tested, (length,)), 3)
            lines.append((str(length), f"{budget:,}", f"{rate:g}", str(len(tested.seeds)), share))
    return Table(f"Exact match at length L, {series.name}; typical seed", ("L", "updates", "rate", "seeds", "exact match"), lines)


def laws_table(found: Sequence[Series]) -> Table:
    """Tabulates both laws of every series, in updates, and the power law behind the warm-up and in seconds."""
    lines = []
    for each in found:
        fits = [laws.attempt(law, points) for law, points in ((laws.power, each.least), (laws.exponential, each.least))]
        behind, in_time = laws.attempt(laws.power, each.behind_warmup), laws.attempt(laws.power, each.times)
        exact = f"{sum(least.is_exact for least in each.least.values())} of {len(each.least)}"
        texts = [tables.interval_text(law.slope) if isinstance(law, Law) else "–" for law in (*fits, behind, in_time)]
        unit = (1.0, math.log(2))  # the exponential's scatter is of log₂ U*
        scatter = [f"{law.scatter * u:.2f}" if isinstance(law, Law) else "–" for law, u in zip(fits, unit, strict=True)]
        lines.append((each.name, exact, texts[0], scatter[0], texts[2], texts[1], scatter[1], texts[3]))
    power = ("exponent of L", "scatter", "exponent of U* less warm-up")
    header = ("series", "exact lengths", *power, "doublings per symbol", "scatter", "exponent in seconds")
    return Table("Laws of U*: L^b and 2^(b · L), by least squares on exact U*; scatter is of log U*", header, lines)


def budget_text(each: Pooled, digits: int = 0) -> str:
    """Returns 640 [600, 690], or a bound such as > 1,600."""
    ends = "" if each.low != each.low else f" [{each.low:,.{digits}f}, {each.high:,.{digits}f}]"
    return f"{SIGNS[each.bound]}{each.length:,.{digits}f}{ends}"
