"""Decoded examples → the data of a page that shows them step by step, side by side (`explorer.js`).

    facets      what a reader chooses among, as lines of an input, or seeds, lengths and budgets
    panels      what is compared on the same input: arms, or runs
    views       an example for a panel and a value of each facet

The data are JSON. Texts are a table, `tokens`, and elsewhere numbers of its entries; weights and probabilities are bytes in base64. All
that comes from data is cut to `LONGEST` letters and `legible`, and the page's template escapes it.
"""

import json
import unicodedata
from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

from attention_jax.running import examples
from attention_jax.running.examples import Example
from attention_jax.system.errors import legible

LONGEST = 80
"""Letters of a token that are shown; of a longer one the beginning."""

MOST_BYTES = 9_000_000
"""Size of the data in a page; views that do not fit are left out, which the page says."""


class Facet(NamedTuple):
    """Something to choose. `loose`: where a panel has no such view, that with the nearest value below is shown, and the page says so."""

    name: str
    values: Sequence[str]  # in order
    loose: bool = False
    start: int = 0  # what is shown first


class View(NamedTuple):
    """One example: of a panel, and at a value of each facet (their places in `Explorer.panels` and `Facet.values`)."""

    panel: int
    facets: tuple[int, ...]
    example: Example
    note: str = ""


class Explorer(NamedTuple):
    """What a page explores. Views come in the order in which they are to be kept where not all fit."""

    panels: Sequence[str]
    facets: Sequence[Facet]
    views: Sequence[View]
    shown: Sequence[int] = (0,)  # panels that are shown first, side by side
    spatial: bool = False  # True where inputs are the places, row by row, of images or square fields


def columns(example: Example) -> int:
    """Counts the places in a row of the input of an example, an image or a square field; 0 of one without places."""
    places = len(example.source)
    if not places:
        return 0
    if example.image is None:
        return isqrt(places)  # an EOS behind the places makes no row more
    Y, X = examples.pixels(example.image).shape
    return X * isqrt(places * Y * X) // (Y * X)  # X / side of a patch, side² = Y X / places


MOST_MARKS = 4
"""Combining marks on one letter that are shown: hundreds of them would be drawn over the lines around."""


def cut(text: str, longest: int = LONGEST) -> str:
    """Returns a text as a page shows it: legible, and at most `longest` letters, with at most `MOST_MARKS` marks each."""
    shown, marks = "", 0
    for letter in legible(text[: 4 * longest]):
        marks = marks + 1 if unicodedata.combining(letter) else 0
        shown += letter if marks <= MOST_MARKS else ""
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def data(explorer: Explorer) -> str:
    """Returns the JSON of a page's data."""
    tokens: dict[str, int] = {}
    rows, size = [], 0
    for view in explorer.views:
        known = len(tokens)
        row = _compact([*_row(view, tokens), columns(view.example) if explorer.spatial else 0])
        new = sum(len(token) + 16 for token in list(tokens)[known:])
        size += len(row.encode()) + 4 * row.count('"') + new  # a quote is five letters once it is escaped
        if size > MOST_BYTES and rows:
            break
        rows.append(row)
    rest = {
        "panels": [cut(panel) for panel in explorer.panels],
        "facets": [facet._asdict() | {"values": [cut(value) for value in facet.values]} for facet in explorer.facets],
        "shown": list(explorer.shown),
        "peak": max((view.example.peak for view in explorer.views), default=1.0),
        "tokens": list(tokens),
    }
    return f'{_compact(rest)[:-1]},"views":[{",".join(rows)}]}}'


def left_out(explorer: Explorer, text: str) -> int:
    """Returns how many views of an explorer are not in its data."""
    return len(explorer.views) - len(json.loads(text)["views"])


def _row(view: View, tokens: dict[str, int]) -> list[Any]:
    """Returns a view as the page has it, and adds the tokens that are new to `tokens`."""

    def numbers(texts: Sequence[str]) -> list[int]:
        return [tokens.setdefault(cut(text), len(tokens)) for text in texts]

    example = view.example
    target = None if example.target is None else numbers(example.target)
    weights = None if example.weights is None else examples.text(example.weights)
    likely = numbers([text for step in example.likely for text in step])
    known = [weights, example.peak, example.entropy, example.norm, likely, examples.text(example.shares)]
    drawn = None if example.image is None else examples.text(example.image)
    return [view.panel, list(view.facets), numbers(example.source), numbers(example.output), target, *known, cut(view.note, 400), drawn]


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
