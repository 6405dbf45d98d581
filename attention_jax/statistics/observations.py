"""Rows → counts by (role, arm, budget, rate), for one comparison that was declared beforehand.

Rows are dicts and are found by their fields, never by position; fields that are not named here are ignored:

    attention, budget, learning_rate, seed, role ("reported" or "selection")    whose row it is
    length, seen, mode ("free" or "forced"), examples                           where it was evaluated, on how many examples
    exact                                                                       free: examples that came out entirely right
    symbols, symbol_errors                                                      forced: payload symbols, EOS aside, and wrong ones
    validation_loss                                                             a row without length: one selection seed at one rate
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attention_jax.system.errors import ConfigError, DataError

ROLES = ("selection", "reported")
"""Rows that a verdict is about; those of further test sets, and what a claim measures besides, have other roles."""

FEWEST_RATES = 5
SELECTION_SEEDS = 4
COUNTS = {"free": ("exact", "examples"), "forced": ("symbol_errors", "symbols")}
"""The fields of a row that are a count and its total, by mode."""


@dataclass(frozen=True)
class Comparison:
    """A comparison of a fixed vector with attention, declared before the runs."""

    fixed: str  # the arm whose decoder gets one vector
    attention: str
    lengths: tuple[int, ...]  # evaluated and trained, ascending
    ladder: tuple[int, ...]  # budgets in updates, each twice the one before
    rates: tuple[float, ...]  # the grid of every rate curve, each twice the one before; it may grow by two
    seeds: int = 8  # reported seeds, none of them a selection seed
    attending: tuple[int, ...] = ()  # on text: rungs of attention and control, the first of the ladder; where none are named, U and 2U

    def __post_init__(self):
        if self.fixed == self.attention:
            raise ConfigError(f"the comparison needs two arms, both are {self.fixed!r}")
        if len(self.lengths) < 4 or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 1:
            raise ConfigError(f"lengths = {self.lengths}; needed are four or more, ascending")
        if not self.ladder or any(b != 2 * a for a, b in zip(self.ladder, self.ladder[1:], strict=False)):
            raise ConfigError(f"ladder = {self.ladder}; every budget is twice the one before")
        if self.attending != self.ladder[: len(self.attending)]:
            raise ConfigError(f"attending = {self.attending}; needed are the first rungs of the ladder {self.ladder}")
        if len(self.rates) < FEWEST_RATES or any(not math.isclose(b, 2 * a) for a, b in zip(self.rates, self.rates[1:], strict=False)):
            raise ConfigError(f"rates = {self.rates}; needed are {FEWEST_RATES} or more, each twice the one before")
        if self.seeds < 2:
            raise ConfigError(f"seeds = {self.seeds}; an interval needs two or more")

    @property
    def long(self) -> tuple[int, ...]:
        """The last ⌊n/2⌋ of the n lengths."""
        return self.lengths[-(len(self.lengths) // 2) :]

    @property
    def first(self) -> tuple[int, ...]:
        """The first ⌊n/2⌋ of the n lengths; those that both arms have learned are "short"."""
        return self.lengths[: len(self.lengths) // 2]


class Counts(NamedTuple):
    """Counts of one run by seed; columns are the comparison's lengths."""

    seeds: tuple[int, ...]
    count_RxL: np.ndarray
    total_RxL: np.ndarray


class Observations(NamedTuple):
    """Validation losses and counts of a comparison; seeds that lack a length are left out."""

    losses: dict[tuple[str, int], dict[float, dict[int, float]]]  # (arm, budget) → rate → selection seed → validation loss
    counts: dict[tuple, Counts]  # (role, mode, arm, budget, rate)

    def get(self, role: str, mode: str, arm: str, budget: int, rate: float) -> Counts | Any:
        """Returns the counts of one run; None where no seed has all lengths."""
        return self.counts.get((role, mode, arm, budget, rate))


def read(rows: Iterable[Mapping], comparison: Comparison) -> Observations:
    """Reads the observations of a comparison from rows. Raises `DataError` for two rows of the same place, or an invalid count."""
    arms, budgets, lengths = {comparison.fixed, comparison.attention}, set(comparison.ladder), set(comparison.lengths)
    try:
        losses, found = _sorted(rows, arms, budgets, lengths)
    except KeyError as error:
        raise DataError(f"a row of {comparison.fixed!r} or {comparison.attention!r} has no field {error}") from None
    counts = {key: made for key, of_seed in found.items() if (made := _counts(key, of_seed, comparison.lengths))}
    selection = {seed for curve in losses.values() for of_seed in curve.values() for seed in of_seed}
    reported = {seed for key, made in counts.items() if key[0] == "reported" for seed in made.seeds}
    if both := sorted(selection & reported):
        raise DataError(f"seeds {both} chose a rate and are reported: the two have to be different seeds")
    return Observations(losses, counts)


def _sorted(rows: Iterable[Mapping], arms: set, budgets: set, lengths: set) -> tuple[dict, dict]:
    """Returns validation losses, and (count, total) by run, seed and length."""
    losses: dict = {}
    found: dict = {}
    for row in rows:
        arm, budget = row["attention"], row["budget"]
        if arm not in arms or budget not in budgets or row["role"] not in ROLES:
            continue
        length = row.get("length")
        if length is None:
            if row["role"] == "selection" and "validation_loss" in row:
                of_seed = losses.setdefault((arm, budget), {}).setdefault(row["learning_rate"], {})
                if row["seed"] in of_seed:
                    raise DataError(f"two validation losses for {_place(row)}: several runs are mixed")
                of_seed[row["seed"]] = _loss(row)
        elif length in lengths and row["seen"]:
            mode = row["mode"]
            of_length = found.setdefault((row["role"], mode, arm, budget, row["learning_rate"]), {}).setdefault(row["seed"], {})
            if length in of_length:
                raise DataError(f"two {mode} rows for {_place(row)}, length {length}: several runs are mixed")
            count, total = COUNTS[mode]
            of_length[length] = (row.get(count), row.get(total))
    return losses, found


def _loss(row: Mapping) -> float:
    """Returns the validation loss; infinity for a run that diverged."""
    loss = row["validation_loss"]
    return float(loss) if loss is not None and math.isfinite(loss) else math.inf


def _counts(key: tuple, of_seed: Mapping[int, Mapping[int, tuple]], lengths: Sequence[int]) -> Counts | None:
    seeds = tuple(sorted(seed for seed, of_length in of_seed.items() if len(of_length) == len(lengths)))
    if not seeds:
        return None
    pairs = np.array([[of_seed[seed][length] for length in lengths] for seed in seeds])
    counts, totals = pairs[..., 0], pairs[..., 1]
    if not (np.issubdtype(pairs.dtype, np.integer) and ((totals > 0) & (counts >= 0) & (counts <= totals)).all()):
        role, mode, arm, budget, rate = key
        names = COUNTS[mode]
        raise DataError(
            f"{mode} rows of {arm!r} at {budget} updates, rate {rate:g} ({role}): {names[0]} is no whole number from 0 to {names[1]}"
        )
    return Counts(seeds, counts, totals)


def _place(row: Mapping) -> str:
    return f"{row['attention']!r} at {row['budget']} updates, rate {row['learning_rate']:g}, seed {row['seed']} ({row['role']})"
