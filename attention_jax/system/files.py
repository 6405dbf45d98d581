"""Files are replaced whole, and what a system refuses is one line.

Whatever others may have written is read by `read_bytes` or `read_end`: from regular files alone, and no more bytes than a caller says.
A pipe, a device or a sparse file of terabytes is refused at once. No writer follows a link that lies in the place of a file.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from attention_jax.system.errors import ConfigError, RunError, StorageError

LARGEST, LARGEST_JSON = 1 << 30, 1 << 26
"""Bytes of a file that is read whole, and of one of JSON."""

CACHE = Path(".cache", "attention_jax")
"""Where downloads, builds and compiled programs are kept, and may be deleted: in the user's home or, without one, in the current folder."""
with contextlib.suppress(RuntimeError):
    CACHE = Path.home() / CACHE

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""The flag of `os.open` by which a link is refused; Windows has none."""

POSIX = "the experiments need Linux or macOS: file locks and signals of POSIX; on Windows they run in WSL"


ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, None)
"""How the system says that there is no such file; anything else that it refuses, such as permission or an open file too many, says nothing
of the file's content."""


def expanded(text: str) -> str:
    """Returns a path as its user means it: ~ is one's home, as a shell has it where a word begins with it.

    Raises `ValueError` for a path that is no UTF-8: orbax and TensorFlow Datasets know none else.
    """
    if re.search("[\ud800-\udfff]", text):
        raise ValueError("a path must be UTF-8")
    return os.path.expanduser(text)


def write_bytes(path: str | Path, data: bytes | Iterable[bytes]) -> None:
    """Replaces the file whole, by `data` or its parts: a reader sees the old content or the new, never a part.

    Several processes may write the same file, those of other machines and containers too: the last one wins.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = draft(path)
        try:
            with open(temporary, "xb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what refused to be written is said, not what refused to be removed
                temporary.unlink(missing_ok=True)
            raise


def draft(path: Path) -> Path:
    """Returns a name beside `path` that no other writer has: processes of different containers may have the same number."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(6).hex()}")


def read_bytes(path: str | Path, most: int = LARGEST) -> bytes:
    """Reads all bytes of a regular file. Raises `OSError` for anything else, such as a pipe or a device, and for more than `most` bytes."""
    with _regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(None, f"it has {size:,} bytes, more than {most:,}")
        return file.read(size)


def read_end(path: str | Path, most: int) -> bytes:
    """Reads the last bytes of a regular file, at most so many. Raises `OSError` for anything else."""
    with _regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


@contextlib.contextmanager
def _regular(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a regular file for reading, and waits for nothing: a pipe that nobody writes to would never open."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise OSError(None, "it is no regular file")
        yield file


def refuse_links(directory: Path) -> None:
    """Raises `RunError` where a folder that is written to is a link, or holds one at any depth: it may lead to somebody else's files."""
    found = [directory] if directory.is_symlink() else []
    for folder, folders, names in os.walk(directory):
        found += [Path(folder, name) for name in (*folders, *names) if Path(folder, name).is_symlink()]
    if found:
        raise RunError(f"{found[0]} is a link, and nothing is written through one; put the file itself there, or choose another --workdir")


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


def unreadable(error: OSError, message: str, otherwise: type[Exception]) -> Exception:
    """Returns the error to raise where a file cannot be read: `otherwise` if it is not there, `StorageError` if the system refuses it."""
    return otherwise(message) if error.errno in ABSENT else StorageError(message)


@contextlib.contextmanager
def refusing(what: object) -> Iterator[None]:
    """Turns what the operating system refuses, wherever that is, into a `StorageError` that names `what` was being done."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: the system refused: {error}; the same command goes on") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal into a `StorageError` of one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room there, or choose another --workdir") from None
