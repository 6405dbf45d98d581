"""Whether a run is finished, by the rows in its directory, each of which is one that this run writes.

Rows are read as seldom as can be. `finished.json` is written behind the rows of a finished run: whose they are, how many bytes, when they
were written and a checksum of the file. Where it fits the rows need not be parsed to know that they are there; whoever concludes reads
them all. A directory without it, or with rows that changed, is judged by its rows.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from attention_jax import attention
from attention_jax import config as settings
from attention_jax.config import Config, formats
from attention_jax.data import sources
from attention_jax.running import evaluation, results
from attention_jax.system import files
from attention_jax.system.errors import DataError

ROWS, EXAMPLE, MARK = "rows.jsonl", "example.json", "finished.json"


def is_finished(config: Config, directory: str | Path) -> bool:
    """Returns whether all rows are there, and the example. Raises `DataError` for a row that is damaged or none of this run's."""
    directory = Path(directory)
    whole = (directory / ROWS).exists() and (is_marked(config, directory) or are_whole(config, rows(config, directory)))
    return whole and (directory / EXAMPLE).exists()


def mark(config: Config, directory: Path) -> None:
    """Notes that the rows in a directory are whole, and which they are. Needs the directory's lock."""
    file = directory / ROWS
    content, written = files.read_bytes(file), file.stat()
    said = {"fingerprint": fingerprint(config), "bytes": len(content), "written": written.st_mtime_ns, "crc32": zlib.crc32(content)}
    results.write_json(directory / MARK, said)


def is_marked(config: Config, directory: Path) -> bool:
    """Returns whether `finished.json` is of these settings and of the rows there, by their time or, where they were copied, content."""
    file = directory / ROWS
    try:
        said, there = json.loads((directory / MARK).read_bytes()), file.stat()
        if type(said) is not dict or said.get("fingerprint") != fingerprint(config) or said.get("bytes") != there.st_size:
            return False
        return said.get("written") == there.st_mtime_ns or said.get("crc32") == zlib.crc32(files.read_bytes(file))
    except (OSError, ValueError, RecursionError):
        return False


def rows(config: Config, directory: str | Path) -> list[dict]:
    """Reads all rows in a run's directory, in order. Raises `DataError` for one that is damaged or none of this run's."""
    file = Path(directory) / ROWS
    return check(config, results.read(file, ours=True), file, lambda: results.stored(directory)["config"])


def check(config: Config, found: list[dict], file: Path, stored: Callable[[], dict]) -> list[dict]:
    """Returns these rows, if all can be of a run of this config. Raises `DataError`, which names the line of `file`.

    Each has the run's name and fingerprint, one of its seeds, modes and lengths, its budget, and numbers that can be. Rows of versions
    that had no fingerprints, as the settings `stored` with the run tell, may be of smaller budgets, too.
    """
    training, own, older = config.training, fingerprint(config), None
    seeds = range(training.first_seed, training.first_seed + training.seeds)
    lengths, unbounded = tested_lengths(config), has_any_mass(config)
    for number, row in enumerate(results.identified(found, file, {}), start=1):
        if "fingerprint" not in row and older is None:
            older = not formats.is_fingerprinted(stored())
        wrong, said = [], row.get("fingerprint", own if older else None)
        if row["run"] != config.run:
            wrong.append(f"run is {row['run']!r}, not {config.run!r}")
        if said != own:
            wrong.append(f"its fingerprint is {said!r}, and {own!r} is that of the run's settings")
        if row["budget"] != training.updates and not (older and 0 < row["budget"] < training.updates):
            wrong.append(f"budget is {row['budget']}, not {training.updates}")
        if row["seed"] not in seeds:
            wrong.append(f"seed is {row['seed']}, not in [{seeds[0]}, {seeds[-1]}]")
        if row["mode"] not in evaluation.MODES:
            wrong.append(f"mode is {row['mode']!r}, not {' or '.join(evaluation.MODES)}")
        if row["length"] not in lengths:
            wrong.append(f"length is {row['length']}, not one of {', '.join(map(str, sorted(lengths)))}")
        if wrong := wrong + results.impossible(row, unbounded):
            raise DataError(
                f"{file}, line {number} is not of the run {config.run}: {'; '.join(wrong)}; remove that run's directory, or its {ROWS}"
            )
    return found


def are_whole(config: Config, found: Sequence[dict]) -> bool:
    """Returns whether these are rows of a whole run: both modes of every seed, at all lengths of a task, or of a corpus at the same."""
    training = config.training
    seeds = range(training.first_seed, training.first_seed + training.seeds)
    there: dict[tuple, set] = {(seed, mode): set() for seed in seeds for mode in evaluation.MODES}
    for row in found:
        if row["budget"] == training.updates and (row["seed"], row["mode"]) in there:
            there[row["seed"], row["mode"]].add(row["length"])
    first = next(iter(there.values()))
    needed = tested_lengths(config) if sources.is_drawn(config.data) else first
    return bool(first) and all(lengths == needed for lengths in there.values())


def tested_lengths(config: Config) -> frozenset[int]:
    """Lengths that rows can have: all that a task is tested at; of a corpus edges of buckets and the first length behind the last."""
    edges = config.data.eval_lengths
    return frozenset(sources.tested_lengths(config.data) if sources.is_drawn(config.data) else (*edges, edges[-1] + 1))


def has_any_mass(config: Config) -> bool:
    """Returns whether weights may have any sum, so that their mass at gold is no share."""
    return attention.NORMALISERS[config.model.normaliser](config.model).mass == "any"


def fingerprint(config: Config) -> str:
    """Returns what rows say of their settings: the first 16 digits of the config's fingerprint."""
    return settings.fingerprint(config)[:16]
