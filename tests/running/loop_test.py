"""A run, interrupted wherever it may be, ends as one that was left alone; what it cannot do, it says in one line and leaves no mess."""

import os
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax.config import PILOT_SEED, Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.running import checkpoint, evaluation, finished, lock, loop, results
from attention_jax.running.lock import Lock
from attention_jax.running.resolved import resolve
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.training import compiled

TINY = Config(
    experiment="bottleneck",
    run="tiny",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4),
    training=TrainingConfig(
        seeds=2, updates=6, batch_size=4, learning_rates=(1e-2, 2e-2), pilot_updates=2, pilot_seeds=1, warmup=1, chunk=4, checkpoint_every=4
    ),
)
"""Two rates need trials, and the better one is at an edge of so short a grid. After them device calls end at updates 2, 4 (a checkpoint
that is due), 6."""

FIELDS = {"attention": "additive", "parameters": 1234}
ONE_RATE = replace(TINY, training=replace(TINY.training, learning_rates=(1e-2,)))
BEST = replace(TINY, training=replace(ONE_RATE.training, evaluate="best"))

make_evaluator, REAL_PACED = evaluation.Evaluator, loop.paced


@pytest.fixture(scope="module", autouse=True)
def paces():
    """Device calls make two updates, whatever the speed of the machine; the first of a process makes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "paced", lambda most, updates, seconds, limit: 2)
        yield


def interrupt(monkeypatch, at: int, number: int, pilot: bool = False):
    """From now on the process sends itself a signal once, during the device call that ends at update `at`, or the first behind it."""
    before, sent = compiled.advance, []

    def advance(config, source):
        inner = before(config, source)

        def wrapped(states, seeds, step, updates):
            if not sent and step + updates >= at and (seeds[0] >= PILOT_SEED) == pilot:
                sent.append(number)
                os.kill(os.getpid(), number)
            return inner(states, seeds, step, updates)

        return wrapped

    monkeypatch.setattr(compiled, "advance", advance)


def untimed(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def stored(config, directory):
    """The newest checkpoint, keys as numbers."""
    step, progress, _ = checkpoint.restore(
        directory / "checkpoint", compiled.start(resolve(config), config.training.all_seeds, [0.0] * config.training.seeds)
    )
    progress = progress.replace(states=progress.states.replace(key=jax.random.key_data(progress.states.key)))
    return step, jax.device_get(progress)


def assert_same_end(config, directory, other):
    assert untimed(results.read(directory / "rows.jsonl")) == untimed(results.read(other / "rows.jsonl"))
    (step, progress), (other_step, other_progress) = stored(config, directory), stored(config, other)
    assert step == other_step == config.training.updates
    jax.tree.map(np.testing.assert_array_equal, progress, other_progress)


@pytest.fixture(scope="module")
def whole(paces, tmp_path_factory):
    """A run that was never interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    loop.run(TINY, directory, FIELDS)
    return directory


@pytest.fixture(scope="module")
def whole_best(paces, tmp_path_factory):
    """The same with training.evaluate=best."""
    directory = tmp_path_factory.mktemp("best")
    loop.run(BEST, directory, FIELDS)
    return directory


@pytest.mark.long
def test_rows_are_complete(whole):
    rows = results.read(whole / "rows.jsonl")
    keys = [(row["budget"], row["mode"], row["seed"], row["length"]) for row in rows]
    assert keys == [(6, m, s, n) for m in ("free", "forced") for s in (0, 1) for n in (1, 2, 4)]
    names = {"experiment", "run", "fingerprint", "attention", "parameters", "seed", "mode", "length", "seen", "examples", "exact_match"}
    names |= {"role", "exact", "symbols", "symbol_errors", "token_accuracy", "loss", "budget", "step", "learning_rate", "seconds"}
    looks = {"alignment_entropy", "alignment_agreement", "alignment_mass"}
    for row in rows:
        assert set(row) == (names | looks if row["mode"] == "forced" else names)
        assert (row["experiment"], row["run"], row["attention"], row["parameters"]) == ("bottleneck", "tiny", "additive", 1234)
        assert (row["examples"], row["seen"], row["step"]) == (4, row["length"] <= 3, row["budget"])
        assert 0 <= row["exact_match"] <= row["token_accuracy"] <= 1
        assert (row["loss"] is None) if row["mode"] == "free" else row["loss"] > 0
        assert row["role"] == "reported"
    example = results.read_json(whole / "example.json")
    assert np.array(example["weights"]).shape == (len(example["output"]), len(example["source"]))
    assert example["source"] == example["target"]
    assert set(results.read_json(whole / "config.json")) == {"format", "config", "environment"}


