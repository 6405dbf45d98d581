"""Stage: a gzipped file of a run ↔ its content, for `sentences` and `hypotheses`. Equal content gives equal bytes."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attention_jax.system.errors import DataError
from attention_jax.system.files import read_bytes, unreadable, write_bytes

LARGEST = 2**28  # bytes of a file's content; what claims more is not ours

Found = TypeVar("Found")


def write(path: str | Path, content: bytes) -> None:
    """Writes the file, replacing it whole."""
    write_bytes(path, gzip.compress(content, mtime=0))


def read(path: str | Path, parse: Callable[[bytes], Found], what: str) -> Found:
    """Returns what `parse` makes of the content, which raises `ValueError` for what is not ours.

    Raises `DataError`, which calls the content `what`, where the file is missing, damaged or another program's.
    """
    path = Path(path)
    try:
        return parse(_content(read_bytes(path)))
    except OSError as error:
        raise unreadable(error, f"cannot read {what} from {path}: {error.strerror}; run the experiment first", DataError) from None
    except (ValueError, RecursionError, zlib.error) as error:
        raise DataError(f"{path} is damaged, or no file of {what}: {error}; remove it, or its directory") from None


def _content(data: bytes) -> bytes:
    unpack = zlib.decompressobj(wbits=31)  # gzip, whose checksum is held against the content
    content = unpack.decompress(data, LARGEST)
    if not unpack.eof or unpack.unused_data:
        raise ValueError("it does not end where it should")
    return content
