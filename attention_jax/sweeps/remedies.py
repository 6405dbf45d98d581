"""What would decide an inconclusive verdict: the runs that are needed, the minutes that they take, and the commands that make them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import ModuleType

from attention_jax.config import Config
from attention_jax.report import report, tables
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Verdict

Named = Callable[[Mapping], Collection]
"""A row → what a claim may call its arm."""


def named(row: Mapping) -> tuple:
    """Returns what a claim that does not name the arms of rows may call the arm of one."""
    return ("blind",) if row.get("blind") else (row["attention"], row.get("normaliser"), row.get("estimator"))


def names_of(claim: ModuleType) -> Named:
    """Returns how a claim calls the arm of a row: by its own `arm`, where it has one."""
    return (lambda row: (claim.arm(row),)) if hasattr(claim, "arm") else named


def text(verdict: Verdict, rows: Sequence[Mapping], configs: Sequence[Config], command: str, names: Named = named) -> str:
    """Returns the table of the runs that would decide a verdict, with the commands that make them."""
    table = tables.needs(verdict, partial(minutes, rows, names=names), "What would decide it")
    commands = dict.fromkeys(remedy(command, configs, need, budgets(rows, need, names)) for need in verdict.needs)
    return "\n".join([table.title, report.text_table(table.header, table.rows), *(f"  {each}" for each in commands if each)])


def budgets(rows: Sequence[Mapping], need: Need, names: Named = named) -> set[int]:
    """Returns the budgets in updates that the arm of a need was trained for."""
    return {row["budget"] for row in rows if need.arm in names(row)}


def minutes(rows: Sequence[Mapping], need: Need, names: Named = named) -> float:
    """Estimates the minutes of the runs of a need, by the seconds of an update and seed in rows of their arm's largest budget."""
    of_arm = [row for row in rows if need.arm in names(row)]
    if not of_arm:
        return float("nan")
    budget = max(row["budget"] for row in of_arm)
    largest = [row for row in of_arm if row["budget"] == budget]
    seeds = len({(row["run"], row["seed"]) for row in largest})
    return max(row["seconds"] for row in largest) / (budget * seeds) * need.updates / 60


def remedy(command: str, configs: Sequence[Config], need: Need, tried: Collection[int] = ()) -> str:
    """Returns the command that makes the runs of a need, from the command of this sweep; "" where no flag does.

    `tried` are the budgets that the arm has; where it has none, those of all configs count.
    """
    if need.budget not in (tried or {config.training.updates for config in configs}):
        before = [int(found) for found in re.findall(r"--doublings[= ](\d+)", command)]
        return f"{_without(command, 'doublings')} --doublings={(before or [0])[-1] + 1}"
    if need.role == "reported":
        training = configs[0].training
        first, seeds = training.first_seed, training.seeds + need.seeds
        return f"{_without(command, 'seeds', 'workdir')} --seeds={first}-{first + seeds - 1} --workdir=runs/{seeds}_seeds"
    return ""


def _without(command: str, *flags: str) -> str:
    """Returns a command without these flags."""
    return re.sub(rf" --({'|'.join(flags)})([= ]\S+)", "", command)
