"""One run over several processes (jax.distributed on one machine): the same rows as one process writes, and nobody waits for the dead."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attention_jax.running import checkpoint, results

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "model.attention=additive model.dropout=0.2 model.hidden_size=6 model.embedding_size=4 data.symbols=3 data.longest=3 "
    "data.eval_lengths=1,2 data.eval_examples=4 training.seeds=2 training.updates=6 training.batch_size=4 training.warmup=1 "
    "training.learning_rates=0.01 training.chunk=2 training.checkpoint_every=2 training.evaluate=best data.held_out=0 model.vector_size=0"
).split()
SYNTHETIC = ["--experiment=bottleneck", *(f"--set={setting}" for setting in SETTINGS)]
ALERT = "from attention_jax.system import machine; machine.HEARTBEAT = 10; from experiments import run; run.cli()"
"""The command, with a third of the patience for another process that shows no sign of life."""
ENDLESS = [*SYNTHETIC, "--set=training.updates=1000000"]


@contextlib.contextmanager
def started(
    workdir: Path, processes: int, devices: int, arguments: list[str], elsewhere: Path | None = None, program=("-m", "experiments.run")
):
    """So many processes of so many devices each, all but the first with the workdir `elsewhere`; killed when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    running = []
    try:
        for i in range(processes):
            several = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}", f"--process={i}"] * (processes > 1)
            place = elsewhere if elsewhere and i else workdir
            command = [sys.executable, *program, *arguments, f"--workdir={place}", *several]
            with (workdir.parent / f"{workdir.name}.{i}.log").open("w") as log:
                running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log))
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def said(workdir: Path, process: int) -> str:
    return (workdir.parent / f"{workdir.name}.{process}.log").read_text()


def finish(workdir: Path, processes: int, devices: int, arguments: list[str], elsewhere: Path | None = None) -> list[dict]:
    """The rows of such a run, which every process ends with status 0."""
    with started(workdir, processes, devices, arguments, elsewhere) as running:
        assert [process.wait(timeout=400) for process in running] == [0] * processes, said(workdir, 0)
    (rows,) = workdir.glob("*/rows.jsonl")
    return results.read(rows)


def assert_same(rows: list[dict], others: list[dict]) -> None:
    """Equal rows but for seconds, numbers to 1e-5."""
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds"}:
            assert row[name] == (pytest.approx(other[name], abs=1e-5) if isinstance(other[name], float) else other[name]), name


def test_how_devices_are_dealt_out_changes_nothing(tmp_path):
    alone = finish(tmp_path / "1", 1, 8, SYNTHETIC)
    for processes in (2, 4):
        assert_same(finish(tmp_path / str(processes), processes, 8 // processes, SYNTHETIC), alone)
        assert "Traceback" not in said(tmp_path / str(processes), 1)


def test_trials_of_rates_are_those_that_the_first_process_sees(tmp_path):
    """The second one sees none of the first one's files, as on a network that is slow to show them."""
    settings = ["training.learning_rates=0.01,0.02,0.04", "training.pilot_seeds=2"]
    arguments = [*SYNTHETIC, *(f"--set={setting}" for setting in settings)]
    alone = finish(tmp_path / "1", 1, 4, arguments)
    for _ in range(2):  # the second time all is there
        assert_same(finish(tmp_path / "2", 2, 2, arguments, elsewhere=tmp_path / "empty"), alone)
    curves = [results.read(path) for n in "12" for path in (tmp_path / n).glob("*/*/rates.jsonl")]
    assert_same(*curves)


@pytest.mark.usefixtures("tfds")
def test_text_is_shared_out_too(tmp_path):
    lines = [f"{'a b c d'[: 1 + 2 * (i % 4)]} {'xyz'[i % 3]}\t{'e f g h'[: 1 + 2 * (i % 4)]}\n" for i in range(400)]
    (tmp_path / "lines.tsv").write_text("".join(dict.fromkeys(lines)) + "".join(f"n{i} a\tm{i} e\n" for i in range(200)))
    settings = [
        "data.task=parallel_text",
        f"text.source_file={tmp_path}/lines.tsv",
        "text.vocabulary_size=60",
        "text.buckets=16",
        "text.cut=16",
    ]
    settings += ["training.seeds=1", "data.eval_lengths=2,5", "text.max_words=0", "text.join_max=1"]
    arguments = ["--experiment=translation_length", *SYNTHETIC[1:], *(f"--set={s}" for s in settings), f"--cache_dir={tmp_path}/cache"]
    assert_same(finish(tmp_path / "2", 2, 2, arguments), finish(tmp_path / "1", 1, 4, arguments))


def begun(workdir: Path) -> Path:
    """The folder of the checkpoints, once there are some."""
    for _ in range(1200):
        if found := [folder for folder in workdir.glob("*/*/checkpoint") if len(checkpoint.steps(folder)) > 1]:
            return found[0]
        time.sleep(0.25)
    pytest.fail(said(workdir, 0))


def test_a_signal_to_one_stops_all_and_others_go_on(tmp_path):
    workdir = tmp_path / "runs"
    with started(workdir, 2, 2, ENDLESS) as running:
        folder = begun(workdir)
        running[1].send_signal(signal.SIGTERM)
        assert [process.wait(timeout=60) for process in running] == [75, 75]
    assert "(SIGTERM); the same command goes on" in said(workdir, 1) and "(another process was asked to)" in said(workdir, 0)
    saved = checkpoint.steps(folder)[-1]
    with started(workdir, 1, 4, ENDLESS) as (alone,):  # another topology
        while checkpoint.steps(folder)[-1] <= saved and alone.poll() is None:
            time.sleep(0.25)
        alone.send_signal(signal.SIGINT)
        assert alone.wait(timeout=60) == 75, said(workdir, 0)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_dead_process_ends_the_others(tmp_path, killed):
    workdir = tmp_path / "runs"
    with started(workdir, 2, 1, ENDLESS, program=("-c", ALERT)) as running:
        folder = begun(workdir)
        running[killed].kill()
        assert running[1 - killed].wait(timeout=90) not in (0, None)
    assert not (folder.parent / "failure.txt").exists()
    if killed == 1:
        assert running[0].returncode == 75 and "another process of this run is gone" in said(workdir, 0)
