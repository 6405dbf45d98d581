"""MNIST's files: what is verified, and that no image is in two splits."""

import gzip

import numpy as np
import pytest

from attention_jax.data.signals import mnist
from attention_jax.system.errors import DataError
from tests.data.signals.conftest import BRIGHT, idx


def test_splits_are_parts_of_the_files(digits_dir, tmp_path):
    splits = mnist.read(digits_dir, tmp_path)
    assert {split: len(digits.label_N) for split, digits in splits.items()} == {"train": 30, "validation": 30, "test": 20}
    assert {split: int(digits.image_NxYxX.max()) for split, digits in splits.items()} == BRIGHT
    assert splits["train"].of_class(3).tolist() == [3, 13, 23]


def test_no_image_is_in_two_splits_nor_twice_in_one(data_dir, tmp_path):
    """By content, of the published files."""
    splits = mnist.read(data_dir, tmp_path)
    assert [len(splits[split].label_N) for split in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    images = [image.tobytes() for digits in splits.values() for image in digits.image_NxYxX]
    assert len(set(images)) == len(images) == 70_000
    assert all(np.bincount(digits.label_N).min() > 400 for digits in splits.values())


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is no idx file"),
        (b"\0\0\x08\x04" + bytes(16), "is no idx file"),
        (b"\0\0\x0d\x01" + bytes(16), "is no idx file"),
        (idx(np.zeros((2, 3)))[:-1], r"holds 5 bytes of data, and says that its shape is \(2, 3\)"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "holds 0 bytes of data"),
        (b"\0\0\x08\x03\0\0", "holds 0 bytes of data"),
    ],
)
def test_what_is_no_idx_file_is_refused(content, said):
    with pytest.raises(DataError, match=f"^x.gz {said}"):
        mnist.idx(content, "x.gz")


@pytest.mark.parametrize("change, said", [("remove", "is missing; get it from https://"), ("other", "has other content than expected")])
def test_other_files_are_refused(digits_dir, tmp_path, change, said):
    name = next(iter(mnist.FILES))
    (tmp_path / "mnist").mkdir()
    for file in mnist.FILES:
        (tmp_path / "mnist" / file).write_bytes((digits_dir / "mnist" / file).read_bytes())
    if change == "remove":
        (tmp_path / "mnist" / name).unlink()
    else:
        (tmp_path / "mnist" / name).write_bytes(gzip.compress(idx(np.zeros((60, 28, 28)))))
    with pytest.raises(DataError, match=said):
        mnist.read(tmp_path, tmp_path)
