"""Parts f and g: the experiment itself, by its own command line: bottleneck's tiny preset, the longer budgets of verdict, full.

A sweep that does not end in its time is stopped, and saves; the row says how far it is, and the same command goes on. One that ended says
its verdict, and leaves its results as an archive in the folder of rows. verdict has the budgets of tiny and two more, so they share runs.
Learning rates are those that are kept with the experiment; full measures its own.
"""

import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attention_jax.running import finished
from attention_jax.sweeps import archive, sweep
from attention_jax.system import signals
from attention_jax.system.errors import RunError, Stopped
from benchmarks import rows
from benchmarks.cards.task import Task
from benchmarks.rows import Row
from experiments import bottleneck

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"tiny": "tiny", "verdict": "tiny", "full": "full"}
RESERVE = signals.GRACE + 5  # seconds that saving and leaving may take
ARCHIVED = ("*.json", "*.jsonl", "*.png", "*.html")
SMALL = (
    "model.hidden_size=6 model.embedding_size=4 model.vector_size=0 data.symbols=3 data.longest=3 data.held_out=0 data.eval_lengths=1,2,3 "
    "data.eval_examples=4 training.seeds=2 training.batch_size=4 training.updates=4 training.learning_rates=0.01 training.chunk=2"
).split()


def items(task: Task) -> dict[str, Callable]:
    """The preset, an item as long as it is not concluded."""
    return {task.argument: partial(swept, task)}


def swept(task: Task) -> Iterator[Row]:
    """Trains for the time there is. Where the sweep is not whole a row says how far it is, and `Stopped` is raised, or `RunError`."""
    preset, workdir = task.argument, task.folder(FOLDERS[task.argument])
    settings = SMALL if task.small else []
    command = [sys.executable, "-m", "experiments.run", "--experiment=bottleneck", f"--preset={preset}", "--retry_failed"]
    command += [f"--workdir={workdir}", f"--max_seconds={task.left(RESERVE):.0f}", *(f"--set={setting}" for setting in settings)]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    seconds = rows.sample([time.monotonic() - began])
    runs = sweep.plan(bottleneck, preset, settings, workdir)
    whole = sum(finished.is_finished(run.config, run.directory) for run in runs)
    sizes = f"{whole} of {len(runs)} runs × {runs[0].config.training.seeds} seeds"
    if done.returncode:
        yield Row("sweep", preset, sizes, seconds, note=f"not whole: {sweep.progress(runs).splitlines()[-1]}")
        if done.returncode == signals.STOPPED:
            raise Stopped("stopped and saved: the same command goes on")
        raise RunError(f"{' '.join(command)} ended with {done.returncode}, see log.txt")
    yield Row("sweep", preset, sizes, seconds, note=said(workdir / "bottleneck"))
    pack(workdir / "bottleneck", Path(task.out) / f"{preset}.zip")


def said(folder: Path) -> str:
    """The verdict of a concluded sweep."""
    verdict = bottleneck.score(archive.read(folder).all_rows).verdict
    return f"{verdict}: {verdict.reason}"


def pack(folder: Path, file: Path) -> None:
    """Rows, figures and report of a sweep; not its runs."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for pattern in ARCHIVED for path in folder.glob(pattern)):
            packed.write(path, path.name)
