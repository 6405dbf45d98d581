"""Losses while runs train → lines of a page: one for each seed of each run, on a logarithmic axis."""

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

from attention_jax.report.figures import colours

DASHES = ("", "7 4", "2 4", "10 4 2 4")
"""How the lines of one run after the other are broken: colour is not all that tells them apart."""


TOP, HEIGHT = 2, 88
"""The box of the lines, in percent of the picture."""


class Curve(NamedTuple):
    """The losses of a run so far: each point is (update, the loss of each seed in nats per token)."""

    name: str
    arm: str  # which colour it has
    updates: int  # the budget
    done: int
    seeds: Sequence[int]
    points: Sequence[tuple[int, Sequence[float]]]
    trial: str = ""  # the learning rates that are tried now, before it trains


class Line(NamedTuple):
    """A run as it is drawn: the points of every seed in a box of 100 x 100, and how its lines look."""

    curve: Curve
    colour: str
    dash: str
    paths: list[str]
    last: str  # the last losses, by seed


class Tick(NamedTuple):
    """A mark on an axis: where, in percent of the picture, and what is written there."""

    place: float
    text: str


class Plot(NamedTuple):
    """What the page's template draws. `trains` while a budget is not used up; the lines' box begins at `top`, in percent of the picture."""

    lines: list[Line]
    losses: list[Tick]
    updates: list[Tick]
    trains: bool
    top: int = TOP
    height: int = HEIGHT


def plot(curves: Sequence[Curve]) -> Plot:
    """Lays out the losses of runs, the lowest at the bottom; losses of 0 and below are drawn there."""
    found = [loss for curve in curves for _, losses in curve.points for loss in losses if loss > 0]
    low, high = min(found, default=0.1), max(found, default=1.0)
    high = max(high, 1.01 * low)
    last = max((curve.updates for curve in curves), default=1)

    def place(update: int, loss: float) -> str:
        return f"{100 * update / last:.2f},{100 - 100 * log(max(loss, low) / low) / log(high / low):.2f}"

    looks = colours.of_arms(curve.arm for curve in curves)
    lines = []
    for i, curve in enumerate(curves):
        paths = [" ".join(place(update, losses[r]) for update, losses in curve.points) for r in range(len(curve.seeds))]
        ends = curve.points[-1][1] if curve.points else []
        said = ", ".join(f"{loss:.3g} (seed {seed})" for seed, loss in zip(curve.seeds, ends, strict=False))
        lines.append(Line(curve, looks[curve.arm].colour, DASHES[i % len(DASHES)], paths, said))
    losses = [Tick(round(TOP + HEIGHT * (1 - part / 3), 2), f"{low * exp(part / 3 * log(high / low)):.2g}") for part in range(4)]
    updates = [Tick(100 * part, f"{part * last:,.0f}") for part in (0, 0.5, 1)]
    return Plot(lines, losses, updates, any(curve.done < curve.updates for curve in curves))
