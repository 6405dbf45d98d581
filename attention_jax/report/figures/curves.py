"""A measure by length: a line per arm, with its 95 % band over seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.colours import MARKERS, Look, shades
from attention_jax.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = (0, (4, 2.5))
SAME, LEAST, MOST = 20.0, 4.0, 110.0  # square points of a marker: of all, of the smallest, of the largest


def length_curves(
    curves: Mapping[str, Mapping[int, tuple]],
    *,
    title: str,
    ylabel: str,
    xlabel: str = "length (payload tokens)",
    trained: tuple[int, int] | None = None,
    faint: Mapping[str, Mapping[int, tuple]] | None = None,
    faint_label: str = "at half the budget",
    line_label: str = "mean over seeds",
    percent: bool = True,
    examples: Mapping[int, int] | None = None,
    open_lengths: Collection[int] = (),
    budgets: bool = False,
) -> Figure:
    """Draws one line per arm over lengths, with its 95 % band, named at its right end; `trained` lengths are shaded.

    Intervals begin with (mean, low, high), bounds NaN where there are none; with `percent` they are fractions.
    `faint` holds the same arms in another state (half the budget): thin, dashed, without band. The key says what the lines are.
    `examples` are those of one seed by length: where they differ, areas of markers are in proportion and numbers stand below the lengths;
    else the key says how many. `open_lengths` hold all longer ones as well, and are named 61+. `budgets` stand for lengths on a log axis,
    each with its tick. Raises `DataError` where no arm has rows.
    """
    faint = faint or {}
    if not any(curves.values()):
        raise DataError("no curve to draw: there are no rows for any arm")
    looks = shades({label: arm_in(label) for label in (*curves, *faint)})
    lengths = sorted({length for curve in (*curves.values(), *faint.values()) for length in curve})
    if budgets:
        places, names = {budget: math.log2(budget) for budget in lengths}, {budget: f"{budget:,}" for budget in lengths}
    else:
        places, names = _places(lengths, open_lengths), _names(lengths, open_lengths)
    with figures.styled():
        figure = figures.empty((7.6, 4.5))
        axes = figure.add_subplot()
        axes.grid(axis="y")
        _draw_faint(axes, faint, looks, places)
        _draw(axes, curves, looks, places, examples)
        if percent:
            _scale_percent(axes)
        _limit(axes, places, 0.1 if budgets else 0.5)
        _tick(axes, places, names, examples, each=budgets or bool(open_lengths))
        if trained:
            _shade(axes, trained, places, names)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title, pad=24 if trained else 10)
        _name_ends(axes, {label: curve for label, curve in curves.items() if curve}, looks, places)
        _key(figure, line_label, faint_label if faint else None, examples)
        return figures.settled(figure)


def _draw_faint(axes: Axes, curves: Mapping[str, Mapping[int, tuple]], looks: Mapping[str, Look], places: Mapping[int, float]) -> None:
    """Draws means as thin dashed lines, without bands."""
    for label, curve in curves.items():
        x, means = [places[length] for length in curve], [interval[0] for interval in curve.values()]
        axes.plot(x, means, color=looks[label].colour, lw=1, ls=DASHES, alpha=0.75)


def _draw(
    axes: Axes,
    curves: Mapping[str, Mapping[int, tuple]],
    looks: Mapping[str, Look],
    places: Mapping[int, float],
    examples: Mapping[int, int] | None,
) -> None:
    """Draws each arm's mean as a line with markers, and its interval as a band."""
    areas = _areas(places, examples)
    for label, curve in curves.items():
        x, (colour, marker, dashes) = [places[length] for length in curve], looks[label]
        means, lows, highs = (np.array([interval[i] for interval in curve.values()], float) for i in range(3))
        axes.fill_between(x, lows, highs, color=colour, alpha=0.16, lw=0)
        axes.plot(x, means, color=colour, lw=1.2 if _differ(examples) else 2, ls=dashes, zorder=3)
        sizes = [areas[length] for length in curve]
        axes.scatter(x, means, sizes, colour, marker=marker, edgecolors="white", linewidths=0.6, clip_on=False, zorder=4)


