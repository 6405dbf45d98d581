"""docs/results → every table and figure of README and docs. `make results` runs this; a test says when a table is not what it writes.

  python -m docs.make_results                                   all of them anew
  python -m docs.make_results --add=runs/verdict/bottleneck     first takes over a folder that a sweep concluded (rows packed)
  python -m docs.make_results --again=runs/again/bottleneck     the same of a sweep with other seeds: the folder bottleneck_other_seeds

A folder of results with a sweep.json gets its figures and `tables.md`; one with examples/ gets the figure of the first screen, too.
In README.md, README.zh.md and docs/*.md, what stands between `<!-- results: FOLDER NAME -->` and `<!-- end -->` is one of `BLOCKS` or
`LISTS`, or a table of the claim's score: NAME is then the beginning of its title, with _ for a space. FOLDER `all` has `claims`.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from attention_jax.attention import fixed_vectors
from attention_jax.report import figures, findings, report, scoring, standings, tables
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.running import results
from attention_jax.sweeps import archive
from attention_jax.sweeps.archive import Archive
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from benchmarks import replicates
from docs import first_figure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
PAGES = (ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md")))
MARK = re.compile(r"(<!-- results: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(table: Table) -> str:
    """A table as pages have it."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


OTHER_SEEDS = "_other_seeds"
"""Behind an experiment's name: the folder of its sweep with seeds that its own folder has not."""

SHORT = (4, 8, 12, 16, 20)
"""The lengths of the first screen's table."""


def short(found: Archive) -> str:
    """Exact match at a few lengths, a line for each arm and size, without intervals."""
    first = _groups(found)[0]
    curves = {name: standings.exact_match(group.tested(arm, group.budgets(arm)[-1])) for name, (group, arm) in _columns(found).items()}
    header = ("", *(f"{length}" if length in first.trained else f"{length} (not trained)" for length in SHORT))
    return markdown(Table("", header, [(name, *(f"{curve[length][0]:.2f}" for length in SHORT)) for name, curve in curves.items()]))


def printed(found: Archive) -> str:
    """What `make bottleneck` prints: its first table and the beginning of its verdict, from the rows of its runs."""
    claim = _claim(found)
    runs = {claim.name(config) for config in claim.sweep("tiny")}
    score = claim.score([row for row in found.all_rows if row["run"] in runs])
    table, budget = score.tables[0], score.budget.partition(",")[0]
    return text(
        "$ make bottleneck",
        f"{table.title}\n{report.text_table(table.header, table.rows).rstrip()}",
        "(four more tables: arms and budgets, rate curves, conditions, verdicts)",
        f"Verdict: {score.verdict}, {budget}, …",
    )


def decoded(found: Archive) -> str:
    """What `--decode` prints for the input that every run decodes, by the last runs of `make bottleneck`."""
    claim, lines = _claim(found), []
    for arm in reversed(claim.ARMS):
        run = claim.name(next(config for config in reversed(claim.sweep("tiny")) if config.model.attention == arm))
        example = results.read_json(RESULTS / found.experiment / "examples" / f"{run}.json")
        source, output = (" ".join(example[side]).removesuffix(" ⏎") for side in ("source", "output"))
        lines.append(f'$ echo "{source}" | python -m experiments.run --decode=runs/{found.experiment}/{run}\n{output}')
    return text("\n".join(lines))


def text(*parts: str) -> str:
    """A fenced block."""
    return "\n".join(("```text", *parts, "```\n"))


def by_length(found: Archive) -> str:
    """Exact match by length: each fixed arm and size at its largest budget, attention at its own."""
    first, columns = _groups(found)[0], _columns(found)
    curves = {name: standings.exact_match(group.tested(arm, group.budgets(arm)[-1])) for name, (group, arm) in columns.items()}
    updates = [f"{group.budgets(arm)[-1]:,}" for group, arm in columns.values()]
    lines = [("updates", *updates)]
    for length in first.examples:
        name = str(length) if length in first.trained else f"{length} (not trained)"
        lines.append((name, *(tables.interval_text(curve[length]) for curve in curves.values())))
    return markdown(Table("", ("length", *curves), lines))


def by_budget(found: Archive) -> str:
    """L50 of the fixed arms by budget and size."""
    groups = _groups(found)
    groups.sort(key=lambda group: group.rows[0]["vector_size"])
    budgets = sorted({budget for group in groups for arm in group.fixed for budget in group.budgets(arm)})
    lines = []
    for group in groups:
        for arm in group.fixed:
            there = group.budgets(arm)
            cells = [tables.critical_text(*standings.critical(group.tested(arm, b))) if b in there else "" for b in budgets]
            lines.append((f"`{arm}`, d = {group.rows[0]['vector_size']}", *cells))
    return markdown(Table("", ("L50 after updates", *(f"{budget:,}" for budget in budgets)), lines))


def verdict(score: Score) -> str:
    """The verdict, and the sentence of its numbers."""
    return f"**{score.verdict}**. {score.verdict.reason}.\n"


def conditions(score: Score) -> str:
    """The conditions of the first group, at the largest budget."""
    table = _table(score, "Conditions")
    last = table.rows[-1][0]
    return markdown(table._replace(rows=[row for row in table.rows if row[0] in ("", last)]))


