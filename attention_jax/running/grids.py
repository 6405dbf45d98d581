"""Sources that are images, as examples of them are kept: without the padding behind each row, in the cells that memory vectors stand for.

The places of an image lie row by row, all rows as wide as those of the widest image. An encoder of images makes a memory vector of
side x side places, so that weights need one number for each such cell. Other sources are sequences, real places first.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np

from attention_jax import encoders
from attention_jax.config import ModelConfig
from attention_jax.running.spelling import image


class Grid(NamedTuple):
    """How the places of a source lie: in `rows`, 0 or 1 for a sequence. A memory vector is of side x side places."""

    rows: int
    side: int

    @property
    def is_image(self) -> bool:
        """True where places have rows."""
        return self.rows > 1


def of(config: ModelConfig, rows: int) -> Grid:
    """Returns the grid of sources of so many rows, for the encoder of a model."""
    encoder = encoders.build(config, config.embedding_size)
    return Grid(rows, isqrt(encoder.reduction) if rows > 1 and encoder.squares else 1)


def real(mask_S: np.ndarray, rows: int) -> np.ndarray:
    """Returns the numbers of the real places of a source: of an image those of the columns that it has, row by row."""
    mask_S = np.asarray(mask_S)
    if rows <= 1:
        return np.arange(int(np.flatnonzero(mask_S)[-1]) + 1 if mask_S.any() else 0)
    place_YxX = np.arange(len(mask_S)).reshape(rows, -1)
    return place_YxX[:, mask_S.reshape(rows, -1).any(0)].ravel()


def cells(mask_S: np.ndarray, grid: Grid) -> int:
    """Counts the cells of a source: its real places, where it is a sequence."""
    places = len(real(mask_S, grid.rows))
    if not grid.is_image:
        return places
    return -(-grid.rows // grid.side) * -(-(places // grid.rows) // grid.side)


def celled(weights_TxS: np.ndarray, grid: Grid) -> np.ndarray:
    """Returns weights_TxP of the cells of an image, each the sum over its places; those of a sequence as they are."""
    if not grid.is_image:
        return weights_TxS
    weights_TxYxX = weights_TxS.reshape(len(weights_TxS), grid.rows, -1)
    Y, X, r = *weights_TxYxX.shape[1:], grid.side
    full_TxYxX = np.pad(weights_TxYxX, ((0, 0), (0, -Y % r), (0, -X % r)))
    return full_TxYxX.reshape(len(weights_TxS), -(-Y // r), r, -(-X // r), r).sum((2, 4)).reshape(len(weights_TxS), -1)


def pictured(source_SxF: np.ndarray, grid: Grid) -> np.ndarray | None:
    """Returns the image_YxX of a source, black behind it where that fills the last cells; None of a sequence."""
    if not grid.is_image:
        return None
    image_YxX, side = image(source_SxF, grid.rows), grid.side * isqrt(source_SxF.shape[1])
    return np.pad(image_YxX, [(0, -size % side) for size in image_YxX.shape])
