"""Which learning rate a run is trained at: trials on seeds that are never reported, and the rate curve that they leave.

    rates.jsonl    a row per rate and selection seed with its validation loss, and one per trained length with its exact outputs

Trials train as the run does, R side by side, for the whole budget and down to the end of its schedule (`training.pilot_updates` = 0).
`rates.choose` says which rate the curve speaks for, and how far the grid grows while the best one lies at its edge. A curve that was
measured elsewhere for the same settings may stand in its place; its rows say so.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attention_jax import config as settings
from attention_jax.config import PILOT_SEED, Config
from attention_jax.running import checkpoint, results
from attention_jax.statistics import rates
from attention_jax.statistics.rates import Choice, Losses
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from attention_jax.types.signatures import Array

FILE = "rates.jsonl"
EARLIER = "pilot.json"
"""Where runs of formats 1 and 2 say what was chosen."""

TRIAL = ("budget", "learning_rate", "seed", "grown")
TESTED = ("length", "seen", "mode", "examples", "exact", "loss", "symbols", "error_rate", "edits", "reference_symbols")
"""What is kept of a curve that is to stand in other runs; the other fields are those of the run."""


class Trials(NamedTuple):
    """A group of trials, as many as a run has seeds, so that they train in the run's own program; a rate and a seed of each."""

    seeds: list[int]
    rates: list[float]

    @property
    def folder(self) -> str:
        """Folder of their checkpoints, within that of the run."""
        return f"trials/{self.rates[0]:g}-{self.seeds[0] - PILOT_SEED}"


def updates(config: Config) -> int:
    """Returns the budget of a trial, in updates."""
    return config.training.pilot_updates or config.training.updates


def wanted(config: Config, curve: Sequence[Mapping]) -> list[Trials]:
    """Lists the trials that the rate curve still lacks, in groups of R, rate by rate; the last group is filled up with its last trial.

    When all rates of the grid are there, these are trials of the rate by which the grid grows; [] where the choice stands or none can be
    made.
    """
    training, there = config.training, losses(curve)
    seeds = range(PILOT_SEED, PILOT_SEED + training.pilot_seeds)
    grid = dict.fromkeys((*training.learning_rates, *there))
    pairs = [(seed, rate) for rate in grid for seed in seeds if seed not in there.get(rate, {})]
    if not pairs and (more := choice(config, curve).add):
        pairs = [(seed, more) for seed in seeds]
    pairs += pairs[-1:] * (-len(pairs) % training.seeds)
    return [Trials(*map(list, zip(*pairs[i : i + training.seeds], strict=True))) for i in range(0, len(pairs), training.seeds)]


def losses(curve: Iterable[Mapping]) -> Losses:
    """Returns {rate: {seed: validation loss in nats}} of the trials that are finished; infinity where training diverged."""
    found: dict[float, dict[int, float]] = {}
    for row in curve:
        if "validation_loss" in row:
            loss = row["validation_loss"]
            found.setdefault(row["learning_rate"], {})[row["seed"]] = math.inf if loss is None else loss
    return found


def choice(config: Config, curve: Iterable[Mapping]) -> Choice:
    """Chooses a learning rate by the curve; see `rates.choose`."""
    return rates.choose(losses(curve), config.training.learning_rates)


def rows(config: Config, fields: Mapping, trials: Trials, nll_R: Sequence[float] | Array, tested_R: Sequence[list[dict]]) -> list[dict]:
    """Makes the rows of a group of trials: of each trial what was tested at the trained lengths, and last its validation loss."""
    found: list[dict] = []
    for r, (seed, rate) in enumerate(zip(trials.seeds, trials.rates, strict=True)):
        if (seed, rate) in zip(trials.seeds[:r], trials.rates[:r], strict=True):
            continue  # the group was filled up with it
        place = {"role": "selection", "seed": seed, "budget": updates(config), "learning_rate": rate}
        place["grown"] = rate not in config.training.learning_rates
        found += [{**fields, **place, **row} for row in (*tested_R[r], {"validation_loss": float(nll_R[r])})]
    return [{name: None if _diverged(value) else value for name, value in row.items()} for row in found]