def _scale_percent(axes: Axes) -> None:
    """Scales the y axis from 0 to 100 %."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(0, 1.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _limit(axes: Axes, places: Mapping[int, float], least: float) -> None:
    """Limits the x axis to the lengths, with a margin."""
    first, last = min(places.values()), max(places.values())
    margin = max(least, 0.015 * (last - first))
    axes.set_xlim(first - margin, last + margin)


def _tick(axes: Axes, places: Mapping[int, float], names: Mapping[int, str], examples: Mapping[int, int] | None, each: bool) -> None:
    """Puts ticks at round numbers; at the lengths themselves with `each`, or where one has its number of examples below."""
    from matplotlib.ticker import MaxNLocator

    if not each and not _differ(examples):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        return
    texts = {length: f"{name}\n{examples[length]:,}" if examples and _differ(examples) else name for length, name in names.items()}
    readable = _readable(places, max(len(line) for text in texts.values() for line in text.split("\n")))
    axes.set_xticks([places[length] for length in readable], [texts[length] for length in readable])


def _names(lengths: Sequence[int], open_lengths: Collection[int]) -> dict[int, str]:
    """{length: its name}, 61+ for an open one."""
    return {length: f"{length}+" if length in open_lengths else str(length) for length in lengths}


def _places(lengths: Sequence[int], open_lengths: Collection[int]) -> dict[int, float]:
    """Returns {length: x}; an open length, which has no upper edge, is as far from its neighbour as that is from its own."""
    places = {length: float(length) for length in lengths}
    for i, length in enumerate(lengths):
        if i and length in open_lengths:
            places[length] = places[lengths[i - 1]] + (places[lengths[i - 1]] - places[lengths[i - 2]] if i > 1 else 1)
    return places


def _differ(examples: Mapping[int, int] | None) -> bool:
    return len(set((examples or {}).values())) > 1


def _areas(lengths: Iterable[int], examples: Mapping[int, int] | None) -> dict[int, float]:
    """Returns {length: square points of its marker}: in proportion to examples where these differ, but at least `LEAST`."""
    if not examples or not _differ(examples):
        return dict.fromkeys(lengths, SAME)
    return {length: max(LEAST, MOST * examples[length] / max(examples.values())) for length in lengths}


def _readable(places: Mapping[int, float], letters: int) -> list[int]:
    """Returns the lengths, the last one among them, whose names of so many letters do not overlap."""
    room = 0.014 * (letters + 1) * (max(places.values()) - min(places.values()))
    kept: list[int] = []
    for length in sorted(places, reverse=True):
        if not kept or places[kept[-1]] - places[length] >= room:
            kept.append(length)
    return kept[::-1]


def arm_in(label: str) -> str:
    """Returns the arm that a label begins with: of "summary, lstm" and "summary-gru-h64", summary."""
    return re.split("[, -]", label, maxsplit=1)[0]


def _shade(axes: Axes, trained: tuple[int, int], places: Mapping[int, float], names: Mapping[int, str]) -> None:
    """Shades the trained lengths and names them above the axes."""
    low, high = trained[0] - 0.5, places.get(trained[1], trained[1]) + 0.5
    left, right = axes.get_xlim()
    axes.axvspan(low, high, color=figures.PALE, lw=0, zorder=0)
    axes.set_xlim(left, right)
    above = axes.get_xaxis_transform()
    ends = [max(low, left), min(high, right)]
    text: dict[str, Any] = {"transform": above, "va": "bottom", "size": 9, "color": figures.GREY}
    axes.plot(ends, [1.02, 1.02], color=figures.GREY, lw=2.5, transform=above, clip_on=False, solid_capstyle="butt")
    axes.text(ends[0], 1.035, f"trained lengths {trained[0]}–{names.get(trained[1], trained[1])}", ha="left", **text)
    if high < right:
        axes.text(right, 1.035, "longer than any trained on", ha="right", **text)


def _name_ends(axes: Axes, curves: Mapping[str, Mapping[int, tuple]], looks: Mapping[str, Look], places: Mapping[int, float]) -> None:
    """Writes each arm's name to the right of its line's end, moved apart where ends are close."""
    bottom, top = axes.get_ylim()
    ends = {label: (curve[max(curve)][0] - bottom) / (top - bottom) for label, curve in curves.items()}
    heights = apart(list(ends.values()), gap=0.062)
    right = axes.get_xlim()[1]
    for (label, curve), height in zip(curves.items(), heights, strict=True):
        axes.annotate(
            figures.printable(label, 40),
            xy=(places[max(curve)], curve[max(curve)][0]),
            xytext=(right + 0.02 * (right - axes.get_xlim()[0]), bottom + height * (top - bottom)),
            color=looks[label].colour,
            weight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": looks[label].colour, "lw": 0.7, "shrinkA": 2, "shrinkB": 4, "relpos": (0, 0.5)},
        )


class End(NamedTuple):
    """The end of a line, and the name that is written beside the axes."""

    name: str
    place: tuple[float, float]
    height: float  # 0 … 1
    colour: Any


def name_ends(axes: Axes, ends: Sequence[End], gap: float, size: float = 9) -> None:
    """Writes names to the right of the axes, a thread to the end of each line, moved `gap` apart where heights are close."""
    for end, height in zip(ends, apart([end.height for end in ends], gap), strict=True):
        axes.annotate(
            figures.printable(end.name, 40),
            xy=end.place,
            xytext=(1.03, height),
            textcoords="axes fraction",
            size=size,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": end.colour, "lw": 0.7, "shrinkA": 2, "shrinkB": 4, "relpos": (0, 0.5)},
        )


def apart(heights: Sequence[float], gap: float) -> np.ndarray:
    """Moves heights in 0…1 by least squares until they are `gap` apart in their order: isotonic regression by pooling neighbours."""
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


def _key(figure: Figure, line_label: str, faint_label: str | None, examples: Mapping[int, int] | None) -> None:
    """Draws the key of lines and bands below the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=figures.GREY, lw=2, label=line_label),
        Patch(color=figures.GREY, alpha=0.25, lw=0, label="95 % interval"),
    ]
    if faint_label:
        handles.append(Line2D([], [], color=figures.GREY, lw=1, ls=DASHES, label=faint_label))
    if examples:
        n = min(examples.values())
        label = "area, number below: n examples" if _differ(examples) else f"{n:,} examples at each length"
        handles.append(Line2D([], [], color=figures.GREY, lw=0, marker=MARKERS[0], ms=SAME**0.5, mec="white", label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=figures.GREY)
