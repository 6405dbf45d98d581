"""Figures of the capacity law: L* by size and by budget, and bits by size of several series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.colours import DASHED, DOTTED, MIXED, shades
from attention_jax.report.figures.curves import End, name_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAR = 16  # times the largest point: lines that begin above are named, not drawn
GAP = 0.055  # between names at the ends of lines, in heights of the axes


class Line(NamedTuple):
    """A line: {d or budget: (value, low, high, bound)}, low and high nan where there are none; bound as in `lengths.CriticalLength`."""

    label: str
    arm: str  # which colour
    points: Mapping[int, tuple[float, float, float, str]]


def sizes_and_budgets(by_size: Sequence[Line], by_budget: Sequence[Line], title: str) -> Figure:
    """Draws, left, L* against d, a line per budget; right, L* against the budget, a line per d; both axes of x are logarithmic.

    Every line is named at its right end; a bar is the 95 % interval over seeds. A hollow marker is a bound, off the line, with its value
    beside it; one above all points stands at the top. Dashed: one symbol a number.
    """
    with figures.styled():
        figure = figures.empty((10.4, 4.6))
        left, right = figure.subplots(1, 2, sharey=True)
        ends = (0, _top(by_size))
        _draw(left, by_size, ends)
        _draw(right, by_budget, ends)
        sizes = sorted({d for line in by_size for d in line.points})
        left.plot(sizes, sizes, color=figures.GREY, lw=0.8, ls=(0, (4, 2.5)), zorder=1)
        left.set(xlabel="d, numbers of the vector (dashed: one symbol a number)", ylabel="L* (symbols; hollow: a bound)")
        left.set_title(title)
        right.set(xlabel="budget (updates, each a run of its own)")
        right.tick_params(labelleft=True)
        return figures.settled(figure)


def bits_by_size(lines: Sequence[Line], references: Mapping[str, Mapping[int, float]], title: str) -> Figure:
    """Draws the bits of L* against d, both axes logarithmic, a line per series, named at its right end.

    `references` are lines {name: {d: bits}} that bits are read beside: grey, each with dashes of its own. One that is nowhere within `FAR`
    times the largest of the points is named above the axes, not drawn: points would have too little room.
    """
    most = FAR * max(point[0] for line in lines for point in line.points.values())
    far = {name: min(by_size.values()) for name, by_size in references.items() if min(by_size.values()) > most}
    with figures.styled():
        figure = figures.empty((8.6, 5.4))
        axes = figure.add_subplot()
        beside = [
            Line(name, name, {d: (bits, np.nan, np.nan, "exact") for d, bits in by_size.items()})
            for name, by_size in references.items()
            if name not in far
        ]
        for line, dashes in zip(beside, (MIXED, DASHED, DOTTED) * len(beside), strict=False):
            axes.plot(list(line.points), [point[0] for point in line.points.values()], color=figures.GREY, lw=0.9, ls=dashes, zorder=1)
        values = [value for line in (*lines, *beside) for point in line.points.values() for value in point[:3] if value > 0]
        axes.set_yscale("log", base=2)
        _draw(axes, lines, (0.7 * min(values), 1.4 * max(values)), beside)
        axes.set(xlabel="d, numbers of the vector", ylabel="bits of L* (hollow: a bound)", title=title)
        above = "\n".join(f"above: {name}, {bits:,.0f} and more" for name, bits in far.items())
        axes.text(0.01, 0.99, above, transform=axes.transAxes, ha="left", va="top", size=8, color=figures.GREY)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        return figures.settled(figure)


def _top(lines: Sequence[Line]) -> float:
    """Returns the upper end of the y axis: above all points and their intervals; of bounds, where there are no points."""
    ends = [(np.nanmax(each[:3]), each[3]) for line in lines for each in line.points.values()]
    return 1.12 * max([end for end, bound in ends if bound == "exact"] or [end for end, _ in ends])


def _draw(axes: Axes, lines: Sequence[Line], ends: tuple[float, float], beside: Sequence[Line] = ()) -> None:
    """Draws lines with intervals between the ends of y, and names, also of those `beside`; markers differ, so that grey is enough."""
    from matplotlib.ticker import NullFormatter

    looks, bounds, top = shades({line.label: line.arm for line in lines}), {}, ends[1]
    for line in lines:
        (colour, marker, dashes), points = looks[line.label], dict(sorted(line.points.items()))
        exact = {x: value for x, (value, _, _, bound) in points.items() if bound == "exact"}
        axes.plot(list(exact), list(exact.values()), color=colour, lw=1.6, ls=dashes, zorder=2)
        for x, (value, low, high, bound) in points.items():
            if not np.isnan(low):
                axes.plot([x, x], [low, high], color=colour, lw=1.2, zorder=2)
            filled = colour if bound == "exact" else "white"
            axes.plot([x], [min(value, 0.96 * top)], marker, color=colour, mfc=filled, ms=5.5, clip_on=False, zorder=3)
            if bound != "exact":
                bounds[x, min(value, 0.96 * top)] = f"{'≥' if bound == 'at_least' else '≤'} {value:g}"
    for place, text in bounds.items():
        axes.annotate(text, place, (0, -6), textcoords="offset points", ha="center", va="top", size=8)
    places = sorted({x for line in lines for x in line.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{x:,}" for x in places], rotation=45 if len(places) > 6 else 0)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(*ends)
    axes.grid(axis="y")
    _name_ends(axes, (*lines, *beside), {label: look.colour for label, look in looks.items()}, top)


def _name_ends(axes: Axes, lines: Sequence[Line], colours: Mapping[str, str], top: float) -> None:
    """Writes each line's name to the right of the axes, at the height of its end; in grey where it has no colour."""
    places = [(max(line.points), min(line.points[max(line.points)][0], 0.96 * top)) for line in lines]
    heights = axes.transAxes.inverted().transform(axes.transData.transform(places))[:, 1].tolist()
    named = zip(lines, places, heights, strict=True)
    name_ends(axes, [End(line.label, place, height, colours.get(line.label, figures.GREY)) for line, place, height in named], GAP)
