"""Figures of a power law: values against a size, both axes logarithmic, in two units side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.capacities import Line
from attention_jax.report.figures.colours import shades
from attention_jax.report.figures.curves import End, name_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.06  # between names at the ends of lines, in heights of the axes
ENDS = {"exact": "full", "at_least": "top", "below": "bottom"}
"""Which part of a marker is filled, by bound: a lower bound's upper half, since the value lies above it."""


def two(left: Sequence[Line], right: Sequence[Line], title: str, units: tuple[str, str]) -> Figure:
    """Draws the lines of one unit beside those of another, against the length; a bar is the 95 % interval over seeds.

    Every line is named at its right end. A half-filled marker is a bound: the value lies on the filled side. The line goes through exact
    values alone.
    """
    with figures.styled():
        figure = figures.empty((10.4, 4.6))
        for axes, lines, unit in zip(figure.subplots(1, 2), (left, right), units, strict=True):
            _draw(axes, lines)
            axes.set(xlabel="L, symbols", ylabel=f"{unit} (half-filled: a bound)")
        figure.axes[0].set_title(title)
        return figures.settled(figure)


def _draw(axes: Axes, lines: Sequence[Line]) -> None:
    """Draws lines with intervals and names; each has a marker of its own, so that grey is enough."""
    from matplotlib.ticker import LogLocator, NullFormatter

    looks = shades({line.label: line.arm for line in lines})
    for line in lines:
        colour, marker, dashes = looks[line.label]
        exact = {x: value for x, (value, _, _, bound) in sorted(line.points.items()) if bound == "exact"}
        axes.plot(list(exact), list(exact.values()), color=colour, lw=1.6, ls=dashes, zorder=2)
        for x, (value, low, high, bound) in line.points.items():
            if not np.isnan(low):
                axes.plot([x, x], [low, high], color=colour, lw=1.2, zorder=2)
            style: dict[str, Any] = {"fillstyle": ENDS[bound], "mfc": colour, "mfcalt": "white", "mec": colour}
            axes.plot([x], [value], marker, ms=6, zorder=3, **style)
    places = sorted({x for line in lines for x in line.points})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{x:,}" for x in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    _name_ends(axes, lines)


def _name_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """Writes each line's name to the right of the axes, near the height of its last value."""
    low, high = np.log(axes.get_ylim())
    places = [(max(line.points), line.points[max(line.points)][0]) for line in lines]
    ends = [End(line.label, (x, y), (np.log(y) - low) / (high - low), figures.GREY) for line, (x, y) in zip(lines, places, strict=True)]
    name_ends(axes, ends, GAP)
