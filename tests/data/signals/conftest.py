"""A small MNIST: files such as the publisher's, whose splits can be told apart by how bright their images are."""

import gzip
import hashlib

import numpy as np
import pytest

from attention_jax.data.signals import mnist

BRIGHT = {"train": 100, "validation": 150, "test": 200}
"""{split: the brightest pixel of its images}."""


def idx(array: np.ndarray) -> bytes:
    """The content of an idx file."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """Folder with four files, and their hashes as `mnist.FILES` has them: 60 images of training, the last 30 of validation, 20 of test."""
    folder, rng = tmp_path_factory.mktemp("digits") / "mnist", np.random.default_rng(0)
    folder.mkdir()
    hashes = {}
    for names, count, bright in ((list(mnist.FILES)[:2], 60, (100, 150)), (list(mnist.FILES)[2:], 20, (200, 200))):
        image_NxYxX = np.zeros((count, 28, 28))
        label_N = np.arange(count) % 10
        for n in range(count):
            blocks = rng.integers(0, 2, (5, 5))
            blocks[2, 2] = 1
            image_NxYxX[n, 4:24, 4:24] = np.kron(blocks, np.ones((4, 4))) * bright[n >= count // 2]
        for name, array in zip(names, (image_NxYxX, label_N), strict=True):
            content = idx(array)
            (folder / name).write_bytes(gzip.compress(content))
            hashes[name] = hashlib.sha256(content).hexdigest()
    return folder.parent, hashes


@pytest.fixture
def digits_dir(small_mnist, monkeypatch):
    """Data folder of the small MNIST, which is read in the place of the real one."""
    folder, hashes = small_mnist
    monkeypatch.setattr(mnist, "FILES", hashes)
    return folder
