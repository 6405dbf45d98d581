"""Runs of every format, as the code of their time left them: loaded, decoded, listed, concluded, gone on with. See formats/make.py."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.config import Config, ModelConfig, formats
from attention_jax.data import sources
from attention_jax.report.tables import Score
from attention_jax.running import checkpoint, loop, results
from attention_jax.running.resolved import resolve, stored_sizes
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import sweep
from attention_jax.sweeps.sweep import Run
from attention_jax.system.errors import ConfigError, RunError
from attention_jax.training import compiled
from tests.config.formats import make

ZIPS = sorted(Path(__file__).with_name("formats").glob("*/*.zip"))
EVERY = pytest.mark.parametrize("file", ZIPS, ids=lambda file: f"{file.parent.name} {file.stem}")


@pytest.fixture(autouse=True)
def _text_needs_tfds(request):
    if "file" in request.fixturenames and request.getfixturevalue("file").stem == "text":
        request.getfixturevalue("tfds")


def unpacked(file: Path, folder: Path) -> tuple[object, Run]:
    """(the claim, its only run), in `folder` as the code of its format left it there."""
    claim = make.claim(file.stem)
    (run,) = sweep.plan(claim, "tiny", workdir=folder)
    with zipfile.ZipFile(file) as packed:
        packed.extractall(run.directory)
    make.write_text(folder)
    return claim, run


def train(run: Run, folder: Path) -> list[dict]:
    return loop.run(run.config, run.directory, run.fields, data_dir=folder, cache_dir=folder / "cache")


def same(rows: list[dict], expected: list[dict]) -> bool:
    """Equal up to rounding, and up to how long it took, in the fields that there were."""
    found = [{name: row[name] for name in old} | {"seconds": 0} for row, old in zip(rows, expected, strict=True)]
    return found == [{name: pytest.approx(value, abs=1e-3) for name, value in (row | {"seconds": 0}).items()} for row in expected]


def conclude(claim, run: Run, folder: Path) -> str:
    claim.score = lambda rows, sentences: Score(Verdict("held", "it was read"), [], f"{len(rows)} rows")
    claim.figures = lambda rows: {"empty": Figure()}
    return sweep.conclude(claim, [run], folder / "page", "command")


def test_each_format_has_a_run():
    assert {int(file.parent.name) for file in ZIPS} == set(range(1, formats.FORMAT + 1))
    assert {file.stem for file in ZIPS if file.parent.name == "1"} == set(make.CONFIGS)


@pytest.mark.long
@EVERY
def test_it_decodes_as_it_did(file, tmp_path):
    _, run = unpacked(file, tmp_path)
    decoded = make.decoded(run.directory, make.LINES[file.stem])
    for method, outputs in json.loads((run.directory / "decoded.json").read_text()).items():
        assert decoded[method] == [[text, pytest.approx(score, abs=1e-4)] for text, score in outputs]


@EVERY
def test_it_is_finished_and_is_concluded(file, tmp_path, monkeypatch):
    claim, run = unpacked(file, tmp_path)
    assert [state.name for state in sweep.states([run])] == ["finished"]
    rows = results.read(run.directory / "rows.jsonl")
    monkeypatch.setattr(sources, "build", None)  # nothing is left to do
    assert train(run, tmp_path) == rows
    assert f"Verdict: held, {len(rows)} rows." in conclude(claim, run, tmp_path)


@pytest.mark.long
@EVERY
def test_it_goes_on_from_the_middle(file, tmp_path):
    claim, run = unpacked(file, tmp_path)
    like, claimed = (
        compiled.shapes(resolve(run.config, stored_sizes(run.directory, run.config))),
        (run.directory / "config.json").read_bytes(),
    )
    _, expected, _ = checkpoint.restore(run.directory / "checkpoint", like)
    rows = results.read(run.directory / "rows.jsonl")
    shutil.rmtree(run.directory / "checkpoint" / "80")
    (run.directory / "example.json").unlink()
    (run.directory / "rows.jsonl").write_bytes(results.lines([row for row in rows if row["budget"] == 40]))
    assert same(train(run, tmp_path), rows)
    step, progress, _ = checkpoint.restore(run.directory / "checkpoint", like)
    assert step == 80 and (run.directory / "config.json").read_bytes() == claimed
    arrays = (jax.tree.map(np.asarray, x.replace(states=x.states.replace(key=()))) for x in (progress, expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), *arrays)
    assert "Verdict: held" in conclude(claim, run, tmp_path)


def test_a_newer_format_is_refused_in_one_line(tmp_path):
    _, run = unpacked(ZIPS[0], tmp_path)
    file = run.directory / "config.json"
    content = results.read_json(file)
    for newer in (formats.FORMAT + 1, "2", True, 0):
        results.write_json(file, content | {"format": newer})
        for act in (lambda: trained.load(run.directory), lambda: train(run, tmp_path)):
            with pytest.raises(
                RunError, match=rf"config\.json was written by a newer version: its format is {newer!r}, and this one reads"
            ):
                act()
    results.write_json(file, content)
    patch = pytest.MonkeyPatch()
    patch.setattr(formats, "FORMAT", formats.FORMAT + 1)
    checkpoint.save(run.directory / "checkpoint", 90, {"x": np.zeros(1)}, {})
    patch.undo()
    with pytest.raises(RunError, match=r"checkpoint/90 was written by a newer version"):
        trained.load(run.directory)
    assert checkpoint.steps(run.directory / "checkpoint")[-1] == 90, "it is left where it is"


def test_a_setting_that_a_stored_config_lacks_is_as_it_was(tmp_path, monkeypatch):
    stored = settings.to_json(Config(model=ModelConfig(attention="none")))
    del stored["model"]["dropout"], stored["match"]
    with pytest.raises(ConfigError, match=r"Config: unknown or missing settings \['match'\]"):
        settings.from_json(stored)
    results.claim_directory(tmp_path, stored, {})
    monkeypatch.setattr(formats, "AS_IT_WAS", {"model.dropout": 0.25, "match": "parameters"})
    here = Config(match="parameters", model=ModelConfig(attention="none", dropout=0.25))
    assert settings.from_json(stored) == here
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()
    assert settings.fingerprint(here) == digest != settings.fingerprint(settings.override(here, "model.dropout", 0.5))
    results.claim_directory(tmp_path, settings.to_json(here), {})
    with pytest.raises(RunError, match=r"model\.dropout is 0\.25 there, 0\.0 here"):
        results.claim_directory(tmp_path, settings.to_json(Config(match="parameters", model=ModelConfig(attention="none"))), {})


def test_fingerprints_of_format_1_are_those_they_were():
    """Of a24ead0: sha256 of the settings there were."""
    for file in ZIPS:
        with zipfile.ZipFile(file) as packed:
            config = settings.from_json(json.loads(packed.read("config.json"))["config"])
            (record,) = [json.loads(packed.read(name)) for name in packed.namelist() if name.endswith("checkpoint/80/record/metadata")]
        assert settings.fingerprint(config) == record["extra"]["config"]
