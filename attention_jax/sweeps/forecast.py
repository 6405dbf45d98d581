"""Forecasts what a sweep takes on this machine: runs, compiled programs that they share, and minutes, by timing updates.

Each program is compiled, for every size that text is padded to, and makes updates for about a second. Evaluation is not timed: it adds
seconds to a run.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.report.tables import Table
from attention_jax.running import finished, selection
from attention_jax.running.resolved import resolve
from attention_jax.sweeps.sweep import Run
from attention_jax.training import compiled

SECONDS = 1.0
BATCHES = 40  # of text that are looked at for padded sizes; what is not among them is rare


def pace(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None) -> tuple[float, float]:
    """Returns (seconds to compile, seconds of an update of all seeds)."""
    source = sources.build(config, None, data_dir, cache_dir)
    resolved, seeds, began = resolve(config, source.sizes), config.training.all_seeds, time.monotonic()
    advance = compiled.advance(resolved, source)
    states, step = compiled.start(resolved, seeds, [1e-4] * len(seeds)).states, 0
    for first in _sizes(source, seeds):
        states, _ = advance(states, seeds, first, 1)
    ready = time.monotonic()
    while (now := time.monotonic()) < ready + SECONDS:
        updates = min(config.training.chunk, step + 1)
        states, _ = advance(states, seeds, step, updates)
        step += updates
    return ready - began, (now - ready) / max(step, 1)


def _sizes(source: Source, seeds: Sequence[int]) -> list[int]:
    """Returns an update for every padded size of batches; each is compiled when it first comes."""
    if source.read is None:
        return [0]
    first: dict[tuple, int] = {}
    for step in range(BATCHES):
        first.setdefault(source.read.read(seeds, step).source_BxS.shape, step)
    return list(first.values())


def trials(config: Config, directory: Path, curves: Sequence[dict]) -> int:
    """Counts the groups of trials that a run trains before its own training; more may follow where the best rate lies at an edge."""
    if len(config.training.learning_rates) == 1:
        return 0
    return len(selection.wanted(config, selection.read(directory) or selection.adopted(curves, config, {})))


def table(runs: Sequence[Run], curves: Sequence[dict], data_dir: Path | None = None, cache_dir: Path | None = None) -> Table:
    """Tabulates each run's updates, seeds, trials, program, milliseconds an update and minutes, and the sum of the minutes."""
    paces: dict[tuple, tuple[int, float]] = {}
    lines, total, compiling = [], 0.0, 0.0
    for run in runs:
        config = run.config
        program = config.model, config.data, config.text, compiled.shared(config.training)
        if program not in paces:
            seconds, each = pace(config, data_dir, cache_dir)
            paces[program], compiling = (len(paces) + 1, each), compiling + seconds
        number, each = paces[program]
        done = finished.is_finished(config, run.directory)
        groups = 0 if done else trials(config, run.directory, curves)
        budget = config.training.updates
        minutes = 0.0 if done else (budget + groups * selection.updates(config)) * each / 60
        total += minutes
        rate = "finished" if done else f"{groups} groups of trials" if groups else "known"
        lines.append((config.run, f"{budget:,}", str(config.training.seeds), rate, str(number), f"{1000 * each:.1f}", f"{minutes:.1f}"))
    lines.append(("compiling", "", "", "", str(len(paces)), "", f"{compiling / 60:.1f}"))
    lines.append(("in all", "", "", "", "", "", f"{total + compiling / 60:.1f}"))
    header = ("run", "updates", "seeds", "learning rate", "program", "ms an update", "minutes")
    return Table("What is still to be run, by updates timed here; evaluation adds seconds a run", header, lines)
