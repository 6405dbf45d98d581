"""Curves and gaps of rows on cases worked by hand; the verdict on text is tested where it is used."""

import random

import numpy as np
import pytest

from attention_jax.report import by_seed

STEP = 100


def arm_rows(arm, exact, accuracy=None, seeds=range(8), lengths=(1, 2, 4, 8, 12, 16, 32), noise=0.01):
    """Rows of one arm, both modes; lengths to 16 are seen. `exact` and `accuracy` map a length to the mean over seeds."""
    jitter = np.random.default_rng(sum(map(ord, arm)))
    return [
        {"run": arm, "attention": arm, "seed": seed, "length": length, "seen": length <= 16, "mode": mode, "budget": STEP}
        | {
            "exact_match": exact(length) + jitter.normal(0, noise),
            "token_accuracy": (accuracy or exact)(length) + jitter.normal(0, noise / 4),
        }
        for seed in seeds
        for length in lengths
        for mode in ("free", "forced")
    ]


def forgets(length):
    return 1.0 if length <= 4 else 0.3


def keeps(length):
    return 0.95


def test_curves_find_rows_by_their_fields():
    rows = arm_rows("summary", forgets, noise=0) + arm_rows("additive", keeps, noise=0)
    rows += [row | {"budget": STEP // 2, "exact_match": 0.0} for row in rows]
    rows = [row | {"exact_match": 0.5} if row["mode"] == "forced" else row for row in rows]
    random.Random(0).shuffle(rows)
    found = by_seed.curve(rows, "summary", "exact_match", "free", STEP)
    assert list(found) == [1, 2, 4, 8, 12, 16, 32]
    assert all(interval[:1] + interval[3:] == (forgets(length), 8) for length, interval in found.items())
    assert by_seed.curve(rows, "summary", "exact_match", "forced", STEP)[8].mean == 0.5
    assert by_seed.curve(rows, "summary", "exact_match", "free", STEP // 2)[8].mean == 0.0
    assert by_seed.curve(rows, "dot", "exact_match", "free", STEP) == {}
    gap = by_seed.gap_by_length(rows, "summary", "additive", budget=STEP)
    assert {length: round(interval.mean, 6) for length, interval in gap.items()} == {
        1: 0.05,
        2: 0.05,
        4: 0.05,
        **dict.fromkeys((8, 12, 16, 32), -0.65),
    }


def test_a_gap_lies_within_what_a_difference_can_be():
    """Two seeds that scatter widely: Student's interval alone would be −0.5 ± 6.35."""
    places = {"attention": "summary", "length": 1, "mode": "free", "budget": STEP}
    for value, most in (("exact_match", 1), ("chrf", 100), ("loss", None)):
        rows = [places | {"seed": seed, value: share * (most or 1)} for seed, share in enumerate((0.0, 1.0))]
        rows += [row | {"attention": "additive", value: 1.0 * (most or 1)} for row in rows]
        gap = by_seed.gap_by_length(rows, "summary", "additive", budget=STEP, value=value)[1]
        half = 12.706 / 2
        assert gap == pytest.approx((-most / 2, -most, most, 2) if most else (-0.5, -0.5 - half, -0.5 + half, 2), abs=1e-3)


def test_examples_and_open_lengths():
    rows = [{"length": 20, "examples": 7}, {"length": 10, "examples": 9, "open": False}, {"length": 21, "examples": 2, "open": True}]
    assert list(by_seed.examples([*rows, {"length": 20, "examples": 5}]).items()) == [(10, 9), (20, 5), (21, 2)]
    assert by_seed.open_lengths(rows) == {21} and by_seed.open_lengths(rows[:2]) == set() and by_seed.examples([]) == {}


def test_mixed_runs_are_refused():
    with pytest.raises(ValueError, match="two rows for 'summary', seed 0, length 1"):
        by_seed.curve(arm_rows("summary", keeps) * 2, "summary", "exact_match", "free", STEP)


def test_pooled_weighs_lengths_by_their_examples():
    rows = [row | {"examples": 3 * row["length"]} for row in arm_rows("summary", forgets)]
    found = by_seed.pooled(rows, "summary", "exact_match", "free", STEP, (2, 4, 99))
    curves = by_seed.by_length(rows, "summary", "exact_match", "free", STEP)
    assert found == {seed: pytest.approx((2 * curves[2][seed] + 4 * curves[4][seed]) / 6) for seed in range(8)}
    assert by_seed.pooled(rows, "additive", "exact_match", "free", STEP, (2,)) == {}
