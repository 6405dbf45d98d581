"""Packed files: bytes of a .gz, a .zip, a .tar.gz or a .tar.xz → the content of its members, in memory: no member's name overwrites a file.

Refused, in one line with the file's name, is whatever no publisher's file has: content above `LARGEST` or out of proportion to
the packed size (a bomb), more than `MEMBERS` members, names that occur twice or lead out of the archive, links, encryption, sizes that
are not as stated.
"""

import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable

from attention_jax.system.errors import DataError

LARGEST = 1 << 28  # bytes of an archive, and of all that is unpacked from it: more than any corpus here
RATIO = 100  # unpacked bytes for each packed one: text has 3 to 10, deflate can do 1032
ALWAYS = 1 << 20  # unpacked bytes that are fine whatever the ratio
MEMBERS = 10_000  # of an archive
GZIP = b"\x1f\x8b"  # begins a .gz
ENTRY = b"PK\1\2"  # begins each member's entry in the directory of a .zip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others Python unpacks a piece as a whole, however large it gets


def gunzip(data: bytes, where: str) -> bytes:
    """Unpacks the file in a .gz. Raises `DataError`; `where` names the file in messages."""
    room = _room(data, where, LARGEST)
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(data, room + 1)
    except zlib.error as error:
        raise DataError(f"{where} is damaged or no gzip file ({error}); get it again") from error
    _check_room(len(content), room, where, LARGEST)
    if not unpacking.eof:
        raise DataError(f"{where} is truncated; get it again")
    if unpacking.unused_data:
        raise DataError(f"{where} goes on for {len(unpacking.unused_data)} bytes behind its end; get it again")
    return content


def unzip(data: bytes, where: str, wanted: Callable[[str], bool], largest: int | None = None) -> dict[str, bytes]:
    """Unpacks {path: content} of the wanted members of a .zip, in its order. Raises `DataError`; `where` names the file in messages.

    `largest`: bytes of the archive, and of all that is unpacked from it; None: `LARGEST`.
    """
    largest = LARGEST if largest is None else largest
    room = _room(data, where, largest)
    if (members := data.count(ENTRY)) > MEMBERS:  # before they are listed, which takes memory for each
        raise DataError(f"{where} has {members} members, more than {MEMBERS}; that is not the file it should be")
    content: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            chosen = [_checked(member, where) for member in archive.infolist() if wanted(member.filename)]
            for member in chosen:
                if member.filename in content:
                    raise DataError(f"{where} has two members {member.filename!r}; that is not the file it should be")
                with archive.open(member) as file:
                    found = content[member.filename] = file.read(room + 1)
                _check_room(len(found), room, where, largest)
                if len(found) != member.file_size:
                    raise DataError(f"{where}: {member.filename!r} unpacks to {len(found)} bytes, not to {member.file_size}; get it again")
                room -= len(found)
    except DataError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, OverflowError, ValueError, zlib.error, NotImplementedError) as error:
        reason = str(error) or "it ends too early"
        raise DataError(f"{where} is truncated, damaged or no zip file ({reason}); get it again") from error
    return content


def _checked(member: zipfile.ZipInfo, where: str) -> zipfile.ZipInfo:
    """Returns the member, if it is a plain file below the folder that an archive would be unpacked in."""
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    problem = ""
    if not _is_within(name):
        problem = "is no path within the archive"
    elif kind not in (0, stat.S_IFREG) or name.endswith("/"):
        problem = "is no plain file (a link, a folder or a device)"
    elif member.flag_bits & 1:
        problem = "is encrypted"
    elif member.compress_type not in METHODS:
        problem = f"is packed by method {member.compress_type}; valid: {', '.join(map(str, METHODS))} (stored, deflated)"
    if problem:
        raise DataError(f"{where}: {name!r} {problem}; that is not the file it should be")
    return member


def _room(data: bytes, where: str, largest: int) -> int:
    """Returns how many bytes may be unpacked from these."""
    if len(data) > largest:
        raise DataError(f"{where} has {len(data) >> 20} MiB, more than {largest >> 20}; that is not the file it should be")
    return min(largest, max(ALWAYS, RATIO * len(data)))


def _check_room(size: int, room: int, where: str, largest: int) -> None:
    if size > room:
        raise DataError(
            f"{where} unpacks to more than {largest >> 20} MiB, or than {RATIO} times its size; that is not the file it should be"
        )


def untar(data: bytes, where: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Unpacks {path: content} of the wanted members of a .tar.gz or a .tar.xz, in its order. Raises `DataError`, which names `where`."""
    packed = gunzip(data, where) if data.startswith(GZIP) else _unxz(data, where)
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for count, member in enumerate(archive, start=1):
                if count > MEMBERS:
                    raise DataError(f"{where} has more than {MEMBERS} members; that is not the file it should be")
                if not wanted(member.name):
                    continue
                file = archive.extractfile(member) if _is_within(member.name) and member.isreg() else None
                if file is None or member.name in content:
                    where_from = f"{where}: {member.name!r} is no plain file within the archive, or occurs twice"
                    raise DataError(f"{where_from}; that is not the file it should be")
                content[member.name] = file.read()
    except (tarfile.TarError, EOFError, OSError, OverflowError, ValueError) as error:
        raise DataError(f"{where} is truncated, damaged or no tar file ({error}); get it again") from error
    return content


def _unxz(data: bytes, where: str) -> bytes:
    """Unpacks the file in a .xz."""
    room = _room(data, where, LARGEST)
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST)
    try:
        packed = unpacking.decompress(data, room + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{where} is damaged or no xz file ({error}); get it again") from error
    _check_room(len(packed), room, where, LARGEST)
    if not unpacking.eof:
        raise DataError(f"{where} is truncated; get it again")
    return packed


def listing(files: dict[str, bytes]) -> bytes:
    """Returns sorted lines `path sha256` of all files: equal however they are packed."""
    return "".join(f"{path} {hashlib.sha256(files[path]).hexdigest()}\n" for path in sorted(files)).encode()


def _is_within(name: str) -> bool:
    """Returns whether a name is a path within the folder that an archive would be unpacked in."""
    return bool(name) and not name.startswith("/") and "\\" not in name and ":" not in name and ".." not in name.split("/")
