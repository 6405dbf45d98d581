"""Rows of runs → tables by any two settings: a line for each value of one, a column for each value of the other.

    tables(runs, ("cell", "vector_size"))                    one table
    tables(runs, ("cell", "vector_size", "attention"))       one for each value of the third

A number is of the seeds of one cell, with its 95 % interval: exact match of the typical seed, L50 in tokens, or the mean over seeds of any
other measure, such as the share of exact matches, `mean_exact_match`. Runs of one cell may differ in seeds alone. Where they differ in
another setting, nothing is averaged: that is an error, which names the settings. Where a run has several test sets, a table is of the
first one, which verdicts are about, unless it is by `test` or of runs with `test=…`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attention_jax.config import choose
from attention_jax.report import tables as texts
from attention_jax.running.results import RANGES
from attention_jax.statistics import intervals, lengths
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import ConfigError, DataError

MODES = {
    "exact_match": "free",
    "mean_exact_match": "free",
    "L50": "free",
    "symbol_error": "forced",
    "error_rate": "free",
    "token_accuracy": "free",
    "bleu": "free",
    "chrf": "free",
    "loss": "forced",
    "alignment_entropy": "forced",
    "alignment_agreement": "forced",
    "alignment_mass": "forced",
}
"""{measure: the mode of its rows}."""

DIGITS = {"L50": 1, "bleu": 1, "chrf": 1, "loss": 3, "error_rate": 3, "alignment_entropy": 3}

LENGTHS = ("long", "trained", "beyond", "all")
"""Words for lengths: the longer half of the trained ones, as verdicts take; the trained ones; those beyond them; all."""

ENDS = {"largest": max, "smallest": min}

REPLICATES = ("seeds", "first_seed", "seeds_at_once", "chunk", "checkpoint_every", "pilot_seeds")
"""Settings in which runs of one cell may differ: seeds are pooled, and the others change no result."""

FOUND = ("experiment", "run", "state_size", "parameters", "learning_rate")
"""What follows from the settings of a run: a table may be of it, and it makes no cell ambiguous."""


TEST = "test"
"""What a run with several test sets has besides its settings: the name of one. A table may be of it."""


class Measured(NamedTuple):
    """A run's results on a test set: `settings` by their names in rows, with `FOUND`; `where` is its folder or file."""

    where: str
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    further: bool = False  # whether the test set is one behind the first


class Cell(NamedTuple):
    """A number of a table: `bound` is ">=" or "<=" where it is one, as L50 can be, "?" where there is none, else "="."""

    interval: Interval
    lengths: tuple[int, ...]
    bound: str = "="
    test: str = ""  # the test set, of several


class Pivot(NamedTuple):
    """A table of numbers; `cells` lacks a place where no run is."""

    fields: tuple[str, str]
    third: tuple[str, Any] | None  # (setting, value) that the whole table has
    measure: str
    rows: list
    columns: list
    cells: dict[tuple[Any, Any], Cell]

    @property
    def seeds(self) -> int | None:
        """How many seeds are behind each number; None where cells differ."""
        return _only({cell.interval.n for cell in self.cells.values()})

    @property
    def lengths(self) -> tuple[int, ...] | None:
        """The lengths that each number is of; None where cells differ."""
        return _only({cell.lengths for cell in self.cells.values()})

    @property
    def test(self) -> str | None:
        """The test set that each number is of, where there are several; None where cells differ."""
        return _only({cell.test for cell in self.cells.values()})

    @property
    def title(self) -> str:
        """What the numbers are."""
        what = {
            "exact_match": f"exact match of the typical seed ({texts.TYPICAL})",
            "mean_exact_match": "exact match, mean over seeds",
            "L50": "L50 in tokens, mean over seeds",
        }
        named = what.get(self.measure, f"{self.measure.replace('_', ' ')}, mean over seeds")
        where = "lengths differ between cells" if self.lengths is None else f"lengths {', '.join(map(str, self.lengths))}"
        seeds = "n seeds" if self.seeds is None else f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        third = f"{self.third[0]} = {value_text(self.third[1])}: " if self.third else ""
        return f"{third}{named}, {MODES[self.measure]} running, {self._test_text}{where}; 95 % interval over {seeds}".replace(
            "forced running", "teacher forced"
        )

    @property
    def _test_text(self) -> str:
        if TEST in (*self.fields, *(self.third or ())[:1]) or self.test == "":
            return ""
        return "test sets differ between cells, " if self.test is None else f"test set {self.test}, "


def _only(values: set) -> Any:
    return next(iter(values)) if len(values) == 1 else None


