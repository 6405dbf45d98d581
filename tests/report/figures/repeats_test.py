"""What is drawn is read back from the Figure's own artists: seeds, means with their intervals, published repeats."""

import numpy as np

from attention_jax.report.figures import repeats
from attention_jax.report.figures.repeats import Repeats
from tests.report.figures.svg import words

LINES = [
    Repeats("summary, short", "summary", (0.2, 0.3, 0.25), (0.25, 0.13, 0.37, 3), (0.2, 0.24)),
    Repeats("summary, long", "summary", (0.9,), (0.9, np.nan, np.nan, 1)),
    Repeats("mine", "mine", (0.5, 0.6), (0.55, 0.0, 1.0, 2)),
]


def test_a_line_of_dots_for_each_run():
    figure = repeats.repeats(LINES, "Title", "exact match")
    axes = figure.axes[0]
    filled = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() != "none"]
    hollow = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "none"]
    assert [tuple(line.get_xdata()) for line in filled] == [line.shares for line in LINES]
    assert [tuple(line.get_xdata()) for line in hollow] == [LINES[0].published]
    assert [round(line.get_ydata()[0]) for line in filled] == [0, 1, 2] and axes.get_ylim()[0] > axes.get_ylim()[1]
    assert filled[0].get_color() == filled[1].get_color() != filled[2].get_color()
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    np.testing.assert_allclose(means, [0.25, 0.22, 0.9, 0.55])
    bars = [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert bars[0] == (0.13, 0.37) and bars[2] == (0.0, 1.0) and np.isnan(bars[1]).all()
    assert figure.get_figwidth() == 8.4
    assert {"summary, short", "mine", "Title"} <= set(words(figure))
