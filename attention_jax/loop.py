"""The one impure file of training: clock, signals, progress, checkpoints, rows.

    run(config, directory) → rows

A run is one config with all its seeds, trained together as a batch axis. What it leaves in its directory:

    config.json        settings and environment            rows.jsonl      one row per seed, length, mode, budget
    pilot.json         validation loss of each candidate   example.json    one decoded example with its weights
                       learning rate, where there are several
    vocabulary.model   subwords, for text                  checkpoint/     the last states, enough to go on exactly

The same call goes on where a killed, interrupted or failed one stopped, and returns at once where all rows are there.
"""

import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from tqdm import tqdm

from attention_jax import checkpoint, evaluation, parallel, results, sources, training
from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.sources import Source
from attention_jax.types import ConfigError, DataError, RunError, TrainState

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
        self.advance = advance(config, source)
        self.evaluator = evaluation.Evaluator(config, source)
        self.fields = {"experiment": config.experiment, "run": config.run, **fields}

    def go(self) -> None:
        config, folder = self.config.training, self.directory / "checkpoint"
        rate = self.choose_learning_rate()
        progress, seconds = start(self.config, seeds(self.config), [rate] * config.seeds), 0.0
        if found := checkpoint.restore(folder, progress):
            _, progress, extra = found
            seconds = extra["seconds"]
        saved = step = int(progress.states.step[0])
        self.bar.update(step)
        started = time.monotonic() - seconds
        for goal in milestones(self.config):
            while step < goal:
                updates = min(goal - step, config.chunk - step % config.chunk)
                states, losses_UxR = self.advance(progress.states, seeds(self.config), step, updates)
                self.check_losses(losses_UxR, step, saved)
                progress, step = progress.replace(states=states), step + updates
                self.bar.update(updates)
                self.bar.set_postfix_str(f"loss {float(losses_UxR[-1].mean()):.3f}", refresh=False)
                due = step // config.checkpoint_every > saved // config.checkpoint_every
                if due or step == goal or self.signals.received:
                    self.check_parameters(states, step, saved)
                    if config.evaluate == "best" and (due or step == goal):
                        progress = self.update_best(progress)
                    checkpoint.save(folder, step, progress, {"seconds": time.monotonic() - started})
                    saved = step
                self.signals.stop(f"{self.directory}: saved at update {step} of {config.updates}; the same command goes on")
            if step == goal:
                self.evaluate(progress, goal, rate, time.monotonic() - started)
        self.signals.stop(f"{self.directory}: finished, all rows are written; the same command goes on")

    def check_losses(self, losses_UxR, step: int, saved: int) -> None:
        bad = np.argwhere(~np.isfinite(np.asarray(losses_UxR)))
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
        better_R = nll_R < progress.best_nll_R
        best = jax.tree.map(
            lambda new, old: jnp.where(better_R.reshape(-1, *[1] * (new.ndim - 1)), new, old), progress.states.params, progress.best_params
        )
        return progress.replace(
            best_params=best,
            best_nll_R=jnp.where(better_R, nll_R, progress.best_nll_R),
            best_step_R=jnp.where(better_R, progress.states.step, progress.best_step_R),
        )

    def evaluate(self, progress: Progress, budget: int, rate: float, seconds: float) -> None:
        best = self.config.training.evaluate == "best"
        params, steps_R = (progress.best_params, progress.best_step_R) if best else (progress.states.params, progress.states.step)
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
            self.bar.update(config.pilot_updates)
            return float(results.read_json(file)["chosen"])
        pilot_seeds = [settings.PILOT_SEED + i for _ in rates for i in range(config.pilot_seeds)]
        states = parallel.init_seeds(self.config, pilot_seeds, [rate for rate in rates for _ in range(config.pilot_seeds)])
        states = parallel.spread(states)
        for step in range(0, config.pilot_updates, config.chunk):
            updates = min(config.chunk, config.pilot_updates - step)
            states, _ = self.advance(states, pilot_seeds, step, updates)
            self.bar.set_postfix_str("pilot of learning rates", refresh=False)
            self.bar.update(updates)
            self.signals.stop(f"{self.directory}: stopped in the pilot of learning rates; the same command begins it again")
        nll_R = self.evaluator.validation_loss(states.params, pilot_seeds)
        nll = np.where(np.isfinite(nll_R), nll_R, np.inf).reshape(len(rates), config.pilot_seeds).mean(1)
        if not np.isfinite(nll).any():
            raise RunError(f"{self.directory}: the loss is not finite at any of training.learning_rates={rates}; try lower ones")
        chosen = rates[int(nll.argmin())]
        table = {str(rate): float(value) if np.isfinite(value) else None for rate, value in zip(rates, nll, strict=True)}
        results.write_json(file, {"chosen": chosen, "validation_loss": table, "updates": config.pilot_updates})
        return chosen


def start(config: Config, run_seeds: list[int], rates: list[float]) -> Progress:
    """Update 0 of every seed."""
    states = parallel.init_seeds(config, run_seeds, rates)
    best = states.params if config.training.evaluate == "best" else {}
    R = len(run_seeds)
    return parallel.spread(Progress(states, jax.tree.map(jnp.copy, best), jnp.full(R, jnp.inf), jnp.zeros(R, jnp.int32)))


def advance(config: Config, source: Source) -> Callable:
    """advance(states, seeds, step, updates) → (states, mean loss per token of each update and seed).

    Synthetic data are made inside one compiled loop over the updates; text is handed over update by update.
    """
    train = parallel.over_seeds(partial(training.train_step, config=config))

    def update(states, batch):
        states, sums = train(states, batch)
        return states, sums.nll / jnp.maximum(sums.tokens, 1)

    @partial(jax.jit, static_argnums=1, donate_argnums=0)
    def on_device(states, updates):
        return jax.lax.scan(lambda s, _: update(s, jax.vmap(source.sample)(s.key, s.step)), states, None, length=updates)

    if source.sample is not None:
        return lambda states, run_seeds, step, updates: on_device(states, updates)
    handed_over = jax.jit(update, donate_argnums=0)

    def from_host(states, run_seeds, step, updates):
        losses = []
        for i in range(step, step + updates):
            states, loss_R = handed_over(states, source.read(run_seeds, i))
            losses.append(loss_R)
        return states, jnp.stack(losses)

    return from_host


def _bar(config: Config, title: str) -> tqdm:
    pilot = config.training.pilot_updates if len(config.training.learning_rates) > 1 else 0
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
