"""A measure by length: a line per arm, with its 95 % band over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attention_jax import figures
from attention_jax.types import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "none": "#6e6e6e",
    "summary": "#d55e00",
    "additive": "#0072b2",
    "dot": "#009e73",
    "general": "#b2528e",
}
"""One colour per arm, the same in every picture; told apart by colour-blind readers (after Okabe and Ito 2008)."""
OTHER_COLOURS = ("#56b4e9", "#a6761d", "#3b3b98", "#e69f00", "#1b4d3e")
MARKERS = "osD^vPX*<>"


def length_curves(
    curves: dict[str, dict[int, tuple]],
    *,
    title: str,
    ylabel: str,
    xlabel: str = "length (payload tokens)",
    trained: tuple[int, int] | None = None,
    faint: dict[str, dict[int, tuple]] | None = None,
    faint_label: str = "at half the budget",
    percent: bool = True,
) -> Figure:
    """One line per arm over lengths, with its 95 % band, named at its right end; `trained` lengths are shaded.

    Intervals begin with (mean, low, high), bounds NaN where there are none; with `percent` they are fractions.
    `faint` holds the same arms in another state (half the budget): thin, dashed, without band.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    faint = faint or {}
    if not any(curves.values()):
        raise DataError("no curve to draw: there are no rows for any arm")
    colours = _colours([*curves, *faint])
    with figures.styled():
        figure = figures.empty((7.6, 4.5))
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for label, curve in faint.items():
            axes.plot(list(curve), [interval[0] for interval in curve.values()], color=colours[label], lw=1, ls=(0, (4, 2.5)), alpha=0.75)
        for (label, curve), marker in zip(curves.items(), itertools.cycle(MARKERS), strict=False):
            means, lows, highs = (np.array([interval[i] for interval in curve.values()], float) for i in range(3))
            axes.fill_between(list(curve), lows, highs, color=colours[label], alpha=0.16, lw=0)
            axes.plot(list(curve), means, color=colours[label], lw=2, marker=marker, ms=4.5, mec="white", mew=0.6, clip_on=False, zorder=3)
        if percent:
            axes.set_ylim(0, 1.0)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        lengths = sorted({length for curve in (*curves.values(), *faint.values()) for length in curve})
        margin = max(0.5, 0.015 * (lengths[-1] - lengths[0]))
        axes.set_xlim(lengths[0] - margin, lengths[-1] + margin)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        if trained:
            _shade(axes, trained)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title, pad=24 if trained else 10)
        _name_ends(axes, {label: curve for label, curve in curves.items() if curve}, colours)
        _key(figure, faint_label if faint else None)
        return figures.settled(figure)


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """The arm's colour for a label that is an arm or begins with one ("summary, lstm"), if not taken; else the next of the others."""
    colours: dict[str, str] = {}
    others = [*OTHER_COLOURS, *COLOURS.values()]
    for label in dict.fromkeys(labels):
        arm = label.replace(",", " ").replace("-", " ").split(" ")[0]
        free = [colour for colour in [COLOURS.get(arm, others[0]), *others] if colour not in colours.values()]
        colours[label] = free[0] if free else others[len(colours) % len(others)]
    return colours


def _shade(axes: Axes, trained: tuple[int, int]) -> None:
    """Shades the trained lengths and names them above the axes."""
    low, high = trained[0] - 0.5, trained[1] + 0.5
    left, right = axes.get_xlim()
    axes.axvspan(low, high, color=figures.PALE, lw=0, zorder=0)
    axes.set_xlim(left, right)
    above = axes.get_xaxis_transform()
    axes.plot(
        [max(low, left), min(high, right)], [1.02, 1.02], color=figures.GREY, lw=2.5, transform=above, clip_on=False, solid_capstyle="butt"
    )
    axes.text(
        max(low, left),
        1.035,
        f"trained lengths {trained[0]}–{trained[1]}",
        transform=above,
        ha="left",
        va="bottom",
        size=9,
        color=figures.GREY,
    )
    if high < right:
        axes.text(right, 1.035, "longer than any trained on", transform=above, ha="right", va="bottom", size=9, color=figures.GREY)


def _name_ends(axes: Axes, curves: dict[str, dict[int, tuple]], colours: dict[str, str]) -> None:
    """Writes each arm's name to the right of its line's end, moved apart where ends are close."""
    bottom, top = axes.get_ylim()
    ends = {label: (curve[max(curve)][0] - bottom) / (top - bottom) for label, curve in curves.items()}
    heights = _apart(list(ends.values()), gap=0.062)
    right = axes.get_xlim()[1]
    for (label, curve), height in zip(curves.items(), heights, strict=True):
        axes.annotate(
            figures.printable(label, 40),
            xy=(max(curve), curve[max(curve)][0]),
            xytext=(right + 0.02 * (right - axes.get_xlim()[0]), bottom + height * (top - bottom)),
            color=colours[label],
            weight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[label], "lw": 0.7, "shrinkA": 2, "shrinkB": 4, "relpos": (0, 0.5)},
        )


def _apart(heights: Sequence[float], gap: float) -> np.ndarray:
    """The closest heights in 0…1, least squares, that keep order and are `gap` apart: isotonic regression by pooling neighbours."""
    order = np.argsort(heights, kind="stable")
    pools: list[list[float]] = []
    for rank, height in enumerate(np.asarray(heights, float)[order]):
        pools.append([height - gap * rank])
        while len(pools) > 1 and np.mean(pools[-2]) >= np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    moved = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    result = np.empty(len(heights))
    result[order] = np.clip(moved, 0, max(0, 1 - gap * (len(heights) - 1))) + gap * np.arange(len(heights))
    return result


def _key(figure: Figure, faint_label: str | None) -> None:
    """Says what lines and bands are, below the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=figures.GREY, lw=2, label="mean over seeds"),
        Patch(color=figures.GREY, alpha=0.25, lw=0, label="95 % interval"),
    ]
    if faint_label:
        handles.append(Line2D([], [], color=figures.GREY, lw=1, ls=(0, (4, 2.5)), label=faint_label))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=figures.GREY)
