"""Exit codes are those of docs/jobs.md, which clusters act upon."""

import errno
import re
from pathlib import Path

import pytest

from attention_jax.running import exits
from attention_jax.system import signals
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "jobs.md").read_text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 2),
        (RunError("x"), 1),
        (StorageError("x"), 74),
        (PermissionError(errno.EACCES, "x"), 74),
        (BrokenPipeError(errno.EPIPE, "x"), 74),
        (Stopped("x"), 75),
    ],
)
def test_each_error_has_its_code_and_one_line(capsys, error, code):
    def act():
        raise error

    assert exits.ended(act) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("stopped: " if code == 75 else "error: ")
    assert f"\n| {code} | " in PAGE


def test_what_is_none_of_ours_goes_on():
    with pytest.raises(ZeroDivisionError):
        exits.ended(lambda: 1 // 0)
    assert exits.ended(lambda: 3) == 3


def test_the_page_lists_all_codes():
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} >= {
        0,
        1,
        2,
        signals.STUCK,
        signals.REFUSED,
        signals.STOPPED,
    }
