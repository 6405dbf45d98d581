"""The Free Spoken Digit Dataset: six speakers, ten digits in English, 50 recordings of each, 8,000 samples a second.

    train           recordings 10 to 49 of five speakers, 2,000
    validation      5 to 9 of the same speakers, 250
    test            0 to 4 of the same speakers, 250: the publisher's split
    test_speaker    all 500 of the sixth speaker, `HELD_OUT`, the last one by name, of whom nothing is trained on

No recording is in two splits, nor twice in one, and the sixth speaker is in no other: a test compares their content. Every file is
verified. Jackson and others, version 1.0.10, CC BY-SA 4.0.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.data.corpora import archives, raw
from attention_jax.data.signals import sound
from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites

COMMIT = "d6938f9bf1545aa66d8489fc9f1385a7abd64282"  # tagged v1.0.10
ADDRESS = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
LICENSE = "CC BY-SA 4.0"
SHA256 = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"  # of the listing of all 3,000 recordings
FILE = "free-spoken-digit-dataset.zip"
RATE = 8_000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = "yweweler"
NAME = re.compile(r"(?:.*/)?recordings/(?P<name>(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<index>\d+)\.wav)")
TESTED, VALIDATED = 5, 10  # indices below the first are tested on, below the second validated


class Recording(NamedTuple):
    """A recording: its file's name, who speaks, which digit, and samples_L, full scale ±1."""

    name: str
    speaker: str
    digit: int
    samples_L: np.ndarray


@cites("jackson2018")
def read(data_dir: Path | None, cache_dir: Path) -> dict[str, list[Recording]]:
    """Reads {"train", "validation", "test", "test_speaker"} from `data_dir`, or from a download that `cache_dir` keeps.

    Raises `DataError` for a file that is missing, damaged or not the publisher's.
    """
    return _read(data_dir, Path(cache_dir) / "downloads", SHA256)


@lru_cache(maxsize=1)
def _read(data_dir: Path | None, downloads: Path, sha256: str) -> dict[str, list[Recording]]:
    def unpacked(data: bytes, where: str) -> dict[str, bytes]:
        members = archives.unzip(data, where, lambda path: NAME.fullmatch(path) is not None)
        content = {found["name"]: members[path] for path in members if (found := NAME.fullmatch(path))}
        raw.verify(archives.listing(content), sha256, f"{where} ({len(content)} recordings)", f"get it from {ADDRESS}")
        return content

    splits: dict[str, list[Recording]] = {"train": [], "validation": [], "test": [], "test_speaker": []}
    for name, data in sorted(raw.obtain(raw.Place(data_dir, downloads), "fsdd", FILE, ADDRESS, unpacked).items()):
        digit, speaker, index = Path(name).stem.split("_")
        splits[split_of(speaker, int(index))].append(Recording(name, speaker, int(digit), sound.samples(data, RATE, name)))
    for split, found in splits.items():
        if {recording.digit for recording in found} != set(range(len(WORDS))):
            raise DataError(f"fsdd: {split} has no recordings of all ten digits")
    return splits


def split_of(speaker: str, index: int) -> str:
    """Returns the split of a recording by who speaks and by its number among those of a digit and speaker."""
    if speaker == HELD_OUT:
        return "test_speaker"
    return "test" if index < TESTED else "validation" if index < VALIDATED else "train"
