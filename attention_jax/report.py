"""Stage: numbers and pictures → one self-contained HTML page, and tables for a terminal.

The page loads nothing and runs nothing: style is inline, pictures are data URIs (an SVG shown as an image cannot run
scripts), everything that comes from data is escaped. The same report gives the same bytes.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jinja2

from attention_jax.results import write_bytes


class Table(NamedTuple):
    """Cells are text, ready to read; every row is as long as the header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


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
    budget: str  # "at this budget": updates, seeds, and where half of it is shown
    command: str  # the command line that makes this report again
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    config: dict = field(default_factory=dict)  # nested, as JSON
    environment: dict = field(default_factory=dict)  # flat: versions, device, commit


def render(report: Report) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("attention_jax", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        pictures=[(picture.caption, _data_uri(picture.svg)) for picture in report.pictures],
        config=json.dumps(report.config, indent=2, ensure_ascii=False),
    )


def write(report: Report, path: str | Path) -> Path:
    """Renders to a file, which is replaced whole; `RunError` where that cannot be written."""
    write_bytes(path, render(report).encode("utf-8", "replace"))
    return Path(path)


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


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8", "replace")).decode()
