"""Stage: numbers → pictures. Plain data comes in, a matplotlib `Figure` goes out; the only file that imports matplotlib.

No pyplot and no global state: a picture looks the same whatever the caller's settings. No number is smoothed or left
out; text stays text in SVG. Alignments are drawn as in figure 3 of Bahdanau, Cho and Bengio (2015).
"""

import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from attention_jax.results import write_bytes
from attention_jax.types import DataError

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
NO_ALIGNMENT = "no alignment:\nthis arm looks at\none fixed vector"
INK, GREY, PALE = "#1f2328", "#656d76", "#eef2f6"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": "#d8dee4",
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "attention_jax",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


class Panel(NamedTuple):
    """One alignment: rows are outputs, columns inputs, a row's weights sum to one. None: the arm has no weights to show."""

    title: str
    weights_TxS: np.ndarray | None
    source_tokens: Sequence[str]
    target_tokens: Sequence[str]


def length_curves(
    curves: dict[str, dict[int, tuple]],
    *,
    title: str,
    ylabel: str,
    xlabel: str = "length (payload tokens)",
    trained: tuple[int, int] | None = None,
    faint: dict[str, dict[int, tuple]] | None = None,
    faint_label: str = "at half the budget",
    percent: bool = True,
) -> Figure:
    """One line per arm over lengths, with its 95 % band, named at its right end; `trained` lengths are shaded.

    Intervals begin with (mean, low, high), bounds NaN where there are none; with `percent` they are fractions.
    `faint` holds the same arms in another state (half the budget): thin, dashed, without band.
    """
    faint = faint or {}
    if not any(curves.values()):
        raise DataError("no curve to draw: there are no rows for any arm")
    colours = _colours([*curves, *faint])
    with _style():
        figure = Figure(figsize=(7.6, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        for label, curve in faint.items():
            axes.plot(list(curve), [interval[0] for interval in curve.values()], color=colours[label], lw=1, ls=(0, (4, 2.5)), alpha=0.75)
        for (label, curve), marker in zip(curves.items(), itertools.cycle(MARKERS), strict=False):
            means, lows, highs = (np.array([interval[i] for interval in curve.values()], float) for i in range(3))
            axes.fill_between(list(curve), lows, highs, color=colours[label], alpha=0.16, lw=0)
            axes.plot(list(curve), means, color=colours[label], lw=2, marker=marker, ms=4.5, mec="white", mew=0.6, clip_on=False, zorder=3)
        if percent:
            axes.set_ylim(0, 1.0)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        lengths = sorted({length for curve in (*curves.values(), *faint.values()) for length in curve})
        margin = max(0.5, 0.015 * (lengths[-1] - lengths[0]))
        axes.set_xlim(lengths[0] - margin, lengths[-1] + margin)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        if trained:
            _shade(axes, trained)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title, pad=24 if trained else 10)
        _name_ends(axes, {label: curve for label, curve in curves.items() if curve}, colours)
        _key(figure, faint_label if faint else None)
        return _settled(figure)


def alignment(weights_TxS: np.ndarray | None, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str) -> Figure:
    """Heat map of where each output looked; without weights an empty panel that says so."""
    return alignments([Panel(title, weights_TxS, source_tokens, target_tokens)])


def alignments(panels: Sequence[Panel], title: str = "") -> Figure:
    """One heat map per arm, side by side, white = 0 and dark = 1; an arm without weights gets an empty panel that says so."""
    if not panels:
        raise DataError("no alignment to draw: there is no arm")
    inputs = max(1, *(len(panel.source_tokens) for panel in panels))
    outputs = max(1, *(len(panel.target_tokens) for panel in panels))
    columns = min(len(panels), max(1, 66 // max(22, inputs)))  # as many as stay readable
    rows = -(-len(panels) // columns)
    left = 0.5 + max((_inches(token) for panel in panels for token in panel.target_tokens), default=0)
    above = 0.9 + max((_inches(token) for panel in panels for token in panel.source_tokens), default=0)
    cell = min(0.3, (10.5 / columns - left) / inputs)
    size = ((max(inputs * cell, 1.8) + left) * columns + 0.7, (max(outputs * cell, 1.8) + above) * rows + (0.4 if title else 0))
    with _style():
        figure = Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
        places = figure.subplots(rows, columns, squeeze=False)
        images = []
        for axes, panel in itertools.zip_longest(places.flat, panels):
            if panel is None:
                axes.set_visible(False)
            elif (image := _panel(axes, panel, cell)) is not None:
                images.append(image)
        for axes in places[:, 0]:
            axes.set_ylabel("output", color=GREY)
        if images:
            bar = figure.colorbar(images[0], ax=list(places[0]), fraction=0.04, shrink=0.7, pad=0.01, ticks=(0, 0.5, 1), panchor=False)
            bar.outline.set_visible(False)
            bar.set_label("weight", size=9, color=GREY)
        if title:
            figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11.5)
        return _settled(figure)


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Writes `stem`.png and `stem`.svg whole; the same figure gives the same bytes in every run of the same versions."""
    stem = Path(stem)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    write_bytes(png, png_bytes(figure))
    write_bytes(svg, _render(figure, "svg"))
    return [png, svg]


def png_bytes(figure: Figure) -> bytes:
    """The figure as the content of a PNG file, 150 dots per inch."""
    return _render(figure, "png")


def svg_text(figure: Figure) -> str:
    """The figure as one SVG element that stands alone or inside a page."""
    text = _render(figure, "svg").decode()
    return text[text.index("<svg") :]


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and `STYLE`, whatever the caller has set, and that again afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # in SVG the reader's fonts draw it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _settled(figure: Figure) -> Figure:
    """Lays out once for all: PNG and SVG agree, and drawing again moves nothing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _render(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": dict.fromkeys(("Creator", "Date", "Format", "Type"))}[kind]
    with _style():
        figure.savefig(buffer, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return buffer.getvalue()


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """The arm's colour for a label that is an arm or begins with one ("summary, lstm"), if not taken; else the next of the others."""
    colours: dict[str, str] = {}
    others = [*OTHER_COLOURS, *COLOURS.values()]
    for label in dict.fromkeys(labels):
        arm = label.replace(",", " ").replace("-", " ").split(" ")[0]
        wanted = [COLOURS[arm]] if arm in COLOURS else []
        free = [colour for colour in wanted + others if colour not in colours.values()]
        colours[label] = free[0] if free else others[len(colours) % len(others)]
    return colours


def _shade(axes: Axes, trained: tuple[int, int]) -> None:
    """Shades the trained lengths and names them above the axes."""
    low, high = trained[0] - 0.5, trained[1] + 0.5
    left, right = axes.get_xlim()
    axes.axvspan(low, high, color=PALE, lw=0, zorder=0)
    axes.set_xlim(left, right)
    above = axes.get_xaxis_transform()
    axes.plot([max(low, left), min(high, right)], [1.02, 1.02], color=GREY, lw=2.5, transform=above, clip_on=False, solid_capstyle="butt")
    axes.text(
        max(low, left), 1.035, f"trained lengths {trained[0]}–{trained[1]}", transform=above, ha="left", va="bottom", size=9, color=GREY
    )
    if high < right:
        axes.text(right, 1.035, "longer than any trained on", transform=above, ha="right", va="bottom", size=9, color=GREY)


def _name_ends(axes: Axes, curves: dict[str, dict[int, tuple]], colours: dict[str, str]) -> None:
    """Writes each arm's name to the right of its line's end, moved apart where ends are close."""
    bottom, top = axes.get_ylim()
    ends = {label: (curve[max(curve)][0] - bottom) / (top - bottom) for label, curve in curves.items()}
    heights = _apart(list(ends.values()), gap=0.062)
    right = axes.get_xlim()[1]
    for (label, curve), height in zip(curves.items(), heights, strict=True):
        axes.annotate(
            label,
            xy=(max(curve), curve[max(curve)][0]),
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


def _key(figure: Figure, faint_label: str | None) -> None:
    """Says what lines and bands are, below the axes."""
    handles = [Line2D([], [], color=GREY, lw=2, label="mean over seeds"), Patch(color=GREY, alpha=0.25, lw=0, label="95 % interval")]
    if faint_label:
        handles.append(Line2D([], [], color=GREY, lw=1, ls=(0, (4, 2.5)), label=faint_label))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=GREY)


def _panel(axes: Axes, panel: Panel, cell: float):
    """Draws one alignment; returns its image, or None for an empty panel."""
    shape = (len(panel.target_tokens), len(panel.source_tokens))
    axes.set_title(panel.title, pad=8)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#c8d0d8")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=min(9, 72 * cell * 0.72))
    axes.set_xticks(range(shape[1]), [_printable(token) for token in panel.source_tokens])
    axes.set_yticks(range(shape[0]), [_printable(token) for token in panel.target_tokens])
    long = [len(token) > 2 for token in panel.source_tokens]
    for label, turned in zip(axes.get_xticklabels(), long, strict=True):
        label.set_rotation(90 if turned or 2 * sum(long) > len(long) else 0)
    axes.set_xlabel("input", color=GREY)
    axes.xaxis.set_label_position("top")
    axes.set_xlim(-0.5, max(shape[1], 1) - 0.5)
    axes.set_ylim(max(shape[0], 1) - 0.5, -0.5)
    axes.set_aspect("equal", anchor="N")
    if panel.weights_TxS is None:
        axes.set_facecolor("#f6f8fa")
        axes.text(0.5, 0.5, NO_ALIGNMENT, transform=axes.transAxes, ha="center", va="center", size=9.5, color=GREY, linespacing=1.5)
        return None
    weights_TxS = np.asarray(panel.weights_TxS, float)
    if weights_TxS.shape != shape:
        raise DataError(f"{panel.title}: weights are {weights_TxS.shape}, but there are {shape[0]} output and {shape[1]} input tokens")
    return axes.imshow(weights_TxS, cmap="Blues", vmin=0, vmax=1, interpolation="none")


def _printable(token: str, longest: int = 16) -> str:
    """A token that a tick can carry: no control characters, cut when long."""
    text = "".join(letter if letter.isprintable() else "�" for letter in token)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _inches(token: str) -> float:
    """About how long a tick label is."""
    return 0.08 * len(_printable(token))
