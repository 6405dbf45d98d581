"""Intervals, critical lengths and the verdict against scipy, brute force and cases worked by hand."""

import math
import random
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from attention_jax import statistics
from attention_jax.statistics import CriticalLength, Interval

unit = st.floats(0, 1).map(lambda x: round(x, 6))
STEP = 100


@given(st.lists(unit, min_size=2, max_size=12))
def test_student_is_scipys_interval(values):
    assume(np.std(values) > 1e-6)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(statistics.student(values), (np.mean(values), low, high, len(values)), rtol=1e-9, atol=1e-12)


def test_student_by_hand_and_at_its_ends():
    np.testing.assert_allclose(statistics.student([1.0, 3.0]), (2, 2 - 12.7062, 2 + 12.7062, 2), rtol=1e-5)
    assert statistics.student([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)
    alone = statistics.student([0.25])
    assert (alone.mean, alone.n) == (0.25, 1) and math.isnan(alone.low) and math.isnan(alone.high)
    with pytest.raises(ValueError, match="at least one"):
        statistics.student([])


curves = st.dictionaries(st.integers(1, 30), unit, min_size=1, max_size=8)


@given(curves, st.sampled_from([0.5, 0.99]), st.randoms(use_true_random=False))
def test_the_critical_length_is_the_first_point_below_the_level(points, level, shuffler):
    lengths = sorted(points)
    found = statistics.critical_length(lengths, [points[length] for length in lengths], level)
    grid = np.linspace(lengths[0], lengths[-1], 20 * (lengths[-1] - lengths[0]) + 1)
    below = grid[np.interp(grid, lengths, [points[length] for length in lengths]) < level]
    if points[lengths[0]] < level:
        assert found == (lengths[0], "below")
    elif min(points.values()) >= level:
        assert found == (lengths[-1], "at_least")
    else:
        assert found.bound == "exact" and found.length - 1e-6 <= below[0] <= found.length + 0.05 + 1e-6
    shuffler.shuffle(lengths)
    assert statistics.critical_length(lengths, [points[length] for length in lengths], level) == found


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
    assert statistics.critical_length((2, 4, 8), exact_match, level) == expected


@pytest.mark.parametrize("lengths, exact_match", [((2, 2), (1.0, 0.0)), ((2, 4), (1.0,)), ((), ()), ((2, 4), (1.0, math.nan))])
def test_a_curve_that_is_none_is_refused(lengths, exact_match):
    with pytest.raises(ValueError, match="different lengths"):
        statistics.critical_length(lengths, exact_match, 0.5)


def test_one_bound_makes_the_mean_a_bound():
    exact, more, less = CriticalLength(6, "exact"), CriticalLength(32, "at_least"), CriticalLength(1, "below")
    interval, bound = statistics.critical_interval([exact, CriticalLength(10.0, "exact")])
    assert bound == "=" and interval == statistics.student([6, 10])
    for criticals, expected in (([exact, more], ">="), ([exact, less], "<="), ([more, less, exact], "?"), ([more, more], ">=")):
        interval, bound = statistics.critical_interval(criticals)
        assert bound == expected and interval.n == len(criticals)
        assert interval.mean == np.mean([critical.length for critical in criticals])
        assert math.isnan(interval.low) and math.isnan(interval.high)


@given(st.dictionaries(st.integers(0, 20), st.tuples(unit, unit), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_paired_is_scipys_paired_interval(pairs, shuffler):
    a, b = ({seed: pair[side] for seed, pair in pairs.items()} for side in (0, 1))
    assume(np.std([a[seed] - b[seed] for seed in pairs]) > 1e-6)
    order = list(pairs)
    shuffler.shuffle(order)
    found = statistics.paired(a, {seed: b[seed] for seed in order})
    expected = stats.ttest_rel([a[seed] for seed in order], [b[seed] for seed in order]).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-6, atol=1e-9)


def test_pairs_need_partners():
    with pytest.raises(ValueError, match=r"\[2\]"):
        statistics.paired({0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.0, 1: 1.0})


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
    found = statistics.curve(rows, "summary", "exact_match", "free", STEP)
    assert list(found) == [1, 2, 4, 8, 12, 16, 32]
    assert all(interval[:1] + interval[3:] == (forgets(length), 8) for length, interval in found.items())
    assert statistics.curve(rows, "summary", "exact_match", "forced", STEP)[8].mean == 0.5
    assert statistics.curve(rows, "summary", "exact_match", "free", STEP // 2)[8].mean == 0.0
    assert statistics.curve(rows, "dot", "exact_match", "free", STEP) == {}
    gap = statistics.gap_by_length(rows, "summary", "additive", budget=STEP)
    assert {length: round(interval.mean, 6) for length, interval in gap.items()} == {
        1: 0.05,
        2: 0.05,
        4: 0.05,
        **dict.fromkeys((8, 12, 16, 32), -0.65),
    }
    critical = statistics.critical_by_seed(rows, "summary", 0.5, STEP)
    assert list(critical) == list(range(8)) and critical[3].bound == "exact" and critical[3].length == pytest.approx(4 + 4 * 0.5 / 0.7)


def test_examples_and_open_lengths():
    rows = [{"length": 20, "examples": 7}, {"length": 10, "examples": 9, "open": False}, {"length": 21, "examples": 2, "open": True}]
    assert list(statistics.examples([*rows, {"length": 20, "examples": 5}]).items()) == [(10, 9), (20, 5), (21, 2)]
    assert statistics.open_lengths(rows) == {21} and statistics.open_lengths(rows[:2]) == set() and statistics.examples([]) == {}


def test_mixed_runs_are_refused():
    with pytest.raises(ValueError, match="two rows for 'summary', seed 0, length 1"):
        statistics.curve(arm_rows("summary", keeps) * 2, "summary", "exact_match", "free", STEP)


def verdict(fixed, attention, **settings):
    rows = arm_rows("summary", *fixed, **settings) + arm_rows("additive", *attention, **settings)
    random.Random(1).shuffle(rows)
    return statistics.bottleneck_verdict(rows, "summary", "additive", STEP)


def per_token(p):
    """Exact match and token accuracy of an arm that errs at the same rate everywhere, EOS excepted."""
    return lambda length: p**length, lambda length: (length * p + 1) / (length + 1)


@pytest.mark.parametrize(
    "fixed, attention, settings, value, reason",
    [
        ((forgets,), (keeps,), {}, "bottleneck", r"^on lengths 8 to 16 gap 0\.6.. \[.*drop 0\.[67].*widening .*memory "),
        ((keeps,), (keeps,), {}, "no bottleneck", "below 0.1"),
        ((keeps,), (lambda length: 0.1,), {}, "no bottleneck", "below 0.1"),
        ((lambda length: 0.0,), (lambda length: 0.05,), {}, "inconclusive", "not learned"),
        ((lambda length: 0.3,), (keeps,), {}, "inconclusive", r"drop .* is not above 0.1; widening .* is not above 0.0"),
        (
            (lambda length: 0.55 if length <= 4 else 0.2,),
            (lambda length: 1.0 if length <= 4 else 0.55,),
            {},
            "inconclusive",
            "^on lengths 8 to 16 widening [^;]* is not above 0.0$",
        ),
        (per_token(0.95), (lambda length: 1.0,), {}, "inconclusive", "^on lengths 8 to 16 memory [^;]* is not above 0.0$"),
        ((forgets,), (keeps,), {"noise": 1.0}, "inconclusive", "gap"),
        ((forgets,), (keeps,), {"seeds": range(2)}, "inconclusive", "3 or more seeds"),
        ((forgets,), (keeps,), {"seeds": range(3)}, "bottleneck", "gap"),
        ((forgets,), (keeps,), {"lengths": (1, 32)}, "inconclusive", "2 or more lengths"),
    ],
)
def test_the_verdict_follows_its_rule(fixed, attention, settings, value, reason):
    found = verdict(fixed, attention, **settings)
    assert found.value == value
    assert re.search(reason, found.reason), found.reason


def test_the_verdict_needs_both_arms_whole():
    summary, additive = arm_rows("summary", forgets), arm_rows("additive", keeps)
    for rows in (summary, additive[3:] + summary, additive + [row for row in summary if row["mode"] == "free"], []):
        assert statistics.bottleneck_verdict(rows, "summary", "additive", STEP).value == "inconclusive"


def test_the_verdict_reads_trained_lengths_unless_told_otherwise():
    def extrapolates(length):
        return 0.95 if length <= 16 else 0.0

    rows = arm_rows("summary", extrapolates, lengths=(8, 16, 32, 64)) + arm_rows("additive", keeps, lengths=(8, 16, 32, 64))
    assert statistics.bottleneck_verdict(rows, "summary", "additive", STEP).value == "no bottleneck"
    assert statistics.bottleneck_verdict(rows, "summary", "additive", STEP, seen_only=False).value == "bottleneck"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_bottleneck_is_never_declared_without_its_conditions(fixed_short, fixed_long, attention_short, attention_long):
    found = verdict(
        (lambda length: fixed_short if length < 8 else fixed_long,),
        (lambda length: attention_short if length < 8 else attention_long,),
        noise=0,
        seeds=range(3),
        lengths=(2, 4, 8, 16),
    )
    gap, drop, other = attention_long - fixed_long, fixed_short - fixed_long, attention_short - attention_long
    tolerance = 1e-9
    if max(fixed_long, attention_long) < 0.5 - tolerance:
        assert found.value == "inconclusive"
    elif gap < 0.1 - tolerance and max(fixed_long, attention_long) > 0.5 + tolerance:
        assert found.value == "no bottleneck"
    if found.value == "bottleneck":
        assert gap > 0.1 - tolerance and drop > 0.1 - tolerance and drop > other - tolerance and attention_long > 0.5 - tolerance
