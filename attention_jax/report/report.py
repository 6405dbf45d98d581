"""Stage: numbers and pictures → one self-contained HTML page, and tables for a terminal.

The page loads nothing and runs nothing: style is inline, pictures are data URIs (an SVG shown as an image cannot run
scripts), everything that comes from data is escaped, and characters that no page can hold (`errors.legible`) become �. Equal reports give
equal bytes.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from tqdm import tqdm

from attention_jax.report import figures
from attention_jax.report.figures import looks
from attention_jax.report.figures.looks import Panel
from attention_jax.report.tables import Table
from attention_jax.statistics.alignments import ENDS
from attention_jax.system.errors import ConfigError, DataError, legible, one_line
from attention_jax.system.files import write_bytes
from attention_jax.trained import Decoded

NAMES = re.compile(r"`([\w./*-]+)`")

MOST_PICTURES = {".html": 1000, ".png": 12}
"""Kinds of file that alignments are drawn to, and how many fit. A second draws about two pictures."""


class Picture(NamedTuple):
    """A captioned picture; `svg` is one <svg> element, as `figures.svg_text` returns it."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Report:
    """The content of a page: claim, verdict, tables, pictures, and the config, environment and command to repeat it."""

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
    """Returns the page as HTML."""
    config = json.dumps(report.config, indent=2, ensure_ascii=False)
    shown = {"claim": prose(report.claim), "reason": code(report.reason)}
    pictures = _embedded(report.pictures)
    return _template("report.html.j2").render(title=report.title, pictures=pictures, report=report, config=config, **shown)


def write(report: Report, path: str | Path) -> Path:
    """Renders to a file, replacing it whole, and returns its path. Raises `RunError` where it cannot be written."""
    write_bytes(path, render(report).encode())
    return Path(path)


def panel(title: str, example: dict, where: str) -> Panel:
    """Returns the panel of a decoded example {"source", "output", "weights"} of the file `where`. Raises `DataError` for anything else."""
    tokens: list[Any] = [example.get(name) for name in ("source", "output")]
    if not all(isinstance(side, list) and all(isinstance(token, str) for token in side) for side in tokens):
        raise DataError(f"{where} is no decoded example: source and output must be lists of tokens; remove it, and the run's rows.jsonl")
    weights, drawn = example.get("weights"), _image(example.get("image"), where)
    if weights is None:
        return Panel(title, None, *tokens, image=drawn)
    S, T = map(len, tokens)
    rows = weights if isinstance(weights, list) and len(weights) == T else [None]
    if not all(isinstance(row, list) and len(row) == S and all(map(_is_weight, row)) for row in rows):
        raise DataError(f"{where} is no decoded example: weights must be {T} x {S} numbers or null; remove it, and the run's rows.jsonl")
    return Panel(title, np.array(weights, float).reshape(T, S), *tokens, image=drawn)


def _image(rows: Any, where: str) -> np.ndarray | None:
    """Returns the bytes of an example's image, or None where it has none. Raises `DataError` for anything else."""
    if rows is None:
        return None
    try:
        drawn = np.array(rows, np.uint8)
    except (TypeError, ValueError, OverflowError):
        drawn = np.zeros(0)
    if drawn.ndim != 2 or not drawn.size:
        raise DataError(f"{where} is no decoded example: image must be rows of bytes; remove it, and the run's rows.jsonl")
    return drawn


def overlays(panels: Sequence[Panel]) -> list[Picture]:
    """Draws a picture per alignment over an image, or a square field whose places row by row are the inputs: it, and each output's weights.

    An EOS behind the last place of a field is left out. Raises `DataError` for inputs that fill neither.
    """
    return [Picture(f"{panel.title}: the input, and where each output looked", figures.svg_text(overlay(panel))) for panel in panels]


