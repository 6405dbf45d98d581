"""Turns a Python list of configs into an experiment: a file with `SWEEP` needs nothing else.

    SWEEP = [config, …]        a run each; or a function without arguments that returns them

What else an experiment has is filled in where the file does not have it:

    ARMS, --arms      the mechanisms of the list, which --arms narrows
    name(config)      `run` of the config or, where that is empty, the settings that differ
    score(rows)       tables by length and by run, without a verdict; a file's own returns a `Score`, a `Table` or a list of `Table`s
    figures(rows)     what `VALUE` names, by length
    VALUE             "exact_match", or another number of a row; on real text, where it is not given, tables have exact match and chrF, with
                      "error_rate" where targets are in characters or words, and "bleu" where they are in subwords

Each test set has tables and figures of its own.

Seeds, resume, rate curves, intervals, `--compare` and the report are those of every experiment.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType, ModuleType
from typing import Any

from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.report import by_seed, scoring, tables
from attention_jax.report.figures import curves
from attention_jax.report.pivot import DIGITS
from attention_jax.report.standings import Group, is_reported, of_tests
from attention_jax.report.tables import Score, Table
from attention_jax.running.results import RANGES
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps.sweep import NAMES
from attention_jax.system.errors import ConfigError

LIST = "SWEEP"
PRESET = "all"
"""The one preset of a list."""

SIDE_BY_SIDE = 8  # runs that one table or figure shows

NO_VERDICT = Verdict("none", "a list of runs has no rule; every interval is of 95 % over seeds")

MODES = {"exact_match": "free", "bleu": "free", "chrf": "free", "loss": "forced", "token_accuracy": "forced"}
"""{number of a row: the mode of the rows that are shown}; any other is shown free running."""


def grid(base: Config, values: Mapping[str, Sequence[Any]]) -> list[Config]:
    """Returns a config for every combination of values: {setting, as --set names it: its values}; the first setting varies slowest.

    Raises `ConfigError` for a setting that does not exist, a value that does not fit, and a setting without values.
    """
    for path, several in values.items():
        if isinstance(several, str) or not isinstance(several, Iterable) or not list(several):
            raise ConfigError(f"grid: {path}={several!r} must be one or more values: a tuple or a list")
    configs = []
    for chosen in itertools.product(*values.values()):
        config = base
        for path, value in zip(values, chosen, strict=True):
            config = settings.override(config, path, value)
        configs.append(config)
    return configs


def complete(module: ModuleType, where: str) -> None:
    """Fills in what makes a module with `SWEEP` an experiment. Raises `ConfigError` as `read` does."""
    configs = read(getattr(module, LIST), where)
    arms = tuple(dict.fromkeys(config.model.attention for config in configs))
    differing = differing_settings(configs)
    values = (module.VALUE,) if hasattr(module, "VALUE") else judged_by(configs)
    if values[0] not in RANGES:
        raise ConfigError(f"{where}: VALUE={values[0]!r} is no number of a row; valid: {', '.join(RANGES)}")
    filled: dict[str, Any] = {
        "PRESETS": (PRESET,),
        "ARMS": arms,
        "CHOICES": arms,
        "GROUP": tuple(NAMES.get(path, path.rpartition(".")[2]) for path in differing if path != "training.updates"),
        "JUDGED": 0,
        "sweep": lambda preset, arms=arms: [config for config in configs if config.model.attention in arms],
        "name": namer(configs, differing),
        "figures": lambda rows: figures(rows, module.__name__.rpartition(".")[2], values),
    }
    for name, what in filled.items():
        if not hasattr(module, name):
            setattr(module, name, what)
    own = getattr(module, "score", None)
    vars(module)["score"] = scorer(own, where, values)


def judged_by(configs: Sequence[Config]) -> tuple[str, ...]:
    """Returns the numbers that all of these configs are judged by, or exact match where there is none."""
    first, *others = (sources.judged_by(config) for config in configs)
    return tuple(value for value in first if all(value in each for each in others)) or ("exact_match",)


def read(listed: Any, where: str) -> list[Config]:
    """Returns the configs of a file's `SWEEP`, each checked. Raises `ConfigError`, which names the entry, for what cannot be a sweep."""
    found = listed() if callable(listed) and not isinstance(listed, type) else listed
    if isinstance(found, Config):
        raise ConfigError(f"{where}: {LIST} is one config; a list of one is [config]")
    if isinstance(found, Mapping | str) or not isinstance(found, Iterable):
        raise ConfigError(f"{where}: {LIST} must be a list of configs, or a function that returns one, not a {type(found).__name__}")
    configs = list(found)
    if not configs:
        raise ConfigError(f"{where}: {LIST} is empty; a sweep has one run or more")
    same: dict[Config, int] = {}
    names: dict[str, int] = {}
    for i, config in enumerate(configs):
        place = f"{where}: {LIST}[{i}]"
        if not isinstance(config, Config):
            raise ConfigError(f"{place} is no Config but a {type(config).__name__}: {str(config)[:60]!r}")
        try:
            settings.check(config)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from None
        if (twin := same.setdefault(replace(config, run="", experiment=""), i)) != i:
            raise ConfigError(f"{place} has the settings of {LIST}[{twin}]; what repeats a run is training.seeds")
        if config.run and (twin := names.setdefault(config.run, i)) != i:
            raise ConfigError(f"{place} is called {config.run!r}, as {LIST}[{twin}] is")
        if config.run != legible(config.run):
            raise ConfigError(f"{place} is called {config.run!r}: the name of a run is a folder's, of letters, digits and . _ + - alone")
    return configs


