"""The choice of a rate: tie sets against scipy, edges, growth, rates that diverge."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attention_jax.statistics import rates
from attention_jax.system.errors import DataError

GRID = (1.0, 2.0, 4.0, 8.0, 16.0)


def curve(levels, spread=0.0, grid=GRID):
    """Log losses with seed effects, and a wobble that differs by rate."""
    return {
        rate: {seed: math.exp(level + 0.5 * seed + spread * (-1) ** (seed + i)) for seed in range(4)}
        for i, (rate, level) in enumerate(zip(grid, levels, strict=True))
    }


@pytest.mark.parametrize(
    "levels, spread, rate, best, tied",
    [
        ((3, 1, 0, 1, 3), 0.0, 4, 4, (4,)),
        ((3, 0.1, 0, 0.1, 3), 0.2, 2, 4, (2, 4, 8)),  # the wobble hides 0.1
        ((3, 0.1, 0, 0.1, 3), 0.0, 4, 4, (4,)),  # without it 0.1 is a difference
        ((3, 0.25, 0, 0.15, 3), 0.5, 4, 4, (4, 8)),  # hidden too, but its mean is above 0.2
        ((math.inf, 1, 0, 1, 3), 0.0, 4, 4, (4,)),
        ((1, 1, 0, math.inf, math.inf), 0.0, 4, 4, (4,)),  # what diverges bounds the grid: no edge
    ],
)
def test_the_lowest_of_the_tie_set(levels, spread, rate, best, tied):
    found = rates.choose(curve(levels, spread), GRID)
    assert (found.rate, found.best, found.tied, found.at_edge, found.add) == (rate, best, tied, False, None)
    assert found.excluded == tuple(each for each, level in zip(GRID, levels, strict=True) if level == math.inf)
    assert found.log_loss == pytest.approx(levels[GRID.index(rate)] + 0.75)


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=4, max_size=4), min_size=5, max_size=5))
def test_the_tie_set_is_scipys(losses):
    found = rates.choose({rate: dict(enumerate(of_seed)) for rate, of_seed in zip(GRID, losses, strict=True)}, GRID)
    logs = np.log(losses)
    best = int(logs.mean(1).argmin())
    expected = []
    for i, rate in enumerate(GRID):
        difference = logs[i] - logs[best]
        if np.std(difference) < 1e-12:
            tied = abs(difference.mean()) < 1e-12
        else:
            low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
            tied = low <= 0 <= high and difference.mean() <= 0.2
        expected += [rate] if i == best or tied else []
    assert found.tied == tuple(expected) and found.rate == expected[0]
    assert found.at_edge == (best in (0, 4))


def test_a_grid_grows_by_two_rates_and_no_more():
    found = rates.choose(curve((4, 3, 2, 1, 0)), GRID)
    assert (found.at_edge, found.add) == (True, 32)
    found = rates.choose(curve((4, 3, 2, 1, 0, -1), grid=(*GRID, 32.0)), GRID)
    assert (found.at_edge, found.add) == (True, 64)
    found = rates.choose(curve((4, 3, 2, 1, 0, -1, -2), grid=(*GRID, 32.0, 64.0)), GRID)
    assert (found.at_edge, found.add) == (True, None)
    found = rates.choose(curve((4, 3, 2, 1, 0, -1, 2), grid=(*GRID, 32.0, 64.0)), GRID)
    assert (found.at_edge, found.rate) == (False, 32)
    assert rates.choose(curve((0, 1, 2, 3, 4)), GRID).add == 0.5


def test_one_seed_that_diverges_excludes_the_rate():
    losses = curve((3, 1, 0, 1, 3))
    losses[4.0][2] = math.inf
    found = rates.choose(losses, GRID)
    assert found.excluded == (4,) and found.rate == 2
    assert rates.neighbours(found, losses) == (1,)  # 4 is none
    assert rates.neighbours(rates.choose(curve((3, 1, 0, 1, 3)), GRID), losses) == (2, 8)
    assert rates.choose({rate: dict.fromkeys(range(4), math.inf) for rate in GRID}, GRID).rate is None
    assert rates.choose(curve((0, 0, 0, 0, 0)) | {4.0: dict.fromkeys(range(4), 0.0)}, GRID).best == 4


def test_one_selection_seed_ties_nothing():
    found = rates.choose({rate: {0: loss} for rate, loss in zip(GRID, (3, 1.01, 1, 1.01, 3), strict=True)}, GRID)
    assert (found.rate, found.tied, found.at_edge) == (4, (4,), False)


@pytest.mark.parametrize("losses", [{}, {1.0: {}}, {1.0: {0: 1.0, 1: 1.0}, 2.0: {0: 1.0, 2: 1.0}}])
def test_a_curve_that_is_none_is_refused(losses):
    with pytest.raises(DataError, match="same selection seeds, at least one"):
        rates.choose(losses, GRID)