def check_alignments(path: str | Path, pictures: int, spatial: bool = False) -> None:
    """Raises `ConfigError` for a file that `write_alignments` does not write, or that cannot hold so many pictures."""
    path = Path(path)
    if path.suffix not in MOST_PICTURES:
        raise ConfigError(f"--alignments={path} must end in {' or '.join(MOST_PICTURES)}")
    most = 1 if spatial and path.suffix == ".png" else MOST_PICTURES[path.suffix]
    if pictures > most:
        other = ", or a .html" if path.suffix == ".png" else ""
        raise ConfigError(f"--alignments={path}: up to {pictures} outputs do not fit; give {most} or fewer{other}")


def write_alignments(
    lines: Sequence[str], outputs: Sequence[Sequence[Decoded]], path: str | Path, title: str, spatial: bool = False
) -> None:
    """Draws the alignment of each output of each line: a page with a picture for each (.html), or one picture with all (.png, a few only).

    `outputs` are those of `lines`, best first. Pictures are numbered by line, and by rank where a line has several; a caption has source,
    output and score. An output whose weights are all zero comes from an arm without attention, and gets an empty panel that says so.
    `spatial`: inputs are the places of a square field, and weights are drawn over it (as .png of a single output only).
    """
    path = Path(path)
    panels, captions = [], []
    for number, (line, of_line) in enumerate(zip(lines, outputs, strict=True), start=1):
        for rank, output in enumerate(of_line, start=1):
            if not output.source_tokens:
                continue
            name = f"{number}.{rank}" if len(of_line) > 1 else f"{number}"
            weights_TxS = output.weights_TxS if output.weights_TxS.any() else None
            panels.append(Panel(name, weights_TxS, output.source_tokens, output.output_tokens, image=output.image_YxX))
            ranked = f", rank {rank} of {len(of_line)}" if len(of_line) > 1 else ""
            captions.append(f"line {number}{ranked}, score {output.score:.4f}: {line.strip()} → {output.text}")
    if not panels:
        raise DataError("no alignment to draw: every input line is empty")
    check_alignments(path, len(panels), spatial)
    if path.suffix == ".png":
        write_bytes(path, figures.png_bytes(overlay(panels[0]) if spatial else looks.alignments(panels, title)))
        return
    pictures = [
        Picture(caption, figures.svg_text(overlay(panel) if spatial else looks.alignments([panel])))
        for caption, panel in zip(captions, tqdm(panels, "drawing", unit="picture", delay=2, leave=False, disable=None), strict=True)
    ]
    write_bytes(path, _template("page.html.j2").render(title=title, pictures=_embedded(pictures)).encode())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns aligned plain text: the first column to the left, the others to the right, a rule below the header."""
    header, *rows = [[one_line(cell) for cell in row] for row in (header, *rows)]
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in (header, *rows)
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def prose(text: str) -> list[tuple[bool, list[tuple[str, list[str]]]]]:
    """Takes a docstring's text, as `sweep.reflowed` leaves it, apart: (whether they are items of a list, their lines), one after the other.

    A line is (term, parts), every second part being `code`. An indented line is an item, and what stands before
    two spaces or more in it is its term.
    """
    blocks = []
    for paragraph in text.strip("\n").split("\n\n"):
        for are_items, lines in itertools.groupby(paragraph.split("\n"), lambda line: line.startswith("  ")):
            blocks.append((are_items, [_item(line) if are_items else ("", code(line)) for line in lines]))
    return blocks


def _item(line: str) -> tuple[str, list[str]]:
    term, _, rest = line.strip().partition("  ")
    return (term, code(rest.strip())) if rest else ("", code(term))


def code(text: str) -> list[str]:
    """Takes a text apart at names between backticks: every second part is one."""
    return NAMES.split(text)


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def overlay(panel: Panel) -> figures.Figure:
    """Draws one alignment over its image or field. Raises `DataError` as `overlays` does."""
    if panel.image is not None:
        return looks.overlay(panel.image, panel.weights_TxS, panel.target_tokens, panel.title)
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
        finalize=lambda value: legible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(name)


def _embedded(pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """Returns (caption, data URI) of each picture."""
    prefix = "data:image/svg+xml;base64,"
    return [(caption, prefix + base64.b64encode(svg.encode("utf-8", "replace")).decode()) for caption, svg in pictures]
