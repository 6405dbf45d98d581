"""What a claim measures of its trained models besides results: its own function `measure`, run once a seed, and the rows that it leaves.

    measure(trained, source) → rows        a `Trained` of one seed, and the `Source` it was trained on; a dict or more of numbers and words

    measured.jsonl    in the run's directory, beside rows.jsonl: its rows, with the fields of the run, "role": "measured", budget, seed, and
                      how many there are of that seed

It is run behind the training, and goes on where it was stopped: a seed that has rows is not measured again. The file is replaced whole
after each seed, so that a kill tears no seed. `score` and `figures` get these rows behind results and rate curves. A claim that measures
some of its runs alone says which, by `measures(config)`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from attention_jax import model, trained
from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.running import failures, results
from attention_jax.running.lock import Lock
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped
from attention_jax.system.signals import Stop
from attention_jax.trained import Trained
from attention_jax.training import parallel

FILE, ROLE, COUNT = "measured.jsonl", "measured", "rows_of_seed"

Measure = Callable[[Trained, Source], list[dict]]
MeasureOf = Callable[[Config], Measure | None]


def of(claim: ModuleType, config: Config) -> Measure | None:
    """Returns the claim's `measure` for a run; None where it has none, or where its `measures(config)`, if it has that, is False."""
    measures = getattr(claim, "measures", lambda config: True)
    return getattr(claim, "measure", None) if measures(config) else None


def read(directory: Path) -> list[dict]:
    """Returns the rows of a run, of those seeds that have all of theirs; nothing where there is no file. Raises `DataError` for others."""
    file = Path(directory) / FILE
    of_seed: dict[int, list[dict]] = {}
    for row in results.read(file, ours=True) if file.exists() else []:
        if type(row.get("seed")) is not int or type(row.get("run")) is not str:
            raise DataError(f"{file} holds a row without run or seed, which is no measurement; remove the file")
        of_seed.setdefault(row["seed"], []).append(row)
    return [row for rows in of_seed.values() for row in rows if row.get(COUNT) == len(rows)]


def finished(config: Config, directory: Path) -> bool:
    """Returns whether every seed of a run is measured."""
    return {row["seed"] for row in read(directory)} >= set(config.training.all_seeds)


def complete(
    measure: Measure | None,
    config: Config,
    directory: Path,
    fields: dict,
    data_dir: Path | None,
    cache_dir: Path | None,
    stop: Stop,
) -> None:
    """Measures the seeds of a trained run that are not measured yet, if its claim has a `measure`; the first of several processes does.

    Raises `Stopped` behind a seed where it is asked to stop, `RunError` where `measure` fails, the traceback being in `failure.txt`, for
    rows that cannot be kept, and for a damaged file.
    """
    if measure is None or not parallel.is_first():
        return
    try:
        if finished(config, directory):
            return
    except DataError as error:  # this run has failed, others may go on
        raise RunError(str(error)) from None
    with Lock(directory) as lock:
        stop.farewell = lock.release
        try:
            source = sources.build(config, directory, data_dir, cache_dir)
            for seed in config.training.all_seeds:
                found = read(directory)
                if seed in {row["seed"] for row in found}:
                    continue
                loaded = trained.load(directory, seed)
                made = measure(loaded, source)
                own = {"experiment": config.experiment, "run": config.run, **fields}
                if source.vocabularies:  # not known when the sweep was planned
                    own.setdefault("parameters", model.parameters(config.model, loaded.sizes))
                own |= {"role": ROLE, "budget": config.training.updates, "seed": seed, COUNT: len(made)}
                rows = [{**own, **row, **own} for row in made]
                if not rows:
                    raise RunError(f"{directory}: `measure` returned nothing for seed {seed}; it must return a row or more of every seed")
                lock.check()
                results.replace(directory / FILE, [*found, *rows])
                stop.beat()
                if stop.reason:
                    raise Stopped(f"{directory}: measured seed {seed} ({stop.reason}); the same command goes on")
        except (RunError, ConfigError, DataError):
            raise
        except Exception as error:
            failures.keep(directory)
            raise RunError(f"{directory}: measuring, {failures.explained(error, config)}; the traceback is in {failures.FILE}") from error
        failures.forget(directory)
