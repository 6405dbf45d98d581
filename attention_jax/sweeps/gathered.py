"""Finds the results of many runs, of folders and of files of rows, with all settings of each: what `--table` is made of.

A folder is a run, a concluded sweep, or one that holds such folders: a --workdir. Where a sweep's runs lie below it they are read
themselves, finished ones alone; else its merged rows are, packed or not. A file of rows without a `sweep.json` beside it tells those
settings that its rows name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.report import layouts, pivot
from attention_jax.report.pivot import FOUND, TEST, Measured
from attention_jax.report.standings import is_reported, of_tests, reported
from attention_jax.running import finished, results
from attention_jax.sweeps import archive
from attention_jax.sweeps.sweep import NAMES
from attention_jax.system.errors import ConfigError, DataError

NAMED = {NAMES.get(path, path.rpartition(".")[2]): path for path in settings.leaves(Config()) if path not in ("run", "experiment")}
"""{name of a setting in a row: its path}; the budget of a row is training.updates."""

DEEPEST = 3  # folders below the given one in which runs are looked for


def shown(
    fields: Sequence[str],
    paths: Sequence[str | Path],
    form: str = "text",
    measure: str = "exact_match",
    which: str = "long",
    where: Sequence[str] = (),
) -> str:
    """Returns the table of `--table`, as text, CSV or LaTeX. Raises `ConfigError` and `DataError` as `pivot.tables` and `read` do."""
    runs = [run for path in paths for run in read(Path(path))]
    return layouts.FORMATS[form](pivot.tables(runs, fields, measure, which, where))


def read(path: Path) -> list[Measured]:
    """Returns the runs of a folder or a file of rows. Raises `ConfigError` where there are none, `DataError` for damaged rows."""
    if path.is_file():
        if path.name.removesuffix(".gz") == archive.ROWS and (path.parent / archive.FILE).exists():
            return of_sweep(path.parent)
        return of_rows(archive.unpacked(path), str(path))
    if not path.is_dir():
        raise ConfigError(f"there is no {path} to tabulate: give a --workdir, a folder of results or a file of rows")
    if not (found := below(path, DEEPEST)):
        raise ConfigError(f"{path} holds no finished run, and no rows of a sweep")
    return found


def below(folder: Path, depth: int) -> list[Measured]:
    """Returns the runs of a folder: it is one, or has some in its folders, or is a concluded sweep."""
    if (folder / "config.json").exists():
        return of_run(folder)
    several = sorted(each for each in folder.iterdir() if each.is_dir()) if depth else []
    if found := [run for each in several for run in below(each, depth - 1)]:
        return found
    return of_sweep(folder) if (folder / archive.FILE).exists() else []


def of_run(folder: Path) -> list[Measured]:
    """Returns the run of a folder; nothing where it is not finished."""
    config = settings.from_json(results.stored(folder)["config"])
    if not finished.is_finished(config, folder):
        return []
    return _measured(config, finished.rows(config, folder), str(folder))


def of_sweep(folder: Path) -> list[Measured]:
    """Returns the runs of a concluded sweep, from its merged rows."""
    found = archive.read(folder)
    of_run: dict[str, list[dict]] = {}
    for row in found.rows:
        of_run.setdefault(row["run"], []).append(row)
    return [each for config in found.configs() for each in _measured(config, of_run[config.run], f"{folder} ({config.run})")]


def _measured(config: Config, rows: Sequence[dict], where: str) -> list[Measured]:
    values = settings.leaves(config)
    own = {"budget" if name == "updates" else name: values[path] for name, path in NAMED.items()}
    rows = [row for row in rows if row.get("budget") == config.training.updates]
    said = {name: row.get(name) for row in reported(rows)[:1] for name in FOUND}
    return _of_tests(where, {**own, **said, "experiment": config.experiment, "run": config.run}, rows)


def _of_tests(where: str, settings: Mapping[str, Any], rows: Sequence[dict]) -> list[Measured]:
    """Returns the results of a run on each of its test sets."""
    return [
        Measured(where, {**settings, TEST: name} if name else settings, reported(of_test), further=number > 0)
        for number, (name, of_test) in enumerate(of_tests(rows).items())
    ]


def of_rows(rows: Sequence[dict], where: str) -> list[Measured]:
    """Returns the runs of rows alone: a group for each run and budget, with the settings that its rows name."""
    groups: dict[tuple, list[dict]] = {}
    for row in (row for row in rows if is_reported(row) or row["role"] == "further"):
        if lacking := [name for name in ("run", "seed", "length", "mode", "seen", "budget") if name not in row]:
            raise DataError(f"{where} has a row without {lacking[0]}: it is no file of results")
        groups.setdefault((row.get("experiment"), row["run"], row["budget"]), []).append(row)
    if not groups:
        raise ConfigError(f"{where} holds no row of a result")
    found = []
    for (_, run, _), mine in groups.items():
        said = {name: value for name, value in mine[0].items() if name in (*NAMED, *FOUND, "budget") and name != "updates"}
        found += _of_tests(f"{where} ({run})", said, mine)
    return found
