"""README, in both languages, and docs say what the rows in docs/results say."""

import importlib
import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from attention_jax.config import leaves
from attention_jax.report import findings
from attention_jax.running import results
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import DataError
from docs import first_figure

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
make_results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_results)


@pytest.fixture(scope="module")
def found():
    return make_results.folders()


@pytest.mark.long
def test_every_block_is_what_its_rows_say(found):
    blocks = 0
    for path in make_results.PAGES:
        text = path.read_text()
        assert make_results.page(text, found) == text, f"{path.name} is stale: make results"
        blocks += len(make_results.MARK.findall(text))
    assert blocks >= 4


@pytest.mark.long
def test_tables_and_figures_stand_beside_their_rows(found):
    assert found
    for name, each in found.items():
        folder = make_results.RESULTS / name
        assert (folder / "tables.md").read_text() == make_results.all_tables(each), f"{name}/tables.md is stale: make results"
        for stem in make_results._claim(each).figures(each.all_rows):
            assert (folder / f"{stem}.svg").exists() and (folder / f"{stem}.png").exists()
        assert each.command.startswith("python -m experiments.run")
        assert all(stored["environment"]["jax"] for stored in each.stored.values())


def test_the_first_figure_shows_what_its_runs_wrote(found):
    each = found["bottleneck"]
    folder, groups = make_results.RESULTS / "bottleneck", make_results._groups(each)
    runs = [one.run for one in first_figure.drawn(groups)]
    assert runs == [f"summary-gru-h16-d{d}-u12800" for d in (4, 8, 16, 32)] + ["additive-gru-h16-d8-u400"]
    examples = [results.read_json(folder / "examples" / f"{run}.json") for run in runs]
    assert all(example["source"] == examples[0]["source"] for example in examples)
    picture = (folder / "first.svg").read_text()
    assert (folder / "first.png").exists()
    for example in examples:
        for symbol, count in Counter(example["output"]).items():
            assert picture.count(f">{symbol}</text>") >= count
    wrong = sum(ours != theirs for example in examples for ours, theirs in zip(example["output"], example["target"], strict=True))
    assert picture.count(f"fill: {first_figure.WRONG}") == wrong > 0


def test_examples_are_of_the_runs_whose_rows_are_kept(found):
    kept = [path.stem for path in (make_results.RESULTS / "bottleneck" / "examples").glob("*.json")]
    assert kept and set(kept) <= set(found["bottleneck"].stored)


def test_examples_are_taken_anew_all_or_none(tmp_path):
    kept, runs = tmp_path / "kept", tmp_path / "runs"
    for path in (kept / "examples" / "a.json", kept / "examples" / "b.json", runs / "a" / "example.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old" if path.is_relative_to(kept) else "new")
    with pytest.raises(DataError, match=r"b/example\.json is missing"):
        first_figure.take(runs, kept)
    assert (kept / "examples" / "a.json").read_text() == "old"
    (runs / "b").mkdir()
    (runs / "b" / "example.json").write_text("new")
    first_figure.take(runs, kept)
    assert [path.read_text() for path in (kept / "examples").iterdir()] == ["new", "new"]
    first_figure.take(runs, tmp_path)


@pytest.mark.long
def test_every_field_of_a_row_is_explained(found):
    page = (ROOT / "docs" / "running.md").read_text()
    for each in found.values():
        values = [leaves(config) for config in each.configs()]
        swept = {path.rpartition(".")[2] for path in values[0] if len({v[path] for v in values}) > 1}
        claim = importlib.import_module(f"experiments.{each.experiment}")
        swept |= {"attention", "task", "cell", "hidden_size", *getattr(claim, "GROUP", ())}
        swept |= {field.rpartition(".")[2] for field in getattr(claim, "FIELDS", ())}
        unexplained = {field for row in each.rows for field in row if f"`{field}`" not in page} - swept
        assert not unexplained


@pytest.mark.long
def test_a_block_is_replaced_and_nothing_else(found):
    name = next(iter(found))
    before = f"# A\n<!-- results: {name} Verdicts -->\nold\n<!-- end -->\nend"
    after = make_results.page(before, found)
    assert after.startswith(f"# A\n<!-- results: {name} Verdicts -->\n| group |") and after.endswith("|\n<!-- end -->\nend")
    assert make_results.page(after, found) == after
    with pytest.raises(KeyError):
        make_results.page(before.replace(name, "nothing"), found)
    with pytest.raises(KeyError, match="no table of the score begins with 'No such'"):
        make_results.page(before.replace("Verdicts", "No_such"), found)


@pytest.mark.long
def test_what_is_said_is_undecided_where_the_experiment_is(found):
    made = make_results.page("<!-- results: all claims -->\n<!-- end -->", found)
    lines = {name: [line.split(" | ") for line in made.splitlines() if line.endswith(f"(results/{name}/tables.md) |")] for name in found}
    for name, each in found.items():
        verdict = make_results._score(each).verdict.value
        words = [line[2] for line in lines[name]]
        assert set(words) <= {"holds", "does not hold", "undecided"}
        if verdict == "inconclusive":
            said = [finding.left_open for finding in make_results._claim(each).findings(each.all_rows, each.sentences)]
            assert all(word == "undecided" for word, own in zip(words, said, strict=True) if own != "")
    first, *_ = (line[2] for line in lines["bottleneck"])
    assert first == "holds"
    beyond = [line[2] for line in lines["bottleneck"] if "beyond the lengths of training" in line[0]]
    assert beyond[0] != "holds" and beyond[-1] == "holds" and len(beyond) == 4  # a line of each size, the smallest first


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("inconclusive", ["undecided", "holds", "undecided"]), ("bottleneck", ["holds", "holds", "undecided"])],
)
def test_a_finding_that_says_what_is_left_open_is_heard(verdict, words, monkeypatch):
    plain = findings.of_seeds("it is so", "a paper", "exact match", [1.0, 1.1, 0.9, 1.2])
    said = [plain, plain._replace(left_open=""), plain._replace(left_open="not learned")]
    monkeypatch.setattr(make_results, "_claim", lambda _: SimpleNamespace(findings=lambda rows, sentences: said))
    archive = SimpleNamespace(experiment="one", all_rows=[], sentences={})
    made = make_results.claims({"one": archive}, lambda _: SimpleNamespace(verdict=Verdict(verdict, "")))
    assert [line.split(" | ")[2] for line in made.splitlines() if "it is so" in line] == words


def test_commands_name_no_folder_of_a_machine(found):
    command = "python -m experiments.run --experiment=pronunciation --data_dir=/data/raw --cache_dir=/tmp/x --workdir=runs/real"
    assert make_results.anywhere(command) == "python -m experiments.run --experiment=pronunciation --workdir=runs/real"
    assert not [each.command for each in found.values() if re.search("=/|_dir=", each.command)]


def test_pictures_of_the_pages_exist():
    for path in make_results.PAGES:
        for place in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text()):
            assert (path.parent / place).exists(), f"{path.name}: {place}"
