"""The one impure file of training: clock, signals, progress, checkpoints, rows.

    run(config, directory) → rows

A run is one config with all its seeds, trained together as a batch axis. What it leaves in its directory:

    config.json        settings and environment            rows.jsonl      one row per seed, length, mode, budget
    pilot.json         validation loss of each candidate   example.json    one decoded example with its weights
                       learning rate, where there are several
    vocabulary.model   subwords, for text                  checkpoint/     the last states, enough to go on exactly

The same call goes on where a killed, interrupted or failed one stopped, and returns at once where all rows are there.

The device is never waited for at every update. Updates are made in calls of about `CALL_SECONDS` each, their number by the speed so
far; one compiled program serves every number, so that neither that nor an interruption changes a bit of what comes out.
"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from tqdm import tqdm

from attention_jax import checkpoint, evaluation, parallel, results, sources, tasks, training
from attention_jax import config as settings
from attention_jax.config import Config, TextConfig
from attention_jax.sources import Source
from attention_jax.types import ConfigError, DataError, RunError, TrainState

CALL_SECONDS = 2.0  # signals are answered, and progress is shown, between device calls
IN_FLIGHT = 2  # updates on text that are handed over while an earlier one is computed

logger = logging.getLogger(__name__)


class Interrupted(RunError):
    """A signal arrived: the run is saved and the same command goes on. `signal` is its number."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


@struct.dataclass
class Progress:
    """What a checkpoint holds; every array has the leading axis R. `best_…` move only with training.evaluate=best."""

    states: TrainState
    best_params: dict
    best_nll_R: jax.Array
    best_step_R: jax.Array


def run(
    config: Config,
    directory: str | Path,
    fields: dict,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    title: str = "",
) -> list[dict]:
    """Trains and evaluates one config; `fields` (the swept settings and the like) are copied into every row.

    Raises `Interrupted` on SIGINT and SIGTERM after saving, `RunError` for a foreign or unwritable directory and for a loss that
    is not finite (the last good checkpoint stays), `ConfigError` and `DataError` for settings and data.
    """
    directory = Path(directory)
    settings.validate(config)
    sources.check(config)
    training.build(config.model, sources.vocabulary_size(config))  # names and sizes are refused before anything is written
    with results.lock(directory):
        free = not (directory / "config.json").exists()
        results.claim_directory(directory, settings.to_json(config), results.environment())
        if finished(config, directory):
            return results.read(directory / "rows.jsonl")
        try:
            source = sources.build(config, directory, data_dir, cache_dir)
        except (ConfigError, DataError):
            if free:  # nothing was begun: the directory stays free for the corrected settings
                (directory / "config.json").unlink()
            raise
        with _Signals() as signals, _bar(config, title) as bar:
            _Run(config, directory, fields, source, signals, bar).go()
        return results.read(directory / "rows.jsonl")


def finished(config: Config, directory: Path) -> bool:
    """Whether the rows of the whole budget are there: both modes of every seed, at the same lengths (a torn file lacks the last)."""
    rows = directory / "rows.jsonl"
    if not rows.exists():
        return False
    lengths = {(seed, mode): set() for seed in seeds(config) for mode in evaluation.MODES}
    for row in results.read(rows):
        if row["budget"] == config.training.updates and (row["seed"], row["mode"]) in lengths:
            lengths[row["seed"], row["mode"]].add(row["length"])
    return all(lengths.values()) and len(set(map(frozenset, lengths.values()))) == 1


def seeds(config: Config) -> list[int]:
    """The seeds of a run, in order of the axis R."""
    return list(range(config.training.first_seed, config.training.first_seed + config.training.seeds))


