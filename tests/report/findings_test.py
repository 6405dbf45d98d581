"""Findings: words for planted numbers, Holm over a page, and what is left open."""

import math

import numpy as np
import pytest
from scipy import stats

from attention_jax.report import findings
from attention_jax.statistics import intervals, laws
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.laws import Pooled


def planted(mean: float, seeds: int = 8, bar: float = 0.0) -> findings.Finding:
    """A finding on seeds that scatter by 1 about a mean."""
    values_R = np.linspace(-1, 1, seeds)
    return findings.of_seeds("it is so", "a paper", "units", mean + values_R / values_R.std(ddof=1), bar)


@pytest.mark.parametrize(("mean", "word"), [(5.0, "holds"), (-5.0, "does not hold"), (0.1, "undecided"), (0.0, "undecided")])
def test_words_of_planted_means(mean, word):
    ((_, p, found),) = findings.together([planted(mean)])
    assert found == word and (p <= 0.05) == (word != "undecided")


def test_p_of_seeds_is_that_of_a_t_test():
    values = [0.3, 0.1, 0.7, 0.2, 0.5]
    assert findings.of_seeds("", "", "", values, 0.1).p == pytest.approx(stats.ttest_1samp(values, 0.1).pvalue)
    assert math.isnan(findings.of_seeds("", "", "", [1.0]).p)


def test_p_of_an_interval_and_of_a_condition_are_two_sided():
    values = [0.3, 0.1, 0.7, 0.2, 0.5]
    expected = stats.ttest_1samp(values, 0.1).pvalue
    found = findings.of_interval("", "", "", lambda confidence: intervals.student(values, confidence), 0.1)
    assert found.p == pytest.approx(expected, rel=1e-4) and found.interval == intervals.student(values)
    condition = Condition("gap", "", intervals.student(values), 0.1, True, intervals.student_tail(values, 0.1))
    assert findings.of_condition("", "", "", condition).p == pytest.approx(expected)
    below = condition._replace(p=1 - condition.p)
    assert findings.of_condition("", "", "", below).p == pytest.approx(expected)


def test_p_of_a_law_is_that_of_the_slope():
    """SciPy's regression tests a slope against 0: that of L* − bar · log₂ d is the same law against the bar."""
    sizes, symbols = [4, 8, 16, 32, 64], [3.1, 5.8, 9.4, 11.7, 15.3]
    law = laws.per_doubling({d: Pooled(length, "exact", math.nan, math.nan, 4) for d, length in zip(sizes, symbols, strict=True)})
    for bar in (0.0, 2.9):
        expected = stats.linregress(np.log2(sizes), symbols - bar * np.log2(sizes)).pvalue
        found = findings.of_law("", "", "", law, bar)
        assert found.p == pytest.approx(expected) and (found.interval, found.bar) == (law.slope, bar)
    straight = laws.Law((Interval(1.0, 1.0, 1.0, 4),), 2.0, 0.0, 0, 0.0)
    assert (straight.p_of(1.0), straight.p_of(0.5)) == (1, 0)


def test_many_findings_are_corrected_together():
    """One that holds alone is undecided among 40 like it that are nothing; that without a p is not counted."""
    one = planted(1.0)
    assert 0.01 < one.p < 0.05 and findings.together([one])[0][2] == "holds"
    assert findings.together([one, *[planted(0.0)] * 40])[0][2] == "undecided"
    unknown = findings.of_seeds("", "", "", [1.0])
    assert [word for _, _, word in findings.together([one, *[unknown] * 40])] == ["holds", *["undecided"] * 40]


def test_what_is_left_open_is_undecided_whatever_the_number():
    ((_, _, word),) = findings.together([planted(5.0)._replace(left_open="inconclusive")])
    assert word == "undecided"


def test_a_finding_says_number_interval_and_bar():
    found = findings.Finding("it is so", "a paper", "exact match, a − b", Interval(0.661, 0.609, 0.708, 8), 1e-8, 0.1)
    assert str(found) == "exact match, a − b: 0.66 [0.61, 0.71], against 0.1"
