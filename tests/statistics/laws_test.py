"""Laws of the critical length: against scipy.stats, planted laws with seed scatter and censoring, coverage, bounds, forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from attention_jax.statistics import laws, lengths
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.system.errors import DataError

SIZES = (4, 8, 16, 32, 64, 128)
N, SEEDS, SLOPE = 512, 5, 8.5


def exact(by_size):
    return {size: CriticalLength(length, "exact") for size, length in by_size.items()}


def drawn(half, draws, random, seeds=SEEDS, scatter=0.3, size_scatter=0.1):
    """Counts (draw, seed, length) of a size whose exact match is a half at `half`, trained to 3 times that."""
    evaluated = np.unique(np.append(np.round(np.geomspace(2, 3 * half, 12)), half))
    shift = (
        np.log(half) + size_scatter * random.standard_normal((draws, 1, 1)) + scatter / SLOPE * random.standard_normal((draws, seeds, 1))
    )
    return evaluated, random.binomial(N, special.expit(SLOPE * (shift - np.log(evaluated))))


def lengths_of(evaluated, exact_DxRxL, longest=math.inf):
    """L* of each draw, of counts pooled over seeds at the lengths up to `longest`."""
    kept = evaluated <= longest
    counts = exact_DxRxL[..., kept].sum(1)
    return lengths.critical(evaluated[kept], counts, np.full_like(counts, N * exact_DxRxL.shape[1]), 0.5)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 100), min_size=4, max_size=9).filter(lambda found: len(set(found)) > 1), st.integers(0, 1000))
def test_slopes_and_intervals_are_those_of_linregress(found, seed):
    sizes = np.sort(np.random.default_rng(seed).choice(np.arange(1, 200), len(found), replace=False))
    points = exact(dict(zip(sizes.tolist(), found, strict=True)))
    for law, x, y in ((laws.power, np.log(sizes), np.log(found)), (laws.per_doubling, np.log2(sizes), np.array(found))):
        ours, theirs = law(points), stats.linregress(x, y)
        half = stats.t.ppf(0.975, len(found) - 2) * theirs.stderr
        assert ours.slope[:3] == pytest.approx((theirs.slope, theirs.slope - half, theirs.slope + half), abs=1e-6)
        assert ours.p == pytest.approx(stats.linregress(x, y, alternative="greater").pvalue, abs=1e-6)
        assert ours.intercept == pytest.approx(theirs.intercept, abs=1e-6) and ours.slope.n == len(found) and ours.left_out == 0
        residual = y - theirs.intercept - theirs.slope * x
        assert ours.scatter == pytest.approx(math.sqrt((residual**2).sum() / (len(found) - 2)), abs=1e-6)


def test_a_planted_law_without_scatter_is_found():
    law = laws.power(exact({d: 2.5 * d**0.4 for d in SIZES}))
    assert law.slope[:3] == pytest.approx((0.4, 0.4, 0.4)) and math.exp(law.intercept) == pytest.approx(2.5)
    law = laws.per_doubling(exact({d: 3 * math.log2(d) - 1 for d in SIZES}))
    assert law.slope[:3] == pytest.approx((3, 3, 3)) and law.intercept == pytest.approx(-1)
    law = laws.price(exact({(d, u): 3 * math.log2(d) + 1.5 * math.log2(u) - 20 for d in SIZES for u in (800, 3200)}))
    assert [slope.mean for slope in law.slopes] == pytest.approx([3, 1.5]) and law.intercept == pytest.approx(-20)


def test_an_exponential_is_a_line_of_the_logarithm_on_the_size():
    random = np.random.default_rng(1)
    found = {d: 100 * 2 ** (0.3 * d + 0.2 * random.standard_normal()) for d in SIZES}
    law, line = laws.exponential(exact(found)), stats.linregress(SIZES, np.log2(list(found.values())))
    half = stats.t.ppf(0.975, len(SIZES) - 2) * line.stderr
    assert law.slope[:3] == pytest.approx((line.slope, line.slope - half, line.slope + half))


@pytest.mark.parametrize("points", [6, 9])
def test_a_difference_of_slopes_is_that_of_welch(points):
    random = np.random.default_rng(points)
    sizes = np.arange(2, 2 + points)
    fits = [
        laws.power(exact(dict(zip(k.tolist(), k**b * np.exp(s * random.standard_normal(len(k))), strict=True))))
        for k, b, s in ((sizes, 2.0, 0.1), (sizes[:5], 1.0, 0.3))
    ]
    summaries = [(law.slope.mean, law.error * math.sqrt(law.freedom + 1), law.freedom + 1) for law in fits]
    theirs = stats.ttest_ind_from_stats(*summaries[0], *summaries[1], equal_var=False)
    error = math.hypot(*(law.error for law in fits))
    ours, p = laws.slope_difference(*fits)
    half = stats.t.ppf(0.975, sum(law.error**2 for law in fits) ** 2 / sum(law.error**4 / law.freedom for law in fits)) * error
    assert p == pytest.approx(theirs.pvalue) and ours.mean / error == pytest.approx(theirs.statistic)
    assert ours[1:3] == pytest.approx((ours.mean - half, ours.mean + half)) and ours.n == 5


def test_a_difference_of_slopes_without_scatter_has_no_width():
    steep, flat = (laws.Law((laws.Interval(b, b, b, 5),), 0.0, 0.0, 0, 0.0) for b in (2.0, 1.0))
    assert laws.slope_difference(steep, flat) == ((1, 1, 1, 5), 0) and laws.slope_difference(flat, flat) == ((0, 0, 0, 5), 1)


def test_the_price_is_that_of_many_regressors():
    random = np.random.default_rng(0)
    places = [(d, u) for d in SIZES for u in (100, 400, 1600)]
    y = random.normal(10, 2, len(places))
    x = np.array([[1, math.log2(d), math.log2(u)] for d, u in places])
    coefficients, rest, _, _ = np.linalg.lstsq(x, y, rcond=None)
    error = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * rest[0] / (len(y) - 3))
    law = laws.price(exact(dict(zip(places, y, strict=True))))
    for slope, b, e in zip(law.slopes, coefficients[1:], error[1:], strict=True):
        assert (slope.mean, slope.high - slope.mean) == pytest.approx((b, e * stats.t.ppf(0.975, len(y) - 3)))


@pytest.mark.parametrize(
    ("law", "truth", "half"),
    [
        (laws.power, 0.4, lambda d: 2 * d**0.4),
        (laws.per_doubling, 3.0, lambda d: 3 * math.log2(d) - 2),
    ],
)
@pytest.mark.parametrize("censored", [False, True])
def test_intervals_cover_a_planted_law(law, truth, half, censored):
    """Six sizes that scatter by 10 %, five seeds each; censored: the largest is trained to its own L*, and is a bound in half the draws."""
    random, draws = np.random.default_rng(5), 400
    found = []
    for d in SIZES:
        evaluated, counts = drawn(half(d), draws, random, size_scatter=0.1 if law is laws.power else 0.04)
        found.append(lengths_of(evaluated, counts, half(d) if censored and d == SIZES[-1] else math.inf))
    fits = [law(dict(zip(SIZES, of_draw, strict=True))) for of_draw in zip(*found, strict=True)]
    covered = np.mean([fit.slope.low <= truth <= fit.slope.high for fit in fits])
    assert 0.92 <= covered <= 0.98
    assert np.mean([fit.slope.mean for fit in fits]) == pytest.approx(truth, rel=0.08 if censored else 0.02)
    assert 0.3 < np.mean([fit.left_out for fit in fits]) < 0.7 if censored else all(fit.left_out == 0 for fit in fits)


def test_a_size_without_effect_seldom_has_a_law():
    random, draws = np.random.default_rng(6), 400
    found = [lengths_of(*drawn(8.0, draws, random)) for _ in SIZES]
    fits = [laws.per_doubling(dict(zip(SIZES, of_draw, strict=True))) for of_draw in zip(*found, strict=True)]
    assert 0.01 <= np.mean([fit.slope.low > 0 for fit in fits]) <= 0.04  # one side of 95 %
    assert 0.02 <= np.mean([fit.p < 0.05 for fit in fits]) <= 0.08


@pytest.mark.parametrize(("scatter", "seeds"), [(0.3, 4), (0.8, 4), (0.8, 8)])
def test_the_jackknife_covers_the_length_of_a_size(scatter, seeds):
    random, half = np.random.default_rng(1), 9.0
    evaluated, counts = drawn(half, 300, random, seeds, scatter, 0.0)
    found = [laws.pooled(evaluated, each, np.full_like(each, N)) for each in counts]
    assert all(each.is_exact and each.seeds == seeds for each in found)
    assert 0.92 <= np.mean([each.low <= half <= each.high for each in found]) <= 0.98
    assert np.mean([each.length for each in found]) == pytest.approx(half, abs=0.05)


def test_pooling_is_one_curve_of_all_counts():
    evaluated, counts = drawn(8.0, 1, np.random.default_rng(2))
    found = laws.pooled(evaluated, counts[0], np.full_like(counts[0], N))
    (same,) = lengths_of(evaluated, counts)
    assert CriticalLength(found.length, found.bound) == same
    doubled = laws.pooled(evaluated, np.concatenate([counts[0]] * 2), np.full((2 * SEEDS, len(evaluated)), N))
    assert doubled.length == pytest.approx(found.length, abs=0.02) and doubled.high - doubled.low < found.high - found.low


@pytest.mark.parametrize(("share", "bound"), [(0.9, "at_least"), (0.05, "below")])
def test_a_bound_has_no_interval_and_is_no_point(share, bound):
    counts = np.full((4, 5), int(share * N))
    found = laws.pooled((4, 6, 8, 10, 12), counts, np.full_like(counts, N))
    assert found.bound == bound and not found.is_exact and math.isnan(found.low)
    points = exact({4: 3.0, 8: 5.0, 16: 7.5, 32: 9.0})
    assert laws.power(points | {64: found})._replace(left_out=0) == laws.power(points)
    assert laws.power(points | {64: found}).left_out == 1


def test_one_seed_has_no_interval():
    evaluated, counts = drawn(8.0, 1, np.random.default_rng(2), seeds=1)
    found = laws.pooled(evaluated, counts[0], np.full_like(counts[0], N))
    assert found.is_exact and math.isnan(found.low) and math.isnan(found.high)


def test_too_few_sizes_have_no_law():
    points = exact({4: 3.0, 8: 5.0, 16: 7.5}) | {32: CriticalLength(16, "at_least")}
    for law in (laws.power, laws.per_doubling):
        with pytest.raises(DataError, match="3 of 4 sizes have an exact L\\*, and 4 are needed"):
            law(points)
    assert laws.attempt(laws.power, points).startswith("3 of 4 sizes")
    with pytest.raises(DataError, match=r"5 of 5 sizes .* 6 are needed"):
        laws.forms(exact({d: float(d) for d in SIZES[:5]}))
    with pytest.raises(DataError, match="two or more budgets"):
        laws.price(exact({(d, 800): math.log2(d) for d in SIZES}))
    with pytest.raises(DataError, match="do not vary independently"):
        laws.price(exact({(d, 100 * d): math.log2(d) for d in SIZES}))


FORMS = {"power": lambda d: 2 * d**0.6, "affine": lambda d: 2 + 0.5 * d, "logarithmic": lambda d: 3 * math.log2(d) - 2}


@pytest.mark.parametrize("truth", FORMS)
def test_six_sizes_tell_forms_apart_more_often_than_not(truth):
    random = np.random.default_rng(3)
    best = []
    for _ in range(100):
        found = laws.forms(exact({d: FORMS[truth](d) * math.exp(0.05 * random.standard_normal()) for d in SIZES}))
        assert [form.aicc for form in found] == sorted(form.aicc for form in found)
        assert sum(form.weight for form in found) == pytest.approx(1) and len(found) == 3
        best.append(found[0].name)
    assert best.count(truth) >= 85


def test_forms_without_scatter_are_their_equations():
    (best, *_) = laws.forms(exact({d: 2 + 0.5 * d for d in SIZES}))
    assert best.name == "affine" and best.equation == "2 + 0.5 · d" and best.weight > 0.999
    (best, *_) = laws.forms(exact({d: 3 * math.log2(d) - 2 for d in SIZES}))
    assert best.name == "logarithmic" and best.equation == "-2 + 3 · log₂ d"


def test_bits_are_those_of_a_uniform_string():
    assert laws.bits(10, 16) == 40 and laws.bits(3.5, 2) == 3.5


def test_bits_of_a_chain_are_those_of_its_first_symbol_and_of_each_behind_it():
    assert laws.bits(10, 16, 1.0) == 4 + 9 and laws.bits(1, 16, 0.5) == 4 and laws.bits(7, 16, 4.0) == laws.bits(7, 16)


def test_one_exponent_of_several_groups_is_that_of_least_squares_with_dummies():
    """Against NumPy's least squares; factors of groups do not matter."""
    random = np.random.default_rng(0)
    values = {(g, x): (2 + g) * x**-0.7 * math.exp(0.1 * random.normal()) for g in range(3) for x in (1.0, 2.0, 4.0)}
    law = laws.shared_power(values)
    design_KxP = np.array([[math.log(x), *(g == group for group in range(3))] for g, x in values])
    (slope, *_), (left,), *_ = np.linalg.lstsq(design_KxP, np.log(list(values.values())), rcond=None)
    scatter = math.sqrt(left / (9 - 4))
    half = stats.t.ppf(0.975, 5) * scatter * math.sqrt(np.linalg.inv(design_KxP.T @ design_KxP)[0, 0])
    assert law.slope[:3] == pytest.approx((slope, slope - half, slope + half)) and law.scatter == pytest.approx(scatter)
    assert laws.shared_power({place: 100 ** place[0] * y for place, y in values.items()}).slope.mean == pytest.approx(slope)


