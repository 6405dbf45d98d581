"""Figures of a ladder of budgets: exact match by length, L50 by budget, and rate curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures.colours import Look, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Line(NamedTuple):
    """One arm at one size. Intervals begin with (mean, low, high), bounds nan where there are none."""

    label: str
    arm: str  # which colour
    by_length: Mapping[int, tuple]  # exact match at one budget
    by_budget: Mapping[int, tuple[tuple, str]]  # L50 and how to read it: "=", ">=", "<=" or "?"


class Curve(NamedTuple):
    """Validation loss of each selection seed by learning rate, at one budget of one arm."""

    arm: str
    budget: int
    losses: Mapping[float, Sequence[float]]
    chosen: float | None


def lengths_and_budgets(lines: Sequence[Line], *, title: str, trained: tuple[int, int], note: str) -> Figure:
    """Draws, left, exact match by length with bands; right, L50 by budget of all lines that have several budgets, if any has.

    A mean of which some seeds never fall, or fall before the first length, is a bound: its marker is hollow. `note` says which
    budgets the left side shows.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    looks = shades({line.label: line.arm for line in lines})
    with figures.styled():
        several = [line for line in lines if len(line.by_budget) > 1]
        figure = figures.empty((9.6 if several else 6.4, 4.3))
        left, *right = figure.subplots(1, 2, width_ratios=(1.15, 1)) if several else [figure.add_subplot()]
        for line in lines:
            lengths = list(line.by_length)
            means, lows, highs = (np.array([interval[i] for interval in line.by_length.values()], float) for i in range(3))
            colour, marker, dashes = looks[line.label]
            left.fill_between(lengths, lows, highs, color=colour, alpha=0.16, lw=0)
            left.plot(lengths, means, color=colour, lw=2, ls=dashes, label=line.label, marker=marker, ms=4.5, mec="white", mew=0.5)
        left.set_ylim(0, 1.0)
        left.yaxis.set_major_formatter(PercentFormatter(1.0))
        left.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        left.axvspan(trained[0] - 0.5, trained[1] + 0.5, color=figures.PALE, lw=0, zorder=0)
        left.set_xlim(min(min(line.by_length) for line in lines) - 0.5, max(max(line.by_length) for line in lines) + 0.5)
        left.set(xlabel="length (payload tokens; shaded: trained)", ylabel="exact match", title=title)
        left.grid(axis="y")
        for axes in right:
            _l50(axes, several, looks, trained[1])
        handles, labels = left.get_legend_handles_labels()
        columns = min(len(labels), 6 if several else 4)
        key = {"loc": "outside lower left", "ncols": columns, "frameon": False, "fontsize": 9, "alignment": "left"}
        figure.legend(handles, labels, title=note, title_fontproperties={"size": 9}, **key).get_title().set_color(figures.GREY)
        return figures.settled(figure)


def rate_curves(curves: Sequence[Curve], title: str) -> Figure:
    """Draws a panel per arm, a line per budget (darker: larger): geometric mean over selection seeds, dots of seeds, a ring: chosen."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    arms = list(dict.fromkeys(curve.arm for curve in curves))
    rates = sorted({rate for curve in curves for rate in curve.losses})
    with figures.styled():
        figure = figures.empty((4.6 * len(arms) + 0.4, 3.9))
        for axes, arm in zip(figure.subplots(1, len(arms), sharey=True, squeeze=False)[0], arms, strict=True):
            of_arm = [curve for curve in curves if curve.arm == arm]
            _losses(axes, of_arm, arm)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel="learning rate", title=arm)
            axes.grid(axis="y")
            axes.legend(title="updates", frameon=False, fontsize=8, title_fontsize=8)
        figure.axes[0].set_ylabel("validation loss (nats per token)")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11.5)
        return figures.settled(figure)


def _losses(axes: Axes, curves: Sequence[Curve], arm: str) -> None:
    """Draws the rate curves of one arm; says so where no loss of theirs is finite."""
    looks = shades({f"{curve.budget:,}": arm for curve in curves})
    for curve in curves:
        colour = looks[f"{curve.budget:,}"].colour
        finite = {rate: [x for x in losses if np.isfinite(x)] for rate, losses in curve.losses.items()}
        means = {rate: float(np.exp(np.mean(np.log(np.maximum(x, 1e-9))))) for rate, x in sorted(finite.items()) if x}
        axes.plot(list(means), list(means.values()), color=colour, lw=1.6, label=f"{curve.budget:,}")
        for rate, losses in finite.items():
            axes.plot([rate] * len(losses), np.maximum(losses, 1e-9), ".", color=colour, ms=3, alpha=0.6)
        if curve.chosen in means:
            axes.plot([curve.chosen], [means[curve.chosen]], "o", mfc="none", mec=colour, ms=9, mew=1.6)
    if not any(np.isfinite(loss) for curve in curves for losses in curve.losses.values() for loss in losses):
        axes.text(0.5, 0.5, "training diverged\nat every rate", transform=axes.transAxes, ha="center", color=figures.GREY)


def _l50(axes: Axes, lines: Sequence[Line], looks: Mapping[str, Look], longest: int) -> None:
    """Draws L50 against budget with its intervals, and a dashed line at the longest trained length."""
    budgets = sorted({budget for line in lines for budget in line.by_budget})
    for line in lines:
        colour, marker, dashes = looks[line.label]
        means = {budget: interval[0] for budget, (interval, _) in line.by_budget.items()}
        axes.plot(list(means), list(means.values()), color=colour, lw=1.6, ls=dashes)
        for budget, (interval, bound) in line.by_budget.items():
            mean, low, high = interval[:3]
            if bound == "=":
                axes.plot([budget] * 2, [low, high], color=colour, lw=1.2)
            axes.plot([budget], [mean], marker, color=colour, mfc=colour if bound == "=" else "white", ms=5)
    axes.axhline(longest, color=figures.GREY, lw=0.8, ls=(0, (4, 2.5)))
    axes.annotate(
        "longest trained length: what attention reaches",
        (0.0, longest),
        (2, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        size=8,
        color=figures.GREY,
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets], rotation=45 if len(budgets) > 6 else 0)
    axes.set_ylim(0, longest * 1.12)
    axes.grid(axis="y")
    axes.set(xlabel="budget (updates, each a run of its own)", ylabel="L50 (tokens; hollow: a bound)", title="The price of a token")