def claims(found: dict[str, Archive], scored: Callable[[str], Score]) -> str:
    """What is said of attention, a line a finding of every claim's own folder; p corrected for all of them.

    Findings of an experiment whose own verdict is inconclusive are undecided, unless they say of themselves what is left open.
    Beside a number stands that of other seeds, where they were run.
    """
    every: list[tuple[str, Finding]] = []
    again: list[str] = []
    for name, each in found.items():
        if name == each.experiment and hasattr(claim := _claim(each), "findings"):
            left_open = "inconclusive" if scored(name).verdict.value == "inconclusive" else ""
            ours = claim.findings(each.all_rows, each.sentences)
            every += [(name, finding if finding.left_open is not None else finding._replace(left_open=left_open)) for finding in ours]
            again += _again(ours, found.get(f"{name}{OTHER_SEEDS}"))
    judged = findings.together([finding for _, finding in every])
    lines = []
    for (name, _), (finding, p, word), second in zip(every, judged, again, strict=True):
        link = f"[{name}](results/{name}/tables.md)"
        lines.append((finding.claim, finding.source, word, str(finding), tables.p_text(p), second, link))
    header = ("it is said", "by", "measured", "number, 95 % interval, bar", "p (Holm)", "with other seeds", "experiment")
    return markdown(Table("", header, lines))


def _again(ours: list[Finding], other: Archive | None) -> list[str]:
    """The interval of each finding in the rows of other seeds; "" where those have not the same findings."""
    theirs = _claim(other).findings(other.all_rows, other.sentences) if other else []
    if [each.claim for each in theirs] != [each.claim for each in ours]:
        return [""] * len(ours)
    return [tables.interval_text(each.interval, each.digits) for each in theirs]


def replicated(rows: list[dict]) -> str:
    """Every replicate, and the share of flips."""
    made = replicates.table(rows)
    return f"{markdown(made)}\n{made.title}.\n"


BLOCKS: dict[str, Callable[[Archive], str]] = {
    "short": short,
    "printed": printed,
    "decoded": decoded,
    "by_length": by_length,
    "by_budget": by_budget,
}
"""What rows say."""


SCORED: dict[str, Callable[[Score], str]] = {"conditions": conditions, "verdict": verdict}
"""What a claim's score says; any other name is the beginning of a table's title."""

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
        if name == "all":
            made = {"claims": claims}[kind](found, scored)
        elif kind in LISTS:
            made = LISTS[kind](results.read(RESULTS / name / "rows.jsonl"))
        else:
            made = BLOCKS[kind](found[name]) if kind in BLOCKS else _scored(scored(name), kind)
        return f"{mark[1]}{made}{end}"

    return MARK.sub(block, text)


def _scored(score: Score, kind: str) -> str:
    return SCORED[kind](score) if kind in SCORED else markdown(_table(score, kind.replace("_", " ")))


def _table(score: Score, title: str) -> Table:
    """The first table of a score whose title begins so; `KeyError` where there is none."""
    found = {table.title: table for table in reversed(score.tables) if table.title.startswith(title)}
    if not found:
        raise KeyError(f"no table of the score begins with {title!r}: {', '.join(table.title for table in score.tables)}")
    return list(found.values())[-1]


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
    parser.add_argument("--again", action="append", default=[], type=Path)
    given = parser.parse_args(arguments)
    for folder, suffix in [*((folder, "") for folder in given.add), *((folder, OTHER_SEEDS) for folder in given.again)]:
        try:
            found = archive.read(folder)
            if not suffix:
                first_figure.take(folder, RESULTS / found.experiment)
        except (DataError, RunError) as error:
            parser.error(str(error))
        archive.write(RESULTS / f"{found.experiment}{suffix}", found._replace(command=anywhere(found.command)), packed=True)
    found, changed = folders(), []
    for name, each in found.items():
        for stem, figure in _claim(each).figures(each.all_rows).items():
            figures.save(figure, RESULTS / name / stem)
        if (RESULTS / name / "examples").is_dir():
            figures.save(first_figure.draw(_groups(each), RESULTS / name), RESULTS / name / "first")
        changed += _replace(RESULTS / name / "tables.md", all_tables(each))
    for path in PAGES:
        changed += _replace(path, page(path.read_text(), found))
    print(f"{len(found)} folders of results; changed: {', '.join(changed) or 'nothing'}")
    return 0


def anywhere(command: str) -> str:
    """Returns a command without the folders of data, which are elsewhere on another machine."""
    return re.sub(r" --(?:data|cache)_dir=\S+", "", command)


def _replace(path: Path, text: str) -> list[str]:
    if path.exists() and path.read_text() == text:
        return []
    files.write_bytes(path, text.encode())
    return [path.relative_to(ROOT).as_posix()]


def _claim(found: Archive):
    return importlib.import_module(f"experiments.{found.experiment}")


def _groups(found: Archive) -> list[Group]:
    """Rows apart by (cell, hidden size, d): the claim's own group first, whose attention is shown."""
    return scoring.groups(found.all_rows, *_fields(found))


def _columns(found: Archive) -> dict[str, tuple[Group, str]]:
    """{name: (group, arm)}: fixed arms by size, then the attention of the claim's own group."""
    first, *others = _groups(found)
    by_size = sorted((first, *others), key=lambda group: group.rows[0]["vector_size"])
    fixed = {f"`{arm}`, d = {group.rows[0]['vector_size']}": (group, arm) for group in by_size for arm in group.fixed}
    return fixed | {f"`{first.attention}`": (first, first.attention)}


def _fields(found: Archive) -> tuple:
    claim = _claim(found)
    return claim.GROUP, fixed_vectors()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
