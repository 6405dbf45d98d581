"""One writer per run directory, and a sign of life that others can read.

`.lock` is held with flock while the process lives, so a second process of the same machine is refused at once and a killed one leaves
nothing held. What it says is written anew every `BEAT` seconds: who holds it, a number that counts up, and how far the run is. Where
flock does not reach (another machine, a file system without locks) a holder whose number stands still for `WATCH` seconds is gone, and
its place is taken. No clock is compared with another one's: clocks jump. A holder that was taken for dead and wakes finds another
name in the file, and writes nothing more. It may have been halted after it looked and before it wrote: so everything in the directory is
replaced whole, under names of drafts that are its own, and what it replaces is what its successor wrote or will write.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from pathlib import Path

from attention_jax.running import results
from attention_jax.system import files
from attention_jax.system.errors import RunError, StorageError

FILE = ".lock"
BEAT, WATCH = 5.0, 20.0
ROOM = 1000  # bytes of the file: one write of a fixed length needs no new room on a full disk
TEXTS = ("token", "host", "machine")  # what it says in words; the rest are whole numbers

log = logging.getLogger(__name__)


class Lock:
    """Makes `directory` and is its only writer until the block ends, or the process does; a second one gets `StorageError`.

    Raises `RunError` where the directory is a link, or holds one: whoever writes there would write elsewhere.
    """

    def __init__(self, directory: str | Path):
        self.directory, self.token, self.said = Path(directory), uuid.uuid4().hex, {}
        self.beats, self.lost, self.ended = 0, "", threading.Event()

    def __enter__(self) -> "Lock":
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            files.refuse_links(self.directory)
            self.file = os.open(self.directory / FILE, os.O_RDWR | os.O_CREAT | files.NO_LINK, 0o666)
        except OSError as error:
            raise StorageError(f"cannot write {self.directory}: {error.strerror}; choose another --workdir") from None
        try:
            with files.writing(self.directory):
                self._take()
                os.ftruncate(self.file, ROOM)
                self._write()
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(self.file)
            raise
        self.thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
        self.thread.join()
        with contextlib.suppress(OSError):
            os.close(self.file)

    def release(self) -> None:
        """Writes that nobody holds the directory any more; a process that ends at once calls it, too.

        Where that cannot be written nothing is raised, which would hide why the block ends: flock ends with the file, and the next
        process finds a holder that is gone.
        """
        if self.ended.is_set():
            return
        self.ended.set()
        with contextlib.suppress(OSError):
            if not self._loss():
                os.pwrite(self.file, b" " * ROOM, 0)  # not truncated: the room stays ours

    def say(self, **progress: object) -> None:
        """Sets what others can read from the next beat on: JSON values by name."""
        self.said = progress

    def check(self) -> None:
        """Raises `StorageError` if the directory is not ours any more: to be asked before anything is written."""
        if loss := self.lost or self._loss():
            raise StorageError(f"{self.directory} {loss}: nothing more is written; see that one process at a time has it")

    def _take(self) -> None:
        try:
            files.lock(self.file)
            alone = True
        except BlockingIOError:
            raise StorageError(_refusal(self.directory, _named(self.directory))) from None
        except OSError as error:  # some network file systems have no locks
            log.warning("%s cannot be locked (%s): watching for other processes instead", self.directory, error.strerror)
            alone = False
        found = read(self.directory)
        if found is None:
            return
        if not (alone and found.get("machine") == machine()):
            log.warning("%s was left by %s; watching for %.0f s whether that lives", self.directory, _holder(found), WATCH)
            if alive := watch({self.directory: found}):
                raise StorageError(_refusal(self.directory, alive[self.directory]))
        log.warning("%s was left by %s, which was killed: going on from what it saved", self.directory, _holder(found))

    def _write(self) -> None:
        content: dict[str, object] = {"token": self.token, "beat": self.beats, "time": round(time.time()), "process": os.getpid()}
        content |= {"host": socket.gethostname(), "machine": machine(), **self.said}
        os.pwrite(self.file, json.dumps(content).encode().ljust(ROOM), 0)

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            self.lost = self.lost or self._loss()
            if self.lost:
                return
            self.beats += 1
            with contextlib.suppress(OSError):  # a disk in trouble is for those to report who have something to write
                self._write()

    def _loss(self) -> str:
        """Says what happened to the directory; empty while it is ours."""
        try:
            if os.stat(self.directory / FILE).st_ino != os.fstat(self.file).st_ino:
                return "was replaced while it was written"
        except OSError:
            return "is gone, or cannot be reached"
        found = read(self.directory)
        return "" if found and found.get("token") == self.token else "was taken over by another process"


def read(directory: str | Path) -> dict | None:
    """Reads what the lock of a directory says; None where nobody holds it, or nobody wrote down who."""
    try:
        content = results.read_json(Path(directory) / FILE)
    except RunError:
        return None
    fitting = {name: value for name, value in content.items() if _fits(name, value)}
    return fitting if "beat" in fitting else None


def _named(directory: Path) -> dict | None:
    """Returns what `read` does, and waits up to `BEAT` for it: a holder has the lock a moment before it writes down who it is."""
    ended = time.monotonic() + BEAT
    while (found := read(directory)) is None and time.monotonic() < ended:
        time.sleep(0.01)
    return found


def _fits(name: str, value: object) -> bool:
    """Returns whether a value of a lock, which may be damaged, is of its kind: a text, or a whole number."""
    return isinstance(value, str) if name in TEXTS else type(value) is int and abs(value) < 2**53


def watch(found: dict[Path, dict], seconds: float = WATCH) -> dict[Path, dict]:
    """Returns those directories of `found` whose holder counts up within so many seconds, with what it says by then."""
    alive, began = {}, time.monotonic()
    while len(alive) < len(found) and time.monotonic() - began < seconds:
        time.sleep(0.5)
        for directory in found.keys() - alive.keys():
            now = read(directory)
            if now and (now.get("token"), now["beat"]) != (found[directory].get("token"), found[directory]["beat"]):
                alive[directory] = now
    return alive


def alive(found: dict[Path, dict]) -> set[Path]:
    """Returns those directories of `found` (what `read` says of them) whose holder lives.

    One of this machine is asked for at once; another's sign of life is waited for if it is not of the last seconds by our clock.
    """
    gone = {directory for directory, holder in found.items() if _ended(holder)}
    recent = {directory for directory, holder in found.items() if abs(time.time() - holder.get("time", 0)) < 2 * BEAT} - gone
    unsure = {directory: holder for directory, holder in found.items() if directory not in gone | recent}
    return recent | watch(unsure, 2 * BEAT).keys()


def _ended(holder: dict) -> bool:
    """Returns whether a process of this machine and of this container is surely gone."""
    if (holder.get("machine"), holder.get("host")) != (machine(), socket.gethostname()) or not isinstance(holder.get("process"), int):
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def machine() -> str:
    """Returns the kernel's boot id: equal for all processes of one machine since its last boot, whatever container they are in."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _holder(found: dict) -> str:
    return f"process {found.get('process')} on {found.get('host')}"


def _refusal(directory: Path, found: dict | None) -> str:
    holder = _holder(found) if found else "another process"
    return f"{directory} is being written by {holder}; wait for its end, or choose another --workdir"
