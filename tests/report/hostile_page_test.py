"""Malicious text in every field of a report and of an alignment page, looked at as a browser does: it stays text."""

import base64
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from attention_jax.report import figures, report
from attention_jax.report.figures import curves, looks
from attention_jax.report.tables import Table
from attention_jax.system.errors import ILLEGIBLE, legible
from attention_jax.trained import Decoded

NASTY = {
    "script": "</script><script>alert(1)</script>",
    "style": "</style></title></pre></textarea><style>*{background:url(http://evil.example)}</style>",
    "attribute": "\" onload=alert(1) x=\"' onerror='alert(2)` onclick=`",
    "picture": "<img src=http://evil.example/a.png onerror=alert(1)><svg/onload=alert(1)>",
    "link": '<a href="javascript:alert(1)">x</a><base href=//evil.example><meta http-equiv=refresh content="0;url=http://evil.example">',
    "data section": "]]><![CDATA[<b>]]><!--x--><?php x ?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>&a;",
    "entities": "&lt;script&gt;&#60;script&#62;&amp;&NotAnEntity;&#0;",
    "template": "{{ 7*7 }}{% for x in y %}{{ config.__class__.__mro__ }}",
    "mathematics": "$\\frac$ $x_1 \\$ ${{}",
    "control": "a\0b\x1b[31mc\x08\x0c\x7f\x85\r",
    "direction": "abc\u202egnp.exe\u2066\u2069",
    "half a pair": "\ud83d and \udcff, \ufffe\uffff",
    "scripts": "مرحبا עברית नमस्ते ไทย 中文 👩‍👩‍👧 e\u0301\u2028\u2029",
}
TESTED = pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)

TAGS = "html head meta title style body main h1 h2 section strong p figure div img figcaption table thead tbody tr th td pre".split()
ATTRIBUTES = set("lang charset name content http-equiv class src alt scope tabindex role aria-label".split())


class Page(HTMLParser):
    """What a page consists of; refuses elements and attributes that no page of ours has."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.said, self.images, self.alternatives = [], [""], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        self.tags.append((tag, sorted(name for name, _ in attrs)))
        self.said.append("")
        for name, value in attrs:
            assert name in ATTRIBUTES, name
            if name == "src":
                assert value.startswith("data:image/svg+xml;base64,")
                self.images.append(base64.b64decode(value.partition(",")[2], validate=True).decode())
            if name == "alt":
                self.alternatives.append(value)
            if name == "http-equiv":
                assert value == "Content-Security-Policy" and dict(attrs)["content"].startswith("default-src 'none'; img-src data:;")

    def handle_endtag(self, tag):
        self.said.append("")

    def handle_data(self, data):
        self.said[-1] += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_pi = unknown_decl = handle_comment


def check_picture(svg: str, *texts: str) -> None:
    """Well-formed, nothing that runs or loads, and the texts are text."""
    root = ElementTree.fromstring(svg)
    for node in root.iter():
        assert node.tag.rpartition("}")[2] in set("svg defs style g path text tspan use clipPath rect image title".split()), node.tag
        for name, value in node.attrib.items():
            name = name.rpartition("}")[2]
            assert not name.startswith("on"), name
            assert name != "href" or value.startswith(("#", "data:image/png;base64,")), value
    said = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in texts:
        assert any(text == part for part in said), (text, said)


def hostile(text: str) -> report.Report:
    """`text` in every field that a report has."""
    drawn = {text: {1: (0.5, 0.4, 0.6), 2: (0.3, 0.2, 0.4)}}
    figure = curves.length_curves(
        drawn, title=text, ylabel=text, xlabel=text, trained=(1, 1), faint=drawn, faint_label=text, line_label=text
    )
    return report.Report(
        title=text,
        claim=text,
        verdict=text,
        reason=text,
        budget=text,
        command=text,
        tables=(Table(text, (text, text), ((text, text), (text, text))),),
        pictures=(report.Picture(text, figures.svg_text(figure)),),
        config={text: text, "model": {text: [text, {text: text}]}},
        environment={text: text},
    )


@cache
def honest() -> report.Report:
    return hostile("honest")


@cache
def honest_page() -> str:
    return report.render(honest())


@TESTED
def test_a_report_of_malicious_text_has_the_elements_of_an_honest_one(text):
    plain, page = Page(honest_page()), Page(report.render(hostile(text)))
    assert page.tags == plain.tags
    shown = legible(text)
    found = [part for part in page.said if part == shown]
    assert len(found) == sum(part == "honest" for part in plain.said) == 17 and page.alternatives == [shown]
    assert not any(ILLEGIBLE.search(part) for part in (*page.said, *page.images))
    check_picture(page.images[0], shown)


@TESTED
def test_svg_that_runs_scripts_is_shown_as_an_image(text):
    evil = f"<svg onload='alert(1)'><script>{text}</script><foreignObject/></svg>"
    rendered = report.render(replace(honest(), pictures=(report.Picture("a", evil),)))
    page = Page(rendered)
    assert page.tags == Page(honest_page()).tags
    assert page.images == [evil.encode("utf-8", "replace").decode()]
    assert "foreignObject" not in rendered and "alert" not in rendered


@TESTED
@pytest.mark.parametrize("spatial", [False, True])
def test_pictures_of_malicious_tokens(tmp_path, text, spatial):
    outputs = {text: [[Decoded(text, [text, "b", "c", "d"], [text, "b", "c", "d"], np.eye(4))]]}
    for kind in (".png", ".svg"):
        report.write_alignments([text], outputs, tmp_path / f"page{kind}", text, spatial)
    svg = (tmp_path / "page.svg").read_text(encoding="utf-8")
    check_picture(svg, "b")
    assert not ILLEGIBLE.search(svg)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@TESTED
def test_files_of_figures_are_well_formed(tmp_path, text):
    panels = [looks.Panel(text, np.eye(2), [text, "a"], [text, "b"]), looks.Panel(text, None, [text], [text])]
    field = looks.overlay(np.array([[text, "b"], ["c", "d"]]), np.ones((1, 2, 2)), [text], text)
    for figure in (looks.alignments(panels, text), field):
        png, svg = figures.save(figure, tmp_path / "figure")
        check_picture(svg.read_text(encoding="utf-8"))
        assert png.stat().st_size


@pytest.mark.parametrize("text", ["$\\frac$", "$x_1$", "$$", "$\\notacommand{$", "a $ b", "\\$5", "$\\mathrm{a}^{b^{c}}$"])
def test_mathematics_is_not_interpreted(text):
    figure = looks.alignments([looks.Panel(text, np.eye(2), [text, "a"], ["b", text])], text)
    check_picture(figures.svg_text(figure), text, "a", "b")
    drawn = {text: {1: (0.5, 0.4, 0.6)}}
    figure = curves.length_curves(drawn, title=text, ylabel=text, xlabel=text, faint=drawn, faint_label=text, line_label=text)
    check_picture(figures.svg_text(figure), text)


def test_legible_text_stays_as_it_is():
    for text in ("größer 中文\n\ttab", "👩‍👩‍👧", "مرحبا\u200f", "a\u00a0b\u00adc"):
        assert legible(text) == text
    assert legible("a\0b\u202ec\ud800") == "a�b�c�"
    assert not re.search(ILLEGIBLE, legible("".join(map(chr, range(0x11000)))))
