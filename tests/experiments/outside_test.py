"""An experiment in a file of its own, as docs/using.md has it: through every flag, from its rows to its report."""

import json
import re
import sys
from pathlib import Path

import pytest

from attention_jax import attention, model, trained
from attention_jax.running import results, selection
from attention_jax.sweeps import claims
from attention_jax.system.errors import RunError
from experiments import run
from tests.experiments.command import call
from tests.experiments.run_test import SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.search(r'^```python title="distance.py"\n(.*?)^```', (ROOT / "docs" / "using.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """(the file, the workdir of its finished sweep, its flags); its rows are gone after these tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    file = folder / "distance.py"
    file.write_text(BLOCK[1])
    before = dict(attention.MECHANISMS)
    flags = [f"--experiment={file}", f"--workdir={folder}/runs", *(f"--set={setting}" for setting in SETTINGS if "updates" not in setting)]
    flags += ["--set=training.updates=3", "--arms=summary,distance"]
    assert call(*flags) == 0
    yield file, folder / "runs", flags
    attention.MECHANISMS.clear()
    attention.MECHANISMS.update(before)
    sys.modules.pop(f"{claims.PACKAGE}.distance", None)


@pytest.mark.long
def test_it_leaves_rows_and_a_report_under_its_own_name(sweep):
    _, workdir, _ = sweep
    folder = workdir / "distance"
    assert {path.name for path in workdir.iterdir()} == {"distance"}
    assert {row["attention"] for row in results.read(folder / "rows.jsonl")} == {"summary", "distance"}
    assert json.loads((folder / "sweep.json").read_text())["experiment"] == "distance"
    page = (folder / "report.html").read_text()
    assert "Do weights that fall with distance" in page and (folder / "exact_match.svg").exists()
    looked = [
        row["alignment_entropy"]
        for row in results.read(folder / "rows.jsonl")
        if row["attention"] == "distance" and row["mode"] == "forced"
    ]
    assert looked and all(entropy >= 0 for entropy in looked)


@pytest.mark.long
def test_it_is_listed_concluded_and_not_trained_again(sweep, capsys):
    _, workdir, flags = sweep
    assert call(*flags, "--status") == 0 and "2 runs: 2 finished" in capsys.readouterr().out
    assert call(*flags, "--list") == 0 and "distance/distance-u3" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("distance/*-u3/checkpoint")}
    assert call(*flags, "--conclude") == 0 and "Verdict:" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in workdir.glob("distance/*-u3/checkpoint")} == before


@pytest.mark.long
def test_its_results_are_made_anew_and_compared(sweep, tmp_path, refuses, capsys):
    file, workdir, _ = sweep
    assert "give its file, --experiment=path/to/distance.py" in refuses(f"--reproduce={workdir}/distance", f"--workdir={tmp_path}")
    assert call(f"--reproduce={workdir}/distance", f"--workdir={tmp_path}", f"--experiment={file}") == 0
    assert "same verdict" in capsys.readouterr().out
    assert [row["exact"] for row in results.read(tmp_path / "distance" / "rows.jsonl")] == [
        row["exact"] for row in results.read(workdir / "distance" / "rows.jsonl")
    ]
    assert "these are results of distance" in refuses(f"--reproduce={workdir}/distance", "--experiment=bottleneck")


@pytest.mark.long
def test_a_run_decodes_once_its_file_is_loaded(sweep, tmp_path, capsys, monkeypatch):
    file, workdir, _ = sweep
    (tmp_path / "in.txt").write_text("1 2\n")
    decode = [f"--decode={workdir}/distance/distance-u3", f"--input={tmp_path}/in.txt"]
    assert call(*decode, f"--experiment={file}") == 0 and capsys.readouterr().out.count("\n") == 1
    monkeypatch.delitem(attention.MECHANISMS, "distance")
    model._build.cache_clear()  # models are kept by their settings, as a process that has not loaded the file has none
    with pytest.raises(RunError, match=r"model\.attention='distance' is unknown.*load the file of its experiment first"):
        trained.load(workdir / "distance" / "distance-u3")


@pytest.mark.long
def test_its_kept_curves_lie_beside_it(sweep):
    file, _, _ = sweep
    assert selection.kept_file(str(file), run.HOME) == file.parent / "curves" / "distance.jsonl"
    assert selection.kept_file("bottleneck", run.HOME) == ROOT / "experiments" / "curves" / "bottleneck.jsonl"


def test_what_is_no_experiment_is_one_line(refuses, tmp_path):
    assert "there is no such file" in refuses("--experiment=nowhere.py")
    (tmp_path / "broken.py").write_text("PRESETS = (\n")
    assert "broken.py, line 1: SyntaxError" in refuses(f"--experiment={tmp_path}/broken.py", "--list")
    (tmp_path / "bottleneck.py").write_text("")
    assert "the name bottleneck is taken" in refuses(f"--experiment={tmp_path}/bottleneck.py")
    (tmp_path / "empty.py").write_text("")
    assert "it has no PRESETS, ARMS, sweep, name, score, figures" in refuses(f"--experiment={tmp_path}/empty.py")
