"""Stage: numbers → pictures. Plain data comes in, a matplotlib `Figure` goes out; nothing else imports matplotlib.

    curves      a measure by length, a line per arm
    ladders     what a budget buys: L50 by budget, and rate curves
    capacities  what a size buys: L* by size and budget
    powers      values by length on logarithmic axes, in two units
    positions   errors by position, beside what a probe reads
    frontiers   what a state recalls: a share by size, a line per cell
    repeats     every seed of every run, beside published repeats
    looks       alignments: heat maps of weights, and images with weights over them
    animations  a decoder looking, output by output
    drawn       a picture that a notebook shows
    described   what a figure shows, in words

All pictures share one style and one layout. No pyplot and no global state: a picture looks the same whatever the
caller's settings. No number is smoothed or left out; text stays text in SVG.
"""

from __future__ import annotations

import contextlib
import functools
import html
import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_jax.config import choose
from attention_jax.system.errors import legible
from attention_jax.system.files import write_bytes

if TYPE_CHECKING:  # where it is used below: it takes a second to import, which a run has better use for
    from matplotlib.figure import Figure
    from matplotlib.text import Text

INK, GREY, PALE = "#1f2328", "#656d76", "#eef2f6"

STYLE: dict[str, Any] = {
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


SIZES = {"page": 1.0, "slide": 1.4}
"""{style: how much larger letters and lines are, beside their picture}."""

SCALES = {"page": 1.0, "slide": 1.6}
"""{style: how much larger a file is than it is drawn}: on a slide a tick's letters of 9 points have 14."""

_style: ContextVar[str] = ContextVar("style", default="page")

DOTS = 150
"""Dots per inch of a PNG, as pages have it; a picture for a slide has more of them, by its scale."""

FALLBACKS = (
    "Noto Sans CJK SC, Noto Sans CJK JP, Noto Sans SC, Source Han Sans SC, WenQuanYi Zen Hei, WenQuanYi Micro Hei, "
    "PingFang SC, Hiragino Sans, Apple SD Gothic Neo, Microsoft YaHei, Malgun Gothic, Noto Sans Devanagari, Lohit Devanagari, "
    "Kohinoor Devanagari, Nirmala UI, Mangal, Noto Sans Arabic, Noto Sans Hebrew, Noto Sans Thai, Noto Emoji, Segoe UI Symbol, "
    "Segoe UI Emoji, Arial Unicode MS, FreeSans, Unifont"
).split(", ")
"""Fonts that PNGs take letters from which DejaVu Sans lacks, in this order, where they are installed. SVGs leave that to their reader."""

logger = logging.getLogger(__name__)


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Writes `stem`.png and `stem`.svg, and returns their paths; equal figures give equal bytes under the same versions."""
    stem = Path(stem)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    write_bytes(png, png_bytes(figure))
    write_bytes(svg, svg_file(figure))
    return [png, svg]


def png_bytes(figure: Figure) -> bytes:
    """Returns the figure as the content of a PNG file, 150 dots per inch. Logs letters that no font here has: they are boxes."""
    strange = [text for text in _texts(figure) if not text.get_text().isascii()]
    if lacking := lacked(letter for text in strange for letter in text.get_text()):
        fonts = [name for name in FALLBACKS if _letters(name)]
        for text in strange:
            text.set_fontfamily([*STYLE["font.sans-serif"], *fonts])
        if boxes := lacked(lacking, fonts):
            shown = " ".join(boxes[:10])
            logger.warning("no font here has %s%s: boxes in a .png; .svg and .html have them", shown, " …" if len(boxes) > 10 else "")
    try:
        return _render(figure, "png")
    finally:
        for text in strange if lacking else ():
            text.set_fontfamily(STYLE["font.family"])


def lacked(letters: Iterable[str], fonts: Sequence[str] = ()) -> list[str]:
    """Lists the letters, each once, that neither DejaVu Sans has nor one of these fonts."""
    known = frozenset().union(*map(_letters, (*STYLE["font.sans-serif"], *fonts)))
    return [letter for letter in dict.fromkeys(letters) if ord(letter) not in known and letter.isprintable()]


@functools.cache
def _letters(font: str) -> frozenset[int]:
    """The code points of a font; none where it is not installed."""
    from matplotlib.font_manager import fontManager, get_font

    files = [entry.fname for entry in fontManager.ttflist if entry.name == font]
    return frozenset(get_font(files[0]).get_charmap()) if files else frozenset()


def _texts(figure: Figure) -> list[Text]:
    return figure.findobj(lambda artist: hasattr(artist, "set_text"))  # pyright: ignore[reportReturnType]  # only texts have it


def svg_file(figure: Figure) -> bytes:
    """Returns the figure as the content of an SVG file, in which text is text; it has a title for those who listen (`described`)."""
    return _render(figure, "svg")


def svg_text(figure: Figure) -> str:
    """Returns the figure as one SVG element, for a file or a page."""
    return "<svg" + _render(figure, "svg").decode().partition("<svg")[2]


@contextlib.contextmanager
def sized(style: str) -> Iterator[None]:
    """Draws pictures for a page or for a slide within the context: `SIZES`. Raises `ConfigError` for another name."""
    token = _style.set(choose("--style", style, SIZES))
    try:
        yield
    finally:
        _style.reset(token)


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Sets Matplotlib's defaults and `STYLE` within the context, and restores the caller's settings afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # in SVG the reader's fonts draw it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]  # keys are typed as literals
        yield


def empty(size: tuple[float, float]) -> Figure:
    """Returns an empty figure of this width and height in inches, as a page has it (`sized`)."""
    from attention_jax.report.figures.drawn import Drawn

    larger = SIZES[_style.get()]
    figure = Drawn(figsize=(size[0] / larger, size[1] / larger), layout="constrained")
    figure.png = functools.partial(png_bytes, figure)
    return figure


def settled(figure: Figure) -> Figure:
    """Fixes the layout, so that PNG and SVG agree and drawing again moves nothing, and makes all text printable.

    A figure gets wider where a title is wider than it.
    """
    texts = _texts(figure)
    for text in texts:
        text.set_text(legible(text.get_text()))
    figure.draw_without_rendering()
    for _ in range(4):
        ends = (text.get_window_extent().x1 for text in texts if text.get_text() and text.get_visible())
        if (over := max(ends, default=0) - figure.bbox.x1) <= 0:
            break
        figure.set_figwidth(figure.get_figwidth() + 2 * over / figure.dpi)  # axes that are centred take half of it
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def printable(token: str, longest: int = 16) -> str:
    """Returns a token for a tick: without control characters, cut to `longest`."""
    text = "".join(letter if letter.isprintable() else "�" for letter in token)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def scale() -> float:
    """Returns how much larger files are than they are drawn, in the style that is set."""
    return SCALES[_style.get()]


def _render(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": dict.fromkeys(("Creator", "Date", "Format", "Type"))}[kind]
    with styled():
        figure.savefig(buffer, format=kind, dpi=round(DOTS * scale()), facecolor="white", metadata=metadata)
    return buffer.getvalue() if kind == "png" else _titled(figure, buffer.getvalue().decode()).encode()


def _titled(figure: Figure, svg: str) -> str:
    """Returns an SVG as large as the style has it, as an image whose title says what it shows."""
    from attention_jax.report.figures.described import words

    def beginning(tag: re.Match[str]) -> str:
        sized = re.sub(r'(width|height)="([\d.]+)pt"', lambda side: f'{side[1]}="{float(side[2]) * scale():.10g}pt"', tag[1])
        return f'<svg role="img" {sized}>\n <title>{html.escape(legible(words(figure)), quote=False)}</title>'

    return re.sub(r"<svg ([^>]*)>", beginning, svg, count=1)
