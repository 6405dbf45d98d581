"""A table of numbers as text, as CSV and as LaTeX with booktabs."""

import csv
import io
from collections.abc import Callable, Sequence

from attention_jax.report import pivot, report
from attention_jax.report.pivot import Pivot

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "½": r"$\frac{1}{2}$",
    "–": "--",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
"""What LaTeX takes for more than text, and what its fonts lack."""


def text(tables: Sequence[Pivot]) -> str:
    """Returns tables for a terminal."""
    return "\n\n".join(_text(table) for table in tables)


def _text(table: Pivot) -> str:
    row, column = table.fields
    header = (row, *(f"{column} {pivot.value_text(value)}" for value in table.columns))
    lines = [(pivot.value_text(value), *(pivot.cell_text(table, (value, other)) for other in table.columns)) for value in table.rows]
    return f"{table.title}\n{report.text_table(header, lines)}"


def csv_text(tables: Sequence[Pivot]) -> str:
    """Returns one CSV, a line a cell: settings, measure, bound, mean, ends of the interval, seeds, lengths."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = tables[0]
    third = [first.third[0]] if first.third else []
    writer.writerow([*third, *first.fields, "measure", "bound", "mean", "low", "high", "seeds", "lengths"])
    for table in tables:
        for place, cell in table.cells.items():
            ends = ["" if number != number else repr(number) for number in cell.interval[:3]]
            shared = [pivot.value_text(table.third[1])] if table.third else []
            lengths = " ".join(map(str, cell.lengths))
            writer.writerow([*shared, *map(pivot.value_text, place), table.measure, cell.bound, *ends, cell.interval.n, lengths])
    return out.getvalue().rstrip("\n")


def latex(tables: Sequence[Pivot]) -> str:
    """Returns a `table` of LaTeX for each; needs booktabs. Intervals are small, behind their numbers."""
    return "\n\n".join(["% \\usepackage{booktabs}", *map(_latex, tables)])


def _latex(table: Pivot) -> str:
    row, column = table.fields
    values = [escaped(pivot.value_text(value)) for value in table.columns]
    lines = [
        " & ".join([escaped(pivot.value_text(value)), *(_number(table, (value, other)) for other in table.columns)]) for value in table.rows
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{escaped(table.title)}.}}",
            f"  \\begin{{tabular}}{{l{'l' * len(values)}}}",
            r"    \toprule",
            f"    & \\multicolumn{{{len(values)}}}{{l}}{{{escaped(column)}}} \\\\",
            f"    \\cmidrule(l){{2-{len(values) + 1}}}",
            f"    {' & '.join([escaped(row), *values])} \\\\",
            r"    \midrule",
            *(f"    {line} \\\\" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _number(table: Pivot, place: tuple) -> str:
    mean, space, rest = escaped(pivot.cell_text(table, place)).partition(" [")
    interval, end, seeds = rest.partition("]")
    return f"{mean}{{\\scriptsize{space}{interval}{end}}}{seeds}" if space else mean


def escaped(words: str) -> str:
    """Returns text as LaTeX prints it."""
    return "".join(ESCAPES.get(mark, mark) for mark in words)


FORMATS: dict[str, Callable[[Sequence[Pivot]], str]] = {"text": text, "csv": csv_text, "latex": latex}
"""{--table_format: tables → text}."""
