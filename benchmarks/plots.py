"""Figures and table of docs/performance.md, from rows that benchmarks wrote:
`python -m benchmarks.plots runs/benchmarks.jsonl docs/performance`.

scaling.svg   time and memory of an update against each size, on log-log axes, with fitted exponents
roofline.svg  layers: operations per second against operations per byte, under the measured ceilings

The table is printed, in Markdown.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.rows import quantity

AXES = ("S", "T", "H", "B", "seeds")
LABELS = {"S": "source length S", "T": "target length T", "H": "state size H", "B": "batch B", "seeds": "seeds R"}
COLORS = {"additive": "#0072B2", "none": "#D55E00"}
GOLD = "#555555"


def scaling(rows: list[dict], file: Path) -> None:
    """One column per axis: time above, memory below."""
    figure, panels = plt.subplots(2, len(AXES), figsize=(15, 6), sharey="row", layout="constrained")
    for column, axis in enumerate(AXES):
        above, below = panels[:, column]
        for mechanism, color in COLORS.items():
            of_axis = [row for row in rows if row["name"] == "scaling" and row["what"] == f"{mechanism}, {axis}"]
            points = [row for row in of_axis if row["unit"] == "s"]
            exponent = next((f" ∝ {axis}^{row['ours']:.2f}" for row in of_axis if row["unit"] != "s"), "")
            x = [int(row["sizes"].partition("=")[2]) for row in points]
            low, high = zip(*[row["ours_quartiles"] for row in points], strict=True)
            above.plot(x, [row["ours"] for row in points], marker="o", color=color, label=mechanism + exponent)
            above.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
            if points[0]["memory_mb"] is not None:
                below.plot(x, [row["memory_mb"] for row in points], marker="s", color=color, label=mechanism)
        for panel in (above, below):
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.grid(alpha=0.3)
        above.legend(fontsize=8)
        below.set_xlabel(LABELS[axis])
    panels[0, 0].set_ylabel("seconds an update")
    panels[1, 0].set_ylabel("MB that an update allocates")
    panels[1, -1].text(0.5, 0.5, "not measured", transform=panels[1, -1].transAxes, ha="center", color=GOLD)
    figure.savefig(file)


def roofline(rows: list[dict], file: Path) -> None:
    """Points of the layer benchmark under two ceilings."""
    points = [row for row in rows if row["name"] == "roofline"]
    bandwidth = next(row["ours"] for row in points if row["what"] == "bandwidth")
    peak = next(row["ours"] for row in points if row["what"] == "matrix peak")
    figure, panel = plt.subplots(figsize=(7, 5), layout="constrained")
    x = [0.25, peak / bandwidth, 512]
    panel.plot(x, [x[0] * bandwidth, peak, peak], color=GOLD, label=f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s")
    for row in points:
        if row["what"] not in ("bandwidth", "matrix peak"):
            intensity = float(row["note"].split()[0])
            panel.plot(intensity, row["ours"], "o", color=COLORS["additive" if row["what"].startswith("lstm") else "none"])
            panel.annotate(f"{row['what']} {row['sizes']}", (intensity, row["ours"]), fontsize=7, xytext=(4, 4), textcoords="offset points")
    panel.set(xscale="log", yscale="log", xlabel="operations per byte of each product", ylabel="GFLOP/s")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(file)


def table(rows: list[dict]) -> str:
    """What is not drawn, a line a row, in Markdown."""
    lines = ["| benchmark | sizes | ours | peer | ratio | of matrix peak | target |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if row["name"] in ("scaling", "roofline", "devices"):
            continue
        ours = quantity(row["ours"], row["unit"])
        if row["unit"] == "MB" and row["memory_mb"] is not None:
            ours += f", process {row['memory_mb']:,.0f} MB"
        theirs = "" if row["theirs"] is None else quantity(row["theirs"], row["unit"])
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
        target = row["target"] and f"{row['target']}: {'met' if row['met'] else '**missed**'}"
        cells = f"{row['name']}, {row['what']}", row["sizes"], ours, f"{row['peer']} {theirs}".strip(), ratio, share, target
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Draws what the rows of a file have, and prints the rest."""
    rows = [json.loads(line) for line in Path(arguments[0]).read_text().splitlines()]
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in {"scaling": scaling, "roofline": roofline}.items():
        if any(row["name"] == name for row in rows):
            draw(rows, folder / f"{name}.svg")
            print(folder / f"{name}.svg")
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