def differing_settings(configs: Sequence[Config]) -> list[str]:
    """Returns the settings that differ between configs, in order of declaration."""
    values = [settings.leaves(config) for config in configs]
    return [path for path in values[0] if path not in ("run", "experiment") and len({each[path] for each in values}) > 1]


def namer(configs: Sequence[Config], differing: Sequence[str]) -> Callable[[Config], str]:
    """Returns the function that names a run: its own name, or what differs, such as additive-vector_size8.

    A budget that no entry has, as --doublings makes, is added.
    """
    budgets = {(config.run, config.training.updates) for config in configs}

    def name(config: Config) -> str:
        values = settings.leaves(config)
        words = [config.run] if config.run else [_word(path, values[path]) for path in differing] or ["run"]
        known = (config.run, config.training.updates) in budgets or ("training.updates" in differing and not config.run)
        return "-".join(words if known else [*words, f"u{config.training.updates}"])

    return name


def _word(path: str, value: object) -> str:
    """Returns a part of a name: a text as it is, a number behind its setting."""
    word = path.rpartition(".")[2]
    if isinstance(value, bool):
        return word if value else f"no_{word}"
    if isinstance(value, str):
        return legible(value) or f"no_{word}"
    several = value if isinstance(value, tuple) else (value,)
    return word + "_".join(f"{each:g}" if isinstance(each, float) else str(each) for each in several)


def legible(text: str) -> str:
    """Replaces what cannot stand in the name of a folder, and a dot at its start."""
    return re.sub(r"^\.|[^A-Za-z0-9._+-]", "_", text)


def scorer(own: Callable | None, where: str, values: Sequence[str]) -> Callable[..., Score]:
    """Returns the `score` of a list: the tables of `tabulated`, behind those of the file's own function where it has one."""

    def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
        shown, budget = tabulated(rows, values), budget_text([row for row in rows if is_reported(row)])
        if own is None:
            return Score(NO_VERDICT, shown, budget)
        takes = len(inspect.signature(own).parameters)
        try:
            found = own(rows, sentences) if takes > 1 else own(rows)
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{where}: its score fails ({line}); all rows are kept: mend it, and call with --conclude") from error
        if isinstance(found, Score):
            return found
        theirs = [found] if isinstance(found, Table) else found
        if not isinstance(theirs, Sequence) or not all(isinstance(each, Table) for each in theirs):
            raise ConfigError(f"{where}: its score returns a {type(found).__name__}; it must be a Score, a Table or a list of Tables")
        return Score(NO_VERDICT, [*theirs, *shown], budget)

    return score


def budget_text(rows: Sequence[dict]) -> str:
    """Returns seeds and budgets as text: with 8 seeds, at 100, 200 updates."""
    budgets = sorted({row["budget"] for row in rows})
    return f"with {len({row['seed'] for row in rows})} seeds, at {', '.join(f'{budget:,}' for budget in budgets)} updates"