@pytest.mark.long
def test_a_second_call_writes_nothing(whole):
    def times():
        return {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.name != ".lock"}

    before = times()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "build", None)  # it does not even look at the data
        assert loop.run(TINY, whole, FIELDS) == results.read(whole / "rows.jsonl")
    assert times() == before


@pytest.mark.long
@pytest.mark.parametrize(("at", "number"), [(2, signal.SIGTERM), (4, signal.SIGINT), (6, signal.SIGUSR1)])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, whole, at, number):
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with monkeypatch.context() as patch:
        interrupt(patch, at, number)
        with pytest.raises(Stopped, match=rf"saved at update {at} of 6 \({number.name}\); the same command goes on"):
            loop.run(TINY, tmp_path, FIELDS)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == handlers
    assert checkpoint.steps(tmp_path / "checkpoint")[-1] == at
    assert not finished.is_finished(TINY, tmp_path)
    loop.run(TINY, tmp_path, FIELDS)
    assert_same_end(TINY, tmp_path, whole)


@pytest.mark.long
def test_a_run_stopped_again_and_again(tmp_path, monkeypatch, whole):
    for at, pilot in ((2, True), (2, False), (4, False)):
        with monkeypatch.context() as patch:
            interrupt(patch, at, signal.SIGTERM, pilot)
            with pytest.raises(Stopped, match=f"saved at update {at} of {'2 of trials of learning rates' if pilot else '6'}"):
                loop.run(TINY, tmp_path, FIELDS)
        assert (tmp_path / "checkpoint").exists() != pilot
    loop.run(TINY, tmp_path, FIELDS)
    assert_same_end(TINY, tmp_path, whole)


@pytest.mark.long
@pytest.mark.parametrize("at", [2, 4])
def test_the_best_parameters_survive_a_stop(tmp_path, monkeypatch, whole_best, at):
    with monkeypatch.context() as patch:
        interrupt(patch, at, signal.SIGTERM)
        with pytest.raises(Stopped):
            loop.run(BEST, tmp_path, FIELDS)
    loop.run(BEST, tmp_path, FIELDS)
    assert_same_end(BEST, tmp_path, whole_best)


@pytest.mark.long
@pytest.mark.parametrize("updates", [1, 3])
def test_how_many_updates_a_call_makes_changes_nothing(tmp_path, monkeypatch, whole, updates):
    ends, before = [], compiled.advance

    def advance(config, source):
        def wrapped(states, seeds, step, count):
            ends.append(step + count)
            return before(config, source)(states, seeds, step, count)

        return wrapped

    monkeypatch.setattr(loop, "paced", lambda *arguments: updates)
    monkeypatch.setattr(compiled, "advance", advance)
    loop.run(TINY, tmp_path, FIELDS)
    run = {1: [1, 2, 3, 4, 5, 6], 3: [3, 4, 6]}[updates]
    trials = ends[: -len(run)]
    assert ends[-len(run) :] == run and trials[:2] == [1, 2]  # the first call of all makes one update
    assert trials[2:] == {1: [1, 2], 3: [2]}[updates] * trials[2:].count(2)
    assert_same_end(TINY, tmp_path, whole)


