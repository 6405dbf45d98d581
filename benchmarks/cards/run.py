"""Steps one after the other, each with a share of the time that is left; see this package's docstring, and `steps`.

Exit status: 0; 1 where an item failed or there is no GPU; 2 for flags that do not fit. A step that is cut is no failure.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attention_jax.system.errors import ConfigError, DataError, RunError
from benchmarks import rows
from benchmarks.cards.book import Book
from benchmarks.cards.process import Played, play
from benchmarks.cards.steps import PARTS, STEPS, Step, share
from benchmarks.cards.task import Task

NONE = "error: no GPU: JAX runs on {}; ALLOW_CPU=1 (--allow_cpu) rehearses, at the smallest sizes"
CUT, DIED = "cut: the time of its step was up", "the process died with status {}, see log.txt"


def go(steps: Sequence[Step], seconds: float, book: Book, work: Path, allow_cpu: bool) -> list[str]:
    """Runs the steps, and returns the names of items that failed. Raises `RunError` where there is no GPU."""
    ends, failed, here = time.monotonic() + seconds, [], {}
    for number, step in enumerate(steps):
        if time.monotonic() >= ends:
            print(f"no time is left for {', '.join(each.name for each in steps[number:])}", flush=True)
            break
        until = time.monotonic() + share(ends - time.monotonic(), steps[number:])
        task = Task(step.argument, until, False, str(book.folder), str(work))
        print(f"── {step.part} {step.name}: at most {until - time.monotonic():.0f} s", flush=True)
        for played in attempts(step, task, book, allow_cpu):
            here = played.machine or here
            close_open(played, step, book, here)
            failed += [f"{step.name}, {item}" for item in failures(played)]
    return failed


def attempts(step: Step, task: Task, book: Book, allow_cpu: bool) -> Iterator[Played]:
    """Runs a step, and again without the items that its process died of, until it ends or its time is up."""
    while True:
        played = play(step, task, book, allow_cpu)
        if played.backend == "cpu" and not allow_cpu:
            raise RunError(NONE.format(played.backend))
        yield played
        if played.cut or not played.open:
            return
        task = task._replace(skip=(*task.skip, *played.open))


def close_open(played: Played, step: Step, book: Book, machine: dict) -> None:
    """Writes and prints how the items ended that were open when the process did; "rest" stands for those that a cut left out."""
    outcome, words = ("cut", CUT) if played.cut else ("failed", DIED.format(played.status))
    begun = played.open or ({"rest": time.monotonic()} if played.cut else {})
    for item, began in begun.items():
        book.close(machine, step.part, step.name, item, outcome, time.monotonic() - began, words)
        print(f"   {item}: {words}", flush=True)


def failures(played: Played) -> list[str]:
    """Returns what failed: items that say so, and those that the process died of, or its exit status where none was open."""
    if played.cut:
        return played.failed
    died = [DIED.format(played.status)] if played.status else []
    return [*played.failed, *(played.open or died)]


def main(arguments: Sequence[str]) -> int:
    """Plays what was asked for, and prints a table of what is on file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cards", description="What is to be known of a graphics card.")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}, see benchmarks/cards/__init__.py")
    parser.add_argument("--seconds", type=float, default=600, help="for everything together (600)")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of rows and logs")
    parser.add_argument("--work", type=Path, help="folder of what is trained; default: beside --out")
    parser.add_argument("--allow_cpu", action="store_true", help="rehearse without a GPU, at the smallest sizes")
    parser.add_argument("--table", action="store_true", help="print what is on file, and run nothing")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through `finally`, where children are ended
    try:
        parts = asked.parts.split(",")
        if wrong := set(parts) - set(PARTS):
            raise ConfigError(f"--parts={asked.parts}: {', '.join(sorted(wrong))} is none; valid: {', '.join(PARTS)}")
        book = Book(asked.out.absolute())
        work = (asked.work or asked.out.with_name(f"{asked.out.name}-work")).absolute()
        steps = [step for step in STEPS if step.part in parts]
        failed = [] if asked.table else go(steps, asked.seconds, book, work, asked.allow_cpu)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n" + rows.table([row for row in book.rows if row["outcome"] == "measured"]))
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
