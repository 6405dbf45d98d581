"""Stage: what a run leaves on disk. Rows go out one JSON object a line (`rows.jsonl`) and come back as dicts.

One writer per run directory (`lock.Lock`). Every file of a run is replaced whole: a process that was halted between a look at the lock
and its writing can lay there only what it would have laid there anyway. Lists that grow, such as those of benchmarks, are appended to in
one write (`append`), so that whatever a kill tears is at most the last line, which is dropped.
Each row ends with a checksum of what is before it on its line, `"crc32"`, which is no field of the row: a changed digit is damage, not a
result. Numbers are finite or null (not measured): NaN and infinity are no JSON and no result, and are refused before anything is written.
"""

import errno
import importlib.metadata
import json
import logging
import math
import os
import platform
import re
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax

from attention_jax.config import formats
from attention_jax.system.errors import DataError, RunError
from attention_jax.system.files import LARGEST_JSON, NO_LINK, read_bytes, unreadable, write_bytes, writing

KEY = {"run": str, "seed": int, "length": int, "mode": str, "budget": int}
"""The fields that make a row unique, and what they are; where a run has several test sets, `test` is one, too.

Not `step`: the best parameters at two budgets may be those of the same step."""

WHOLE = ("length", "budget", "examples", "step", "exact", "symbols", "symbol_errors", "edits", "reference_symbols")
"""Measured numbers that are counts."""

RANGES = {
    **dict.fromkeys(("exact_match", "token_accuracy", "alignment_agreement", "alignment_mass"), (0, 1)),
    **dict.fromkeys(("bleu", "chrf"), (0, 100)),
    **dict.fromkeys(("loss", "error_rate", "alignment_entropy", "seconds", "learning_rate"), (0, math.inf)),
    **dict.fromkeys(WHOLE, (0, math.inf)),
}
"""Where the measured numbers of a row lie: shares, scores in percent, and what has no upper end."""

LARGEST = 1e300

ROUNDING = 1e-5
"""A number may be so far outside of its range: sums in float32, and BLEU of 100.00000000000004."""

DEEPEST = 20
"""Objects and lists within each other in a JSON file; ours have three."""

CHECKED = re.compile(rb'(\{.*?)(?:, )?"crc32": "([0-9a-f]{8})"\}', re.DOTALL)
"""A line of rows: what is checked, and its checksum."""

END = len(b', "crc32": "01234567"}')

SIMPLE = {str, int, float, bool, type(None)}
"""Kinds of values in rows that need no strict parser."""


def key(row: dict) -> tuple:
    """Returns the values of `KEY` in a row, and the name of its test set, if it has one."""
    test = row.get("test")
    return (*(row[name] for name in KEY), test if isinstance(test, str) else "")


def impossible(row: dict, any_mass: bool = False) -> list[str]:
    """Lists what is wrong with the measured numbers of a row, a text each; absent and null ones are right.

    `any_mass`: weights have any sum, so that their mass at gold is no share.
    """
    wrong = []
    for name, (low, high) in RANGES.items():
        value = row.get(name)
        kind = type(value)
        if value is None or (kind is (int if name in WHOLE else float) and low <= value <= high and value < LARGEST):
            continue  # the common case, quickly
        if any_mass and name == "alignment_mass":
            continue
        if type(value) not in (int, float):
            wrong.append(f"{name} is no number")
        elif not -math.inf < value < math.inf:
            wrong.append(f"{name} is {value!r}, which is not finite")
        elif not low - ROUNDING <= value <= high + ROUNDING:
            wrong.append(f"{name} is {value!r}, which is not {f'in [{low}, {high}]' if high < math.inf else f'{low} or more'}")
        elif name in WHOLE and value % 1:
            wrong.append(f"{name} is {value!r}, which is no whole number")
    return wrong


def append(path: str | Path, rows: Iterable[dict]) -> None:
    """Adds whole lines with one write that is on disk on return; a torn last line is cut off first. Needs the directory's lock.

    A value that is not finite raises `RunError` and leaves the file as it was.
    """
    path, rows = Path(path), _finite(path, rows)
    checked = True
    with writing(path):
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")
        if path.exists():
            data = read_bytes(path)
            checked = not (whole := _whole(data)) or _checked(data)
            if whole < len(data):
                logging.getLogger(__name__).warning("%s: dropped a last line that was not completely written", path)
                os.truncate(path, whole)
        content = lines(rows, checked)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK, 0o666)
        try:
            if os.write(file, content) < len(content):
                raise OSError(None, "disk full")
            os.fsync(file)
        finally:
            os.close(file)


def replace(path: str | Path, rows: Iterable[dict]) -> None:
    """Writes these rows in the place of the file. A value that is not finite raises `RunError` and leaves the file as it was."""
    path = Path(path)
    write_bytes(path, each_line(_finite(path, rows)))


