"""What a claim measures of trained models: once a seed, on file behind it, and no run is finished before."""

import json
import shutil
from functools import partial
from types import SimpleNamespace

import jax
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.running import failures, finished, loop, results
from attention_jax.sweeps import archive, measurements, sweep
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped
from attention_jax.system.signals import Stop

TINY = Config(
    model=ModelConfig(hidden_size=4, embedding_size=3),
    data=DataConfig(symbols=8, longest=3, eval_lengths=(2,), eval_examples=2),
    training=TrainingConfig(seeds=2, updates=2, batch_size=2, warmup=1, chunk=2, checkpoint_every=2),
)


def measure(trained, source):
    """A row per length, of this seed's own parameters."""
    total = sum(float(abs(leaf).sum()) for leaf in jax.tree.leaves(trained.params))
    return [{"length": length, "total": total, "of": trained.seed, "run": "a name that is not its own"} for length in source.lengths]


def claim(measure=measure, **others):
    return SimpleNamespace(
        __name__="experiments.pretend",
        PRESETS=("tiny",),
        ARMS=("additive",),
        sweep=lambda preset, arms: [TINY],
        name=lambda config: config.model.attention,
        measure=measure,
        **others,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished run."""
    (run,) = sweep.plan(claim(), workdir=tmp_path_factory.mktemp("kept"))
    loop.run(run.config, run.directory, run.fields)
    return run.directory


@pytest.fixture
def trained_run(folder, tmp_path):
    """A copy of it, whose claim measures."""
    (run,) = sweep.plan(claim(), workdir=tmp_path)
    shutil.copytree(folder, run.directory)
    return run


def complete(run, measure=measure, stop=None):
    with stop or Stop() as stop:
        measurements.complete(measure, run.config, run.directory, run.fields, None, None, stop)


@pytest.mark.long
def test_rows_of_every_seed_have_the_fields_of_the_run(trained_run):
    assert finished.is_finished(trained_run.config, trained_run.directory) and not trained_run.is_finished
    complete(trained_run)
    rows = measurements.read(trained_run.directory)
    assert trained_run.is_finished and [row["seed"] for row in rows] == [0, 1] == [row["of"] for row in rows]
    assert rows[0]["total"] != rows[1]["total"]
    for row in rows:
        own = {"experiment": "pretend", "run": "additive", "role": "measured", "budget": 2, "length": 2}
        assert own.items() <= row.items() and trained_run.fields.items() <= row.items()
    before = (trained_run.directory / measurements.FILE).read_bytes()
    complete(trained_run, measure=None)
    complete(trained_run, measure=lambda trained, source: 1 / 0)
    assert (trained_run.directory / measurements.FILE).read_bytes() == before


@pytest.mark.long
def test_goes_on_behind_the_last_seed(trained_run):
    asked = []

    def stopping(trained, source):
        asked.append(trained.seed)
        stop.ask("a test")
        return measure(trained, source)

    with pytest.raises(Stopped, match=r"measured seed 0 .a test."):
        complete(trained_run, stopping, stop := Stop())
    assert not trained_run.is_finished and not failures.failed(trained_run.directory)
    complete(trained_run, lambda trained, source: asked.append(trained.seed) or measure(trained, source))
    assert asked == [0, 1] and trained_run.is_finished


@pytest.mark.long
@pytest.mark.parametrize(
    ("measure", "said", "kept"),
    [
        (lambda trained, source: [], "returned nothing for seed 0", False),
        (lambda trained, source: [{"x": float("nan")}], "x not finite", False),
        (lambda trained, source: 1 / 0, r"measuring, ZeroDivisionError.*failure\.txt", True),
    ],
)
def test_what_cannot_be_kept_is_refused(trained_run, measure, said, kept):
    with pytest.raises(RunError, match=said):
        complete(trained_run, measure)
    assert not (trained_run.directory / measurements.FILE).exists() and bool(failures.failed(trained_run.directory)) == kept
    complete(trained_run)
    assert trained_run.is_finished and not failures.failed(trained_run.directory)


@pytest.mark.long
def test_damage_is_found(trained_run):
    complete(trained_run)
    file = trained_run.directory / measurements.FILE
    first, last = whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first.replace(b'"of": 0', b'"of": 7') + last)
    with pytest.raises(DataError, match=r"measured\.jsonl, line 1 is damaged"):
        measurements.read(trained_run.directory)
    assert sweep.states([trained_run])[0].name == "failed"
    with pytest.raises(RunError, match="line 1 is damaged"):
        complete(trained_run)
    file.write_bytes(first + last[:-9])  # as a full disk leaves it
    assert not trained_run.is_finished
    complete(trained_run)
    assert file.read_bytes() == b"".join(whole)


@pytest.mark.long
def test_a_seed_that_lacks_a_row_is_measured_again(trained_run):
    complete(trained_run, lambda trained, source: measure(trained, source) * 2)
    file = trained_run.directory / measurements.FILE
    whole = file.read_bytes()
    assert whole.count(b"\n") == 4
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert not trained_run.is_finished and {row["seed"] for row in measurements.read(trained_run.directory)} == {0}
    complete(trained_run, lambda trained, source: measure(trained, source) * 2)
    assert file.read_bytes() == whole


@pytest.mark.long
def test_a_conclusion_waits_for_them_and_scores_them(trained_run, tmp_path):
    found = []
    asked = claim(score=lambda rows, sentences: found.extend(rows) or 1 / 0)
    with pytest.raises(RunError, match="1 of 1 runs are not finished"):
        sweep.conclude(asked, [trained_run], tmp_path / "all", "command")
    assert sweep.states([trained_run])[0].name != "finished"
    complete(trained_run)
    assert sweep.states([trained_run])[0].name == "finished"
    with pytest.raises(ZeroDivisionError):
        sweep.conclude(asked, [trained_run], tmp_path / "all", "command")
    measured = [row for row in found if row["role"] == "measured"]
    assert measured == measurements.read(trained_run.directory) and len(found) > len(measured)
    assert archive.read(tmp_path / "all").all_rows == found


@pytest.mark.long
def test_rows_of_other_runs_are_refused(trained_run, tmp_path):
    complete(trained_run)
    rows = measurements.read(trained_run.directory)
    (trained_run.directory / measurements.FILE).write_bytes(results.lines([row | {"cell": "lstm"} for row in rows]))
    with pytest.raises(DataError, match=r"not of this sweep: cell is 'lstm'"):
        sweep.conclude(claim(), [trained_run], tmp_path / "all", "command")


def test_a_claim_names_arms_and_fields_of_its_own(tmp_path):
    mine = claim(CHOICES=("soft", "sparsemax"), FIELDS=("model.normaliser",))
    (run,) = sweep.plan(mine, workdir=tmp_path, arms=["sparsemax"])
    assert run.fields["normaliser"] == "softmax" and "estimator" not in run.fields
    with pytest.raises(ConfigError, match="--arms='additive' is unknown; valid: soft, sparsemax"):
        sweep.plan(mine, workdir=tmp_path, arms=["additive"])
    (again,) = sweep.placed([run.config], tmp_path, sweep.named(mine), partial(measurements.of, mine))
    assert again == run and json.dumps(again.fields)


def test_a_claim_may_measure_some_of_its_runs_alone(tmp_path):
    """Those it does not measure are finished without, and nothing is loaded for them."""
    choosing = claim(measures=lambda config: config.training.updates > 2)
    (run,) = sweep.plan(choosing, workdir=tmp_path)
    assert run.measure is None
    (longer,) = sweep.plan(choosing, assignments=["training.updates=4"], workdir=tmp_path)
    assert longer.measure is measure
    (every,) = sweep.plan(claim(), workdir=tmp_path)
    assert every.measure is measure
