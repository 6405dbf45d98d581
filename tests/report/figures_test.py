"""What all pictures share: the same bytes whatever the caller's settings, and nothing that a page would load."""

import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from attention_jax.report import figures
from attention_jax.report.figures import curves, described, ladders, looks
from attention_jax.report.figures.ladders import Curve, Line

OTHER_SETTINGS = {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "text.usetex": True}
PANELS = [looks.Panel("summary", None, "abc", "ab"), looks.Panel("additive", np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]), "abc", "ab")]


def drawn():
    """Curves with all that can be said of them."""
    points = {length: (1 / length, 1 / length - 0.05, 1 / length + 0.05, 8) for length in (1, 2, 4, 8, 16, 32)}
    return curves.length_curves({"summary": points}, title="Copy", ylabel="exact match", trained=(1, 16))


@pytest.mark.long
def test_files_are_the_same_in_every_run(tmp_path):
    for name, make in (("curves.v1", drawn), ("align", lambda: looks.alignments(PANELS))):
        paths = figures.save(make(), tmp_path / name)
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.svg"]
        first = [path.read_bytes() for path in paths]
        assert first[0].startswith(b"\x89PNG") and b"date" not in first[1] and b"<text" in first[1]
        with matplotlib.rc_context(OTHER_SETTINGS):
            assert [path.read_bytes() for path in figures.save(make(), str(tmp_path / name))] == first
    figure = looks.alignments(PANELS)
    assert figures.svg_text(figure) == figures.svg_text(figure)


def test_a_picture_says_what_it_shows():
    ladder = [Line(name, name, {1: (0.5, 0.4, 0.6)}, {50: ((2.0, 1.0, 3.0), "=")}) for name in ("summary", "additive")]
    rates = [Curve(arm, 400, {0.01: [1.0], 0.02: [0.5]}, 0.02) for arm in ("summary", "additive")]
    for figure, said in (
        (drawn(), "Copy. Exact match against length (payload tokens). Lines: summary."),
        (
            ladders.lengths_and_budgets(ladder, title="copy, gru h16", trained=(1, 2), note="after 50"),
            "copy, gru h16. Exact match against length (payload tokens; shaded: trained). Lines: summary; additive (after 50).",
        ),
        (
            ladders.rate_curves(rates, "Rate curves, gru h16"),
            "Rate curves, gru h16. Panels summary; additive: validation loss (nats per token) against learning rate. Lines: 400 (updates).",
        ),
        (
            looks.alignments(PANELS, "Where"),
            "Where. summary. No alignment: this arm looks at one fixed vector. "
            "additive. A heat map of weights, inputs from left to right and outputs from top to bottom.",
        ),
    ):
        root = ElementTree.fromstring(figures.svg_text(figure))
        assert root.get("role") == "img" and root[0].tag.endswith("}title") and root[0].text == said == described.words(figure)


def test_svg_loads_nothing():
    for figure in (drawn(), looks.alignments(PANELS)):
        for node in ElementTree.fromstring(figures.svg_text(figure)).iter():
            for name, value in node.attrib.items():
                assert not name.endswith("href") or value.startswith(("#", "data:image/png"))


def test_no_global_style():
    before = dict(matplotlib.rcParams)
    figures.svg_text(drawn())
    assert dict(matplotlib.rcParams) == before


def test_a_title_is_not_cut_at_the_edge():
    figure = looks.alignment(np.eye(2), "ab", "ab", "a title that is much wider than its two by two cells")
    (title,) = [text for text in figure.findobj(Text) if text.get_text().startswith("a title")]
    assert title.get_window_extent().x1 <= figure.bbox.x1


def test_a_letter_of_no_font_is_named_and_taken_from_another_one_where_there_is_one(monkeypatch, caplog):
    figure = looks.alignment(np.eye(2), ["中", "b"], ["ab", "ਅ"], "title")
    monkeypatch.setattr(figures, "FALLBACKS", ())
    figures.svg_text(figure)
    assert not caplog.records
    figures.png_bytes(figure)
    assert [record.getMessage() for record in caplog.records] == ["no font here has 中 ਅ: boxes in a .png; .svg and .html have them"]
    assert figures.lacked("a中b中ö") == ["中"]
    monkeypatch.setattr(figures, "_letters", lambda font: frozenset(map(ord, "中" if font == "Mine" else "ab")))
    assert figures.lacked("a中b", ["Mine"]) == []


def test_a_notebook_shows_the_picture():
    figure = looks.alignment(np.eye(2), "ab", "ab", "title")
    assert figure._repr_png_() == figures.png_bytes(figure)
