"""The one impure file of training: clock, signals, progress, checkpoints, rows.

    run(config, directory) → rows

A run is one config with all its seeds, trained together as a batch axis. What it leaves in its directory:

    config.json        settings and environment            rows.jsonl      one row per seed, length, mode, budget
    pilot.json         validation loss of each candidate   example.json    one decoded example with its weights
                       learning rate, where there are several
    vocabulary.model   subwords, for text                  checkpoint/     the last states, enough to go on exactly
    failure.txt        the traceback of a run that failed  events/         losses for TensorBoard, on request

The same call goes on where a killed, interrupted or failed one stopped, and returns at once where all rows are there.

The device is never waited for at every update. Updates are made in calls of about `CALL_SECONDS` each, their number by the speed so
far; one compiled program serves every number, so that neither that nor an interruption changes a bit of what comes out.
"""

import contextlib
import logging
import sys
import time
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from attention_jax import checkpoint, evaluation, events, failures, parallel, programs, results, sources, training
from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.lock import Lock
from attention_jax.programs import Progress
from attention_jax.sources import Source
from attention_jax.stopping import Stop
from attention_jax.types import ConfigError, DataError, RunError, Stopped, StorageError, TrainState

CALL_SECONDS = 2.0  # signals are answered, and progress is shown, between device calls

logger = logging.getLogger(__name__)


def run(
    config: Config,
    directory: str | Path,
    fields: dict,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    title: str = "",
    stop: Stop | None = None,
    tensorboard: bool = False,
) -> list[dict]:
    """Trains and evaluates one config; `fields` (the swept settings and the like) are copied into every row.

    With several processes all of them call this, and the first one writes. `stop` says when to leave; None: listens to signals itself.
    `tensorboard`: the loss of each seed goes to the folder `events` as well.
    Raises `Stopped` after saving, `StorageError` for a disk that refuses, `RunError` for a foreign directory, for a loss that is not
    finite and for whatever else fails (the last good checkpoint stays, the traceback goes to `failure.txt`), `ConfigError` and
    `DataError` for settings and data.
    """
    directory = Path(directory)
    settings.validate(config)
    sources.check(config)
    training.build(config.model, sources.vocabulary_size(config))  # names and sizes are refused before anything is written
    programs.mesh(config)
    with contextlib.nullcontext(stop) if stop else Stop() as stop, _held(directory) as lock:
        free = not (directory / "config.json").exists()
        if lock:
            results.tidy(directory)
            results.claim_directory(directory, settings.to_json(config), results.environment())
        parallel.meet("claimed")
        if finished(config, directory):
            return results.read(directory / "rows.jsonl")
        try:
            source = _source(config, directory, data_dir, cache_dir)
        except (ConfigError, DataError):
            if lock and free:  # nothing was begun: the directory stays free for the corrected settings
                (directory / "config.json").unlink()
            raise
        with _bar(config, title) as bar:
            if lock:
                failures.forget(directory)
                stop.farewell = lambda: (lock.release(), bar.close())  # what is said last gets a line of its own
            _watched(_Run(config, directory, fields, source, stop, lock, bar), tensorboard)
        return results.read(directory / "rows.jsonl")


@contextlib.contextmanager
def _held(directory: Path):
    """The lock in the process that writes, None in others."""
    if not parallel.first():
        yield None
        return
    with Lock(directory) as lock:
        yield lock


