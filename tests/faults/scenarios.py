"""What the faults strike: small runs as a user starts them, and what two such runs must have in common at the end."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from attention_jax import config as settings
from attention_jax.running import checkpoint, results
from attention_jax.running.resolved import resolve, stored_sizes
from attention_jax.training import compiled

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = 180  # seconds within which a start has to end
ON_THE_WAY = {".lock", "checkpoint.corrupt"}
"""What a killed run may leave beside what a run leaves that was never interrupted."""


class Scenario(NamedTuple):
    """One run of a sweep; with `text` it reads two files that `prepare` writes."""

    experiment: str
    index: int
    run: str
    settings: str
    text: bool = False

    def has(self, moment: str) -> bool:
        """Whether runs of it come to this moment of driver.MOMENTS: some write no vocabulary, or need no trials."""
        return (self.text or "vocabulary" not in moment) and ("pilot_seeds" in self.settings or "trial" not in moment)


SMALL = "model.hidden_size=6 model.embedding_size=4 training.batch_size=4 training.warmup=1 training.chunk=2 training.checkpoint_every=2 "
TASK = "data.held_out=0 model.vector_size=0 "
SCENARIOS = {
    "synthetic": Scenario(
        "bottleneck",
        1,
        "additive-gru-h6-d0-u12",
        SMALL + TASK + "data.symbols=3 data.longest=3 data.eval_lengths=1,2,4 data.eval_examples=4 training.seeds=2 training.updates=12 "
        "training.learning_rates=0.01,0.02 training.pilot_updates=2 training.pilot_seeds=1 training.evaluate=best "
        "training.sampling=scheduled model.dropout=0.3 model.estimator=gumbel",
    ),
    "adadelta": Scenario(
        "bottleneck",
        1,
        "additive-lstm-h6-d0-u12",
        SMALL + TASK + "data.symbols=3 data.longest=3 data.eval_lengths=2,4 data.eval_examples=4 data.curriculum=6 training.seeds=3 "
        "training.updates=12 training.optimizer=adadelta training.learning_rates=1 training.schedule=cosine model.cell=lstm "
        "model.estimator=reinforce model.dropout=0.2",
    ),
    "plain": Scenario(
        "bottleneck",
        1,
        "additive-gru-h6-d0-u8",
        SMALL + TASK + "data.symbols=3 data.longest=2 data.eval_lengths=2 data.eval_examples=4 training.seeds=2 training.updates=8 "
        "training.learning_rates=0.01 model.dropout=0.3",
    ),
    "text": Scenario(
        "translation_length",
        1,
        "additive-gru-h6-w5-u10",
        SMALL + "data.task=parallel_text data.eval_lengths=3,8 text.source_file=source.txt text.target_file=target.txt "
        "text.vocabulary_size=40 text.join_max=1 text.max_words=5 text.buckets=8,16 text.cut=16 training.seeds=2 training.updates=10 "
        "training.learning_rates=0.01,0.02 training.pilot_updates=2 training.pilot_seeds=1 training.evaluate=best "
        "training.sampling=scheduled model.dropout=0.3",
        text=True,
    ),
}
"""Every one draws in training: dropout, and some decoder inputs or places to look at; `plain` is the quickest."""


class Place(NamedTuple):
    """Where a scenario is played; commands there are always the same."""

    scenario: Scenario
    folder: Path
    more: tuple[str, ...] = ()

    @property
    def workdir(self) -> Path:
        """What --workdir names."""
        return self.folder / "runs"

    @property
    def run(self) -> Path:
        """The directory of the run."""
        return self.workdir / self.scenario.experiment / self.scenario.run

    def flags(self) -> list[str]:
        """What a user would type after `python -m experiments.run`."""
        where = [f"--workdir={self.workdir}", f"--cache_dir={self.folder / 'cache'}", f"--data_dir={self.folder}"]
        chosen = [f"--set={setting}" for setting in self.scenario.settings.split()]
        return [f"--experiment={self.scenario.experiment}", f"--index={self.scenario.index}", *where, *self.more, *chosen]

    def start(self, orders: dict | None = None, more: Mapping[str, str] = MappingProxyType({})) -> "Launch":
        """Starts the command, with `more` in its environment; with `orders` in a process that harms itself (driver.py)."""
        command = [sys.executable, "-m", "experiments.run"] if orders is None else [sys.executable, str(DRIVER), json.dumps(orders)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return Launch(subprocess.Popen([*command, *self.flags()], cwd=ROOT, env=environment() | more, **silent))

    def finish(self, orders: dict | None = None, more: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str]:
        """(exit code, what it said) of the command when it is left alone."""
        return self.start(orders, more).end()


class Launch(NamedTuple):
    """One start of the command."""

    process: subprocess.Popen

    def end(self) -> tuple[int, str]:
        """(exit code, what it said besides its progress bar); the code is 124, as `timeout` has it, where it did not end in `PATIENCE`."""
        try:
            _, errors = self.process.communicate(timeout=PATIENCE)
            code = self.process.returncode
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, errors = self.process.communicate()
            code, errors = 124, errors + f"\ndid not end within {PATIENCE} s".encode()
        lines = errors.decode(errors="replace").replace("\r", "\n").split("\n")
        return code, "\n".join(line for line in lines if line and not re.search(r"(update|s)/(s|update)\b|\d+%\|", line))


def prepare(name: str, folder: Path, *more: str) -> Place:
    """An empty place for the scenario of this name."""
    folder.mkdir(parents=True)
    place = Place(SCENARIOS[name], folder, more)
    if place.scenario.text:
        rng = np.random.default_rng(0)
        lines = [[str(word) for word in rng.choice(["ba", "bo", "ca", "da", "do"], size)] for size in rng.integers(1, 8, 120)]
        (folder / "source.txt").write_text("".join(f"{' '.join(line)}\n" for line in lines))
        (folder / "target.txt").write_text("".join(f"{' '.join(line[::-1])}\n" for line in lines))
    return place


def environment() -> dict[str, str]:
    """A user's, on a CPU unless $JAX_PLATFORMS says otherwise; what is compiled is kept in one folder for all processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    flags = [flag for flag in kept.pop("XLA_FLAGS", "").split() if "device_count" not in flag]
    own = {
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "faults"),
    }
    return kept | own | {"XLA_FLAGS": " ".join(flags)}