def tables(
    runs: Sequence[Measured], fields: Sequence[str], measure: str = "exact_match", which: str = "long", where: Sequence[str] = ()
) -> list[Pivot]:
    """Returns the tables of runs by two settings, or by three.

    `which` is one of `LENGTHS`, or lengths: "8,12", "8-16". Of runs, those are taken that every text of `where` holds of: "cell=gru",
    "budget=100,200", "budget=largest" (of each cell, or of all where the table is by it). Raises `ConfigError` for names and values that
    there are none of, and for a cell of unlike runs; `DataError` for rows that lack the measure.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.settings))
    check_fields(fields, known)
    choose("--table_metric", measure, MODES)
    kept, ends = chosen(on_tests(runs, fields, where), where, known)
    for name in set(ends).intersection(fields):
        best = ends.pop(name)(run.settings[name] for run in kept)
        kept = [run for run in kept if run.settings[name] == best]
    cells: dict[tuple, list[Measured]] = {}
    for run in kept:
        cells.setdefault(tuple(run.settings.get(name) for name in fields), []).append(run)
    found = {}
    for place, alike in cells.items():
        for name, end in ends.items():
            best = end(run.settings[name] for run in alike)
            alike = [run for run in alike if run.settings[name] == best]
        check_alike(alike, dict(zip(fields, place, strict=True)))
        found[place] = cell(alike, measure, which)._replace(test=alike[0].settings.get(TEST, ""))
    several = ordered(place[2] for place in found) if len(fields) == 3 else [None]
    return [_table(fields, third, measure, found) for third in several]


def check_fields(fields: Sequence[str], known: Sequence[str]) -> None:
    """Raises `ConfigError` for fewer than two settings, more than three, one twice, and one that no run has."""
    if len(fields) not in (2, 3) or len(set(fields)) != len(fields):
        named = ",".join(fields)
        raise ConfigError(f"--table={named}: give the setting of rows and that of columns, as cell,vector_size; a third is optional")
    for name in fields:
        choose("--table", name, known)


def _table(fields: Sequence[str], third: Any, measure: str, found: Mapping[tuple, Cell]) -> Pivot:
    ours = {place[:2]: cell for place, cell in found.items() if len(place) == 2 or place[2] == third}
    rows, columns = (ordered(place[axis] for place in ours) for axis in (0, 1))
    return Pivot((fields[0], fields[1]), (fields[2], third) if len(fields) == 3 else None, measure, rows, columns, dict(ours))


def on_tests(runs: Sequence[Measured], fields: Sequence[str], where: Sequence[str]) -> Sequence[Measured]:
    """Returns the results on first test sets, or on all where a table is by test set or says which."""
    says = TEST in fields or any(text.partition("=")[0] == TEST for text in where)
    return runs if says else [run for run in runs if not run.further]


def chosen(runs: Sequence[Measured], where: Sequence[str], known: Sequence[str]) -> tuple[list[Measured], dict]:
    """Returns the runs that all conditions of `where` hold of, and {setting: max or min} of those that each cell decides."""
    kept, ends = list(runs), {}
    for text in where:
        name, equals, values = text.partition("=")
        if not equals:
            raise ConfigError(f"--table_where={text} is not of the form setting=value, e.g. --table_where=budget=largest")
        choose("--table_where", name, known)
        if values in ENDS:
            if not all(isinstance(run.settings.get(name), int | float) for run in kept):
                raise ConfigError(f"--table_where={text}: {name} is no number in every run")
            ends[name] = ENDS[values]
            continue
        there = list(map(value_text, ordered(run.settings.get(name) for run in kept)))
        wanted = {values} if values in there else set(values.split(","))
        if missing := sorted(wanted - {*there}):
            raise ConfigError(f"--table_where={text}: no run has {name}={missing[0]}; there are {', '.join(there)}")
        kept = [run for run in kept if value_text(run.settings.get(name)) in wanted]
    return kept, ends


def check_alike(runs: Sequence[Measured], place: Mapping[str, Any]) -> None:
    """Raises `ConfigError` where runs of a cell differ in more than seeds, or two have the same seed."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in (*REPLICATES, *FOUND))
    several = {name: list(dict.fromkeys(value_text(run.settings.get(name)) for run in runs)) for name in names}
    at = ", ".join(f"{name}={value_text(value)}" for name, value in place.items())
    if mixed := [f"{name} ({', '.join(values[:6])}{', …' * (len(values) > 6)})" for name, values in several.items() if len(values) > 1]:
        raise ConfigError(
            f"runs with {at} differ in {'; '.join(mixed)}: they are not averaged. Choose, e.g. --table_where={_first(several)}, "
            "or name one as a third setting of --table"
        )
    seeds: dict[int, str] = {}
    for run in runs:
        for seed in {row["seed"] for row in run.rows}:
            if (other := seeds.setdefault(seed, run.where)) != run.where:
                raise ConfigError(f"runs with {at}: seed {seed} is in {other} and in {run.where}; give one of them")


def _first(several: Mapping[str, list[str]]) -> str:
    name, values = next((name, values) for name, values in several.items() if len(values) > 1)
    return f"{name}={'largest' if name == 'budget' else values[0]}"


