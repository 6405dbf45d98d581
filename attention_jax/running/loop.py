"""Trains one run: clock, signals, progress, checkpoints, rows.

    run(config, directory) → rows

A run is one config with all its seeds, trained together as a batch axis. What it leaves in its directory:

    config.json        settings and environment            rows.jsonl      one row per seed, length and mode
    rates.jsonl        the rate curve, where there are     example.json    one decoded example with its weights
                       several learning rates              checkpoint/     the last states, enough to go on exactly
    vocabulary.model   subwords, for text                  trials/         those of the trials that are being made
    sentences.gz       on text, losses of test sentences   events/         losses for TensorBoard, on request
    failure.txt        the traceback of a run that failed

The same call goes on where a killed, interrupted or failed one stopped, and returns at once where all rows are there.

The device is never waited for at every update. Updates are made in calls of about `CALL_SECONDS` each, their number by the speed so
far; one compiled program serves every number, so that neither that nor an interruption changes a bit of what comes out.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from attention_jax import config as settings
from attention_jax import training
from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.running import checkpoint, evaluation, failures, results, selection, trials
from attention_jax.running.lock import Lock
from attention_jax.running.selection import Trials
from attention_jax.running.tensorboard import writer
from attention_jax.statistics import sentences
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.system.signals import Stop
from attention_jax.training import parallel, programs
from attention_jax.training.programs import Progress
from attention_jax.types import TrainState
from attention_jax.types.signatures import Array

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
    curves: Sequence[dict] = (),
) -> list[dict]:
    """Trains and evaluates one config; `fields` (the swept settings and the like) are copied into every row.

    `curves`: rows of kept rate curves; one for the same settings stands in the place of the run's own trials.
    With several processes all of them call this, and the first one writes. `stop` says when to leave; None: listens to signals itself.
    `tensorboard`: the loss of each seed goes to the folder `events` as well.
    Raises `Stopped` after saving, `StorageError` for a disk that refuses, `RunError` for a foreign directory, for a loss that is not
    finite and for whatever else fails (the last good checkpoint stays, the traceback goes to `failure.txt`), `ConfigError` and
    `DataError` for settings and data.
    """
    directory = Path(directory)
    training.checked(config)
    sources.check(config)
    training.build(config.model, sources.vocabulary_size(config))  # names and sizes are refused before anything is written
    programs.mesh(config)
    fields = {"experiment": config.experiment, "run": config.run, **fields}
    with contextlib.nullcontext(stop) if stop else Stop() as stop, _held(directory) as lock:
        free = not (directory / "config.json").exists()
        if lock:
            results.tidy(directory)
            results.claim_directory(directory, settings.to_json(config), results.environment())
        parallel.meet("claimed")
        if parallel.told(finished(config, directory)):
            return _rows(directory)
        try:
            source = _source(config, directory, data_dir, cache_dir)
        except (ConfigError, DataError):
            if lock and free:  # nothing was begun: the directory stays free for the corrected settings
                (directory / "config.json").unlink()
            raise
        with _bar(config, title) as bar:
            if lock:
                failures.forget(directory)
                selection.adopt(directory, curves, config, fields)
                stop.farewell = lambda: (lock.release(), bar.close())  # what is said last gets a line of its own
            parallel.meet("curve")
            _watched(Run(config, directory, fields, source, stop, lock, bar), tensorboard)
        return _rows(directory)


def _rows(directory: Path) -> list[dict]:
    """What the run wrote, in every process."""
    return parallel.told(results.read(directory / "rows.jsonl") if parallel.first() else None)


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
    source = sources.build(config, directory, data_dir, cache_dir) if parallel.first() else None
    parallel.meet("data")
    return source or sources.build(config, directory, data_dir, cache_dir)


def place() -> str:
    """The run, update and process that this is, for logs; empty between runs."""
    if not _at:
        return ""
    process = f" process {jax.process_index()} of {jax.process_count()}" if jax.process_count() > 1 else ""
    return f"{_at['run']}{process} update {_at['update']}"


_at: dict = {}
"""Where this process is: the directory and update of the run that it trains."""


def _watched(run: "Run", tensorboard: bool) -> None:
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
    """Whether the rows are there, and the example."""
    return has_rows(config, directory) and (directory / "example.json").exists()


def has_rows(config: Config, directory: Path) -> bool:
    """Whether the rows of the whole budget are there."""
    rows = directory / "rows.jsonl"
    return rows.exists() and are_whole(config, results.merge([rows]))


def are_whole(config: Config, rows: Sequence[dict]) -> bool:
    """Whether these are rows of a whole run: both modes of every seed, at the same lengths (a torn file lacks the last)."""
    lengths = {(seed, mode): set() for seed in seeds(config) for mode in evaluation.MODES}
    for row in rows:
        if row["budget"] == config.training.updates and (row["seed"], row["mode"]) in lengths:
            lengths[row["seed"], row["mode"]].add(row["length"])
    return all(lengths.values()) and len(set(map(frozenset, lengths.values()))) == 1


def seeds(config: Config) -> list[int]:
    """The seeds of a run, in order of the axis R."""
    return list(range(config.training.first_seed, config.training.first_seed + config.training.seeds))


class Run:
    """The state of a loop: what would otherwise be passed around by every function below."""

    def __init__(self, config: Config, directory: Path, fields: dict, source: Source, stop: Stop, lock: Lock | None, bar: tqdm):
        self.config, self.directory, self.source, self.stop, self.lock, self.bar = config, directory, source, stop, lock, bar
        self.events, self.saver = None, checkpoint.Saver(directory / "checkpoint")
        self.evaluator = evaluation.Evaluator(config, source, stop.beat)
        self.fields = fields
        self.most = 1  # updates of the next device call; the first one compiles
        self.training_seconds = 0.0

    def go(self, tensorboard: bool) -> None:
        """Chooses the rate, trains, evaluates."""
        programs.check_memory(self.config)
        rate = trials.rate(self)
        if tensorboard and self.lock:
            newest = checkpoint.steps(self.saver.directory)
            self.events = writer(self.directory / "events", newest[-1] if newest else 0)
        progress, seconds = self.train(self.config, Trials(seeds(self.config), [rate] * self.config.training.seeds))
        self.evaluate(progress, rate, seconds)
        if stopped := self.stopped():
            raise Stopped(f"{self.directory}: finished, all rows are written ({stopped}); the same command goes on")

    def train(self, config: Config, group: Trials) -> tuple[Progress, float]:
        """R seeds at R rates, from the newest checkpoint or the beginning to the end of the budget; and seconds of training in all.

        A loss that is not finite ends a run, and is a result of a trial.
        """
        is_trial, budget, every = group.seeds != seeds(self.config), config.training.updates, config.training.checkpoint_every
        advance = programs.advance(config, self.source)
        progress, seconds = self.resumed(programs.start(config, *group), group)
        saved = step = int(parallel.fetch(progress.states.step)[0])
        self.bar.update(step)
        started = time.monotonic() - seconds
        while step < budget:
            end = min(budget, (step // every + 1) * every)
            states, losses_UxR = self.call(advance, progress.states, group, step, end, budget)
            if not is_trial:
                self.check_losses(losses_UxR, step, saved)
            progress, step = progress.replace(states=states), step + len(losses_UxR)
            stopped = self.stopped()
            if step == end or stopped:
                if not is_trial:
                    self.check_parameters(states, step, saved)
                if config.training.evaluate == "best" and step == end:
                    progress = self.update_best(progress, group)
                self.check_lock()
                self.saver.save(step, progress, self.extra(step, time.monotonic() - started, group))
                saved = step
            if stopped:
                self.saver.wait()
                what = " of trials of learning rates" if is_trial else ""
                raise Stopped(f"{self.directory}: saved at update {step} of {budget}{what} ({stopped}); the same command goes on")
        self.saver.wait()
        return progress, time.monotonic() - started

    def extra(self, step: int, seconds: float, group: Trials) -> dict:
        """What a checkpoint holds besides arrays: batches are a function of seed and update, so their position is the next update."""
        trials = {"trials": [group.seeds, group.rates]} if group.seeds != seeds(self.config) else {}
        return trials | {
            "seconds": seconds,
            "next_update": step,
            "config": settings.fingerprint(self.config),
            "data": self.source.fingerprint,
            "vocabulary": self.source.vocabulary.fingerprint() if self.source.vocabulary else "",
        }

    def resumed(self, beginning: Progress, group: Trials) -> tuple[Progress, float]:
        """(progress, seconds of training so far): the newest readable checkpoint, which the first process finds, or the beginning."""
        found = None
        if self.lock:
            found = checkpoint.restore(self.saver.directory, beginning)
            checkpoint.tidy(self.saver.directory)
        step = int(parallel.agreed([found[0] if found else -1])[0, 0])
        if step < 0:
            return beginning, 0.0
        _, progress, extra = found or checkpoint.restore(self.saver.directory, beginning, step)  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]  # the first process has it
        own = self.extra(step, 0.0, group)
        for name, whose in (("config", "to another config"), ("data", "to other data"), ("trials", "to other trials")):
            if extra.get(name) != own.get(name):
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

    def call(self, advance: Callable, states: TrainState, group: Trials, step: int, end: int, budget: int) -> tuple[TrainState, np.ndarray]:
        """Updates from `step` on, at most to `end`, and their losses."""
        began, updates = time.monotonic(), min(int(parallel.agreed([self.most])[0, 0]), end - step)
        states, losses_UxR = advance(states, group.seeds, step, updates)
        seconds, updates = time.monotonic() - began, len(losses_UxR)
        self.stop.beat()
        self.most = paced(self.most, updates, seconds, self.config.training.chunk)
        self.training_seconds += seconds
        self.bar.update(updates)
        done, rate = step + updates, seconds / updates
        _at.update(update=done)
        if self.events and group.seeds == seeds(self.config):
            for seed, loss in zip(group.seeds, losses_UxR[-1], strict=True):
                self.events.add_scalar(f"loss/seed_{seed}", float(loss), done)
        if self.lock:
            self.lock.say(
                update=done if group.seeds == seeds(self.config) else 0,
                updates=self.config.training.updates,
                seconds_left=round(((self.bar.total or 0) - self.bar.n) * rate),
            )
        data = f", data {self.source.read.waited / self.training_seconds:.1%}" if self.source.read else ""
        self.bar.set_postfix_str(f"loss {losses_UxR[-1].mean():.3f}{data}", refresh=False)
        return states, losses_UxR

    def check_losses(self, losses_UxR: Array, step: int, saved: int) -> None:
        bad = np.argwhere(~np.isfinite(losses_UxR))
        if len(bad):
            update, replica = bad[0]
            self.fail(f"the loss of seed {seeds(self.config)[replica]} is not finite at update {step + update + 1}", saved)

    def check_parameters(self, states: TrainState, step: int, saved: int) -> None:
        """The last update of a chunk may ruin parameters that no loss has seen yet; such are not saved."""
        finite_R = parallel.finite(states.params)
        if not finite_R.all():
            self.fail(f"the parameters of seed {seeds(self.config)[int(finite_R.argmin())]} are not finite after update {step}", saved)

    def fail(self, what: str, saved: int) -> None:
        self.saver.wait()
        kept = f"the checkpoint of update {saved} is kept" if saved else "there is no checkpoint yet"
        raise RunError(f"{self.directory}: {what}; {kept}. Try a lower training.learning_rates or training.clip")

    def update_best(self, progress: Progress, group: Trials) -> Progress:
        nll_R = self.evaluator.validation_loss(progress.states.params, group.seeds)
        now = (*parallel.fetch((progress.states.params, progress.states.step)), nll_R.astype(np.float32))
        best = parallel.fetch((progress.best_params, progress.best_step_R, progress.best_nll_R))
        better_R = now[2] < best[2]

        def chosen(new, old):
            return np.where(better_R.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        params, step_R, nll_R = jax.tree.map(chosen, now, best)
        found = parallel.spread({"best_params": params, "best_step_R": step_R, "best_nll_R": nll_R}, programs.mesh(self.config))
        return progress.replace(**found)

    def chosen(self, progress: Progress) -> tuple:
        """(the parameters that are evaluated, their steps of each seed)."""
        if self.config.training.evaluate == "best":
            return progress.best_params, progress.best_step_R
        return progress.states.params, progress.states.step

    def evaluate(self, progress: Progress, rate: float, seconds: float) -> None:
        """Writes the example, and the rows."""
        params, steps_R = self.chosen(progress)
        steps_R = parallel.fetch(steps_R)
        rows, example, found = self.evaluator.tested(params, seeds(self.config))
        if not self.lock:
            return
        shared = {"role": "reported", "budget": self.config.training.updates, "learning_rate": rate, "seconds": round(seconds, 1)}
        rows = [self.fields | row | shared | {"step": int(steps_R[row["seed"] - self.config.training.first_seed])} for row in rows]
        self.lock.check()
        if found is not None:
            sentences.write(self.directory / sentences.FILE, found)
        results.write_json(self.directory / "example.json", example)  # before the rows: a run is finished when they are there
        results.append(self.directory / "rows.jsonl", results.missing(self.directory / "rows.jsonl", rows))


def paced(most: int, updates: int, seconds: float, limit: int) -> int:
    """How many updates the next call may make after one of `updates` in `seconds`: CALL_SECONDS' worth, up to four times as many."""
    return max(1, min(limit, 4 * most, int(CALL_SECONDS * updates / seconds)))


def _bar(config: Config, title: str) -> tqdm:
    settings = {"unit": "update", "mininterval": 1 if sys.stderr.isatty() else 30, "disable": not parallel.first()}
    return tqdm(total=config.training.updates, desc=f"{title}{config.experiment}/{config.run}", **settings)