def milestones(config: Config) -> list[int]:
    """The budgets that are evaluated: half of the updates, and all."""
    return sorted({max(config.training.updates // 2, 1), config.training.updates})


class _Run:
    """The state of a loop: what would otherwise be passed around by every function below."""

    def __init__(self, config: Config, directory: Path, fields: dict, source: Source, signals, bar):
        self.config, self.directory, self.source, self.signals, self.bar = config, directory, source, signals, bar
        self.advance, self.evaluator = advance(config, source), evaluation.Evaluator(config, source)
        self.fields = {"experiment": config.experiment, "run": config.run, **fields}
        self.most = 1  # updates of the next device call; the first one compiles
        self.training_seconds = 0.0

    def go(self) -> None:
        config, folder = self.config.training, self.directory / "checkpoint"
        rate = self.choose_learning_rate()
        progress, seconds = start(self.config, seeds(self.config), [rate] * config.seeds), 0.0
        if found := checkpoint.restore(folder, progress):
            _, progress, extra = found
            seconds = extra["seconds"]
        saved = step = int(np.asarray(progress.states.step)[0])
        self.bar.update(step)
        started = time.monotonic() - seconds
        for goal in milestones(self.config):
            while step < goal:
                end = min(goal, (step // config.checkpoint_every + 1) * config.checkpoint_every)
                states, losses_UxR = self.call(progress.states, seeds(self.config), step, end)
                self.check_losses(losses_UxR, step, saved)
                progress, step = progress.replace(states=states), step + len(losses_UxR)
                if step == end or self.signals.received:
                    self.check_parameters(states, step, saved)
                    if config.evaluate == "best" and step == end:
                        progress = self.update_best(progress)
                    checkpoint.save(folder, step, progress, {"seconds": time.monotonic() - started})
                    saved = step
                self.signals.stop(f"{self.directory}: saved at update {step} of {config.updates}; the same command goes on")
            if step == goal:
                self.evaluate(progress, goal, rate, time.monotonic() - started)
        self.signals.stop(f"{self.directory}: finished, all rows are written; the same command goes on")

    def call(self, states: TrainState, run_seeds: list[int], step: int, end: int) -> tuple[TrainState, np.ndarray]:
        """Updates from `step` on, at most to `end`, and their losses."""
        began, updates = time.monotonic(), min(self.most, end - step)
        states, losses_UxR = self.advance(states, run_seeds, step, updates)
        seconds = time.monotonic() - began
        self.most = paced(self.most, updates, seconds, self.config.training.chunk)
        self.training_seconds += seconds
        self.bar.update(updates)
        if run_seeds == seeds(self.config):
            data = f", data {self.source.read.waited / self.training_seconds:.1%}" if self.source.read else ""
            self.bar.set_postfix_str(f"loss {losses_UxR[-1].mean():.3f}{data}", refresh=False)
        return states, losses_UxR

    def check_losses(self, losses_UxR, step: int, saved: int) -> None:
        bad = np.argwhere(~np.isfinite(losses_UxR))
        if len(bad):
            update, replica = bad[0]
            self.fail(f"the loss of seed {seeds(self.config)[replica]} is not finite at update {step + update + 1}", saved)

    def check_parameters(self, states: TrainState, step: int, saved: int) -> None:
        """The last update of a chunk may ruin parameters that no loss has seen yet; such are not saved."""
        finite_R = np.all([np.isfinite(x).reshape(len(x), -1).all(1) for x in jax.tree.leaves(jax.device_get(states.params))], axis=0)
        if not finite_R.all():
            self.fail(f"the parameters of seed {seeds(self.config)[int(finite_R.argmin())]} are not finite after update {step}", saved)

    def fail(self, what: str, saved: int) -> None:
        kept = f"the checkpoint of update {saved} is kept" if saved else "there is no checkpoint yet"
        raise RunError(f"{self.directory}: {what}; {kept}. Try a lower training.learning_rates or training.clip")

    def update_best(self, progress: Progress) -> Progress:
        nll_R = self.evaluator.validation_loss(progress.states.params, seeds(self.config))
        now = Progress((), progress.states.params, nll_R.astype(np.float32), progress.states.step)
        best = progress.replace(states=())
        better_R = nll_R < np.asarray(progress.best_nll_R)

        def chosen(new, old):
            return np.where(better_R.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return parallel.spread(jax.tree.map(chosen, now, best)).replace(states=progress.states)

    def evaluate(self, progress: Progress, budget: int, rate: float, seconds: float) -> None:
        best = self.config.training.evaluate == "best"
        params, steps_R = (progress.best_params, progress.best_step_R) if best else (progress.states.params, progress.states.step)
        steps_R = np.asarray(steps_R)
        rows, example = self.evaluator.rows(params, seeds(self.config))
        for row in rows:
            at = row["seed"] - self.config.training.first_seed
            row |= {"budget": budget, "step": int(steps_R[at]), "learning_rate": rate, "seconds": round(seconds, 1)}
        rows = [self.fields | row for row in rows]
        results.write_json(self.directory / "example.json", example)  # first: a run is finished when its rows are there
        results.append(self.directory / "rows.jsonl", results.missing(self.directory / "rows.jsonl", rows))

    def choose_learning_rate(self) -> float:
        """The candidate with the lowest validation loss after a pilot on seeds of its own; the only candidate needs none."""
        config = self.config.training
        rates = config.learning_rates
        if len(rates) == 1:
            return rates[0]
        file = self.directory / "pilot.json"
        if file.exists():
            self.bar.update(config.pilot_updates * len(pilots(self.config)))
            return float(results.read_json(file)["chosen"])
        nll_R = np.concatenate([self.pilot(*group) for group in pilots(self.config)])[: len(rates) * config.pilot_seeds]
        nll = np.where(np.isfinite(nll_R), nll_R, np.inf).reshape(len(rates), config.pilot_seeds).mean(1)
        if not np.isfinite(nll).any():
            raise RunError(f"{self.directory}: the loss is not finite at any of training.learning_rates={rates}; try lower ones")
        chosen = rates[int(nll.argmin())]
        table = {str(rate): float(value) if np.isfinite(value) else None for rate, value in zip(rates, nll, strict=True)}
        results.write_json(file, {"chosen": chosen, "validation_loss": table, "updates": config.pilot_updates})
        return chosen

    def pilot(self, pilot_seeds: list[int], rates: list[float]) -> np.ndarray:
        """Validation loss of as many pilots as the run has seeds, so that both are one compiled program."""
        updates, step = self.config.training.pilot_updates, 0
        states = start(self.config, pilot_seeds, rates).states
        self.bar.set_postfix_str("pilot of learning rates", refresh=False)
        while step < updates:
            states, losses_UxR = self.call(states, pilot_seeds, step, updates)
            step += len(losses_UxR)
            self.signals.stop(f"{self.directory}: stopped in the pilot of learning rates; the same command begins it again")
        return self.evaluator.validation_loss(states.params, pilot_seeds)


def paced(most: int, updates: int, seconds: float, limit: int) -> int:
    """How many updates the next call may make after one of `updates` in `seconds`: CALL_SECONDS' worth, up to four times as many."""
    return max(1, min(limit, 4 * most, int(CALL_SECONDS * updates / seconds)))


def pilots(config: Config) -> list[tuple[list[int], list[float]]]:
    """(seeds, learning rates) in groups of R, rate by rate; the last group is filled up with its last pilot."""
    training, R = config.training, config.training.seeds
    all_pilots = [(settings.PILOT_SEED + i, rate) for rate in training.learning_rates for i in range(training.pilot_seeds)]
    all_pilots += all_pilots[-1:] * (-len(all_pilots) % R)
    return [tuple(map(list, zip(*all_pilots[first : first + R], strict=True))) for first in range(0, len(all_pilots), R)]


def start(config: Config, run_seeds: list[int], rates: list[float]) -> Progress:
    """Update 0 of every seed."""
    init = _init(_same_program(config), config.training.evaluate == "best", len(run_seeds))
    return init(np.asarray(run_seeds, np.int32), np.asarray(rates, np.float32))


@lru_cache(maxsize=4)
def _init(config: Config, keeps_best: bool, R: int) -> Callable:
    def init(seed, rate):
        state = training.init(config, seed, rate)
        return Progress(state, state.params if keeps_best else {}, jnp.asarray(jnp.inf), jnp.zeros((), jnp.int32))

    return parallel.side_by_side(parallel.one_by_one(init), R)


def advance(config: Config, source: Source) -> Callable:
    """advance(states, seeds, step, updates) → (states, losses_UxR): mean loss per token of each update and seed, on the host.

    Synthetic data are made inside one compiled loop over at most `training.chunk` updates. Text is handed over update by update while
    earlier ones are computed. The states that go in may be overwritten.
    """
    update = _update(_same_program(config), config.training.seeds)
    if source.sample is not None:

        def on_device(states, run_seeds, step, updates):
            states, losses_RxU = update(states, np.int32(updates))
            return states, np.asarray(losses_RxU).T[:updates]

        return on_device

    def from_host(states, run_seeds, step, updates):
        losses = []
        for i in range(step, step + updates):
            states, loss_R = update(states, source.read(run_seeds, i))
            losses.append(loss_R)
            jax.block_until_ready(losses[-1 - min(IN_FLIGHT, len(losses) - 1)])
        return states, np.stack(losses)

    return from_host


@lru_cache(maxsize=4)
def _update(config: Config, R: int) -> Callable:
    """One compiled program for all runs of a process that train the same model in the same way, and for every number of updates."""

    def train(states, batches):
        states, sums = jax.vmap(lambda state, batch: training.train_step(state, batch, config))(states, batches)
        return states, sums.nll / jnp.maximum(sums.tokens, 1)

    if config.data.task not in tasks.TABLE:
        return parallel.side_by_side(train, R, donate=(0,))
    sample = jax.vmap(sources.synthetic(config).sample)

    def train_on_device(states, count):
        def body(i, carry):
            states, losses_RxU = carry
            states, loss_R = train(states, sample(states.key, states.step))
            return states, losses_RxU.at[:, i].set(loss_R)

        return jax.lax.fori_loop(0, count, body, (states, jnp.zeros((len(states.step), config.training.chunk))))

    return parallel.side_by_side(train_on_device, R, shared=1, donate=(0,))


def _same_program(config: Config) -> Config:
    """The config without what an update does not depend on: runs that differ in nothing else share what is compiled."""
    loop_only = {"seeds": 1, "first_seed": 0, "learning_rates": (1.0,), "pilot_updates": 1, "pilot_seeds": 1, "checkpoint_every": 1}
    train = replace(config.training, evaluate="last", **loop_only)
    text = TextConfig(vocabulary_size=config.text.vocabulary_size)
    return Config(model=config.model, data=config.data, text=text, training=train)


def _bar(config: Config, title: str) -> tqdm:
    pilot = config.training.pilot_updates * len(pilots(config)) if len(config.training.learning_rates) > 1 else 0
    return tqdm(total=config.training.updates + pilot, desc=f"{title}{config.experiment}/{config.run}", unit="update", mininterval=1)


class _Signals:
    """Remembers SIGINT and SIGTERM until the loop can answer; a second one ends the process at once."""

    def __init__(self):
        self.received = 0

    def __enter__(self):
        self.before = {}
        try:
            self.before = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # only the main thread may; a notebook's worker goes without
            logger.warning("signals are not caught outside the main thread: an interrupted run goes back to its last checkpoint")
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _remember(self, number, frame):
        self.received = number
        signal.signal(number, signal.SIG_DFL)

    def stop(self, message: str) -> None:
        if self.received:
            raise Interrupted(message, self.received)
