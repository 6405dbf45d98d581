"""A decoder looking, for a lecture: inputs above, outputs below as they are said, lines from each to what it attends to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures import looks
from attention_jax.report.figures.looks import Panel
from attention_jax.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECONDS = 20.0
MOST_TOKENS = 40
"""Tokens on a side that a frame has room for."""

DOTS = 120
"""Dots per inch of a frame for a page."""

SLIDE = (1280, 720)
"""Dots that a frame for a slide has at least, across and down."""

BLUE, PAST = "#0072b2", "#c3cfd9"
INPUTS, OUTPUTS = 0.88, 0.12  # heights of the two rows
FAINTEST = 0.02  # lines of smaller weights are not drawn


def looking(panel: Panel, seconds: float = SECONDS) -> bytes:
    """Returns a GIF that lasts so long, and then begins anew: a frame without an output, one for each, and the last once more.

    Raises `DataError` for more tokens on a side than fit, and for an output without tokens.
    """
    S, T = len(panel.source_tokens), len(panel.target_tokens)
    if not T or max(S, T) > MOST_TOKENS:
        raise DataError(f"{panel.title}: {S} inputs and {T} outputs; an animation has 1 to {MOST_TOKENS} of each")
    from matplotlib.animation import PillowWriter

    with figures.styled(), tempfile.TemporaryDirectory() as folder:
        drawn = figures.empty((min(12.8, 2.0 + 0.75 * max(S, T)), 4.2))
        axes = drawn.subplots()
        writer = PillowWriter(fps=(T + 2) / seconds)  # pyright: ignore[reportArgumentType]  # it need not be whole
        path = Path(folder) / "looking.gif"
        with writer.saving(drawn, str(path), dpi=_dots(drawn)):
            for said in (*range(T + 1), T):
                frame(axes, panel, said)
                writer.grab_frame(facecolor="white")
        return path.read_bytes()


def _dots(drawn: Figure) -> float:
    """Returns the dots per inch of a frame: a slide is shown on a whole screen."""
    if figures.scale() == 1:
        return DOTS
    return max(most / inches for most, inches in zip(SLIDE, drawn.get_size_inches(), strict=True))


def frame(axes: Axes, panel: Panel, said: int) -> None:
    """Draws a panel after so many outputs: lines of the last one are dark, those of the others pale, both as wide as their weights."""
    axes.clear()
    axes.set_axis_off()
    S, T = len(panel.source_tokens), len(panel.target_tokens)
    inputs, outputs = ((np.arange(count) + 0.5) / count for count in (S, T))
    left = -0.65 * axes.figure.dpi / axes.figure.bbox.width  # room for the names of the rows, in inches of the figure's
    axes.set(xlim=(left, 1), ylim=(-0.15, 1.15))
    axes.text(left, 1.14, figures.printable(panel.title, 60), weight="bold", va="top")
    for y, row in ((INPUTS, "input"), (OUTPUTS, "output")):
        axes.text(left, y, row, va="center", color=figures.GREY)
    weights_TxS = np.zeros((T, S)) if panel.weights_TxS is None else np.asarray(panel.weights_TxS, float)
    for t in range(said):
        is_last = t == said - 1
        for s in np.flatnonzero(weights_TxS[t] > FAINTEST):
            style = {"color": BLUE if is_last else PAST, "linewidth": 6 * min(1.0, weights_TxS[t, s]), "zorder": 2 + is_last}
            axes.plot([inputs[s], outputs[t]], [INPUTS - 0.08, OUTPUTS + 0.08], solid_capstyle="round", **style)
    seen_S = weights_TxS[said - 1] if said else np.zeros(S)
    for s, token in enumerate(panel.source_tokens):
        _token(axes, inputs[s], INPUTS, token, float(seen_S[s]))
    for t, token in enumerate(panel.target_tokens[:said]):
        _token(axes, outputs[t], OUTPUTS, token, float(t == said - 1))
    if panel.weights_TxS is None:
        axes.text(0.5, 0.5, looks.NO_ALIGNMENT.replace("\n", " "), ha="center", va="center", color=figures.GREY)


def _token(axes: Axes, x: float, y: float, token: str, share: float) -> None:
    """Writes a token in a box, white at share 0 and dark at 1."""
    shade = [1 - min(1.0, share) * (1 - channel) for channel in (0.0, 0.447, 0.698)]
    box = {"boxstyle": "round,pad=0.3", "facecolor": shade, "edgecolor": figures.GREY}
    axes.text(
        x, y, figures.printable(token, 12), ha="center", va="center", color="white" if share > 0.7 else figures.INK, bbox=box, zorder=5
    )
