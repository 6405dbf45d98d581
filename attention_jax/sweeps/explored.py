"""Runs of a sweep → what a page explores: examples of every arm side by side, by budget, seed and length.

of_runs     the kept examples of finished runs, for a report
page        a page that is written anew while runs train: losses, and one example as it is learned
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.data import signals, tasks
from attention_jax.report import report
from attention_jax.report.explorer import Explorer, Facet, View
from attention_jax.report.training import Curve
from attention_jax.running import examples, finished, watching
from attention_jax.running.examples import Example
from attention_jax.running.watching import Watched
from attention_jax.system.errors import ConfigError, DataError, RunError

BUDGET, UPDATE, SEED, LENGTH = "updates", "after updates", "seed", "length"
LOOSE = BUDGET, UPDATE
"""Facets along which the nearest example is shown where there is none at the chosen value: arms need not have the same budgets."""

Place = tuple[Config, Path]
"""A run: its settings, and its directory."""


class Shown(NamedTuple):
    """An example of the run with this number, and the values of the facets that it is chosen by."""

    run: int
    values: tuple[int, ...]
    example: Example
    note: str = ""


def of_runs(runs: Sequence[Place]) -> Explorer | None:
    """Returns the kept examples of finished runs, by budget, seed and length; None where no run kept any, as those of older versions.

    Raises `DataError` or `RunError` for a file that is damaged.
    """
    found = []
    for number, (config, directory) in enumerate(runs):
        file = directory / examples.FILE
        for kept in examples.read(file) if file.exists() else []:
            values = config.training.updates, kept["seed"], kept["length"]
            found.append(Shown(number, values, kept["example"], _judged(kept["example"])))
    configs = [config for config, _ in runs]
    return _explorer(labels(configs), configs[0], (BUDGET, SEED, LENGTH), found)


def page(runs: Sequence[Place], path: Path) -> Callable[[], None]:
    """Returns what writes the page of the runs of a sweep, each time anew from their `watched.json`; what is damaged is left out.

    Several processes that train different ones of them may write the same page. Raises `ConfigError` for a file that is no .html.
    """
    if path.suffix != ".html":
        raise ConfigError(f"--watch={path} must end in .html")
    names = labels([config for config, _ in runs])
    names = [
        f"{name}, {config.training.updates} updates" if names.count(name) > 1 else name
        for name, (config, _) in zip(names, runs, strict=True)
    ]

    def write() -> None:
        curves, found = [], []
        for number, (name, (config, directory)) in enumerate(zip(names, runs, strict=True)):
            shown = _watched(directory)
            if shown is None and (directory / finished.MARK).exists():
                continue  # nobody watched it
            shown = shown or Watched(config.training.updates, config.training.all_seeds, 0, [], [])
            trial = ", ".join(f"{rate:g}" for rate in shown.trial)
            curves.append(Curve(name, config.model.attention, shown.updates, shown.done, shown.seeds, shown.points, trial))
            for snapshot in shown.snapshots:
                pairs = zip(shown.seeds, snapshot.examples, strict=True)
                found += [Shown(number, (snapshot.update, seed), example) for seed, example in pairs]
        if curves:
            report.write_watched(curves, _explorer(names, runs[0][0], (UPDATE, SEED), found), path, runs[0][0].experiment)

    return write


def _watched(directory: Path) -> Watched | None:
    try:
        return watching.read(directory / watching.FILE)
    except (DataError, RunError):
        return None


def labels(configs: Sequence[Config]) -> list[str]:
    """Names the arm of each run: its mechanism, and other settings of model and data that differ between the runs. Budgets share a name."""
    leaves = [settings.leaves(config) for config in configs]
    own = [path for path in leaves[0] if path.partition(".")[0] in ("model", "data", "text", "match") and path != "model.attention"]
    differ = [path for path in own if len({str(values[path]) for values in leaves}) > 1]
    names = [", ".join([values["model.attention"], *(f"{path.rpartition('.')[2]}={values[path]}" for path in differ)]) for values in leaves]
    alike = [replace(config, run="", training=replace(config.training, updates=1, learning_rates=(1.0,))) for config in configs]
    runs_of = {name: {each for other, each in zip(names, alike, strict=True) if other == name} for name in names}
    return [name if len(runs_of[name]) == 1 else f"{name} ({config.run})" for name, config in zip(names, configs, strict=True)]


def _explorer(names: Sequence[str], config: Config, facets: Sequence[str], found: Sequence[Shown]) -> Explorer | None:
    """Returns an explorer of examples of runs with these names, one of which has this config; None where there are no examples."""
    if not found:
        return None
    panels = list(dict.fromkeys(names[shown.run] for shown in found))
    values = [sorted({shown.values[i] for shown in found}) for i in range(len(facets))]
    choices = [
        Facet(name, [str(value) for value in own], name in LOOSE, _start(name, own, config))
        for name, own in zip(facets, values, strict=True)
    ]
    seed = facets.index(SEED)
    views = [
        View(panels.index(names[shown.run]), tuple(map(list.index, values, shown.values)), shown.example, shown.note)
        for shown in sorted(found, key=lambda shown: shown.values[seed])  # where a page cannot hold all, it holds those of the first seeds
    ]
    looking = {view.panel for view in views if view.example.weights is not None}
    blind = [panel for panel in range(len(panels)) if panel not in looking]
    beside = min(blind, default=0), max(looking, default=len(panels) - 1)  # a fixed vector, and what attends
    return Explorer(panels, choices, views, list(dict.fromkeys(beside)), tasks.is_field(config.data) or signals.is_image(config))


def _start(facet: str, values: Sequence[int], config: Config) -> int:
    """Returns the place of the value that is shown first: the first seed, the longest trained length, the largest budget."""
    if facet == SEED:
        return 0
    within = [value for value in values if facet != LENGTH or value <= config.data.longest]
    return max(0, len(within) - 1)


def _judged(example: Example) -> str:
    """Says how much of an output is right."""
    if example.target is None:
        return ""
    length = max(len(example.output), len(example.target))
    right = sum(said == meant for said, meant in zip(example.output, example.target, strict=False))
    return "all right" if right == length else f"{length - right} of {length} wrong"
