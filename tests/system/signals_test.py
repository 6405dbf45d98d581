"""Signals, time limits and stuck processes, each in a process of its own: exit codes, and what is said."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attention_jax.system import signals
from attention_jax.system.signals import Stop

PROGRAM = """
import signal, sys, time
from attention_jax.system import signals
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "nohup" else signal.SIG_DFL)  # however this process was started
signals.GRACE, signals.TICK = 2.0, 0.1
busy, settings = sys.argv[1] == "busy", dict(part.split("=") for part in sys.argv[2:])
with signals.Stop(**{name: float(value) for name, value in settings.items()}) as stop:
    stop.farewell = lambda: print("farewell", flush=True)
    print("ready", flush=True)
    if busy:
        time.sleep(60)  # one step, which signals do not end
    while not stop.reason:
        stop.beat()
        time.sleep(0.05)
    print("saved", stop.reason, flush=True)
    sys.exit(signals.STOPPED)
"""


def start(*arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(signals.__file__).parents[2])}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", signals.SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_left_for_the_loop(number):
    with start("loop") as process:
        process.send_signal(number)
        assert process.communicate(timeout=30) == (f"saved {number.name}\n", "")
    assert process.returncode == signals.STOPPED == 75


def test_under_nohup_a_terminal_may_close():
    with start("nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == ("saved SIGTERM\n", "")


def test_a_time_limit_is_a_signal():
    with start("loop", "max_seconds=0.3") as process:
        assert process.communicate(timeout=30) == ("saved --max_seconds=0.3\n", "")
    assert process.returncode == 75


@pytest.mark.long
@pytest.mark.parametrize(("count", "message"), [(1, "SIGTERM: left within a compilation"), (2, "SIGTERM: left at once")])
def test_a_process_that_does_not_answer_is_ended(count, message):
    with start("busy") as process:
        for _ in range(count):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.8)  # two at once would be one
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 75 and output == "farewell\n" and message in errors and "the same command goes on" in errors


def test_timeout_signals_twice_and_is_heard_once():
    with start("loop") as process:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert process.communicate(timeout=30) == ("saved SIGTERM\n", "")


def test_a_stuck_process_is_ended_and_says_where():
    with start("busy", "stuck_seconds=0.5") as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == signals.STUCK == 70 and output == "farewell\n"
    assert "no progress for" in errors and "--stuck_seconds" in errors and "(most recent call first)" in errors


@pytest.mark.long
def test_a_suspended_process_was_not_stuck():
    with start("loop", "stuck_seconds=1.0") as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == ("saved SIGTERM\n", "")


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with Stop() as stop:
        assert stop.reason == ""
        stop.ask("somebody")
        stop.ask("somebody else")
        assert stop.reason == "somebody"
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


def test_a_process_that_has_finished_is_not_killed_while_python_ends():
    program = """
import os, signal
from attention_jax.system import signals
class Late:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGTERM, say=os.write):
        say(1, b"late")
        kill(own, number)
late = Late()  # deleted after Python has given signals back to the system
signals.leave_at_once()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(signals.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "late", "")
