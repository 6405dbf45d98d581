"""Targets against intervals on either side of their bar."""

import math

import pytest

from attention_jax.report import targets
from attention_jax.report.targets import Target
from attention_jax.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("found", "at_most", "reached"),
    [
        (Interval(21.0, 20.0, 22.0, 8), False, "yes"),  # the bar counts
        (Interval(21.0, 19.9, 22.1, 8), False, "no"),
        (Interval(19.0, 18.0, 20.0, 8), True, "yes"),
        (Interval(19.0, 17.9, 20.1, 8), True, "no"),
        (Interval(30.0, math.nan, math.nan, 1), False, "no"),
        (Interval(1.0, math.nan, math.nan, 1), True, "no"),
        (None, True, "not measured"),
    ],
)
def test_the_bound_has_to_reach_the_bar(found, at_most, reached):
    (line,) = targets.table([Target("BLEU", 20.0, found, at_most)], "Targets").rows
    assert line[0] == "BLEU" and line[1] == f"at {'most' if at_most else 'least'} 20" and line[3] == reached
    assert line[2] == "–" if found is None else line[2].startswith(f"{found.mean:.1f}")
