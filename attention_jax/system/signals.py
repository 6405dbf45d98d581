"""Stops a run: at a signal, at its time limit, or without progress. Imports nothing that takes time, to be ready from the start.

Python answers a signal only between two steps of its own, and a compilation is one step that may last minutes. So a thread listens: what
it hears it leaves for the loop to find, which saves and raises `Stopped`; if the loop does not come to that within `GRACE` seconds, or a
second signal arrives, it ends the process itself. Files are replaced whole, so that nothing is torn even then.
"""

import atexit
import faulthandler
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

from attention_jax.system import files
from attention_jax.system.errors import ConfigError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""What ends a run early; Windows lacks the last two. SIGHUP says that the terminal is gone; `nohup` has it ignored, and so it stays."""

STOPPED, REFUSED, STUCK = 75, 74, 70
"""Exit codes (EX_TEMPFAIL, EX_IOERR and EX_SOFTWARE of <sysexits.h>): saved, the same command goes on; a disk refused, or another process
has the run; no progress for too long."""

GRACE = 15.0  # seconds until a loop that does not answer is left behind
ECHO = 0.2  # seconds in which the same signal again is not a second one: `timeout` signals a process, and then its group
TICK = 1.0  # seconds between two looks at the clock


def leave_at_once() -> None:
    """Makes a signal end the process with `STOPPED` until somebody else listens: before a run has begun there is nothing to save.

    As the very last thing before Python ends, signals are ignored. Python would give them back to the system, which kills, and a finished
    run would end as a killed one.
    """
    for number in heard():
        signal.signal(number, lambda number, frame: os._exit(STOPPED))
    atexit.register(_ignore)  # what is registered first is called last


def _ignore() -> None:
    for number in heard():
        signal.signal(number, signal.SIG_IGN)


def heard() -> list[signal.Signals]:
    """Lists those of `SIGNALS` that are listened to: not a SIGHUP that whoever started the process told it to ignore."""
    return [number for number in SIGNALS if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN]


class Stop:
    """Listens for signals, in the main thread, and watches the time, while its block lasts.

    After `max_seconds` it asks the loop to stop; after `stuck_seconds` without a `beat` it ends the process (0: never). `reason` says why
    the loop should stop, empty while it should not; `farewell` is called before the process is ended. Raises `ConfigError` on a system
    without these signals.
    """

    def __init__(self, max_seconds: float = 0, stuck_seconds: float = 0):
        self.max_seconds, self.stuck_seconds = max_seconds, stuck_seconds
        self.reason, self.quiet = "", 0.0
        self.farewell: Callable[[], object] = lambda: None

    def __enter__(self) -> "Stop":
        if not hasattr(signal, "SIGUSR1"):
            raise ConfigError(files.POSIX)
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._hear) for number in heard()}
            self.wakeup = signal.set_wakeup_fd(self.writing, warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self._listen, name="stopping", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.before:
            signal.set_wakeup_fd(self.wakeup)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        os.write(self.writing, b"\0")
        self.thread.join()
        os.close(self.reading)
        os.close(self.writing)

    def beat(self) -> None:
        """Notes progress: `stuck_seconds` count from here."""
        self.quiet = 0.0

    def ask(self, reason: str) -> None:
        """Asks the loop to stop, as a signal does."""
        self.reason = self.reason or reason

    def _hear(self, number, frame) -> None:
        self.ask(signal.Signals(number).name)

    def _listen(self) -> None:
        began = last = time.monotonic()
        waited, heard = 0.0, (0, 0.0)
        while True:
            ready, _, _ = select.select([self.reading], [], [], TICK)
            number = os.read(self.reading, 1)[0] if ready else None
            if number == 0:
                return
            if number is not None:
                before, heard = heard, (number, time.monotonic())
                if before[0] and (number != before[0] or heard[1] - before[1] > ECHO):
                    self._leave(STOPPED, f"{signal.Signals(number).name}: left at once, as it is the second; the same command goes on")
                self.ask(signal.Signals(number).name)
            now = time.monotonic()
            passed, last = min(now - last, 2 * TICK), now  # a process that was suspended was not stuck
            self.quiet += passed
            if self.max_seconds and now - began > self.max_seconds:
                self.ask(f"--max_seconds={self.max_seconds:g}")
            waited += passed if self.reason else 0.0
            if waited > GRACE:
                self._leave(STOPPED, f"{self.reason}: left within a compilation or another long step; the same command goes on")
            if self.stuck_seconds and self.quiet > self.stuck_seconds:
                faulthandler.dump_traceback(all_threads=True)
                self._leave(STUCK, f"no progress for {self.quiet:.0f} s, see where above; --stuck_seconds says how long to wait")

    def _leave(self, code: int, message: str) -> None:
        try:
            self.farewell()
            print(f"stopped: {message}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
