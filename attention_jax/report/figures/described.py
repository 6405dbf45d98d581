"""What a figure shows, in words: the title of its SVG, its caption on a page, and what is read to those who do not see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

MOST = 12
"""Names of panels or lines that are said; the others are counted."""


def words(figure: Figure) -> str:
    """Returns the figure's title, what each panel draws against what, and the names of its lines; "" where nothing is written."""
    sentences = figure.get_suptitle().splitlines()
    titles: dict[str, list[str]] = {}
    y = ""  # panels that share an axis have its name at the first of them
    for axes in figure.axes:
        if axes.get_visible() and axes.get_label() != "<colorbar>":
            y = axes.get_ylabel() or y
            titles.setdefault(_axes(axes, y), []).append(_one_line(axes.get_title("left")))
    for what, several in titles.items():
        named = list(dict.fromkeys(filter(None, several)))
        sentences += [f"Panels {_listed(named)}: {what}"] if len(named) > 1 else [*named, f"{what[:1].upper()}{what[1:]}"]
    if names := _lines(figure):
        sentences.append(f"Lines: {names}")
    return " ".join(f"{text.rstrip('.')}." for text in sentences if text)


def _axes(axes: Axes, y: str) -> str:
    """Returns what a panel draws against what."""
    x = axes.get_xlabel()
    if axes.images and not any(np.any(image.get_array()) for image in axes.images):
        return "no weights, it attends to nothing"
    if axes.images:
        return "a heat map of weights, inputs from left to right and outputs from top to bottom" if y else "weights over the input"
    if alone := [_one_line(text.get_text()) for text in axes.texts if _is_alone(text, axes)]:
        return _listed(alone)
    return _one_line(f"{y} against {x}" if x and y else f"by {x}" if x else y)


def _is_alone(text: Text, axes: Axes) -> bool:
    """Returns whether a text stands in a panel for itself, and not at a point of it."""
    return text.get_transform() == axes.transAxes and not hasattr(text, "arrow_patch")


def _lines(figure: Figure) -> str:
    """Returns the names beside the ends of lines or, where there are none, those of the legends and what they are."""
    ends = [text.get_text() for axes in figure.axes for text in axes.texts if getattr(text, "arrow_patch", None)]
    if ends:
        return _listed(ends)
    legends = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()))]
    kinds = _listed([legend.get_title().get_text() for legend in legends])
    return _listed([text.get_text() for legend in legends for text in legend.get_texts()]) + (f" ({kinds})" if kinds else "")


def _listed(names: Sequence[str]) -> str:
    """Joins names, each once."""
    every = list(dict.fromkeys(_one_line(name) for name in names if name))
    return "; ".join(every[:MOST]) + (f" and {len(every) - MOST} more" if len(every) > MOST else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
