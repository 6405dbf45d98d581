"""docs/results → every table and figure of README and docs. `make results` runs this; a test says when a table is not what it writes.

  python -m docs.make_results                                   all of them anew
  python -m docs.make_results --add=runs/verdict/bottleneck     first takes over a folder that a sweep concluded (rows packed)

A folder of results with a sweep.json gets its figures and `tables.md`. In README.md and docs/*.md, what stands between
`<!-- results: FOLDER NAME -->` and `<!-- end -->` is one of `BLOCKS`, `TABLES` or `LISTS`.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from attention_jax.attention import fixed_vectors
from attention_jax.report import figures, scoring, standings, tables
from attention_jax.report.tables import Score, Table
from attention_jax.running import results
from attention_jax.sweeps import archive
from attention_jax.sweeps.archive import Archive
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from benchmarks import replicates

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARK = re.compile(r"(<!-- results: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(table: Table) -> str:
    """A table as pages have it."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def by_length(found: Archive) -> str:
    """Exact match by length: each fixed arm and size at its largest budget, attention at its own."""
    groups = scoring.groups(found.all_rows, *_fields(found))
    first = groups[0]  # the claim's own, whose attention is shown
    groups.sort(key=lambda group: group.rows[0]["vector_size"])
    columns = {f"`{arm}`, d = {group.rows[0]['vector_size']}": (group, arm) for group in groups for arm in group.fixed}
    columns[f"`{first.attention}`"] = (first, first.attention)
    curves = {name: standings.exact_match(group.tested(arm, group.budgets(arm)[-1])) for name, (group, arm) in columns.items()}
    updates = [f"{group.budgets(arm)[-1]:,}" for group, arm in columns.values()]
    lines = [("updates", *updates)]
    for length in first.examples:
        name = str(length) if length in first.trained else f"{length} (not trained)"
        lines.append((name, *(tables.interval_text(curve[length]) for curve in curves.values())))
    return markdown(Table("", ("length", *curves), lines))


def by_budget(found: Archive) -> str:
    """L50 of the fixed arms by budget and size."""
    groups = scoring.groups(found.all_rows, *_fields(found))
    groups.sort(key=lambda group: group.rows[0]["vector_size"])
    budgets = sorted({budget for group in groups for arm in group.fixed for budget in group.budgets(arm)})
    lines = []
    for group in groups:
        for arm in group.fixed:
            there = group.budgets(arm)
            cells = [tables.critical_text(*standings.critical(group.tested(arm, b))) if b in there else "" for b in budgets]
            lines.append((f"`{arm}`, d = {group.rows[0]['vector_size']}", *cells))
    return markdown(Table("", ("L50 after updates", *(f"{budget:,}" for budget in budgets)), lines))


def verdicts(score: Score) -> str:
    """The verdict of every group."""
    return markdown(_table(score, "Verdicts"))


def conditions(score: Score) -> str:
    """The conditions of the first group, at the largest budget."""
    table = _table(score, "Conditions")
    last = table.rows[-1][0]
    return markdown(table._replace(rows=[row for row in table.rows if row[0] in ("", last)]))


def curves(score: Score) -> str:
    """The rate curves of the first group."""
    return markdown(_table(score, "Rate curves"))


def loss(score: Score) -> str:
    """On text: loss by length at the largest budget, and what the fixed arm lacks."""
    return markdown(_table(score, "Loss"))


def bleu(score: Score) -> str:
    """On text: BLEU by length at the largest budget."""
    return markdown(_table(score, "BLEU"))


def replicated(rows: list[dict]) -> str:
    """Every replicate, and the share of flips."""
    made = replicates.table(rows)
    return f"{markdown(made)}\n{made.title}.\n"


BLOCKS: dict[str, Callable[[Archive], str]] = {"by_length": by_length, "by_budget": by_budget}
"""What rows say."""

TABLES: dict[str, Callable[[Score], str]] = {
    "verdicts": verdicts,
    "conditions": conditions,
    "rates": curves,
    "loss": loss,
    "bleu": bleu,
}
"""What a claim's score says."""


LISTS: dict[str, Callable[[list[dict]], str]] = {"replicated": replicated}
"""What rows that no sweep made say."""


def folders() -> dict[str, Archive]:
    """{name: what is in it} of every folder of results that a sweep concluded."""
    return {path.parent.name: archive.read(path.parent) for path in sorted(RESULTS.glob(f"*/{archive.FILE}"))}


def page(text: str, found: dict[str, Archive]) -> str:
    """A page with its blocks made anew; `KeyError` for a folder or block that there is not."""
    scored = cache(lambda name: _score(found[name]))  # once, however many of a page's blocks are of one folder

    def block(mark: re.Match) -> str:
        _, name, kind, end = mark.groups()
        if kind in LISTS:
            made = LISTS[kind](results.read(RESULTS / name / "rows.jsonl"))
        else:
            made = BLOCKS[kind](found[name]) if kind in BLOCKS else TABLES[kind](scored(name))
        return f"{mark[1]}{made}{end}"

    return MARK.sub(block, text)


def _table(score: Score, title: str) -> Table:
    """The first table of a score whose title begins so."""
    return next(table for table in score.tables if table.title.startswith(title))


def _score(found: Archive) -> Score:
    return _claim(found).score(found.all_rows, found.sentences)


def all_tables(found: Archive) -> str:
    """tables.md of a folder."""
    score = _score(found)
    parts = [f"## {table.title}\n\n{markdown(table)}" for table in score.tables]
    return f"# {score.verdict}\n\n`{found.command}`, {score.budget}.\n\n{score.verdict.reason}\n\n" + "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Writes everything, and says what changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", action="append", default=[], type=Path)
    for folder in parser.parse_args(arguments).add:
        try:
            found = archive.read(folder)
        except (DataError, RunError) as error:
            parser.error(str(error))
        archive.write(RESULTS / found.experiment, found, packed=True)
    found, changed = folders(), []
    for name, each in found.items():
        for stem, figure in _claim(each).figures(each.all_rows).items():
            figures.save(figure, RESULTS / name / stem)
        changed += _replace(RESULTS / name / "tables.md", all_tables(each))
    for path in PAGES:
        changed += _replace(path, page(path.read_text(), found))
    print(f"{len(found)} folders of results; changed: {', '.join(changed) or 'nothing'}")
    return 0


def _replace(path: Path, text: str) -> list[str]:
    if path.exists() and path.read_text() == text:
        return []
    files.write_bytes(path, text.encode())
    return [path.relative_to(ROOT).as_posix()]


def _claim(found: Archive):
    return importlib.import_module(f"experiments.{found.experiment}")


def _fields(found: Archive) -> tuple:
    claim = _claim(found)
    return claim.GROUP, fixed_vectors()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
