"""Standard output and standard error: closed, full, without a reader or in another encoding, none of which is a failure of a run.

What a user asked for goes to standard output (`show`): a reader that leaves has seen enough, and a disk that refuses is an error.
What a process says of itself goes to standard error (`Log`): where that cannot be written the process goes on in silence.
"""

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from attention_jax.system.errors import ConfigError, StorageError, one_line, spelled


class Log(io.TextIOBase):
    """A text stream that is silent where the one below, which may be None, cannot be written."""

    def __init__(self, stream: TextIO | Any):
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text, if that can be."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no disk, no reader; closed; None
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes, if that can be."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self.stream.flush()

    def isatty(self) -> bool:
        """Returns whether this is a terminal."""
        with contextlib.suppress(ValueError, AttributeError):
            return self.stream.isatty()
        return False

    def fileno(self) -> int:
        """Returns the number of the file below. Raises `OSError` where there is none."""
        if self.stream is None:
            raise OSError("there is no file")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # as of every text stream
        """That of the stream below."""
        return getattr(self.stream, "encoding", None) or "utf-8"


def prepare() -> None:
    """Makes both streams of this process safe to use; to be called before any file is opened.

    The number of a standard stream that is closed would be that of the next file to be opened, and what libraries print would be written
    into it. Letters that the encoding of standard output lacks are spelled out.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = sys.stderr if isinstance(sys.stderr, Log) else Log(sys.stderr)


def tell(line: str) -> None:
    """Prints one line on standard error, whatever names and texts of others are quoted in it."""
    print(one_line(line), file=sys.stderr, flush=True)


def show(text: str, exact: bool = False) -> None:
    """Prints lines on standard output, control characters spelled out: those of a folder's name, or of a file in a foreign folder.

    `exact`: raises `ConfigError`, and prints nothing, where its encoding lacks a letter. A reader that is gone wanted no more, and
    anything else that refuses raises `StorageError`.
    """
    encoding, text = getattr(sys.stdout, "encoding", None) or "utf-8", spelled(text)
    try:
        if exact:
            text.encode(encoding)
        print(text, flush=True)
    except UnicodeEncodeError as error:
        raise ConfigError(f"standard output is {encoding}, which lacks {error.object[error.start]!r}: set PYTHONIOENCODING=utf-8") from None
    except BrokenPipeError:
        _discard()
    except OSError as error:
        _discard()
        raise StorageError(f"cannot write to standard output: {error.strerror}") from None


def _discard() -> None:
    """What is still in the buffer goes nowhere: it would be tried again as the process ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
