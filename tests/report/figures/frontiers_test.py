"""The picture of frontiers: what it draws is what it was given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from attention_jax.report.figures import frontiers
from attention_jax.report.figures.frontiers import Line
from attention_jax.system.errors import DataError


def test_lines_and_intervals_are_those_given_and_a_cell_looks_the_same_everywhere():
    points = {16: (0.8, 0.7, 0.9), 8: (0.5, np.nan, np.nan)}
    other = {8: (0.2, 0.1, 0.3), 16: (0.3, 0.2, 0.4)}
    panels = {
        "recall": [Line("gru", "additive", True, points), Line("lstm", "summary", False, other)],
        "copy": [Line("lstm", "summary", False, other)],
    }
    left, right = frontiers.frontiers(panels, "a title", 0.125).axes
    curves = [line for line in left.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None" and line.get_xdata()[1] != 1]
    np.testing.assert_array_equal(curves[0].get_xydata(), [(8, 0.5), (16, 0.8)])
    np.testing.assert_array_equal(curves[1].get_xydata(), [(8, 0.2), (16, 0.3)])
    assert curves[0].get_linestyle() == "-" and curves[1].get_linestyle() == "--"
    assert [text.get_text() for text in left.texts] == ["gru, additive", "lstm, summary"]
    marked = [[line for line in axes.lines if line.get_linestyle() == "None"][-1] for axes in (left, right)]
    assert (
        len({(line.get_marker(), to_hex(line.get_color())) for line in marked}) == 1
        and to_hex(marked[0].get_markerfacecolor()) == "#ffffff"
    )
    assert left.get_xscale() == "log" and 0.125 in {line.get_ydata()[0] for line in left.lines}


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no frontier to draw"):
        frontiers.frontiers({"recall": []}, "a title", 0.5)