def _finite(path: str | Path, rows: Iterable[dict]) -> list[dict]:
    rows = list(rows)
    for row in rows:
        if wrong := [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise RunError(f"{path}: {', '.join(wrong)} not finite in row {row}; the training diverged, try a lower learning rate")
    return rows


def lines(rows: Iterable[dict], checked: bool = True) -> bytes:
    """Writes rows as text, an object a line, with checksums or, as other programs write them, without."""
    return b"".join(each_line(rows, checked))


def each_line(rows: Iterable[dict], checked: bool = True) -> Iterator[bytes]:
    """Yields the `lines`, one by one."""
    encode = json.JSONEncoder(allow_nan=False).encode
    for row in rows:
        fields = encode(row)[:-1].encode()
        end = b'%b"crc32": "%08x"' % (b", " * (fields != b"{"), zlib.crc32(fields)) if checked else b""
        yield b"%b%b}\n" % (fields, end)


def read(path: str | Path, ours: bool = False) -> list[dict]:
    """Reads all rows of a file; a torn last line does not count, any other line that is not as it was written raises `DataError`.

    A file whose lines all lack checksums, as other programs write it, is taken as it is, unless it is `ours`: a run's always have them.
    """
    path = Path(path)
    try:
        return parse(read_bytes(path), path, ours)
    except OSError as error:
        raise unreadable(error, f"cannot read rows from {path}: {error.strerror}; run the experiment first", DataError) from None


def parse(data: bytes, path: Path, ours: bool = False) -> list[dict]:
    """Parses the content of a file of rows, as `read` does."""
    all_lines, checked = data[: _whole(data)].split(b"\n")[:-1], ours or _checked(data)
    if checked and (rows := _plain(all_lines)) is not None:
        return rows
    rows = []
    for number, line in enumerate(all_lines, start=1):
        try:
            rows.append(_row(line, checked))
        except ValueError as error:
            raise DataError(f"{path}, line {number} is damaged: {error}; remove the line, or the run's directory") from None
    return rows


def _plain(lines: list[bytes]) -> list[dict] | None:
    """Parses lines at once whose checksums are right and that hold simple values; None where there are others."""
    bodies = []
    for line in lines:
        body = line[:-END]
        if line[-END:] != b', "crc32": "%08x"}' % zlib.crc32(body):
            return None
        bodies.append(body)
    try:
        rows = json.loads(b"[%b]" % b",".join([body + b"}" for body in bodies]))
        return rows if len(rows) == len(bodies) and all(map(_is_plain, rows, bodies)) else None
    except (ValueError, RecursionError, OverflowError):
        return None


def _is_plain(row: dict, body: bytes) -> bool:
    """True for a row of finite numbers and texts in which no name occurs twice."""
    if type(row) is not dict or len(row) != body.count(b'": ') or not SIMPLE.issuperset(map(type, row.values())):
        return False
    return math.isfinite(sum([value for value in row.values() if type(value) is float or type(value) is int]))


def merge(paths: Iterable[str | Path]) -> list[dict]:
    """Reads the rows of many files in order; a row without a field of `KEY`, or two with the same, raise `DataError`."""
    merged, places = [], {}
    for path in paths:
        merged += identified(read(path), path, places)
    return merged


def identified(rows: list[dict], path: str | Path, places: dict) -> list[dict]:
    """Checks that rows of a file have the fields of `KEY`, and none is at a key in `places`, to which theirs are added; returns them."""
    kinds = tuple(KEY.values())
    for number, row in enumerate(rows, start=1):
        its = tuple(map(row.get, KEY))
        if tuple(map(type, its)) != kinds:
            absent = [name for name, kind in KEY.items() if type(row.get(name)) is not kind]
            raise DataError(f"{path}, line {number} has no {', '.join(absent)}")
        if (there := places.setdefault(key(row), (path, number))) != (path, number):
            names = ", ".join(f"{name}={row[name]}" for name in KEY)
            raise DataError(f"{path}, line {number} repeats {'{}, line {}'.format(*there)} ({names}); remove one of them")
    return rows


def tidy(directory: str | Path) -> None:
    """Removes what writers left that were killed before they could replace a file. Needs the directory's lock."""
    with writing(Path(directory)):
        for draft in Path(directory).glob(".*.[0-9]*"):
            if draft.is_file():
                draft.unlink(missing_ok=True)


def write_json(path: str | Path, content: object) -> None:
    """Writes indented JSON by `files.write_bytes`; NaN and infinity raise `RunError`."""
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    write_bytes(path, text.encode() + b"\n")


def read_json(path: str | Path) -> dict:
    """Reads the JSON object in a file; `RunError` where there is none or it is damaged."""
    try:
        return json_object(read_bytes(path, LARGEST_JSON))
    except OSError as error:
        raise unreadable(error, f"cannot read {path}: {error.strerror}", RunError) from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; remove it, or its directory") from None


def claim_directory(path: str | Path, config: dict, environment: dict) -> None:
    """Writes `config.json` {"format", "config", "environment"}, or finds the same config there; a foreign directory raises `RunError`.

    An environment that differs from the first one is only warned about: numbers may then differ in the last bits.
    """
    file = Path(path) / "config.json"
    if not file.exists():
        if (Path(path) / "rows.jsonl").exists():
            raise RunError(f"{path} holds rows but no config.json that says whose; choose another --workdir")
        write_json(file, {"format": formats.FORMAT, "config": config, "environment": environment})
        return
    found = read_claim(path, config)
    if changes := _differences(flat(found["environment"]), flat(environment)):
        logging.getLogger(__name__).warning("%s was begun in another environment: %s", path, changes)


def stored(path: str | Path) -> dict[str, dict]:
    """Reads {"config", "environment", …} from a directory's `config.json`; `RunError` where there is none, or one of a newer format."""
    file = Path(path) / "config.json"
    found = read_json(file)
    formats.check(found, file)
    if not all(isinstance(found.get(part), dict) for part in ("config", "environment")):
        raise RunError(f"{file} is not a run's: it needs the objects config and environment; choose another --workdir")
    return found


def read_claim(path: str | Path, config: dict) -> dict[str, dict]:
    """Reads what `stored` gives of the run in a directory; `RunError` where there is none, or one of another config."""
    found = stored(path)
    there, here = (formats.AS_IT_WAS | flat(settings) for settings in (found["config"], config))
    if changes := _differences(there, here):
        raise RunError(f"{path} belongs to another config: {changes}; choose another --workdir")
    return found


def flat(nested: dict, prefix: str = "") -> dict[str, object]:
    """Maps the dotted path of every leaf to its JSON value."""
    leaves = {}
    for name, value in nested.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: json.loads(json.dumps(value))}
    return leaves


