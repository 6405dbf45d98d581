"""A log that dies: standard error without a reader, on a full disk or closed. Training goes on to the same end."""

import subprocess
import sys

import pytest

from tests.faults import scenarios

pytestmark = pytest.mark.long


@pytest.mark.parametrize("redirected", ["2> /dev/full", "2> >(exec true)", "2>&- >&-"])
def test_training_goes_on_in_silence(tmp_path, reference, redirected):
    place = scenarios.prepare("plain", tmp_path / "run")
    command = ["bash", "-c", f'"$0" -m experiments.run "$@" {redirected}', sys.executable, *place.flags()]
    assert subprocess.run(command, cwd=scenarios.ROOT, env=scenarios.environment(), stdout=subprocess.DEVNULL).returncode == 0
    assert scenarios.differences(place.run, reference) == []
