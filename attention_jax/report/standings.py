"""Rows of a ladder → results of an arm at a budget: exact match by length, L50, the share of failed seeds, the rate curve.

Intervals of exact match are of the typical seed, from counts; L50 is of a logistic curve through all trained lengths (`lengths`). Rows are
found by their fields; those of selection seeds are no results and appear in rate curves alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.running import selection
from attention_jax.statistics import intervals, lengths
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.observations import COUNTS, FEWEST_RATES, Comparison
from attention_jax.statistics.rates import Losses
from attention_jax.system.errors import DataError

GRID = tuple(1e-3 * 2.0**step for step in range(1, 6))
"""Rates of the comparison that is declared where rows hold no rate curve: its runs are missing."""


class Tested(NamedTuple):
    """Counts by seed and length: exact outputs of examples (free), or wrong symbols of all symbols (forced)."""

    seeds: tuple[int, ...]
    lengths: tuple[int, ...]
    seen: tuple[bool, ...]
    count_RxL: np.ndarray
    total_RxL: np.ndarray

    def at(self, chosen: Iterable[int]) -> "Tested":
        """Returns the counts at these lengths only."""
        places = [i for i, length in enumerate(self.lengths) if length in set(chosen)]
        lengths, seen = tuple(self.lengths[i] for i in places), tuple(self.seen[i] for i in places)
        return Tested(self.seeds, lengths, seen, self.count_RxL[:, places], self.total_RxL[:, places])

    @property
    def trained(self) -> tuple[int, ...]:
        """The lengths that were trained on."""
        return tuple(length for length, seen in zip(self.lengths, self.seen, strict=True) if seen)


def is_reported(row: Mapping) -> bool:
    """Returns whether a row is a result, not one of a selection seed."""
    return row.get("role", "reported") == "reported"


def is_trial(row: Mapping) -> bool:
    """Returns whether a row is one of a selection seed; what a claim measures besides is neither a result nor a trial."""
    return row.get("role") == "selection"


def is_measured(row: Mapping) -> bool:
    """Returns whether a row is what a claim measures of a trained model besides."""
    return row.get("role") == "measured"


def further(rows: Iterable[dict]) -> list[dict]:
    """Returns the rows of test sets behind the first one: results, but none that a verdict is about."""
    return [row for row in rows if row.get("role") == "further"]


def of_tests(rows: Sequence[dict]) -> dict[str, list[dict]]:
    """Returns {test set: its rows, as results}; that of verdicts first, with all other rows, under "" where it is the only one."""
    behind: dict[str, list[dict]] = {}
    for row in further(rows):
        behind.setdefault(row["test"], []).append(row | {"role": "reported"})
    first = next((str(row.get("test", "")) for row in rows if behind and is_reported(row)), "")
    return {first: [row for row in rows if row.get("role") != "further"], **behind}


def reported(rows: Iterable[dict]) -> list[dict]:
    """Returns the rows that are results, without those of selection seeds."""
    return [row for row in rows if is_reported(row)]


class Group:
    """Rows that differ in nothing but arm and budget. `attention`: the arm that fixed vectors are compared with, the first other one."""

    def __init__(self, name: str, rows: Sequence[dict], fixed: Sequence[str]):
        self.name, self.rows = name, rows
        self.arms = list(dict.fromkeys(row["attention"] for row in rows))
        self.fixed = [arm for arm in self.arms if arm in fixed]
        self.attention = next((arm for arm in self.arms if arm not in fixed), None)

    def budgets(self, arm: str) -> list[int]:
        """Returns the budgets of an arm, ascending."""
        return sorted({row["budget"] for row in self.rows if row["attention"] == arm and is_reported(row)})

    def tested(self, arm: str, budget: int, mode: str = "free") -> Tested:
        """Returns the results of an arm at a budget."""
        return tested(self.rows, arm, budget, mode)

    @property
    def trained(self) -> tuple[int, ...]:
        """The evaluated lengths that were trained on."""
        return self.tested(self.arms[0], self.budgets(self.arms[0])[0]).trained

    @property
    def examples(self) -> dict[int, int]:
        """{length: examples behind a number of one seed}."""
        found = self.tested(self.arms[0], self.budgets(self.arms[0])[0])
        return {length: int(n) for length, n in zip(found.lengths, found.total_RxL.min(0), strict=True)}

    @property
    def long(self) -> tuple[int, ...]:
        """The last ⌊n/2⌋ of the trained lengths; the only one, where there is one."""
        return self.trained[-max(1, len(self.trained) // 2) :]


def tested(rows: Iterable[Mapping], arm: str, budget: int, mode: str = "free") -> Tested:
    """Returns counts of an arm at a budget. Raises `DataError` for no rows, two of one place, missing lengths and invalid counts."""
    count, total = COUNTS[mode]
    ours = (row for row in rows if row["attention"] == arm and row["budget"] == budget and row.get("mode") == mode)
    found = _by_seed_and_length(filter(is_reported, ours), f"{mode} rows of {arm!r} at {budget} updates")
    seeds, tested_lengths = (sorted({place[i] for place in found}) for i in range(2))
    pairs = [[(found[seed, length].get(count), found[seed, length].get(total)) for length in tested_lengths] for seed in seeds]
    if not all(type(value) is int for of_seed in pairs for pair in of_seed for value in pair):
        raise DataError(f"{mode} rows of {arm!r} at {budget} updates: {count} and {total} must be whole numbers")
    array = np.array(pairs)
    seen = tuple(bool(found[seeds[0], length]["seen"]) for length in tested_lengths)
    return Tested(tuple(seeds), tuple(tested_lengths), seen, array[..., 0], array[..., 1])


def _by_seed_and_length(rows: Iterable[Mapping], which: str) -> dict[tuple[int, int], Mapping]:
    """Returns {(seed, length): row} of rows that hold every length of every seed once."""
    found: dict[tuple[int, int], Mapping] = {}
    for row in rows:
        seed, length = row["seed"], row["length"]
        if (seed, length) in found:
            raise DataError(f"two {which}, seed {seed}, length {length}: several runs are mixed")
        found[seed, length] = row
    if not found or len(found) != len({seed for seed, _ in found}) * len({length for _, length in found}):
        raise DataError(f"{which}: every seed needs every length")
    return found


def exact_match(found: Tested) -> dict[int, Interval]:
    """Returns {length: exact match of the typical seed}."""
    columns = zip(found.lengths, found.count_RxL.T, found.total_RxL.T, strict=True)
    return {length: intervals.typical_seed(count_R, total_R) for length, count_R, total_R in columns}


def pooled(found: Tested, chosen: Iterable[int]) -> Interval:
    """Returns exact match of the typical seed, pooled over several lengths."""
    part = found.at(chosen)
    return intervals.typical_seed(part.count_RxL.sum(1), part.total_RxL.sum(1))


def critical(found: Tested, level: float = 0.5) -> tuple[Interval, str]:
    """Returns the critical length, L50 for level 0.5: mean over seeds in tokens, and its sign as in `lengths.over_seeds`."""
    part = found.at(found.trained)
    return lengths.over_seeds(lengths.critical(part.lengths, part.count_RxL, part.total_RxL, level))


def criticals(group: Group, arm: str) -> dict[int, dict[int, lengths.CriticalLength]]:
    """Returns {budget: {seed: L50}} of an arm; nothing of a budget at which fewer than two trained lengths were tested."""
    found = {}
    for budget in group.budgets(arm):
        part = group.tested(arm, budget)
        part = part.at(part.trained)
        if len(part.lengths) > 1:
            l50 = lengths.critical(part.lengths, part.count_RxL, part.total_RxL, 0.5)
            found[budget] = dict(zip(part.seeds, l50, strict=True))
    return found


def failed(forced: Tested, short: Iterable[int]) -> Interval:
    """Returns the share of seeds whose teacher-forced symbol accuracy on short lengths is below ½."""
    part = forced.at(short)
    return intervals.failed_share(1 - part.count_RxL.sum(1) / part.total_RxL.sum(1))


def curve(rows: Iterable[Mapping], arm: str, budget: int) -> Losses:
    """Returns {rate: {selection seed: validation loss}} of an arm at a budget."""
    return selection.losses(row for row in rows if row["attention"] == arm and row["budget"] == budget)


def exact_of_trials(rows: Iterable[Mapping], arm: str, budget: int, chosen: Iterable[int]) -> dict[float, dict[int, float]]:
    """Returns {rate: {selection seed: exact match over the chosen lengths}}."""
    sums: dict[tuple[float, int], list[int]] = {}
    for row in rows:
        if row["attention"] == arm and row["budget"] == budget and is_trial(row) and row.get("length") in set(chosen):
            total = sums.setdefault((row["learning_rate"], row["seed"]), [0, 0])
            total[0], total[1] = total[0] + row["exact"], total[1] + row["examples"]
    found: dict[float, dict[int, float]] = {}
    for (rate, seed), (exact, examples) in sorted(sums.items()):
        found.setdefault(rate, {})[seed] = exact / examples
    return found


def trained_lengths(rows: Iterable[Mapping]) -> list[int]:
    """Returns the lengths of results that were trained on, ascending.

    An open bucket is none of them, also where all that it holds was: it has no upper edge.
    """
    return sorted({row["length"] for row in rows if row.get("seen") and not row.get("open") and "length" in row and is_reported(row)})


def declared(rows: Sequence[Mapping], fixed: str, attention: str, seeds: int = 8, own_rungs: bool = False) -> Comparison:
    """Returns the comparison that these rows belong to: their trained lengths, budgets, and the rates from which grids grew.

    What is in an open bucket belongs to no half. `own_rungs`: attention's budgets are all that it is meant to have, on text, and those
    beyond are the fixed arm's alone. Raises `ConfigError` for too few lengths, or budgets that are no doublings.
    """
    ours = [row for row in rows if row["attention"] in (fixed, attention)]
    ladder = sorted({row["budget"] for row in ours if is_reported(row)})
    attending = sorted({row["budget"] for row in ours if is_reported(row) and row["attention"] == attention}) if own_rungs else ()
    grid = tuple(sorted({row["learning_rate"] for row in ours if is_trial(row) and not row["grown"]}))
    rates = grid if len(grid) >= FEWEST_RATES else GRID
    return Comparison(fixed, attention, tuple(trained_lengths(ours)), tuple(ladder), rates, seeds, tuple(attending))
