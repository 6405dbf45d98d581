"""The page is parsed as a browser would: what it loads, what it runs, what it says."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from attention_jax.report import explorer, figures, report
from attention_jax.report.figures import looks
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.trained import Decoded

EVIL = "\"><script>alert('x')</script><img src=http://evil.example onerror=alert(1)>&amp;{{ 7*7 }}"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Elements with attributes, text by element, and a check that everything opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def said(self, tag):
        return [data for where, data in self.text if where == tag]

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def fake(text="plain", svg=None):
    svg = svg or figures.svg_text(looks.alignment(None, "abc", "ab", "summary"))
    return report.Report(
        title=text,
        claim=text,
        verdict=text,
        reason=text,
        budget=text,
        command=text,
        tables=(report.Table(text, ("arm", text), ((text, "1.0"), ("additive", text))),),
        pictures=(report.Picture(text, svg),),
        config={text: [text, {"deep": text}]},
        environment={text: text, "device_count": 1},
    )


def test_says_everything():
    page = Page(report.render(fake("größer 中文")))
    for tag in ("title", "h1", "strong", "figcaption", "h2", "th", "td"):
        assert "größer 中文" in page.said(tag)
    assert page.said("p").count("größer 中文") == 3  # claim, reason, budget
    command, config = page.said("pre")
    assert command == "größer 中文" and json.loads(config) == fake("größer 中文").config
    assert "1.0" in page.said("td") and "1" in page.said("td") and "additive" in page.said("th")


def test_data_is_never_markup():
    honest, page = Page(report.render(fake())), Page(report.render(fake(EVIL)))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in honest.elements]
    assert [set(attributes) for _, attributes in page.elements] == [set(attributes) for _, attributes in honest.elements]
    assert page.said("h1") == [EVIL] and page.attributes("img")[0]["alt"] == EVIL
    assert json.loads(page.said("pre")[1]) == fake(EVIL).config


def test_evil_svg_stays_an_image():
    text = report.render(fake(svg="<svg><script>alert(1)</script></svg>"))
    assert "<script" not in text and "script-src" not in text
    assert [set(attributes) for attributes in Page(text).attributes("img")] == [{"src", "alt", "class"}]


def test_loads_nothing_and_runs_nothing():
    text = report.render(fake())
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcset")]
        assert all(attributes[name].startswith("data:image/svg+xml;base64,") for name in ("src", "href") if name in attributes)
    (style,) = page.said("style")
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style and "@media print" in style
    assert "default-src 'none'" in page.attributes("meta")[2]["content"]


def test_pictures_are_inside_the_empty_panel_too():
    (image,) = Page(report.render(fake())).attributes("img")
    svg = base64.b64decode(image["src"].partition("base64,")[2]).decode()
    assert svg.startswith("<svg") and "no alignment:" in svg and "one fixed vector" in svg


def test_same_report_same_bytes(tmp_path):
    first, second = tmp_path / "one.html", tmp_path / "deep" / "two.html"
    assert report.write(fake(), first) == first and report.write(fake(), str(second)) == second
    assert first.read_bytes() == second.read_bytes() == report.render(fake()).encode()
    report.write(replace(fake(), verdict="inconclusive"), first)
    assert first.read_bytes() != second.read_bytes()
    with pytest.raises(RunError, match="cannot write"):
        report.write(fake(), first / "page.html")


def test_text_that_is_no_unicode_is_written_nevertheless(tmp_path):
    path = report.write(fake("file-\udcff.txt"), tmp_path / "report.html")
    assert "file-�.txt" in path.read_text()


def test_a_claim_is_paragraphs_lists_and_code():
    """As a docstring has them; nothing that a text holds becomes an element of the page."""
    text = sweep.reflowed(
        """Claim. A <b>vector</b> of `d` numbers,
        and more.

        Verdict, by `verdicts.verdict`.
          bottleneck        up to `k` U,
                            and <i>more</i>
          inconclusive      else""".replace("\n        ", "\n")
    )
    page = report.render(replace(fake(), claim=text, reason="one ` alone, `two`, `no name`"))
    assert "<p>Claim. A &lt;b&gt;vector&lt;/b&gt; of <code>d</code> numbers, and more.</p>" in page
    assert "<p>Verdict, by <code>verdicts.verdict</code>.</p>" in page
    assert "<li><strong>bottleneck</strong> up to <code>k</code> U, and &lt;i&gt;more&lt;/i&gt;</li>" in page
    assert "<li><strong>inconclusive</strong> else</li>" in page and page.count("<li>") == 2
    assert "<p>one ` alone, <code>two</code>, `no name`</p>" in page


def test_a_cell_of_a_table_is_one_line_of_printable_text():
    table = report.text_table(("run", "note"), [("a", "b\n0  c  finished\x1b[2J")])
    assert table.splitlines()[2] == r"a    b\n0  c  finished\x1b[2J" and len(table.splitlines()) == 3


def test_without_tables_and_pictures():
    page = Page(report.render(replace(fake(), tables=(), pictures=(), environment={})))
    assert page.attributes("img") == [] and "plain" in page.said("h1")


def test_text_table_is_aligned():
    table = report.text_table(("arm", "L50", "size"), [("none", "7.0 [6, 8]", "64"), ("additive", "> 32", "128")])
    assert table.splitlines() == [
        "arm              L50  size",
        "────────  ──────────  ────",
        "none      7.0 [6, 8]    64",
        "additive        > 32   128",
    ]
    assert report.text_table(("arm", ""), []).splitlines()[0] == "arm"
    with pytest.raises(ValueError, match="shorter"):
        report.text_table(("arm", "L50"), [("none",)])


OUTPUTS = [
    Decoded("3 1", ["3", "1", "⏎"], ["3", "1", "⏎"], np.eye(3), -0.25),
    Decoded(EVIL, ["▁größer", "<b>"], ["a"], np.zeros((1, 2))),
    Decoded("", ["3", "⏎"], [], np.zeros((0, 2))),
]
EMPTY = Decoded("", [], [], np.zeros((0, 0)))


def drawn(path) -> list[str]:
    """What is written in a picture."""
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_alignments_are_a_page_or_a_picture(tmp_path):
    lines, outputs = ["3  1", "", EVIL, "3"], [OUTPUTS[:1], [EMPTY], OUTPUTS[1:], [EMPTY]]
    report.write_alignments(lines, {"additive": outputs}, tmp_path / "out.html", EVIL)
    page = Page((tmp_path / "out.html").read_text())
    assert page.said("h1") == [EVIL] and page.attributes("img") == []
    found = json.loads(next(text for text in page.said("div") if text.startswith("{")))
    assert [facet["name"] for facet in found["facets"]] == ["line", "rank"]
    assert [value.split(":")[0] for value in found["facets"][0]["values"]] == ["1", "3"] and len(found["views"]) == 3
    report.write_alignments(lines, {"additive": outputs}, tmp_path / "out.svg", EVIL)
    texts = drawn(tmp_path / "out.svg")
    assert {"1", "3.1", "3.2", "▁größer", "<b>"} <= set(texts) and sum("no alignment:" in text for text in texts) == 2


def test_alignments_picture_holds_all_or_says_how_many_it_can(tmp_path):
    report.write_alignments(["x"], {"run": [OUTPUTS]}, tmp_path / "out.png", "run")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    with pytest.raises(ConfigError, match=r"13 outputs do not fit; give 12 or fewer, or a \.html"):
        report.write_alignments(["x"] * 13, {"run": [OUTPUTS[:1]] * 13}, tmp_path / "many.png", "run")
    with pytest.raises(ConfigError, match=r"5001 outputs do not fit; give 5000 or fewer$"):
        report.check_alignments("many.html", 5001)
    with pytest.raises(ConfigError, match=r"--alignments=x\.pdf must end in \.html, \.png, \.svg, \.gif$"):
        report.check_alignments("x.pdf", 1)
    with pytest.raises(ConfigError, match=r"x\.svg shows one run; give a \.html for 2 side by side"):
        report.check_alignments("x.svg", 1, runs=2)
    with pytest.raises(DataError, match="every input line is empty"):
        report.write_alignments([""], {"run": [[EMPTY]]}, tmp_path / "none.html", "run")


FIELD = Decoded("1", list("223212222"), ["3", "1", "⏎"], np.eye(9)[[2, 4, 0]])
WITH_EOS = Decoded("1", [*"2212", "⏎"], ["1"], np.array([[0.0, 0.25, 0.5, 0.0, 0.25]]))
BLIND = Decoded("", list("2122"), ["1"], np.zeros((1, 4)))


def test_alignments_of_a_field_are_drawn_over_it(tmp_path):
    for name, output, said in (("field", FIELD, "3  1.00"), ("ends", WITH_EOS, "1  0.50"), ("blind", BLIND, "no alignment:")):
        report.write_alignments(["x"], {"run": [[output]]}, tmp_path / f"{name}.svg", "run", spatial=True)
        texts = drawn(tmp_path / f"{name}.svg")
        assert "input" in texts and any(text.startswith(said) for text in texts)
    report.write_alignments(["x"], {"run": [[FIELD]]}, tmp_path / "out.png", "run", spatial=True)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"2 outputs do not fit; give 1 or fewer, or a \.html"):
        report.write_alignments(["x"], {"run": [[FIELD, BLIND]]}, tmp_path / "many.png", "run", spatial=True)
    with pytest.raises(DataError, match="1: 3 input symbols fill no square field"):
        report.write_alignments(["x"], {"run": [[FIELD._replace(source_tokens=list("123"))]]}, tmp_path / "out.png", "run", spatial=True)
    both = report.explored(["x", "y"], {"run": [[FIELD], [WITH_EOS]]}, spatial=True)  # an EOS behind the field is no place of it
    assert both.spatial and [explorer.columns(view.example) for view in both.views] == [3, 2]


def test_overlays_are_pictures_for_the_report():
    panels = [looks.Panel(name, weights, list("2122"), ["1"]) for name, weights in (("additive", [[0.0, 0.9, 0.1, 0.0]]), ("none", None))]
    pictures = report.overlays(panels)
    assert [picture.caption.partition(":")[0] for picture in pictures] == ["additive", "none"]
    assert ">1  0.90<" in pictures[0].svg and "no alignment:" in pictures[1].svg
    assert len(Page(report.render(replace(fake(), pictures=pictures))).attributes("img")) == 2
