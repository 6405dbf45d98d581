"""What a process says of itself on standard error: a progress bar, and log lines that name run, process and update."""

import logging
import sys

import jax
from tqdm import tqdm

from attention_jax.system import output
from attention_jax.system.errors import one_line

_at: dict = {}
"""Where this process is: the directory and update of the run that it trains."""


def at(**where: object) -> None:
    """Says where this process is from now on: `run` and `update`; nothing between runs."""
    _at.update(where) if where else _at.clear()


def place() -> str:
    """Names the run, update and process that this is; empty between runs."""
    if not _at:
        return ""
    process = f" process {jax.process_index()} of {jax.process_count()}" if jax.process_count() > 1 else ""
    return f"{_at['run']}{process} update {_at['update']}"


class Handler(logging.Handler):
    """Writes to standard error, each record on a line of its own, whatever progress bar is there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes it."""
        tqdm.write(self.format(record), file=output.Log(sys.stderr))


class Formatter(logging.Formatter):
    """Says of which run, process and update a line is."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as level [place] message."""
        where = f" [{place()}]" if place() else ""
        return f"{record.levelname.lower()}{where}: {one_line(record.getMessage())}"


def bar(total: int, title: str, shown: bool, unit: str = "update") -> tqdm:
    """Makes a progress bar of updates, or of another `unit`, which falls silent where standard error cannot be written."""
    stream = output.Log(sys.stderr)
    return tqdm(total=total, desc=title, unit=unit, mininterval=1 if stream.isatty() else 30, disable=not shown, file=stream)