def test_a_signal_during_the_last_evaluation_is_not_forgotten(tmp_path, monkeypatch):
    before = results.replace

    def stop(path, rows):
        before(path, rows)
        if path.name == "rows.jsonl":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(results, "replace", stop)
    with pytest.raises(Stopped, match="finished, all rows are written"):
        loop.run(ONE_RATE, tmp_path, FIELDS)
    assert finished.is_finished(ONE_RATE, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("function", ["replace", "write_json"])
def test_each_row_once_after_a_failure_between_checkpoint_and_rows(tmp_path, monkeypatch, whole, function):
    before = getattr(results, function)

    def fail(path, content):
        if path.name in ("rows.jsonl", "example.json"):
            raise RunError("disk full")
        before(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(results, function, fail)
        with pytest.raises(RunError, match="disk full"):
            loop.run(TINY, tmp_path, FIELDS)
    assert not finished.is_finished(TINY, tmp_path)
    loop.run(TINY, tmp_path, FIELDS)
    assert_same_end(TINY, tmp_path, whole)
    assert (tmp_path / "example.json").read_text() == (whole / "example.json").read_text()


@pytest.mark.long
def test_a_holder_that_was_halted_before_it_wrote(tmp_path, monkeypatch, whole):
    """Its successor has written what it is about to write: rows, and the rate curve, are there once."""
    before, halted = os.replace, []

    def replace(source, target):
        if target.name in ("rows.jsonl", "rates.jsonl"):
            halted.append(target.name)
            target.write_bytes(results.lines(row | {"seconds": 99.9} if "seconds" in row else row for row in results.read(source)))
        before(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    loop.run(TINY, tmp_path, FIELDS)
    assert halted[-1] == "rows.jsonl" and "rates.jsonl" in halted
    assert_same_end(TINY, tmp_path, whole)
    assert loop.run(TINY, tmp_path, FIELDS) == results.read(tmp_path / "rows.jsonl")
    assert results.read(tmp_path / "rates.jsonl") == results.read(whole / "rates.jsonl")


def test_what_the_system_refuses_elsewhere_is_no_failure_of_the_run(tmp_path, monkeypatch):
    def refuse(config, source):
        raise OSError(28, "No space left on device", "/elsewhere")

    monkeypatch.setattr(compiled, "advance", refuse)
    with pytest.raises(StorageError, match=r"the system refused: .*No space left on device: '/elsewhere'; the same command goes on"):
        loop.run(ONE_RATE, tmp_path, FIELDS)
    assert not (tmp_path / "failure.txt").exists()


def test_clean_up_hides_no_error(tmp_path, monkeypatch):
    """Neither a lock that cannot be released, nor a last save that fails in another way than disks do."""

    def refuse(file, data, offset):
        raise OSError(5, "Input/output error")

    def fail(config, source):
        monkeypatch.setattr(lock.os, "pwrite", refuse)
        monkeypatch.setattr(checkpoint.Saver, "wait", lambda saver: 1 // 0)
        raise KeyError("the reason")

    monkeypatch.setattr(compiled, "advance", fail)
    with pytest.raises(RunError, match="KeyError: 'the reason'"):
        loop.run(ONE_RATE, tmp_path, FIELDS)
    monkeypatch.undo()
    with Lock(tmp_path):
        pass


@pytest.mark.long
def test_rows_torn_by_a_kill_are_written_again(tmp_path, whole):
    loop.run(TINY, tmp_path, FIELDS)
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(rows.read_bytes()[:-20])
    assert untimed(loop.run(TINY, tmp_path, FIELDS)) == untimed(results.read(whole / "rows.jsonl"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    before = compiled.advance

    def advance(config, source):
        def wrapped(states, seeds, step, updates):
            states, losses_UxR = before(config, source)(states, seeds, step, updates)
            bad_UxR = (np.arange(step, step + updates)[:, None] == 5) & (np.arange(2)[None, :] == 1)
            return states, np.where(bad_UxR, np.nan, losses_UxR)

        return wrapped

    monkeypatch.setattr(compiled, "advance", advance)
    message = r"the loss of seed 1 is not finite at update 6; the checkpoint of update 4 is kept\. Try a lower .*, in another --workdir"
    with pytest.raises(RunError, match=message):
        loop.run(ONE_RATE, tmp_path, FIELDS)
    assert checkpoint.steps(tmp_path / "checkpoint")[-1] == 4
    assert not (tmp_path / "rows.jsonl").exists()
    with pytest.raises(RunError, match=message):  # the same again, from there
        loop.run(ONE_RATE, tmp_path, FIELDS)


def test_an_absurd_learning_rate_stops_the_run(tmp_path):
    absurd = replace(TINY, training=replace(TINY.training, learning_rates=(3e38,)))
    with pytest.raises(
        RunError, match=r"the loss of seed 0 is not finite at update 2; there is no checkpoint yet\. Try a lower .*, with --retry_failed"
    ):
        loop.run(absurd, tmp_path, FIELDS)
    assert not (tmp_path / "rows.jsonl").exists()
    loop.run(replace(TINY, training=replace(TINY.training, learning_rates=(0.01,))), tmp_path, FIELDS)  # as it was told
    assert not (tmp_path / "failure.txt").exists() and (tmp_path / "rows.jsonl").exists()


def test_rows_name_the_best_step_of_each_seed(tmp_path, monkeypatch):
    """Checked at 4 (due) and 6 (end), on losses made up here: seed 0 is best at 4, seed 1 at 6."""
    losses, seen = iter([[1.0, 3.0], [2.0, 1.0]]), []

    class Evaluator(make_evaluator):
        def validation_loss(self, params, seeds):
            seen.append(jax.device_get(params))
            return np.array(next(losses))

    monkeypatch.setattr(evaluation, "Evaluator", Evaluator)
    rows = loop.run(BEST, tmp_path, FIELDS)
    assert {(row["budget"], row["seed"], row["step"]) for row in rows} == {(6, 0, 4), (6, 1, 6)}
    _, progress = stored(BEST, tmp_path)
    expected = jax.tree.map(lambda at_4, at_6: np.stack([at_4[0], at_6[1]]), seen[0], seen[1])
    jax.tree.map(np.testing.assert_array_equal, progress.best_params, expected)


@pytest.mark.long
def test_the_directory_of_another_config_is_refused(whole):
    other = replace(TINY, model=replace(TINY.model, hidden_size=7))
    with pytest.raises(RunError, match=r"belongs to another config: model\.hidden_size is 6 there, 7 here; choose another --workdir"):
        loop.run(other, whole, FIELDS)


@pytest.mark.usefixtures("tfds")
def test_data_that_cannot_be_read_leave_the_directory_free(tmp_path):
    text = replace(TINY, data=replace(TINY.data, task="multi30k"))
    with pytest.raises(DataError, match="data_dir"):
        loop.run(text, tmp_path / "run", {}, data_dir=tmp_path / "nothing", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "run" / "config.json").exists()
    results.claim_directory(tmp_path / "run", {"another": "config"}, {})
    with pytest.raises(RunError, match="belongs to another config"):
        loop.run(text, tmp_path / "run", {}, data_dir=tmp_path / "nothing", cache_dir=tmp_path / "cache")
    assert (tmp_path / "run" / "config.json").exists()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file.run.*; choose another --workdir"):
        loop.run(TINY, tmp_path / "file" / "run", FIELDS)


def test_a_directory_in_use_is_refused(tmp_path):
    with Lock(tmp_path), pytest.raises(RunError, match="is being written by process"):
        loop.run(TINY, tmp_path, FIELDS)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("model", {"attention": "adittive"}, "model.attention='adittive' is unknown.*did you mean 'additive'"),
        ("model", {"hidden_size": 0}, "model.hidden_size=0 is impossible"),
        ("data", {"task": "copie"}, "data.task='copie' is unknown.*multi30k"),
        ("data", {"shortest": 4}, "data.shortest=4 is above data.longest=3"),
    ],
)
def test_settings_are_refused_before_anything_is_written(tmp_path, part, change, message):
    with pytest.raises(ConfigError, match=message):
        loop.run(replace(TINY, **{part: replace(getattr(TINY, part), **change)}), tmp_path / "run", FIELDS)
    assert not (tmp_path / "run").exists()


def test_calls_last_about_two_seconds():
    paced = REAL_PACED
    assert paced(1, 1, 60.0, 200) == 1  # the first call compiles
    assert paced(1, 1, 0.01, 200) == 4 and paced(4, 4, 0.04, 200) == 16  # grows by steps, should the first have been a lucky one
    assert paced(64, 64, 0.64, 200) == 200 and paced(64, 64, 0.64, 100) == 100
    assert paced(100, 100, 4.0, 200) == 50 and paced(100, 10, 0.4, 200) == 50  # a call that was cut short does not count less
    assert paced(3, 3, 30.0, 200) == 1


@pytest.mark.long
def test_seeds_and_finished(tmp_path, whole):
    assert replace(TINY.training, first_seed=100, seeds=3).all_seeds == [100, 101, 102]
    assert finished.is_finished(TINY, whole) and not finished.is_finished(TINY, tmp_path)
    rows = results.read(whole / "rows.jsonl")
    results.append(tmp_path / "rows.jsonl", [row for row in rows if (row["budget"], row["seed"], row["mode"]) != (6, 1, "forced")])
    assert not finished.is_finished(TINY, tmp_path)
