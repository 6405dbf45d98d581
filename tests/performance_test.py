"""README, docs/performance.md and its appendix say what the rows in docs/performance say; targets met, and those that are not."""

import json
import re

import pytest

from attention_jax.system.errors import DataError
from benchmarks import apart, flops, goals, page, rows
from benchmarks.goals import Found
from benchmarks.rows import Target
from tests.compare_test import PEAK, row

RATIO, SHARE = Target("ratio", "≥", 2.5), Target("share_of_peak", "≥", 0.45)


def found(*made: dict, **elsewhere: dict) -> Found:
    """Rows of this run, and one of each run elsewhere."""
    return Found({goals.stored.key(one): one for one in made}, {whence: {goals.stored.key(one): one} for whence, one in elsewhere.items()})


@pytest.fixture(scope="module")
def on_file() -> Found:
    """What the pages are made of."""
    return goals.read(page.FOLDER)


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_every_block_is_what_the_rows_say(path, on_file):
    text = path.read_text()
    assert page.MARK.search(text), "no block"
    assert page.page(text, on_file) == text, f"{path.name} is stale: python -m benchmarks.page"


def test_every_block_is_on_a_page():
    assert {mark[1] for path in page.PAGES for mark in page.MARK.findall(path.read_text())} == set(page.BLOCKS)


def test_pictures_of_the_pages_exist():
    pictures = [path.parent / place for path in page.PAGES for place in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text())]
    assert {"scaling.svg", "roofline.svg"} <= {picture.name for picture in pictures} and all(picture.exists() for picture in pictures)


def test_pages_are_short_and_the_appendix_is_found():
    for path in page.PAGES:
        assert len(path.read_text().splitlines()) <= 400, path.name
    assert "(performance/appendix.md)" in (page.DOCS / "performance.md").read_text()


def test_the_page_has_the_peer_s_share_beside_ours():
    """Ours has half of the peak; the peer takes twice as long."""
    assert rows.peer_share(row()) == pytest.approx(0.25)
    assert page.shares(row()) == "50%, 25%, 2.00 ×"
    assert page.shares(row(peak=0.0)) == "–, –, 2.00 ×" and page.shares(None) == "–"


def test_goals_are_judged_and_span_runs_and_machines():
    here = row(targets=(RATIO, SHARE))
    table = goals.goals(found(here, slow=row(ours=4.0, theirs=16.0) | {"peak_flop_per_s": PEAK}))
    ratio, share = table.splitlines()[2:]
    assert ratio == "| training, step | H=64 | ≥ 2.5 × them | 2.00 × | 2.00 to 4.00 | **missed** |"
    assert share == "| training, step | H=64 | ≥ 45% of peak | 50% | 12% to 50% | met |"


def test_what_was_told_without_a_share_leaves_the_span_as_it_is():
    told = row(theirs=3.0) | {"share_of_peak": None}
    share = goals.goals(found(row(targets=(SHARE,)), told=told)).splitlines()[-1]
    assert "| 50% | 50% | met |" in share


def test_missed_goals_are_named_and_counted():
    other = row(targets=(RATIO, SHARE)) | {"name": "seeds"}
    text = goals.missed(found(row(targets=(RATIO,)), row(what="met", targets=(SHARE,)), row(what="no goal"), other))
    assert text == "2 of all 4 goals are met. Missed beside those of the table:\n\n- seeds, step, H=64: 2.00 ×, goal ≥ 2.5 × them\n"
    assert goals.missed(found(row(targets=(RATIO, SHARE)))) == "1 of all 2 goals are met.\n"


def test_a_goal_of_what_was_not_measured_is_missed():
    told = goals.goals(found(row(peak=0.0, targets=(SHARE,)))).splitlines()[-1]
    assert told == "| training, step | H=64 | ≥ 45% of peak | not measured | – | **missed** |"


def test_the_goals_are_the_ones_that_were_set():
    """Shares of the peak for steps, ratios for decoding, and PyTorch's LSTM with its memory kept."""
    from benchmarks import decoding, layer, training

    shares = [next(t.bound for t in training.TARGETS[size] if t.quantity == "share_of_peak") for size in training.SIZES]
    assert shares == [0.75, 0.45, 0.55]
    assert {method: target.bound for method, target in decoding.TARGETS.items()} == {"greedy": 3.5, "beam": 4.0}
    assert layer.TARGETS[layer.TORCH + apart.KEPT] == (Target("ratio", "≥", 1.0),)


def test_operations_of_a_search_by_hand():
    """Of one hypothesis they are those of a forward pass; of K, K decoders and one encoder."""
    sizes = {"V": 9, "E": 3, "H": 4, "S": 5, "T": 6}
    forward, longer = flops.encoder_decoder(B=2, **sizes), flops.encoder_decoder(B=2, **(sizes | {"T": 12}))
    assert flops.decoding(N=2, K=1, **sizes) == forward
    assert flops.decoding(N=2, K=3, **sizes) == forward + 2 * (longer - forward)


def test_a_block_is_replaced_and_nothing_else():
    before = "# A\n<!-- performance: missed -->\nold\n<!-- end -->\nend <!-- results: x y -->\n<!-- end -->"
    after = page.page(before, found(row()))
    assert after == before.replace("old", "0 of all 0 goals are met.")
    with pytest.raises(KeyError):
        page.page(before.replace("missed", "nothing"), found(row()))


def test_rows_of_two_runs_and_damaged_rows_make_no_page(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row()) + "\n" + json.dumps(row()))
    with pytest.raises(DataError, match="more than one run: measure them --anew"):
        goals.read(tmp_path)
    file.write_text(json.dumps(row()))
    (tmp_path / "machines").mkdir()
    for content in ("{", "[]", json.dumps(row())):
        (tmp_path / "machines" / "one.jsonl").write_text(content)
        with pytest.raises(DataError, match=r"one\.jsonl, line 1 is no row"):
            goals.read(tmp_path)


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Two pages of one block each, in a folder without rows."""
    texts = {"one.md": "<!-- performance: missed -->\n<!-- end -->", "two.md": "<!-- performance: fast -->\n<!-- end -->"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    monkeypatch.setattr(page, "PAGES", [tmp_path / name for name in texts])
    return page.PAGES


def test_the_command_writes_all_pages(tmp_path, pages, on_file):
    not_drawn = [one for one in on_file.rows.values() if one["name"] not in ("scaling", "roofline")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, not_drawn)))
    assert page.main([]) == 0
    assert "goals are met" in pages[0].read_text() and "| training step, V=8000" in pages[1].read_text()


def test_a_row_that_a_page_shows_and_that_lacks_leaves_all_pages_as_they_are(tmp_path, pages, capsys):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row()))
    before = [path.read_text() for path in pages]
    assert page.main([]) == 1 and [path.read_text() for path in pages] == before
    said = capsys.readouterr().err
    assert said.startswith("error: the rows lack what a page shows: ('training', 'step'") and len(said.splitlines()) == 1
    assert page.main(["runs/benchmarks.jsonl"]) == 2
