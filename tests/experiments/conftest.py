"""Fixtures of the command line's tests."""

import pytest

from tests.experiments.command import call


@pytest.fixture
def refuses(capsys):
    """Calls, and returns the one line of the error after checking that there is nothing else."""

    def check(*arguments, status: int = 2) -> str:
        assert call(*arguments) == status
        printed = capsys.readouterr()
        bar, _, line = printed.err.rpartition("error: ")
        assert line.endswith("\n") and line.count("\n") == 1, printed.err
        assert printed.out == "" and "Traceback" not in bar
        return line.removesuffix("\n")

    return check