def tabulated(rows: Sequence[dict], values: Sequence[str]) -> list[Table]:
    """Returns the tables of a list, of each test set: exact match and `values` by length, every run with its numbers, rate curves."""
    shown = []
    for group in groups(rows):
        shown += [scoring.by_length(part) for part in _parts(group)]
        for value in held(group.rows, values):
            shown += [by_length(part, value) for part in _parts(group)]
        shown.append(scoring.by_budget(group))
        if found := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(found)
    return shown


def held(rows: Sequence[dict], values: Sequence[str]) -> list[str]:
    """Returns those of `values` but exact match that rows of results hold, which --set may have changed; the only one in any case."""
    results = [row for row in rows if is_reported(row)]
    return [
        value
        for value in values
        if value != "exact_match" and (len(values) == 1 or all(value in row for row in results if row["mode"] == MODES.get(value, "free")))
    ]


def groups(rows: Sequence[dict]) -> list[Group]:
    """Groups runs by test set, and by the lengths that they are tested at; in a group each run is an arm, under its own name."""
    return [group for test, of_test in of_tests(rows).items() for group in _groups(of_test, f", {test}" if test else "")]


def _groups(rows: Sequence[dict], test: str) -> list[Group]:
    tested: dict[str, set] = {}
    for row in rows:
        if is_reported(row):
            tested.setdefault(row["run"], set()).add((row["length"], row["seen"]))
    alike: dict[frozenset, list[str]] = {}
    for run, lengths in tested.items():
        alike.setdefault(frozenset(lengths), []).append(run)
    found = []
    for lengths, runs in alike.items():
        name = f"lengths {min(lengths)[0]} to {max(lengths)[0]}{test}"
        found.append(Group(name, [{**row, "attention": row["run"]} for row in rows if row.get("run") in runs], ()))
    return found


def _parts(group: Group) -> list[Group]:
    """Cuts a group into some of at most `SIDE_BY_SIDE` runs."""
    several = [group.arms[i : i + SIDE_BY_SIDE] for i in range(0, len(group.arms), SIDE_BY_SIDE)]
    return [Group(group.name, [row for row in group.rows if row["attention"] in runs], ()) for runs in several]


def _curves(group: Group, value: str) -> dict[str, dict]:
    """Returns {run: {length: interval}}: exact match of the typical seed, of other numbers the mean over seeds."""
    mode, rows = MODES.get(value, "free"), [row for row in group.rows if is_reported(row)]
    return {run: by_seed.curve(rows, run, value, mode, group.budgets(run)[-1]) for run in group.arms}


def by_length(group: Group, value: str) -> Table:
    """Tabulates a number of the rows by length, a column a run: its mean over seeds with the interval."""
    found, digits = _curves(group, value), DIGITS.get(value, 2)
    lengths = sorted({length for curve in found.values() for length in curve})
    lines = [(str(length), *(tables.interval_text(curve.get(length), digits) for curve in found.values())) for length in lengths]
    return Table(f"{value}, mean over seeds, {group.name}; columns are runs", ("length", *found), lines)


def figures(rows: Sequence[dict], experiment: str, values: Sequence[str]) -> dict:
    """Draws the first of `values` that rows hold, or exact match, by length: a line a run, at most `SIDE_BY_SIDE` runs a figure."""
    drawn = {}
    (value, *_) = *held(rows, values), "exact_match"
    for number, part in enumerate((part for group in groups(rows) for part in _parts(group)), start=1):
        ends = (min(part.trained), max(part.trained)) if part.trained else None
        share = RANGES[value] == (0, 1)
        if value == "exact_match":
            lines, label = (
                {run: scoring.standings.exact_match(part.tested(run, part.budgets(run)[-1])) for run in part.arms},
                "typical seed",
            )
        else:
            lines, label = _curves(part, value), "mean over seeds"
        drawn[f"{value}_{number}"] = curves.length_curves(
            lines,
            title=f"{experiment}: {value}, {part.name}",
            ylabel=value,
            trained=ends,
            line_label=label,
            percent=share,
            examples=part.examples,
        )
    return drawn


def explained(error: Exception) -> str:
    """Returns what to say of an error that a file raised: of an unknown setting of a record, with the valid ones."""
    found = re.fullmatch(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    prefix = {getattr(kind, "__name__", ""): prefix for kind, prefix in settings.PREFIXES.items()}.get(found[1]) if found else None
    if found and prefix is not None:
        try:
            settings.override(Config(), f"{prefix}{found[2]}", "")
        except ConfigError as said:
            return str(said)
    return f"{type(error).__name__}: {error}"
