"""Curves are read back: from the Figure's own artists, and from the SVG as an XML parser and a reader see it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_jax.figures import curves
from attention_jax.types import DataError
from tests.figures.svg import words

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
    for arm, band in zip(CURVES, axes.collections, strict=True):
        np.testing.assert_array_equal(
            lines[curves.COLOURS[arm]].get_xydata(), [(length, point[0]) for length, point in CURVES[arm].items()]
        )
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices.tolist()}
        assert corners == {(length, round(bound, 9)) for length, point in CURVES[arm].items() for bound in point[1:3]}


def test_half_the_budget_is_dashed_in_the_same_colours():
    faint = {arm: curve(0.3) for arm in CURVES}
    axes = drawn(faint=faint).axes[0]
    dashed = {line.get_color(): line for line in axes.lines if line.get_linestyle() == "--"}
    assert set(dashed) == {curves.COLOURS[arm] for arm in CURVES}
    assert all(line.get_linewidth() < 2 and line.get_xydata()[0].tolist() == [1, 0.3] for line in dashed.values())
    assert "at half the budget" in words(drawn(faint=faint))
    assert "at half the budget" not in words(drawn())


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


def test_one_seed_has_a_line_without_a_band():
    figure = curves.length_curves(NO_BAND, title="Copy", ylabel="exact match")
    assert {"none", "summary", "additive"} <= set(words(figure))


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no curve"):
        curves.length_curves({"none": {}}, title="", ylabel="")


def test_one_arm_may_have_no_rows_yet():
    figure = curves.length_curves({**CURVES, "dot": {}}, title="Copy", ylabel="exact match")
    assert "additive" in words(figure) and "dot" not in words(figure)


def test_an_arm_has_its_colour_wherever_it_stands():
    assert curves._colours(["additive", "none"]) == {arm: curves.COLOURS[arm] for arm in ("additive", "none")}
    found = curves._colours(["summary-gru-h64", "summary, lstm", "novel", "additive"])
    assert found["summary-gru-h64"] == curves.COLOURS["summary"] and found["additive"] == curves.COLOURS["additive"]
    assert len(set(found.values())) == 4
    assert len(curves._colours([str(i) for i in range(30)])) == 30


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@example([0.0] * 5)
@example([1.0, 0.999, 0.5])
def test_names_stay_apart_in_order_and_near(heights):
    gap = 0.062
    moved = curves._apart(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(moved[order]) >= gap - 1e-9).all()
    assert moved.min() >= -1e-9 and moved.max() <= 1 + 1e-9
    if len(heights) == 1 or (np.diff(np.sort(heights)) >= gap).all():
        np.testing.assert_allclose(moved, heights, atol=1e-9)
