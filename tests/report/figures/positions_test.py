"""What is drawn is read back from the Figure's own artists: means, bands, the line of luck, names."""

import numpy as np
from matplotlib.collections import PolyCollection

from attention_jax.report.figures import positions
from attention_jax.report.figures.colours import LOOKS
from attention_jax.report.figures.positions import Line
from tests.report.figures.svg import words

POINTS = {t: (t / 10, t / 10 - 0.05, t / 10 + 0.05, 8) for t in range(1, 8)}
ALONE = dict.fromkeys(range(1, 8), (0.5, np.nan, np.nan, 1))
ERRORS = [Line("summary", "summary", POINTS), Line("additive", "additive", ALONE)]
READ = [
    Line("summary, probe", "summary", POINTS),
    Line("summary, control", "summary", ALONE, "dashed"),
    Line("mine", "mine", ALONE, "dotted"),
]


def drawn():
    return positions.errors_and_probes(ERRORS, READ, luck=1 / 16, title="Where it breaks", note="after 800 updates")


def test_lines_and_bands_are_the_numbers():
    left, right = drawn().axes
    assert [line.get_xydata().tolist() for line in left.lines] == [[[t, point[0]] for t, point in line.points.items()] for line in ERRORS]
    luck, *lines = right.lines
    assert set(luck.get_ydata()) == {1 / 16}
    assert [line.get_ydata().tolist() for line in lines] == [[point[0] for point in line.points.values()] for line in READ]
    for axes, count in ((left, 2), (right, 3)):
        bands = [each for each in axes.collections if isinstance(each, PolyCollection)]
        assert len(bands) == count and axes.get_ylim() == (0, 1)
    edge = next(each for each in left.collections if isinstance(each, PolyCollection)).get_paths()[0].vertices[:, 1]
    assert np.isclose(edge.min(), 0.05) and np.isclose(edge.max(), 0.75)


def test_lines_of_one_arm_have_its_colour_and_differ_in_grey():
    left, right = drawn().axes
    assert left.lines[0].get_color() == right.lines[1].get_color() == right.lines[2].get_color() == LOOKS["summary"].colour
    assert len({(line.get_linestyle(), line.get_marker()) for line in right.lines[1:]}) == 3


def test_lines_are_named_where_they_end():
    assert {"Where it breaks", "summary", "additive", "summary, probe", "summary, control", "mine", "luck", "after 800 updates"} <= set(
        words(drawn())
    )
