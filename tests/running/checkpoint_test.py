"""What was saved comes back bit for bit, or is named and set aside; a resumed run is the run that was not stopped."""

import errno
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import tasks
from attention_jax.running import checkpoint
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import RunError, StorageError
from attention_jax.training import parallel
from attention_jax.types import TrainState
from tests.built import started

CONFIG = Config(
    model=ModelConfig(attention="none", direction="forward", hidden_size=6, embedding_size=4, dropout=0.3),
    data=DataConfig(symbols=5),
    training=TrainingConfig(optimizer="adam", warmup=2),
)
EXTRA = {"next_example": 384, "best": {"loss": 1.25, "step": 20}, "rows": 7, "learning_rates": [0.1, 0.01], "note": None}

update = jax.jit(parallel.over_seeds(partial(training.train_step, model=resolve(CONFIG).model, config=CONFIG.training)))


@pytest.fixture(scope="module")
def batches():
    task = tasks.build(CONFIG.data)
    keys = jax.vmap(jax.random.key)(np.arange(2))
    return jax.jit(jax.vmap(lambda key: tasks.batch(task, key, jnp.array([1, 2, 3, 3, 1, 2, 2, 3]), jnp.arange(8), 5, 4)))(keys)


@pytest.fixture(scope="module")
def states():
    """Two seeds side by side."""
    return started(CONFIG, [3, 5], [0.1, 0.01])


@pytest.fixture(scope="module")
def trained(states, batches):
    """The states after 0, 1, … 6 updates."""
    trajectory = [states]
    for _ in range(6):
        trajectory.append(update(trajectory[-1], batches)[0])
    return trajectory


def assert_identical(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.long
def test_round_trip_of_everything(tmp_path, trained):
    folder = tmp_path / "not" / "yet" / "checkpoint"
    assert checkpoint.restore(folder, trained[0]) is None
    assert checkpoint.steps(folder) == []
    checkpoint.save(folder, 3, trained[3], EXTRA)
    for like in (trained[0], jax.eval_shape(lambda: trained[0])):
        step, states, extra = checkpoint.restore(folder, like)
        assert (step, extra) == (3, EXTRA)
        assert_identical(states, trained[3])
        assert isinstance(states, TrainState)
        assert all(leaf.devices() == {jax.devices()[0]} for leaf in jax.tree.leaves(states))


def test_round_trip_of_odd_values_and_types(tmp_path):
    odd = {
        "float32": jnp.array([jnp.nan, -jnp.inf, -0.0, 1e-45]),
        "bfloat16": jnp.arange(3, dtype=jnp.bfloat16),
        "bool": jnp.array([True, False]),
        "nothing": [(), {}, None],
        "keys": jax.random.split(jax.random.key(1), 3),
    }
    checkpoint.save(tmp_path, 0, odd, {})
    step, found, extra = checkpoint.restore(tmp_path, odd)
    assert (step, extra) == (0, {})
    assert_identical(found, odd)


@pytest.mark.long
def test_arrays_come_back_where_like_says(tmp_path, trained):
    checkpoint.save(tmp_path, 1, trained[1], {})
    everywhere = jax.sharding.NamedSharding(parallel.data_mesh(), jax.sharding.PartitionSpec())
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), trained[0])
    _, states, _ = checkpoint.restore(tmp_path, like)
    assert all(leaf.sharding.is_equivalent_to(everywhere, leaf.ndim) for leaf in jax.tree.leaves(states))
    assert_identical(states, trained[1])


@pytest.mark.long
def test_three_and_three_updates_are_six(tmp_path, states, trained, batches):
    checkpoint.save(tmp_path, 3, trained[3], {})
    step, resumed, _ = checkpoint.restore(tmp_path, states)
    for _ in range(step, 6):
        resumed, _ = update(resumed, batches)
    assert_identical(resumed, trained[6])


