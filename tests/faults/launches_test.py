"""Two launches of one run, and clocks that jump: neither harms a run."""

import os
import signal
import time

import pytest

from tests.faults import scenarios

pytestmark = pytest.mark.long

NAME = "plain"
LONG_AGO, FAR_AHEAD = 1e8, 4e9  # seconds since 1970


def is_refused(code: int, said: str) -> bool:
    return code == 74 and said.count("\n") == 0 and said.startswith("error: ") and "is being written by process" in said


def test_a_second_launch_of_a_live_run_refuses(tmp_path, reference):
    """Also while the first one is halted and shows no sign of life but that it has the lock."""
    place = scenarios.prepare(NAME, tmp_path / "run")
    first = place.start()
    while first.process.poll() is None and not (place.run / "config.json").exists():
        time.sleep(0.01)
    first.process.send_signal(signal.SIGSTOP)
    second = place.finish()
    first.process.send_signal(signal.SIGCONT)
    assert is_refused(*second), second
    assert first.end() == (0, "")
    assert scenarios.differences(place.run, reference) == []


def test_of_launches_at_once_one_trains(tmp_path, reference):
    place = scenarios.prepare(NAME, tmp_path / "run")
    winner, loser = sorted(launch.end() for launch in [place.start(), place.start()])
    assert winner == (0, "")
    assert is_refused(*loser), loser
    assert scenarios.differences(place.run, reference) == []


def test_clocks_that_jump_change_nothing(tmp_path, reference):
    """A month forth and back every 50 ms, with files of the year 1973 and of 2096 after a kill."""
    place, jumps = scenarios.prepare(NAME, tmp_path / "run"), {"clock": [30 * 86400.0, 0.05]}
    code, said = place.finish(jumps | {"moment": "between seal and renaming", "nth": 3})
    assert code == -signal.SIGKILL, said
    for number, path in enumerate(sorted(place.workdir.rglob("*"))):
        os.utime(path, (LONG_AGO, LONG_AGO) if number % 2 else (FAR_AHEAD, FAR_AHEAD))
    assert place.finish(jumps)[0] == 0
    assert scenarios.differences(place.run, reference) == []
