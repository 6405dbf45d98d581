"""What is drawn is read back from the Figure's own artists: means, intervals, bounds, the rates that were chosen."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from attention_jax.report.figures import colours, ladders
from attention_jax.report.figures.ladders import Curve, Line
from tests.report.figures.svg import words

CURVE = {3: (0.9, 0.8, 0.95), 8: (0.5, 0.4, 0.6), 20: (0.1, 0.0, 0.2)}
L50 = {100: ((3.0, np.nan, np.nan, 8), "<="), 200: ((5.0, 4.0, 6.0, 8), "="), 400: ((16.0, np.nan, np.nan, 8), ">=")}
LINES = [
    Line("summary, d = 4", "summary", CURVE, L50),
    Line("summary, d = 8", "summary", {n: (m / 2, m / 3, m) for n, (m, *_) in CURVE.items()}, L50),
    Line("additive", "additive", CURVE, {}),
]


def drawn():
    return ladders.lengths_and_budgets(LINES, title="Copy", trained=(3, 16), note="left: at 400 updates")


def test_lines_bands_and_intervals_are_the_numbers():
    left, right = drawn().axes
    for line, shown in zip(LINES, left.lines, strict=True):
        np.testing.assert_array_equal(shown.get_xydata(), [(length, point[0]) for length, point in line.by_length.items()])
    assert len([each for each in left.collections if isinstance(each, PolyCollection)]) == len(LINES)
    ladder = [each for each in right.lines if len(each.get_xdata()) == 3]
    assert [each.get_xydata().tolist() for each in ladder] == [[[100, 3], [200, 5], [400, 16]]] * 2  # attention has one budget
    bars = [each for each in right.lines if each.get_xydata().tolist() == [[200, 4], [200, 6]]]
    assert len(bars) == 2
    hollow = {
        each.get_xydata().tolist()[0][0]
        for each in right.lines
        if each.get_marker() in colours.MARKERS and each.get_markerfacecolor() == "white"
    }
    assert hollow == {100, 400}
    assert {"Copy", "summary, d = 4", "additive", "exact match", "left: at 400 updates"} <= set(words(drawn()))


def test_a_single_budget_draws_no_ladder():
    single = [Line("summary", "summary", CURVE, {400: L50[400]})]
    figure = ladders.lengths_and_budgets(single, title="", trained=(3, 16), note="")
    assert len(figure.axes) == 1 and "The price of a token" not in words(figure)


def test_rates_that_all_diverged_say_so():
    finite, diverged = Curve("summary", 400, {0.01: [1.0]}, 0.01), Curve("additive", 400, {0.01: [np.inf], 0.02: [np.inf]}, None)
    one, other = ladders.rate_curves([finite, diverged], "Rates").axes
    assert not list(one.texts) and [text.get_text() for text in other.texts] == ["training diverged\nat every rate"]


@pytest.mark.parametrize("chosen", [0.02, None])
def test_rate_curves_show_every_seed_and_the_choice(chosen):
    losses = {0.01: [1.0, 4.0], 0.02: [0.5, 0.5], 0.04: [np.inf, 0.7], 0.08: [np.inf, np.inf]}
    figure = ladders.rate_curves([Curve("summary", 400, losses, chosen), Curve("additive", 400, losses, 0.01)], "Rates")
    axes = figure.axes[0]
    mean = next(line for line in axes.lines if line.get_label() == "400")
    np.testing.assert_allclose(mean.get_xydata(), [(0.01, 2.0), (0.02, 0.5), (0.04, 0.7)])
    dots = sorted(xy for line in axes.lines if line.get_marker() == "." for xy in map(tuple, line.get_xydata().tolist()))
    assert dots == [(0.01, 1.0), (0.01, 4.0), (0.02, 0.5), (0.02, 0.5), (0.04, 0.7)]
    rings = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert rings == ([[[0.02, 0.5]]] if chosen else [])
    assert {"summary", "additive", "learning rate", "400", "Rates"} <= set(words(figure))
