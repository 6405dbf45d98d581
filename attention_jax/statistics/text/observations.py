"""Rows and sentences → losses of the short and of the long half of the trained buckets, for a comparison declared beforehand.

Rows are dicts and are found by their fields, never by position; fields that are not named here are ignored:

    attention, budget, learning_rate, seed, role    whose row it is; role: "selection", or "reported", which may be left out; rows of other
                               roles, as those of further test sets, do not count
    blind                      true of the control: the attention arm with text.blind, every source the same (absent: false)
    length, seen, mode         a bucket of source length; only rows of trained ones, and of the measure's mode, count
    open                       true of the bucket without an upper edge, behind the last one: it never counts (absent: false)
    loss, examples, symbols    there: nats per target token, lines, and target tokens without their EOS
    error_rate, reference_symbols    the same of error rates: edits per symbol of the reference, and these symbols
    run                        of a reported row: whose sentences are its own
    validation_loss            a row without length: one selection seed at one rate

The loss of a half is nats, or errors, per token: tokens weigh alike, not buckets. That of a selection seed is made from its rows, that of
a reported seed from its sentences, which have to give the losses of its rows.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from attention_jax.statistics.observations import ROLES, Comparison
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import Sums
from attention_jax.statistics.text.measures import NATS, Measure
from attention_jax.system.errors import DataError

CONTROL = "blind"
"""The arm that does not see the source."""

ROUNDING = 1e-4  # relative; the loss of a row and that of its sentences are sums of the same float32 numbers


class Observations(NamedTuple):
    """Losses of a comparison, by arm (`CONTROL`, fixed, attention), budget and rate; seeds that lack a bucket are left out."""

    losses: dict[tuple[str, int], dict[float, dict[int, float]]]  # (arm, budget) → rate → selection seed → validation loss
    long: dict[tuple[str, int, float], dict[int, float]]  # (arm, budget, rate) → selection seed → nats per token on the long half
    reported: dict[tuple[str, int, float], Sums]  # (arm, budget, rate) → sums of its reported seeds
    measure: Measure = NATS


class _Bucket(NamedTuple):
    """Loss and tokens of a bucket, from a row."""

    loss: float
    tokens: int
    run: str | None


def read(
    rows: Iterable[Mapping], sentences: Mapping[str, Sentences], comparison: Comparison, block: int, measure: Measure = NATS
) -> Observations:
    """Reads the observations of a comparison; `sentences` by name of run. Raises `DataError` for rows that contradict each other."""
    try:
        losses, forced = _sorted(rows, comparison, measure)
    except KeyError as error:
        raise DataError(f"a row of {comparison.fixed!r} or {comparison.attention!r} has no field {error}") from None
    chose = {seed for curve in losses.values() for of_seed in curve.values() for seed in of_seed}
    if both := sorted(chose & {seed for (role, *_), of_seed in forced.items() if role == "reported" for seed in of_seed}):
        raise DataError(f"seeds {both} chose a rate and are reported: the two have to be different seeds")
    long, reported = {}, {}
    for (role, *place), of_seed in forced.items():
        whole = {seed: of_seed[seed] for seed in sorted(of_seed) if len(of_seed[seed]) == len(comparison.lengths)}
        if role == "selection":
            long[tuple(place)] = {seed: _long(found, comparison) for seed, found in whole.items()}
        elif made := _sums(place, whole, {run: measure.of(found) for run, found in sentences.items()}, comparison, block):
            reported[tuple(place)] = made
    return Observations(losses, long, reported, measure)


def _sorted(rows: Iterable[Mapping], comparison: Comparison, measure: Measure) -> tuple[dict, dict]:
    """Returns validation losses, and buckets by (role, arm, budget, rate), seed and length."""
    losses: dict = {}
    forced: dict = {}
    for row in rows:
        blind, arm, budget, role = row.get("blind", False), row["attention"], row["budget"], row.get("role", "reported")
        arms = (comparison.attention,) if blind else (comparison.fixed, comparison.attention)
        if role not in ROLES or arm not in arms or budget not in comparison.ladder:
            continue
        place, length = (role, CONTROL if blind else arm, budget, row["learning_rate"]), row.get("length")
        if length is None:
            if place[0] == "selection" and "validation_loss" in row:
                _add_loss(losses.setdefault(place[1:3], {}).setdefault(place[3], {}), row, _text(place[1:]))
        elif row["mode"] == measure.mode and length in comparison.lengths and row["seen"] and not row.get("open"):
            of_length = forced.setdefault(place, {}).setdefault(row["seed"], {})
            if length in of_length:
                raise DataError(
                    f"two {measure.mode} rows for {_text(place[1:])}, seed {row['seed']}, length {length}: several runs are mixed"
                )
            of_length[length] = _Bucket(row[measure.value], measure.symbols(row), row.get("run"))
    return losses, forced


def _add_loss(of_seed: dict[int, float], row: Mapping, place: str) -> None:
    """Adds a row's validation loss to those of the selection seeds: infinity of a seed that diverged."""
    if row["seed"] in of_seed:
        raise DataError(f"two validation losses for {place}, seed {row['seed']}: several runs are mixed")
    loss = row["validation_loss"]
    of_seed[row["seed"]] = float(loss) if loss is not None and math.isfinite(loss) else math.inf


def _long(of_length: Mapping[int, _Bucket], comparison: Comparison) -> float:
    """Returns nats per token on the long half; infinity for a seed that diverged."""
    found = [of_length[length] for length in comparison.long]
    if any(bucket.loss is None for bucket in found):
        return math.inf
    return sum(bucket.loss * bucket.tokens for bucket in found) / sum(bucket.tokens for bucket in found)


def _sums(place, whole: Mapping[int, Mapping], sentences: Mapping[str, Sentences], comparison: Comparison, block: int) -> Sums | None:
    """Returns the sums of seeds that have sentences; None where no seed has."""
    of_run: dict[str, dict[int, Mapping]] = {}
    for seed, found in whole.items():
        run = found[comparison.lengths[0]].run
        if run in sentences and seed in sentences[run].seeds:
            of_run.setdefault(run, {})[seed] = found
    parts = []
    for run, of_seed in of_run.items():
        kept, rows = sentences[run], [sentences[run].seeds.index(seed) for seed in of_seed]
        told_RxL = np.array([[found[length].loss for length in comparison.lengths] for found in of_seed.values()], float)
        if not np.allclose(_losses(kept, comparison)[rows], told_RxL, rtol=ROUNDING, atol=0):
            raise DataError(f"the sentences of run {run!r} do not have the losses of its rows, {_text(place)}: they are of another run")
        sums = blocks.by_block(kept, comparison.lengths, block)
        parts.append(Sums(tuple(of_seed), sums.nll_RxKx2[rows], sums.tokens_Kx2))
    return blocks.together(parts) if parts else None


def _losses(kept: Sentences, comparison: Comparison) -> np.ndarray:
    """Returns nats per token by seed and bucket."""
    L = len(comparison.lengths)
    bucket_N = np.searchsorted(np.asarray(comparison.lengths), kept.length_N)
    nll_RxL = np.stack([np.bincount(bucket_N, nll_N, L + 1)[:L] for nll_N in kept.nll_RxN])
    return nll_RxL / np.maximum(np.bincount(bucket_N, kept.tokens_N, L + 1)[:L], 1)[None]


def _text(place) -> str:
    arm, budget, rate = place
    return f"{arm!r} at {budget} updates, rate {rate:g}"
