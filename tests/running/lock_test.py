"""One writer per directory: others are refused while it lives, and go on where it was killed, on this machine and on others."""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from attention_jax.running import lock
from attention_jax.running.lock import Lock
from attention_jax.system.errors import RunError, StorageError

WRITER = """
import sys, time
from attention_jax.running.lock import Lock
from attention_jax.system.errors import RunError
try:
    with Lock(sys.argv[1]):
        print("got it", flush=True)
        time.sleep(float(sys.argv[2]))
except RunError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Beats and watches of this process take fractions of a second."""
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "WATCH", 1.2)
    monkeypatch.setattr(lock.watch, "__defaults__", (1.2,))


def writer(directory: Path, seconds: float = 0.0) -> subprocess.Popen:
    """Another process that wants the directory."""
    environment = os.environ | {"PYTHONPATH": str(Path(lock.__file__).parents[2])}
    command = [sys.executable, "-c", WRITER, str(directory), str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def said(directory: Path, **changes) -> None:
    """Writes a lock that another process left."""
    left = {"token": "a", "beat": 7, "time": 0, "process": 1234, "host": "elsewhere", "machine": "another", "update": 3} | changes
    (directory / lock.FILE).write_bytes(json.dumps(left).encode().ljust(lock.ROOM))


@pytest.mark.long
def test_one_writer_per_directory(tmp_path):
    directory = tmp_path / "new" / "run"
    with pytest.raises(KeyError), Lock(directory):
        output, _ = writer(directory).communicate(timeout=60)
        assert f"is being written by process {os.getpid()} on " in output
        with pytest.raises(RunError, match="is being written by"):
            Lock(directory).__enter__()
        raise KeyError
    assert writer(directory).communicate(timeout=60)[0] == "got it\n"
    assert lock.read(directory) is None


def test_a_holder_that_has_not_said_yet_who_it_is_is_waited_for(tmp_path, monkeypatch):
    """Between its flock and its first word; the refusal names it all the same."""
    monkeypatch.setattr(lock, "BEAT", 30.0)
    with open(tmp_path / lock.FILE, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        later = threading.Timer(0.2, said, [tmp_path])
        later.start()
        with pytest.raises(StorageError, match="is being written by process 1234 on elsewhere"):
            Lock(tmp_path).__enter__()
        later.join()


def test_a_holder_that_never_says_who_it_is_is_refused_too(tmp_path):
    with open(tmp_path / lock.FILE, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="is being written by another process; wait for its end"):
            Lock(tmp_path).__enter__()


def test_a_killed_writer_is_followed_at_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 5.0)  # as the other process has it
    with writer(tmp_path, 20) as killed:
        assert killed.stdout.readline() == "got it\n"
        assert lock.alive({tmp_path: lock.read(tmp_path)}) == {tmp_path}
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert lock.alive({tmp_path: lock.read(tmp_path)}) == set()
        with Lock(tmp_path) as held:
            held.check()
        assert f"was left by process {killed.pid} on " in caplog.text and "was killed: going on" in caplog.text
        assert "watching" not in caplog.text


@pytest.mark.long
def test_a_lock_of_another_machine_is_watched_and_taken_over(tmp_path, caplog):
    said(tmp_path, time=10**12)  # its clock is ahead of ours
    with Lock(tmp_path):
        assert lock.read(tmp_path)["process"] == os.getpid()
    assert "was left by process 1234 on elsewhere; watching for 1 s" in caplog.text


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_a_living_writer_of_another_machine_is_refused(tmp_path, monkeypatch, locks):
    def flock(file, operation):
        if not locks:
            raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with Lock(tmp_path) as first:
        monkeypatch.setattr(lock, "machine", lambda: "another")
        with pytest.raises(RunError, match=f"is being written by process {os.getpid()} on "):
            Lock(tmp_path).__enter__()
        first.check()


def test_who_was_taken_for_dead_writes_nothing_more(tmp_path):
    with Lock(tmp_path) as first:
        said(tmp_path)
        with pytest.raises(StorageError, match="was taken over by another process: nothing more is written"):
            first.check()
    assert lock.read(tmp_path)["process"] == 1234  # what the other one said stays


@pytest.mark.parametrize("vanish", [lambda folder: folder.rename(folder.with_name("moved")), lambda folder: (folder / lock.FILE).unlink()])
def test_a_directory_that_vanishes_is_noticed(tmp_path, vanish):
    folder = tmp_path / "run"
    with Lock(folder) as held:
        held.check()
        vanish(folder)
        with pytest.raises(StorageError, match="is gone, or cannot be reached"):
            held.check()


def test_a_directory_that_was_replaced_is_noticed(tmp_path):
    with Lock(tmp_path / "run") as held:
        (tmp_path / "run").rename(tmp_path / "moved")
        (tmp_path / "run").mkdir()
        said(tmp_path / "run")
        with pytest.raises(StorageError, match="was replaced"):
            held.check()


def test_it_says_how_far_it_is(tmp_path):
    with Lock(tmp_path) as held:
        held.say(update=12, updates=400, seconds_left=30)
        found = lock.read(tmp_path)
        alive = lock.watch({tmp_path: found}, 5)
        assert alive[tmp_path]["update"] == 12 and alive[tmp_path]["beat"] > found["beat"]


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"{", b"[1]", b'{"beat": "x"}', b"\xff\xfe", b'{"beat": 1}', b"[" * 10**6])
def test_what_nobody_wrote_keeps_nobody_out(tmp_path, content, caplog):
    (tmp_path / lock.FILE).write_bytes(content)
    with caplog.at_level(logging.WARNING), Lock(tmp_path) as held:
        held.check()


def test_damaged_values_are_left_out(tmp_path):
    said(tmp_path, token=["a"], beat=7, time="never", process=10**40, host=None, update={}, seconds_left=float("1e300"))
    assert lock.read(tmp_path) == {"beat": 7, "machine": "another"}
    said(tmp_path, process=2**40, machine=lock.machine(), host=lock.socket.gethostname())
    assert lock.alive({tmp_path: lock.read(tmp_path)}) == set()


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file.run: Not a directory; choose another --workdir"):
        Lock(tmp_path / "file" / "run").__enter__()
