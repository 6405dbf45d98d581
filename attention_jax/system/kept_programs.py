"""The folder in which JAX keeps compiled programs, held against checksums of ours: a program with a changed byte may end the process.

JAX writes an entry a program, and takes what it finds. Packed by zlib an entry has a checksum of its own; packed by zstandard, which JAX
prefers where that library is installed, it has none. So `FILE` lists checksums, a line an entry, written as soon as JAX has written the
entry. What was changed since is removed before JAX is told of the folder, and compiled anew by whoever needs it.
"""

import contextlib
import os
import zlib
from pathlib import Path

from jax import monitoring

from attention_jax.system import files

FILE = "checksums"
MARK = ".in_use"
"""There while a process has the folder; left behind where one ended without a word, which may have been the fault of an entry."""

ENTRIES = "-cache"
"""How the names of entries end."""

ZSTANDARD = b"\x28\xb5\x2f\xfd"
"""How an entry begins that is packed by zstandard."""

WRITING, COMPILED = "/jax/compilation_cache/cache_misses", "/jax/core/compile/backend_compile_duration"
"""What JAX reports before it writes an entry, and after."""


def drop_damaged(folder: Path, ours: bool = True) -> None:
    """Removes entries that are not what was written: one that was killed left half of it, a disk lost a bit.

    An entry as old and as large as it was is not read again, unless a process ended without a word since. One without a checksum is
    unpacked; where that tells nothing (zstandard) it goes if the folder is `ours`, and stays if other programs use it, too. One that
    another process is writing just now may go as well: it is compiled once more.
    """
    with contextlib.suppress(OSError):
        known, again = _known(folder), ours and (folder / MARK).exists()
        for entry in _entries(folder):
            status, (checksum, *seen) = entry.stat(), known.get(entry.name, ("",))
            if not again and seen == [str(status.st_size), str(status.st_mtime_ns)]:
                continue
            content = entry.read_bytes()
            if checksum == _checksum(content) if checksum else _unpacks(content):
                _write(folder, entry, content)
            elif checksum or ours or not content.startswith(ZSTANDARD):
                entry.unlink(missing_ok=True)


def watch(folder: Path) -> None:
    """Writes down the checksums of entries that this process adds, from now on; to be called once."""
    there, writing = {entry.name for entry in _entries(folder)}, [False]
    with contextlib.suppress(OSError):
        (folder / MARK).touch()

    def hear(event: str, **_: object) -> None:
        writing[0] = writing[0] or event == WRITING

    def hear_end(event: str, duration_secs: float, **_: object) -> None:
        if event != COMPILED or not writing[0]:
            return
        writing[0] = False
        with contextlib.suppress(OSError):
            for entry in _entries(folder):
                if entry.name not in there:
                    there.add(entry.name)
                    _write(folder, entry, entry.read_bytes())

    monitoring.register_event_listener(hear)
    monitoring.register_event_duration_secs_listener(hear_end)


def leave(folder: Path) -> None:
    """Says that the process ends as it should."""
    with contextlib.suppress(OSError):
        (folder / MARK).unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in os.listdir(folder) if name.endswith(ENTRIES)]


def _known(folder: Path) -> dict[str, tuple[str, ...]]:
    """{entry: (checksum, bytes, time)}; the last line of an entry counts."""
    try:
        lines = files.read_bytes(folder / FILE).decode(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: tuple(rest) for name, *rest in (line.split(" ") for line in lines) if len(rest) == 3}


def _write(folder: Path, entry: Path, content: bytes) -> None:
    """Adds the line of an entry, in one write."""
    status = entry.stat()
    line = f"{entry.name} {_checksum(content)} {status.st_size} {status.st_mtime_ns}\n"
    file = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | files.NO_LINK, 0o666)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _unpacks(content: bytes) -> bool:
    """True where zlib's own checksum holds."""
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True
