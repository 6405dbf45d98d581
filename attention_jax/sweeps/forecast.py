"""What a sweep will take on this machine: runs, the programs that they share, and minutes, from updates that are timed here.

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
from attention_jax.running import loop, selection
from attention_jax.sweeps.sweep import Run
from attention_jax.training import programs

SECONDS = 1.0
BATCHES = 40  # of text that are looked at for padded sizes; what is not among them is rare


def pace(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None) -> tuple[float, float]:
    """(seconds to compile, seconds of an update of all seeds)."""
    source = sources.build(config, None, data_dir, cache_dir)
    seeds, began = loop.seeds(config), time.monotonic()
    advance = programs.advance(config, source)
    states, step = programs.start(config, seeds, [1e-4] * len(seeds)).states, 0
    for first in _sizes(source, seeds):
        states, _ = advance(states, seeds, first, 1)
    compiled = time.monotonic()
    while (now := time.monotonic()) < compiled + SECONDS:
        updates = min(config.training.chunk, step + 1)
        states, _ = advance(states, seeds, step, updates)
        step += updates
    return compiled - began, (now - compiled) / max(step, 1)


def _sizes(source: Source, seeds: Sequence[int]) -> list[int]:
    """An update of every size that batches are padded to: each of these is compiled when it comes."""
    if source.read is None:
        return [0]
    first: dict[tuple, int] = {}
    for step in range(BATCHES):
        first.setdefault(source.read.read(seeds, step).source_BxS.shape, step)
    return list(first.values())


def trials(config: Config, directory: Path, curves: Sequence[dict]) -> int:
    """How many groups of trials the run still has to make before it trains; as many more may follow at an edge as the grid may grow."""
    if len(config.training.learning_rates) == 1:
        return 0
    return len(selection.wanted(config, selection.read(directory) or selection.adopted(curves, config, {})))


def table(runs: Sequence[Run], curves: Sequence[dict], data_dir: Path | None = None, cache_dir: Path | None = None) -> Table:
    """A line per run, and the sum."""
    paces: dict[Config, tuple[int, float]] = {}
    lines, total, compiling = [], 0.0, 0.0
    for run in runs:
        program = programs.shared(run.config)
        if program not in paces:
            seconds, each = pace(run.config, data_dir, cache_dir)
            paces[program], compiling = (len(paces) + 1, each), compiling + seconds
        number, each = paces[program]
        done = loop.finished(run.config, run.directory)
        groups = 0 if done else trials(run.config, run.directory, curves)
        budget = run.config.training.updates
        minutes = 0.0 if done else (budget + groups * selection.updates(run.config)) * each / 60
        total += minutes
        rate = "finished" if done else f"{groups} groups of trials" if groups else "known"
        lines.append(
            (run.config.run, f"{budget:,}", str(run.config.training.seeds), rate, str(number), f"{1000 * each:.1f}", f"{minutes:.1f}")
        )
    lines.append(("compiling", "", "", "", str(len(paces)), "", f"{compiling / 60:.1f}"))
    lines.append(("in all", "", "", "", "", "", f"{total + compiling / 60:.1f}"))
    header = ("run", "updates", "seeds", "learning rate", "program", "ms an update", "minutes")
    return Table("What is still to be run, by updates timed here; evaluation adds seconds a run", header, lines)
