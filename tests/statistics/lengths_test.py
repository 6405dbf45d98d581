"""Critical lengths: the likelihood's maximum against scipy.optimize, planted curves, bounds, and interpolation beside it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from attention_jax.statistics import lengths
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.system.errors import DataError

LENGTHS = np.array((3, 4, 5, 6, 8, 10, 12, 14, 16))
N = 512


def planted(half, slope, asymptote=1.0):
    return asymptote * special.expit(slope * np.log(half / LENGTHS))


def drawn(p, seeds=8, seed=0):
    exact = np.random.default_rng(seed).binomial(N, p, (seeds, len(LENGTHS)))
    return exact, np.full_like(exact, N)


def loss(parameters, asymptote, exact):
    a, b = parameters
    p = np.clip(asymptote * special.expit(a - b * np.log(LENGTHS)), 1e-12, 1 - 1e-12)
    return -(special.xlogy(exact, p) + special.xlog1py(N - exact, -p)).sum() + b**2 / (2 * lengths.STEEPEST**2)


@pytest.mark.parametrize("half, slope, asymptote", [(6, 8.5, 1), (8, 3, 0.9), (13, 8, 0.99), (10, 25, 1), (12, 2, 1), (20, 8, 1)])
def test_the_fit_is_the_likeliest_curve(half, slope, asymptote):
    exact, examples = drawn(planted(half, slope, asymptote), seeds=3)
    for curve, counts in zip(lengths.fit(LENGTHS, exact, examples), exact, strict=True):
        ours = loss((curve.a, curve.b), curve.asymptote, counts)
        for other in lengths.ASYMPTOTES:
            best = optimize.minimize(loss, (slope * np.log(half), slope), (other, counts), "Nelder-Mead", options={"fatol": 1e-8}).fun
            assert ours <= best + 1e-4


@given(st.lists(st.integers(0, N), min_size=9, max_size=9))
def test_any_counts_have_a_curve(counts):
    (curve,) = lengths.fit(LENGTHS, np.array([counts]), np.full((1, 9), N))
    assert math.isfinite(curve.a) and curve.b >= 0 and curve.lowest <= curve.asymptote
    found = curve.critical(0.5)
    assert found.bound in ("exact", "at_least", "below", "unsupported")
    if found.bound == "exact":
        assert 3 <= found.length <= 16 and curve.at(found.length) == pytest.approx(0.5)


@pytest.mark.parametrize("half, slope, asymptote", [(5, 8.5, 1), (8, 3, 1), (8, 8.5, 0.97), (12, 2, 1), (13.5, 8.5, 1)])
def test_planted_lengths_are_found(half, slope, asymptote):
    true = half * (2 * asymptote - 1) ** (1 / slope)
    p = planted(half, slope, asymptote)
    exact, examples = drawn(p, seeds=200)
    found = np.array([each.length for each in lengths.critical(LENGTHS, exact, examples, 0.5)])
    old = np.array([lengths.interpolated(LENGTHS, counts / N, 0.5).length for counts in exact])
    assert abs(found.mean() - true) < 0.06
    assert found.std() < old.std()  # interpolation uses two counts of nine
    covered = [interval.low <= true <= interval.high for interval in map(lengths.student, found.reshape(25, 8))]
    assert np.mean(covered) >= 0.8


def test_bounds_are_bounds():
    for p, expected in ((np.full(9, 0.95), (16, "at_least")), (np.full(9, 0.1), (3, "below")), (planted(30, 8.5), (16, "at_least"))):
        exact, examples = drawn(p, seeds=1)
        assert lengths.critical(LENGTHS, exact, examples, 0.5) == [CriticalLength(*expected)]


def test_l99_needs_an_asymptote_above_it():
    exact, examples = drawn(planted(13, 20), seeds=20)
    found = lengths.critical(LENGTHS, exact, examples, 0.99)
    assert {each.bound for each in found} == {"exact"}
    assert np.mean([each.length for each in found]) == pytest.approx(13 * 99 ** (-1 / 20), abs=0.1)
    for asymptote in (0.97, 0.985):
        exact, examples = drawn(planted(13, 20, asymptote), seeds=20)
        assert {each.bound for each in lengths.critical(LENGTHS, exact, examples, 0.99)} == {"unsupported"}


def test_the_order_of_lengths_is_free_and_a_curve_needs_two():
    exact, examples = drawn(planted(8, 8.5))
    order = np.random.default_rng(0).permutation(9)
    shuffled = lengths.critical(LENGTHS[order], exact[:, order], examples, 0.5)
    assert shuffled == lengths.critical(LENGTHS, exact, examples, 0.5)
    for bad in ((LENGTHS[:1], exact[:, :1], examples[:, :1]), (LENGTHS, exact + N, examples), (np.full(9, 3), exact, examples)):
        with pytest.raises(DataError, match="a curve needs"):
            lengths.fit(*bad)


def test_one_bound_makes_the_mean_a_bound():
    exact, more, less = CriticalLength(6, "exact"), CriticalLength(16, "at_least"), CriticalLength(3, "below")
    nothing = CriticalLength(math.nan, "unsupported")
    cases = (([exact] * 2, "="), ([exact, more], ">="), ([exact, less], "<="), ([more, less], "?"), ([exact, nothing], "?"))
    for criticals, expected in cases:
        interval, bound = lengths.over_seeds(criticals)
        assert bound == expected and math.isnan(interval.low) == (bound != "=")
    assert lengths.change([exact, CriticalLength(7, "exact")], [exact, exact]).mean == 0.5
    assert math.isnan(lengths.change([exact, more], [exact, exact]).high)


unit = st.floats(0, 1).map(lambda x: round(x, 6))
curves = st.dictionaries(st.integers(1, 30), unit, min_size=1, max_size=8)


@given(curves, st.sampled_from([0.5, 0.99]), st.randoms(use_true_random=False))
def test_the_critical_length_is_the_first_point_below_the_level(points, level, shuffler):
    places = sorted(points)
    found = lengths.interpolated(places, [points[length] for length in places], level)
    grid = np.linspace(places[0], places[-1], 20 * (places[-1] - places[0]) + 1)
    below = grid[np.interp(grid, places, [points[length] for length in places]) < level]
    if points[places[0]] < level:
        assert found == (places[0], "below")
    elif min(points.values()) >= level:
        assert found == (places[-1], "at_least")
    else:
        assert found.bound == "exact" and found.length - 1e-6 <= below[0] <= found.length + 0.05 + 1e-6
    shuffler.shuffle(places)
    assert lengths.interpolated(places, [points[length] for length in places], level) == found


@pytest.mark.parametrize(
    "exact_match, level, expected",
    [
        ((1.0, 0.6, 0.2), 0.5, (5.0, "exact")),  # a quarter of the way from 4 to 8
        ((1.0, 1.0, 0.5), 0.5, (8.0, "at_least")),  # at the level is not below it
        ((0.4, 1.0, 1.0), 0.5, (2.0, "below")),
        ((1.0, 0.0, 1.0), 0.5, (3.0, "exact")),  # recovery does not count
        ((0.5, 0.0, 0.0), 0.5, (2.0, "exact")),
    ],
)
def test_critical_lengths_by_hand(exact_match, level, expected):
    assert lengths.interpolated((2, 4, 8), exact_match, level) == expected


@pytest.mark.parametrize("places, exact_match", [((2, 2), (1.0, 0.0)), ((2, 4), (1.0,)), ((), ()), ((2, 4), (1.0, math.nan))])
def test_points_that_are_no_curve_are_refused(places, exact_match):
    with pytest.raises(ValueError, match="different lengths"):
        lengths.interpolated(places, exact_match, 0.5)
