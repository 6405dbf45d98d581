"""The folder of a finished sweep: its rows, settings and command, enough to check it, draw it and rerun it.

    sweep.json      the claim, the command, the settings of every run and where it ran
    rows.jsonl      all results                 rates.jsonl      all rate curves, where there are any
    measured.jsonl  what the claim measured of trained models besides, where it does
    sentences/      on text, losses of test sentences, a file a run

Rows may be packed: rows.jsonl.gz is read in the place of rows.jsonl.
"""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attention_jax import config as settings
from attention_jax.config import Config, formats
from attention_jax.running import finished, results, selection
from attention_jax.statistics import sentences
from attention_jax.statistics.sentences import Sentences
from attention_jax.sweeps import measurements
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError

FILE, ROWS = "sweep.json", "rows.jsonl"
LARGEST = 1 << 30  # bytes of rows that are unpacked


class Archive(NamedTuple):
    """The content of the folder. `stored`: run → its settings and environment, as `results.stored` returns them."""

    experiment: str
    command: str
    stored: dict[str, dict]
    rows: list[dict]
    curves: list[dict]
    sentences: dict[str, Sentences]
    measured: Sequence[dict] = ()

    def configs(self) -> list[Config]:
        """Returns the settings of every run, in order."""
        return [settings.from_json(found["config"]) for found in self.stored.values()]

    def kept_curves(self) -> list[dict]:
        """Returns its rate curves in the form in which they are kept for other runs with the same settings."""
        of_run = [[row for row in self.curves if row["run"] == config.run] for config in self.configs()]
        return [row for config, curve in zip(self.configs(), of_run, strict=True) for row in selection.shipped(curve, config)]

    @property
    def all_rows(self) -> list[dict]:
        """Results, rate curves and what was measured besides, as a claim's `score` and `figures` take them."""
        return [*self.rows, *self.curves, *self.measured]


def write(directory: Path, archive: Archive, packed: bool = False) -> list[Path]:
    """Writes an archive, and returns the paths; settings and environments that all runs share are written once."""
    directory = Path(directory)
    first = next(iter(archive.stored.values()))
    content: dict[str, Any] = {"format": formats.FORMAT, "experiment": archive.experiment, "command": archive.command}
    content |= {part: first[part] for part in ("config", "environment")}
    content["runs"] = {
        run: {part: _apart(results.flat(first[part]), results.flat(found[part])) for part in ("config", "environment")}
        for run, found in archive.stored.items()
    }
    paths = []
    for name, rows in ((ROWS, archive.rows), (selection.FILE, archive.curves), (measurements.FILE, archive.measured)):
        if rows:
            paths.append(directory / (f"{name}.gz" if packed else name))
            files.write_bytes(paths[-1], gzip.compress(results.lines(rows), mtime=0) if packed else results.each_line(rows))
            (directory / (name if packed else f"{name}.gz")).unlink(missing_ok=True)
    for run, found in archive.sentences.items():
        paths.append(directory / "sentences" / f"{run}.gz")
        sentences.write(paths[-1], found)
    results.write_json(directory / FILE, content)  # last: what it speaks of is there
    return [*paths, directory / FILE]


def write_texts(directory: Path, texts: Mapping[str, str]) -> list[Path]:
    """Writes files that a claim makes of its rows, by their paths below the folder, and returns the folders they are in."""
    for name, text in texts.items():
        (Path(directory) / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(Path(directory) / name, text.encode())
    return sorted({(Path(directory) / name).parent for name in texts})


def read(directory: str | Path) -> Archive:
    """Reads the archive in a folder. Raises `RunError` where there is none, `DataError` for rows that are damaged or missing."""
    directory = Path(directory)
    content = results.read_json(directory / FILE)
    formats.check(content, directory / FILE)
    try:
        stored = {
            run: {part: _nested(results.flat(content[part]) | own[part]) for part in ("config", "environment")}
            for run, own in content["runs"].items()
        }
        experiment, command = str(content["experiment"]), str(content["command"])
    except (KeyError, TypeError, AttributeError):
        raise RunError(f"{directory / FILE} is not a sweep's: it needs experiment, command, config, environment and runs") from None
    rows = _rows(directory, ROWS)
    curves, measured = (_rows(directory, name, needed=False) for name in (selection.FILE, measurements.FILE))
    there = {run: directory / "sentences" / f"{run}.gz" for run in stored}
    kept = {run: sentences.read(path) for run, path in there.items() if path.exists()}
    found = Archive(experiment, command, stored, rows, curves, kept, measured)
    of_run: dict[str, list[dict]] = {config.run: [] for config in found.configs()}
    for row in rows:
        of_run.setdefault(row.get("run", ""), []).append(row)
    for config in found.configs():
        whole = finished.check(config, of_run.pop(config.run), directory / ROWS, lambda run=config.run: stored[run]["config"])
        if not finished.are_whole(config, whole):
            raise DataError(f"{directory} lacks rows of the run {config.run}: conclude its sweep again")
    if of_run:
        raise DataError(f"{directory / ROWS} has rows of runs that {FILE} does not name: {', '.join(map(str, of_run))}")
    return found


def _rows(directory: Path, name: str, needed: bool = True) -> list[dict]:
    packed = directory / f"{name}.gz"
    if packed.exists():
        return unpacked(packed)
    return results.read(directory / name) if needed or (directory / name).exists() else []


def unpacked(path: Path) -> list[dict]:
    """Reads the rows of a file, packed where its name ends in .gz. Raises `DataError` for one that is damaged or too large."""
    if path.suffix != ".gz":
        return results.read(path)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(files.read_bytes(path), LARGEST)
    except OSError as error:
        raise files.unreadable(error, f"cannot read {path}: {error.strerror}", DataError) from None
    except zlib.error as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if not unpacker.eof:
        raise DataError(f"{path} is damaged, or unpacks to more than {LARGEST >> 20} MB")
    return results.parse(data, path)


def _apart(shared: Mapping, own: Mapping) -> dict:
    """Returns the values of a run that differ from the shared ones."""
    return {path: value for path, value in own.items() if path not in shared or shared[path] != value}


def _nested(leaves: Mapping[str, object]) -> dict:
    """Nests dotted names again: the inverse of `results.flat`."""
    nested: dict = {}
    for path, value in leaves.items():
        *parents, name = path.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return nested


def of_runs(
    experiment: str, command: str, directories: Sequence[Path], rows: list[dict], curves: list[dict], measured: Sequence[dict] = ()
) -> Archive:
    """Returns the archive of finished runs, from their directories and merged rows."""
    stored = {path: results.stored(path) for path in directories}
    names = {path: found["config"]["run"] for path, found in stored.items()}
    kept = {name: sentences.read(path / sentences.FILE) for path, name in names.items() if (path / sentences.FILE).exists()}
    return Archive(experiment, command, {names[path]: found for path, found in stored.items()}, rows, curves, kept, measured)
