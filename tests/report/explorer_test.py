"""What is in the page that shows examples step by step, read as a browser would; what it does there: explorer_browser_test.py."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from attention_jax.report import explorer, report
from attention_jax.report.explorer import Explorer, Facet, View
from attention_jax.report.training import Curve, plot
from attention_jax.running import examples
from attention_jax.system.errors import ILLEGIBLE, legible
from attention_jax.trained import Decoded
from tests.report import explored
from tests.report.hostile_page_test import NASTY
from tests.report.report_test import EVIL, Page, fake

TOKENS = ["a", "b", "c", "⏎"]


def page_of(tmp_path, lines, outputs, title="a run") -> Page:
    report.write_alignments(lines, outputs, tmp_path / "page.html", title)
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def data_of(page: Page) -> dict:
    (text,) = [data for where, data in page.text if where == "div" and data.startswith("{")]
    return json.loads(text)


def weights(found: dict, view: list) -> np.ndarray:
    return np.frombuffer(base64.b64decode(view[5]), np.uint8).reshape(len(view[3]), len(view[2])) * view[6] / 255


def test_data_say_what_the_run_said(tmp_path):
    lines, outputs = explored.runs(5, 9, TOKENS[:3])
    found = data_of(page_of(tmp_path, lines, outputs))
    assert found["panels"] == list(explored.ARMS) and found["shown"] == [0, 1]
    assert found["facets"][0]["values"] == [f"{i + 1}: {line}" for i, line in enumerate(lines)]
    assert len(found["views"]) == 10
    for view in found["views"]:
        panel, (line,), source, output, target, packed, peak, entropy, norm, likely, shares, note, image, columns = view
        ((said,),) = outputs[explored.ARMS[panel]][line : line + 1]
        assert [found["tokens"][i] for i in source] == said.source_tokens and [found["tokens"][i] for i in output] == said.output_tokens
        assert target is None and image is None and columns == 0 and note == f"score -1.5000: {said.text}"
        assert [found["tokens"][i] for i in likely] == [token for step in said.known.likely for token in step]
        np.testing.assert_allclose(norm, said.known.norm_T, rtol=1e-3)
        probability_N = np.frombuffer(base64.b64decode(shares), np.uint8) / 255
        np.testing.assert_allclose(probability_N, said.known.probability_TxK.ravel(), atol=0.002)
        if panel == 0:
            assert packed is None and entropy == []
        else:
            np.testing.assert_allclose(weights(found, view), said.weights_TxS, atol=0.002)
            np.testing.assert_allclose(entropy, -(said.weights_TxS * np.log(np.maximum(said.weights_TxS, 1e-30))).sum(1), atol=1e-3)


def test_the_policy_allows_this_one_script(tmp_path):
    page = page_of(tmp_path, *explored.runs(2, 5, TOKENS))
    (script,) = page.said("script")
    policy = next(attributes["content"] for attributes in page.attributes("meta") if "http-equiv" in attributes)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["script-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["require-trusted-types-for"] == "'script'"
    assert page.attributes("script") == [{}] and '"use strict";' in script


def test_places_of_an_image_lie_over_it(tmp_path):
    """Patches of 4 x 4 pixels, 2 rows of 5 of them."""
    image_YxX = np.random.default_rng(0).integers(0, 256, (8, 20), np.uint8)
    weights_TxS = np.random.default_rng(1).dirichlet(np.ones(10), 2)
    output = Decoded("3", list(map(str, range(10))), ["3", "⏎"], weights_TxS, -1.0, image_YxX)
    report.write_alignments(["0"], {"a run": [[output]]}, tmp_path / "page.html", "a run", spatial=True)
    found = data_of(Page((tmp_path / "page.html").read_text(encoding="utf-8")))
    *_, drawn, columns = found["views"][0]
    assert columns == 5
    np.testing.assert_array_equal(examples.pixels(base64.b64decode(drawn)), image_YxX)


def test_loads_nothing(tmp_path):
    page = page_of(tmp_path, *explored.runs(2, 5, TOKENS))
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "href", "srcset", "action")]


@pytest.mark.parametrize("text", [*NASTY.values(), *explored.HOSTILE], ids=[*NASTY, *map(str, range(len(explored.HOSTILE)))])
def test_data_are_never_markup(tmp_path, text):
    tokens = [text or "a", "b", "c"]
    honest = page_of(tmp_path, *explored.runs(3, 5, ["a", "b", "c"]))
    page = page_of(tmp_path, *explored.runs(3, 5, tokens), title=text)
    assert page.elements[3:] and [(tag, set(attributes)) for tag, attributes in page.elements] == [
        (tag, set(attributes)) for tag, attributes in honest.elements
    ]
    found = data_of(page)
    assert explorer.cut(text or "a") in found["tokens"]
    assert not ILLEGIBLE.search("".join(found["tokens"])) and max(map(len, found["tokens"])) <= explorer.LONGEST
    assert page.said("h1") == [legible(text)] or not text
    assert page.said("script") == honest.said("script")


def test_what_is_cut():
    assert explorer.cut("größer 中文") == "größer 中文"
    assert explorer.cut("x" * 500) == "x" * 79 + "…"
    assert explorer.cut("z" + "\u0301" * 200 + "a") == "z" + "\u0301" * 4 + "a"
    assert explorer.cut("नमस्ते ที่นี่ Tiếng Việt") == "नमस्ते ที่นี่ Tiếng Việt"


def test_a_page_holds_no_more_than_it_can(monkeypatch):
    example = examples.of((list("abcdefgh"), list("abcd"), None), np.full((4, 8), 0.125))
    whole = Explorer(["run"], [Facet("line", [str(i) for i in range(100)])], [View(0, (i,), example) for i in range(100)])
    assert explorer.left_out(whole, explorer.data(whole)) == 0
    monkeypatch.setattr(explorer, "MOST_BYTES", 5000)
    text = explorer.data(whole)
    left = explorer.left_out(whole, text)
    kept = [view[1][0] for view in json.loads(text)["views"]]
    assert 0 < left < 100 and kept == list(range(100 - left)), "the first are kept"
    page = Page(report.render(_with(whole)))
    assert any(f"{left} examples do not fit this page" in text for text in page.said("p"))


def _with(shown: Explorer):
    from dataclasses import replace

    return replace(fake(EVIL), explorer=shown)


def test_a_report_has_it_too():
    lines, outputs = explored.runs(3, 5, TOKENS)
    page = Page(report.render(_with(report.explored(lines, outputs))))
    assert data_of(page)["panels"] == list(explored.ARMS) and page.said("h1") == [EVIL]
    assert len(page.attributes("script")) == 1 and len(page.attributes("img")) == 1


@pytest.mark.long
def test_500_sentences_are_under_10_megabytes(tmp_path):
    report.write_alignments(*explored.runs(500, 40, explored.HOSTILE + TOKENS), tmp_path / "page.html", "a run")
    assert (tmp_path / "page.html").stat().st_size < 10e6


def test_losses_are_laid_out_by_their_logarithm():
    curves = [
        Curve("summary", "summary", 200, 100, [0, 1], [(50, [8.0, 4.0]), (100, [2.0, 1.0])]),
        Curve("additive", "additive", 200, 200, [0], [(200, [0.0])]),
    ]
    found = plot(curves)
    assert found.trains and [line.dash for line in found.lines] == ["", "7 4"]
    assert found.lines[0].paths == ["25.00,0.00 50.00,66.67", "25.00,33.33 50.00,100.00"]
    assert found.lines[1].paths == ["100.00,100.00"], "a loss of 0 is at the bottom"
    assert [tick.text for tick in found.losses] == ["1", "2", "4", "8"] and [tick.text for tick in found.updates] == ["0", "100", "200"]
    assert not plot([curves[1]]).trains and plot([]).lines == []


def test_the_page_of_a_training(tmp_path):
    lines, outputs = explored.runs(3, 5, TOKENS)
    curves = [Curve(EVIL, "additive", 20, 10, [0, 1], [(10, [1.0, 0.5])])]
    report.write_watched(curves, report.explored(lines, outputs), tmp_path / "watch.html", EVIL)
    page = Page((tmp_path / "watch.html").read_text())
    assert page.said("h1") == [EVIL] and len(page.attributes("polyline")) == 2 + 2  # two seeds; two lines of the template
    assert any(re.search(r"10 of 20 updates.*1 \(seed 0\), 0\.5 \(seed 1\)", text) for text in page.said("li"))
    assert {"id": "refresh", "type": "checkbox"}.items() <= next(
        each for each in page.attributes("input") if each["type"] == "checkbox"
    ).items()
