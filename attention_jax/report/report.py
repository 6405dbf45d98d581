"""Stage: numbers and pictures → one self-contained HTML page, and tables for a terminal.

The page loads nothing: style is inline, pictures are data URIs (an SVG shown as an image cannot run scripts), everything that comes from
data is escaped, and characters that no page can hold (`errors.legible`) become �. Where there are examples to go through, one script runs,
the package's own `explorer.js`, which the page's Content-Security-Policy names by its hash; otherwise none does. Equal reports give equal
bytes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from attention_jax.report import explorer, figures
from attention_jax.report.explorer import Explorer, Facet, View
from attention_jax.report.figures import animations, looks
from attention_jax.report.figures.looks import Panel
from attention_jax.report.tables import Table
from attention_jax.report.training import Curve, plot
from attention_jax.running import examples
from attention_jax.running.examples import Example
from attention_jax.statistics.alignments import ENDS
from attention_jax.system.errors import ConfigError, DataError, legible, one_line
from attention_jax.system.files import write_bytes
from attention_jax.trained import Decoded

NAMES = re.compile(r"`([\w./*-]+)`")

MOST_OUTPUTS = {".html": 5000, ".png": 12, ".svg": 12, ".gif": 1}
"""Kinds of file that alignments are written to, and how many outputs fit."""

HINT = "Choose a line of the input."
HINT_OF_WATCH = "A validation example while it is learned: the decoder runs along its target, and says what it would say at each step."
HINT_OF_REPORT = "Examples of the test, free running, of every seed at a few lengths; the same two arms, or others, on the same input."


REFRESH = 10
"""Seconds after which a page of runs that train reads itself anew."""


PIXELS = 96 / 72
"""Of a browser in a point."""


class Picture(NamedTuple):
    """A picture, and in words what it shows, for all and for those who listen.

    `svg` is one <svg> element, as `figures.svg_text` returns it.
    """

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
    explorer: Explorer | None = None  # examples to go through step by step


def render(report: Report) -> str:
    """Returns the page as HTML."""
    config = json.dumps(report.config, indent=2, ensure_ascii=False)
    shown = {"claim": prose(report.claim), "reason": code(report.reason), "explorer": _explored(report.explorer, HINT_OF_REPORT)}
    pictures = _embedded(report.pictures)
    return _rendered("report.html.j2", report.title, pictures, report=report, config=config, **shown)


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


def check_alignments(path: str | Path, outputs: int, spatial: bool = False, runs: int = 1) -> None:
    """Raises `ConfigError` for a file that `write_alignments` does not write, or that cannot hold so many outputs, or several runs."""
    path = Path(path)
    if path.suffix not in MOST_OUTPUTS:
        raise ConfigError(f"--alignments={path} must end in {', '.join(MOST_OUTPUTS)}")
    is_page = path.suffix == ".html"
    if runs > 1 and not is_page:
        raise ConfigError(f"--alignments={path} shows one run; give a .html for {runs} side by side")
    most = 1 if spatial and not is_page else MOST_OUTPUTS[path.suffix]
    if outputs > most:
        other = "" if is_page else ", or a .html"
        raise ConfigError(f"--alignments={path}: up to {outputs} outputs do not fit; give {most} or fewer{other}")


def write_alignments(
    lines: Sequence[str], runs: Mapping[str, Sequence[Sequence[Decoded]]], path: str | Path, title: str, spatial: bool = False
) -> None:
    """Writes the alignment of each output of each line: a page to go through step by step (.html), one picture (.png, .svg; a few only), or
    an animation of one output (.gif).

    `runs` are the outputs of each run by its name, those of `lines`, best first; a picture shows one run. A page has them side by side on
    the same line. Outputs are numbered by line, and by rank where a line has several. An output whose weights are all zero comes from an
    arm without attention, and says so. `spatial`: inputs are the places of a square field, and weights are drawn over it (in a picture of
    a single output only).
    """
    path = Path(path)
    panels = {name: [panel for _, _, panel in _numbered(lines, outputs)] for name, outputs in runs.items()}
    if not any(panels.values()):
        raise DataError("no alignment to draw: every input line is empty")
    check_alignments(path, max(map(len, panels.values())), spatial, len(runs))
    if path.suffix == ".html":
        page = _rendered("page.html.j2", title, explorer=_explored(explored(lines, runs, spatial), HINT))
        write_bytes(path, page.encode())
        return
    (drawn,) = panels.values()
    if path.suffix == ".gif":
        write_bytes(path, animations.looking(drawn[0]._replace(title=title)))
        return
    figure = overlay(drawn[0]) if spatial else looks.alignments(drawn, title)
    write_bytes(path, figures.png_bytes(figure) if path.suffix == ".png" else figures.svg_file(figure))


def write_watched(curves: Sequence[Curve], shown: Explorer | None, path: Path, title: str) -> None:
    """Writes the page of runs that train: their losses, and one example as it is learned, once there is one; it reads itself anew."""
    page = {"training": plot(curves), "refresh": REFRESH, "explorer": _explored(shown, HINT_OF_WATCH)}
    write_bytes(path, _rendered("page.html.j2", title, **page).encode())


def _numbered(lines: Sequence[str], outputs: Sequence[Sequence[Decoded]]) -> Iterator[tuple[int, int, Panel]]:
    """Yields (line, rank, panel) of outputs, both counted from 0; lines without tokens are left out."""
    for number, (_, of_line) in enumerate(zip(lines, outputs, strict=True)):
        for rank, output in enumerate(of_line):
            if output.source_tokens:
                name = f"{number + 1}.{rank + 1}" if len(of_line) > 1 else f"{number + 1}"
                weights_TxS = output.weights_TxS if output.weights_TxS.any() else None
                yield number, rank, Panel(name, weights_TxS, output.source_tokens, output.output_tokens, image=output.image_YxX)


def explored(lines: Sequence[str], runs: Mapping[str, Sequence[Sequence[Decoded]]], spatial: bool = False) -> Explorer:
    """Returns what a page shows of the outputs of runs for lines: lines and ranks to choose, runs side by side."""
    real = [number for number, line in enumerate(lines) if any(outputs[number][0].source_tokens for outputs in runs.values())]
    ranks = max(len(of_line) for outputs in runs.values() for of_line in outputs)
    facets = [Facet("line", [f"{number + 1}: {lines[number].strip()}" for number in real])]
    facets += [Facet("rank", [str(rank + 1) for rank in range(ranks)])] if ranks > 1 else []
    views = []
    for i, number in enumerate(real):
        for panel, outputs in enumerate(runs.values()):
            for rank, output in enumerate(outputs[number]):
                place = (i, rank) if ranks > 1 else (i,)
                views.append(View(panel, place, _example(output), f"score {output.score:.4f}: {output.text}"))
    return Explorer(list(runs), facets, views, range(min(2, len(runs))), spatial)


def _example(output: Decoded) -> Example:
    tokens, known = (output.source_tokens, output.output_tokens, None), output.known
    if known is None:
        return examples.of(tokens, output.weights_TxS, image_YxX=output.image_YxX)
    return examples.of(tokens, output.weights_TxS, known.norm_T, known.likely, known.probability_TxK, output.image_YxX)


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


def _explored(shown: Explorer | None, hint: str) -> dict[str, Any] | None:
    """Returns what the template of an explorer needs; `script` is the source that the page's policy allows."""
    if shown is None:
        return None
    text = explorer.data(shown)
    environment = _environment()
    assert environment.loader is not None
    source, *_ = environment.loader.get_source(environment, "explorer.js")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return {"data": text, "script": f"sha256-{digest}", "left_out": explorer.left_out(shown, text), "hint": hint}


def _rendered(name: str, title: str, pictures: Sequence[tuple[str, str, int]] = (), **shown: Any) -> str:
    """Returns the page of a template; `training` and `explorer` are parts that a page may have."""
    return _environment().get_template(name).render({"training": None, "explorer": None, "title": title, "pictures": pictures} | shown)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("attention_jax.report", ""),
        autoescape=True,
        finalize=lambda value: legible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _embedded(pictures: Sequence[Picture]) -> list[tuple[str, str, int]]:
    """Returns (caption, data URI, width in pixels; 0 where the picture says none) of each picture."""
    prefix = "data:image/svg+xml;base64,"
    widths = [re.search(r'<svg [^>]*?width="(\d{1,5})[\d.]*pt"', picture.svg) for picture in pictures]
    return [
        (caption, prefix + base64.b64encode(svg.encode("utf-8", "replace")).decode(), round(int(found[1]) * PIXELS) if found else 0)
        for (caption, svg), found in zip(pictures, widths, strict=True)
    ]
