"""The command line within the process of a test: its flags and its exit status."""

import contextlib
import importlib
from collections.abc import Iterator

from absl import flags
from absl.testing import flagsaver

from experiments import run

with contextlib.suppress(ModuleNotFoundError):  # it defines flags, which `flags_of` would take back
    importlib.import_module("array_record.python.array_record_data_source")


@contextlib.contextmanager
def flags_of(*arguments: object) -> Iterator[list[str]]:
    """Sets the flags of `python -m experiments.run` with these arguments; afterwards they are as before."""
    with flagsaver.flagsaver():
        yield flags.FLAGS(["run", *map(str, arguments)])


def call(*arguments: object) -> int:
    """Returns the exit status of `python -m experiments.run` with these arguments; flags are as before afterwards."""
    with flags_of(*arguments) as rest:
        return run.main(rest)
