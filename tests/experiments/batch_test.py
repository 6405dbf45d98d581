"""What batch jobs rely on: status from the folders alone, failures that are kept and not repeated, a conclusion of its own, exit codes."""

import json
import logging
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

from attention_jax.running import lock, logs, results
from attention_jax.running.lock import Lock
from attention_jax.training import compiled
from experiments import run
from tests.experiments.command import call

SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 data.symbols=3 data.longest=3 data.eval_lengths=1,2 data.eval_examples=4 "
    "training.seeds=2 training.updates=4 training.batch_size=4 training.learning_rates=0.01 training.warmup=1 training.chunk=2 "
    "training.checkpoint_every=4 data.held_out=0 model.vector_size=0"
).split()
TINY = ["--experiment=bottleneck", "--arms=none,summary,additive", *(f"--set={setting}" for setting in SETTINGS)]
ARMS = ("none", "summary", "additive")


@pytest.fixture
def breaks(monkeypatch):
    """breaks(arm, error): from now on that arm's updates raise."""
    before, broken = compiled.advance, {}

    def advance(resolved, source):
        inner, arm = before(resolved, source), resolved.config.model.attention

        def wrapped(states, seeds, step, updates):
            if arm in broken:
                raise broken[arm]
            return inner(states, seeds, step, updates)

        return wrapped

    monkeypatch.setattr(compiled, "advance", advance)
    return broken


def states(capsys, *arguments) -> dict[str, list[str]]:
    """{arm: [state, update, share, the rest]} of its line in --status."""
    assert call(*TINY, *arguments, "--status") == 0
    lines = capsys.readouterr().out.splitlines()
    notes = {line.split()[0]: line.partition(": ")[2] for line in lines[5:-1]}
    assert max(map(len, lines[:5])) < 100, "a note, however long, widens no other line"
    cells = [[*line.split(maxsplit=5), *[""] * (5 - len(line.split(maxsplit=5)))] for line in lines[2:5]]
    return {found[1].split("/")[1].split("-")[0]: [*found[2:5], "  ".join([*found[5:], notes.get(found[0], "")])] for found in cells}


@pytest.mark.long
def test_failures_are_kept_and_others_go_on(tmp_path, capsys, breaks):
    workdir = f"--workdir={tmp_path}"
    breaks["summary"] = KeyError("made\nup")
    assert call(*TINY, workdir) == 1
    errors = capsys.readouterr().err
    folder = tmp_path / "bottleneck" / "summary-gru-h6-d0-u4"
    assert f"error: {folder}: KeyError: 'made\\nup'; the traceback is in failure.txt\n" in errors
    assert errors.splitlines()[-1].startswith(f"error: 1 of 3 runs failed: {folder}; see failure.txt there, and --retry_failed")
    assert "Traceback (most recent call last)" in (folder / "failure.txt").read_text()
    found = states(capsys, workdir)
    assert {arm: cells[0] for arm, cells in found.items()} == {"none": "finished", "summary": "failed", "additive": "finished"}
    assert "KeyError" in found["summary"][-1]

    breaks.clear()
    assert call(*TINY, workdir) == 1  # it is not repeated by itself
    assert f"left out: {folder} failed before (KeyError" in capsys.readouterr().err
    assert call(*TINY, workdir, "--conclude") == 1
    assert "1 of 3 runs are not finished: bottleneck/summary-gru-h6-d0-u4; see --status" in capsys.readouterr().err
    assert call(*TINY, workdir, "--retry_failed") == 0
    assert not (folder / "failure.txt").exists() and "Verdict: " in capsys.readouterr().out
    assert {cells[0] for cells in states(capsys, workdir).values()} == {"finished"}

    (tmp_path / "bottleneck" / "rows.jsonl").unlink()
    assert call(*TINY, workdir, "--conclude") == 0
    merged = results.merge(tmp_path / "bottleneck" / f"{arm}-gru-h6-d0-u4" / "rows.jsonl" for arm in ARMS)
    assert results.read(tmp_path / "bottleneck" / "rows.jsonl") == merged


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.\nmore")]
)
def test_exhausted_memory_names_what_to_lower(tmp_path, capsys, breaks, error):
    breaks["additive"] = error
    assert call(*TINY, f"--workdir={tmp_path}", "--set=model.attention=additive") == 1
    line = capsys.readouterr().err.rpartition("error: ")[2]
    assert "out of memory" in line and "lower training.batch_size=4, training.seeds=2" in line and "model.hidden_size=6" in line


def test_status_while_runs_live_and_after_they_were_killed(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "bottleneck" / "none-gru-h6-d0-u4"
    with Lock(folder) as held:
        held.say(update=3, updates=4, seconds_left=120)
        held._write()
        found = states(capsys, f"--workdir={tmp_path}")
        assert found["none"][:3] == ["running", "3/4", "75%"] and found["none"][3].startswith(f"2 min  process {os.getpid()} on ")
        assert found["additive"][0] == "waiting"
        left = json.loads((folder / lock.FILE).read_text())
    (folder / lock.FILE).write_text(json.dumps(left | {"process": 2**22 + 1}))  # no such process
    assert states(capsys, f"--workdir={tmp_path}")["none"][0] == "stale"
    monkeypatch.setattr(lock, "BEAT", 0.3)
    (folder / lock.FILE).write_text(json.dumps(left | {"machine": "another", "time": 0}))
    assert states(capsys, f"--workdir={tmp_path}")["none"][0] == "stale"


def test_status_names_a_damaged_row(tmp_path, capsys):
    folder = tmp_path / "bottleneck" / "none-gru-h6-d0-u4"
    folder.mkdir(parents=True)
    for row, complaint in (({"seed": 0}, "line 1 has no run"), ({"run": [1]}, "line 1 has no run")):
        (folder / "rows.jsonl").write_bytes(results.lines([row]))
        found = states(capsys, f"--workdir={tmp_path}")
        assert found["none"][0] == "failed" and complaint in found["none"][3] and found["additive"][0] == "waiting"
        assert call(*TINY, f"--workdir={tmp_path}", "--conclude") == 2
        assert complaint in capsys.readouterr().err


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "experiments.run", *TINY, "--set=model.attention=additive", *map(str, arguments)]


