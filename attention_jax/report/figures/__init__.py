"""Stage: numbers → pictures. Plain data comes in, a matplotlib `Figure` goes out; nothing else imports matplotlib.

    curves    a measure by length, a line per arm
    ladders   what a budget buys: L50 by budget, and rate curves
    looks     where outputs looked: heat maps, and images with what was looked at

Here is what all pictures share: one style, one layout, files. No pyplot and no global state: a picture looks the same whatever the
caller's settings. No number is smoothed or left out; text stays text in SVG.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_jax.system.errors import legible
from attention_jax.system.files import write_bytes

if TYPE_CHECKING:  # where it is used below: it takes a second to import, which a run has better use for
    from matplotlib.figure import Figure

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
def styled() -> Iterator[None]:
    """Matplotlib's own defaults and `STYLE`, whatever the caller has set, and that again afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # in SVG the reader's fonts draw it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]  # keys are typed as literals
        yield


def empty(size: tuple[float, float]) -> Figure:
    """A figure without content, of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def settled(figure: Figure) -> Figure:
    """Lays out once for all: PNG and SVG agree, and drawing again moves nothing. Text becomes what a picture can hold."""
    for text in figure.findobj(lambda artist: hasattr(artist, "set_text")):
        text.set_text(legible(text.get_text()))  # pyright: ignore[reportAttributeAccessIssue]  # only those that have it were found
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def printable(token: str, longest: int = 16) -> str:
    """A token that a tick can carry: no control characters, cut when long."""
    text = "".join(letter if letter.isprintable() else "�" for letter in token)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _render(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": dict.fromkeys(("Creator", "Date", "Format", "Type"))}[kind]
    with styled():
        figure.savefig(buffer, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return buffer.getvalue()
