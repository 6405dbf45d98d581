"""Files are replaced whole, and what a system refuses is one line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from attention_jax.system.errors import ConfigError, StorageError

POSIX = "the experiments need Linux or macOS: file locks and signals of POSIX; on Windows they run in WSL"


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replaces the file whole: a reader sees the old content or the new, never a part."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def read_bytes(path: Path) -> bytes:
    """All bytes of a file; `OSError` for a pipe or a device too, which have no end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(None, "it is no file")
    return path.read_bytes()


def lock(file: int) -> None:
    """Locks an open file for this process until it is closed.

    Raises `BlockingIOError` where another process holds it, other `OSError`s where the file system has no locks, and `ConfigError` on a
    system without POSIX's locks.
    """
    try:
        import fcntl  # only now: Windows has none, and everything that locks nothing works there
    except ModuleNotFoundError:
        raise ConfigError(POSIX) from None
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal into a `StorageError` of one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room there, or choose another --workdir") from None