@pytest.mark.long
def test_the_last_ones_are_kept(tmp_path, trained):
    for step in (1, 2, 3, 5):
        checkpoint.save(tmp_path, step, trained[step], {"step": step})
    assert checkpoint.steps(tmp_path) == [3, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "5"], "nothing else is left, no trash either"
    assert checkpoint.restore(tmp_path, trained[0])[0] == 5
    assert checkpoint.restore(tmp_path, trained[0], most=3)[2] == checkpoint.restore(tmp_path, trained[0], most=4)[2] == {"step": 3}
    assert checkpoint.restore(tmp_path, trained[0], most=2) is None
    checkpoint.save(tmp_path, 6, trained[6], {}, keep=3)
    assert checkpoint.steps(tmp_path) == [3, 5, 6]


@pytest.mark.long
def test_only_what_is_called_as_a_step_is_one(tmp_path, trained):
    checkpoint.save(tmp_path, 1, trained[1], {})
    for name in ("09", "٣", "3.corrupt", "-3", "notes"):
        (tmp_path / name).mkdir()
    assert checkpoint.steps(tmp_path) == [1]


@pytest.mark.long
def test_a_step_that_is_there_is_left_alone(tmp_path, trained):
    checkpoint.save(tmp_path, 1, trained[1], {"first": True})
    checkpoint.save(tmp_path, 1, trained[1], {"first": False})
    assert checkpoint.restore(tmp_path, trained[0])[2] == {"first": True}


