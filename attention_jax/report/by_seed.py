"""Rows of text → one number per seed and length, curves, gaps. A row is a dict per (run, seed, length, mode, budget).

Rows are found by their fields, never by position. Two rows for the same (arm, seed, length, mode, budget) mean that several
runs are mixed (say, two cells): every function here raises `ValueError` then, filter first. The seed is the unit of
replication: one number per seed, Student's t over seeds, differences between arms paired by seed.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from attention_jax.running.results import RANGES
from attention_jax.statistics.intervals import Interval, paired, student
from attention_jax.system.errors import DataError


def by_length(rows: Sequence[Mapping], arm: str, value: str, mode: str, budget: int) -> dict[int, dict[int, float]]:
    """Returns {length: {seed: value}}, ascending; empty where no row matches. Raises `DataError` for a value that is no number."""
    found = {}
    for row in rows:
        if row["attention"] == arm and row["mode"] == mode and row["budget"] == budget:
            of_length = found.setdefault(row["length"], {})
            if row["seed"] in of_length:
                raise ValueError(
                    f"two rows for {arm!r}, seed {row['seed']}, length {row['length']}, {mode}, budget {budget}: several runs are mixed"
                )
            if not isinstance(row.get(value), Real):
                raise DataError(f"{value} is no number in the row of {arm!r}, seed {row['seed']}, length {row['length']}, {mode}, {budget}")
            of_length[row["seed"]] = float(row[value])
    return dict(sorted(found.items()))


def examples(rows: Sequence[Mapping]) -> dict[int, int]:
    """Returns {length: examples behind one number}, ascending; the fewest, where arms or seeds differ."""
    found: dict[int, int] = {}
    for row in rows:
        length, n = row["length"], row["examples"]
        found[length] = min(n, found[length]) if length in found else n
    return dict(sorted(found.items()))


def open_lengths(rows: Sequence[Mapping]) -> set[int]:
    """Returns the lengths of open buckets, which hold all longer ones. Rows of earlier versions name such a bucket by its longest."""
    return {row["length"] for row in rows if row.get("open")}


def curve(rows: Sequence[Mapping], arm: str, value: str, mode: str, budget: int) -> dict[int, Interval]:
    """Returns {length: interval over seeds} of one arm, ascending; empty where no row matches.

    Intervals are clipped to the range of the value: a share to 0 … 1.
    """
    ends = RANGES.get(value, (-np.inf, np.inf))
    found = by_length(rows, arm, value, mode, budget)
    return {length: student(list(of_seed.values())).within(*ends) for length, of_seed in found.items()}


def pooled(rows: Sequence[Mapping], arm: str, value: str, mode: str, budget: int, lengths: Sequence[int]) -> dict[int, float]:
    """Returns {seed: mean of a value over these lengths, weighted by their examples} of one arm; empty where no row matches."""
    ours = by_length([row for row in rows if row["length"] in lengths], arm, value, mode, budget)
    weights = examples(rows)
    seeds = sorted({seed for of_length in ours.values() for seed in of_length})
    total = sum(weights[length] for length in ours)
    return {seed: sum(weights[length] * of_length[seed] for length, of_length in ours.items()) / total for seed in seeds}


def gap_by_length(
    rows: Sequence[Mapping], arm: str, reference: str, *, budget: int, value: str = "exact_match", mode: str = "free"
) -> dict[int, Interval]:
    """Returns {length: paired interval of arm − reference} at the lengths both arms have; negative where the arm loses exact match.

    Intervals are clipped to what a difference of the value can be: of shares to −1 … 1.
    """
    ends = RANGES.get(value, (-np.inf, np.inf))
    ours, theirs = by_length(rows, arm, value, mode, budget), by_length(rows, reference, value, mode, budget)
    return {length: paired(ours[length], theirs[length]).of_difference(*ends) for length in ours if length in theirs}
