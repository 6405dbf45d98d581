"""captions: a sentence on what stands on a canvas, object by object from left to right.

    a small seven above a large two beside a small nine

An object is an article, a size (signal.smallest or signal.largest pixels) and a digit; a preposition says how it stands to the next one on
its right: above or below it by `APART` pixels or more, centre to centre, or beside it, within `LEVEL`. A word of an object is said of the
box of its digit, an article too; a preposition of the boxes of both, and what is between. `length` counts objects.
"""

from functools import partial

import numpy as np

from attention_jax.config import Config, SignalConfig, validate
from attention_jax.data.signals import canvas
from attention_jax.data.signals.canvas import Layout
from attention_jax.data.signals.mnist import Digits
from attention_jax.data.signals.scenes import Scenes, Task, ended
from attention_jax.system.errors import ConfigError
from attention_jax.types import FIRST_SYMBOL, PAD

CLASSES = {
    "article": ("a",),
    "size": ("small", "large"),
    "noun": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "preposition": ("above", "below", "beside"),
}
"""{word class: its words}."""

WORDS = tuple(word for words in CLASSES.values() for word in words)
APART, LEVEL = 12, 3  # pixels
FIRST = {name: FIRST_SYMBOL + WORDS.index(words[0]) for name, words in CLASSES.items()}
"""{word class: the token of its first word}."""


def task(config: Config) -> Task:
    """Makes the task. Raises `ConfigError` for sizes that the canvas has no room for, or that are the same."""
    signal, longest = validate(config).signal, max(config.data.longest, *config.data.eval_lengths)
    if signal.smallest == signal.largest:
        raise ConfigError(f"signal.smallest=signal.largest={signal.largest}: captions tell small from large")
    if signal.height < signal.largest + 2 * APART:
        raise ConfigError(f"signal.height={signal.height} has no room above and below {signal.largest} pixels: at least {2 * APART} more")
    if longest * signal.largest > signal.widths[0]:
        raise ConfigError(f"signal.widths={signal.widths} has no room for {longest} digits of {signal.largest} pixels")
    return Task(WORDS, partial(draw, signal), lambda length: 4 * length)


def draw(signal: SignalConfig, rng: np.random.Generator, digits: Digits, count_N: np.ndarray, K: int, width: int) -> Scenes:
    """Draws scenes and their sentences."""
    N = len(count_N)
    real_NxK = np.arange(K)[None] < count_N[:, None]
    is_large_NxK = rng.integers(0, 2, (N, K))
    size_NxK = np.where(is_large_NxK, signal.largest, signal.smallest)
    image_NxK = rng.integers(0, len(digits.label_N), (N, K))
    left_NxK = canvas.placed(rng, size_NxK, real_NxK, 0, width)
    top_NxK, stands_NxK = stacked(rng, size_NxK, signal.height)
    layout = Layout(image_NxK, size_NxK, top_NxK, left_NxK, real_NxK)
    tokens = {"article": 0, "size": is_large_NxK, "noun": digits.label_N[image_NxK], "preposition": stands_NxK}
    token_NxKx4 = np.stack([np.broadcast_to(FIRST[name] + number, (N, K)) for name, number in tokens.items()], axis=2)
    is_last_NxK = np.arange(K)[None] == count_N[:, None] - 1
    token_NxKx4[~real_NxK] = PAD
    token_NxKx4[is_last_NxK, 3] = PAD
    box_NxKx4 = layout.box_NxKx4
    next_NxKx4 = np.roll(box_NxKx4, -1, axis=1)
    both_NxKx4 = np.concatenate([np.minimum(box_NxKx4, next_NxKx4)[..., :2], np.maximum(box_NxKx4, next_NxKx4)[..., 2:]], axis=2)
    box_NxKx4x4 = np.stack([box_NxKx4] * 3 + [both_NxKx4], axis=2)
    target_NxT = token_NxKx4.reshape(N, 4 * K)[:, :-1]
    box_NxTx4 = np.where((target_NxT != PAD)[..., None], box_NxKx4x4.reshape(N, 4 * K, 4)[:, :-1], -1)
    return ended(layout, target_NxT, box_NxTx4)


def stacked(rng: np.random.Generator, size_NxK: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws (top_NxK, stands_NxK): heights, and how each stands to the next, 0 above, 1 below, 2 beside, of those there is room for."""
    N, K = size_NxK.shape
    top_NxK, stands_NxK = np.zeros((N, K), np.int64), np.zeros((N, K), np.int64)
    top_NxK[:, 0] = np.floor(rng.random(N) * (height - size_NxK[:, 0] + 1))
    for k in range(K - 1):
        centre_N = top_NxK[:, k] + size_NxK[:, k] / 2
        least_N, most_N = size_NxK[:, k + 1] / 2, height - size_NxK[:, k + 1] / 2
        low_Nx3 = np.stack([centre_N + APART, least_N, np.maximum(least_N, centre_N - LEVEL)], axis=1)
        high_Nx3 = np.stack([most_N, centre_N - APART, np.minimum(most_N, centre_N + LEVEL)], axis=1)
        stands_N = np.argmax(np.where(low_Nx3 <= high_Nx3, rng.random((N, 3)), -1), axis=1)
        low_N, high_N = (bound[np.arange(N), stands_N] for bound in (low_Nx3, high_Nx3))
        next_N = low_N + rng.random(N) * (high_N - low_N)
        top_NxK[:, k + 1] = np.where(stands_N == 0, np.ceil(next_N - least_N), np.floor(next_N - least_N)).clip(0, 2 * most_N - height)
        stands_NxK[:, k] = stands_N
    return top_NxK, stands_NxK