def _diverged(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def keep(directory: Path, found: Iterable[dict]) -> None:
    """Appends rows to the curve in a directory, each once, so that a trial which was interrupted may leave its rows again.

    The caller holds the directory's lock.
    """
    names = ("learning_rate", "seed", "mode", "length")
    there = read(directory)
    written = {tuple(row.get(name) for name in names) for row in there}
    results.replace(Path(directory) / FILE, there + [row for row in found if tuple(row.get(name) for name in names) not in written])


def read(directory: Path) -> list[dict]:
    """Reads the rate curve of a run, as far as it goes; [] where it has no trials yet."""
    file = Path(directory) / FILE
    return results.read(file, ours=True) if file.exists() else []


def is_bare(directory: Path) -> bool:
    """Returns whether a run has saved nothing that its settings decide: no rows, no checkpoint, no trial of its own."""
    directory = Path(directory)
    saved = (directory / "rows.jsonl").exists() or checkpoint.steps(directory / "checkpoint")
    return not saved and all(row.get("kept") for row in read(directory))


def fingerprint(config: Config) -> str:
    """Computes a fingerprint of all that a trial depends on: runs with equal ones have the same curve, up to rounding."""
    ours = {"seeds": 1, "first_seed": 0, "chunk": 1, "nudge": 0} | ({"checkpoint_every": 1} if config.training.evaluate == "last" else {})
    return settings.fingerprint(replace(config, experiment="", run="", training=replace(config.training, **ours)))[:16]


def shipped(curve: Iterable[Mapping], config: Config) -> list[dict]:
    """Converts a curve to the form in which it is kept for other runs with these settings: a row per trial.

    What was tested is a column per field, or one value where all are alike.
    """
    found: dict[tuple, dict] = {}
    for row in curve:
        trial = {name: row[name] for name in TRIAL}
        kept = found.setdefault(tuple(trial.values()), {"curve": fingerprint(config), **trial, "tested": {}})
        if "validation_loss" in row:
            kept["validation_loss"] = row["validation_loss"]
        for name in TESTED:
            if name in row:
                kept["tested"].setdefault(name, []).append(row[name])
    for kept in found.values():
        kept["tested"] = {name: column[0] if _alike(name, column) else column for name, column in kept["tested"].items()}
    return list(found.values())


def kept_file(name: str, home: Path) -> Path:
    """Returns the path of an experiment's kept curves: in the folder `curves` beside its file, else (a name only) in that of `home`."""
    file = Path(name)
    return (file.parent if file.suffix else home) / "curves" / f"{file.stem}.jsonl"


def kept(file: Path) -> list[dict]:
    """Reads the curves that a file keeps; [] where there is no file. Raises `DataError` where it holds anything else."""
    rows = results.read(file) if Path(file).exists() else []
    if any("curve" not in row for row in rows):
        raise DataError(f"{file} is no file of kept rate curves; choose another --keep_rates")
    return rows


def replace_kept(file: Path, curves: Sequence[dict]) -> None:
    """Writes curves to a file of kept ones, in place of those that it has for the same settings."""
    ours = {row["curve"] for row in curves}
    others = [row for row in kept(file) if row["curve"] not in ours]
    files.write_bytes(file, results.lines(sorted([*others, *curves], key=lambda row: row["curve"])))


def _alike(name: str, column: list) -> bool:
    return name != "length" and len(set(column)) == 1


def adopted(kept: Iterable[Mapping], config: Config, fields: Mapping) -> list[dict]:
    """Converts the kept curve for these settings to rows of a run; [] where none is kept."""
    found = []
    for trial in kept:
        if trial.get("curve") == fingerprint(config):
            own = {**fields, "role": "selection", **{name: trial[name] for name in TRIAL}}
            columns = trial["tested"].items()
            rows = [
                {name: x[i] if isinstance(x, list) else x for name, x in columns} for i in range(len(trial["tested"].get("length", ())))
            ]
            found += [{**own, **row, "kept": True} for row in (*rows, {"validation_loss": trial["validation_loss"]})]
    return found


def adopt(directory: Path, kept: Iterable[Mapping], config: Config, fields: Mapping) -> None:
    """Copies a kept curve into a directory without trials of its own; one that was copied in part is completed.

    The caller holds the directory's lock.
    """
    if all(row.get("kept") for row in read(directory)) and (found := adopted(kept, config, fields)):
        keep(directory, found)


def earlier(directory: Path, config: Config) -> float | None:
    """Reads the rate that a run of format 1 or 2 chose; None where it chose none.

    Raises `RunError` where the choice does not follow from the losses beside it.
    """
    file, candidates = Path(directory) / EARLIER, config.training.learning_rates
    if not file.exists():
        return None
    found = results.read_json(file)
    table = found.get("validation_loss")
    table = table if isinstance(table, dict) else {}
    known = [table.get(str(rate)) for rate in candidates]
    finite = [(loss, i) for i, loss in enumerate(known) if isinstance(loss, float)]
    if not finite or len(table) != len(set(candidates)) or found.get("chosen") != candidates[min(finite)[1]]:
        raise RunError(f"{file} is not a pilot of training.learning_rates={candidates}; remove it, or its directory")
    return found["chosen"]


def rate(config: Config, directory: Path, curve: Sequence[Mapping]) -> float:
    """Returns the learning rate that the curve of a directory speaks for.

    Raises `RunError` where training diverged at every rate, `DataError` where the curve is not complete.
    """
    if wanted(config, curve):
        raise DataError(f"{Path(directory) / FILE} lacks trials; run the experiment first")
    chosen = choice(config, curve).rate
    if chosen is None:
        raise RunError(f"{directory}: the loss is not finite at any of training.learning_rates={tuple(losses(curve))}; try lower ones")
    return chosen
