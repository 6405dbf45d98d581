"""Files of a run, damaged behind its back: noticed, named, and the run still ends bit-identical, or says in one line what to do."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from attention_jax import trained
from attention_jax.running import checkpoint, failures, loop, results
from attention_jax.sweeps import sweep
from attention_jax.system.errors import DataError, RunError
from experiments import bottleneck
from tests.faults import scenarios

SCENARIO = scenarios.SCENARIOS["plain"]
SETTINGS = [
    *SCENARIO.settings.split(),
    "training.evaluate=best",
    "training.learning_rates=0.01,0.02",
    "training.pilot_updates=2",
    "training.pilot_seeds=1",
]


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES = {
    "half of it": halve,
    "one byte changed": flip,
    "empty": lambda file: file.write_bytes(b""),
    "missing": Path.unlink,
    "a folder instead": make_folder,
}
DAMAGED = pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))


def go(directory: Path) -> list[dict]:
    """Trains the run there, in this process."""
    run = sweep.plan(bottleneck, "tiny", SETTINGS, "unused")[SCENARIO.index]
    return loop.run(run.config, directory, run.fields)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished") / "run"
    go(directory)
    return directory


@pytest.fixture(scope="module")
def reference(finished):
    return scenarios.state(finished)


@pytest.fixture
def unfinished(finished, tmp_path):
    """As a kill before the last rows leaves it; the last checkpoint is there, and the one before it."""
    directory = shutil.copytree(finished, tmp_path / "run")
    lines = (directory / "rows.jsonl").read_text().splitlines(keepends=True)
    (directory / "rows.jsonl").write_text("".join(lines[: len(lines) // 2]))
    (directory / "example.json").unlink()
    assert checkpoint.steps(directory / "checkpoint") == [6, 8]
    return directory


def warned(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.long
@DAMAGED
def test_any_file_of_a_step(unfinished, tmp_path, caplog, damage):
    """File by file; the seal as well."""
    like = scenarios.like(unfinished)
    files = [file.relative_to(unfinished) for file in sorted((unfinished / "checkpoint" / "8").rglob("*")) if file.is_file()]
    assert len(files) > 5
    for number, file in enumerate(files):
        if not (unfinished / file).stat().st_size and damage is not Path.unlink and damage is not make_folder:
            continue
        copy = shutil.copytree(unfinished, tmp_path / str(number))
        damage(copy / file)
        caplog.clear()
        step, _, _ = checkpoint.restore(copy / "checkpoint", like, owned=True)
        assert step == 6, file
        (message,) = warned(caplog)
        assert f"{copy / 'checkpoint' / '8'} is unreadable" in message and f"{copy / 'checkpoint.corrupt' / '8.corrupt'}" in message
        assert "\n" not in message
        shutil.rmtree(copy)


@pytest.mark.long
@DAMAGED
def test_the_run_goes_on_from_the_step_before(unfinished, reference, caplog, damage):
    damage(max((unfinished / "checkpoint" / "8").rglob("*"), key=lambda file: file.is_file() and file.stat().st_size))
    go(unfinished)
    assert [message.partition(" (")[0] for message in warned(caplog)] == [f"checkpoint {unfinished}/checkpoint/8 is unreadable"]
    assert scenarios.differences(unfinished, reference) == []


@pytest.mark.long
def test_no_step_is_left(unfinished, reference, caplog):
    for step, damage in ((6, flip), (8, halve)):
        damage(unfinished / "checkpoint" / str(step) / "record" / "metadata")
    go(unfinished)
    assert len(warned(caplog)) == 2
    assert scenarios.differences(unfinished, reference) == []


@pytest.mark.long
def test_unreadable_steps_do_not_push_out_a_readable_one(unfinished, reference):
    """The last two are kept, but not counted before they are read."""
    flip(unfinished / "checkpoint" / "8" / "record" / "metadata")
    (unfinished / "checkpoint" / "9").mkdir()
    before = (unfinished / "checkpoint" / "6" / "seal.json").stat()
    go(unfinished)
    assert (unfinished / "checkpoint" / "6" / "seal.json").stat().st_mtime_ns == before.st_mtime_ns, "it was not gone on from"
    assert scenarios.differences(unfinished, reference) == []


def swap(directory: Path) -> None:
    """The contents of two steps under each other's name."""
    folder = directory / "checkpoint"
    for old, new in (("6", "x"), ("8", "6"), ("x", "8")):
        (folder / old).rename(folder / new)


ODDITIES: dict[str, Callable[[Path], object]] = {
    "a step that is a file": lambda run: [shutil.rmtree(run / "checkpoint" / "8"), (run / "checkpoint" / "8").write_text("8")],
    "an empty step": lambda run: (run / "checkpoint" / "9").mkdir(),
    "a step without a seal": lambda run: (run / "checkpoint" / "8" / "seal.json").unlink(),
    "steps that changed places": swap,
    "a draft": lambda run: shutil.copytree(run / "checkpoint" / "8", run / "checkpoint" / ".draft" / "9"),
    "a draft that is a file": lambda run: (run / "checkpoint" / ".draft").touch(),
    "trash": lambda run: shutil.copytree(run / "checkpoint" / "6", run / "checkpoint" / ".trash" / "4"),
    "a torn last row": lambda run: (run / "rows.jsonl").write_bytes((run / "rows.jsonl").read_bytes() + b'{"experiment": "bott'),
    "no rate curve": lambda run: (run / "rates.jsonl").unlink(),
    "half of a rate curve": lambda run: (run / "rates.jsonl").write_bytes((run / "rates.jsonl").read_bytes()[:-30]),
    "what is left of trials": lambda run: shutil.copytree(run / "checkpoint", run / "trials" / "0.01-0"),
    "half of a file that is replaced": lambda run: (run / ".example.json.12345").write_text("{"),
}