def largest(step: Path) -> Path:
    """A file with values in it."""
    return max((path for path in (step / "arrays").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip_one_byte(step: Path) -> None:
    content = bytearray(largest(step).read_bytes())
    content[len(content) // 2] ^= 1
    largest(step).write_bytes(content)


def truncate(step: Path) -> None:
    file = largest(step)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES = {
    "one byte changed": flip_one_byte,
    "truncated": truncate,
    "arrays gone": lambda step: shutil.rmtree(step / "arrays"),
    "record gone": lambda step: (step / "record" / "metadata").unlink(),
    "seal gone": lambda step: (step / checkpoint.SEAL).unlink(),
    "seal cut": lambda step: (step / checkpoint.SEAL).write_text("{"),
    "seal of nothing": lambda step: (step / checkpoint.SEAL).write_text("{}"),
    "seal of another kind": lambda step: (step / checkpoint.SEAL).write_text("[1]"),
    "all gone": lambda step: [shutil.rmtree(step), step.mkdir()],
}


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_step_is_named_and_the_one_before_is_used(tmp_path, trained, caplog, damage):
    folder = tmp_path / "checkpoint"
    for step in (1, 2):
        checkpoint.save(folder, step, trained[step], {"step": step})
    damage(folder / "2")
    with caplog.at_level(logging.WARNING):
        step, states, extra = checkpoint.restore(folder, trained[0], owned=True)
    assert (step, extra) == (1, {"step": 1})
    assert_identical(states, trained[1])
    aside = tmp_path / "checkpoint.corrupt" / "2.corrupt"
    assert [record.name for record in caplog.records] == ["attention_jax.running.checkpoint"]
    assert f"{folder / '2'} is unreadable" in caplog.text
    assert str(aside) in caplog.text
    assert aside.is_dir()
    checkpoint.save(folder, 2, trained[2], {})
    assert checkpoint.restore(folder, trained[0])[0] == 2


@pytest.mark.long
def test_nothing_readable_is_nothing_and_said_so(tmp_path, trained, caplog):
    folder = tmp_path / "checkpoint"
    for _ in range(2):  # the second time the name among the corrupt ones is taken
        checkpoint.save(folder, 1, trained[1], {})
        truncate(folder / "1")
        assert checkpoint.restore(folder, trained[0], owned=True) is None
    assert caplog.text.count("is unreadable") == 2


@pytest.mark.long
def test_a_step_that_is_deleted_while_it_is_read_is_followed_by_the_newest(tmp_path, trained, caplog, monkeypatch):
    """As by a run that goes on while it is loaded."""
    folder, read = tmp_path / "checkpoint", checkpoint._read
    checkpoint.save(folder, 1, trained[1], {})

    def overtaken(path, like):
        if path.name == "1":
            for step in (2, 3):
                checkpoint.save(folder, step, trained[step], {})
        return read(path, like)

    monkeypatch.setattr(checkpoint, "_read", overtaken)
    assert checkpoint.restore(folder, trained[0])[0] == 3
    assert caplog.text == "" and checkpoint.steps(folder) == [2, 3] and not (tmp_path / "checkpoint.corrupt").exists()


@pytest.mark.long
def test_who_only_reads_sets_nothing_aside(tmp_path, trained, caplog):
    folder = tmp_path / "checkpoint"
    for step in (1, 2):
        checkpoint.save(folder, step, trained[step], {})
    truncate(folder / "2")
    assert checkpoint.restore(folder, trained[0])[0] == 1
    assert "the one before it is used" in caplog.text and checkpoint.steps(folder) == [1, 2]


@pytest.mark.long
def test_writers_at_once_keep_their_drafts(tmp_path, trained, monkeypatch):
    """A holder that was taken for dead wakes within a save, and its successor saves the same step."""
    seal = checkpoint._seal

    def halted(path):
        monkeypatch.setattr(checkpoint, "_seal", seal)
        checkpoint.save(tmp_path, 1, trained[1], {"whose": "the successor's"})
        seal(path)

    monkeypatch.setattr(checkpoint, "_seal", halted)
    checkpoint.save(tmp_path, 1, trained[1], {"whose": "the first one's"})
    assert checkpoint.restore(tmp_path, trained[0])[2] == {"whose": "the successor's"}
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def refusing(error: Exception):
    def refuse(*arguments, **settings):
        raise error

    return refuse


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "name", "error", "raised"),
    [
        (parallel, "place", JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), JaxRuntimeError),
        (checkpoint.ocp.Checkpointer, "restore", ValueError("UNAVAILABLE: x [os_error_code='24']"), StorageError),
        (checkpoint, "_digests", OSError(errno.EMFILE, "Too many open files"), StorageError),
    ],
)
def test_a_sound_step_stays_whatever_keeps_it_from_being_restored(tmp_path, trained, monkeypatch, module, name, error, raised):
    """A state has to fit twice into a device's memory while it is restored, and may not: that is no reason to begin anew."""
    folder = tmp_path / "checkpoint"
    for step in (1, 2):
        checkpoint.save(folder, step, trained[step], {})
    monkeypatch.setattr(module, name, refusing(error))
    with pytest.raises(raised):
        checkpoint.restore(folder, trained[0])
    monkeypatch.undo()
    assert checkpoint.steps(folder) == [1, 2] and checkpoint.restore(folder, trained[0])[0] == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda states: states.params["logits"].pop("bias"), r"params\.logits\.bias is float32\[2, 9\] there, absent here"),
        (lambda states: states.params.update(extra=jnp.zeros(1)), r"params\.extra is absent there, float32\[1\] here"),
        (lambda states: states.params.update(target_embedding=jnp.zeros((2, 9, 5))), r"target_embedding is float32\[2, 9, 4\] there"),
    ],
)
def test_foreign_checkpoint_is_refused_and_left_alone(tmp_path, trained, change, message):
    checkpoint.save(tmp_path, 1, trained[1], {})
    other = jax.tree.map(lambda x: x, trained[0])
    change(other)
    with pytest.raises(RunError, match=message) as error:
        checkpoint.restore(tmp_path, other)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert checkpoint.steps(tmp_path) == [1]