def state(run: Path) -> dict[str, object]:
    """All that a finished run has to have in common with another one: {what: value}."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in results.read(run / "rows.jsonl")]
    found: dict[str, object] = {f"row {number}": row for number, row in enumerate(rows)}
    for name in ("example.json", "rates.jsonl", "vocabulary.model"):
        found[name] = (run / name).read_bytes() if (run / name).exists() else None
    found["config.json"] = json.loads((run / "config.json").read_bytes())["config"]
    for step in checkpoint.steps(run / "checkpoint"):
        _, progress, extra = checkpoint.restore(run / "checkpoint", like(run), step)
        found[f"step {step}"] = {name: value for name, value in extra.items() if name != "seconds"}
        for path, x in jax.tree.leaves_with_path(progress):
            data = np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
            found[f"step {step} {jax.tree_util.keystr(path, simple=True, separator='.')}"] = (str(x.dtype), data.shape, data.tobytes())
    found["files"] = sorted({path.name for path in run.iterdir()} - ON_THE_WAY)
    found["files of checkpoint"] = sorted(path.name for path in (run / "checkpoint").iterdir())
    return found


def like(run: Path):
    """Structure, shapes and types of what a run's checkpoints hold."""
    config = settings.from_json(json.loads((run / "config.json").read_bytes())["config"])
    return compiled.shapes(resolve(config, stored_sizes(run, config)))


def differences(run: Path, reference: dict[str, object]) -> list[str]:
    """What a run does not have in common with the reference; empty where they are the same bit for bit."""
    own = state(run)
    return [name for name in own | reference if name not in own or name not in reference or own[name] != reference[name]]
