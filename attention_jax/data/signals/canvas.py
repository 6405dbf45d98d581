"""Canvases: images of digits, resized and put side by side without overlap, among fragments of others; then patches of them.

A canvas is black, 0, and what is put on it white, up to 255. Digits stand in distinct columns, from left to right, each at any height,
and in front of the clutter: the square of a digit hides it, so that no piece touches what is written.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from attention_jax.data.signals.mnist import SIDE, Digits

FRAGMENT = 8  # rows and columns of a piece of clutter
WHITE = 4.0  # what a white pixel of a canvas is to a model; black is 0, and numbers vary by about one


class Layout(NamedTuple):
    """What stands where on N canvases, K things at most; of those that are not `real` nothing holds. Sizes and places are in pixels."""

    image_NxK: np.ndarray  # number of the image in its split
    size_NxK: np.ndarray
    top_NxK: np.ndarray
    left_NxK: np.ndarray
    real_NxK: np.ndarray

    @property
    def box_NxKx4(self) -> np.ndarray:
        """Top, left, bottom, right."""
        ends = self.top_NxK, self.left_NxK, self.top_NxK + self.size_NxK, self.left_NxK + self.size_NxK
        return np.stack(ends, axis=2).astype(np.float32)


def placed(rng: np.random.Generator, size_NxK: np.ndarray, real_NxK: np.ndarray, first: int, width: int) -> np.ndarray:
    """Draws left_NxK: real things from left to right within columns first … width − 1, none over another.

    They must fit: Σ size ≤ width − first. What is left of the width is cut at uniform places.
    """
    taken_NxK = np.where(real_NxK, size_NxK, 0)
    free_Nx1 = width - first - taken_NxK.sum(1, keepdims=True)
    cut_NxK = np.sort(np.where(real_NxK, rng.random(size_NxK.shape), 1), axis=1)
    before_NxK = np.cumsum(taken_NxK, axis=1) - taken_NxK
    return first + before_NxK + np.floor(cut_NxK * (free_Nx1 + 1)).astype(np.int64).clip(max=free_Nx1)


@cache
def scaling(size: int) -> np.ndarray:
    """Returns the map of `SIDE` numbers to `size` by a triangle filter, as wide as an output pixel is where there are fewer."""
    scale = SIDE / size
    centre_Ix1 = (np.arange(size)[:, None] + 0.5) * scale
    distance_IxJ = np.abs(np.arange(SIDE)[None] + 0.5 - centre_Ix1) / max(scale, 1)
    weight_IxJ = np.maximum(0, 1 - distance_IxJ)
    return (weight_IxJ / weight_IxJ.sum(1, keepdims=True)).astype(np.float32)


def resized(image_NxYxX: np.ndarray, size: int) -> np.ndarray:
    """Resizes images of `SIDE` x `SIDE` to size x size, as bytes."""
    along = scaling(size)
    return np.clip(np.rint(along @ image_NxYxX.astype(np.float32) @ along.T), 0, 255).astype(np.uint8)


def painted(rng: np.random.Generator, digits: Digits, layout: Layout, clutter: int, height: int, width: int) -> np.ndarray:
    """Paints canvases_NxYxX, bytes: the things of a layout, and on each `clutter` fragments of images of the same split, anywhere."""
    N = len(layout.image_NxK)
    canvas_NxYxX = np.zeros((N, height, width), np.uint8)
    _litter(rng, digits, canvas_NxYxX, clutter)
    for size in np.unique(layout.size_NxK[layout.real_NxK]):
        of_size = np.argwhere(layout.real_NxK & (layout.size_NxK == size))
        images = resized(digits.image_NxYxX[layout.image_NxK[tuple(of_size.T)]], int(size))
        for (n, k), image in zip(of_size, images, strict=True):
            top, left = layout.top_NxK[n, k], layout.left_NxK[n, k]
            canvas_NxYxX[n, top : top + size, left : left + size] = image
    return canvas_NxYxX


def _litter(rng: np.random.Generator, digits: Digits, canvas_NxYxX: np.ndarray, clutter: int) -> None:
    N, height, width = canvas_NxYxX.shape
    image_NxC = rng.integers(0, len(digits.label_N), (N, clutter))
    from_NxCx2 = rng.integers(4, SIDE - 4 - FRAGMENT + 1, (N, clutter, 2))  # the rim of an image is black
    to_NxCx2 = rng.integers(0, (height - FRAGMENT + 1, width - FRAGMENT + 1), (N, clutter, 2))
    within = np.arange(FRAGMENT)
    row_NxCxF, column_NxCxF = (from_NxCx2[..., i, None] + within for i in range(2))
    piece_NxCxFxF = digits.image_NxYxX[image_NxC[..., None, None], row_NxCxF[..., None], column_NxCxF[..., None, :]]
    row_NxCxF, column_NxCxF = (to_NxCx2[..., i, None] + within for i in range(2))
    pixel_NxCxFxF = (np.arange(N)[:, None, None] * height + row_NxCxF)[..., None] * width + column_NxCxF[..., None, :]
    flat = canvas_NxYxX.reshape(-1)
    for c in range(clutter):  # pieces of one canvas may lie over each other
        flat[pixel_NxCxFxF[:, c]] = np.maximum(flat[pixel_NxCxFxF[:, c]], piece_NxCxFxF[:, c])


def patches(image_NxYxX: np.ndarray, patch: int) -> np.ndarray:
    """Cuts images into patches_NxSxF of patch x patch pixels, row by row: F = patch²."""
    N, Y, X = image_NxYxX.shape
    # Bytes of a row of a patch are one item, so that they are copied at once.
    run_NxYxX = np.ascontiguousarray(image_NxYxX).view(np.dtype((np.void, patch * image_NxYxX.itemsize)))
    cut = np.ascontiguousarray(run_NxYxX.reshape(N, Y // patch, patch, X // patch).transpose(0, 1, 3, 2))
    return cut.view(image_NxYxX.dtype).reshape(N, (Y // patch) * (X // patch), patch**2).astype(np.float32)
