"""Curves are read back: from the Figure's own artists, and from the SVG as an XML parser and a reader see it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from attention_jax.report.figures import curves
from attention_jax.report.figures.colours import LOOKS, shades
from attention_jax.system.errors import DataError
from tests.report.figures.svg import words

LENGTHS = (1, 2, 4, 8, 16, 32)


def curve(scale):
    return {length: (scale / length, scale / length - 0.05, scale / length + 0.05, 8) for length in LENGTHS}


CURVES = {"none": curve(0.5), "summary": curve(0.6), "additive": curve(0.95)}
NO_BAND = {arm: {length: (mean, np.nan, np.nan) for length, (mean, *_) in points.items()} for arm, points in CURVES.items()}


def drawn(**options):
    return curves.length_curves(CURVES, title="Copy", ylabel="exact match", **options)


def test_lines_are_the_means_and_bands_the_bounds():
    axes = drawn().axes[0]
    lines = {line.get_color(): line for line in axes.lines}
    bands = [collection for collection in axes.collections if isinstance(collection, PolyCollection)]
    for arm, band in zip(CURVES, bands, strict=True):
        np.testing.assert_array_equal(lines[LOOKS[arm].colour].get_xydata(), [(length, point[0]) for length, point in CURVES[arm].items()])
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices.tolist()}
        assert corners == {(length, round(bound, 9)) for length, point in CURVES[arm].items() for bound in point[1:3]}


def test_half_the_budget_is_dashed_in_the_same_colours():
    faint = {arm: curve(0.3) for arm in CURVES}
    axes = drawn(faint=faint).axes[0]
    dashed = {line.get_color(): line for line in axes.lines if line.get_linestyle() == "--"}
    assert set(dashed) == {LOOKS[arm].colour for arm in CURVES}
    assert all(line.get_linewidth() < 2 and line.get_xydata()[0].tolist() == [1, 0.3] for line in dashed.values())
    assert "at half the budget" in words(drawn(faint=faint))
    assert "at half the budget" not in words(drawn())
    named = words(drawn(faint=faint, line_label="here", faint_label="there"))
    assert {"here", "there"} <= set(named) and "mean over seeds" not in named and "mean over seeds" in words(drawn())


def test_everything_is_named_in_text():
    text = words(drawn(trained=(1, 16)))
    wanted = {
        "Copy",
        "exact match",
        "length (payload tokens)",
        *CURVES,
        "95 % interval",
        "trained lengths 1–16",
        "longer than any trained on",
    }
    assert wanted <= set(text)
    assert "100%" in text
    assert "longer than any trained on" not in words(drawn(trained=(1, 32)))
    loss = curves.length_curves(CURVES, title="Loss", ylabel="nats", xlabel="words", percent=False)
    assert "words" in words(loss) and not any("%" in word for word in words(loss) if word != "95 % interval")


EXAMPLES = dict(zip(LENGTHS, (528, 659, 418, 279, 45, 2), strict=True))


def markers(axes):
    """Of each arm: (places, areas)."""
    found = [collection for collection in axes.collections if not isinstance(collection, PolyCollection)]
    return [(points.get_offsets()[:, 0].tolist(), points.get_sizes().tolist()) for points in found]


def test_budgets_stand_a_doubling_apart_each_with_its_name():
    found = dict.fromkeys((100, 200, 400, 1600), (0.5, 0.4, 0.6))
    (axes,) = curves.length_curves({"additive": found}, title="t", ylabel="y", budgets=True).axes
    x = axes.lines[0].get_xdata()
    np.testing.assert_allclose(np.diff(x), [1, 1, 2])
    np.testing.assert_allclose(axes.get_xticks(), x)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "200", "400", "1,600"]


def test_areas_of_markers_are_in_proportion_to_examples():
    """Down to the least that can be seen; numbers stand below the lengths, as far as there is room."""
    axes = drawn(examples=EXAMPLES).axes[0]
    for places, areas in markers(axes):
        assert places == list(LENGTHS) and areas[-2:] == [max(curves.LEAST, curves.MOST * 45 / 659), curves.LEAST]
        np.testing.assert_allclose(areas[:-1], [curves.MOST * n / 659 for n in list(EXAMPLES.values())[:-1]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2\n659", "4\n418", "8\n279", "16\n45", "32\n2"]
    text = words(drawn(examples=EXAMPLES))
    assert {"2", "659"} <= set(text) and "528" not in text and "area, number below: n examples" in text


def test_equal_evidence_is_drawn_as_equal_and_said_once():
    figure = drawn(examples=dict.fromkeys(LENGTHS, 1280))
    assert {area for _, areas in markers(figure.axes[0]) for area in areas} == {curves.SAME}
    assert words(figure).count("1,280 examples at each length") == 1 and not any("\n" in word for word in words(figure))
    assert {area for _, areas in markers(drawn().axes[0]) for area in areas} == {curves.SAME}
    assert not any("examples" in word for word in words(drawn()))


@pytest.mark.parametrize("examples", [None, EXAMPLES | {17: 2}])
@pytest.mark.parametrize("longest", [16, 17])
def test_an_open_bucket_stands_one_bucket_further_and_says_so(examples, longest):
    """At its first length, beside the edge before it, its line would climb as if within one token."""
    points = {length: point for length, point in curve(0.9).items() if length <= 16} | {17: (0.05, 0.0, 0.1, 8)}
    faint = {"dot": points}
    shown = {"title": "Copy", "ylabel": "exact match", "faint": faint, "trained": (1, longest), "examples": examples}
    figure = curves.length_curves({"dot": points}, open_lengths={17}, **shown)
    axes = figure.axes[0]
    assert [places for places, _ in markers(axes)] == [[1, 2, 4, 8, 16, 24]]
    assert all(line.get_xdata()[-1] == 24 for line in axes.lines[:2]) and axes.get_xlim()[1] > 24
    (last,) = [label.get_text() for label in axes.get_xticklabels() if "+" in label.get_text()]
    assert last == ("17+" if examples is None else "17+\n2") and axes.get_xticks()[-1] == 24
    text = words(figure)
    assert ("trained lengths 1–17+" in text) == (longest == 17) == ("longer than any trained on" not in text)
    assert "17+" not in words(curves.length_curves({"dot": points}, **shown))


def test_one_open_bucket_alone():
    (places,) = [
        places for places, _ in markers(curves.length_curves({"a": {7: (1, 1, 1)}}, title="", ylabel="", open_lengths={7}).axes[0])
    ]
    assert places == [7]


@given(st.sets(st.integers(1, 300), min_size=1, max_size=30), st.integers(1, 7))
def test_names_of_lengths_do_not_touch(lengths, letters):
    places = {length: float(length) for length in lengths}
    kept = curves._readable(places, letters)
    assert max(lengths) in kept and kept == sorted(kept) and set(kept) <= lengths
    assert (np.diff(kept) >= 0.014 * (letters + 1) * (max(lengths) - min(lengths))).all()


def test_one_seed_has_a_line_without_a_band():
    figure = curves.length_curves(NO_BAND, title="Copy", ylabel="exact match")
    assert {"none", "summary", "additive"} <= set(words(figure))


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no curve"):
        curves.length_curves({"none": {}}, title="", ylabel="")


def test_one_arm_may_have_no_rows_yet():
    figure = curves.length_curves({**CURVES, "dot": {}}, title="Copy", ylabel="exact match")
    assert "additive" in words(figure) and "dot" not in words(figure)


def test_labels_of_one_arm_are_shades_of_its_colour():
    figure = curves.length_curves({"summary, forward": curve(0.5), "summary, reversed": curve(0.6)}, title="t", ylabel="y")
    assert curves.arm_in("summary-gru-h64") == curves.arm_in("summary, lstm") == "summary"
    expected = shades({"summary, forward": "summary", "summary, reversed": "summary"})
    assert {to_hex(line.get_color()) for line in figure.axes[0].lines} == {look.colour for look in expected.values()}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@example([0.0] * 5)
@example([1.0, 0.999, 0.5])
def test_names_stay_apart_in_order_and_near(heights):
    gap = 0.062
    moved = curves.apart(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(moved[order]) >= gap - 1e-9).all()
    assert moved.min() >= -1e-9 and moved.max() <= 1 + 1e-9
    if len(heights) == 1 or (np.diff(np.sort(heights)) >= gap).all():
        np.testing.assert_allclose(moved, heights, atol=1e-9)
