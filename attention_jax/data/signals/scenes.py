"""Scenes: layouts of canvases, with what is said of them and where each word of it stands; painted, they are examples.

A scene is a function of a generator of random numbers, and of the digits of a split.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, SignalConfig
from attention_jax.data.signals import canvas, mnist, own_files
from attention_jax.data.signals.canvas import Layout
from attention_jax.data.signals.examples import Drawn, Examples
from attention_jax.data.signals.mnist import Digits
from attention_jax.types import EOS, PAD


class Scenes(NamedTuple):
    """N scenes: layouts, targets with EOS and padding, and of each target token the pixels that it is said of; −1 where there are none."""

    layout: Layout
    target_NxT: np.ndarray
    box_NxTx4: np.ndarray  # top, left, bottom, right


class Task(NamedTuple):
    """What stands on canvases. draw(rng, digits, count_N, K, width) → `Scenes` of count_N ≤ K digits each, so many pixels wide."""

    words: tuple[str, ...]  # of targets, without the special tokens
    draw: Callable[..., Scenes]
    positions: Callable[[int], int]  # digits on a canvas → target positions, EOS included


def on_canvases(scene: Callable[[Config], Task]) -> Callable[[Config], Drawn]:
    """Returns the row of a signal that is drawn on canvases of MNIST's digits: `signal.widths` pixels wide."""

    def row(config: Config) -> Drawn:
        signal, task = config.signal, scene(config)
        tests = {f"test_{width}" if i else "test": (f"{signal.height}x{width}", width) for i, width in enumerate(signal.widths)}
        draw = partial(painted, signal, task)
        rows, columns = signal.height // signal.patch, signal.widths[0] // signal.patch
        return Drawn(signal.patch**2, task.words, mnist.read, draw, task.positions, tests, rows, rows * columns, partial(read, signal))

    return row


def painted(
    signal: SignalConfig, task: Task, rng: np.random.Generator, digits: Digits, count_N: np.ndarray, longest: int, width: int
) -> Examples:
    """Draws examples of a task on canvases of this width; clutter is as dense on all."""
    scenes = task.draw(rng, digits, count_N, longest, width)
    clutter = round(signal.clutter * width / signal.widths[0])
    canvas_NxYxX = canvas.painted(rng, digits, scenes.layout, clutter, signal.height, width)
    source_NxSxF = features(canvas_NxYxX, signal.patch)
    box_NxTx4 = np.where(scenes.box_NxTx4 < 0, -1, scenes.box_NxTx4 / signal.patch)
    mask_NxS = np.ones(source_NxSxF.shape[:2], bool)
    return Examples(source_NxSxF, mask_NxS, scenes.target_NxT, box_NxTx4, count_N, signal.height // signal.patch)


def features(canvas_NxYxX: np.ndarray, patch: int) -> np.ndarray:
    """Returns the patches_NxSxF of canvases of bytes as a model reads them: black 0, white `canvas.WHITE`."""
    return canvas.patches(canvas_NxYxX, patch) * np.float32(canvas.WHITE / 255)


def read(signal: SignalConfig, data: bytes, where: str) -> np.ndarray:
    """Returns the features_SxF of an image of a canvas, on the scale of those that are drawn; black behind it fills the last patches.

    An image of another height is brought to `signal.height`. Raises `DataError` for what is no image.
    """
    grey_YxX = own_files.grey(signal.height, data, where)
    wide_YxX = np.pad(grey_YxX, ((0, 0), (0, -grey_YxX.shape[1] % signal.patch)))
    return features(wide_YxX[None], signal.patch)[0]


def sizes_of(signal: SignalConfig, steps: int) -> list[int]:
    """Returns so many sizes in pixels, evenly from signal.smallest to signal.largest."""
    return [round(size) for size in np.linspace(signal.smallest, signal.largest, steps).tolist()] if steps > 1 else [signal.largest]


def spoken(layout: Layout, place_NxT: np.ndarray, token_NxK: np.ndarray) -> Scenes:
    """Returns the scenes whose targets name one thing a token: `place_NxT` says which, −1 behind the last, and EOS follows."""
    said_NxT = place_NxT >= 0
    at_NxT = np.maximum(place_NxT, 0)
    target_NxT = np.where(said_NxT, np.take_along_axis(token_NxK, at_NxT, 1), PAD)
    box_NxTx4 = np.where(said_NxT[..., None], np.take_along_axis(layout.box_NxKx4, at_NxT[..., None], 1), -1)
    return ended(layout, target_NxT, box_NxTx4)


def ended(layout: Layout, target_NxT: np.ndarray, box_NxTx4: np.ndarray) -> Scenes:
    """Returns the scenes with EOS behind each target, which is said of nothing."""
    N, T = target_NxT.shape
    count_N = (target_NxT != PAD).sum(1)
    padded_NxT = np.pad(target_NxT, ((0, 0), (0, 1)), constant_values=PAD).astype(np.int32)
    padded_NxT[np.arange(N), count_N] = EOS
    return Scenes(layout, padded_NxT, np.pad(box_NxTx4, ((0, 0), (0, 1), (0, 0)), constant_values=-1).astype(np.float32))
