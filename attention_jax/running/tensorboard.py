"""Losses for TensorBoard, where tensorboardX is installed (the extra `tensorboard`); rows and verdicts need none of it.

Events are written in the thread that has them: tensorboardX's own thread ends where a disk refuses, and whoever gives it more events
then waits for ever.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax.system.errors import ConfigError

FLUSH = 30.0  # seconds between two times that events are forced to disk

log = logging.getLogger(__name__)


class Losses:
    """Event files in `directory`; what is there from `first_update` on is hidden, as it is written anew.

    A disk that refuses is warned about once, and nothing more is written. Raises `ConfigError` where tensorboardX is missing.
    """

    def __init__(self, directory: Path, first_update: int):
        try:
            import tensorboardX  # noqa: F401 - before its parts, which would be found without it
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2
            from tensorboardX.summary import scalar
        except ImportError:
            raise ConfigError("--writers=tensorboard needs tensorboardX: pip install tensorboardX") from None
        self.directory, self.scalar = directory, scalar
        self.event: Any = event_pb2  # which is made as it is imported
        self.writer: Any = None
        self.flushed = time.monotonic()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.writer = EventsWriter(str(directory / "events"))
        except OSError as error:
            self._give_up(error)
        if first_update:
            start = self.event.SessionLog(status=self.event.SessionLog.START)
            self._write(self.event.Event(wall_time=time.time(), step=first_update, session_log=start))

    def add(self, update: int, numbers: Mapping[str, float]) -> None:
        """Writes the numbers of an update, by name."""
        for name, number in numbers.items():
            self._write(self.event.Event(wall_time=time.time(), step=update, summary=self.scalar(name, number)))
        if time.monotonic() - self.flushed > FLUSH:
            self.flushed = time.monotonic()
            self._end("flush")

    def close(self) -> None:
        """Closes the files; nothing can be written afterwards."""
        self._end("close")
        self.writer = None

    def _write(self, event: Any) -> None:
        if self.writer is not None:
            try:
                self.writer.write_event(event)
            except OSError as error:
                self._give_up(error)

    def _end(self, how: str) -> None:
        if self.writer is not None:
            try:
                getattr(self.writer, how)()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.writer = None
        log.warning("losses for TensorBoard cannot be written to %s (%s): training goes on without", self.directory, error.strerror)
