"""Trains the runs of a sweep, or several sweeps, one after the other, in this process; where one fails, the others go on."""

from collections.abc import Callable, Sequence
from pathlib import Path

from attention_jax.running import failures, finished, loop, selection
from attention_jax.sweeps import measurements
from attention_jax.sweeps.sweep import Run
from attention_jax.system import output
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.system.signals import Stop


def train(
    runs: Sequence[Run],
    stop: Stop,
    curves: Sequence[dict],
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    retry_failed: bool = False,
    writers: Sequence[str] = (),
    watch: Callable[[], object] | None = None,
) -> None:
    """Trains runs with the kept rate curves `curves`. Raises `RunError` at the end, with the names of those that failed.

    A run that failed before is left out, unless `retry_failed`. `writers` are rows of `writers.TABLE`. `watch` is called at
    checkpoints (`loop.run`).
    """
    failed = []
    for i, run in enumerate(runs):
        if (reason := failures.failed(run.directory)) and not retry_failed and not finished.is_finished(run.config, run.directory):
            output.tell(f"left out: {run.directory} failed before ({reason})")
            failed.append(run)
            continue
        try:
            title = f"[{i + 1}/{len(runs)}] "
            loop.run(run.config, run.directory, run.fields, data_dir, cache_dir, title, stop, writers, curves, watch)
            measurements.complete(run.measure, run.config, run.directory, run.fields, data_dir, cache_dir, stop)
        except RunError as error:
            if isinstance(error, Stopped | StorageError) or len(runs) == 1 or not failures.failed(run.directory):
                raise
            output.tell(f"error: {error}")
            failed.append(run)
    if failed:
        named = ", ".join(str(run.directory) for run in failed)
        raise RunError(f"{len(failed)} of {len(runs)} runs failed: {named}; see {failures.FILE} there, and --retry_failed to restart them")


def each_of(names: Sequence[str], train: Callable[[str], object]) -> None:
    """Calls `train` with the name of each experiment. Where one fails, or lacks its data, the others go on.

    Raises at the end, with the names of those that failed: `RunError` where a run did, `DataError` where there is only what the user can
    mend. A stop, and a disk that refuses, end all of them.
    """
    failed: dict[str, Exception] = {}
    for name in names:
        output.show(f"--- {name}")
        try:
            train(name)
        except (RunError, ConfigError, DataError) as error:
            if isinstance(error, Stopped | StorageError):
                raise
            output.tell(f"error: {error}")
            failed[name] = error
    if failed:
        kind = RunError if any(isinstance(error, RunError) for error in failed.values()) else DataError
        raise kind(f"{len(failed)} of {len(names)} experiments failed: {', '.join(failed)}")


def check_own_rates(runs: Sequence[Run]) -> None:
    """Raises `ConfigError` for a run that has taken a kept rate curve, where rates are to be chosen here."""
    for run in runs:
        if any(row.get("kept") for row in selection.read(run.directory)):
            raise ConfigError(f"--choose_rates: {run.directory} has taken a kept rate curve; choose another --workdir")


def all_finished(runs: Sequence[Run]) -> bool:
    """Returns whether all runs are finished; rows that are damaged are reported, and not those of a finished run."""
    found = []
    for run in runs:
        try:
            found.append(run.is_finished)
        except DataError as error:
            output.tell(f"not concluded: {error}")
            found.append(False)
    return all(found)
