"""Standard streams that are closed, full, without a reader or in another encoding, in processes of their own."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attention_jax.running import logs
from attention_jax.system import output

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "import os, sys; from attention_jax.system import output; from attention_jax.system.errors import *; output.prepare()\n"


def shell(program: str, redirected: str, **environment: str) -> subprocess.CompletedProcess:
    """A Python program whose streams are redirected as a shell does."""
    command = f'"$0" -c "$1" {redirected}'
    here = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, BEGIN + program], env=here, capture_output=True, text=True
    )


def test_a_full_disk_is_one_error():
    program = "try: output.show('x' * 100_000)\nexcept StorageError as error: sys.stderr.write(f'{error}')"
    ended = shell(program, "> /dev/full")
    assert (ended.returncode, ended.stderr) == (0, "cannot write to standard output: No space left on device")


def test_a_reader_that_leaves_wanted_no_more():
    ended = shell("for i in range(100_000): output.show(f'line {i}')", "| head -1")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "line 0\n", "")


def test_letters_that_an_encoding_lacks():
    program = "output.show('a − b')\ntry: output.show('ü', exact=True)\nexcept ConfigError as error: output.show(str(error))"
    ended = shell(program, "", PYTHONIOENCODING="ascii")
    assert ended.stdout == "a \\u2212 b\nstandard output is ascii, which lacks '\\xfc': set PYTHONIOENCODING=utf-8\n"
    assert ended.returncode == 0


@pytest.mark.parametrize("redirected", ["2> /dev/full", "2>&-", "2> >(exec true)"])
def test_who_cannot_speak_goes_on(redirected):
    """Also where the reader is gone, which a short wait makes sure of."""
    program = "import time; time.sleep(0.2)\nfor i in range(2000): print('x' * 100, file=sys.stderr, flush=True)\nprint('done')"
    ended = shell(program, redirected)
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_the_number_of_a_closed_stream_is_no_file_of_ours(tmp_path):
    program = f"file = os.open({str(tmp_path / 'rows')!r}, os.O_WRONLY | os.O_CREAT); os.write(2, b'what a library says'); assert file > 2"
    for closed in ("2>&-", "1>&- 2>&-", "0>&- 2>&-"):
        assert shell(program, closed).returncode == 0
        assert (tmp_path / "rows").read_bytes() == b""


def test_a_log_without_a_stream():
    silent = output.Log(None)
    assert silent.write("text") == 4 and not silent.isatty() and silent.encoding == "utf-8"
    silent.flush()
    with pytest.raises(OSError, match="there is no file"):
        silent.fileno()


HOSTILE = "host\x1b[2J\x1b[1;1H\r\n0  bottleneck/none  finished\u202egnp"


def test_what_others_wrote_moves_no_cursor_and_forges_no_line(capsys):
    """Names of hosts, of folders and of errors: on standard output with its lines, on standard error as one."""
    output.show(f"a\tb\n{HOSTILE}")
    output.tell(f"left out: {HOSTILE}")
    printed = capsys.readouterr()
    assert printed.out == "a\tb\nhost\\x1b[2J\\x1b[1;1H\\r\n0  bottleneck/none  finished\\u202egnp\n"
    assert printed.err == "left out: host\\x1b[2J\\x1b[1;1H\\r\\n0  bottleneck/none  finished\\u202egnp\n"


def test_a_record_of_a_log_is_one_line():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s was left by %s", ("runs", HOSTILE), None)
    line = logs.Formatter().format(record)
    assert line.isprintable() and line.startswith("warning: runs was left by host\\x1b[2J")
