"""The figure on README's first screen: exact match by length beside what one input became, by attention and by each fixed vector.

Made by `make results` from docs/results/bottleneck: its rows, and the decoded example of each run that is shown (`examples/RUN.json`, the
example.json that a run leaves: first seed, free running).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.report import figures, scoring, standings
from attention_jax.report.figures.colours import shades
from attention_jax.report.figures.ladders import Line
from attention_jax.report.standings import Group
from attention_jax.running import results
from attention_jax.system import files
from attention_jax.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG = "#cf222e"
SIZE = (8.0, 4.0)  # inches; with letters of 10 points a phone's width still shows them


class Shown(NamedTuple):
    """A line, and the run whose rows it shows."""

    line: Line
    run: str


def draw(groups: list[Group], folder: Path) -> Figure:
    """The figure of a claim's groups, its own first; `folder` has an example of each line that is drawn."""
    *fixed, attention = drawn(groups)
    examples = {one.run: results.read_json(folder / "examples" / f"{one.run}.json") for one in (*fixed, attention)}
    with figures.styled():
        figure = figures.empty(SIZE)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        by_length(left, [one.line for one in (*fixed, attention)], groups[0])
        one_input(right, examples[attention.run], {str(size(one.line)): examples[one.run]["output"] for one in fixed})
        return figures.settled(figure)


def take(workdir: Path, folder: Path) -> None:
    """Takes the examples that are kept in a folder of results anew, from where its runs are; `DataError` where one is missing."""
    found = {path: workdir / path.stem / "example.json" for path in sorted((folder / "examples").glob("*.json"))}
    if missing := [there for there in found.values() if not there.is_file()]:
        raise DataError(f"{missing[0]} is missing: the figure of the first screen shows that run; add the folder in which the runs are")
    for path, there in found.items():
        files.write_bytes(path, there.read_bytes())


def drawn(groups: list[Group]) -> list[Shown]:
    """Fixed arms by size, then attention of the claim's own group."""
    first, fixed = groups[0], [one for group in groups for one in shown(group, groups) if one.line.arm in group.fixed]
    attention = next(one for one in shown(first, groups) if one.line.arm == first.attention)
    return [*sorted(fixed, key=lambda one: size(one.line)), attention]


def shown(group: Group, groups: list[Group]) -> list[Shown]:
    """Each arm of a group at its largest budget."""
    last = {arm: group.budgets(arm)[-1] for arm in group.arms}
    of_arm = {row["attention"]: row["run"] for row in group.rows if standings.is_reported(row) and row["budget"] == last[row["attention"]]}
    return [Shown(line, of_arm[line.arm]) for line in scoring.lines(group, groups)]


def size(line: Line) -> int:
    """d of a fixed arm's line."""
    return int(line.label.rpartition(" ")[2])


def by_length(axes: Axes, lines: list[Line], group: Group) -> None:
    """A line for each arm and size with its band; the trained lengths are shaded."""
    from matplotlib.ticker import PercentFormatter

    colours = {label: look.colour for label, look in shades({line.label: line.arm for line in lines}).items()}
    for line in reversed(lines):
        lengths = list(line.by_length)
        means, lows, highs = (np.array([interval[i] for interval in line.by_length.values()], float) for i in range(3))
        name = f"vector of {size(line)}" if line.arm in group.fixed else "attention"
        axes.fill_between(lengths, lows, highs, color=colours[line.label], alpha=0.16, lw=0)
        axes.plot(lengths, means, color=colours[line.label], lw=2.2, label=name, clip_on=False, zorder=3)
    axes.axvspan(min(group.trained) - 0.5, max(group.trained) + 0.5, color=figures.PALE, lw=0, zorder=0)
    axes.text(min(group.trained) - 0.2, 0.02, "trained\nlengths", va="bottom", size=10, color=figures.GREY)
    axes.set_xlim(min(lengths) - 0.5, max(lengths))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y")
    axes.set(xlabel="symbols to copy", title="Outputs that are entirely right")
    axes.legend(frameon=False, fontsize=10, loc="upper right", borderaxespad=0, handlelength=1.2, labelspacing=0.35)


def one_input(axes: Axes, attended: dict, written: dict[str, list[str]]) -> None:
    """Where each output of attention looked, as in figure 3 of Bahdanau et al.; on its right what the vectors wrote, wrong symbols red."""
    weights_TxS, source, target = np.array(attended["weights"]), attended["source"], attended["target"]
    T, S = weights_TxS.shape
    axes.imshow(weights_TxS, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    axes.set_aspect("equal", anchor="NW")
    axes.set_xticks(range(S), source)
    axes.set_yticks(range(T), attended["output"])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=10)
    axes.spines[:].set_visible(False)
    axes.text((S - 1) / 2, -2.25, "input", ha="center", va="center", size=10, color=figures.GREY)
    axes.set_ylabel("output", size=10, color=figures.GREY)
    axes.set_title("One input, copied", pad=42)
    for column, (name, output) in enumerate(written.items()):
        x = S + 0.9 + 1.5 * column
        axes.text(x, -1.05, name, ha="center", va="center", size=10, color=figures.GREY)
        for t in range(T):
            symbol = output[t] if t < len(output) else "–"
            right = t < len(target) and symbol == target[t]
            axes.text(
                x, t, symbol, ha="center", va="center", size=10, color=figures.INK if right else WRONG, weight="normal" if right else "bold"
            )
    axes.set_xlim(-0.5, S + 0.9 + 1.5 * len(written) - 0.75)
    axes.text(S + 0.9 + 0.75 * (len(written) - 1), -2.25, "vector of", ha="center", va="center", size=10, color=figures.GREY)