def environment() -> dict[str, str | int]:
    """Returns versions, device and git commit; what cannot be found out is the text "unknown"."""
    found: dict[str, str | int] = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    try:
        devices = jax.devices()
        found |= {"platform": devices[0].platform, "device_kind": devices[0].device_kind, "device_count": len(devices)}
    except RuntimeError:
        found |= {"platform": "unknown", "device_kind": "unknown", "device_count": 0}
    return found | {"cpu_cores": os.cpu_count() or 0, "git_commit": _git_commit(Path(__file__).parent)}


def _git_commit(directory: Path) -> str:
    """Returns the commit of the checkout that tracks this directory ("-dirty" if changed); an installed copy has none."""
    commands = ("ls-files --error-unmatch __init__.py", "describe --always --dirty --abbrev=40 --exclude=*")
    output = ""
    for command in commands:
        try:
            output = subprocess.run(["git", *command.split()], cwd=directory, capture_output=True, text=True, check=True, timeout=10).stdout
        except (OSError, subprocess.SubprocessError):
            return "unknown"
    return output.strip()


def _whole(data: bytes) -> int:
    """Returns how many bytes are left without the last line, if that was torn: it lacks its newline or cannot be read."""
    if not data.endswith(b"\n"):
        return data.rfind(b"\n") + 1
    start = data.rfind(b"\n", 0, -1) + 1
    try:
        _row(data[start:-1], False)
    except ValueError:
        return start
    return len(data)


def _checked(data: bytes) -> bool:
    """Returns whether a file has checksums: all of its lines do, or none. Within a row's text a quote is escaped."""
    return b'"crc32"' in data


def _row(line: bytes, checked: bool) -> dict:
    """Parses the row of a line, without its checksum; `ValueError` where that is wrong, or lacks though the others are `checked`."""
    found = CHECKED.fullmatch(line)
    if found and zlib.crc32(found[1]) != int(found[2], 16):
        raise ValueError("its checksum is not that of its content")
    if checked and not found:
        raise ValueError("it has no checksum")
    return json_object(found[1] + b"}" if found else line)


def json_object(text: bytes) -> dict:
    """Parses a JSON object strictly: UTF-8, finite numbers, each name once; `ValueError` says what is wrong."""
    try:
        content = json.loads(text.decode(), parse_constant=_number, parse_float=_number, parse_int=_whole_number, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    if _deep(content, DEEPEST):
        raise ValueError("too deeply nested")
    return content


def _deep(value: object, most: int) -> bool:
    """Returns whether objects and lists are nested more than `most` times."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return parts is not None and (most < 1 or any(_deep(part, most - 1) for part in parts))


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is no JSON, or too large")
    return number


def _whole_number(text: str) -> int:
    _number(text)  # what no float can hold is no setting and no measurement
    return int(text)


def _object(pairs: list[tuple[str, object]]) -> dict:
    if len(content := dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice in an object")
    return content


def _differences(there: dict, here: dict) -> str:
    """Names up to five of the leaves that differ, with both values; empty where none does."""
    paths = [path for path in here | there if path not in here or path not in there or here[path] != there[path]]
    shown = [f"{path} is {_shown(there, path)} there, {_shown(here, path)} here" for path in paths[:5]]
    return ", ".join(shown + ([f"and {len(paths) - 5} more"] if len(paths) > 5 else []))


def _shown(leaves: dict, path: str) -> str:
    return json.dumps(leaves[path]) if path in leaves else "absent"
