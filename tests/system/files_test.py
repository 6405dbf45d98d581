"""Files are replaced whole, by however many writers at once, and read within bounds: pipes, devices, terabytes of nothing, links."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError, StorageError


def test_writers_at_once_with_one_process_number(tmp_path):
    """Pods on a network's file system: each has its own processes 1, 2, …, as threads of one process have the same here."""
    file, contents = tmp_path / "file", {bytes([65 + i]) * 50_000 for i in range(8)}
    files.write_bytes(file, b"A" * 50_000)
    failed, torn, ended = [], [], threading.Event()

    def write(content):
        for _ in range(25):
            try:
                files.write_bytes(file, content)
            except Exception as error:
                failed.append(error)

    def read():
        while not ended.is_set():
            if (content := file.read_bytes()) not in contents:
                torn.append(content[:20])

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    assert (failed, torn) == ([], []) and os.listdir(tmp_path) == ["file"]


def test_parts_are_written_one_after_the_other(tmp_path):
    files.write_bytes(tmp_path / "file", (b"%d\n" % i for i in range(3)))
    assert (tmp_path / "file").read_bytes() == b"0\n1\n2\n"


def test_what_refused_to_be_written_is_said(tmp_path, monkeypatch):
    """Not that the draft cannot be removed either, as on a disk that turned read-only."""

    def refuse(number):
        def act(*arguments, **settings):
            raise OSError(number, os.strerror(number))

        return act

    monkeypatch.setattr(files.os, "fsync", refuse(errno.ENOSPC))
    monkeypatch.setattr(files.Path, "unlink", refuse(errno.EROFS))
    with pytest.raises(StorageError, match="file: No space left on device"):
        files.write_bytes(tmp_path / "file", b"")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE])
def test_a_file_that_the_system_refuses_is_not_one_that_is_absent(number):
    assert type(files.unreadable(OSError(number, "x"), "message", DataError)) is StorageError
    assert type(files.unreadable(OSError(errno.ENOENT, "x"), "message", DataError)) is DataError
    with pytest.raises(RunError, match=r"runs/a: the system refused: .*x; the same command goes on"), files.refusing("runs/a"):
        raise OSError(number, "x")


@pytest.mark.parametrize("read", [files.read_bytes, lambda path: files.read_end(path, 100)])
def test_what_is_no_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="it is no regular file"):
            read(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def test_no_more_is_read_than_was_said(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as content:
        content.truncate(4 << 40)
        content.seek(-3, os.SEEK_END)
        content.write(b"end")
    with pytest.raises(OSError, match=r"it has 4,398,046,511,104 bytes, more than 1,073,741,824"):
        files.read_bytes(file)
    assert files.read_end(file, 5) == b"\0\0end"
    os.truncate(file, 5)
    assert files.read_bytes(file, 5) == files.read_end(file, 9) == bytes(5)


def test_links_in_a_folder_are_found_at_any_depth(tmp_path):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    files.refuse_links(tmp_path / "run")
    (tmp_path / "other").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "deep" / "link").symlink_to(tmp_path)
    for folder, named in (("other", "other"), ("run", "run/deep/link")):
        with pytest.raises(RunError, match=f"{tmp_path / named} is a link"):
            files.refuse_links(tmp_path / folder)


def test_who_has_no_home_keeps_what_is_kept_in_the_current_folder(tmp_path):
    """$HOME is not set, and the system knows no such user."""
    command = (
        "import os, pathlib; os.environ.pop('HOME'); os.getuid = lambda: 54321; from attention_jax.system import files; print(files.CACHE)"
    )
    path = {"PYTHONPATH": str(files.__file__).partition("/attention_jax/system")[0]}
    done = subprocess.run([sys.executable, "-c", command], env=os.environ | path, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == ".cache/attention_jax\n", done.stderr