def environment() -> dict:
    return os.environ | {"PYTHONPATH": str(Path(run.__file__).resolve().parent.parent)}


@pytest.mark.long
def test_a_time_limit_saves(tmp_path):
    limited = command(f"--workdir={tmp_path}", "--set=training.updates=1000000", "--max_seconds=5")
    finished = subprocess.run(limited, env=environment(), capture_output=True, text=True, timeout=200)
    assert finished.returncode == 75, finished.stderr
    assert "(--max_seconds=5); the same command" in finished.stderr or "left within a compilation" in finished.stderr


def test_a_signal_before_anything_began(tmp_path):
    with subprocess.Popen(command(f"--workdir={tmp_path}"), env=environment(), stderr=subprocess.PIPE, text=True) as process:
        while "experiments.run" not in Path(f"/proc/{process.pid}/cmdline").read_text():
            time.sleep(0.01)
        time.sleep(0.3)  # within its imports
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (75, -signal.SIGUSR1) and "Traceback" not in errors  # Python itself starts in less


def events(folder: Path) -> list[tuple[int, str, float]]:
    """(update, name, value) of the event files, which are TFRecords: length, checksum, event, checksum."""
    from tensorboardX.proto import event_pb2

    found = []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


@pytest.mark.long
def test_losses_for_tensorboard(tmp_path):
    assert call(*TINY, f"--workdir={tmp_path}", "--set=model.attention=additive", "--tensorboard") == 0
    found = events(tmp_path / "bottleneck" / "additive-gru-h6-d0-u4" / "events")
    results = {f"{what}/length_{length}" for what in ("exact_match", "loss") for length in (1, 2)}
    assert {name for _, name, _ in found} == {"loss/seed_0", "loss/seed_1"} | results and max(update for update, _, _ in found) == 4
    assert all(0 <= value < 10 and np.isfinite(value) for _, _, value in found)


def test_tensorboard_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert call(*TINY, f"--workdir={tmp_path}", "--set=model.attention=additive", "--tensorboard") == 2
    assert "--writers=tensorboard needs tensorboardX: pip install tensorboardX" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("--status > /dev/full", 74, "error: cannot write to standard output: No space left on device\n"),
        ("--list | head -1", 0, ""),
        ("--list > /dev/null", 0, ""),
    ],
)
def test_standard_output_that_refuses(tmp_path, redirected, code, said):
    """In ASCII, too: rules of tables are drawn with letters that it lacks."""
    command = ["bash", "-o", "pipefail", "-c", f'"$0" -m experiments.run "$@" {redirected}', sys.executable, *TINY, f"--workdir={tmp_path}"]
    ended = subprocess.run(command, env=environment() | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stderr) == (code, said)


@pytest.mark.parametrize("flag", ["--max_seconds=nan", "--stuck_seconds=nan", "--max_seconds=inf", "--max_seconds=-1"])
def test_seconds_are_finite(flag):
    with pytest.raises(SystemExit) as refused, flagsaver.flagsaver():
        run.parsed(["run", flag])
    assert refused.value.code == 2


def test_log_lines_say_of_which_run_and_update(tmp_path, caplog):
    assert logs.place() == ""
    record = logging.LogRecord("attention_jax.running.checkpoint", logging.WARNING, "", 0, "%s is gone", ("it",), None)
    assert logs.Formatter().format(record) == "warning: it is gone"
    logs.at(run="bottleneck/additive", update=7)
    try:
        assert logs.Formatter().format(record) == "warning [bottleneck/additive update 7]: it is gone"
    finally:
        logs.at()


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator=localhost:1"], "--coordinator=localhost:1 needs --processes (how many) and --process (which, below that)"),
        (["--coordinator=localhost:1", "--processes=2", "--process=2"], "needs --processes (how many) and --process (which, below that)"),
        (["--processes=2", "--process=1"], "finds no cluster"),  # and does not train alone
        (["--processes=two"], "error: flag --processes=two: "),
    ],
)
def test_processes_that_cannot_be(tmp_path, arguments, message):
    refused = subprocess.run(
        command(f"--workdir={tmp_path}/runs", *arguments), env=environment(), capture_output=True, text=True, timeout=200
    )
    assert refused.returncode == 2 and message in refused.stderr and not (tmp_path / "runs").exists()


@pytest.mark.long
def test_no_cluster_is_said_so(tmp_path):
    alone = {name: value for name, value in environment().items() if not name.startswith("SLURM")}
    refused = subprocess.run(command(f"--workdir={tmp_path}/runs", "--distributed"), env=alone, capture_output=True, text=True, timeout=200)
    assert refused.returncode == 2 and "--distributed finds no cluster" in refused.stderr and refused.stderr.count("\n") == 1


def test_deterministic_flags_are_known_to_xla():
    program = (
        "from attention_jax.system import machine; machine.prepare(keep=False, deterministic=True);"
        "import jax; print(jax.numpy.ones(3).sum())"
    )
    finished = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0 and finished.stdout == "3.0\n", finished.stderr
