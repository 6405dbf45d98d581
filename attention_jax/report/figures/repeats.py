"""Figure of repeated measurements: every seed of every run, their mean with its interval, and published repeats beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from attention_jax.report import figures
from attention_jax.report.figures.colours import of_arms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = 0.12, -0.2  # how far from a line's height the two kinds of dots are


class Repeats(NamedTuple):
    """One run: a share per seed, the interval of their mean, and published shares of the same run, none where nothing was published."""

    label: str
    arm: str  # which colour
    shares: Sequence[float]
    interval: tuple  # begins with (mean, low, high), bounds nan where there are none
    published: Sequence[float] = ()


def repeats(lines: Sequence[Repeats], title: str, xlabel: str) -> Figure:
    """Draws a line of dots per run, the first one on top; a filled dot is a seed of ours, a hollow one a published repeat."""
    from matplotlib.ticker import PercentFormatter

    looks = of_arms(line.arm for line in lines)
    with figures.styled():
        figure = figures.empty((8.4, 1.5 + 0.55 * len(lines)))
        axes = figure.subplots()
        for place, line in enumerate(lines):
            colour, (mean, low, high) = looks[line.arm].colour, line.interval[:3]
            axes.plot(line.shares, [place - OURS] * len(line.shares), "o", color=colour, ms=4, alpha=0.5, mew=0)
            axes.plot([low, high], [place - OURS] * 2, color=colour, lw=2)
            axes.plot([mean], [place - OURS], "|", color=colour, ms=14, mew=2.2)
            if line.published:
                mean = sum(line.published) / len(line.published)
                axes.plot(line.published, [place - THEIRS] * len(line.published), "o", mfc="none", mec=figures.GREY, ms=4, mew=0.8)
                axes.plot([mean], [place - THEIRS], "|", color=figures.GREY, ms=12, mew=1.6)
        axes.set_yticks(range(len(lines)), [line.label for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel=f"{xlabel}; bar: 95 % interval of the mean; hollow: published", title=title)
        axes.grid(axis="x")
        return figures.settled(figure)
