"""A folder of results gives back what was put there, packed or not; what is damaged or foreign is one line."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from attention_jax import config
from attention_jax.config import Config
from attention_jax.running import finished, results
from attention_jax.statistics import sentences
from attention_jax.statistics.sentences import Sentences
from attention_jax.sweeps import archive
from attention_jax.sweeps.archive import Archive
from attention_jax.system.errors import DataError, RunError

RUNS = [
    replace(
        Config(),
        experiment="bottleneck",
        run=name,
        model=replace(Config().model, attention=name),
        data=replace(Config().data, eval_lengths=(3,)),
    )
    for name in ("summary", "additive")
]
STORED = [
    {"format": 2, "config": config.to_json(run), "environment": {"jax": "0.10.2", "device_count": count}}
    for run, count in zip(RUNS, (1, 2), strict=True)
]
ROWS = [
    {
        "run": run.run,
        "fingerprint": finished.fingerprint(run),
        "seed": seed,
        "length": 3,
        "mode": mode,
        "budget": run.training.updates,
        "exact": 1,
    }
    for run in RUNS
    for seed in range(run.training.seeds)
    for mode in ("free", "forced")
]
CURVES = [{"run": "summary", "role": "selection", "seed": 5, "learning_rate": 0.1, "validation_loss": 1.0}]
LOSSES = Sentences(
    (0, 1), np.ones((2, 3), np.float32), *(np.arange(1, 4, dtype=np.int32) for _ in range(2)), *(np.arange(1, 4, dtype=np.int32),) * 2
)
MADE = Archive("bottleneck", "python -m experiments.run", {one["config"]["run"]: one for one in STORED}, ROWS, CURVES, {})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("curves", [CURVES, []])
def test_what_is_written_is_read(tmp_path, packed, curves):
    paths = archive.write(tmp_path, MADE._replace(curves=curves), packed)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert len(paths) == 2 + bool(curves) and any(path.suffix == ".gz" for path in paths) == packed
    found = archive.read(tmp_path)
    assert (found.experiment, found.command, found.rows, found.curves) == ("bottleneck", MADE.command, ROWS, curves)
    assert found.configs() == RUNS and found.all_rows == ROWS + curves
    assert found.stored == {run.run: {part: one[part] for part in ("config", "environment")} for run, one in zip(RUNS, STORED, strict=True)}
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in archive.write(tmp_path, found, packed)] == before


def test_directories_of_runs_become_one_folder(tmp_path):
    for one in STORED:
        results.write_json(tmp_path / one["config"]["run"] / "config.json", one)
    sentences.write(tmp_path / "summary" / sentences.FILE, LOSSES)
    found = archive.of_runs("bottleneck", "command", [tmp_path / "summary", tmp_path / "additive"], ROWS, [])
    assert list(found.stored) == ["summary", "additive"] and list(found.sentences) == ["summary"]
    archive.write(tmp_path / "all", found)
    again = archive.read(tmp_path / "all").sentences
    assert list(again) == ["summary"]
    for ours, theirs in zip(LOSSES, again["summary"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_runs_share_is_written_once(tmp_path):
    archive.write(tmp_path, MADE)
    own = json.loads((tmp_path / archive.FILE).read_text())["runs"]
    assert own == {
        "summary": {"config": {}, "environment": {}},
        "additive": {"config": {"run": "additive", "model.attention": "additive"}, "environment": {"device_count": 2}},
    }


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda path: (path / "sweep.json").unlink(), RunError, "cannot read .*sweep.json"),
        (lambda path: (path / "sweep.json").write_text('{"format": 2}'), RunError, "is not a sweep's: it needs experiment"),
        (lambda path: (path / "sweep.json").write_text('{"format": 99}'), RunError, "newer version"),
        (lambda path: (path / "rows.jsonl.gz").unlink(), DataError, "cannot read rows from .*rows.jsonl"),
        (lambda path: (path / "rows.jsonl.gz").write_bytes(b"no gzip"), DataError, "rows.jsonl.gz is damaged"),
        (
            lambda path: (path / "rows.jsonl.gz").write_bytes((path / "rows.jsonl.gz").read_bytes()[:-9]),
            DataError,
            "is damaged, or unpacks",
        ),
        (
            lambda path: (path / "rows.jsonl.gz").write_bytes(gzip.compress(results.lines(ROWS[:-1]))),
            DataError,
            "lacks rows of the run additive",
        ),
        (lambda path: (path / "rates.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}x\n{"a": 2}\n')), DataError, "line 1 is damaged"),
    ],
)
def test_damage_is_one_line(tmp_path, damage, kind, message):
    archive.write(tmp_path, MADE, packed=True)
    damage(tmp_path)
    with pytest.raises(kind, match=message):
        archive.read(tmp_path)


def test_rows_that_unpack_without_end_are_refused(tmp_path, monkeypatch):
    archive.write(tmp_path, MADE, packed=True)
    monkeypatch.setattr(archive, "LARGEST", 64)
    with pytest.raises(DataError, match="unpacks to more than"):
        archive.read(tmp_path)
