"""digits: the digits on a canvas, in an order that is asked for; each order is a row of `ORDERS`.

    left     from left to right
    size     from the smallest to the largest; no two are of a size
    query    three outputs: the digit that is asked for, shown in a box at the left; the same on the canvas, in another hand; the digit
             left of it. No two on the canvas are of a class, and the one that is asked for is not the leftmost

`length` counts the digits on the canvas, the box aside.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, choose, validate
from attention_jax.data.signals import canvas
from attention_jax.data.signals.canvas import Layout
from attention_jax.data.signals.mnist import CLASSES, Digits
from attention_jax.data.signals.scenes import Scenes, Task, sizes_of, spoken
from attention_jax.system.errors import ConfigError
from attention_jax.types import FIRST_SYMBOL

WORDS = tuple(map(str, range(CLASSES)))
MARGIN = 4  # columns between the box and what is right of it


class Order(NamedTuple):
    """An order: read(rng, layout, label_NxK) → for each output the number of the thing that it names, place_NxT, −1 behind the last."""

    read: Callable
    outputs: Callable[[int], int]  # length → number of outputs
    guessed: Callable[[int], float]  # length → probability that guesses which know these rules, and nothing of the canvas, are all right
    fewest: int = 1
    other_sizes: bool = False  # no two digits of a canvas have the same size
    other_classes: bool = False  # no two digits of a canvas show the same
    asks: bool = False  # the last thing of a layout is what is asked for, in its box
    repeats: tuple[int, ...] = ()  # outputs that name the digit of the one before, so that they need no look


def by_place(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """Reads from left to right."""
    return np.where(layout.real_NxK, np.arange(layout.real_NxK.shape[1])[None], -1)


def by_size(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """Reads from the smallest to the largest."""
    order_NxK = np.argsort(np.where(layout.real_NxK, layout.size_NxK, np.iinfo(np.int64).max), axis=1, kind="stable")
    return np.where(np.arange(order_NxK.shape[1])[None] < layout.real_NxK.sum(1, keepdims=True), order_NxK, -1)


def asked(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """Reads what is asked for, the same on the canvas, and what is left of it."""
    count_N = layout.real_NxK[:, :-1].sum(1)
    at_N = 1 + np.floor(rng.random(len(count_N)) * (count_N - 1)).astype(np.int64)
    return np.stack([np.full_like(at_N, layout.real_NxK.shape[1] - 1), at_N, at_N - 1], axis=1)


ORDERS = {
    "left": Order(by_place, lambda length: length, lambda length: CLASSES**-length),
    "size": Order(by_size, lambda length: length, lambda length: CLASSES**-length, other_sizes=True),
    "query": Order(
        asked, lambda length: 3, lambda length: 1 / (CLASSES * (CLASSES - 1)), fewest=2, other_classes=True, asks=True, repeats=(1,)
    ),
}


def task(config: Config) -> Task:
    """Makes the task of `signal.order`. Raises `ConfigError` for lengths that the order, or the canvas, has no room for."""
    signal, data = validate(config).signal, config.data
    order = ORDERS[choose("signal.order", signal.order, ORDERS)]
    longest = max(data.longest, *data.eval_lengths)
    size_K = sizes_of(signal, longest)
    first = signal.largest + 2 * MARGIN if order.asks else 0
    if min(data.shortest, *data.eval_lengths) < order.fewest:
        raise ConfigError(f"data.shortest={data.shortest}: signal.order={signal.order} needs {order.fewest} digits or more on each canvas")
    if order.other_classes and longest > CLASSES:
        raise ConfigError(f"signal.order={signal.order} has no two digits of a class, and lengths of up to {longest}; at most {CLASSES}")
    if order.other_sizes and len(set(size_K)) < longest:
        raise ConfigError(f"signal.order={signal.order} has no two digits of a size: signal.smallest to signal.largest are too few")
    widest = sum(sorted(size_K)[-longest:]) if order.other_sizes else longest * size_K[-1]
    if first + widest > signal.widths[0]:
        raise ConfigError(f"signal.widths={signal.widths} has no room for {longest} digits of up to {signal.largest} pixels")

    def draw(rng: np.random.Generator, digits: Digits, count_N: np.ndarray, K: int, width: int) -> Scenes:
        layout = laid(rng, digits, count_N, K, width, order, np.array(size_K), first, signal.height)
        place_NxT = order.read(rng, layout)
        if order.asks:
            label_N = digits.label_N[np.take_along_axis(layout.image_NxK, place_NxT[:, 1:2], 1)[:, 0]]
            layout.image_NxK[:, -1] = of_classes(rng, digits, label_N)
        return spoken(layout, place_NxT, FIRST_SYMBOL + digits.label_N[layout.image_NxK])

    return Task(WORDS, draw, lambda length: order.outputs(length) + 1)


def laid(
    rng: np.random.Generator,
    digits: Digits,
    count_N: np.ndarray,
    K: int,
    width: int,
    order: Order,
    size_K: np.ndarray,
    first: int,
    height: int,
) -> Layout:
    """Draws N layouts of count_N digits, K at most, and room for the box behind them where the order asks."""
    N = len(count_N)
    real_NxK = np.arange(K)[None] < count_N[:, None]
    if order.other_sizes:
        size_NxK = size_K[np.argsort(rng.random((N, len(size_K))), axis=1)[:, :K]]
    else:
        size_NxK = size_K[rng.integers(0, len(size_K), (N, K))]
    if order.other_classes:
        class_NxK = np.argsort(rng.random((N, CLASSES)), axis=1)[:, :K]
        image_NxK = of_classes(rng, digits, class_NxK)
    else:
        image_NxK = rng.integers(0, len(digits.label_N), (N, K))
    left_NxK = canvas.placed(rng, size_NxK, real_NxK, first, width)
    top_NxK = np.floor(rng.random((N, K)) * (height - size_NxK + 1)).astype(np.int64)
    layout = Layout(image_NxK, size_NxK, top_NxK, left_NxK, real_NxK)
    if not order.asks:
        return layout
    size = int(size_K[-1])
    box = 0, size, (height - size) // 2, MARGIN, True
    return Layout(*(np.pad(of, ((0, 0), (0, 1)), constant_values=value) for of, value in zip(layout, box, strict=True)))


def of_classes(rng: np.random.Generator, digits: Digits, class_x: np.ndarray) -> np.ndarray:
    """Draws for each class an image that shows it."""
    members = [digits.of_class(digit) for digit in range(CLASSES)]
    count = np.array(list(map(len, members)))
    start = np.cumsum(count) - count
    number_x = np.floor(rng.random(class_x.shape) * count[class_x]).astype(np.int64)
    return np.concatenate(members)[start[class_x] + number_x]