@pytest.mark.long
def test_empty_arrays_of_old_steps_are_left_out(tmp_path, trained):
    """Format 1 named them in its record and kept nothing of them; an array with numbers must have its place."""
    taken = checkpoint.snapshot(trained[1])
    for kind, readable in (("float32[2, 0, 18]", True), ("float32[2, 1, 18]", False)):
        shutil.rmtree(tmp_path / "checkpoint", ignore_errors=True)
        checkpoint.write(tmp_path / "checkpoint", 1, taken._replace(kinds=taken.kinds | {"params.decoder.context": kind}), EXTRA)
        if readable:
            assert_identical(checkpoint.restore(tmp_path / "checkpoint", trained[0])[1], trained[1])
            continue
        with pytest.raises(RunError, match=r"params\.decoder\.context is float32\[2, 1, 18\] there, absent here"):
            checkpoint.restore(tmp_path / "checkpoint", trained[0])


@pytest.mark.long
def test_foreign_optimizer_is_refused(tmp_path, trained):
    checkpoint.save(tmp_path, 1, trained[1], {})
    sgd = replace(CONFIG.training, optimizer="sgd")
    other = trained[0].replace(opt_state=training.optimizer(sgd).init(trained[0].params))
    with pytest.raises(RunError, match=r"another config: opt_state\."):
        checkpoint.restore(tmp_path, other)


@pytest.mark.long
def test_unwritable_place_is_named(tmp_path, trained):
    for blocked in (tmp_path / "file", tmp_path / "file" / "checkpoint"):
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(RunError, match="cannot write a checkpoint to") as error:
            checkpoint.save(blocked, 1, trained[1], {})
        assert str(blocked) in str(error.value)


@pytest.mark.long
def test_full_disk_is_one_line(tmp_path, trained, monkeypatch):
    def full(*arguments, **settings):
        where = 'Error writing "a/.zarray" in OCDBT database at local file "/x/": Failed to write 178 bytes to file 16'
        raise ValueError(f"RESOURCE_EXHAUSTED: {where}: No space left on device [tensorstore_spec='{{...\\n}}'] [os_error_code='28']")

    checkpoint.save(tmp_path, 1, trained[1], {})
    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "save", full)
    with pytest.raises(RunError, match=f"cannot write a checkpoint to {tmp_path}: No space left on device; once that is mended"):
        checkpoint.save(tmp_path, 2, trained[2], {})
    assert checkpoint.steps(tmp_path) == [1]


@pytest.mark.long
def test_orbax_is_silent_and_levels_are_restored(tmp_path, trained, caplog, capfd):
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.INFO)
    try:
        with caplog.at_level(logging.DEBUG):
            checkpoint.save(tmp_path, 1, trained[1], {})
            checkpoint.restore(tmp_path, trained[0])
        assert absl.level == logging.INFO
    finally:
        absl.setLevel(level)
    assert [record for record in caplog.records if record.name.startswith(("absl", "orbax"))] == []
    assert capfd.readouterr() == ("", "")


SAVING = """
import json, sys
import jax.numpy as jnp
from attention_jax.running import checkpoint
from tests.built import started
for step in range(1, 10_000):
    checkpoint.save(sys.argv[1], step, {"values": jnp.full((50, 50), step)}, {"step": step})
    print(json.dumps(step), flush=True)
"""


@pytest.mark.long
def test_killed_while_saving_leaves_what_was_announced(tmp_path, caplog):
    folder, like = tmp_path / "checkpoint", {"values": jax.ShapeDtypeStruct((50, 50), jnp.int32)}
    for round in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        process = subprocess.Popen([sys.executable, "-c", SAVING, folder], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        with process:
            announced = [json.loads(process.stdout.readline()) for _ in range(4)]
            time.sleep(0.01 + 0.03 * round)
            process.send_signal(signal.SIGKILL)
            announced += [json.loads(line) for line in process.stdout]
        step, states, extra = checkpoint.restore(folder, like)
        assert announced[-1] <= step <= announced[-1] + 1
        assert extra == {"step": step}
        assert bool((states["values"] == step).all())
        checkpoint.tidy(folder)
        checkpoint.save(folder, 20_000, states, {})
        assert {path.name for path in folder.iterdir()} == {str(step), "20000"}, "what the kill left is gone"
    assert caplog.text == ""
