"""Made-up rows: planted numbers come out again, counts are coherent, and draws repeat."""

import math

import numpy as np
import pytest
from scipy import stats

from attention_jax.statistics import rates, truths
from attention_jax.statistics.truths import LENGTHS, Curve, Truth

TRUTHS = {truth.name: truth for truth in truths.truths()}
LONG = truths.comparison(8).long


def test_all_that_the_protocol_names_is_planted():
    assert len(TRUTHS) >= 15 and {truth.kind for truth in TRUTHS.values()} == {"null", "effect", "level"}
    assert {f"gap {gap}" for gap in (0.14, 0.27, 0.4, 0.63)} <= set(TRUTHS)


@pytest.mark.parametrize("gap", [0.05, 0.14, 0.27, 0.4, 0.63])
def test_a_planted_gap_is_that_of_typical_seeds(gap):
    """By a million made-up seeds instead of quadrature."""
    truth, random = TRUTHS[f"gap {gap}"], np.random.default_rng(0)
    long = [LENGTHS.index(length) for length in LONG]
    typical = []
    for curve in (truth.attention, truth.fixed[-1]):
        u, w = random.standard_normal((2, 200_000))
        e = 1 / (1 + np.exp(-(curve.log_odds() + truths.shifts(truth, u, w))))
        exact = ((1 - e) ** np.array(LENGTHS))[:, long].mean(1)
        typical.append(1 / (1 + np.exp(-np.log(exact / (1 - exact)).mean())))
    assert typical[0] == pytest.approx(0.97, abs=0.002) and typical[0] - typical[1] == pytest.approx(gap, abs=0.004)


def test_a_curve_is_half_where_it_says():
    for half in (4.0, 8.0, 12.0):
        exact = (1 / (1 + np.exp(Curve(0.0, half).log_odds()))) ** np.array(LENGTHS)
        assert exact[LENGTHS.index(int(half))] == pytest.approx(0.5)
    np.testing.assert_allclose(1 / (1 + np.exp(-Curve(0.02).log_odds())), 0.02)


def test_every_length_scatters_alike():
    u, w = np.random.default_rng(0).standard_normal((2, 100_000))
    shifts = truths.shifts(Truth("", "", "", Curve(0.01), (Curve(0.01),) * 3, scatter=0.8), u, w)
    np.testing.assert_allclose(shifts.std(0), 0.8, rtol=0.02)
    assert np.corrcoef(shifts[:, 0], shifts[:, -1])[0, 1] == pytest.approx(math.cos(math.pi / 3), abs=0.02)


def test_wrong_symbols_and_exact_matches_are_of_the_same_examples():
    """Brute force: every symbol of every example drawn."""
    random, e, examples = np.random.default_rng(0), 0.1, 400_000
    for length in (3, 16):
        wrong = (random.random((examples // 4, length)) < e).sum(1)
        failed = (wrong > 0).sum()
        place = LENGTHS.index(length)
        counts = np.zeros((1, len(LENGTHS)), int)
        counts[0, place] = failed
        ours = truths.wrong_symbols(np.full(counts.shape, e), counts, random)
        assert ours[0, place] == pytest.approx(wrong.sum(), rel=0.02) and ours.sum() == ours[0, place]
    certain = truths.wrong_symbols(np.full((1, len(LENGTHS)), 1 - 1e-15), np.full((1, len(LENGTHS)), 7), random)
    np.testing.assert_array_equal(certain[0], 7 * np.array(LENGTHS))


def test_rows_are_whole_coherent_and_repeat():
    truth = TRUTHS["gap 0.4"]
    rows = truths.rows(truth, 4, np.random.default_rng(7))
    assert rows == truths.rows(truth, 4, np.random.default_rng(7)) != truths.rows(truth, 4, np.random.default_rng(8))
    free = {key(row): row for row in rows if row.get("mode") == "free" and row["role"] == "reported"}
    forced = [row for row in rows if row.get("mode") == "forced"]
    assert len(forced) == len(free) == 5 * 4 * len(LENGTHS)
    for row in forced:
        failed = row["examples"] - free[key(row)]["exact"]
        assert failed <= row["symbol_errors"] <= failed * row["length"] and row["symbols"] == row["examples"] * row["length"]
    curves = {}
    for row in rows:
        if "validation_loss" in row:
            curves.setdefault((row["attention"], row["budget"]), {}).setdefault(row["learning_rate"], {})[row["seed"]] = row[
                "validation_loss"
            ]
    assert set(curves) == {("attention", 100), ("attention", 200), ("fixed", 100), ("fixed", 200), ("fixed", 400)}
    for (arm, budget), losses in curves.items():
        chosen = rates.choose(losses, truths.comparison(4).rates).rate
        assert {row["learning_rate"] for row in free.values() if (row["attention"], row["budget"]) == (arm, budget)} == {chosen}


def key(row):
    return row["attention"], row["budget"], row["seed"], row["length"]


def test_exact_matches_are_binomial():
    """One seed without scatter: a χ² of the counts of 200 data sets."""
    truth = Truth("", "", "", Curve(0.03), (Curve(0.03),) * 3, scatter=0.0)
    exact = [
        row["exact"]
        for number in range(40)
        for row in truths.rows(truth, 2, np.random.default_rng(number))
        if row.get("length") == 10 and row["mode"] == "free" and row["role"] == "reported" and row["learning_rate"] == 0.004
    ]
    expected = stats.binom(truths.EXAMPLES, 0.97**10)
    assert abs(np.mean(exact) - expected.mean()) < 4 * expected.std() / math.sqrt(len(exact))
    assert np.std(exact) == pytest.approx(expected.std(), rel=0.3)
