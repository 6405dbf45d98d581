"""Outputs of a trained run beside references of one's own → rows, tables, and a file of what was written.

    exact_match   share of outputs that are one of their references, white space aside
    error_rate    edits to the nearest reference per symbol of the first; none where targets are in subwords
    bleu, chrf    sacreBLEU's corpus scores of all references at once, with its signatures
    loss          nats per token of the references, teacher-forced, EOS included: Σ nll / Σ tokens over all of them

Each is of all lines, and of those of each length: of the source, in what `text.lengths` counts, up to an edge of `data.eval_lengths`, the
last one open. Rows are of each seed (`role` = "seed"), and of the mean over seeds with Student's interval (`role` = "mean").
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import SearchConfig
from attention_jax.data.corpora import words
from attention_jax.report import report, tables
from attention_jax.report.tables import Table
from attention_jax.running import results
from attention_jax.statistics import hypotheses, intervals, metrics
from attention_jax.statistics.hypotheses import Written
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import DataError
from attention_jax.trained import ENSEMBLE, Trained

METRICS = {
    "bleu": ("BLEU", 2),
    "chrf": ("chrF", 2),
    "exact_match": ("exact match", 3),
    "error_rate": ("error rate", 3),
    "loss": ("loss", 3),
}
"""{field of a row: (its heading in tables, digits there)}."""

SIGNATURES = ("bleu_signature", "chrf_signature")


class Pair(NamedTuple):
    """A file of inputs, and the references of each of its lines: one or several, of all equally many."""

    source: str  # the name of the file
    files: tuple[str, ...]  # of the references
    lines: list[str]
    references: list[list[str]]  # of each line


def paired(source: str, lines: list[str], references: Mapping[str, list[str]]) -> Pair:
    """Returns lines with the references of several files. Raises `DataError` for a file that has not a line for each, and for no line."""
    for name, found in references.items():
        if len(found) != len(lines):
            raise DataError(f"--references={name} has {len(found)} lines, and --input={source} has {len(lines)}: give one for each")
    if not lines:
        raise DataError(f"--input={source} is empty: there is nothing to score")
    return Pair(source, tuple(references), lines, [list(each) for each in zip(*references.values(), strict=True)])


def whose(run: Trained) -> int | str:
    """Returns what rows call the parameters of a run: its seed, or ensemble."""
    return ENSEMBLE if run.ensemble else run.seed


def scored(run: Trained, pair: Pair, outputs: Sequence[str], search: SearchConfig) -> list[dict]:
    """Returns the rows of a seed: of all lines first, where `length` is null, then of each length."""
    columns = [run.losses(pair.lines, column) for column in map(list, zip(*pair.references, strict=True))]
    nll_N, tokens_N = np.sum([nll for nll, _ in columns], 0), np.sum([tokens for _, tokens in columns], 0)
    judged = metrics.judge([outputs], pair.references, None if run.vocabularies is None else run.vocabularies.target.symbols)
    written_N = np.array(outputs, object)
    edges = run.config.data.eval_lengths
    chosen: dict[int | None, np.ndarray] = {None: np.arange(len(outputs))}
    chosen |= metrics.by_bucket([words.length(line, run.config.text.lengths) for line in pair.lines], edges)
    shared = {"experiment": run.config.experiment, "run": run.config.run, "role": "seed", "seed": whose(run)}
    shared |= {"lengths": run.config.text.lengths, "input": pair.source, "references": list(pair.files)}
    rows = []
    for length, of_length in chosen.items():
        found = {
            "length": length,
            "open": length is not None and length > edges[-1],
            "examples": len(of_length),
            **judged.of(0, of_length),
            "loss": float(nll_N[of_length].sum() / tokens_N[of_length].sum()),
            **metrics.corpus_scores([str(written_N[i]) for i in of_length], [pair.references[i] for i in of_length]),
        }
        rows.append(shared | found | {"search": dataclasses.asdict(search)})
    return rows


def there(rows: Sequence[dict]) -> dict[str, tuple[str, int]]:
    """Returns those of `METRICS` that the rows have."""
    return {name: shown for name, shown in METRICS.items() if name in rows[0]}


def with_means(rows: Sequence[dict]) -> list[dict]:
    """Returns rows of seeds, and behind them those of the mean over seeds, with its 95 % interval: null where there is one seed."""
    means = []
    for (_, _), of_place in _places(rows).items():
        mean = {name: value for name, value in of_place[0].items() if name not in METRICS} | {"role": "mean", "seed": None}
        mean["seeds"] = [row["seed"] for row in of_place]
        for name in there(rows):
            found = _mean(of_place, name)
            low, high = (None, None) if found.n == 1 else (found.low, found.high)
            mean |= {name: found.mean, f"{name}_low": low, f"{name}_high": high}
        means.append(mean)
    return [*rows, *means]


def text(rows: Sequence[dict]) -> str:
    """Returns the tables of the rows of seeds: each input by length, then by seed, and sacreBLEU's signatures."""
    parts = []
    for source in dict.fromkeys(row["input"] for row in rows):
        parts += [f"{table.title}\n{report.text_table(table.header, table.rows)}" for table in _tables(rows, source)]
    return "\n\n".join([*parts, "\n".join(dict.fromkeys(f"{name.partition('_')[0]}: {row[name]}" for name in SIGNATURES for row in rows))])