def cell(runs: Sequence[Measured], measure: str, which: str) -> Cell:
    """Returns the number of a cell, of all seeds of its runs. Raises `DataError` for rows that lack it."""
    wanted, of_seed = by_seed(runs, MODES[measure], "trained" if measure == "L50" else which)
    where = runs[0].where
    if measure in ("L50", "exact_match"):
        exact_RxL, examples_RxL = np.array([list(zip(*map(counts, mine), strict=True)) for mine in of_seed]).swapaxes(0, 1)
        if measure == "exact_match":
            return Cell(intervals.typical_seed(exact_RxL.sum(1), examples_RxL.sum(1)), wanted)
        if len(wanted) < 2:
            raise DataError(f"{where}: L50 needs two trained lengths or more")
        interval, bound = lengths.over_seeds(lengths.critical(wanted, exact_RxL, examples_RxL, 0.5))
        return Cell(interval, wanted, bound)
    interval = intervals.student([of_rows(mine, measure, where) for mine in of_seed])
    return Cell(interval.within(*RANGES.get(measure, (0, 1))), wanted)


def by_seed(runs: Sequence[Measured], mode: str, which: str) -> tuple[tuple[int, ...], list[list[Mapping]]]:
    """Returns (the lengths that `which` says, of each seed its row at each of them). Raises `DataError` where one is missing."""
    rows = [row for run in runs for row in run.rows if row["mode"] == mode]
    trained = sorted({row["length"] for row in rows if row["seen"]})
    wanted = picked(sorted({row["length"] for row in rows}), trained, which)
    of_seed: dict[int, list[Mapping]] = {}
    for row in sorted((row for row in rows if row["length"] in wanted), key=lambda row: row["length"]):
        of_seed.setdefault(row["seed"], []).append(row)
    if not of_seed or any([row["length"] for row in mine] != list(wanted) for mine in of_seed.values()):
        named = ", ".join(map(str, wanted))
        raise DataError(f"{runs[0].where}: every seed needs one {mode} row at each of the lengths {named}")
    return wanted, [of_seed[seed] for seed in sorted(of_seed)]


def counts(row: Mapping) -> tuple[int, int]:
    """Returns (exact outputs, examples) of a row; earlier versions wrote the share alone."""
    return row.get("exact", round(row["exact_match"] * row["examples"])), row["examples"]


def of_rows(rows: Sequence[Mapping], measure: str, where: str) -> float:
    """Returns a measure of a seed over its lengths: errors of all symbols, the exact ones of all outputs, or else the mean over lengths."""
    if measure == "mean_exact_match":
        exact, examples = (sum(of_rows) for of_rows in zip(*map(counts, rows), strict=True))
        return exact / examples
    names = ("symbol_errors", "symbols") if measure == "symbol_error" else (measure,)
    if lacking := [name for row in rows for name in names if not isinstance(row.get(name), int | float)]:
        raise DataError(f"{where}: rows have no {lacking[0]}; choose another --table_metric")
    if measure == "symbol_error":
        return sum(row["symbol_errors"] for row in rows) / max(sum(row["symbols"] for row in rows), 1)
    return float(np.mean([row[measure] for row in rows]))


def picked(there: Sequence[int], trained: Sequence[int], which: str) -> tuple[int, ...]:
    """Returns the lengths that `which` says, of those that were tested. Raises `ConfigError` where it is nothing of the kind, or none."""
    parts = {
        "all": there,
        "trained": trained,
        "long": trained[-max(1, len(trained) // 2) :],
        "beyond": [n for n in there if n > max(trained, default=0)],
    }
    if which in parts:
        found = parts[which]
    else:
        try:
            ends = [tuple(map(int, part.split("-"))) for part in which.split(",")]
        except ValueError:
            raise ConfigError(f"--table_lengths={which} must be one of {', '.join(LENGTHS)}, or lengths such as 8,12 or 8-16") from None
        if lacking := [end[0] for end in ends if len(end) == 1 and end[0] not in there]:
            raise ConfigError(f"--table_lengths={which}: length {lacking[0]} was not tested; there are {', '.join(map(str, there))}")
        found = [n for n in there if any(end[0] <= n <= end[-1] for end in ends)]
    if not found:
        raise ConfigError(f"--table_lengths={which}: no such length was tested; there are {', '.join(map(str, there))}")
    return tuple(found)


def ordered(values: Iterable) -> list:
    """Returns each value once: numbers ascending, other things in order of appearance."""
    found = list(dict.fromkeys(values))
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
    return sorted(found) if are_numbers else found


def value_text(value: Any) -> str:
    """Returns a setting's value as text: 0.016, true, "1, 2" of several; a dash for a setting that a run has not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(value_text, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value) or "–"


def cell_text(pivot: Pivot, place: tuple[Any, Any]) -> str:
    """Returns a number as text, with its interval or bound, and its seeds where cells differ in them; a dash where no run is."""
    found = pivot.cells.get(place)
    if found is None:
        return "–"
    digits = DIGITS.get(pivot.measure, 2)
    text = texts.interval_text(found.interval, digits)
    if found.bound != "=":
        text = "–" if found.bound == "?" else f"{found.bound} {found.interval.mean:.{digits}f}"
    return text if pivot.seeds is not None else f"{text} (n = {found.interval.n})"
