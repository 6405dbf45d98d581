"""A step's process, from outside: it is given its task, what it says is written down, and at the end of its time it is killed with all it
has started."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import rows
from benchmarks.cards.book import Book
from benchmarks.cards.steps import Step
from benchmarks.cards.task import Task

ROOT = Path(__file__).resolve().parents[2]


class Played(NamedTuple):
    """How a step's process ended: `begun` items that have not ended are in `open`, with the time they began."""

    backend: str
    machine: dict
    open: dict[str, float]
    failed: list[str]
    cut: bool
    status: int


def play(step: Step, task: Task, book: Book, allow_cpu: bool) -> Played:
    """Runs a step until it ends or its time is up, and writes down what it says. Without a GPU, unless that is allowed, it has no task."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {step.flags}".strip()
    command = [sys.executable, "-m", "benchmarks.cards.child", step.module]
    environment = os.environ | step.environment | {"XLA_FLAGS": flags}
    backend, described, running, failed = "", {}, {}, []
    with (
        (book.folder / "log.txt").open("a") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
        ended(process),
    ):
        print(f"── {step.part} {step.name}: {task.ends - time.monotonic():.0f} s", file=log, flush=True)
        for event in events(process, task.ends):
            item = event.get("item", "")
            match event["event"]:
                case "machine":
                    backend, described = event["backend"], event["machine"]
                    if backend == "cpu" and not allow_cpu:
                        break
                    skip = (*task.skip, *book.done(step.name, described))
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.write(task._replace(skip=skip, small=backend == "cpu").line())  # pyright: ignore[reportOptionalMemberAccess]  # it is a pipe
                        process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]  # it is a pipe
                case "begun":
                    running[item] = time.monotonic()
                case "row":
                    book.write(event["row"], step.part, step.name, item, "measured")
                    print(rows.line(event["row"]), flush=True)
                case outcome:
                    running.pop(item)
                    failed += [item] if outcome == "failed" else []
                    seconds = event.get("seconds", 0.0)
                    book.close(described, step.part, step.name, item, outcome, seconds, event.get("words", ""))
        cut = process.poll() is None
    return Played(backend, described, running, failed, cut, process.returncode)


def events(process: subprocess.Popen, ends: float) -> Iterator[dict]:
    """What the process says, until it has said all or the time is up."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen():
        with contextlib.suppress(ValueError):  # a step that is cut has its pipe closed, perhaps while this reads
            for line in process.stdout:  # pyright: ignore[reportOptionalIterable]  # it is a pipe
                lines.put(line)
        lines.put("")

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=max(ends - time.monotonic(), 0))
        except queue.Empty:
            return
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(ends - time.monotonic(), 1))
            return
        yield json.loads(line)


@contextlib.contextmanager
def ended(process: subprocess.Popen) -> Iterator[None]:
    """At the end of its block the process is killed, with all that it has started, by their numbers."""
    try:
        yield
    finally:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    """What is still running of it, and of what it has started."""
    if process.poll() is None:
        for number in [process.pid, *descendants(process.pid)]:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait()


def descendants(number: int) -> list[int]:
    """Processes that it has started, and those that these have, as Linux tells it."""
    found = []
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found
