"""Stage: numbers → pictures. Plain data comes in, a matplotlib `Figure` goes out; the only file that imports matplotlib.

No pyplot and no global state: a picture looks the same whatever the caller's settings. No number is smoothed or left
out; text stays text in SVG. Alignments are drawn as in figure 3 of Bahdanau, Cho and Bengio (2015), looks at places of an image
as in the figures of Xu et al. (2015).
"""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attention_jax.files import write_bytes
from attention_jax.types import DataError, legible

if TYPE_CHECKING:  # where it is used below: it takes a second to import, which a run has better use for
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
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    faint = faint or {}
    if not any(curves.values()):
        raise DataError("no curve to draw: there are no rows for any arm")
    colours = _colours([*curves, *faint])
    with _style():
        figure = _figure((7.6, 4.5))
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
    cell = min(0.3, (10.5 / columns - left) / inputs, 24 / outputs)
    size = ((max(inputs * cell, 1.8) + left) * columns + 0.7, (max(outputs * cell, 1.8) + above) * rows + (0.4 if title else 0))
    with _style():
        figure = _figure(size)
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


def overlay(image: np.ndarray, weights: np.ndarray | None, words: Sequence[str], title: str = "") -> Figure:
    """The image, then for each output what it looked at: a panel per word, named with the word and its largest weight.

    `image` is YxX (grey), YxXx1, YxXx3 or YxXx4, or YxX text: a field of symbols. `weights` are TxYxX, of coarser places than pixels as
    a rule, or TxP with P places row by row in the image's proportions. A picture is darkened where a word did not look, the
    places upsampled and smoothed by a Gaussian; the cells of a field turn blue where it did. Each panel is scaled to its own
    largest weight. None: an arm that looks at nothing gets a panel that says so.
    """
    image = np.asarray(image)
    if image.dtype.kind not in "biu":
        image = image.astype(str if image.dtype.kind in "OU" else float)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or not image.size:
        raise DataError(f"{title or 'overlay'}: an image of shape {image.shape} cannot be drawn; valid: YxX, YxXx1, YxXx3, YxXx4")
    weights_TxYxX = np.zeros((0, 1, 1)) if weights is None else _places(np.asarray(weights, float), image, title)
    if weights is not None and len(weights_TxYxX) != len(words):
        raise DataError(f"{title or 'overlay'}: there are weights of {len(weights_TxYxX)} outputs, but {len(words)} words")
    Y, X = image.shape[:2]
    panels = 2 if weights is None else 1 + len(words)
    columns = min(panels, 6)
    draw, width = (_field, max(1.2, 0.19 * X)) if image.dtype.kind == "U" else (_picture, 1.75 * min(1.0, X / Y))
    height, rows = width * Y / X, -(-panels // columns)
    with _style():
        figure = _figure((columns * (width + 0.15) + 0.2, rows * (height + 0.4) + (0.4 if title else 0)))
        first, *others = figure.subplots(rows, columns, squeeze=False).flat
        for axes in (first, *others):
            axes.set_axis_off()
        draw(first, image, None)
        first.set_title("input", size=9, color=GREY, weight="normal")
        if weights is None:
            others[0].text(0.5, 0.5, NO_ALIGNMENT, transform=others[0].transAxes, ha="center", va="center", size=9.5, color=GREY)
        for axes, word, weights_YxX in zip(others, words, weights_TxYxX, strict=False):
            draw(axes, image, weights_YxX / (weights_YxX.max() or 1))
            axes.set_title(f"{_printable(word)}  {weights_YxX.max():.2f}", size=9, weight="normal")
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
    return "<svg" + _render(figure, "svg").decode().partition("<svg")[2]


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and `STYLE`, whatever the caller has set, and that again afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # in SVG the reader's fonts draw it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _figure(size: tuple[float, float]) -> Figure:
    """Empty, of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _settled(figure: Figure) -> Figure:
    """Lays out once for all: PNG and SVG agree, and drawing again moves nothing. Text becomes what a picture can hold."""
    for text in figure.findobj(lambda artist: hasattr(artist, "set_text")):
        text.set_text(legible(text.get_text()))
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
        free = [colour for colour in [COLOURS.get(arm, others[0]), *others] if colour not in colours.values()]
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
            _printable(label, 40),
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
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Line2D([], [], color=GREY, lw=2, label="mean over seeds"), Patch(color=GREY, alpha=0.25, lw=0, label="95 % interval")]
    if faint_label:
        handles.append(Line2D([], [], color=GREY, lw=1, ls=(0, (4, 2.5)), label=faint_label))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=GREY)


def _panel(axes: Axes, panel: Panel, cell: float):
    """Draws one alignment; returns its image, or None for an empty panel."""
    shape = (len(panel.target_tokens), len(panel.source_tokens))
    axes.set_title(_printable(panel.title, 60), pad=8)
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


def _places(weights: np.ndarray, image: np.ndarray, title: str) -> np.ndarray:
    """TxP → TxYxX, in the proportions of the image."""
    if weights.ndim == 3:
        return weights
    Y, X = image.shape[:2]
    P = weights.shape[-1]
    rows = round((P * Y / X) ** 0.5) if weights.ndim == 2 else 0
    if not rows or P % rows or rows * rows * X != P * Y:
        raise DataError(f"{title or 'overlay'}: weights {weights.shape} are no places of a {Y} x {X} image; valid: output x row x column")
    return weights.reshape(len(weights), rows, P // rows)


def _picture(axes: Axes, image: np.ndarray, shares_YxX: np.ndarray | None) -> None:
    """An image, dark where a look did not go."""
    extent = (0, image.shape[1], image.shape[0], 0)
    axes.imshow(image, cmap="gray", extent=extent, interpolation="nearest")
    if shares_YxX is not None:
        shade_YxXx4 = np.zeros((*shares_YxX.shape, 4))
        shade_YxXx4[:, :, 3] = 0.8 * (1 - shares_YxX)
        axes.imshow(shade_YxXx4, extent=extent, interpolation="gaussian")


def _field(axes: Axes, symbols_YxX: np.ndarray, shares_YxX: np.ndarray | None) -> None:
    """Symbols in their cells, blue where a look went. One that fills more than half of them is background: pale, and in the input only."""
    Y, X = symbols_YxX.shape
    is_input, shares_YxX = shares_YxX is None, np.zeros((1, 1)) if shares_YxX is None else shares_YxX
    axes.imshow(shares_YxX, cmap="Blues", vmin=0, vmax=1, extent=(0, X, Y, 0), interpolation="nearest")
    symbols, counts = np.unique(symbols_YxX, return_counts=True)
    background = symbols[counts.argmax()] if 2 * counts.max() > symbols_YxX.size else None
    for (y, x), symbol in np.ndenumerate(symbols_YxX):
        if symbol == background and not is_input:
            continue
        dark = shares_YxX[y * shares_YxX.shape[0] // Y, x * shares_YxX.shape[1] // X] > 0.6
        colour = "white" if dark else "#b8c0c8" if symbol == background else INK
        axes.text(x + 0.5, y + 0.5, _printable(str(symbol), 3), ha="center", va="center", size=7, color=colour, in_layout=False)


def _printable(token: str, longest: int = 16) -> str:
    """A token that a tick can carry: no control characters, cut when long."""
    text = "".join(letter if letter.isprintable() else "�" for letter in token)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _inches(token: str) -> float:
    """About how long a tick label is."""
    return 0.08 * len(_printable(token))
