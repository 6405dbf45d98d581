"""The page that shows examples step by step, in a browser: by keyboard, pointer and screen reader, on a phone, printed, with evil text."""

import base64
import math
from pathlib import Path

import numpy as np
import pytest

from attention_jax.report import figures, report, training
from attention_jax.report.figures import described, ladders, looks
from attention_jax.report.figures.ladders import Curve
from attention_jax.report.tables import Table
from attention_jax.system.errors import legible
from tests.report import chromium, explored

pytestmark = pytest.mark.long

WORDS = "the cat sat on a mat while dogs were barking".split()
pytestmark = [pytest.mark.once, pytest.mark.skipif(chromium.program() is None, reason="no Chromium is installed")]

TEXTS = """[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.unseen, svg')
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))"""
"""Elements that show text."""

CONTRASTS = """(() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  return TEXTS.map(e => { const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(behind(e))];
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 30)] });
})()""".replace("TEXTS", TEXTS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    report.write_alignments(*explored.runs(20, 9, WORDS), path, "a run")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """500 sentences, hostile ones among them."""
    path = tmp_path_factory.mktemp("page") / "large.html"
    report.write_alignments(*explored.runs(500, 40, [*WORDS, *explored.HOSTILE]), path, explored.HOSTILE[0])
    return path


def selected(browser: chromium.Browser, arm: int, side: str) -> list[int]:
    """Which tokens of a list are selected."""
    items = f"[...document.querySelectorAll('#arm{arm}-{side} > li')]"
    return browser.run(f"{items}.flatMap((item, i) => item.ariaSelected === 'true' ? [i] : [])")


def focused(browser: chromium.Browser) -> str:
    return browser.run("document.activeElement.id")


def test_by_keyboard_alone(browser, small):
    """From the top of the page, by the tab key, to every control, and what each does."""
    browser.open(small)
    stops = []
    while focused(browser) != "arm1-input":
        browser.press("Tab")
        stops.append(focused(browser))
        assert len(stops) < 40
    wanted = ["facet-0", "less-0", "more-0", "scale", "back", "step", "on", "play", "arm-0", "arm0-output", "arm0-input"]
    assert [stop for stop in stops if stop in wanted] == wanted
    assert selected(browser, 1, "input") == [0]
    browser.press("ArrowRight", "ArrowDown")
    assert selected(browser, 1, "input") == [2] and "Input 3" in browser.run("document.querySelectorAll('.facts')[1].textContent")
    browser.press("Tab", shift=True)
    assert focused(browser) == "arm1-output"
    browser.press("End")
    assert selected(browser, 1, "output") == [5] and selected(browser, 0, "output") == [5]
    browser.press("ArrowLeft")
    assert browser.run("document.getElementById('step').value") == "5"
    while focused(browser) != "step":
        browser.press("Tab", shift=True)
    browser.press("ArrowRight", "ArrowRight")
    assert browser.run("document.getElementById('step-text').textContent") == "7 of 7"
    assert selected(browser, 0, "output") == [6] and selected(browser, 1, "output") == [5], "an output that has ended stays at its end"
    while focused(browser) != "more-0":
        browser.press("Tab", shift=True)
    browser.press("Enter", " ")
    assert browser.run("document.getElementById('facet-0').selectedIndex") == 2
    browser.press("ArrowLeft")  # elsewhere than in a control of its own an arrow moves the step
    assert browser.run("document.getElementById('step').value") != "7"


def test_by_pointer(browser, small):
    """A token under the pointer is shown while it is there; a click stays."""
    browser.open(small)
    browser.point("#arm1-output-3")
    assert selected(browser, 1, "output") == [3] == selected(browser, 0, "output")
    browser.point("h1")
    assert selected(browser, 1, "output") == [0]
    browser.point("#arm1-output-3", click=True)
    browser.point("h1")
    assert selected(browser, 1, "output") == [3]
    browser.point("#arm1-input-2")
    assert selected(browser, 1, "input") == [2] == selected(browser, 0, "input")
    browser.point("#arms article:nth-child(2) canvas", share=3.5 / 6)
    assert selected(browser, 1, "output") == [3] and selected(browser, 1, "input") == [3]


def test_numbers_are_those_of_the_run(browser, tmp_path):
    lines, outputs = explored.runs(1, 9, WORDS)
    report.write_alignments(lines, outputs, tmp_path / "page.html", "a run")
    browser.open(tmp_path / "page.html", fragment="#p=0,1&f=0&t=2")
    ((found,),) = outputs["additive"]
    (summary,) = outputs["summary"][0]
    weights_S = [
        float(text) for text in browser.run("[...document.querySelectorAll('#arm1-input li')].map(e => e.ariaLabel.split(' weight ')[1])")
    ]
    assert weights_S == pytest.approx(found.weights_TxS[2].tolist(), abs=0.006)
    for arm, output in enumerate((summary, found)):
        shown = f"document.querySelectorAll('article')[{arm}]"
        assert f"Step 3 of {len(output.output_tokens)}" in browser.run(f"{shown}.querySelector('.facts').textContent").replace("\u2068", "")
        norm = float(browser.run(f"{shown}.querySelector('.norm output').textContent"))
        assert norm == pytest.approx(output.known.norm_T[2], rel=0.06)
        named = browser.run(f"[...{shown}.querySelectorAll('.likely bdi')].map(e => e.textContent)")
        assert named == output.known.likely[2]
        percent = browser.run(f"[...{shown}.querySelectorAll('.percent')].map(e => parseInt(e.textContent) || 0)")
        assert percent == pytest.approx((100 * output.known.probability_TxK[2]).tolist(), abs=1)
    assert browser.run("document.querySelector('article .entropy').hidden"), "a fixed vector has no entropy"
    entropy = -sum(w * math.log(w) for w in found.weights_TxS[2] if w > 0)
    said = browser.run("document.querySelectorAll('article')[1].querySelector('.entropy output').textContent")
    assert float(said.split()[0]) == pytest.approx(entropy, rel=0.06)


def test_hostile_text_is_text_and_nothing_is_loaded(browser, large):
    browser.asked.clear()
    browser.said.clear()
    browser.open(large, fragment="#p=0,1&f=7&t=2")
    assert browser.run("document.title") == legible(explored.HOSTILE[0]).strip()
    for line in (7, 8, 9, 100, 499):
        browser.run(f"(s => {{ s.selectedIndex = {line}; s.dispatchEvent(new Event('change')) }})(document.getElementById('facet-0'))")
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert browser.run("[document.images.length, document.scripts.length]") == [0, 1]
    tags = set(browser.run("[...new Set([...document.querySelectorAll('*')].map(e => e.localName))]"))
    ours = "html head meta title style body main h1 h2 h3 h4 section p strong noscript div label select option button input output article "
    ours += "ol li bdi span canvas details summary table thead tbody tr th td template script svg polyline line"
    assert tags <= set(ours.split())
    shown = browser.run("[...document.querySelectorAll('.tokens bdi')].map(e => e.textContent)")
    assert shown and not any(set(text) & set("\0\x1b\u202e\u2066") for text in shown) and max(map(len, shown)) <= 80
    assert set(browser.asked) == {large.resolve().as_uri()} and browser.said == []


def test_no_script_but_ours_can_run(browser, small):
    browser.open(small)
    assert browser.run("(() => { try { document.body.innerHTML = 'x' } catch (error) { return error.name } })()") == "TypeError"
    made = "const s = document.createElement('script'); try { s.text = 'window.ran = 1' } catch { return }"
    browser.run(f"(() => {{ {made}; document.body.append(s) }})()")
    assert browser.run("window.ran === undefined")
    assert browser.run("fetch('http://evil.example').then(() => 'loaded', () => 'refused')") == "refused"


def test_a_step_through_500_sentences_takes_less_than_50_ms(browser, large):
    """Of the page's own thread, so that other processes do not count."""
    assert large.stat().st_size < 10e6
    browser.open(large, fragment="#p=0,1&f=7&t=0")
    browser.call("Performance.enable", timeDomain="threadTicks")

    def spent() -> float:
        return next(each["value"] for each in browser.call("Performance.getMetrics")["metrics"] if each["name"] == "TaskDuration")

    steps, before = 30, spent()
    browser.run(f"""(async () => {{ const slider = document.getElementById('step');
        for (let i = 0; i < {steps}; i++) {{ slider.value = 1 + i % slider.max; slider.dispatchEvent(new Event('input'));
            await new Promise(requestAnimationFrame); }} }})()""")
    assert (spent() - before) / steps < 0.05
    browser.call("Performance.disable")


NAME = "summary-reverse-gru-h16-d8-u3200"


def test_a_menu_shows_a_long_name_whole_on_a_phone(browser, tmp_path):
    lines, outputs = explored.runs(20, 9, WORDS)
    report.write_alignments(lines, {f"{NAME}": outputs["summary"], f"{NAME}1": outputs["additive"]}, tmp_path / "page.html", "runs")
    browser.open(tmp_path / "page.html", 390, 844)
    room = """[...document.querySelectorAll('select')].filter(e => e.id !== 'facet-0').map(e => {
        const alone = e.cloneNode(true); alone.style.cssText = 'flex: none; max-width: none'; e.after(alone);
        const wanted = alone.offsetWidth; alone.remove(); return [e.id, e.offsetWidth - wanted]; })"""
    assert [name for name, left in browser.run(room) if left < 0] == []
    assert browser.run("document.documentElement.scrollWidth") <= 390


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """A report with figures, a wide one among them."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    rates = {0.01 * 2**k: [1.0 / (k + 1)] for k in range(5)}
    arms = ("summary", "additive", "dot", "general")
    wide = ladders.rate_curves([Curve(arm, 400, rates, 0.04) for arm in arms], "Rate curves, gru h16")
    looked = looks.alignment(np.eye(3), "abc", "abc", "additive")
    pictures = tuple(report.Picture(described.words(figure), figures.svg_text(figure)) for figure in (wide, looked))
    table = Table("Exact match", ["arm", *map(str, range(30))], [(arm, *["0.50 [0.40, 0.60]"] * 30) for arm in arms])
    said = ("Claim.\n\n  arms  `summary`, `additive`", "learned", "of `summary`", "with 2 seeds", "python " * 40)
    return report.write(report.Report("report", *said, (table,), pictures, config={"a": 1}, environment={"jax": "1"}), path)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_report_can_be_read_at_every_width(browser, told, width):
    """No text below 16 px, cells on a wide window aside; the page slides nowhere, and a figure slides before its letters shrink."""
    browser.open(told, width, 844)
    assert browser.run("document.documentElement.scrollWidth") <= width
    sizes = browser.run(f"{TEXTS}.map(e => [parseFloat(getComputedStyle(e).fontSize), e.closest('table') !== null])")
    assert min(size for size, is_cell in sizes if width < 1000 or not is_cell) >= 16 and min(sizes)[0] >= 14
    shares = browser.run("[...document.images].map(e => e.getBoundingClientRect().width / e.naturalWidth)")
    assert min(shares) >= (0.99 if width < 1000 else 0.89) and max(shares) <= 1.01
    slides = browser.run("[...document.querySelectorAll('.picture, .wide, pre')].map(e => [e.scrollWidth > e.clientWidth, e.tabIndex])")
    assert slides[0][0] and all(stop == 0 for _, stop in slides)


def test_a_screen_reader_hears_what_a_report_shows(browser, told):
    browser.open(told)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    stops = [node for node in nodes if any(each["name"] == "focusable" and each["value"]["value"] for each in node.get("properties", ()))]
    unnamed = [node["role"]["value"] for node in stops if not node.get("name", {}).get("value") and node["role"]["value"] != "RootWebArea"]
    assert len(stops) > 5 and unnamed == []
    assert {node["role"]["value"] for node in stops} <= {"group", "RootWebArea"}
    named = [node["name"]["value"] for node in nodes if node["role"]["value"] == "image"]
    assert named[0].startswith("Rate curves, gru h16. Panels summary; additive; dot; general: validation loss (nats per token) against")


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_and_can_be_read(browser, large, width):
    """Nothing is wider than the window, no text below 16 px on a phone, figures fit, contrast at least 4.5 : 1, light and dark."""
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(large, width, 844, "#p=0,1&f=7&t=2")
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert browser.run("document.documentElement.scrollWidth") <= width
        sizes = browser.run(f"{TEXTS}.map(e => parseFloat(getComputedStyle(e).fontSize))")
        assert len(sizes) > 100 and (min(sizes) >= 16 or width > 700)
        assert max(browser.run("[...document.querySelectorAll('canvas, article')].map(e => e.getBoundingClientRect().right)")) <= width
        low = [said for contrast, said in browser.run(CONTRASTS) if contrast < 4.5]
        assert low == []
    browser.call("Emulation.setEmulatedMedia", features=[])


def test_a_screen_reader_has_a_name_for_everything(browser, small):
    browser.open(small)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    controls = [(role, name) for role, name in found if role in ("button", "combobox", "slider", "listbox", "option", "image", "checkbox")]
    assert all(name.strip() for _, name in controls), controls
    assert {"button", "combobox", "slider", "listbox", "option"} <= {role for role, _ in controls}
    browser.press("Tab")
    browser.run("document.getElementById('on').click()")
    browser.run("new Promise(done => setTimeout(done, 500))")
    said = browser.run("document.getElementById('said').textContent")
    assert "Step 2 of" in said and "predicts" in said and said.count("summary.") == 1


def test_print_has_every_step(browser, small):
    browser.open(small, fragment="#p=0,1&f=0&t=1")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
    rows = browser.run("[...document.querySelectorAll('tbody')].map(body => body.rows.length)")
    assert rows == [7, 6]


def test_the_place_is_kept_in_the_address(browser, small):
    browser.open(small)
    browser.run("(s => { s.selectedIndex = 4; s.dispatchEvent(new Event('change')) })(document.getElementById('facet-0'))")
    browser.run("document.getElementById('on').click()")
    browser.run("new Promise(done => setTimeout(done, 500))")
    address = browser.run("location.hash")
    for broken in ("#p=9,-1&f=1e9,x&t=NaN&s=%00", "#p", "#p=0,0&f=99&t=1e99"):
        browser.open(small, fragment=broken)
        assert browser.run("document.querySelectorAll('#arm0-output li').length") > 0
    browser.open(small, fragment=address)
    assert browser.run("[document.getElementById('facet-0').selectedIndex, document.getElementById('step').value]") == [4, "2"]


def test_the_page_of_a_training_reads_itself_anew(browser, tmp_path, monkeypatch):
    """What was chosen stays; a checkbox ends it."""
    monkeypatch.setattr(report, "REFRESH", 0.2)
    path = tmp_path / "watch.html"

    def write(done: int) -> None:
        curves = [training.Curve("additive", "additive", 100, done, [0, 1], [(1, [2.0, 3.0]), (done, [1.0, 0.5])])]
        report.write_watched(curves, report.explored(*explored.runs(20, 9, WORDS)), path, "training")

    def reads(done: str) -> None:
        """Waits until the page says so."""
        while True:
            browser.events.discard("Page.loadEventFired")
            if done in (browser.run("document.querySelector('.legend')?.textContent") or ""):
                return
            browser.wait_for("Page.loadEventFired")

    def found(expression: str):
        """A value of a page that is there as a whole, and not just being read anew."""
        while (value := browser.run(f"document.readyState === 'complete' ? {expression} : null")) is None:
            pass
        return value

    browser.asked.clear()
    browser.said.clear()
    report.write_watched([training.Curve("additive", "additive", 100, 0, [0, 1], [], "0.01, 0.02")], None, path, "training")
    browser.open(path, 390)
    reads("Learning rates are tried first: 0.01, 0.02.")
    assert found("document.querySelectorAll('.plot').length") == 0, "no axes without a curve"
    write(10)
    reads("10 of 100 updates")
    browser.open(path, 390, fragment="#p=0,1&f=3&t=2")
    reads("10 of 100 updates")
    assert found("document.querySelectorAll('.plot polyline').length") == 2
    right = found("Math.max(...[...document.querySelectorAll('.plot text')].slice(0, 4).map(e => e.getBoundingClientRect().right))")
    assert right <= found("document.querySelector('.plot > svg').getBoundingClientRect().left"), "labels stand beside the curves"
    write(20)
    reads("20 of 100 updates")
    assert browser.run("[document.getElementById('facet-0').selectedIndex, document.getElementById('step').value]") == [3, "3"]
    write(100)
    reads("100 of 100 updates")
    assert browser.run("document.getElementById('refresh')") is None, "a training that has ended is read no more"
    assert browser.said == [] and set(browser.asked) == {path.resolve().as_uri()}