def write(file: Path, rows: Sequence[dict], pairs: Sequence[Pair], outputs: Mapping[int | str, Sequence[Sequence[str]]]) -> list[Path]:
    """Writes rows with their means, and beside them what was written for each pair; returns the files.

    `outputs`: {seed: the outputs for each pair}.
    """
    results.replace(file, with_means(rows))
    paths = kept_beside(file, len(pairs))
    for i, (path, pair) in enumerate(zip(paths, pairs, strict=True)):
        hypotheses.write(path, Written(tuple(outputs), pair.lines, pair.references, [of_seed[i] for of_seed in outputs.values()]))
    return [file, *paths]


def kept_beside(file: Path, pairs: int) -> list[Path]:
    """Returns where the outputs for so many pairs are kept, beside a file of rows."""
    return [file.with_name(f"{file.stem}.{hypotheses.named(i)}") for i in range(pairs)]


def _places(rows: Sequence[dict]) -> dict[tuple, list[dict]]:
    """The rows of each input and length, a row for each seed."""
    found: dict[tuple, list[dict]] = {}
    for row in rows:
        found.setdefault((row["input"], row["length"]), []).append(row)
    return found


def _mean(rows: Sequence[dict], name: str) -> Interval:
    """The mean over seeds, and Student's interval as far as the number can lie."""
    return intervals.student([row[name] for row in rows]).within(*results.RANGES[name])


def _tables(rows: Sequence[dict], source: str) -> list[Table]:
    shown = there(rows)
    headings = [heading for heading, _ in shown.values()]
    by_length = []
    for (_, length), of_length in _places([row for row in rows if row["input"] == source]).items():
        first = of_length[0]
        label = "all" if length is None else f"from {length}" if first["open"] else f"to {length}"
        cells = [tables.interval_text(_mean(of_length, name), digits) for name, (_, digits) in shown.items()]
        by_length.append((label, f"{first['examples']:,}", *cells))
    seeds = [row for row in rows if row["input"] == source and row["length"] is None]
    by_seed = [(str(row["seed"]), *(f"{row[name]:.{digits}f}" for name, (_, digits) in shown.items())) for row in seeds]
    what = f"{source} against {', '.join(seeds[0]['references'])}"
    mean = f"mean of {len(seeds)} seeds and 95 % interval" if len(seeds) > 1 else f"seed {seeds[0]['seed']}"
    unit = seeds[0]["lengths"]
    found = [Table(f"{what}, by {unit} of the source; {mean}", (unit, "lines", *headings), by_length)]
    return [*found, Table(f"{what}, by seed", ("seed", *headings), by_seed)] if len(seeds) > 1 else found
