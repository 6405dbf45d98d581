"""Figures of attention weights: heat maps of alignments, and images or fields with weights over them.

Alignments are drawn as in figure 3 of Bahdanau, Cho and Bengio (2015), weights over images as in the figures of Xu et al. (2015).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attention_jax.data.corpora.links import Links
from attention_jax.report import figures
from attention_jax.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 120
"""Tokens along an axis that are all named; of more, every second, third, … is."""

FRAME_X, FRAME_Y = np.array([[-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1]]) * 0.42
"""Corners of the frame around a gold link."""

NO_ALIGNMENT = "no alignment:\nthis arm looks at\none fixed vector"


class Panel(NamedTuple):
    """One alignment: rows are outputs, columns inputs, a row's weights sum to one. None: the arm has no weights to show.

    Places of `gold` links are framed: sure ones by a line, possible ones by dots.
    """

    title: str
    weights_TxS: np.ndarray | None
    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    gold: Links | None = None
    image: np.ndarray | None = None  # YxX, of which the inputs are patches row by row; None: inputs are tokens


def alignment(weights_TxS: np.ndarray | None, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str) -> Figure:
    """Draws one alignment as a heat map; without weights an empty panel that says so."""
    return alignments([Panel(title, weights_TxS, source_tokens, target_tokens)])


def alignments(panels: Sequence[Panel], title: str = "") -> Figure:
    """Draws one heat map per arm, side by side; an arm without weights gets an empty panel that says so.

    White is 0 and dark 1 or, where no weight is above a half, the largest of all panels: weights that are nearly even are seen as well.
    """
    if not panels:
        raise DataError("no alignment to draw: there is no arm")
    inputs = max(1, *(len(panel.source_tokens) for panel in panels))
    outputs = max(1, *(len(panel.target_tokens) for panel in panels))
    columns = min(len(panels), max(1, 66 // max(22, inputs)))  # as many as stay readable
    rows = -(-len(panels) // columns)
    left = 0.5 + max((_inches(token) for panel in panels for token in panel.target_tokens), default=0)
    above = 0.9 + max((_inches(token) for panel in panels for token in panel.source_tokens), default=0)
    cell = min(0.3, (10.5 / columns - left) / inputs, 24 / outputs)
    size = ((max(inputs * cell, 1.8) + left) * columns + 0.7, (max(outputs * cell, 1.8) + above) * rows + (0.4 if title else 0))
    with figures.styled():
        figure = figures.empty(size)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]  # constrained, by `empty`
        places = figure.subplots(rows, columns, squeeze=False)
        images, largest = [], _largest(panels)
        for axes, panel in itertools.zip_longest(places.flat, panels):
            if panel is None:
                axes.set_visible(False)
            elif (image := _panel(axes, panel, cell, largest)) is not None:
                images.append(image)
        for axes in places[:, 0]:
            axes.set_ylabel("output", color=figures.GREY)
        if images:
            ticks = 0, largest / 2, largest
            bar = figure.colorbar(
                images[0], ax=list(places[0]), fraction=0.04, shrink=0.7, pad=0.01, ticks=ticks, format="%.2g", panchor=False
            )
            bar.outline.set_visible(False)
            bar.set_label("weight", size=9, color=figures.GREY)
        if title:
            figure.suptitle(figures.printable(title, 100), x=0.01, ha="left", weight="bold", size=11.5)
        return figures.settled(figure)


def overlay(image: np.ndarray, weights: np.ndarray | None, words: Sequence[str], title: str = "") -> Figure:
    """Draws the image, then its weights for each output: a panel per word, named with the word and its largest weight.

    `image` is YxX (grey), YxXx1, YxXx3 or YxXx4, or YxX text: a field of symbols. `weights` are TxYxX, of coarser places than pixels as
    a rule, or TxP with P places row by row in the image's proportions. A picture is dark where weights are small, the
    places upsampled and smoothed by a Gaussian; the cells of a field are blue where weights are large. Each panel is scaled to its own
    largest weight. Without weights (None) a panel says so. Raises `DataError` for shapes that do not fit.
    """
    image = _drawable(image, title)
    weights_TxYxX = np.zeros((0, 1, 1)) if weights is None else _places(np.asarray(weights, float), image, words, title)
    Y, X = image.shape[:2]
    panels = 2 if weights is None else 1 + len(words)
    columns = min(panels, 6)
    draw, width = (_field, max(1.2, 0.19 * X)) if image.dtype.kind == "U" else (_picture, 1.75 * min(1.0, X / Y))
    height, rows = width * Y / X, -(-panels // columns)
    with figures.styled():
        figure = figures.empty((columns * (width + 0.15) + 0.2, rows * (height + 0.4) + (0.4 if title else 0)))
        first, *others = figure.subplots(rows, columns, squeeze=False).flat
        for axes in (first, *others):
            axes.set_axis_off()
        draw(first, image, None)
        first.set_title("input", size=9, color=figures.GREY, weight="normal")
        if weights is None:
            _write_none(others[0])
        for axes, word, weights_YxX in zip(others, words, weights_TxYxX, strict=False):
            draw(axes, image, weights_YxX / (weights_YxX.max() or 1))
            axes.set_title(f"{figures.printable(word)}  {weights_YxX.max():.2f}", size=9, weight="normal")
        if title:
            figure.suptitle(figures.printable(title, 100), x=0.01, ha="left", weight="bold", size=11.5)
        return figures.settled(figure)


def _largest(panels: Sequence[Panel]) -> float:
    """The weight that is drawn dark: 1, or the largest there is where that is no more than a half."""
    found = [float(np.max(panel.weights_TxS, initial=0)) for panel in panels if panel.weights_TxS is not None]
    largest = max(filter(np.isfinite, found), default=0.0)
    return largest if 0 < largest <= 0.5 else 1.0


def _panel(axes: Axes, panel: Panel, cell: float, largest: float):
    """Draws one alignment; returns its image, or None for an empty panel."""
    shape = (len(panel.target_tokens), len(panel.source_tokens))
    axes.set_title(figures.printable(panel.title, 60), pad=8)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#c8d0d8")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=min(9, 72 * cell * 0.72))
    above, beside = (-(-len(tokens) // MOST_LABELS) or 1 for tokens in (panel.source_tokens, panel.target_tokens))
    axes.set_xticks(range(0, shape[1], above), [figures.printable(token) for token in panel.source_tokens[::above]])
    axes.set_yticks(range(0, shape[0], beside), [figures.printable(token) for token in panel.target_tokens[::beside]])
    long = [len(token) > 2 for token in panel.source_tokens[::above]]
    for label, turned in zip(axes.get_xticklabels(), long, strict=True):
        label.set_rotation(90 if turned or 2 * sum(long) > len(long) else 0)
    axes.set_xlabel("input", color=figures.GREY)
    axes.xaxis.set_label_position("top")
    axes.set_xlim(-0.5, max(shape[1], 1) - 0.5)
    axes.set_ylim(max(shape[0], 1) - 0.5, -0.5)
    axes.set_aspect("equal", anchor="N")
    if panel.weights_TxS is None:
        axes.set_facecolor("#f6f8fa")
        _write_none(axes, linespacing=1.5)
        return None
    weights_TxS = np.asarray(panel.weights_TxS, float)
    if weights_TxS.shape != shape:
        raise DataError(f"{panel.title}: weights are {weights_TxS.shape}, but there are {shape[0]} output and {shape[1]} input tokens")
    gold = panel.gold or Links(frozenset(), frozenset())
    for s, t in sorted(gold.possible):
        line = "-" if (s, t) in gold.sure else ":"
        axes.plot(s + FRAME_X, t + FRAME_Y, line, color="#d1495b", linewidth=1.2, solid_joinstyle="miter")
    return axes.imshow(weights_TxS, cmap="Blues", vmin=0, vmax=largest, interpolation="none")


def _write_none(axes: Axes, linespacing: float | None = None) -> None:
    """Writes into an empty panel that its arm has no weights."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "size": 9.5, "color": figures.GREY, "linespacing": linespacing}
    axes.text(0.5, 0.5, NO_ALIGNMENT, transform=axes.transAxes, **style)


