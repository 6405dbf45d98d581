"""Intervals against scipy.stats, enumeration of all outcomes, and planted seeds."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special, stats

from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import DataError

unit = st.floats(0, 1).map(lambda x: round(x, 6))
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.999])


@given(st.lists(unit, min_size=2, max_size=12), confidences)
def test_student_is_scipys_interval(values, confidence):
    assume(np.std(values) > 1e-6)
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(intervals.student(values, confidence), (np.mean(values), low, high, len(values)), rtol=1e-9, atol=1e-12)


def test_one_seed_has_no_interval_and_none_is_refused():
    for alone in (intervals.student([0.25]), intervals.typical_seed([1], [4])):
        assert alone.n == 1 and math.isnan(alone.low) and math.isnan(alone.high)
    for empty in (intervals.student, lambda values: intervals.typical_seed(values, values), intervals.interquartile_mean):
        with pytest.raises(DataError):
            empty([])


@given(st.dictionaries(st.integers(0, 20), st.tuples(unit, unit), min_size=2, max_size=8))
def test_paired_is_scipys_paired_interval(pairs):
    a, b = ({seed: pair[side] for seed, pair in pairs.items()} for side in (0, 1))
    assume(np.std([a[seed] - b[seed] for seed in pairs]) > 1e-6)
    expected = stats.ttest_rel(list(a.values()), list(b.values()))
    found = intervals.paired(a, dict(reversed(b.items())))
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95), rtol=1e-6, atol=1e-9)
    differences = [a[seed] - b[seed] for seed in a]
    greater = stats.ttest_1samp(differences, 0.1, alternative="greater").pvalue
    assert intervals.student_tail(differences, 0.1) == pytest.approx(greater, rel=1e-6, abs=1e-12)
    assert intervals.student_p(differences, 0.1) == pytest.approx(stats.ttest_1samp(differences, 0.1).pvalue, rel=1e-6, abs=1e-12)
    with pytest.raises(DataError, match="only one of the two"):
        intervals.paired(a, {**b, 99: 0.0})


def test_two_sided_p_without_scatter_and_of_one_seed():
    assert intervals.student_p([0.5, 0.5]) == intervals.student_p([-0.5, -0.5]) == 0
    assert intervals.student_p([0.0, 0.0]) == intervals.student_p([3.0]) == 1


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), confidences)
def test_clopper_pearson_is_scipys_exact_interval(counts, confidence):
    expected = stats.binomtest(*counts).proportion_ci(confidence, method="exact")
    np.testing.assert_allclose(intervals.clopper_pearson(*counts, confidence)[1:3], (expected.low, expected.high), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.9])
def test_clopper_pearson_covers_by_enumeration(p):
    found = [intervals.clopper_pearson(k, 20) for k in range(21)]
    covered = sum(stats.binom.pmf(k, 20, p) for k, each in enumerate(found) if each.low <= p <= each.high)
    assert covered >= 0.95


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_the_typical_seed_is_covered_by_enumeration(p):
    """Three seeds of 12 examples that do not scatter: all 2197 outcomes and their probabilities."""
    covered = 0.0
    for counts in product(range(13), repeat=3):
        interval = intervals.typical_seed(counts, [12] * 3)
        if interval.low <= p <= interval.high:
            covered += math.prod(stats.binom.pmf(count, 12, p) for count in counts)
    assert covered >= 0.95


def slow_typical_seed(counts, totals, confidence=0.95):
    """The same, a line a step."""
    ends = []
    for right, wrong in ((0.5, 0.5), (0.1, 0.5), (0.5, 0.1)):
        logits = [math.log((k + right) / (n - k + wrong)) for k, n in zip(counts, totals, strict=True)]
        two = stats.t.interval(0.95, len(logits) - 1, np.mean(logits), stats.sem(logits)) if np.std(logits) else (logits[0], logits[0])
        ends.append((np.mean(logits), *two))
    pooled = stats.binomtest(sum(counts), sum(totals)).proportion_ci(confidence, method="exact")
    low, high = min(end[1] for end in ends[:2]), max(end[2] for end in ends[::2])
    return 1 / (1 + math.exp(-ends[0][0])), min(1 / (1 + math.exp(-low)), pooled.low), max(1 / (1 + math.exp(-high)), pooled.high)


@given(st.lists(st.integers(0, 128), min_size=2, max_size=10))
def test_the_typical_seed_step_by_step(counts):
    found, expected = intervals.typical_seed(counts, [128] * len(counts)), slow_typical_seed(counts, [128] * len(counts))
    assert found.low <= found.mean <= found.high and found.low < found.high
    # which of two ends is further out is decided at two standard errors, whatever the confidence
    np.testing.assert_allclose(found[:3], expected, atol=2e-3)


def test_the_typical_seed_is_not_the_mean():
    """Seven good seeds and a failed one: the median seed is good; the interval reaches down to the pooled rate."""
    interval = intervals.typical_seed([120] * 7 + [0], [128] * 8)
    assert interval.low < 0.83 < interval.high and interval.high > 0.9375
    assert intervals.typical_seed([64] * 8, [128] * 8).mean == pytest.approx(0.5)


@pytest.mark.parametrize("counts, totals", [([5], [4]), ([-1, 2], [4, 4]), ([1, 2], [4]), ([0], [0])])
def test_counts_that_are_none_are_refused(counts, totals):
    with pytest.raises(DataError):
        intervals.typical_seed(counts, totals)


def test_a_difference_by_hand_and_never_without_width():
    a, b = Interval(0.9, 0.6, 1.0, 8), Interval(0.5, 0.1, 0.8, 8)
    np.testing.assert_allclose(intervals.difference(a, b)[:3], (0.4, 0.4 - math.hypot(0.3, 0.3), 0.4 + math.hypot(0.1, 0.4)))
    perfect = intervals.typical_seed([512] * 8, [512] * 8)
    zero = intervals.difference(perfect, perfect)
    assert zero.low < 0 < zero.high


@pytest.mark.parametrize("p, q, scatter", [(0.97, 0.7, 0.8), (0.87, 0.87, 0.3), (0.999, 0.9, 1.5)])
def test_a_difference_covers(p, q, scatter):
    random, hits, draws = np.random.default_rng(0), 0, 400
    for _ in range(draws):
        arms = []
        for rate in (p, q):
            logits = math.log(rate / (1 - rate)) + scatter * random.standard_normal(8)
            arms.append(intervals.typical_seed(random.binomial(512, 1 / (1 + np.exp(-logits))), [512] * 8))
        found = intervals.difference(*arms)
        hits += found.low <= p - q <= found.high
    assert intervals.clopper_pearson(hits, draws).high >= 0.93


@given(st.lists(st.integers(0, 128), min_size=3, max_size=8), st.floats(0.05, 0.95))
def test_the_tail_is_where_the_interval_touches(counts, threshold):
    seeds = intervals.typical(counts, [128] * len(counts))
    assume(abs(seeds.interval().mean - threshold) > 1e-3)
    p = intervals.tail(seeds.interval, threshold)
    interval = seeds.interval(1 - 2 * min(p, 1 - p))
    if 1e-9 < p < 1 - 1e-9 and abs(p - 0.5) > 1e-6:
        assert (interval.low if p < 0.5 else interval.high) == pytest.approx(threshold, abs=1e-4)
    assert (p < 0.025) == (seeds.interval().low > threshold)


def test_holm_by_hand():
    assert intervals.holm({"b": 0.04, "a": 0.01, "c": 0.03}) == pytest.approx({"b": 0.06, "a": 0.03, "c": 0.06})
    assert intervals.holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0} and intervals.holm({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_as_the_step_down_procedure_does(p):
    named = {str(i): value for i, value in enumerate(p)}
    adjusted = intervals.holm(named)
    for level in (0.01, 0.025, 0.2):
        rejected, order = set(), sorted(named, key=named.__getitem__)
        for rank, name in enumerate(order):
            if named[name] * (len(p) - rank) > level:
                break
            rejected.add(name)
        assert rejected == {name for name in named if adjusted[name] <= level}


@given(st.lists(unit, min_size=1, max_size=12), st.lists(unit, min_size=1, max_size=12))
def test_what_stands_beside_is_rliables(a, b):
    assert intervals.interquartile_mean(a).mean == pytest.approx(stats.trim_mean(a, 0.25))
    statistic = stats.mannwhitneyu(a, b).statistic if len(set(a + b)) > 1 else len(a) * len(b) / 2
    found = intervals.better(a, b)
    assert found.mean == pytest.approx(statistic / (len(a) * len(b))) and 0 <= found.low <= found.high <= 1


def test_the_share_of_failed_seeds():
    assert intervals.failed_share([0.1, 0.9, 0.95, 0.5]) == intervals.clopper_pearson(1, 4)


@given(
    st.lists(st.floats(-9, 9), min_size=2, max_size=9),
    st.lists(st.floats(-9, 9), min_size=2, max_size=9),
    st.sampled_from([0.9, 0.95, 0.9993]),
)
def test_welch_is_scipys(a, b, confidence):
    assume(np.std(a) > 1e-3 and np.std(b) > 1e-3)
    found = intervals.welch(a, b, confidence)
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6) and found.mean == pytest.approx(np.mean(a) - np.mean(b))


def test_welch_without_scatter_or_seeds():
    assert intervals.welch([2.0, 2.0], [1.0, 1.0, 1.0]) == (1.0, 1.0, 1.0, 2)
    assert np.isnan(intervals.welch([2.0], [1.0, 1.5]).low) and intervals.welch([2.0], [1.0, 2.0]).mean == 0.5
    with pytest.raises(DataError, match="at least one seed"):
        intervals.welch([], [1.0, 2.0])


def test_a_difference_of_typical_seeds_has_welchs_degrees_of_freedom():
    """With the same scatter on both sides twice those of one; where only one side scatters, its own."""
    a, b, still = (intervals.typical(counts, [400] * 4) for counts in ([180, 190, 210, 220], [190, 220, 180, 210], [200] * 4))
    confidence = 1 - 0.05 / 72
    assert intervals.typical_difference(a, b, confidence) == intervals.difference(a.interval(confidence, 6), b.interval(confidence, 6))
    assert intervals.typical_difference(a, still, confidence) == intervals.difference(a.interval(confidence), still.interval(confidence))
    low, high = special.expit(
        [mean + way * stats.t.ppf((1 + confidence) / 2, 6) * error for way, (mean, error) in ((-1, a.low), (1, a.high))]
    )
    assert a.interval(confidence, 6)[1:3] == pytest.approx((low, high))


@given(st.lists(st.integers(0, 128), min_size=2, max_size=8), st.lists(st.integers(0, 128), min_size=2, max_size=8))
def test_a_difference_of_typical_seeds_is_no_wider_than_that_of_their_intervals(a, b):
    a, b = (intervals.typical(counts, [128] * len(counts)) for counts in (a, b))
    found, wide = intervals.typical_difference(a, b, 0.999), intervals.difference(a.interval(0.999), b.interval(0.999))
    back = intervals.typical_difference(b, a, 0.999)
    assert found.low < found.mean < found.high and found[:3] == pytest.approx((-back.mean, -back.high, -back.low))
    if a.n == b.n:
        assert wide.low <= found.low + 1e-12 and found.high <= wide.high + 1e-12


def test_one_seed_has_no_difference():
    assert np.isnan(intervals.typical_difference(intervals.typical([3], [9]), intervals.typical([3, 4], [9, 9])).low)


@pytest.mark.parametrize(("p", "scatter", "examples"), [(0.23, 0.1, 1_000), (0.95, 0.5, 1_000), (0.5, 0.0, 100), (0.9, 0.3, 100)])
def test_prediction_covers_the_mean_of_new_repeats(p, scatter, examples):
    """Planted seeds that scatter in log-odds, and repeats of fewer examples each."""
    random, logit, covered = np.random.default_rng(5), special.logit(p), []

    def drawn(seeds: int, of: int):
        return random.binomial(of, special.expit(logit + scatter * random.standard_normal(seeds))) / of

    for _ in range(2_000):
        expected = intervals.prediction(drawn(10, examples), examples, 10, 100)
        covered.append(expected.low <= drawn(10, 100).mean() <= expected.high)
    assert 0.935 <= np.mean(covered) <= 0.975


def test_prediction_with_as_many_examples_is_the_textbooks():
    """x̄ ± t s √(1/n + 1/r)."""
    x = [0.2, 0.25, 0.3, 0.22]
    half = stats.t.ppf(0.975, 3) * np.std(x, ddof=1) * np.sqrt(1 / 4 + 1 / 10)
    np.testing.assert_allclose(intervals.prediction(x, 100, 10, 100)[:3], (np.mean(x), np.mean(x) - half, np.mean(x) + half), rtol=1e-9)
    alone = intervals.prediction([0.2], 100, 10, 100)
    assert alone.mean == 0.2 and math.isnan(alone.low)
