"""Disks that refuse: the run ends with one line and exit code 74, keeps its last good state, and goes on from it to the same end."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.faults import chains, scenarios
from tests.faults.driver import FILLER
from tests.faults.scenarios import Place

pytestmark = pytest.mark.long

NAME = "plain"


@contextlib.contextmanager
def disk(folder: Path, size: str):
    """Makes a folder that is a disk of its own."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk of its own can be mounted here, which takes root: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A place whose workdir is a disk of its own, of 4 MB."""
    place = scenarios.prepare(NAME, tmp_path / "run")
    with disk(place.workdir, "4m"):
        yield place


def refusal(end: tuple[int, str], place: Place) -> str:
    """The one line of a start that ended with exit code 74, said of a file or folder of the workdir."""
    code, said = end
    lines = [line for line in said.split("\n") if not line.startswith("warning: ")]
    assert code == 74 and len(lines) == 1 and lines[0].startswith("error: "), end
    assert str(place.workdir) in lines[0], end
    return lines[0]


def test_a_full_disk(small_disk, reference):
    """Filled while the run writes its lock, a checkpoint, rows; and nothing gets better or worse while nobody makes room."""
    for moment, nth in (("the lock is written", 1), ("arrays are written", 25), ("between example.json and rows", 1)):
        for orders in ({"moment": moment, "nth": nth, "then": "fill"}, {}):
            line = refusal(small_disk.finish(orders), small_disk)
            assert "cannot write" in line and ("No space left on device" in line or "disk full" in line)
        (small_disk.workdir / FILLER).unlink()
    assert small_disk.finish()[0] == 0
    assert scenarios.differences(small_disk.run, reference) == []


@pytest.mark.usefixtures("tfds")
@pytest.mark.parametrize(("folder", "code"), [("runs", 74), ("cache", 74)])
def test_no_room_for_a_vocabulary_or_a_corpus(tmp_path, folder, code):
    place = scenarios.prepare("text", tmp_path / "run")
    with disk(place.folder / folder, "8k"):
        ended, said = place.finish()
    announced, _, line = said.rpartition("\n")  # TFDS says that it begins
    assert ended == code and "Traceback" not in announced
    assert line.startswith("error: ") and str(place.folder / folder) in line and "No space left on device" in line


def test_a_disk_that_turns_read_only(small_disk, reference):
    killed = chains.strike(small_disk, chains.At("between seal and renaming", 3))
    assert killed[0] < 0, killed
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk.workdir)], check=True)
    assert "Read-only file system" in refusal(small_disk.finish(), small_disk)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk.workdir)], check=True)
    assert small_disk.finish()[0] == 0
    assert scenarios.differences(small_disk.run, reference) == []


def test_files_that_may_not_grow(tmp_path, reference):
    """What a quota does; the limit is the process's own, so this needs no root."""
    place = scenarios.prepare(NAME, tmp_path / "run")
    assert "File too large" in refusal(place.finish({"largest_file": 5000}), place)
    assert place.finish()[0] == 0
    assert scenarios.differences(place.run, reference) == []


@pytest.mark.parametrize(("moment", "nth"), [("arrays are written", 14), ("between example.json and rows", 1)])
def test_a_workdir_that_vanishes(tmp_path, moment, nth):
    place = scenarios.prepare(NAME, tmp_path / "run")
    refusal(place.finish({"moment": moment, "nth": nth, "then": "vanish"}), place)
    assert not list(place.workdir.rglob("rows.jsonl")) and not list(place.workdir.rglob("seal.json"))
