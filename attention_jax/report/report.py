"""Stage: numbers and pictures → one self-contained HTML page, and tables for a terminal.

The page loads nothing and runs nothing: style is inline, pictures are data URIs (an SVG shown as an image cannot run
scripts), everything that comes from data is escaped, and what no page can hold (`errors.legible`) is �. The same report gives the
same bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from attention_jax.report import figures
from attention_jax.report.figures import looks
from attention_jax.report.figures.looks import Panel
from attention_jax.report.tables import Table
from attention_jax.statistics.alignments import ENDS
from attention_jax.system.errors import ConfigError, DataError, legible
from attention_jax.system.files import write_bytes
from attention_jax.trained import Decoded

MOST_IN_ONE_PICTURE = 12


class Picture(NamedTuple):
    """`svg` is one <svg> element, as `figures.svg_text` makes it."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Report:
    """What a reader needs to believe the claim, or not, and to try it himself."""

    title: str
    claim: str
    verdict: str  # one of the values of the experiment's rule
    reason: str  # the rule, with the numbers that decided it
    budget: str  # budgets and seeds
    command: str  # the command line that makes this report again
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    config: dict = field(default_factory=dict)  # nested, as JSON
    environment: dict = field(default_factory=dict)  # flat: versions, device, commit


def render(report: Report) -> str:
    """The page as text."""
    config = json.dumps(report.config, indent=2, ensure_ascii=False)
    return _template("report.html.j2").render(title=report.title, pictures=_embedded(report.pictures), report=report, config=config)


def write(report: Report, path: str | Path) -> Path:
    """Renders to a file, which is replaced whole; `RunError` where that cannot be written."""
    write_bytes(path, render(report).encode())
    return Path(path)


def panel(title: str, example: dict, where: str) -> Panel:
    """The panel of a run's decoded example {"source", "output", "weights"}, read from the file `where`; else `DataError`."""
    tokens: list[Any] = [example.get(name) for name in ("source", "output")]
    if not all(isinstance(side, list) and all(isinstance(token, str) for token in side) for side in tokens):
        raise DataError(f"{where} is no decoded example: source and output must be lists of tokens; remove it, and the run's rows.jsonl")
    weights = example.get("weights")
    if weights is None:
        return Panel(title, None, *tokens)
    S, T = map(len, tokens)
    rows = weights if isinstance(weights, list) and len(weights) == T else [None]
    if not all(isinstance(row, list) and len(row) == S and all(map(_is_weight, row)) for row in rows):
        raise DataError(f"{where} is no decoded example: weights must be {T} x {S} numbers or null; remove it, and the run's rows.jsonl")
    return Panel(title, np.array(weights, float).reshape(T, S), *tokens)


def overlays(panels: Sequence[Panel]) -> list[Picture]:
    """A picture per alignment whose inputs are the places of a square field, row by row: the field, and where each output looked.

    An EOS behind the last place is left out; inputs that fill no square raise `DataError`.
    """
    return [Picture(f"{panel.title}: the input, and where each output looked", figures.svg_text(_overlay(panel))) for panel in panels]


def write_alignments(outputs: Sequence[Decoded], path: str | Path, title: str, spatial: bool = False) -> None:
    """Draws where each decoded output looked: a page with a picture for each (.html), or one picture with all (.png, a few only).

    An output whose weights are all zero comes from an arm that looks at nothing, and gets an empty panel that says so. `spatial`:
    inputs are the places of a square field, and looks are drawn over it (as .png of a single output only).
    """
    path = Path(path)
    if not outputs:
        raise DataError("no alignment to draw: every input line is empty")
    panels = [
        Panel(f"{number}", output.weights_TxS if output.weights_TxS.any() else None, output.source_tokens, output.output_tokens)
        for number, output in enumerate(outputs, start=1)
    ]
    if path.suffix == ".png":
        most = 1 if spatial else MOST_IN_ONE_PICTURE
        if len(outputs) > most:
            raise ConfigError(f"{path}: {len(outputs)} outputs do not fit one picture; give {most} or fewer, or a .html")
        write_bytes(path, figures.png_bytes(_overlay(panels[0]) if spatial else looks.alignments(panels, title)))
        return
    drawn = (figures.svg_text(_overlay(panel) if spatial else looks.alignments([panel])) for panel in panels)
    pictures = [Picture(f"{panel.title}. {output.text}", svg) for panel, output, svg in zip(panels, outputs, drawn, strict=True)]
    write_bytes(path, _template("page.html.j2").render(title=title, pictures=_embedded(pictures)).encode())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned plain text: the first column to the left, the others to the right, a rule below the header."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in (header, *rows)
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def _overlay(panel: Panel) -> figures.Figure:
    symbols = panel.source_tokens[:-1] if panel.source_tokens[-1:] == [ENDS[0]] else panel.source_tokens
    side = isqrt(len(symbols))
    if not side or side**2 != len(symbols):
        raise DataError(f"{panel.title}: {len(symbols)} input symbols fill no square field")
    weights_TxYxX = None
    if panel.weights_TxS is not None:
        weights_TxYxX = np.asarray(panel.weights_TxS, float)[:, : len(symbols)].reshape(-1, side, side)
    return looks.overlay(np.array(symbols, str).reshape(side, side), weights_TxYxX, panel.target_tokens, panel.title)


def _template(name: str) -> jinja2.Template:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("attention_jax.report", ""),
        autoescape=True,
        finalize=lambda value: legible(value) if isinstance(value, str) else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(name)


def _embedded(pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """(caption, data URI) of each."""
    prefix = "data:image/svg+xml;base64,"
    return [(caption, prefix + base64.b64encode(svg.encode("utf-8", "replace")).decode()) for caption, svg in pictures]
