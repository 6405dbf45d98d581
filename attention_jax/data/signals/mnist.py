"""MNIST: images of handwritten digits, 28 x 28, and their labels, read from the publisher's idx files.

    train        the first 55,000 of train-images-idx3-ubyte
    validation   its last 5,000
    test         t10k-images-idx3-ubyte, 10,000

No image is in two splits, nor twice in one: a test compares their content. Files are verified unpacked, since they are offered packed in
more than one way. LeCun, Bottou, Bengio and Haffner 1998.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.data.corpora import archives, raw
from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites

ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist"
LICENSE = "none stated by its authors; MIT for the copies that TFDS and others offer"
SIDE, CLASSES = 28, 10
FILES = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""{file: sha256 of its content, unpacked}."""
VALIDATION = 5000  # images at the end of the training file


class Digits(NamedTuple):
    """Images of one split, 0 black to 255 white, and the digit that each shows."""

    image_NxYxX: np.ndarray
    label_N: np.ndarray

    def of_class(self, digit: int) -> np.ndarray:
        """Returns the numbers of the images that show this digit."""
        return np.flatnonzero(self.label_N == digit)


@cites("lecun1998")
def read(data_dir: Path | None, cache_dir: Path) -> dict[str, Digits]:
    """Reads {"train", "validation", "test"} from `data_dir`, as mnist/<file> or <file>, or from a download that `cache_dir` keeps.

    Raises `DataError` for a file that is missing, damaged or not the publisher's.
    """
    return _read(data_dir, Path(cache_dir) / "downloads", tuple(FILES.items()))


@lru_cache(maxsize=1)
def _read(data_dir: Path | None, downloads: Path, files: tuple[tuple[str, str], ...]) -> dict[str, Digits]:
    place = raw.Place(data_dir, downloads)

    def of(name: str, sha256: str) -> np.ndarray:
        def unpacked(data: bytes, where: str) -> np.ndarray:
            content = raw.verify(archives.gunzip(data, where), sha256, where, f"get it from {ADDRESS}")
            return idx(content, where)

        return raw.obtain(place, "mnist", name, f"{ADDRESS}/{name}", unpacked)

    images, labels, test_images, test_labels = (of(*file) for file in files)
    cut = len(images) - min(VALIDATION, len(images) // 2)
    return {
        "train": _digits(images[:cut], labels[:cut]),
        "validation": _digits(images[cut:], labels[cut:]),
        "test": _digits(test_images, test_labels),
    }


def _digits(image_NxYxX: np.ndarray, label_N: np.ndarray) -> Digits:
    if image_NxYxX.shape != (len(label_N), SIDE, SIDE) or label_N.ndim != 1 or set(label_N.tolist()) != set(range(CLASSES)):
        raise DataError(f"mnist: images {image_NxYxX.shape} and labels {label_N.shape} are no {SIDE} x {SIDE} images of all ten digits")
    return Digits(image_NxYxX, label_N.astype(np.int32))


def idx(content: bytes, where: str) -> np.ndarray:
    """Returns the array of bytes in an idx file: a magic number, sizes, then data in rows. Raises `DataError` for anything else."""
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 3:
        raise DataError(f"{where} is no idx file of bytes of one to three axes")
    head = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, head, 4))
    if len(content) < head or len(content) - head != np.prod(shape, dtype=object):
        raise DataError(f"{where} holds {max(0, len(content) - head)} bytes of data, and says that its shape is {shape}; get it again")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
