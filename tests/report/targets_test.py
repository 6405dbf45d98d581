"""Targets: a number reaches its bar where all of its interval does."""

import math

import pytest

from attention_jax.report import targets
from attention_jax.report.targets import Target
from attention_jax.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("value", "at_most", "word"),
    [
        (Interval(0.95, 0.91, 0.98, 8), False, "yes"),
        (Interval(0.95, 0.89, 0.98, 8), False, "no"),
        (Interval(0.05, 0.02, 0.09, 8), True, "yes"),
        (Interval(0.85, 0.80, 0.91, 8), True, "no"),
        (Interval(0.99, math.nan, math.nan, 1), False, "one seed alone"),
        (None, True, "not measured"),
    ],
)
def test_the_word_goes_by_the_whole_interval(value, at_most, word):
    bar = 0.9 if not at_most or value is None or value.mean > 0.5 else 0.1
    found = targets.table([Target("an arm, a number", bar, value, at_most)], "a group")
    assert found.title == "Targets, declared before the runs, a group"
    ((what, said, _, reached),) = found.rows
    assert (what, said, reached) == ("an arm, a number", f"at {'most' if at_most else 'least'} {bar:g}", word)
