"""Other people's implementations to compare with: `make test-peers` installs them; without them these files are skipped, visibly.

With PEERS=required, as `make test-peers` sets it, a skip is a failure.
"""

import os
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = str(Path(__file__).resolve().parent.parent.parent / ".cache" / "keras")  # not the user's ~/.keras


def pytest_sessionfinish(session):
    skipped = session.config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    if os.environ.get("PEERS") == "required" and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
