"""A step in a process of its own: `python -m benchmarks.cards.child MODULE`.

It says on which machine it is, hears its task, and prints a line of JSON for all that happens: items that begin, rows, how items end. Who
reads those lines writes them down (run.py); once nobody reads any more, printing fails, and the process ends.

A step is a module with items(task) → {name: function}, in the order of their value; a function yields rows. `THREADS` of a module says
how many items are worked on at once: compiling is most of the work of some.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from types import ModuleType

import jax

from attention_jax.system import machine
from attention_jax.system.errors import Stopped
from benchmarks import rows
from benchmarks.cards.task import Task

WORDS = 2000  # characters of an error


def play(module: ModuleType, task: Task, say: Callable) -> None:
    """Works on the items that the task does not leave out; one that fails, or stops for want of time, keeps no other from its turn."""

    def work(name: str, function: Callable) -> None:
        say(event="begun", item=name)
        began = time.monotonic()
        try:
            for row in function():
                say(event="row", item=name, row=row.to_json())
        except Stopped as stopped:
            say(event="cut", item=name, seconds=time.monotonic() - began, words=str(stopped))
        except Exception as error:  # whatever it is, it becomes a row
            say(event="failed", item=name, words=f"{type(error).__name__}: {error}"[:WORDS])
        else:
            say(event="done", item=name, seconds=time.monotonic() - began)

    with ThreadPoolExecutor(getattr(module, "THREADS", 1)) as threads:
        for name, function in module.items(task).items():
            if name not in task.skip:
                threads.submit(work, name, function)


def main(name: str) -> None:
    """Introduces itself on standard output, and reads its task from standard input."""
    out, lock = sys.stdout, threading.Lock()
    sys.stdout = sys.stderr  # what the benchmarks and their peers print is for the log

    def say(**event) -> None:
        with lock:
            print(json.dumps(event), file=out, flush=True)

    machine.prepare()
    say(event="machine", backend=jax.default_backend(), machine=asdict(rows.machine()))
    play(importlib.import_module(f"benchmarks.cards.{name}"), Task.read(sys.stdin.readline()), say)
    os._exit(0)  # all is said, and taking a backend down may take seconds of the next step


if __name__ == "__main__":
    main(sys.argv[1])
