"""Files are replaced whole, and what a system refuses is one line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from attention_jax.system.errors import StorageError


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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal into a `StorageError` of one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room there, or choose another --workdir") from None
