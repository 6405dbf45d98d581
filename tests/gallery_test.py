"""The gallery: every row of every table of mechanisms is in it, and says what stands there; page and pictures are of its example."""

import base64
import io
import re
import sys
import xml.etree.ElementTree as xml
from functools import cache

import numpy as np
import pytest
from PIL import Image

from attention_jax import attention
from attention_jax.attention import scores
from attention_jax.config import leaves
from attention_jax.report import figures
from attention_jax.running import results
from attention_jax.system.errors import ConfigError
from attention_jax.types.citations import cites, papers_of
from docs import gallery_legend, gallery_pictures, gallery_rows, make_gallery
from docs.gallery_rows import Row

pytestmark = pytest.mark.once

ROWS = gallery_rows.every()
EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.setting)
SVG = "{http://www.w3.org/2000/svg}"
MOST_BYTES = 1_500_000


@cache
def examples() -> dict[Row, dict]:
    """The kept example of every row."""
    return {row: results.read_json(make_gallery.path(row)) for row in ROWS}


@cache
def shown(stem: str) -> xml.Element:
    """A picture of the gallery."""
    return xml.parse(make_gallery.FOLDER / f"{stem}.svg").getroot()


def texts(picture: xml.Element) -> list[tuple[str | None, str | None]]:
    """What is written in a picture, in order, with its style."""
    return [(element.text, element.get("style")) for element in picture.iter(f"{SVG}text")]


def maps(picture: xml.Element) -> list[np.ndarray]:
    """Pixels of every heat map in a picture."""
    found = [element.get("{http://www.w3.org/1999/xlink}href") for element in picture.iter(f"{SVG}image")]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))).convert("RGB")) for href in found]


@EVERY
def test_a_row_says_what_the_gallery_needs(row):
    assert not gallery_rows.missing(row), "; ".join(gallery_rows.missing(row))


@EVERY
def test_a_row_has_its_picture(row):
    assert make_gallery.is_kept(row), f"{row.setting} has no picture, or an old one: python -m docs.make_gallery, then commit docs/gallery"
    kept, drawn = shown(row.stem), xml.fromstring(figures.svg_file(gallery_pictures.draw(row.name, examples()[row])))
    stale = f"docs/gallery/{row.stem}.svg is not of its example: python -m docs.make_gallery"
    assert texts(kept) == texts(drawn), stale
    for ours, theirs in zip(maps(kept), maps(drawn), strict=True):
        np.testing.assert_array_equal(ours, theirs, stale)


@EVERY
def test_a_picture_shows_its_example(row):
    example, written = examples()[row], [text for text, _ in texts(shown(row.stem))]
    S = len(example["source"])
    assert written[:S] == example["source"] == [*make_gallery.INPUT.split(), "⏎"] and row.name in written
    assert [text[0] for text in written[S : S + len(example["output"])]] == example["output"]
    wrong = [ours for ours, theirs in gallery_pictures.pairs(example) if ours is not None and ours != theirs]
    assert [text for text, style in texts(shown(row.stem)) if gallery_pictures.WRONG in style] == [f"{symbol} ✗" for symbol in wrong]
    (pixels,) = maps(shown(row.stem))
    weights_TxS = np.zeros(pixels.shape[:2]) if example["weights"] is None else np.minimum(example["weights"], 1)
    assert pixels.shape[:2] == (len(example["output"]), S)
    lightness_TxS = pixels.sum(2, dtype=int)
    order = np.argsort(weights_TxS, axis=None)
    assert np.all(np.diff(lightness_TxS.ravel()[order]) <= 0), "more weight is darker"


@EVERY
def test_letters_are_read_on_a_phone(row):
    """A picture is no wider than a phone, 390 px, which shows it as large as it is: 12 pt are 16 px."""
    assert float(shown(row.stem).get("width").removesuffix("pt")) * 96 / 72 <= 390
    sizes = [float(re.search(r"([\d.]+)px", style)[1]) for _, style in texts(shown(row.stem))]
    assert min(sizes) >= gallery_pictures.LETTERS == 12


