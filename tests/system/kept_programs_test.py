"""Compiled programs on disk: what was damaged there is compiled anew, and neither ends a process nor is warned about each time."""

import os
import zlib
from pathlib import Path

import pytest

from attention_jax.system import kept_programs, machine
from tests.system.machine_test import prepare

PACKED = kept_programs.ZSTANDARD + bytes(40)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*-cache"))


def flip(file: Path, keep_time: bool = False) -> None:
    """One bit in the middle."""
    content, before = bytearray(file.read_bytes()), file.stat()
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    if keep_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.long
def test_a_program_with_a_flipped_bit_is_made_again(tmp_path):
    expected, folder = (f"{machine.cores()} 2.0", ""), tmp_path / "compiled"
    assert prepare(tmp_path) == expected
    names = entries(folder)
    assert kept_programs._known(folder).keys() == set(names)
    for name in names:
        flip(folder / name)
    kept_programs.drop_damaged(folder)
    assert entries(folder) == []
    assert prepare(tmp_path) == expected and entries(folder) == names


def test_a_bit_that_a_disk_lost_is_found_after_a_process_ended_without_a_word(tmp_path):
    kept_programs.watch(tmp_path)
    entry = tmp_path / "a-cache"
    entry.write_bytes(PACKED)
    kept_programs._write(tmp_path, entry, PACKED)
    flip(entry, keep_time=True)
    kept_programs.leave(tmp_path)
    kept_programs.drop_damaged(tmp_path)
    assert entries(tmp_path) == ["a-cache"], "nobody looks again at what is as old as it was"
    (tmp_path / kept_programs.MARK).touch()
    kept_programs.drop_damaged(tmp_path)
    assert entries(tmp_path) == []


@pytest.mark.parametrize(("ours", "stay"), [(True, ["whole-cache"]), (False, ["unknown-cache", "whole-cache"])])
def test_without_a_checksum_it_is_unpacked_or_goes(tmp_path, ours, stay):
    content = {"whole": zlib.compress(b"a program"), "torn": zlib.compress(b"a program")[:9], "unknown": PACKED}
    for name, packed in content.items():
        (tmp_path / f"{name}-cache").write_bytes(packed)
    kept_programs.drop_damaged(tmp_path, ours)
    assert entries(tmp_path) == stay


def test_a_list_that_is_damaged_costs_programs_at_most(tmp_path):
    (tmp_path / "a-cache").write_bytes(PACKED)
    for list_of in (b"\0\xff" * 100, b"a-cache x 1 2\n", b"a-cache\n"):
        (tmp_path / "a-cache").write_bytes(PACKED)
        (tmp_path / kept_programs.FILE).write_bytes(list_of)
        kept_programs.drop_damaged(tmp_path)
        assert entries(tmp_path) == []
    kept_programs.drop_damaged(tmp_path / "nowhere")
