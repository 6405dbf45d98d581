"""Trains one run: clock, signals, progress, checkpoints, rows.

    run(config, directory) → rows

A run is one config with all its seeds, trained together as a batch axis. What it leaves in its directory:

    config.json        settings and environment            rows.jsonl      one row per seed, length and mode
    rates.jsonl        the rate curve, where there are     example.json    one decoded example with its weights
                       several learning rates              checkpoint/     the last states, enough to go on exactly
    vocabulary.model   tokens, for text (vocabularies.py)  trials/         those of the trials that are being made
    sentences.gz       on text, losses of test sentences   events/, wandb/ for other programs, on request: writers.py
    hypotheses.gz      on text and signals, what was written for them  hypotheses1.gz  and for those of a second test set, and so on
                                                           hypotheses_beam.gz  the same by a beam, where a claim measures that
    examples.json      examples of each seed step by step  watched.json    what is shown while it trains, on request
    finished.json      which rows these are, once whole    failure.txt     the traceback of a run that failed

The same call goes on where a killed, interrupted or failed one stopped, and returns at once where all rows are there.

The device is never waited for at every update. Updates are made in calls of about `CALL_SECONDS` each, their number by the speed so
far; one compiled program serves every number, so that neither that nor an interruption changes a bit of what comes out.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from attention_jax import config as settings
from attention_jax import model
from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.running import checkpoint, evaluation, examples, failures, finished, logs, results, selection, trials, writers
from attention_jax.running.lock import Lock
from attention_jax.running.resolved import check, resolve, sizes_of_run
from attention_jax.running.selection import Trials
from attention_jax.running.watching import Watch
from attention_jax.statistics import hypotheses, sentences
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.system.signals import Stop
from attention_jax.training import compiled, parallel
from attention_jax.training.compiled import Progress, Resolved
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
    writing: Sequence[str] = (),
    curves: Sequence[dict] = (),
    watch: Callable[[], object] | None = None,
) -> list[dict]:
    """Trains and evaluates one config; `fields` (the swept settings and the like) are copied into every row.

    `curves`: rows of kept rate curves; one for the same settings stands in the place of the run's own trials.
    With several processes all of them call this, and the first one writes. `stop` says when to leave; None: listens to signals itself.
    `writing`: rows of `writers.TABLE`, to which losses of each seed and results go as well. `watch`: called at checkpoints, once the run's
    `watched.json` is new; without it there is none.
    Raises `Stopped` after saving, `StorageError` for a disk that refuses and a directory that another process has, `RunError` for a
    foreign directory, for a loss that is not finite and for whatever else fails (the last good checkpoint stays, the traceback goes to
    `failure.txt`), `ConfigError` and `DataError` for settings and data.
    """
    directory = Path(directory)
    check(config)  # names and sizes are refused before anything is written
    parallel.run_mesh(config.training.seeds, config.training.batch_size, config.model.hidden_size)  # so are devices that cannot share these
    fields = {"experiment": config.experiment, "run": config.run, "fingerprint": finished.fingerprint(config), **fields}
    with files.refusing(directory), contextlib.nullcontext(stop) if stop else Stop() as stop, _held(directory) as lock:
        free = not (directory / "config.json").exists()
        if lock:
            results.tidy(directory)
            if failures.failed(directory) and selection.is_bare(directory):
                failures.clear(directory)
            results.claim_directory(directory, settings.to_json(config), results.environment())
        parallel.barrier("claimed")
        if parallel.broadcast(_is_finished(config, directory)):
            if lock and not finished.is_marked(config, directory):  # it was killed, or made by an older version
                finished.mark(config, directory)
            return _rows(directory)
        try:
            source = _source(config, directory, data_dir, cache_dir)
        except (ConfigError, DataError):
            if lock and free:  # nothing was begun: the directory stays free for the corrected settings
                (directory / "config.json").unlink()
            raise
        resolved = resolve(config, sizes_of_run(directory, config, source.sizes))
        if source.vocabularies and "parameters" not in fields:  # not known before the text was read
            fields["parameters"] = model.parameters(config.model, resolved.sizes)
        with _bar(config, title) as bar:
            if lock:
                failures.forget(directory)
                selection.adopt(directory, curves, config, fields)
                stop.farewell = lambda: (lock.release(), bar.close())  # what is said last gets a line of its own
            parallel.barrier("curve")
            _watched(Run(resolved, directory, fields, source, stop, lock, bar, watch), writing)
        return _rows(directory)


def _is_finished(config: Config, directory: Path) -> bool:
    """Returns whether all rows are there. Raises `RunError` for damaged or foreign ones: this run has failed, others may go on."""
    try:
        return finished.is_finished(config, directory)
    except DataError as error:
        raise RunError(str(error)) from None


def _rows(directory: Path) -> list[dict]:
    """Reads what the run wrote, in every process."""
    return parallel.broadcast(results.read(directory / finished.ROWS, ours=True) if parallel.is_first() else None)


@contextlib.contextmanager
def _held(directory: Path):
    """Holds the lock in the process that writes; yields None in others."""
    if not parallel.is_first():
        yield None
        return
    with Lock(directory) as lock:
        yield lock


def _source(config: Config, directory: Path, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """Builds the source: the first process makes what there is to make, the others find it."""
    source = sources.build(config, directory, data_dir, cache_dir) if parallel.is_first() else None
    parallel.barrier("data")
    return source or sources.build(config, directory, data_dir, cache_dir)


def _watched(run: "Run", writing: Sequence[str]) -> None:
    """Runs it; what fails is kept in `failure.txt`, and is a `RunError` of one line.

    What the operating system refuses says nothing of the run, and is not kept.
    """
    logs.at(run=f"{run.config.experiment}/{run.config.run}", update=0)
    try:
        run.go(writing)
    except (Stopped, StorageError, OSError):
        raise
    except Exception as error:
        if parallel.is_lost(error):
            raise  # nothing is wrong with the run itself
        if run.lock and not isinstance(error, ConfigError | DataError):
            failures.keep(run.directory)
        if isinstance(error, RunError | ConfigError | DataError):
            raise
        raise RunError(f"{run.directory}: {failures.explained(error, run.config)}; the traceback is in {failures.FILE}") from error
    finally:
        logs.at()
        run.close()


class Run:
    """The state of a loop: what would otherwise be passed around by every function below."""

    def __init__(
        self,
        resolved: Resolved,
        directory: Path,
        fields: dict,
        source: Source,
        stop: Stop,
        lock: Lock | None,
        bar: tqdm,
        watch: Callable[[], object] | None = None,
    ):
        self.resolved, self.config, self.seeds = resolved, resolved.config, resolved.config.training.all_seeds
        self.directory, self.source, self.stop, self.lock, self.bar = directory, source, stop, lock, bar
        self.events, self.saver = None, checkpoint.Saver(directory / "checkpoint")
        self.evaluator = evaluation.Evaluator(resolved, source, stop.beat)
        self.fields = fields
        self.watch = Watch(directory, self.seeds, self.config.training.updates, lock is not None, watch) if watch else None
        self.most = 1  # updates of the next device call; the first one compiles
        self.training_seconds = 0.0

    def close(self) -> None:
        """Waits for the last save, while the directory is ours. Raises nothing, which would hide why the run ends."""
        for end in (self.saver.wait, *([self.events.close] if self.events else [])):
            try:
                end()
            except Exception as error:
                logger.info("at the end of %s: %s", self.directory, error)

    def go(self, writing: Sequence[str]) -> None:
        """Chooses the rate, trains, evaluates."""
        compiled.check_memory(self.resolved)
        rate = trials.rate(self)
        if writing and self.lock:
            newest = checkpoint.steps(self.saver.directory)
            self.events = writers.Writers(writing, writers.Place(self.config, self.directory, newest[-1] if newest else 0))
        progress, seconds = self.train(self.resolved, Trials(self.seeds, [rate] * self.config.training.seeds))
        self.evaluate(progress, rate, seconds)
        if stopped := self.stopped():
            raise Stopped(f"{self.directory}: finished, all rows are written ({stopped}); the same command goes on")

    def train(self, resolved: Resolved, group: Trials) -> tuple[Progress, float]:
        """Trains R seeds at R rates from the newest checkpoint, or from update 0, to the end of the budget: (progress, seconds in all).

        A loss that is not finite ends a run, and is a result of a trial.
        """
        training, is_trial = resolved.config.training, group.seeds != self.seeds
        budget, every = training.updates, training.checkpoint_every
        advance = compiled.advance(resolved, self.source)
        progress, seconds = self.resumed(compiled.start(resolved, *group), group)
        saved = step = int(parallel.fetch(progress.states.step)[0])
        watch = None if is_trial else self.watch
        if watch:
            watch.resume(step)
            watch.tries([])
        self.bar.update(step)
        started = time.monotonic() - seconds
        while step < budget:
            end = min(budget, (step // every + 1) * every)
            states, losses_UxR = self.call(advance, progress.states, group, step, end, budget)
            if not is_trial:
                self.check_losses(losses_UxR, step, saved)
            if watch:
                watch.add(step, losses_UxR)
            progress, step = progress.replace(states=states), step + len(losses_UxR)
            stopped = self.stopped()
            if step == end or stopped:
                if not is_trial:
                    self.check_parameters(states, step, saved)
                if training.evaluate == "best" and step == end:
                    progress = self.update_best(progress, group)
                self.check_lock()
                self.saver.save(step, progress, self.extra(step, time.monotonic() - started, group))
                saved = step
            if stopped:
                self.saver.wait()
                what = " of trials of learning rates" if is_trial else ""
                raise Stopped(f"{self.directory}: saved at update {step} of {budget}{what} ({stopped}); the same command goes on")
            if watch and step == end:
                started += watch.snapshot(step, partial(self.evaluator.watched, states.params, self.seeds))  # which is no training
        self.saver.wait()
        return progress, time.monotonic() - started

    def extra(self, step: int, seconds: float, group: Trials) -> dict:
        """Returns what a checkpoint holds besides arrays: batches are a function of seed and update, so the next update is enough."""
        trials = {"trials": [group.seeds, group.rates]} if group.seeds != self.seeds else {}
        return trials | {
            "seconds": seconds,
            "next_update": step,
            "config": settings.fingerprint(self.config),
            "data": self.source.fingerprint,
            "vocabulary": self.source.vocabularies.fingerprint() if self.source.vocabularies else "",
        }

    def resumed(self, beginning: Progress, group: Trials) -> tuple[Progress, float]:
        """Returns (progress, seconds of training so far) of the newest readable checkpoint of the first process, or of update 0."""
        found = None
        if self.lock:
            found = checkpoint.restore(self.saver.directory, beginning, owned=True)
            checkpoint.tidy(self.saver.directory)
        step = int(parallel.all_gather([found[0] if found else -1])[0, 0])
        if step < 0:
            return beginning, 0.0
        _, progress, extra = found or checkpoint.restore(self.saver.directory, beginning, step)  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]  # the first process has it
        own = self.extra(step, 0.0, group)
        for name, whose in (("config", "to another config"), ("data", "to other data"), ("trials", "to other trials")):
            if extra.get(name) != own.get(name):
                raise RunError(f"{self.saver.directory / str(step)} belongs {whose}; use another workdir")
        return progress, extra["seconds"]

    def stopped(self) -> str:
        """Says why to stop now, which all processes agree on; empty to go on."""
        asked = parallel.all_gather([bool(self.stop.reason)])[:, 0]
        if asked.any():
            self.stop.ask("another process was asked to")
        return self.stop.reason

    def check_lock(self) -> None:
        """Raises `StorageError` where the directory is not ours any more."""
        if self.lock:
            self.lock.check()

    def call(self, advance: Callable, states: TrainState, group: Trials, step: int, end: int, budget: int) -> tuple[TrainState, np.ndarray]:
        """Makes updates from `step` on, at most to `end`: (states, losses of each update and seed)."""
        began, updates = time.monotonic(), min(int(parallel.all_gather([self.most])[0, 0]), end - step)
        states, losses_UxR = advance(states, group.seeds, step, updates)
        seconds, updates = time.monotonic() - began, len(losses_UxR)
        self.stop.beat()
        self.most = paced(self.most, updates, seconds, self.config.training.chunk)
        self.training_seconds += seconds
        self.bar.update(updates)
        done, rate = step + updates, seconds / updates
        logs.at(update=done)
        if self.events and group.seeds == self.seeds:
            self.events.add(done, {f"loss/seed_{seed}": float(loss) for seed, loss in zip(group.seeds, losses_UxR[-1], strict=True)})
        if self.lock:
            self.lock.say(
                update=done if group.seeds == self.seeds else 0,
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
            self.fail(f"the loss of seed {self.seeds[replica]} is not finite at update {step + update + 1}", saved)

    def check_parameters(self, states: TrainState, step: int, saved: int) -> None:
        """Fails the run where parameters are not finite: the last update may ruin what no loss has seen yet, and that is not saved."""
        finite_R = parallel.finite(states.params)
        if not finite_R.all():
            self.fail(f"the parameters of seed {self.seeds[int(finite_R.argmin())]} are not finite after update {step}", saved)

    def fail(self, what: str, saved: int) -> None:
        self.saver.wait()
        kept = f"the checkpoint of update {saved} is kept" if saved else "there is no checkpoint yet"
        where = "in another --workdir" if saved or not selection.is_bare(self.directory) else "with --retry_failed"
        raise RunError(f"{self.directory}: {what}; {kept}. Try a lower training.learning_rates or training.clip, {where}")

    def update_best(self, progress: Progress, group: Trials) -> Progress:
        nll_R = self.evaluator.validation_loss(progress.states.params, group.seeds)
        now = (*parallel.fetch((progress.states.params, progress.states.step)), nll_R.astype(np.float32))
        best = parallel.fetch((progress.best_params, progress.best_step_R, progress.best_nll_R))
        better_R = now[2] < best[2]

        def chosen(new, old):
            return np.where(better_R.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        params, step_R, nll_R = jax.tree.map(chosen, now, best)
        found = parallel.spread({"best_params": params, "best_step_R": step_R, "best_nll_R": nll_R}, self.resolved.mesh)
        return progress.replace(**found)

    def chosen(self, progress: Progress) -> tuple:
        """Returns (the parameters that are evaluated, their update of each seed)."""
        if self.config.training.evaluate == "best":
            return progress.best_params, progress.best_step_R
        return progress.states.params, progress.states.step

    def evaluate(self, progress: Progress, rate: float, seconds: float) -> None:
        """Writes the example, and the rows."""
        params, steps_R = self.chosen(progress)
        steps_R = parallel.fetch(steps_R)
        rows, example, found, further, written, shown = self.evaluator.tested(params, self.seeds)
        if not self.lock:
            return
        shared = {"role": "reported", "budget": self.config.training.updates, "learning_rate": rate, "seconds": round(seconds, 1)}
        shared_of = [(rows, shared), (further, shared | {"role": "further"})]
        rows = [
            self.fields | row | own | {"step": int(steps_R[row["seed"] - self.config.training.first_seed])}
            for of_test, own in shared_of
            for row in of_test
        ]
        self.lock.check()
        if found is not None:
            sentences.write(self.directory / sentences.FILE, found)
        for i, of_test in enumerate(written.values()):
            hypotheses.write(self.directory / hypotheses.named(i), of_test)
        examples.write(self.directory / examples.FILE, shown)
        results.write_json(self.directory / finished.EXAMPLE, example)  # before the rows: a run is finished when they are there
        file = self.directory / finished.ROWS
        smaller = finished.rows(self.config, self.directory) if file.exists() else []  # of older versions, which tested at several budgets
        results.replace(file, [*(row for row in smaller if row["budget"] != self.config.training.updates), *rows])
        finished.mark(self.config, self.directory)
        if self.events:
            self.events.add(self.config.training.updates, writers.of_rows(rows))


def paced(most: int, updates: int, seconds: float, limit: int) -> int:
    """Returns how many updates the next call may make after one of `updates` in `seconds`: CALL_SECONDS' worth, at most 4 × as many."""
    return max(1, min(limit, 4 * most, int(CALL_SECONDS * updates / seconds)))


def _bar(config: Config, title: str) -> tqdm:
    return logs.bar(config.training.updates, f"{title}{config.experiment}/{config.run}", shown=parallel.is_first())
