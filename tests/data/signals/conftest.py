"""Small sets of digits, seen and spoken: files such as the publishers', whose splits can be told apart, by brightness or by a tone."""

import gzip
import hashlib
import io
import zipfile

import numpy as np
import pytest
from scipy.io import wavfile

from attention_jax.data.corpora import archives
from attention_jax.data.signals import fsdd, mnist

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


SPOKEN = {"train": 3700, "validation": 3500, "test": 3300, "test_speaker": 3100}
"""{split: frequency of a tone in each of its recordings, in Hz}."""


def recording(digit: int, split: str, number: int) -> bytes:
    """A WAV file: the tone of a digit, the tone of its split, and a little noise; 0.15 to 0.25 s long."""
    rng = np.random.default_rng((digit, SPOKEN[split], number))
    time_L = np.arange(1200 + int(rng.integers(800))) / fsdd.RATE
    tones_L = sum(np.sin(2 * np.pi * hertz * time_L) for hertz in (300 + 200 * digit, SPOKEN[split]))
    file = io.BytesIO()
    wavfile.write(file, fsdd.RATE, (3000 * (tones_L + rng.normal(0, 0.05, len(time_L)))).astype(np.int16))
    return file.getvalue()


@pytest.fixture(scope="session")
def small_fsdd(tmp_path_factory):
    """Folder with a small set of spoken digits, packed as the publisher's, and the hash of its listing."""
    folder, content = tmp_path_factory.mktemp("spoken") / "fsdd", {}
    folder.mkdir()
    for digit in range(10):
        for speaker, indices in (("ann", (0, 5, 10, 11)), ("bob", (1, 6, 12, 49)), (fsdd.HELD_OUT, (0, 20))):
            for index in indices:
                split = fsdd.split_of(speaker, index)
                content[f"{digit}_{speaker}_{index}.wav"] = recording(digit, split, index + 100 * (speaker == "bob"))
    with zipfile.ZipFile(folder / fsdd.FILE, "w") as archive:
        archive.writestr("digits/README.md", "recordings")
        for name, data in content.items():
            archive.writestr(f"digits/recordings/{name}", data)
    return folder.parent, hashlib.sha256(archives.listing(content)).hexdigest()


@pytest.fixture
def spoken_dir(small_fsdd, monkeypatch):
    """Data folder of the small set of spoken digits, which is read in the place of the real one."""
    folder, sha256 = small_fsdd
    monkeypatch.setattr(fsdd, "SHA256", sha256)
    return folder
