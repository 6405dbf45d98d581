"""A measure by length: a line per arm, with its 95 % band over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_jax.report import figures
from attention_jax.system.errors import DataError

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
) -> Figure:
    """One line per arm over lengths, with its 95 % band, named at its right end; `trained` lengths are shaded.

    Intervals begin with (mean, low, high), bounds NaN where there are none; with `percent` they are fractions.
    `faint` holds the same arms in another state (half the budget): thin, dashed, without band. The key says what the lines are.
    `examples` of a length, of one seed: where they differ, markers have areas in proportion and numbers stand below the lengths; where
    all are equal the key says how many. `open_lengths` stand for all that are longer, too, and are named so: 61+.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    faint = faint or {}
    if not any(curves.values()):
        raise DataError("no curve to draw: there are no rows for any arm")
    colours = _colours([*curves, *faint])
    lengths = sorted({length for curve in (*curves.values(), *faint.values()) for length in curve})
    places, areas = _places(lengths, open_lengths), _areas(lengths, examples)
    names = {length: f"{length}+" if length in open_lengths else str(length) for length in lengths}
    with figures.styled():
        figure = figures.empty((7.6, 4.5))
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for label, curve in faint.items():
            x, means = [places[length] for length in curve], [interval[0] for interval in curve.values()]
            axes.plot(x, means, color=colours[label], lw=1, ls=(0, (4, 2.5)), alpha=0.75)
        for (label, curve), marker in zip(curves.items(), itertools.cycle(MARKERS), strict=False):
            x, colour = [places[length] for length in curve], colours[label]
            means, lows, highs = (np.array([interval[i] for interval in curve.values()], float) for i in range(3))
            axes.fill_between(x, lows, highs, color=colour, alpha=0.16, lw=0)
            axes.plot(x, means, color=colour, lw=1.2 if _differ(examples) else 2, zorder=3)
            sizes = [areas[length] for length in curve]
            axes.scatter(x, means, sizes, colour, marker=marker, edgecolors="white", linewidths=0.6, clip_on=False, zorder=4)
        if percent:
            axes.set_ylim(0, 1.0)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        first, last = places[lengths[0]], places[lengths[-1]]
        margin = max(0.5, 0.015 * (last - first))
        axes.set_xlim(first - margin, last + margin)
        if open_lengths or _differ(examples):
            texts = {length: f"{name}\n{examples[length]:,}" if examples and _differ(examples) else name for length, name in names.items()}
            readable = _readable(places, max(len(line) for text in texts.values() for line in text.split("\n")))
            axes.set_xticks([places[length] for length in readable], [texts[length] for length in readable])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        if trained:
            _shade(axes, trained, places, names)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title, pad=24 if trained else 10)
        _name_ends(axes, {label: curve for label, curve in curves.items() if curve}, colours, places)
        _key(figure, line_label, faint_label if faint else None, examples)
        return figures.settled(figure)


def _places(lengths: Sequence[int], open_lengths: Collection[int]) -> dict[int, float]:
    """Where lengths are drawn: an open one as far behind the one before it as that is behind its own, since it has no upper edge."""
    places = {length: float(length) for length in lengths}
    for i, length in enumerate(lengths):
        if i and length in open_lengths:
            places[length] = places[lengths[i - 1]] + (places[lengths[i - 1]] - places[lengths[i - 2]] if i > 1 else 1)
    return places


def _differ(examples: Mapping[int, int] | None) -> bool:
    return len(set((examples or {}).values())) > 1


def _areas(lengths: Sequence[int], examples: Mapping[int, int] | None) -> dict[int, float]:
    """Square points of a marker: in proportion to its examples, where these differ, but large enough to be seen."""
    if not examples or not _differ(examples):
        return dict.fromkeys(lengths, SAME)
    return {length: max(LEAST, MOST * examples[length] / max(examples.values())) for length in lengths}


def _readable(places: Mapping[int, float], letters: int) -> list[int]:
    """Lengths whose names of so many letters do not touch, the last one among them."""
    room = 0.014 * (letters + 1) * (max(places.values()) - min(places.values()))
    kept: list[int] = []
    for length in sorted(places, reverse=True):
        if not kept or places[kept[-1]] - places[length] >= room:
            kept.append(length)
    return kept[::-1]


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """The arm's colour for a label that is an arm or begins with one ("summary, lstm"), if not taken; else the next of the others."""
    colours: dict[str, str] = {}
    others = [*OTHER_COLOURS, *COLOURS.values()]
    for label in dict.fromkeys(labels):
        arm = label.replace(",", " ").replace("-", " ").split(" ")[0]
        free = [colour for colour in [COLOURS.get(arm, others[0]), *others] if colour not in colours.values()]
        colours[label] = free[0] if free else others[len(colours) % len(others)]
    return colours


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


def _name_ends(axes: Axes, curves: Mapping[str, Mapping[int, tuple]], colours: dict[str, str], places: Mapping[int, float]) -> None:
    """Writes each arm's name to the right of its line's end, moved apart where ends are close."""
    bottom, top = axes.get_ylim()
    ends = {label: (curve[max(curve)][0] - bottom) / (top - bottom) for label, curve in curves.items()}
    heights = _apart(list(ends.values()), gap=0.062)
    right = axes.get_xlim()[1]
    for (label, curve), height in zip(curves.items(), heights, strict=True):
        axes.annotate(
            figures.printable(label, 40),
            xy=(places[max(curve)], curve[max(curve)][0]),
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


def _key(figure: Figure, line_label: str, faint_label: str | None, examples: Mapping[int, int] | None) -> None:
    """Says what lines and bands are, below the axes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=figures.GREY, lw=2, label=line_label),
        Patch(color=figures.GREY, alpha=0.25, lw=0, label="95 % interval"),
    ]
    if faint_label:
        handles.append(Line2D([], [], color=figures.GREY, lw=1, ls=(0, (4, 2.5)), label=faint_label))
    if examples:
        n = min(examples.values())
        label = "area, number below: n examples" if _differ(examples) else f"{n:,} examples at each length"
        handles.append(Line2D([], [], color=figures.GREY, lw=0, marker=MARKERS[0], ms=SAME**0.5, mec="white", label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=figures.GREY)
