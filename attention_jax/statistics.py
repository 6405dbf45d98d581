"""What the rows say: dicts, one per (run, seed, length, mode, budget), go in; intervals, critical lengths and verdicts come out.

Rows are found by their fields, never by position. Two rows for the same (arm, seed, length, mode, budget) mean that several
runs are mixed (say, two cells): every function here raises `ValueError` then, filter first. The seed is the unit of
replication: one number per seed, Student's t over seeds, differences between arms paired by seed.
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np

from attention_jax.results import RANGES
from attention_jax.types import DataError

CONFIDENCE = 0.95  # of every interval
FEWEST_SEEDS = 3  # below: no verdict
LEARNED = 0.5  # exact match on the longer half from which an arm counts as having learned the task
LOSS_MARGIN = 0.05  # nats per target token
MARGIN = 0.1  # exact match; smaller differences do not make a bottleneck


class Interval(NamedTuple):
    """Mean over n seeds and its 95 % interval; low and high are nan where there is none."""

    mean: float
    low: float
    high: float
    n: int


class CriticalLength(NamedTuple):
    """`bound` says what the true one is: "exact" this length (payload tokens), "at_least" or "below" it."""

    length: float
    bound: str


class CriticalInterval(NamedTuple):
    """`bound` says how the mean is to be read: "=", ">=", "<=", or "?" where seeds are bounded on both sides."""

    interval: Interval
    bound: str


class Verdict(NamedTuple):
    """`value` is "bottleneck", "no bottleneck" or "inconclusive"; `reason` one sentence with the numbers that decided."""

    value: str
    reason: str


def student(values: Sequence[float]) -> Interval:
    """x̄ ± t₍.975, n−1₎ · s/√n over one number per seed; one seed has no interval, none raises `ValueError`."""
    values = np.asarray(values, float)
    n = len(values)
    if n == 0:
        raise ValueError("an interval needs at least one value")
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    from scipy import special  # only now: it takes a third of a second to import, scipy.stats one

    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


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


def paired(a_by_seed: Mapping[int, float], b_by_seed: Mapping[int, float]) -> Interval:
    """Student interval of a − b, seed by seed; seeds that only one side has raise `ValueError`."""
    if unpaired := sorted(set(a_by_seed) ^ set(b_by_seed)):
        raise ValueError(f"seeds {unpaired} are in only one of the two arms")
    return student([a_by_seed[seed] - b_by_seed[seed] for seed in sorted(a_by_seed)])


def gap_by_length(
    rows: Sequence[Mapping], arm: str, reference: str, *, budget: int, value: str = "exact_match", mode: str = "free"
) -> dict[int, Interval]:
    """{length: paired interval of arm − reference} at the lengths both arms have; negative where the arm loses exact match."""
    ours, theirs = by_length(rows, arm, value, mode, budget), by_length(rows, reference, value, mode, budget)
    return {length: paired(ours[length], theirs[length]) for length in ours if length in theirs}


def critical_length(lengths: Sequence[float], exact_match: Sequence[float], level: float) -> CriticalLength:
    """The first length at which exact match falls below `level` (.99: L99, .50: L50), linear between evaluated lengths.

    l = lᵢ + (lᵢ₊₁ − lᵢ) · (eᵢ − level) / (eᵢ − eᵢ₊₁) at the first eᵢ₊₁ < level. Where e₁ < level already: "below" l₁.
    Where it never falls below: "at_least" the largest length. A later recovery does not count. Order of the arguments is free.
    """
    lengths, exact_match = np.asarray(lengths, float), np.asarray(exact_match, float)
    if lengths.shape != exact_match.shape or lengths.size == 0 or lengths.size != np.unique(lengths).size or np.isnan(exact_match).any():
        raise ValueError("a critical length needs one exact match (not nan) for each of one or more different lengths")
    order = np.argsort(lengths)
    lengths, exact_match = lengths[order], exact_match[order]
    below = np.flatnonzero(exact_match < level)
    if below.size == 0:
        return CriticalLength(float(lengths[-1]), "at_least")
    if below[0] == 0:
        return CriticalLength(float(lengths[0]), "below")
    (left, right), (high, low) = lengths[below[0] - 1 : below[0] + 1], exact_match[below[0] - 1 : below[0] + 1]
    return CriticalLength(float(left + (right - left) * (high - level) / (high - low)), "exact")


def critical_by_seed(rows: Sequence[Mapping], arm: str, level: float, budget: int, mode: str = "free") -> dict[int, CriticalLength]:
    """{seed: its critical length} of one arm, over all the lengths its rows have."""
    found = by_length(rows, arm, "exact_match", mode, budget)
    seeds = sorted({seed for of_seed in found.values() for seed in of_seed})
    curves = {seed: {length: of_seed[seed] for length, of_seed in found.items() if seed in of_seed} for seed in seeds}
    return {seed: critical_length(list(points), list(points.values()), level) for seed, points in curves.items()}


def critical_interval(criticals: Sequence[CriticalLength]) -> CriticalInterval:
    """Mean over seeds of the recorded lengths, with an interval only where every seed's is exact.

    One seed at its bound makes the mean a bound too (">=" with any "at_least", "<=" with any "below", "?" with both), and
    low and high nan: Student's t holds for lengths, not for the places where the evaluation happened to stop.
    """
    interval = student([critical.length for critical in criticals])
    bounds = {critical.bound for critical in criticals}
    if bounds == {"exact"}:
        return CriticalInterval(interval, "=")
    bound = "?" if bounds >= {"at_least", "below"} else ">=" if "at_least" in bounds else "<="
    return CriticalInterval(interval._replace(low=np.nan, high=np.nan), bound)


def bottleneck_verdict(
    rows: Sequence[Mapping], fixed_arm: str, attention_arm: str, budget: int, mode: str = "free", seen_only: bool = True
) -> Verdict:
    """Does the fixed vector lose long inputs that attention keeps? A rule fixed before the runs; all intervals are 95 %, over seeds.

    "Short" and "long" are the first and the last ⌊n/2⌋ of the n evaluated lengths that lie in the trained range (`seen`; a
    middle one is left out), and an arm's exact match on them is its mean over those lengths, one number per seed.

    0. Both arms have the same three or more seeds and the same two or more lengths; else inconclusive.
    1. The better of the two arms has a mean exact match of at least 0.5 on the long half; else inconclusive (not learned).
    2. no bottleneck, if the paired difference attention − fixed on the long half lies entirely below 0.1.
    3. bottleneck, if all four hold:
       a. gap: attention − fixed on the long half lies entirely above 0.1;
       b. drop: short − long of the fixed arm lies entirely above 0.1;
       c. widening: the fixed arm's drop minus the attention arm's lies entirely above 0 (a uniform handicap is no bottleneck);
       d. memory: short − long of the fixed arm's teacher-forced symbol accuracy, 1 − (1 − token accuracy) · (l + 1)/l, which counts
          errors per payload token as if EOS were never wrong, lies entirely above 0 (exact match falls with length at
          constant accuracy per token; that alone is no bottleneck).
    4. inconclusive otherwise; the reason names the conditions that failed.
    """
    rows = [row for row in rows if row["seen"]] if seen_only else rows
    fixed, attention = (by_length(rows, arm, "exact_match", mode, budget) for arm in (fixed_arm, attention_arm))
    tokens = by_length(rows, fixed_arm, "token_accuracy", "forced", budget)
    seeds = {frozenset(of_seed) for found in (fixed, attention, tokens) for of_seed in found.values()}
    if not list(fixed) == list(attention) == list(tokens) or len(fixed) < 2 or len(seeds) != 1 or len(*seeds) < FEWEST_SEEDS:
        needed = f"the same {FEWEST_SEEDS} or more seeds and 2 or more lengths in both arms, {mode} and forced"
        return Verdict("inconclusive", f"the rows of {fixed_arm!r} and {attention_arm!r} at budget {budget} do not have {needed}")

    half = len(fixed) // 2
    short, long = list(fixed)[:half], list(fixed)[-half:]
    symbols = {length: {seed: 1 - (1 - a) * (length + 1) / length for seed, a in of_seed.items()} for length, of_seed in tokens.items()}
    fixed_short, fixed_long, attention_short, attention_long, symbols_short, symbols_long = (
        {seed: float(np.mean([found[length][seed] for length in lengths])) for seed in next(iter(seeds))}
        for found in (fixed, attention, symbols)
        for lengths in (short, long)
    )
    fixed_drop, attention_drop = ({s: a[s] - b[s] for s in a} for a, b in ((fixed_short, fixed_long), (attention_short, attention_long)))
    gap, drop = paired(attention_long, fixed_long), student(list(fixed_drop.values()))
    widening, memory = paired(fixed_drop, attention_drop), paired(symbols_short, symbols_long)

    best = max(student(list(arm.values())).mean for arm in (fixed_long, attention_long))
    where = f"lengths {long[0]} to {long[-1]}"
    if best < LEARNED:
        return Verdict("inconclusive", f"not learned: on {where} the better arm's exact match is {best:.2f}, below {LEARNED}")
    if gap.high < MARGIN:
        return Verdict("no bottleneck", f"on {where} {_text('gap', gap)} lies below {MARGIN}")
    conditions = (("gap", gap, MARGIN), ("drop", drop, MARGIN), ("widening", widening, 0.0), ("memory", memory, 0.0))
    if failed := [f"{_text(name, interval)} is not above {floor}" for name, interval, floor in conditions if not interval.low > floor]:
        return Verdict("inconclusive", f"on {where} " + "; ".join(failed))
    return Verdict("bottleneck", f"on {where} " + ", ".join(_text(name, interval) for name, interval, _ in conditions))


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


def agree(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict over groups: theirs where all say the same, else inconclusive; the reason names each group's."""
    if not verdicts:
        return Verdict("inconclusive", "the rule compares a fixed vector with attention, and the rows do not have both")
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    values = {verdict.value for verdict in verdicts.values()}
    reason = "; ".join(f"{group}: {verdict.value}, {verdict.reason}" for group, verdict in verdicts.items())
    return Verdict(values.pop(), reason) if len(values) == 1 else Verdict("inconclusive", f"the groups differ: {reason}")


def _text(name: str, interval: Interval) -> str:
    return f"{name} {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
