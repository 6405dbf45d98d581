"""Which rungs count: U, attention's best rung, and how many seeds would decide."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from attention_jax.statistics import observations, truths
from attention_jax.statistics.ladder import climb, more_seeds
from attention_jax.statistics.truths import Curve, Truth

COMPARISON = truths.comparison(4)
GOOD, POOR = Curve(0.002), Curve(0.3)
TRUTH = Truth("", "", "", GOOD, (GOOD,) * 3, scatter=0.05)


def rows(arm: str, budget: int, rate_of=lambda rate: 0.0, curve=GOOD) -> list[dict]:
    """Selection and reported rows of an arm at a budget: made up, then moved there."""
    made = truths.rows(replace(TRUTH, attention=curve, fixed=(curve,) * 3), 4, np.random.default_rng(budget))
    moved = [row | {"attention": arm, "budget": budget} for row in made if (row["attention"], row["budget"]) == ("attention", 100)]
    for row in moved:
        if "validation_loss" in row:
            row["validation_loss"] *= math.exp(rate_of(row["learning_rate"]))
    return moved


def climbed(*of_rows):
    return climb(observations.read([row for each in of_rows for row in each], COMPARISON), COMPARISON)


FIXED = [rows("fixed", budget) for budget in truths.LADDER]


def test_u_is_the_first_rung_that_attention_has_learned():
    found = climbed(rows("attention", 100), rows("attention", 200), *FIXED)
    assert (found.unit, found.rungs, found.needs, found.seeds) == (100, (100, 200, 400), (), (0, 1, 2, 3))
    later = climbed(rows("attention", 100, curve=POOR), rows("attention", 200), rows("attention", 400), *FIXED)
    assert (later.unit, later.rungs, later.needs) == (200, (200, 400), ())
    never = climbed(*(rows("attention", budget, curve=POOR) for budget in truths.LADDER), *FIXED)
    assert (never.unit, never.needs) == (None, ())


@pytest.mark.parametrize("best", truths.LADDER)
def test_the_best_rung_has_the_smallest_selection_loss(best):
    attention = [rows("attention", budget, lambda rate, budget=budget: -float(budget == best)) for budget in truths.LADDER]
    assert climbed(*attention, *FIXED).best == best


def test_a_rung_below_u_or_that_nobody_asked_for_is_not_needed():
    attention = [rows("attention", budget) for budget in (100, 200)]
    torn = [row for row in rows("attention", 400, lambda rate: -9.0) if row["role"] == "selection"]
    found = climbed(*attention, torn, *FIXED)
    assert found.needs == () and found.best in (100, 200)
    assert climbed(rows("attention", 100, curve=POOR), rows("attention", 200), rows("attention", 400), *FIXED[1:]).needs == ()
    assert {(need.arm, need.budget) for need in climbed(attention[0], *FIXED).needs} == {("attention", 200)}


def test_seeds_that_would_decide():
    for n, shrink in ((4, 0.5), (8, 0.7), (8, 0.99), (16, 0.5)):
        wanted = next(
            (
                m - n
                for m in range(n + 1, 65)
                if stats.t.ppf(0.975, m - 1) / math.sqrt(m) <= shrink * stats.t.ppf(0.975, n - 1) / math.sqrt(n)
            ),
            None,
        )
        assert more_seeds(n, lambda f, shrink=shrink: f <= shrink) == wanted
    assert more_seeds(8, lambda f: False) is None
