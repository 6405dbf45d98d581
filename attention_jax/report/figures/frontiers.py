"""A figure of frontiers: a share against the size of the state, a colour per cell, one panel per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.colours import Look, of_arms
from attention_jax.report.figures.curves import DASHES, End, name_ends
from attention_jax.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.05  # between names at the ends of lines, in heights of the axes


class Line(NamedTuple):
    """A frontier: {size: (mean, low, high, …)}, low and high nan where there are none; it attends, or has the state alone."""

    cell: str
    arm: str
    attends: bool
    points: Mapping[int, tuple]


def frontiers(panels: Mapping[str, Sequence[Line]], title: str, chance: float) -> Figure:
    """Draws a panel per task: the share of right symbols against the state, axis of x logarithmic, bars 95 % intervals.

    Full lines and filled markers attend, dashed ones and hollow markers have the state alone. A cell has one colour and one marker in
    every panel. Dotted: `chance`. Raises `DataError` where there is no line.
    """
    if not any(panels.values()):
        raise DataError("no frontier to draw")
    looks = of_arms(line.cell for lines in panels.values() for line in lines)
    with figures.styled():
        figure = figures.empty((6.4 * len(panels), 4.8))
        for axes, (task, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            _draw(axes, lines, looks)
            axes.axhline(chance, color=figures.GREY, lw=0.9, ls=":", zorder=1)
            axes.set(xlabel="state (numbers handed over)", ylabel="right symbols on the long half", title=task)
            _name_ends(axes, lines, looks)
        key = "full, filled: with attention; dashed, hollow: the state alone; dotted: chance; typical seed, 95 % interval"
        figure.suptitle(f"{title}\n{key}", x=0.01, ha="left", size=10)
        return figures.settled(figure)


def _draw(axes: Axes, lines: Sequence[Line], looks: Mapping[str, Look]) -> None:
    """Draws lines, markers and intervals."""
    from matplotlib.ticker import NullFormatter, PercentFormatter

    for line in lines:
        colour, marker, _ = looks[line.cell]
        sizes = sorted(line.points)
        means, lows, highs = (np.array([line.points[n][i] for n in sizes], float) for i in range(3))
        axes.plot(sizes, means, color=colour, lw=1.6, ls="-" if line.attends else DASHES, zorder=2)
        axes.vlines(sizes, lows, highs, color=colour, lw=1.2, zorder=2)
        filled = colour if line.attends else "white"
        axes.plot(sizes, means, marker, color=colour, mfc=filled, ms=5.5, clip_on=False, zorder=3)
    places = sorted({n for line in lines for n in line.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{n:,}" for n in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")


def _name_ends(axes: Axes, lines: Sequence[Line], looks: Mapping[str, Look]) -> None:
    """Writes each line's cell and arm to the right of the axes, at the height of its end."""
    places = [(max(line.points), line.points[max(line.points)][0]) for line in lines]
    ends = [End(f"{line.cell}, {line.arm}", place, place[1], looks[line.cell].colour) for line, place in zip(lines, places, strict=True)]
    name_ends(axes, ends, GAP, 8.5)
