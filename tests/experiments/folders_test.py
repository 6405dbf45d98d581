"""Folders of results by the command line: compared, reproduced, their rate curves kept for others; and what a sweep will take."""
# ruff: noqa: F401, F811 - fixtures of another file are asked for by their names

import json

import pytest

from attention_jax.running import results, trials
from attention_jax.sweeps import forecast
from experiments import run
from tests.experiments.command import call
from tests.experiments.run_test import TINY, workdir


@pytest.mark.long
def test_results_are_compared_and_reproduced(workdir, tmp_path, capsys):
    there = workdir / "bottleneck"
    assert call(f"--reproduce={there}", f"--workdir={tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "lengths whose difference exceeds its simultaneous 95 % interval: none" in printed and "same verdict" in printed
    here = tmp_path / "bottleneck"
    ours, theirs = (json.loads((folder / "sweep.json").read_text())["runs"] for folder in (here, there))
    assert list(ours) == list(theirs)
    assert [row["exact"] for row in results.read(here / "rows.jsonl")] == [row["exact"] for row in results.read(there / "rows.jsonl")]
    changed = [row | {"exact": row["examples"], "exact_match": 1.0} for row in results.read(there / "rows.jsonl")]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sweep.json").write_bytes((there / "sweep.json").read_bytes())
    (tmp_path / "other" / "rows.jsonl").write_bytes(results.lines(changed))
    status = call(f"--compare={there}", f"--with={tmp_path}/other", f"--workdir={tmp_path}")
    assert status in (3, 4) and list((tmp_path / "compared").glob("*.svg"))


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["--compare=a"], "--compare and --with name two folders of results: give both", 2),
        (["--compare=a", "--with=b"], "cannot read a/sweep.json", 1),
        (["--reproduce=nowhere"], "cannot read nowhere/sweep.json", 1),
    ],
)
def test_folders_that_are_none(refuses, arguments, message, status):
    assert message in refuses(*arguments, status=status)


def test_results_are_not_reproduced_over_themselves(refuses, workdir):
    assert "needs another --workdir" in refuses(f"--reproduce={workdir}/bottleneck", f"--workdir={workdir}")


@pytest.mark.long
def test_kept_curves_are_taken_and_said_to_be(tmp_path, capsys, monkeypatch):
    """From flags to the conclusion: the curve that one sweep leaves chooses the rates of another, which makes no trials."""
    command = [*TINY, "--arms=summary,additive", "--set=training.learning_rates=0.005,0.01,0.02", "--set=training.pilot_seeds=2"]
    (tmp_path / "curves").mkdir()
    kept = tmp_path / "curves" / "bottleneck.jsonl"
    assert call(*command, f"--workdir={tmp_path}/first", f"--keep_rates={kept}") == 0
    assert "here" in capsys.readouterr().out
    monkeypatch.setattr(run, "HOME", tmp_path)
    monkeypatch.setattr(trials, "trial", None)
    assert call(*command, f"--workdir={tmp_path}/second") == 0
    assert "kept" in capsys.readouterr().out
    first, second = (results.read(tmp_path / name / "bottleneck" / "rows.jsonl") for name in ("first", "second"))
    assert [row | {"seconds": 0} for row in first] == [row | {"seconds": 0} for row in second]
    monkeypatch.undo()
    monkeypatch.setattr(run, "HOME", tmp_path)
    assert call(*command, f"--workdir={tmp_path}/measured", "--choose_rates") == 0
    assert "Learning rates: those of the kept curves in 2 of 2 runs." in capsys.readouterr().out
    assert call(*command, f"--workdir={tmp_path}/second", "--choose_rates") == 2
    assert "has taken a kept rate curve; choose another --workdir" in capsys.readouterr().err
    assert call(*command, f"--workdir={tmp_path}/third", f"--keep_rates={tmp_path}/first/bottleneck/rows.jsonl") == 2
    assert "is no file of kept rate curves" in capsys.readouterr().err and not (tmp_path / "third").exists()


def test_what_a_folder_decides_is_not_set_besides(refuses):
    assert "--set has no meaning with --reproduce" in refuses("--reproduce=x", "--set=model.hidden_size=3")
    assert "--dry_run has no meaning with --reproduce" in refuses("--reproduce=x", "--dry_run")


@pytest.mark.long
def test_a_dry_run_prints_programs_and_minutes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(forecast, "SECONDS", 0.01)
    assert call(*TINY, f"--workdir={tmp_path}", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert printed.count("-gru-h6-d0-u4") == 3 and "in all" in printed and not list(tmp_path.iterdir())
