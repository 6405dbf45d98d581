"""Time limits: long enough for the forecast times its margin, few, and as Slurm takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.sweeps import limits


@given(st.floats(0, 1e9))
def test_a_limit_holds_what_is_asked_for_and_at_most_twice_as_much(seconds):
    found = limits.limit(seconds)
    assert seconds <= found and (found == limits.LEAST or found < 2 * seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(600, "00:10:00"), (9600, "02:40:00"), (86_400, "1-00:00:00"), (93_661, "1-02:01:01"), (59, "00:00:59")]
)
def test_text_is_slurm_s(seconds, text):
    assert limits.text(seconds) == text


def test_runs_under_one_limit():
    assert limits.joined({600: [0, 3], 2400: [1]}) == {2400: [0, 1, 3]}
