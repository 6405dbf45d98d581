"""What a step is asked to do, as one process tells another."""

import json
import time
from pathlib import Path
from typing import NamedTuple

from attention_jax.system.errors import Stopped


class Task(NamedTuple):
    """`ends` is on the clock `time.monotonic`, which processes of a machine share."""

    argument: str  # which of the variants of its module
    ends: float
    small: bool  # the rehearsal: smallest sizes
    out: str  # the folder of rows; an archive of results may go there
    work: str  # a folder for what is trained
    skip: tuple[str, ...] = ()  # items that are on file

    @classmethod
    def read(cls, text: str) -> "Task":
        """What `line` wrote."""
        return cls(**json.loads(text) | {"skip": tuple(json.loads(text)["skip"])})

    def line(self) -> str:
        """The task as a line of text."""
        return json.dumps(self._asdict()) + "\n"

    def left(self, reserve: float = 0.0) -> float:
        """Seconds until the end, less those that somebody needs to save; `Stopped` where there are none."""
        seconds = self.ends - time.monotonic() - reserve
        if seconds <= 0:
            raise Stopped(f"no time is left: it needs more than {reserve:g} s")
        return seconds

    def folder(self, name: str) -> Path:
        """Of what is trained."""
        return Path(self.work) / name
