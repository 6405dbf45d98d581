"""What a row of a table of mechanisms says of itself, in the file that defines it: all that docs/gallery.md says of the row.

    equation        indented lines of the file's first docstring that begin with the row's name; what names a year is their source
    papers          `@cites("luong2015")` on its function, or a paragraph of the function's docstring that begins with "No paper"
    when to use it  a paragraph of the function's docstring that begins with "Use it "
    what differs    a paragraph that begins with "Unlike the ", where the row is not what its paper has

`missing` says what a row lacks, and where it is written.
"""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from attention_jax import attention
from attention_jax.report import citation
from attention_jax.types.citations import papers_of

SHOWN = {"heads": 2, "slots": 4}
"""Of the settings that are numbers: the one that is shown."""

COLUMNS = re.compile(" {2,}")
MATHEMATICS = re.compile("[=≤∝~]")
YEAR = re.compile(r"\b(19|20)\d\d\b")


class Row(NamedTuple):
    """A row of a table, or a setting that is a number: what makes it, and what --set takes."""

    axis: str  # the setting, without "model."
    value: str
    function: Callable

    @property
    def name(self) -> str:
        """How equations, headings and messages call it."""
        return self.axis if self.axis in attention.NUMBERS else self.value

    @property
    def setting(self) -> str:
        """What --set takes."""
        return f"model.{self.axis}={self.value}"

    @property
    def stem(self) -> str:
        """What its files are called, endings aside."""
        return f"{self.axis}_{self.value}"

    @property
    def place(self) -> str:
        """Its function, with the module."""
        return f"{self.function.__module__}.{self.function.__name__}"


class Equation(NamedTuple):
    """Lines of an equation, and where they are published."""

    lines: tuple[str, ...]
    sources: tuple[str, ...]


def groups() -> dict[str, list[Row]]:
    """{heading: rows} of every table of mechanisms, as they are now; tables without rows are left out."""

    def rows(axis: str, table: Mapping[str, Callable]) -> list[Row]:
        return [Row(axis, name, function) for name, function in table.items()]

    found = {
        "Fixed vectors": rows("attention", attention.FIXED),
        "Scores": rows("attention", attention.SCORES),
        "Mechanisms by themselves": rows("attention", attention.MECHANISMS),
        "Normalisers": rows("normaliser", attention.NORMALISERS),
        "Windows": rows("window", attention.WINDOWS),
        "Estimators": rows("estimator", attention.ESTIMATORS),
        "Heads and slots": [Row(axis, str(SHOWN[axis]), function) for axis, function in attention.NUMBERS.items()],
    }
    return {heading: each for heading, each in found.items() if each}


def every() -> list[Row]:
    """All rows, in the order of the page."""
    return [row for rows in groups().values() for row in rows]


def columns(line: str) -> list[str]:
    """Columns of a line; one behind the first that is no equation is indented."""
    first, *others = COLUMNS.split(line.strip())
    return [first, *(each if MATHEMATICS.search(each) or YEAR.search(each) else f"    {each}" for each in others)]


def equation(row: Row) -> Equation:
    """The row's lines in the first docstring of its file, a column a line; empty where it has none."""
    found: list[str] = []
    for line in (sys.modules[row.function.__module__].__doc__ or "").splitlines():
        name, _, rest = line.removeprefix("    ").partition("  ")
        if line.startswith("    ") and name == row.name:
            found += columns(rest)
        elif found and not line.startswith("     "):  # further lines are indented further
            break
        elif found:
            found += columns(line)
    sources = [each.strip("()") for each in found if YEAR.search(each)]
    return Equation(tuple(each for each in found if not YEAR.search(each)), tuple(dict.fromkeys(sources)))


def paragraph(row: Row, beginning: str) -> str:
    """The first paragraph of a row's docstring with this beginning, on one line; "" where it has none."""
    paragraphs = (inspect.getdoc(row.function) or "").split("\n\n")
    return next((" ".join(each.split()) for each in paragraphs if each.startswith(beginning)), "")


def use(row: Row) -> str:
    """When to use it."""
    return paragraph(row, "Use it ")


def no_paper(row: Row) -> str:
    """Why it has no paper; "" where it has one."""
    return paragraph(row, "No paper")


def unlike(row: Row) -> str:
    """What differs from its paper; "" where nothing is said to."""
    return paragraph(row, "Unlike the ")


def credits(row: Row) -> str:
    """Its papers, or why it has none; where its equation is published; and what differs."""
    papers = "; ".join(map(paper, papers_of(row.function))) or no_paper(row)
    equations = [f"Equation: {sources}"] if (sources := "; ".join(equation(row).sources)) else []
    return ". ".join(text.rstrip(".") for text in [papers, *equations, unlike(row)] if text)


def missing(row: Row) -> list[str]:
    """What the row lacks, a message each that says what is written where."""
    known, function = citation.entries(), row.function
    unknown = [key for key in papers_of(function) if key not in known]
    file = f"the first docstring of {function.__module__}"
    lacks = {
        f'no equation: {file} needs an indented line "    {row.name}   e_ij = …   Author year, eq. 1"': not equation(row).lines,
        f'no paper: {row.place} needs @cites("key of {citation.FILE.name}"), or in its docstring a paragraph "No paper: …"': not (
            papers_of(function) or no_paper(row)
        ),
        f"no such entry of {citation.FILE.name}: {', '.join(unknown)}": bool(unknown),
        f'no word on when to use it: the docstring of {row.place} needs a paragraph that begins with "Use it "': not use(row),
    }
    return [f"{row.setting} has {message}" for message, is_so in lacks.items() if is_so]


def paper(key: str) -> str:
    """A paper as the page has it: authors and year, and its title with a link."""
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", citation.entries()[key], re.MULTILINE))
    names = [author.partition(",")[0] for author in fields["author"].split(" and ")]
    authors = " and ".join(names) if len(names) < 3 else f"{names[0]} and others"
    title = fields["title"].replace("{", "").replace("}", "")
    links = {"eprint": "https://arxiv.org/abs/", "doi": "https://doi.org/", "url": ""}
    link = next((f"{before}{fields[field]}" for field, before in links.items() if field in fields), "")
    return f"{authors} {fields['year']}, {f'[{title}]({link})' if link else title}"


def api(row: Row) -> str:
    """The row's place on the API pages, as the page links it; of rows of others, which have none, its function."""
    if not row.function.__module__.startswith("attention_jax."):
        return f"`{row.place}`"
    return f"[`{row.place.removeprefix('attention_jax.')}`](api/{row.function.__module__}.md#{row.function.__name__})"
