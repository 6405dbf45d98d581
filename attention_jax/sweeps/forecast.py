"""Forecasts what a sweep takes on this machine: runs, compiled programs that they share, and minutes.

Few programs are timed, for about `WITHIN` seconds in all: first that of the most work, then those that are least like what was timed.
Each is compiled and makes updates for about a second; of the first, one batch of evaluation is timed as well. All others are scaled from
the most similar one that was timed, by `work`: steps of the loops, products, seeds on a device. Models that need much memory are timed
with fewer seeds and smaller batches, and scaled likewise.

What is added up of a run: updates, those of its trials, evaluation, validations, and `START` and `SAVE` for what is done beside. What a
claim measures of trained models besides is not, nor are links of an aligner of ours (`sources.unlinked`).
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import config as settings
from attention_jax import model
from attention_jax.config import Config
from attention_jax.data import signals, sources, tasks
from attention_jax.data.sources import VALIDATION_EXAMPLES, Source
from attention_jax.report.tables import Table
from attention_jax.running import evaluation, selection
from attention_jax.running.resolved import resolve
from attention_jax.sweeps.matching import SizesOf
from attention_jax.sweeps.sweep import Run
from attention_jax.system import machine
from attention_jax.training import compiled, parallel
from attention_jax.training.compiled import Resolved
from attention_jax.types import TrainState

WITHIN = 40.0  # seconds after which no other program is timed
SECONDS = 1.0  # of updates of each
BATCHES = 40  # of text that are looked at for padded sizes; what is not among them is rare
FLOATS = 1 << 19  # of states of a batch on all devices, above which a model is timed in a smaller one

START, SAVE = 1.0, 0.1  # seconds: of a run or trial beside its updates, and of a checkpoint

INITIAL = 0.5  # what initial parameters take to compile, of an update's program: 5.6 s of CPU beside 9.7 where both were measured

STEP, PRODUCTS, READ = 15e-6, 4e10, 2e10
"""Seconds of a step of a loop with its gradient, products a second, bytes of parameters a second: of one core. Of these only the
proportions count, since every forecast is scaled from what was timed."""

SIZES = (
    "model.hidden_size model.embedding_size model.vector_size model.attention_size data.symbols data.shortest data.longest "
    "data.eval_lengths data.eval_examples data.held_out data.source_entropy training.batch_size training.seeds text.vocabulary_size"
).split()
"""Settings that `work` accounts for; programs that differ in others are less alike."""


class Pace(NamedTuple):
    """What was timed of a program. `evaluation`: of a position of an example in both modes, in those of an update; None: not timed."""

    compiling: float  # seconds
    update: float  # seconds, of all seeds of the run
    evaluating: float | None = None  # seconds to compile evaluation of one padded size
    evaluation: float | None = None


class Program(NamedTuple):
    """A program that runs share; `updates` are still to be made with it."""

    config: Config
    parameters: int
    updates: int


class Line(NamedTuple):
    """The forecast of a run; `of` is the number of its program, from 0."""

    run: Run
    groups: int  # of trials, at least
    of: int
    update: float  # seconds
    seconds: float
    done: bool


class Forecast(NamedTuple):
    """The forecast of a sweep. `timed`: numbers of the programs that were timed; `nearest`: of each program, which it is scaled from."""

    lines: list[Line]
    programs: list[Program]
    timed: list[int]
    nearest: list[int]
    compiling: list[float]  # seconds, of each program with its evaluation

    def seconds_of(self, line: Line) -> float:
        """Returns the seconds of a run that is started alone, as a job: with what it compiles."""
        return 0.0 if line.done else line.seconds + self.compiling[line.of]

    @property
    def seconds(self) -> float:
        """The seconds of all runs in one process."""
        return sum(line.seconds for line in self.lines) + sum(self.compiling)


def positions(config: Config) -> tuple[float, float]:
    """Returns (source, target) positions of a training batch; of text the mean of its padded sizes."""
    if config.data.task in tasks.TABLE:
        task = tasks.build(config.data)
        return task.source_positions(config.data.longest), task.target_positions(config.data.longest)
    if signals.is_drawn(config.data):
        return signals.positions(config)
    size = float(np.mean(config.text.buckets))
    return size, size


def seeds_on_a_device(config: Config) -> float:
    """Returns how many seeds of a run follow each other on a device."""
    training = config.training
    return training.seeds / parallel.run_mesh(training.seeds, training.batch_size, config.model.hidden_size).shape[parallel.SEEDS]


def work(config: Config, parameters: int) -> float:
    """Returns the work of an update, in about the seconds of one core: steps of both loops, products, parameters that are read."""
    model, B = config.model, config.training.batch_size
    S, T = positions(config)
    steps = S * model.layers * (1 + (model.direction == "both")) + T
    products = 3 * B * (S + T) * parameters + 6 * B * S * T * model.hidden_size
    return seeds_on_a_device(config) * (steps * (STEP + 12 * parameters / READ) + products / PRODUCTS)


def smaller(config: Config) -> Config:
    """Returns the config as it is timed: where its batches do not fit `FLOATS` with smaller ones, and a seed on each device."""
    training, (S, T) = config.training, positions(config)
    mesh = parallel.run_mesh(training.seeds, training.batch_size, config.model.hidden_size)
    each = (S + T) * (config.model.hidden_size + config.model.embedding_size) * mesh.shape[parallel.SEEDS]
    B = training.batch_size
    if B * each <= FLOATS or jax.default_backend() != "cpu":
        return config
    while B % 2 == 0 and B * each > FLOATS:
        B //= 2
    data = replace(config.data, eval_examples=min(B, config.data.eval_examples))
    return replace(config, data=data, training=replace(training, batch_size=B, seeds=mesh.shape[parallel.SEEDS]))


def pace(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None, evaluates: bool = False) -> Pace:
    """Times a program: compiling, updates of all seeds, and with `evaluates` a batch of its test split in both modes."""
    source = source_of(config, data_dir, cache_dir)
    resolved, seeds, began = resolve(config, source.sizes), config.training.all_seeds, time.monotonic()
    advance = compiled.advance(resolved, source)
    states, step = blank(resolved), 0
    for first in _sizes(source, seeds):
        states, _ = advance(states, seeds, first, 1)
        machine.trim()
    ready = time.monotonic()
    while (now := time.monotonic()) < ready + SECONDS:
        updates = min(config.training.chunk, step + 1)
        states, _ = advance(states, seeds, step, updates)
        step += updates
    found = Pace(ready - began, (now - ready) / max(step, 1))
    return found if not evaluates else found._replace(**_evaluation(config, source, states.params, found.update))


def source_of(config: Config, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """Builds the source of a config, once for all that have the same data: on text that takes as long as all else."""
    training = replace(Config().training, batch_size=config.training.batch_size)
    return _source(replace(Config(), data=config.data, text=config.text, signal=config.signal, training=training), data_dir, cache_dir)


@lru_cache(maxsize=4)
def _source(config: Config, data_dir: Path | None, cache_dir: Path | None) -> Source:
    return sources.build(config, None, data_dir, cache_dir)


def blank(run: Resolved) -> TrainState:
    """Returns states of the shapes that a run has, without what initialises them: that takes as long to compile as an update."""

    def filled(shape: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(0), shape.shape)
        return jnp.full(shape.shape, 0.01 if jnp.issubdtype(shape.dtype, jnp.floating) else 0, shape.dtype)

    return parallel.spread(jax.tree.map(filled, compiled.shapes(run).states), run.mesh)


def _evaluation(config: Config, source: Source, params: Any, update: float) -> dict[str, float]:
    """Times the first batch of the test split in both modes."""
    seeds = config.training.all_seeds
    functions = evaluation.Evaluator(resolve(config, source.sizes), source).functions(len(seeds))
    machine.trim()
    batch = jax.device_get(next(iter(source.evaluation("test", seeds))))
    taken = []
    for _ in range(2):  # the first time it is compiled
        began = time.monotonic()
        jax.block_until_ready([functions.forced(params, batch), functions.free(params, batch)])
        taken.append(time.monotonic() - began)
    _, B, S = batch.source_BxS.shape[:3]
    of_update = update / (config.training.batch_size * sum(positions(config)))
    return {"evaluating": taken[0] - taken[1], "evaluation": taken[1] / (B * (S + batch.target_BxT.shape[2])) / of_update}


def _sizes(source: Source, seeds: Sequence[int]) -> list[int]:
    """Returns an update for every padded size of batches; each is compiled when it first comes."""
    if source.read is None:
        return [0]
    first: dict[tuple, int] = {}
    for step in range(BATCHES):
        first.setdefault(source.read.read(seeds, step).source_BxS.shape, step)
    return list(first.values())


class Tested(NamedTuple):
    """How many positions of examples a seed is evaluated on, and in how many padded sizes."""

    test: float
    validation: float
    shapes: int


def tested(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None) -> Tested:
    """Counts what a run is evaluated on."""
    data = config.data
    if data.task in tasks.TABLE:
        task = tasks.build(data)
        sizes = [data.longest if length <= data.longest else data.eval_lengths[-1] for length in sources.tested_lengths(data)]
        test = sum(data.eval_examples * (task.source_positions(size) + task.target_positions(size)) for size in sizes)
        return Tested(test, VALIDATION_EXAMPLES * sum(positions(config)), len(set(sizes)))
    source, found, shapes = source_of(config, data_dir, cache_dir), [], set()
    for splits in (tuple(source.tests), ("validation",)):
        batches = (batch for split in splits for batch in source.evaluation(split, [0]))
        of_splits = [(*batch.source_BxS.shape[1:3], batch.target_BxT.shape[2]) for batch in batches]
        found.append(float(sum(B * (S + T) for B, S, T in of_splits)))
        shapes.update(of_splits)
    return Tested(found[0], found[1], len(shapes))


def trials(config: Config, directory: Path, curves: Sequence[dict]) -> int:
    """Counts the groups of trials that a run trains before its own training; more may follow where the best rate lies at an edge."""
    if len(config.training.learning_rates) == 1:
        return 0
    return len(selection.wanted(config, selection.read(directory) or selection.adopted(curves, config, {})))


def unlike(a: Config, b: Config) -> int:
    """Counts the settings, those of `SIZES` aside, in which two programs differ."""
    ours, theirs = (settings.leaves(replace(each, training=compiled.shared(each.training), run="", experiment="")) for each in (a, b))
    return sum(ours[path] != theirs[path] for path in ours if path not in SIZES)


def distance(a: Program, b: Program) -> float:
    """Returns how far a program is from one that is scaled from it: settings that differ, and the logarithm of their proportion."""
    return unlike(a.config, b.config) + abs(math.log(work(a.config, a.parameters) / work(b.config, b.parameters))) / 4


def forecast(
    runs: Sequence[Run], curves: Sequence[dict], data_dir: Path | None = None, cache_dir: Path | None = None, say: Callable = lambda _: None
) -> Forecast:
    """Returns the forecast of unfinished runs; `say` gets a line for each program that is timed."""
    done = [run.is_finished for run in runs]
    groups = [0 if over else trials(run.config, run.directory, curves) for run, over in zip(runs, done, strict=True)]
    programs, numbers = shared_programs(runs, done, groups, lambda config: source_of(config, data_dir, cache_dir).sizes)
    paces = timed(programs, data_dir, cache_dir, say)
    nearest = [min(paces, key=lambda other, each=each: distance(each, programs[other])) for each in programs] if paces else []
    updates = [scaled(paces[other].update, each, programs[other]) for each, other in zip(programs, nearest, strict=bool(paces))]
    factor, evaluating = next(((each.evaluation, each.evaluating) for each in paces.values() if each.evaluation), (1.0, 0.0))
    sizes: dict[Any, Tested] = {}
    lines, compiling = [], [0.0] * len(programs)
    for run, number, of_run, over in zip(runs, numbers, groups, done, strict=True):
        if over:
            lines.append(Line(run, 0, number, 0.0, 0.0, True))
            continue
        config = sources.unlinked(run.config)
        data = config.data, config.text
        sizes[data] = sizes.get(data) or tested(config, data_dir, cache_dir)
        compiling[number] = (1 + INITIAL) * paces[nearest[number]].compiling + (evaluating or 0.0) * sizes[data].shapes
        seconds = of_all(run.config, of_run, updates[number], factor or 1.0, sizes[data])
        lines.append(Line(run, of_run, number, updates[number], seconds, False))
    return Forecast(lines, programs, list(paces), nearest, compiling)


def shared_programs(runs: Sequence[Run], done: Sequence[bool], groups: Sequence[int], sizes_of: SizesOf) -> tuple[list[Program], list[int]]:
    """Returns (the programs of runs, with the updates that are still to be made, the number of each run's program)."""
    programs: dict[tuple, Program] = {}
    keys = []
    for run, over, of_run in zip(runs, done, groups, strict=True):
        config = sources.unlinked(run.config)
        keys.append((config.model, config.data, config.text, compiled.shared(config.training), config.training.seeds))
        left = 0 if over else config.training.updates + of_run * selection.updates(config)
        parameters = run.fields.get("parameters") or model.parameters(
            config.model, sizes_of(config)
        )  # of text they are not among the fields
        before = programs.get(keys[-1], Program(config, parameters, 0))
        programs[keys[-1]] = before._replace(updates=before.updates + left)
    order = list(programs)
    return list(programs.values()), [order.index(key) for key in keys]


def scaled(seconds: float, program: Program, timed: Program) -> float:
    """Returns the seconds of an update of a program, from those of one that was timed."""
    return seconds * work(program.config, program.parameters) / work(timed.config, timed.parameters)


def of_all(config: Config, groups: int, update: float, factor: float, sizes: Tested) -> float:
    """Returns the seconds of a run and its groups of trials; `factor`: a position of evaluation in those of an update."""
    training = config.training
    test, validation, _ = sizes
    position = factor * update / (training.batch_size * sum(positions(config)))
    saves = math.ceil(training.updates / training.checkpoint_every)
    own = START + training.updates * update + test * position + saves * (SAVE + (training.evaluate == "best") * validation * position / 2)
    trial_updates = selection.updates(config)
    trial = (
        START + trial_updates * update + (test + validation) * position / 2 + math.ceil(trial_updates / training.checkpoint_every) * SAVE
    )
    return own + groups * trial


def timed(programs: Sequence[Program], data_dir: Path | None, cache_dir: Path | None, say: Callable) -> dict[int, Pace]:
    """Times programs for `WITHIN` seconds, at least one: {number: pace of its config}, scaled up where a smaller one was timed."""
    began, found, last = time.monotonic(), {}, 0.0
    total = {number: each.updates * work(each.config, each.parameters) for number, each in enumerate(programs) if each.updates}
    while len(found) < len(total) and (not found or time.monotonic() - began + last <= WITHIN):
        number = next_one(programs, total, list(found))
        each, start = programs[number], time.monotonic()
        say(f"timing program {number + 1} of {len(programs)}, that of {each.config.run}; {start - began:.0f} s so far")
        small = smaller(each.config)
        here = pace(small, data_dir, cache_dir, evaluates=not found)
        found[number] = here._replace(update=scaled(here.update, each, each._replace(config=small)))
        jax.clear_caches()
        gc.collect()
        machine.trim()
        last = time.monotonic() - start
    return found


def next_one(programs: Sequence[Program], total: dict[int, float], found: Sequence[int]) -> int:
    """Returns the number of the program to be timed next: of much work, and unlike those that were."""

    def gain(number: int) -> float:
        return total[number] * min((distance(programs[number], programs[other]) for other in found), default=1.0)

    return max((number for number in total if number not in found), key=gain)


def table(found: Forecast) -> Table:
    """Tabulates each run's updates, seeds, trials, program, milliseconds an update and minutes, and the sum of the minutes."""
    lines = []
    for line in found.lines:
        training = line.run.config.training
        rate = "finished" if line.done else f"{line.groups} groups of trials" if line.groups else "known"
        how = "timed" if line.of in found.timed else f"as {found.nearest[line.of] + 1}" if found.timed else ""
        shown = (f"{training.updates:,}", str(training.seeds), rate, str(line.of + 1), how, f"{1000 * line.update:.1f}")
        lines.append((line.run.config.run, *shown, f"{line.seconds / 60:.1f}"))
    count = str(sum(each.updates > 0 for each in found.programs))
    lines.append(("compiling", "", "", "", count, "", "", f"{sum(found.compiling) / 60:.1f}"))
    lines.append(("in all", "", "", "", "", "", "", f"{found.seconds / 60:.1f}"))
    header = ("run", "updates", "seeds", "learning rate", "program", "pace", "ms an update", "minutes")
    title = f"What is still to be run: {len(found.timed)} of {count} programs were timed here, the others are scaled from the most similar"
    return Table(title, header, lines)
