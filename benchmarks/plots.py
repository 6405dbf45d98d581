"""Figures of rows that benchmarks wrote: `python -m benchmarks.plots runs/benchmarks.jsonl folder`; those of docs are made by page.py.

scaling.svg   time and memory of an update against each size, on log-log axes, with fitted exponents
roofline.svg  layers: operations per second against operations per byte, under the measured ceilings
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from attention_jax.system.errors import DataError
from benchmarks import stored

plt.rcParams["svg.hashsalt"] = "benchmarks"  # the same rows are the same file

AXES = ("S", "T", "H", "B", "seeds")
LABELS = {"S": "source length S", "T": "target length T", "H": "state size H", "B": "batch B", "seeds": "seeds R"}
COLORS = {"additive": "#0072B2", "none": "#D55E00"}
GOLD = "#555555"


def scaling(rows: list[dict], file: Path) -> None:
    """Draws a column per axis: time above, memory below."""
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
    title = "Time and memory of an update against sizes of model and batch, with fitted exponents."
    figure.savefig(file, metadata={"Date": None, "Title": title})


def roofline(rows: list[dict], file: Path) -> None:
    """Draws the layers as points under two ceilings."""
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
    title = "Layers: operations a second against operations a byte, under the measured ceilings."
    figure.savefig(file, metadata={"Date": None, "Title": title})


def draw(rows: list[dict], folder: Path) -> list[Path]:
    """Draws the figures that there are rows for, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, figure in {"scaling": scaling, "roofline": roofline}.items():
        if any(row["name"] == name for row in rows):
            made.append(folder / f"{name}.svg")
            figure(rows, made[-1])
    return made


def main(arguments: list[str]) -> int:
    """Draws the rows of a file, and prints the paths of the figures."""
    if len(arguments) != 2:
        print("error: give a file of rows and a folder", file=sys.stderr)
        return 2
    try:
        rows = stored.read(Path(arguments[0]))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, draw(rows, Path(arguments[1])))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