@pytest.mark.parametrize("values", [{}, {(0, 1.0): 1.0, (1, 2.0): 2.0}, {(0, 2.0): 1.0, (1, 2.0): 2.0, (2, 2.0): 1.0}])
def test_an_exponent_of_what_does_not_vary_is_refused(values):
    with pytest.raises(DataError):
        laws.shared_power(values)


def counts_of(half_by_seed, examples=4096, at=(2, 3, 4, 6, 8, 12, 16)):
    """Expected counts of seeds whose curves fall about these lengths."""
    shares = [special.expit(8 * (np.log(half) - np.log(at))) for half in half_by_seed]
    exact_RxL = np.round(examples * np.array(shares)).astype(int)
    return at, exact_RxL, np.full_like(exact_RxL, examples)


def test_a_ratio_is_paired_by_seed():
    """What seeds share cancels: lengths scatter by a half, their ratio by next to nothing."""
    own, seeds = np.array([3.0, 4.0, 5.0, 6.0]), 4
    below, above = counts_of(own), counts_of(1.5 * own)
    both = [laws.pooled(*each) for each in (above, below)]
    found = laws.ratio(above, below)
    assert found.length == pytest.approx(both[0].length / both[1].length) and found.bound == "exact" and found.seeds == seeds
    left = [
        [lengths.critical(at, np.delete(k, r, 0).sum(0)[None], np.delete(n, r, 0).sum(0)[None], 0.5)[0].length for r in range(seeds)]
        for at, k, n in (above, below)
    ]
    pseudo = seeds * np.log(found.length) - (seeds - 1) * np.log(np.divide(*left))  # Tukey's, of the logarithm of the ratio
    half = stats.t.ppf(0.975, seeds - 1) * pseudo.std(ddof=1) / np.sqrt(seeds)
    assert np.log(found.high / found.length) == pytest.approx(half) and np.log(found.length / found.low) == pytest.approx(half)
    assert found.low < 1.5 < found.high or found.length == pytest.approx(1.5, rel=0.02)
    assert np.log(found.high / found.low) < 0.2 * np.log(both[0].high / both[0].low)
    same = laws.ratio(below, below)
    assert (same.length, same.low, same.high) == (1, 1, 1)


@pytest.mark.parametrize(
    ("above", "below", "bound"),
    [(90, 5, "at_least"), (5, 0.5, "at_least"), (0.5, 5, "below"), (5, 90, "below"), (90, 90, "unsupported"), (90, 0.5, "at_least")],
)
def test_a_ratio_with_a_bound_is_a_bound(above, below, bound):
    found = laws.ratio(counts_of([above] * 3), counts_of([below] * 3))
    assert found.bound == bound and np.isnan(found.low)
