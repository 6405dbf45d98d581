"""All of `bottleneck --preset=tiny` from the command line, start-up and compilation included, against the same runs one seed at a time.

Both sides are real processes that begin with an empty folder of compiled programs. One seed at a time is a command per seed, and those
share what they compiled. The learning rate is given, so that nobody has pilots to run. The budget is cut short, the same for both, unless
--whole; `sizes` says to what. A side is run once, twice with --seconds=10 or more: it takes minutes.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import children, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target
from experiments import bottleneck

SHORT = 100  # updates
SEEDS = bottleneck.TINY.training.seeds


def run(options: Options) -> Iterator[Row]:
    """Yields one row."""
    updates = None if options.whole else SHORT
    together, apart = [], []
    for _ in range(2 if options.seconds >= 10 and not options.whole else 1):
        together.append(seconds(updates, [f"0-{SEEDS - 1}"]))
        apart.append(seconds(updates, [f"{seed}-{seed}" for seed in range(SEEDS)]))
    sizes = f"{len(bottleneck.ARMS)} arms × {SEEDS} seeds, {f'{updates} updates' if updates else 'all budgets'}"
    target = Target("ratio", "≥", 2.0)
    yield Row("sweep", "bottleneck tiny", sizes, rows.sample(together), "one seed at a time", rows.sample(apart), (target,))


def seconds(updates: int | None, groups: list[str]) -> float:
    """Times the sweep, a command per group of seeds."""
    settings = [*([f"training.updates={updates}"] if updates else []), "training.learning_rates=4e-3"]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for seeds in groups:
            flags = ["--experiment=bottleneck", "--preset=tiny", f"--seeds={seeds}", f"--workdir={folder}/{seeds}"]
            children.experiment(flags, settings, Path(folder) / "compiled")
        return time.perf_counter() - started