def _source(config: Config, directory: Path, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """The first process builds what there is to build, the others find it."""
    if parallel.first():
        source = sources.build(config, directory, data_dir, cache_dir)
    parallel.meet("data")
    return source if parallel.first() else sources.build(config, directory, data_dir, cache_dir)


def place() -> str:
    """The run, update and process that this is, for logs; empty between runs."""
    if not _at:
        return ""
    process = f" process {jax.process_index()} of {jax.process_count()}" if jax.process_count() > 1 else ""
    return f"{_at['run']}{process} update {_at['update']}"


_at: dict = {}
"""Where this process is: the directory and update of the run that it trains."""


def _watched(run: "_Run", tensorboard: bool) -> None:
    """Runs it; what fails is kept in `failure.txt`, and is a `RunError` of one line."""
    _at.update(run=f"{run.config.experiment}/{run.config.run}", update=0)
    try:
        run.go(tensorboard)
    except (Stopped, StorageError):
        raise
    except Exception as error:
        if parallel.lost(error):
            raise  # nothing is wrong with the run itself
        if run.lock and not isinstance(error, ConfigError | DataError):
            failures.keep(run.directory)
        if isinstance(error, RunError | ConfigError | DataError):
            raise
        raise RunError(f"{run.directory}: {failures.explained(error, run.config)}; the traceback is in {failures.FILE}") from error
    finally:
        _at.clear()
        with contextlib.suppress(StorageError):
            run.saver.wait()  # while the directory is ours
        if run.events:
            run.events.close()


def finished(config: Config, directory: Path) -> bool:
    """Whether the rows of all budgets are there, and the example."""
    rows = all(has_rows(config, directory, budget) for budget in milestones(config))
    return rows and (directory / "example.json").exists()


def has_rows(config: Config, directory: Path, budget: int) -> bool:
    """Whether the rows of a budget are there: both modes of every seed, at the same lengths (a torn file lacks the last)."""
    rows = directory / "rows.jsonl"
    if not rows.exists():
        return False
    lengths = {(seed, mode): set() for seed in seeds(config) for mode in evaluation.MODES}
    for row in results.merge([rows]):
        if row["budget"] == budget and (row["seed"], row["mode"]) in lengths:
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

    def __init__(self, config: Config, directory: Path, fields: dict, source: Source, stop: Stop, lock: Lock | None, bar: tqdm):
        self.config, self.directory, self.source, self.stop, self.lock, self.bar = config, directory, source, stop, lock, bar
        self.events = None
        self.advance, self.evaluator = programs.advance(config, source), evaluation.Evaluator(config, source, stop.beat)
        self.fields = {"experiment": config.experiment, "run": config.run, **fields}
        self.saver = checkpoint.Saver(directory / "checkpoint")
        self.most = 1  # updates of the next device call; the first one compiles
        self.training_seconds = 0.0

    def go(self, tensorboard: bool) -> None:
        config = self.config.training
        programs.check_memory(self.config)
        rate = self.choose_learning_rate()
        progress, seconds = self.resumed(programs.start(self.config, seeds(self.config), [rate] * config.seeds))
        saved = step = int(parallel.fetch(progress.states.step)[0])
        self.bar.update(step)
        if tensorboard and self.lock:
            self.events = events.writer(self.directory / "events", step)
        started = time.monotonic() - seconds
        for goal in milestones(self.config):
            while step < goal:
                end = min(goal, (step // config.checkpoint_every + 1) * config.checkpoint_every)
                states, losses_UxR = self.call(progress.states, seeds(self.config), step, end)
                self.check_losses(losses_UxR, step, saved)
                progress, step = progress.replace(states=states), step + len(losses_UxR)
                stopped = self.stopped()
                if step == end or stopped:
                    self.check_parameters(states, step, saved)
                    if config.evaluate == "best" and step == end:
                        progress = self.update_best(progress)
                    self.check_lock()
                    self.saver.save(step, progress, self.extra(step, time.monotonic() - started))
                    saved = step
                if stopped:
                    self.saver.wait()
                    raise Stopped(f"{self.directory}: saved at update {step} of {config.updates} ({stopped}); the same command goes on")
            if step == goal:
                self.saver.wait()
                self.evaluate(progress, goal, rate, time.monotonic() - started)
        self.saver.wait()
        if stopped := self.stopped():
            raise Stopped(f"{self.directory}: finished, all rows are written ({stopped}); the same command goes on")

    def extra(self, step: int, seconds: float) -> dict:
        """What a checkpoint holds besides arrays: batches are a function of seed and update, so their position is the next update."""
        return {
            "seconds": seconds,
            "next_update": step,
            "config": settings.fingerprint(self.config),
            "data": self.source.fingerprint,
            "vocabulary": self.source.vocabulary.fingerprint() if self.source.vocabulary else "",
        }

    def resumed(self, beginning: Progress) -> tuple[Progress, float]:
        """(progress, seconds of training so far): the newest readable checkpoint, which the first process finds, or the beginning."""
        found = None
        if self.lock:
            half = milestones(self.config)[0]
            again = half < self.config.training.updates and not has_rows(self.config, self.directory, half)
            most = half if again else None  # rows of half of the budget that were lost are made again
            found = checkpoint.restore(self.saver.directory, beginning, most)
            checkpoint.tidy(self.saver.directory)
        step = int(parallel.agreed([found[0] if found else -1])[0, 0])
        if step < 0:
            return beginning, 0.0
        _, progress, extra = found or checkpoint.restore(self.saver.directory, beginning, step)
        own = self.extra(step, 0.0)
        for name, whose in (("config", "to another config"), ("data", "to other data")):
            if extra[name] != own[name]:
                raise RunError(f"{self.saver.directory / str(step)} belongs {whose}; use another workdir")
        return progress, extra["seconds"]

    def stopped(self) -> str:
        """Why to stop now, which all processes agree on; empty to go on."""
        asked = parallel.agreed([bool(self.stop.reason)])[:, 0]
        if asked.any():
            self.stop.ask("another process was asked to")
        return self.stop.reason

    def check_lock(self) -> None:
        """Raises `StorageError` where the directory is not ours any more."""
        if self.lock:
            self.lock.check()

    def call(self, states: TrainState, run_seeds: list[int], step: int, end: int) -> tuple[TrainState, np.ndarray]:
        """Updates from `step` on, at most to `end`, and their losses."""
        began, updates = time.monotonic(), min(int(parallel.agreed([self.most])[0, 0]), end - step)
        states, losses_UxR = self.advance(states, run_seeds, step, updates)
        seconds = time.monotonic() - began
        self.stop.beat()
        self.most = paced(self.most, updates, seconds, self.config.training.chunk)
        self.training_seconds += seconds
        self.bar.update(updates)
        if run_seeds == seeds(self.config):
            data = f", data {self.source.read.waited / self.training_seconds:.1%}" if self.source.read else ""
            done, total = step + updates, self.config.training.updates
            _at.update(update=done)
            if self.events:
                for seed, loss in zip(run_seeds, losses_UxR[-1], strict=True):
                    self.events.add_scalar(f"loss/seed_{seed}", float(loss), done)
            if self.lock:
                self.lock.say(update=done, updates=total, seconds_left=round((total - done) * seconds / updates))
            self.bar.set_postfix_str(f"loss {losses_UxR[-1].mean():.3f}{data}", refresh=False)
        return states, losses_UxR

    def check_losses(self, losses_UxR, step: int, saved: int) -> None:
        bad = np.argwhere(~np.isfinite(losses_UxR))
        if len(bad):
            update, replica = bad[0]
            self.fail(f"the loss of seed {seeds(self.config)[replica]} is not finite at update {step + update + 1}", saved)

    def check_parameters(self, states: TrainState, step: int, saved: int) -> None:
        """The last update of a chunk may ruin parameters that no loss has seen yet; such are not saved."""
        finite_R = np.all([np.isfinite(x).reshape(len(x), -1).all(1) for x in jax.tree.leaves(parallel.fetch(states.params))], axis=0)
        if not finite_R.all():
            self.fail(f"the parameters of seed {seeds(self.config)[int(finite_R.argmin())]} are not finite after update {step}", saved)

    def fail(self, what: str, saved: int) -> None:
        self.saver.wait()
        kept = f"the checkpoint of update {saved} is kept" if saved else "there is no checkpoint yet"
        raise RunError(f"{self.directory}: {what}; {kept}. Try a lower training.learning_rates or training.clip")

    def update_best(self, progress: Progress) -> Progress:
        nll_R = self.evaluator.validation_loss(progress.states.params, seeds(self.config))
        now = (*parallel.fetch((progress.states.params, progress.states.step)), nll_R.astype(np.float32))
        best = parallel.fetch((progress.best_params, progress.best_step_R, progress.best_nll_R))
        better_R = now[2] < best[2]

        def chosen(new, old):
            return np.where(better_R.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        params, step_R, nll_R = jax.tree.map(chosen, now, best)
        found = parallel.spread({"best_params": params, "best_step_R": step_R, "best_nll_R": nll_R}, programs.mesh(self.config))
        return progress.replace(**found)

    def evaluate(self, progress: Progress, budget: int, rate: float, seconds: float) -> None:
        best = self.config.training.evaluate == "best"
        params, steps_R = (progress.best_params, progress.best_step_R) if best else (progress.states.params, progress.states.step)
        steps_R = parallel.fetch(steps_R)
        rows, example = self.evaluator.rows(params, seeds(self.config))
        if not self.lock:
            return
        for row in rows:
            at = row["seed"] - self.config.training.first_seed
            row |= {"budget": budget, "step": int(steps_R[at]), "learning_rate": rate, "seconds": round(seconds, 1)}
        rows = [self.fields | row for row in rows]
        self.lock.check()
        results.write_json(self.directory / "example.json", example)  # first: a run is finished when its rows are there
        results.append(self.directory / "rows.jsonl", results.missing(self.directory / "rows.jsonl", rows))

    def choose_learning_rate(self) -> float:
        """The candidate with the lowest validation loss after a pilot on seeds of its own; the only candidate needs none."""
        config = self.config.training
        rates = config.learning_rates
        if len(rates) == 1:
            return rates[0]
        file = self.directory / "pilot.json"
        if parallel.agreed([file.exists()])[0, 0]:
            self.bar.update(config.pilot_updates * len(pilots(self.config)))
            return self.read_pilot(file)
        nll_R = np.concatenate([self.pilot(*group) for group in pilots(self.config)])[: len(rates) * config.pilot_seeds]
        nll = np.where(np.isfinite(nll_R), nll_R, np.inf).reshape(len(rates), config.pilot_seeds).mean(1)
        if not np.isfinite(nll).any():
            raise RunError(f"{self.directory}: the loss is not finite at any of training.learning_rates={rates}; try lower ones")
        chosen = rates[int(nll.argmin())]
        table = {str(rate): float(value) if np.isfinite(value) else None for rate, value in zip(rates, nll, strict=True)}
        if self.lock:
            self.lock.check()
            results.write_json(file, {"chosen": chosen, "validation_loss": table, "updates": config.pilot_updates})
        parallel.meet("pilot")
        return chosen

    def read_pilot(self, file: Path) -> float:
        """What was chosen; `RunError` where that is not what the losses in the file say."""
        found, rates = results.read_json(file), self.config.training.learning_rates
        table = found.get("validation_loss")
        losses = [table.get(str(rate)) for rate in rates] if isinstance(table, dict) else []
        known = [(loss, i) for i, loss in enumerate(losses) if isinstance(loss, float)]
        if len(known) < 1 or len(table) != len(set(rates)) or found.get("chosen") != rates[min(known)[1]]:
            raise RunError(f"{file} is not a pilot of training.learning_rates={rates}; remove it, or its directory")
        return found["chosen"]

    def pilot(self, pilot_seeds: list[int], rates: list[float]) -> np.ndarray:
        """Validation loss of as many pilots as the run has seeds, so that both are one compiled program."""
        updates, step = self.config.training.pilot_updates, 0
        states = programs.start(self.config, pilot_seeds, rates).states
        self.bar.set_postfix_str("pilot of learning rates", refresh=False)
        while step < updates:
            states, losses_UxR = self.call(states, pilot_seeds, step, updates)
            step += len(losses_UxR)
            if stopped := self.stopped():
                raise Stopped(f"{self.directory}: stopped in the pilot of learning rates ({stopped}); the same command begins it again")
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


def _bar(config: Config, title: str) -> tqdm:
    pilot = config.training.pilot_updates * len(pilots(config)) if len(config.training.learning_rates) > 1 else 0
    settings = {"unit": "update", "mininterval": 1 if sys.stderr.isatty() else 30, "disable": not parallel.first()}
    return tqdm(total=config.training.updates + pilot, desc=f"{title}{config.experiment}/{config.run}", **settings)
