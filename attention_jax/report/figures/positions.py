"""Figure of errors by position, and of what a probe reads there beside its control task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.colours import of_arms
from attention_jax.report.figures.curves import apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.062  # between names at the ends of lines, in heights of the axes
STYLES = {"solid": ("-", "o", 2.0), "dashed": ((0, (4, 2.5)), "s", 1.3), "dotted": ((0, (1, 1.6)), "^", 1.3)}
"""Dashes, marker and width: lines of one arm are told apart in grey."""


class Line(NamedTuple):
    """A line: {position: interval}, which begins with (mean, low, high), bounds nan where there are none."""

    label: str
    arm: str  # which colour
    points: Mapping[int, tuple]
    style: str = "solid"


def errors_and_probes(errors: Sequence[Line], read: Sequence[Line], *, luck: float, title: str, note: str) -> Figure:
    """Draws, left, shares of wrong symbols by position; right, shares of right ones, and a line at what luck gets right.

    Lines are named at their right ends and have a band, their interval over seeds; `note` says of what all this is.
    """
    arms = dict.fromkeys(line.arm for line in (*errors, *read))
    colours = {arm: look.colour for arm, look in of_arms(arms).items()}
    with figures.styled():
        figure = figures.empty((11.2, 4.6))
        left, right = figure.subplots(1, 2)
        right.axhline(luck, color=figures.GREY, lw=0.8, zorder=1)
        right.annotate(
            "luck", (0, luck), (2, 2), xycoords=right.get_yaxis_transform(), textcoords="offset points", size=8, color=figures.GREY
        )
        for axes, lines in ((left, errors), (right, read)):
            _draw(axes, lines, colours)
        left.set_ylabel("symbols that are wrong, true ones before them")
        left.set_title(title)
        right.set_ylabel("symbols that are right")
        figure.supxlabel(note, x=0.01, ha="left", size=9, color=figures.GREY)
        return figures.settled(figure)


def _draw(axes: Axes, lines: Sequence[Line], colours: Mapping[str, str]) -> None:
    """Draws lines with bands and names on an axis from 0 to 100 %."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    last = max(position for line in lines for position in line.points)
    for line in lines:
        dashes, marker, width = STYLES[line.style]
        means, lows, highs = (np.array([interval[i] for interval in line.points.values()], float) for i in range(3))
        axes.fill_between(list(line.points), lows, highs, color=colours[line.arm], alpha=0.15, lw=0)
        axes.plot(list(line.points), means, color=colours[line.arm], ls=dashes, lw=width, marker=marker, ms=4.5, mec="white", mew=0.5)
    axes.set(xlim=(0.7, last + 0.3), ylim=(0, 1.0), xlabel="position of the symbol")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")
    ends = [line.points[max(line.points)][0] for line in lines]
    for line, end, height in zip(lines, ends, apart(ends, GAP), strict=True):
        axes.annotate(
            figures.printable(line.label, 40),
            xy=(max(line.points), end),
            xytext=(last + 0.45, height),
            color=colours[line.arm],
            weight="bold" if line.style == "solid" else "normal",
            va="center",
            size=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[line.arm], "lw": 0.6, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)},
        )
