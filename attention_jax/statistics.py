"""What the rows of text say: dicts, one per (run, seed, length, mode, budget), go in; curves, gaps and verdicts come out.

Rows are found by their fields, never by position. Two rows for the same (arm, seed, length, mode, budget) mean that several
runs are mixed (say, two cells): every function here raises `ValueError` then, filter first. The seed is the unit of
replication: one number per seed, Student's t over seeds, differences between arms paired by seed.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from attention_jax.intervals import Interval, paired, student
from attention_jax.results import RANGES
from attention_jax.types import DataError
from attention_jax.verdicts import Verdict

FEWEST_SEEDS = 3  # below: no verdict
LOSS_MARGIN = 0.05  # nats per target token


def by_length(rows: Sequence[Mapping], arm: str, value: str, mode: str, budget: int) -> dict[int, dict[int, float]]:
    """{length: {seed: value}}, lengths ascending; empty where no row matches. A row whose value is no number raises `DataError`."""
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
    """{length: how many examples one number stands for}, lengths ascending; the fewest, where arms or seeds differ."""
    found: dict[int, int] = {}
    for row in rows:
        found[row["length"]] = min(row["examples"], found.get(row["length"], row["examples"]))
    return dict(sorted(found.items()))


def open_lengths(rows: Sequence[Mapping]) -> set[int]:
    """Lengths that stand for all that are longer, too. Rows of earlier versions do not say so: they name such a bucket by its longest."""
    return {row["length"] for row in rows if row.get("open")}


def curve(rows: Sequence[Mapping], arm: str, value: str, mode: str, budget: int) -> dict[int, Interval]:
    """{length: interval over seeds} of one arm, lengths ascending; empty where no row matches.

    Intervals end where the values can: Student's t does not know that a share ends at 0 and 1.
    """
    low, high = RANGES.get(value, (-np.inf, np.inf))
    found = {}
    for length, of_seed in by_length(rows, arm, value, mode, budget).items():
        interval = student(list(of_seed.values()))
        found[length] = interval._replace(low=float(np.maximum(interval.low, low)), high=float(np.minimum(interval.high, high)))
    return found


def gap_by_length(
    rows: Sequence[Mapping], arm: str, reference: str, *, budget: int, value: str = "exact_match", mode: str = "free"
) -> dict[int, Interval]:
    """{length: paired interval of arm − reference} at the lengths both arms have; negative where the arm loses exact match."""
    ours, theirs = by_length(rows, arm, value, mode, budget), by_length(rows, reference, value, mode, budget)
    return {length: paired(ours[length], theirs[length]) for length in ours if length in theirs}


def length_loss_verdict(rows: Sequence[Mapping], fixed_arm: str, attention_arm: str, budget: int) -> Verdict:
    """The same question for text, where exact match says nothing: does the fixed arm's loss suffer more from length?

    "Short" and "long" are the first and the last ⌊n/2⌋ of the n trained buckets of source length; an arm's loss on them is its
    mean teacher-forced nats per target token over those buckets, one number per seed; intervals are 95 %, paired by seed.

    0. Both arms have the same three or more seeds and two or more trained buckets; else inconclusive.
    1. bottleneck, if fixed − attention on long lies entirely above 0.05, and exceeds that on short (interval entirely above 0).
    2. no bottleneck, if fixed − attention on long lies entirely below 0.05, or does not exceed that on short (entirely below 0).
    3. inconclusive otherwise.
    """
    rows = [row for row in rows if row["seen"]]
    fixed, attention = (by_length(rows, arm, "loss", "forced", budget) for arm in (fixed_arm, attention_arm))
    seeds = {frozenset(of_seed) for found in (fixed, attention) for of_seed in found.values()}
    if list(fixed) != list(attention) or len(fixed) < 2 or len(seeds) != 1 or len(*seeds) < FEWEST_SEEDS:
        return Verdict(
            "inconclusive",
            f"the rows of {fixed_arm!r} and {attention_arm!r} at budget {budget} do not have the same {FEWEST_SEEDS} or more seeds "
            "and 2 or more trained buckets",
        )
    half = len(fixed) // 2
    short, long = (
        {seed: float(np.mean([fixed[length][seed] - attention[length][seed] for length in lengths])) for seed in next(iter(seeds))}
        for lengths in (list(fixed)[:half], list(fixed)[-half:])
    )
    gap, widening = student(list(long.values())), paired(long, short)
    reason = f"nats per token on buckets up to {list(fixed)[-1]} words: {_text('gap', gap)}, {_text('widening', widening)}"
    if gap.low > LOSS_MARGIN and widening.low > 0:
        return Verdict("bottleneck", reason)
    if gap.high < LOSS_MARGIN or widening.high < 0:
        return Verdict("no bottleneck", reason)
    return Verdict("inconclusive", reason)


def _text(name: str, interval: Interval) -> str:
    return f"{name} {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