def test_pictures_are_small_and_hold_nothing_else():
    stems = {row.stem for row in ROWS} | {"all"}
    assert {path.stem for path in make_gallery.FOLDER.glob("*.svg")} == stems
    assert {path.stem for path in (make_gallery.FOLDER / "examples").glob("*")} == stems - {"all"}
    assert sum(path.stat().st_size for path in make_gallery.FOLDER.glob("**/*") if path.is_file()) < MOST_BYTES
    kinds = {element.tag.removeprefix(SVG) for stem in stems for element in shown(stem).iter()}
    assert not kinds & {"script", "foreignObject", "a", "animate"}


def test_all_of_them_stand_side_by_side():
    written = [text for text, _ in texts(shown("all"))]
    assert [text for text in written if text in {row.name for row in ROWS}] == [row.name for row in ROWS]
    for ours, row in zip(maps(shown("all")), ROWS, strict=True):
        np.testing.assert_array_equal(ours, maps(shown(row.stem))[0])


def test_the_page_is_what_rows_and_examples_say():
    assert make_gallery.PAGE.read_text() == make_gallery.page(examples()), "docs/gallery.md is stale: python -m docs.make_gallery"


@EVERY
def test_the_page_has_a_section_for_each_row(row):
    section = re.search(rf"^### {row.name}\n(.*?)(?=^##|\Z)", make_gallery.PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    alt = re.search(rf"!\[(.*)\]\(gallery/{row.stem}\.svg\)", section)[1]
    assert alt.startswith(f"{row.name} ") and f"`--set {row.setting}`" in section and gallery_rows.use(row) in section
    example = examples()[row]
    said = "Right after" if example["output"] == example["target"] else "Wrong in"
    assert re.search(rf"^- {said}.* {example['updates']:,} updates; \d+ % of the other inputs are right$", section, re.MULTILINE)
    assert (make_gallery.PAGE.parent / f"api/{row.function.__module__}.md").exists()


def symbols(text: str) -> set[str]:
    """Letters that stand alone, with their hats and without their indices: words are none."""
    plain = re.sub(r"_(\{[^}]*\}|[^\W_]+(,[^\W_](-1)?)?)", "", text)
    alone = re.findall(r"(?<![^\W_])([^\W\d_]\u0302?)(?![^\W_]|\u0302)", plain)
    return {symbol for symbol in alone if symbol[0].isalpha()} - {"a"}  # an article


@EVERY
def test_the_legend_has_every_symbol(row):
    known = {symbol for key in gallery_legend.LEGEND for symbol in symbols(key)} | {"a"}
    lines = [line for line in gallery_rows.equation(row).lines if not line.startswith(" ")]
    assert not (lacks := set().union(*map(symbols, lines)) - known), f"docs/gallery_legend.py does not say what {lacks} are"


def test_the_legend_stands_on_the_page_once():
    text = make_gallery.PAGE.read_text()
    assert all(text.count(f"| {symbol} | {said} |") == 1 for symbol, said in gallery_legend.LEGEND.items())
    assert text.index("## Symbols") < text.index("### none")
    assert symbols("e_ij = v · tanh(W q_i + U h_j)") == {"e", "v", "W", "q", "U", "h"}
    assert symbols("σ\u0302_ik + p_i,j-1") == {"σ\u0302", "p"}


@EVERY
def test_credits_are_whole(row):
    """Papers have links, those that an equation names are listed, and what is not as published is said."""
    said = gallery_rows.credits(row)
    papers = [gallery_rows.paper(key) for key in papers_of(row.function)]
    assert all(re.fullmatch(r".* \d{4}, \[.*\]\(https://.*\)", paper) for paper in papers) and all(paper in said for paper in papers)
    sources = " ".join(gallery_rows.equation(row).sources)
    for name in re.findall(r"([A-Z]\w+)(?: \([A-Z].*?\))? (?:19|20)\d\d", sources):
        assert name in " ".join(papers) + gallery_rows.no_paper(row), f"{row.setting}: {name} is named, and not listed"
    assert ".." not in said and gallery_rows.unlike(row).removesuffix(".") in said


def test_names_are_headings_of_their_own():
    """Links of the contents lead to them."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_every_table_of_mechanisms_is_shown():
    names = [*attention.TABLE, *(name for table in attention.AXES.values() for name in table), *attention.NUMBERS]
    assert sorted(names) == sorted(row.name for row in ROWS)


def test_a_row_that_is_added_appears_and_says_what_it_lacks(monkeypatch):
    def mine(config, sizes):
        """Makes a score."""
        return scores.additive(config, sizes)

    monkeypatch.setitem(attention.SCORES, "mine", mine)
    row = next(row for row in gallery_rows.groups()["Scores"] if row.name == "mine")
    assert not make_gallery.is_kept(row)
    equation, paper, use = gallery_rows.missing(row)
    assert f"model.attention=mine has no equation: the first docstring of {__name__} needs an indented line" in equation
    assert f'has no paper: {__name__}.mine needs @cites("key of papers.bib")' in paper
    assert f'the docstring of {__name__}.mine needs a paragraph that begins with "Use it "' in use
    mine.__doc__ = "Makes a score.\n\nUse it never: it is\nadditive.\n\nNo paper: it is a test's."
    table = "Tests.\n\n    mine    e_ij = 1    for all    A. Body 2019, eq. 1\n            f = 2\n\nMore."
    monkeypatch.setattr(sys.modules[__name__], "__doc__", table)
    assert not gallery_rows.missing(row) and gallery_rows.use(row) == "Use it never: it is additive."
    assert gallery_rows.equation(row) == (("e_ij = 1", "    for all", "f = 2"), ("A. Body 2019, eq. 1",))
    (unknown,) = gallery_rows.missing(row._replace(function=cites("nobody1999")(mine)))
    assert unknown == "model.attention=mine has no such entry of papers.bib: nobody1999"


def test_a_row_that_lacks_something_ends_the_command_with_a_line(monkeypatch, capsys):
    monkeypatch.setitem(attention.WINDOWS, "mine", lambda config, sizes: None)
    with pytest.raises(SystemExit) as stopped:
        make_gallery.main([])
    assert stopped.value.code == 1 and "error: model.window=mine has no equation" in capsys.readouterr().err


def test_a_kept_example_is_not_trained_again(monkeypatch, tmp_path):
    row, trained = ROWS[2], []
    example = examples()[row]
    monkeypatch.setattr(make_gallery, "FOLDER", tmp_path)
    monkeypatch.setattr(make_gallery, "train", lambda row: trained.append(row) or example)
    assert make_gallery.kept(row, again=False) and not make_gallery.kept(row, again=False) and make_gallery.kept(row, again=True)
    assert len(trained) == 2 and results.read_json(make_gallery.path(row)) == example
    for other in ({"settings": ["model.hidden_size=4"]}, {"exact_match": 0.5}):
        results.write_json(make_gallery.path(row), example | other)
        assert make_gallery.kept(row, again=False), "of other settings, or stopped too early"


def test_rows_are_trained_alike():
    """They differ in their own setting and, where a row takes no additive scores, in the score."""
    base = leaves(make_gallery.config(ROWS[2], 400))
    for row in ROWS:
        made = leaves(make_gallery.config(row, 400))
        differ = {path for path in base if base[path] != made[path]} - {"run"}
        assert differ <= {f"model.{row.axis}", "model.attention"}
        assert str(made[f"model.{row.axis}"]) == row.value
    assert make_gallery.config(Row("normaliser", "exponential", print), 400).model.attention == "gaussian"
    with pytest.raises(ConfigError, match=r"slots=4 leaves segments|heads=3 does not divide"):
        make_gallery.config(Row("heads", "3", print), 400)


def test_a_row_trains_until_it_is_right(monkeypatch):
    tried = []

    def trained_by(made):
        tried.append(made.training.updates)
        return {"updates": tried[-1], "exact_match": 0.1 * len(tried) + 0.75}

    monkeypatch.setattr(make_gallery, "trained_by", trained_by)
    assert make_gallery.train(ROWS[0])["updates"] == make_gallery.BUDGETS[1] == tried[-1]
    monkeypatch.setattr(make_gallery, "LEARNED", 2.0)
    assert make_gallery.train(ROWS[0])["updates"] == make_gallery.BUDGETS[-1]
