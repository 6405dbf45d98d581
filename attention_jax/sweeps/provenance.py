"""Whose the rows of a sweep are, and where its runs were made. `runs` are those of `sweep.plan`."""

from collections.abc import Mapping, Sequence
from typing import Any

from attention_jax.running import finished, results
from attention_jax.system.errors import DataError

MEASURED = ("examples", "exact_match", "token_accuracy", "step", "learning_rate", "seconds")
"""Numbers of every row."""

SEVERAL = "not the same in all runs: "
"""How a fact begins that differs from run to run."""


def check(rows: Sequence[dict], runs: Sequence[Any], measured: Sequence[str] = MEASURED) -> None:
    """Raises `DataError` for a row that none of the runs can have written: of another run, with other fields, or without a measurement.

    Measurements must lie in their range.
    """
    fields = {run.config.run: run.fields for run in runs}
    unbounded = {run.config.run for run in runs if finished.has_any_mass(run.config)}
    for row in rows:
        _refuse(row, _foreign(row, fields, measured) + results.impossible(row, row["run"] in unbounded))


def check_fields(rows: Sequence[dict], run: Any) -> None:
    """Checks rows of one run as `check` does, ranges apart; values that they share with the run become the same objects, to save memory."""
    for row in rows:
        _refuse(row, _foreign(row, {run.config.run: run.fields}, MEASURED))
        row |= run.fields


def _foreign(row: dict, fields: Mapping[str, dict], measured: Sequence[str]) -> list[str]:
    """Returns what is wrong with a row, ranges apart, a text each; `fields` are those of every run."""
    own, wrong = fields.get(row["run"], {"run": " or ".join(fields)}), []
    if not own.items() <= row.items():
        wrong += [f"{name} is {row.get(name)!r}, not {value!r}" for name, value in own.items() if row.get(name) != value]
    if None in map(row.get, measured):
        wrong += [f"{name} is no number" for name in measured if row.get(name) is None]
    if not results.SIMPLE.issuperset(map(type, row.values())):
        unknown = row.keys() - own.keys() - results.RANGES.keys()  # where a list is none of these it is no number
        wrong += [f"{name} is a list or an object" for name in unknown if isinstance(row[name], list | dict)]
    return wrong


def _refuse(row: dict, wrong: Sequence[str]) -> None:
    if wrong:
        place = ", ".join(f"{name}={row[name]}" for name in results.KEY if name in row)
        raise DataError(f"the row {place} is not of this sweep: {'; '.join(wrong)}; remove that run's directory, or its rows.jsonl")


def made_with(stored: Sequence[Mapping]) -> dict[str, str]:
    """Returns {fact: value} of the environments of runs; where a fact differs, its values and the runs of each, the most common first."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in stored:
        for name, value in {**each["environment"], "precision": each["config"]["training"].get("precision", "highest")}.items():
            found.setdefault(name, {}).setdefault(str(value), []).append(each["config"]["run"])
    facts = {}
    for name, values in found.items():
        ordered = sorted(values.items(), key=lambda item: -len(item[1]))
        texts = [f"{value} in {', '.join(runs) if len(runs) < 4 else f'{len(runs)} runs'}" for value, runs in ordered]
        facts |= {name: ordered[0][0]} if len(ordered) == 1 else {f"{SEVERAL}{name}": "; ".join(texts)}
    return facts


def unlike(stored: Sequence[Mapping]) -> str:
    """Returns the facts of `made_with` in which runs differ, a line each; "" where all were made alike."""
    facts = [f"  {name.removeprefix(SEVERAL)}: {value}" for name, value in made_with(stored).items() if name.startswith(SEVERAL)]
    return "\n".join(["Not all runs were made alike:", *facts]) if facts else ""