def _drawable(image: np.ndarray, title: str) -> np.ndarray:
    """Returns an image as numbers or text; raises `DataError` for a shape that is no image's."""
    image = np.asarray(image)
    if image.dtype.kind not in "biu":
        image = image.astype(str if image.dtype.kind in "OU" else float)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or not image.size:
        raise DataError(f"{title or 'overlay'}: an image of shape {image.shape} cannot be drawn; valid: YxX, YxXx1, YxXx3, YxXx4")
    return image


def _places(weights: np.ndarray, image: np.ndarray, words: Sequence[str], title: str) -> np.ndarray:
    """Reshapes weights of each word, TxP or TxYxX, to TxYxX in the image's proportions; raises `DataError` where they do not fit."""
    Y, X = image.shape[:2]
    if weights.ndim != 3:
        P = weights.shape[-1]
        rows = round((P * Y / X) ** 0.5) if weights.ndim == 2 else 0
        if not rows or P % rows or rows * rows * X != P * Y:
            wanted = f"are no places of a {Y} x {X} image; valid: output x row x column"
            raise DataError(f"{title or 'overlay'}: weights {weights.shape} {wanted}")
        weights = weights.reshape(len(weights), rows, P // rows)
    if len(weights) != len(words):
        raise DataError(f"{title or 'overlay'}: there are weights of {len(weights)} outputs, but {len(words)} words")
    return weights


def _picture(axes: Axes, image: np.ndarray, shares_YxX: np.ndarray | None) -> None:
    """Draws an image, dark where shares are small."""
    extent = (0, image.shape[1], image.shape[0], 0)
    axes.imshow(image, cmap="gray", extent=extent, interpolation="nearest")
    if shares_YxX is not None:
        shade_YxXx4 = np.zeros((*shares_YxX.shape, 4))
        shade_YxXx4[:, :, 3] = 0.8 * (1 - shares_YxX)
        axes.imshow(shade_YxXx4, extent=extent, interpolation="gaussian")


def _field(axes: Axes, symbols_YxX: np.ndarray, shares_YxX: np.ndarray | None) -> None:
    """Draws symbols in their cells, blue where shares are large. A symbol of more than half the cells is pale, and in the input only."""
    Y, X = symbols_YxX.shape
    is_input, shares_YxX = shares_YxX is None, np.zeros((1, 1)) if shares_YxX is None else shares_YxX
    axes.imshow(shares_YxX, cmap="Blues", vmin=0, vmax=1, extent=(0, X, Y, 0), interpolation="nearest")
    symbols, counts = np.unique(symbols_YxX, return_counts=True)
    background = symbols[counts.argmax()] if 2 * counts.max() > symbols_YxX.size else None
    for (y, x), symbol in np.ndenumerate(symbols_YxX):
        if symbol == background and not is_input:
            continue
        dark = shares_YxX[y * shares_YxX.shape[0] // Y, x * shares_YxX.shape[1] // X] > 0.6
        colour = "white" if dark else "#b8c0c8" if symbol == background else figures.INK
        axes.text(x + 0.5, y + 0.5, figures.printable(str(symbol), 3), ha="center", va="center", size=7, color=colour, in_layout=False)


def _inches(token: str) -> float:
    """Returns the approximate length of a tick label."""
    return 0.08 * len(figures.printable(token))
