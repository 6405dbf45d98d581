"""Downloads: a public address → the file's bytes, bounded in size and in time, and resumed after an interruption.

Received bytes are kept in a part file: a line of JSON that names the file, then its bytes. A later call asks for the rest only
if the server's file is still the same one (If-Range with its ETag, or with its date), and begins anew where the server does not
know how. Nothing here says that the bytes are the right ones: whoever asked for them verifies them before they are used or kept.

Only http and https are spoken, whatever an address or a redirection names.
"""

import http.client
import json
import os
import queue
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from attention_jax.system import files

LARGEST = 1 << 28  # bytes of a file
STALL, LEAST = 60.0, 1 << 14  # seconds in which fewer bytes come than these: the download is given up
PIECE = 1 << 16  # bytes read at once
FAILURES = (OSError, http.client.HTTPException, ValueError)
"""What `fetch` raises."""

HANDLERS = "ProxyHandler HTTPHandler HTTPSHandler HTTPRedirectHandler HTTPDefaultErrorHandler HTTPErrorProcessor UnknownHandler".split()
"""Of urllib: without those that read files of this machine, FTP and data addresses."""


class Answer(NamedTuple):
    """A server's answer before the bytes: `start` is the first byte's number, `total` the size of the file, if it names one."""

    partial: bool
    start: int
    total: int | None
    validator: str  # the file's ETag or date; empty where it has none that a range can be asked for with


class Changed(ConnectionError):
    """The server's file has changed since the part was downloaded."""


def fetch(address: str, part: Path) -> bytes:
    """Downloads a file, and returns its bytes. An interrupted download leaves `part` for a later call to resume; delete it at the end.

    Raises one of `FAILURES` where the file does not arrive whole: no network, an error, a stall, more than `LARGEST` bytes.
    """
    with _held(part) as file:
        validator, data = _kept(file, address)
        if data:
            try:
                return _fetch(address, file, validator, data)
            except (Changed, urllib.error.HTTPError):
                pass
        return _fetch(address, file, "", bytearray())


def _fetch(address: str, file: BinaryIO, validator: str, data: bytearray) -> bytes:
    """Resumes the download after `data`, which `file` holds."""
    headers = {"User-Agent": "attention_jax", "Accept-Encoding": "identity"}
    if data:
        headers |= {"Range": f"bytes={len(data)}-", "If-Range": validator}
    received = _received(urllib.request.Request(address, headers=headers))
    answer = next(received)
    if answer.partial and (not data or answer.start != len(data) or answer.validator not in ("", validator)):
        raise Changed("it answers with a part that was not asked for")
    if not answer.partial:
        data.clear()
        file.truncate(0)
        validator = answer.validator
        if validator:
            file.write(json.dumps({"address": address, "validator": validator}).encode() + b"\n")
    _check_size(answer.total or 0, file)
    for piece in received:
        data += piece
        _check_size(len(data), file)
        if validator:
            file.write(piece)
            file.flush()
    if answer.total not in (None, len(data)):
        raise ConnectionError(f"it broke off after {len(data)} of {answer.total} bytes")
    return bytes(data)


def _check_size(size: int, file: BinaryIO) -> None:
    if size > LARGEST:
        file.truncate(0)
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")


def _received(request: urllib.request.Request) -> Iterator:
    """Yields the `Answer`, then bytes, from a thread of its own, so that no slow or silent server can block the process."""
    pieces, ended = queue.SimpleQueue(), threading.Event()

    def receive():
        try:
            with _opener().open(request, timeout=STALL) as response:
                pieces.put(_answer(response))
                while not ended.is_set() and (piece := response.read1(PIECE)):
                    pieces.put(piece)
            pieces.put(b"")
        except Exception as error:  # for the other thread to raise
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            pieces.put(error)

    threading.Thread(target=receive, name="download", daemon=True).start()
    try:
        came, until = 0, time.monotonic() + STALL
        while True:
            try:
                piece = pieces.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{came} bytes came in {STALL:.0f} s") from None
            if isinstance(piece, Exception):
                raise piece
            if not piece:
                return
            yield piece
            came += len(piece) if isinstance(piece, bytes) else 0
            if came >= LEAST:
                came, until = 0, time.monotonic() + STALL
    finally:
        ended.set()


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for name in HANDLERS:
        opener.add_handler(getattr(urllib.request, name)())
    return opener


def _answer(response: http.client.HTTPResponse) -> Answer:
    """Returns status and headers of a response. A weak ETag stands for files that are merely alike, and cannot resume a download."""
    tag = response.getheader("ETag", "")
    validator = tag if tag.startswith('"') else response.getheader("Last-Modified", "")
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", response.getheader("Content-Range", ""))
        return Answer(True, int(found[1]) if found else -1, int(found[2]) if found else None, validator)
    length = response.getheader("Content-Length", "")
    return Answer(False, 0, int(length) if re.fullmatch(r"\d{1,15}", length) else None, validator)


def _kept(file: BinaryIO, address: str) -> tuple[str, bytearray]:
    """Returns (validator, bytes) of a part of this address; no bytes where it is another's, or damaged."""
    file.seek(0)
    head, _, data = file.read(LARGEST).partition(b"\n")
    try:
        said = json.loads(head)
        validator = said["validator"]
        usable = said["address"] == address and isinstance(validator, str) and validator.isascii() and validator.isprintable()
    except (ValueError, KeyError, TypeError, RecursionError):
        usable, validator = False, ""
    return (validator, bytearray(data)) if usable and validator else ("", bytearray())


@contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """Opens and locks the part; where another process holds it, opens a temporary file. An empty part is removed."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "a+b") as file:
        if _locked(file, part):
            try:
                yield file
            finally:
                if not os.fstat(file.fileno()).st_size:
                    part.unlink(missing_ok=True)
            return
    with tempfile.TemporaryFile("a+b", dir=part.parent) as file:
        yield file


def _locked(file: BinaryIO, part: Path) -> bool:
    """True where this process has locked the file, and it is still the one of that name."""
    try:
        files.lock(file.fileno())
        return os.path.samestat(os.fstat(file.fileno()), os.stat(part))
    except OSError:
        return False
