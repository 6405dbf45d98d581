"""Runs the command line in a process that kills itself at a chosen moment, or harms itself otherwise; nothing of the package is changed.

    python tests/faults/driver.py '{"moment": "half of the rows", "nth": 2}' --experiment=bottleneck …

Orders: `moment` and `nth`, and what happens `then` (kill, unless it says fill or vanish); `clock`: [seconds, every], how the wall clock
jumps; `largest_file`: bytes that a file may have; `operations`: a file to list all operations in, from which moments are made.

Moments are operations on files, as Python reports them (audit events) before they happen, and three calls that are wrapped because they
are not reported. So they are named by what is on disk, and hold whatever function of the package works there.
"""

import contextlib
import itertools
import json
import os
import re
import resource
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
"""Audit events that change a disk; `open` counts where it is for writing. `os.rename` is os.replace as well."""


class Moment(NamedTuple):
    """An operation on paths that match; a kill comes after `half` of the data, where it is a write or an fsync."""

    operation: str
    path: str
    half: bool = False


MOMENTS = {
    "the lock is written": Moment("os.pwrite", r"/\.lock$", half=True),
    "half of config.json": Moment("os.fsync", r"/\.config\.json[^/]*$", half=True),
    "config.json is replaced": Moment("os.rename", r" -> .*/config\.json$"),
    "vocabulary.model is replaced": Moment("os.rename", r" -> .*/vocabulary\.model$"),
    "a trial's checkpoint is renamed": Moment("os.rename", r" -> .*/trials/.*/\d+$"),
    "before rows of trials": Moment("open", r"/\.rates\.jsonl[^/]*$"),
    "half of the rows of trials": Moment("os.fsync", r"/\.rates\.jsonl[^/]*$", half=True),
    "rows of trials are replaced": Moment("os.rename", r" -> .*/rates\.jsonl$"),
    "trials are removed": Moment("os.remove|os.rmdir", r"/trials/"),
    "a save begins": Moment("os.mkdir", r"/checkpoint/\.draft$"),
    "arrays are written": Moment("open|os.mkdir", r"orbax-checkpoint-tmp"),
    "Orbax renames": Moment("os.rename", r"orbax-checkpoint-tmp.* -> "),
    "between Orbax and seal": Moment("open", r"/seal\.json$"),
    "half of the seal": Moment("os.fsync", r"/seal\.json$", half=True),
    "between seal and renaming": Moment("os.rename", r" -> .*/checkpoint/\d+$"),
    "half of example.json": Moment("os.fsync", r"/\.example\.json[^/]*$", half=True),
    "example.json is replaced": Moment("os.rename", r" -> .*/example\.json$"),
    "between example.json and rows": Moment("open", r"/\.rows\.jsonl[^/]*$"),
    "half of the rows": Moment("os.fsync", r"/\.rows\.jsonl[^/]*$", half=True),
    "rows are replaced": Moment("os.rename", r" -> .*/rows\.jsonl$"),
    "between rows and finished.json": Moment("open", r"/\.finished\.json[^/]*$"),
    "finished.json is replaced": Moment("os.rename", r" -> .*/finished\.json$"),
    "an old step is pruned": Moment("os.rename", r" -> .*/checkpoint/\.trash/"),
    "the trash is emptied": Moment("os.remove|os.rmdir", r"/checkpoint/\.trash/"),
    "any operation": Moment("|".join(sorted(EVENTS)), r""),
}
"""By name, in the order in which a run comes to them. Paths are those below --workdir; renamings read "from -> to"."""


def act_at(moment: Moment, nth: int, below: str, action: Callable[[], None], half: bool) -> None:
    """Arms the process: at the nth such operation on a path below a folder the action is taken, before it, or `half` of it is done."""
    operations, pattern, count = moment.operation.split("|"), re.compile(moment.path), itertools.count(1)

    def reached(operation: str, path: str) -> bool:
        return operation in operations and below in path and bool(pattern.search(path)) and next(count) == nth

    def audit(event: str, arguments: tuple) -> None:
        if event in EVENTS and (path := _path(event, arguments)) and reached(event, path):
            action()

    def wrapped(name: str):
        call = getattr(os, name)

        def first(file, *arguments):
            if reached(f"os.{name}", _name_of(file)):
                if half and name == "fsync":
                    os.ftruncate(file, os.fstat(file).st_size // 2)
                elif half:
                    call(file, arguments[0][: len(arguments[0]) // 2], *arguments[1:])
                action()
            return call(file, *arguments)

        return first

    for name in ("write", "pwrite", "fsync"):
        setattr(os, name, wrapped(name))
    sys.addaudithook(audit)


def list_operations(file: str, below: str) -> None:
    """Writes a line for each operation on a path below a folder, to see what there is."""
    lines = open(file, "a", buffering=1)  # noqa: SIM115 - until the process ends

    def audit(event: str, arguments: tuple) -> None:
        if event in EVENTS and below in (path := _path(event, arguments)):
            lines.write(f"{event} {path}\n")

    sys.addaudithook(audit)


def jump(seconds: float, every: float) -> None:
    """From now on the wall clock is set by so many seconds, alternately forth and back, each time so many seconds have passed."""
    read, began = time.time, time.monotonic()
    time.time = lambda: read() + seconds * ((time.monotonic() - began) // every % 2)


def kill(workdir: Path) -> None:
    """What `kill -9` does, from within."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fill(workdir: Path) -> None:
    """Leaves no room on the disk of the workdir."""
    with contextlib.suppress(OSError), open(workdir / FILLER, "ab", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass


def vanish(workdir: Path) -> None:
    """What `rm -rf` does."""
    shutil.rmtree(workdir)


ACTIONS = {"kill": kill, "fill": fill, "vanish": vanish}
FILLER = "filler"


def _path(event: str, arguments: tuple) -> str:
    if event == "os.rename":
        return " -> ".join(_at(path, folder) for path, folder in zip(arguments[:2], arguments[2:4], strict=True))
    if event == "open":
        path, mode, flags = arguments
        return _at(path, -1) if isinstance(path, str | bytes | os.PathLike) and flags & WRITES else ""
    return _at(arguments[0], arguments[-1] if event in ("os.mkdir", "os.remove", "os.rmdir") else -1)


def _at(path, folder: int) -> str:
    """The whole path, where it is relative to an open folder."""
    if isinstance(path, int):
        return _name_of(path)
    return os.fsdecode(path) if folder == -1 else f"{_name_of(folder)}/{os.fsdecode(path)}"


def _name_of(file: int) -> str:
    return os.readlink(f"/proc/self/fd/{file}")


def main(orders: dict, flags: list[str]) -> None:
    """Arms the process as ordered, then is `python -m experiments.run` with these flags."""
    below = next(flag.partition("=")[2] for flag in flags if flag.startswith("--workdir="))
    if "moment" in orders:
        moment, then = MOMENTS[orders["moment"]], orders.get("then", "kill")
        act_at(moment, orders["nth"], below, partial(ACTIONS[then], Path(below)), half=moment.half and then == "kill")
    if "operations" in orders:
        list_operations(orders["operations"], below)
    if "clock" in orders:
        jump(*orders["clock"])
    if "largest_file" in orders:
        resource.setrlimit(resource.RLIMIT_FSIZE, (orders["largest_file"], resource.RLIM_INFINITY))
    sys.argv[1:] = flags
    runpy.run_module("experiments.run", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
