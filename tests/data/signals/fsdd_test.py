"""The Free Spoken Digit Dataset: what is verified, and that no recording and no speaker leaks from one split to another."""

import zipfile

import numpy as np
import pytest

from attention_jax.data.signals import fsdd
from attention_jax.system.errors import DataError


def test_splits_go_by_the_number_of_a_recording_and_by_who_speaks(spoken_dir, tmp_path):
    splits = fsdd.read(spoken_dir, tmp_path)
    assert {split: len(found) for split, found in splits.items()} == {"train": 40, "validation": 20, "test": 20, "test_speaker": 20}
    for split, found in splits.items():
        for each in found:
            digit, speaker, index = each.name.removesuffix(".wav").split("_")
            assert (int(digit), speaker) == (each.digit, each.speaker)
            expected = "test" if int(index) < 5 else "validation" if int(index) < 10 else "train"
            assert split == ("test_speaker" if speaker == fsdd.HELD_OUT else expected)


def test_no_recording_is_in_two_splits_nor_twice_and_the_held_out_speaker_in_no_other(data_dir, tmp_path):
    """By content, of the published files."""
    splits = fsdd.read(data_dir, tmp_path)
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 2000,
        "validation": 250,
        "test": 250,
        "test_speaker": 500,
    }
    every = [each.samples_L.tobytes() for found in splits.values() for each in found]
    assert len(set(every)) == len(every) == 3000
    speakers = {split: {each.speaker for each in found} for split, found in splits.items()}
    assert speakers["test_speaker"] == {fsdd.HELD_OUT} and len(speakers["train"]) == 5
    assert speakers["train"] == speakers["validation"] == speakers["test"] and fsdd.HELD_OUT not in speakers["train"]
    for found in splits.values():
        assert len(set(np.bincount([each.digit for each in found]).tolist())) == 1  # every digit as often
    seconds = sum(len(each.samples_L) for found in splits.values() for each in found) / fsdd.RATE
    assert 1312 < seconds < 1313


@pytest.mark.parametrize("change, said", [("remove", "is missing; get it from https://"), ("other", "has other content than expected")])
def test_other_files_are_refused(spoken_dir, tmp_path, change, said):
    (tmp_path / "fsdd").mkdir()
    if change == "other":
        with (
            zipfile.ZipFile(spoken_dir / "fsdd" / fsdd.FILE) as archive,
            zipfile.ZipFile(tmp_path / "fsdd" / fsdd.FILE, "w") as changed,
        ):
            for name in archive.namelist()[:-1]:
                changed.writestr(name, archive.read(name))
    with pytest.raises(DataError, match=said):
        fsdd.read(tmp_path, tmp_path)
