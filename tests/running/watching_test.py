"""A run that is watched: the same rows, whatever happens to who watches."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.running import examples, loop, results, watching
from attention_jax.running.watching import Snapshot, Watch, Watched
from attention_jax.system.errors import DataError, RunError, StorageError

TINY = Config(
    experiment="bottleneck",
    run="additive",
    model=ModelConfig(hidden_size=4, embedding_size=3),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(2, 3), eval_examples=2),
    training=TrainingConfig(seeds=2, first_seed=5, updates=6, batch_size=2, warmup=1, chunk=2, checkpoint_every=2),
)
EXAMPLE = examples.of((["3", "⏎"], ["3", "⏎"], ["3", "⏎"]), np.eye(2))


def rows(directory) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in results.read(directory / "rows.jsonl")]


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "additive"
    loop.run(TINY, directory, {})
    return directory


@pytest.mark.long
def test_rows_are_the_same_bit_for_bit(unwatched, tmp_path):
    calls = []
    loop.run(TINY, tmp_path, {}, watch=lambda: calls.append(watching.read(tmp_path / watching.FILE)))
    assert rows(tmp_path) == rows(unwatched)
    assert (tmp_path / "examples.json").read_text() == (unwatched / "examples.json").read_text()
    assert [shown.done for shown in calls] == [0, 2, 4, 6] and not (unwatched / watching.FILE).exists()
    last = calls[-1]
    assert last.seeds == [5, 6] and [update for update, _ in last.points] == [1, 2, 3, 4, 5, 6]
    assert [each.update for each in last.snapshots] == [2, 4, 6] and all(len(each.examples) == 2 for each in last.snapshots)
    first, then = (each.examples[0] for each in last.snapshots[:2])
    assert first.output == first.target == then.output and first.weights is not None and first.norm != then.norm


@pytest.mark.long
def test_trials_of_rates_are_said_before_curves_begin(tmp_path):
    calls = []
    tried = replace(TINY.training, learning_rates=(1e-2, 2e-2), pilot_seeds=2, updates=2)
    loop.run(replace(TINY, training=tried), tmp_path, {}, watch=lambda: calls.append(watching.read(tmp_path / watching.FILE)))
    rates = [list(shown.trial) for shown in calls]
    assert rates[:2] == [[1e-2], [2e-2]] and rates[-2:] == [[], []] and all(rates[:-2])
    assert [shown.done for shown in calls] == [0] * (len(calls) - 1) + [2]


@pytest.mark.long
def test_who_fails_to_watch_ends_nothing(unwatched, tmp_path, caplog):
    def refuses() -> None:
        raise StorageError("cannot write /full/page.html: No space left on device")

    with caplog.at_level(logging.WARNING):
        loop.run(TINY, tmp_path, {}, watch=refuses)
    assert rows(tmp_path) == rows(unwatched) and caplog.text.count("training goes on") == 1 and "No space left" in caplog.text


@pytest.mark.long
def test_curves_go_on_where_a_run_does(unwatched, tmp_path):
    half = replace(TINY, training=replace(TINY.training, updates=6))
    watch = Watch(tmp_path, [5, 6], 6, True, lambda: None)
    watch.add(0, np.array([[1.0, 2.0], [0.5, 1.5]]))
    watch.snapshot(2, lambda: [(5, 1, EXAMPLE), (6, 1, EXAMPLE)])
    again = Watch(tmp_path, half.training.all_seeds, 6, True, lambda: None)
    again.resume(2)
    again.add(2, np.array([[0.4, 1.0]]))
    assert again.shown.points == [(1, [1.0, 2.0]), (2, [0.5, 1.5]), (3, [0.4, 1.0])] and len(again.shown.snapshots) == 1
    earlier = Watch(tmp_path, [5, 6], 6, True, lambda: None)
    earlier.resume(1)
    assert earlier.shown.points == [(1, [1.0, 2.0])] and earlier.shown.snapshots == []
    for other in (Watch(tmp_path, [5], 6, True, lambda: None), Watch(tmp_path, [5, 6], 7, True, lambda: None)):
        other.resume(2)
        assert other.shown.points == []
    (tmp_path / watching.FILE).write_text("{")
    again = Watch(tmp_path, [5, 6], 6, True, lambda: None)
    again.resume(2)
    assert again.shown.points == []


def test_a_long_run_stays_small(tmp_path):
    """Neighbouring points are joined, so that the mean of a curve stays, and every second snapshot is left out."""
    watch = Watch(tmp_path, [0], 10_000, True, lambda: None)
    losses = np.random.default_rng(0).random((10_000, 1))
    for step in range(0, 10_000, 100):
        watch.add(step, losses[step : step + 100])
        watch.snapshot(step + 100, lambda: [(0, 1, EXAMPLE)])
    assert 50 < len(watch.shown.points) <= watching.POINTS and len(watch.shown.snapshots) <= watching.SNAPSHOTS
    assert watch.shown.snapshots[-1].update == 10_000
    updates = [update for update, _ in watch.shown.points]
    sizes = np.diff([0, *updates])
    means = np.array([loss for _, (loss,) in watch.shown.points])
    for (end, mean), size in zip(watch.shown.points, sizes, strict=True):
        assert mean[0] == pytest.approx(losses[end - size : end].mean(), rel=1e-3)
    assert (means * sizes).sum() / sizes.sum() == pytest.approx(losses[: updates[-1]].mean(), rel=1e-3)


def test_only_the_process_that_writes_writes(tmp_path):
    watch = Watch(tmp_path, [0], 4, False, lambda: pytest.fail("it wrote"))
    watch.snapshot(2, lambda: [(0, 1, EXAMPLE)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 3},
        {"seeds": ["a"]},
        {"updates": -1},
        {"done": None},
        {"points": [[1, [1.0]]]},
        {"points": [[1, [1.0, "2"]]]},
        {"points": [1]},
        {"points": [[1, [1.0, float("nan")]]]},
        {"snapshots": [{"update": 1, "examples": []}]},
        {"snapshots": [{"update": "1", "examples": [examples.to_json(EXAMPLE)] * 2}]},
        {"snapshots": [3]},
        {"trial": 1},
        {"trial": ["0.1"]},
        {"snapshots": [{"update": 1, "examples": [{}, {}]}]},
    ],
)
def test_what_is_no_record_is_one_line(tmp_path, change):
    path = tmp_path / watching.FILE
    watching.write(path, Watched(6, [5, 6], 2, [(1, [1.0, 2.0])], [Snapshot(2, [EXAMPLE, EXAMPLE])]))
    assert watching.read(path).snapshots[0].examples[1] == EXAMPLE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises((DataError, RunError), match=r"watched\.json"):
        watching.read(path)
