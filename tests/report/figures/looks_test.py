"""Looks are read back: from the Figure's own artists, and from the SVG as an XML parser and a reader see it."""

import itertools

import matplotlib
import numpy as np
import pytest

from attention_jax.data.corpora.links import Links
from attention_jax.report import figures
from attention_jax.report.figures import looks
from attention_jax.system.errors import DataError
from tests.report.figures.svg import words

OTHER_SETTINGS = {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "text.usetex": True}
WEIGHTS_TxS = np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]])
PANELS = [looks.Panel("summary", None, "abc", "ab"), looks.Panel("additive", WEIGHTS_TxS, "abc", "ab")]


def test_alignment_shows_the_weights_by_output_and_input():
    axes = looks.alignment(WEIGHTS_TxS, ["x", "y", "</s>"], ["u", "v"], "additive").axes[0]
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), WEIGHTS_TxS)
    assert image.get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "</s>"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["u", "v"]
    assert axes.get_ylim() == (1.5, -0.5)  # first output on top


def test_an_arm_without_weights_gets_an_empty_labelled_panel():
    figure = looks.alignments(PANELS, "Where each output looked")
    assert [len(axes.images) for axes in figure.axes[:2]] == [0, 1]
    text = " ".join(words(figure))
    for part in ("no alignment:", "this arm looks at", "one fixed vector", "summary", "additive", "Where each output looked", "weight"):
        assert part in text
    alone = looks.alignment(None, "abc", "ab", "none")
    assert len(alone.axes) == 1 and "no alignment:" in " ".join(words(alone))


@pytest.mark.parametrize("panels", [1, 2, 3, 5])
@pytest.mark.parametrize("tokens", [0, 1, 24, 40])
def test_any_number_of_panels_and_tokens_fits(panels, tokens):
    symbols = [str(i) for i in range(tokens)]
    figure = looks.alignments([looks.Panel("additive", np.eye(tokens), symbols, symbols)] * panels)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    assert all(box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1 for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations([axes.get_window_extent() for axes in figure.axes[:panels]], 2))


def test_links_made_by_hand_are_framed_by_kind():
    gold = Links(frozenset({(0, 1)}), frozenset({(0, 1), (1, 0)}))
    drawn = looks.alignments([looks.Panel("arm", np.full((2, 2), 0.5), ["a", "b"], ["x", "y"], gold)])
    frames = {
        (float(line.get_xdata().mean().round()), float(line.get_ydata().mean().round())): line.get_linestyle()
        for line in drawn.axes[0].lines
    }
    assert frames == {(0.0, 1.0): "-", (1.0, 0.0): ":"}


def test_weights_must_fit_the_tokens():
    with pytest.raises(DataError, match=r"additive: weights are \(2, 3\), but there are 3 output and 3 input tokens"):
        looks.alignment(WEIGHTS_TxS, "abc", "abc", "additive")


def test_any_token_can_be_shown():
    strange = ["<b>&", "$x_1$", "中文", "\x00\n", "▁größer", "\ud800", "a" * 40, "⏎", ""]
    figure = looks.alignment(np.eye(9), strange, strange, "</text><script>alert(1)</script>")
    text = words(figure)
    assert {"<b>&", "$x_1$", "中文", "��", "▁größer", "�", "a" * 15 + "…", "⏎", "</text><script>alert(1)</script>"} <= set(text)
    assert "<script" not in figures.svg_text(figure)


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no alignment"):
        looks.alignments([])


PICTURE_YxX = np.arange(24, dtype=float).reshape(4, 6)
FIELD_YxX = np.array([list(". . f"), list(". a ."), list("c . .")])[:, ::2]
LOOKS_TxYxX = np.array([[[0.0, 0.5, 0.0], [0.1, 0.2, 0.0], [0, 0, 0]], np.zeros((3, 3))])


def shade(axes):
    """What lies over the picture: how dark each place was made."""
    return axes.images[1].get_array()[:, :, 3]


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
@pytest.mark.parametrize("kind", [float, "uint8"])
def test_an_overlay_darkens_what_was_not_looked_at(channels, kind):
    image = (PICTURE_YxX if channels is None else np.repeat(PICTURE_YxX[:, :, None] / 24, channels, 2)).astype(kind)
    weights_TxP = np.array([[0.6, 0.3, 0.0, 0.0, 0.0, 0.1], [0.0] * 6])
    figure = looks.overlay(image, weights_TxP, ["▁dog", "⏎"], "look")
    first, dog, end = figure.axes
    assert len(first.images) == 1 and first.get_title(loc="left") == "input"
    np.testing.assert_allclose(shade(dog), 0.8 * (1 - weights_TxP[0].reshape(2, 3) / 0.6))  # 6 places of 4 x 6 pixels: 2 x 3
    np.testing.assert_array_equal(shade(end), np.full((2, 3), 0.8))
    assert (
        [axes.images[1].get_extent() for axes in (dog, end)] == [[0, 6, 4, 0]] * 2 == [axes.images[0].get_extent() for axes in (dog, end)]
    )
    assert {"input", "▁dog  0.60", "⏎  0.00", "look"} <= set(words(figure))
    given = looks.overlay(image, weights_TxP.reshape(2, 2, 3), ["▁dog", "⏎"], "look")
    assert figures.svg_text(figure) == figures.svg_text(given)


