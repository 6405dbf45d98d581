"""Pictures of docs/gallery.md: where each output looked, with wrong symbols marked; and all mechanisms side by side."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from attention_jax.report import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG = "#cf222e"
WIDTH = 3.9  # inches: a phone's width, so that letters of 12 points are read there
LETTERS = 12  # points
CELL = 0.25  # inches
COLUMNS = 3  # of the overview
NOTHING = "attends\nto nothing"


def pairs(example: dict) -> list[tuple[str | None, str | None]]:
    """(what was written, what was to be written) place by place; None where one of both has ended."""
    return list(zip_longest(example["output"], example["target"]))


def draw(name: str, example: dict) -> Figure:
    """The heat map of an example: its input above, its output on the left; a panel that says so where it attends to nothing."""
    T, S = len(example["output"]), len(example["source"])
    with figures.styled():
        figure = figures.empty((WIDTH, CELL * max(T, 3) + 1.0))
        axes = figure.subplots()
        heat_map(axes, example)
        axes.set_xticks(range(S), example["source"])
        marked = [(ours, ours != theirs) for ours, theirs in pairs(example)][:T]
        axes.set_yticks(range(T), [f"{symbol} ✗" if wrong else symbol for symbol, wrong in marked])
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=LETTERS, pad=4)
        for label, (_, wrong) in zip(axes.get_yticklabels(), marked, strict=True):
            if wrong:
                label.set(color=WRONG, weight="bold")
        axes.set_ylabel("output", size=LETTERS, color=figures.GREY)
        axes.set_title(name, size=LETTERS + 2, pad=6)
        return figures.settled(figure)


def overview(examples: dict[str, dict]) -> Figure:
    """All heat maps, small, by name, without their symbols."""
    rows = -(-len(examples) // COLUMNS)
    with figures.styled():
        figure = figures.empty((WIDTH, 1.5 * rows))
        places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, (name, example) in zip(places, examples.items(), strict=False):
            heat_map(axes, example, letters=9)
            axes.set(xticks=[], yticks=[], aspect="auto")
            axes.set_title(name, size=9, pad=3, weight="normal")
        for axes in places[len(examples) :]:
            axes.set_visible(False)
        return figures.settled(figure)


def heat_map(axes: Axes, example: dict, letters: int = LETTERS) -> None:
    """Weights as squares, white 0 and dark 1 or more; a text where there are none."""
    T, S = len(example["output"]), len(example["source"])
    weights_TxS = np.zeros((T, S)) if example["weights"] is None else np.array(example["weights"])
    axes.imshow(weights_TxS, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    axes.spines[:].set(visible=True, color="#d8dee4")
    if example["weights"] is None:
        axes.text((S - 1) / 2, (T - 1) / 2, NOTHING, ha="center", va="center", size=letters, color=figures.GREY)
