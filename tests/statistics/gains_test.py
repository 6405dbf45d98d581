"""What one ladder gains over another, where both are planted."""

import numpy as np
import pytest

from attention_jax.statistics import gains
from attention_jax.statistics.lengths import CriticalLength

BUDGETS = (400, 800, 1600, 3200)


def exact(*found: float) -> list[CriticalLength]:
    """Critical lengths of seeds."""
    return [CriticalLength(length, "exact") for length in found]


def test_a_shift_in_budget_is_found_at_every_rung():
    """L = 2 log₂ B + a seed's own number; ours is as far as theirs after 2.5 times the budget."""
    seeds = (0.0, 0.3, -0.2)
    theirs = {budget: exact(*(2 * np.log2(budget) + seed for seed in seeds)) for budget in BUDGETS}
    for budget in BUDGETS[:2]:
        ours = exact(*(2 * np.log2(2.5 * budget) + seed for seed in seeds))
        k, sign = gains.worth(ours, theirs, budget)
        assert sign == "=" and k.n == 3
        np.testing.assert_allclose(k[:3], [2.5] * 3, rtol=1e-9)


def test_the_mean_is_geometric_and_the_interval_of_logs():
    theirs = {budget: exact(*[np.log2(budget)] * 3) for budget in BUDGETS}
    k, _ = gains.worth(exact(*(np.log2(400 * k) for k in (2.0, 4.0, 1.0))), theirs, 400)
    assert k.mean == pytest.approx(2.0)
    assert k.low == pytest.approx(2 ** (1 - 4.302653 / np.sqrt(3))) and k.high == pytest.approx(2 ** (1 + 4.302653 / np.sqrt(3)))


def test_what_lies_beyond_the_ladder_is_a_bound():
    theirs = {400: exact(4.0, 4.0), 800: exact(5.0, 5.0)}
    for wanted, mean, sign in ((6.0, 2.0, ">="), (3.0, 1.0, "<=")):
        k, found = gains.worth(exact(wanted, wanted), theirs, 400)
        assert (k.mean, found) == (mean, sign) and np.isnan(k.low)
    assert gains.worth(exact(4.0, 5.0), theirs, 400)[1] == "="
    assert gains.worth(exact(6.0, 3.0), theirs, 400)[1] == "?"


def test_bounds_of_a_ladder_are_no_rungs():
    below, least = CriticalLength(3.0, "below"), CriticalLength(16.0, "at_least")
    theirs = {400: [below], 800: exact(5.0), 1600: exact(7.0), 3200: [least]}
    assert gains.worth(exact(6.0), theirs, 800) == (pytest.approx((2**0.5, np.nan, np.nan, 1), nan_ok=True), "=")
    assert gains.worth(exact(8.0), theirs, 800)[1] == ">=" and gains.worth(exact(4.0), theirs, 800)[1] == "<="
    for ours, ladder in (([least], theirs), (exact(6.0), {400: [below]})):
        k, sign = gains.worth(ours, ladder, 800)
        assert sign == "?" and np.isnan(k.mean)


def test_a_ladder_that_falls_is_reached_once():
    theirs = {400: exact(4.0), 800: exact(6.0), 1600: exact(5.0), 3200: exact(9.0)}
    assert gains.worth(exact(5.0), theirs, 400)[0].mean == pytest.approx(2**0.5)
