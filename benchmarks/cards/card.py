"""Part a: the card, how long a process takes to its first result, the rate of large products; a program with deterministic operations.

The compiler may refuse such a program: then a row says so in its words. One that it takes is run twice from the same state.
"""

import subprocess
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError

from attention_jax.config import Config
from benchmarks import listener, measure, rows, seeds
from benchmarks.cards import updates
from benchmarks.cards.task import Task
from benchmarks.rows import Row, Target

CALLS = 3
QUERY = "name,driver_version,memory.total,clocks.max.sm,power.limit"


def items(task: Task) -> dict[str, Callable]:
    """What is said of the card, or the deterministic program; see `run.STEPS` for its flags."""
    if task.argument == "deterministic":
        return {"program": lambda: deterministic(task.small)}
    return {"card": card} | ({} if task.small else {"products": products})


def card() -> Iterator[Row]:
    """From the start of the process to its first result; the note is what the driver says."""
    jax.block_until_ready(jnp.ones(3) + 1)
    seconds = time.time() - listener.process_started()
    yield Row("card", "first result", "", rows.sample([seconds]), note=f"{driver()}; {len(jax.devices())} devices")


def driver() -> str:
    """The card in the words of nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "no nvidia-smi"


def products() -> Iterator[Row]:
    """FLOP/s of a large matrix product, as the other benchmarks take it for the peak."""
    yield Row("card", "matrix product", "", rows.sample([measure.matrix_peak()]), unit="FLOP/s")


def deterministic(small: bool) -> Iterator[Row]:
    """Whether an update of bottleneck's tiny preset is compiled, and how many losses differ when it is run again."""
    config = updates.SIZES["tiny"]("additive", small)
    name, sizes, one = "deterministic", updates.sizes(config), Target("ours", "≥", 1)
    try:
        first, second = (after_updates(config) for _ in range(2))
    except JaxRuntimeError as error:
        yield Row(name, "programs", sizes, rows.sample([0]), unit="programs", targets=(one,), note=f"refused: {error}"[:1000])
        return
    yield Row(name, "programs", sizes, rows.sample([1]), unit="programs", targets=(one,))
    differ, after = int((first != second).sum()), f"{sizes}, {CALLS * seeds.UPDATES} updates"
    yield Row(name, "run twice", after, rows.sample([differ]), unit="losses that differ", targets=(Target("ours", "≤", 0),))


def after_updates(config: Config) -> np.ndarray:
    """Losses of every seed in the last of some calls, each of which makes many updates."""
    advance = seeds.chunk(config, config.training.seeds)
    return np.asarray([advance() for _ in range(CALLS)][-1])