@pytest.mark.long
@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=list(ODDITIES))
def test_oddities(unfinished, reference, oddity):
    oddity(unfinished)
    go(unfinished)
    assert scenarios.differences(unfinished, reference) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "damage"),
    [("config.json", damage) for damage in DAMAGES] + [("rates.jsonl", "a folder instead")],
)
def test_a_file_without_another_copy_is_named(unfinished, name, damage):
    kept = {file: file.read_bytes() for file in unfinished.rglob("*") if file.is_file() and file.name not in (name, ".lock")}
    DAMAGES[damage](unfinished / name)
    with pytest.raises((RunError, DataError)) as error:
        go(unfinished)
    assert str(unfinished) in str(error.value) and "\n" not in str(error.value)
    assert [file for file in kept if file.read_bytes() != kept[file]] == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["rows.jsonl", "example.json", "failure.txt", ".lock"])
def test_a_folder_that_is_called_as_a_file_is_named(unfinished, name):
    (unfinished / name).unlink(missing_ok=True)
    (unfinished / name).mkdir()
    with pytest.raises((RunError, DataError), match=f"{unfinished}.*: Is a directory"):
        go(unfinished)


@pytest.mark.long
def test_a_rate_curve_that_was_changed_is_refused(unfinished):
    file = unfinished / "rates.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"learning_rate": 0.01', b'"learning_rate": 0.03', 1))
    with pytest.raises(DataError, match=r"rates\.jsonl, line 1 is damaged: its checksum is not that of its content"):
        go(unfinished)


@pytest.mark.long
@pytest.mark.parametrize("lost", ["rows.jsonl", "example.json"])
def test_what_was_lost_of_a_finished_run_is_made_again(finished, tmp_path, reference, lost):
    directory = shutil.copytree(finished, tmp_path / "run")
    (directory / lost).unlink()
    go(directory)
    assert scenarios.differences(directory, reference) == []


@pytest.mark.long
def test_rows_of_a_finished_run_that_are_cut(finished, tmp_path, reference):
    """At any byte: what is missing is written again, and nothing twice."""
    whole = (finished / "rows.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    first = len(b"".join(lines[: len(lines) // 2]))  # those of half of the budget are on disk before training goes on
    for size in range(len(whole) - 1, first, -len(whole) // 12):
        directory = shutil.copytree(finished, tmp_path / str(size))
        (directory / "rows.jsonl").write_bytes(whole[:size])
        assert len(go(directory)) == len(results.read(finished / "rows.jsonl"))
        assert scenarios.differences(directory, reference) == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["config.json", "rows.jsonl", "rates.jsonl", "example.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(finished, tmp_path, name):
    directory = shutil.copytree(finished, tmp_path / "run")
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises((RunError, DataError), match=f"{name}: it is no regular file"):
        go(directory)
        results.read_json(directory / name)  # an example is read where a sweep is concluded


def test_a_failure_that_is_a_pipe_or_without_an_end_says_nothing(tmp_path):
    os.mkfifo(tmp_path / failures.FILE)
    assert failures.failed(tmp_path) == ""
    (tmp_path / failures.FILE).unlink()
    with (tmp_path / failures.FILE).open("wb") as file:
        file.truncate(40 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nValueError: no")
    assert failures.failed(tmp_path) == "ValueError: no"


@pytest.mark.long
@pytest.mark.parametrize("name", [".lock", "rows.jsonl", "config.json", "failure.txt", "checkpoint", "checkpoint/8", "checkpoint/8/record"])
def test_nothing_is_written_through_a_link(unfinished, tmp_path, name):
    victim = tmp_path / "victim"
    if (unfinished / name).exists():
        (unfinished / name).rename(victim)
    else:
        victim.write_text("dear")
    (unfinished / name).symlink_to(victim)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=f"{unfinished / name} is a link"):
        go(unfinished)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.long
def test_a_reader_moves_nothing(unfinished, caplog):
    for step in ("6", "8"):
        flip(unfinished / "checkpoint" / step / "record" / "metadata")
    before = sorted(unfinished.rglob("*"))
    with pytest.raises(RunError, match="has no checkpoint"):
        trained.load(unfinished)
    assert sorted(unfinished.rglob("*")) == before and len(warned(caplog)) == 2


@pytest.mark.long
def test_a_checkpoint_of_terabytes_is_not_read(unfinished, caplog):
    with (unfinished / "checkpoint" / "8" / "record" / "more").open("wb") as file:
        file.truncate(4 << 40)
    assert checkpoint.restore(unfinished / "checkpoint", scenarios.like(unfinished))[0] == 6
    assert "its files have 4,398,0" in warned(caplog)[0]