def test_an_overlay_of_a_field_colours_its_cells():
    figure = looks.overlay(FIELD_YxX, LOOKS_TxYxX, ["f", "⏎"])
    first, look, nothing = figure.axes
    np.testing.assert_allclose(look.images[0].get_array(), LOOKS_TxYxX[0] / 0.5)
    assert not nothing.images[0].get_array().any() and not first.images[0].get_array().any()
    cells = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert cells == [list("..f.a.c.."), ["f", "a", "c"], ["f", "a", "c"]]  # background in the input only
    assert [text.get_position() for text in look.texts] == [(2.5, 0.5), (1.5, 1.5), (0.5, 2.5)]
    coarse = looks.overlay(np.repeat(FIELD_YxX, 2, 0).astype(object), [[[0.0, 1.0, 0.0]]], ["a"]).axes[1]
    assert [text.get_color() for text in coarse.texts] == [figures.INK, figures.INK, "white", "white", figures.INK, figures.INK]


def test_an_overlay_of_an_arm_without_weights_says_so():
    figure = looks.overlay(PICTURE_YxX, None, ["a", "b", "c"])
    assert len(figure.axes) == 2 and "no alignment:" in words(figure)
    assert len(looks.overlay(PICTURE_YxX, np.zeros((0, 6)), []).axes) == 1


@pytest.mark.parametrize("tokens", [1, 5, 6, 13])
def test_any_number_of_overlays_fits(tokens):
    figure = looks.overlay(FIELD_YxX, np.full((tokens, 9), 1 / 9), ["▁" + "a" * 30] * tokens, "title")
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.get_title(loc="left")]
    assert len(boxes) == tokens + 1 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("image", "weights", "message"),
    [
        (np.zeros((4, 6, 2)), np.zeros((1, 6)), r"look: an image of shape \(4, 6, 2\) cannot be drawn"),
        (np.zeros((0, 6)), np.zeros((1, 6)), r"an image of shape \(0, 6\) cannot"),
        (PICTURE_YxX, np.zeros((2, 6)), r"weights of 2 outputs, but 1 words"),
        (PICTURE_YxX, np.zeros((1, 7)), r"look: weights \(1, 7\) are no places of a 4 x 6 image"),
        (np.zeros((9, 4)), np.zeros((1, 4)), r"weights \(1, 4\) are no places of a 9 x 4 image"),
        (PICTURE_YxX, np.zeros(6), r"weights \(6,\) are no places"),
    ],
)
def test_overlays_refuse_what_does_not_fit(image, weights, message):
    with pytest.raises(DataError, match=message):
        looks.overlay(image, weights, ["a"], "look")


def test_overlays_are_the_same_in_every_run(tmp_path):
    for image in (FIELD_YxX, np.zeros((6, 6))):
        figure = looks.overlay(image, LOOKS_TxYxX, ["f", "⏎"])
        first = [path.read_bytes() for path in figures.save(figure, tmp_path / "overlay")]
        with matplotlib.rc_context(OTHER_SETTINGS):
            assert [path.read_bytes() for path in figures.save(looks.overlay(image, LOOKS_TxYxX, ["f", "⏎"]), tmp_path / "again")] == first


def test_subwords_and_sparse_weights_of_unequal_lengths_stay_readable():
    sources, targets = [f"▁wort{i}" for i in range(9)], [f"▁word{i}" for i in range(120)]
    figure = looks.alignments([looks.Panel("long", np.eye(120, 9), sources, targets), looks.Panel("short", np.eye(2, 9), sources, "ab")])
    assert figure.get_figheight() < 30 and figure.get_figwidth() < 14
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), np.eye(120, 9))
    assert {*sources, *targets, "a", "b"} <= set(words(figure))


def test_looks_that_are_nearly_even_are_not_white():
    even_TxS = np.array([[0.26, 0.25, 0.24, 0.25]])
    axes, bar = looks.alignment(even_TxS, "abcd", "x", "sort").axes
    assert axes.images[0].get_clim() == (0, 0.26) and [label.get_text() for label in bar.get_yticklabels()] == ["0", "0.13", "0.26"]
    both = looks.alignments([looks.Panel("even", even_TxS, "abcd", "x"), PANELS[1]])
    assert {image.get_clim() for axes in both.axes for image in axes.images} == {(0, 1)}, "one scale for all"
    assert looks.alignment(np.zeros((1, 2)), "ab", "x", "nothing").axes[0].images[0].get_clim() == (0, 1)


def test_an_example_of_thousands_of_tokens_names_some_of_them():
    tokens = [str(i) for i in range(1000)]
    axes = looks.alignment(np.eye(1000), tokens, tokens, "long").axes[0]
    for ticks, labels in ((axes.get_xticks(), axes.get_xticklabels()), (axes.get_yticks(), axes.get_yticklabels())):
        assert len(ticks) <= looks.MOST_LABELS and [label.get_text() for label in labels] == [str(int(tick)) for tick in ticks]
