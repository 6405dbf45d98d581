"""Configs → runs: a claim's sweep becomes a list of named, indexed runs; their rows become tables, figures and a report.

A claim is a module of `experiments/`, or of a file outside (claims.py), with

    __doc__                 the claim, the rule of its verdict, what the presets cost
    PRESETS, ARMS           names of its presets, the smallest first, and of its arms: fixed vectors, then attention
    sweep(preset, arms) → list of Config, one a run; name(config) → the run's name
    score(rows, sentences) → Score                      figures(rows) → {stem: Figure}
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from attention_jax import attention, model, training
from attention_jax import config as settings
from attention_jax.config import Config, formats
from attention_jax.data import sources, tasks
from attention_jax.report import figures, report, tables
from attention_jax.report.figures import looks
from attention_jax.report.report import Picture, Report
from attention_jax.running import checkpoint, failures, lock, loop, results, selection
from attention_jax.statistics.ladder import Need
from attention_jax.sweeps import archive
from attention_jax.system.errors import ConfigError, DataError, RunError

LOOKING = (
    "model.heads model.slots model.pooling model.normaliser model.window model.estimator model.copy "
    "training.coverage training.doubly_stochastic training.guided"
).split()
"""Settings of how a mechanism looks: they have no meaning for the fixed-vector arms of a sweep, which keep their own."""

LINKS = ("text.alignment_file", "training.guided")
"""Settings of word links, which a source that is not seen has not."""

MEASURED = ("examples", "exact_match", "token_accuracy", "step", "learning_rate", "seconds")
"""Numbers of every row."""

ALWAYS = (
    "model.attention model.cell model.hidden_size model.vector_size data.task training.optimizer training.schedule training.warmup "
    "training.clip training.precision match"
).split()


class Run(NamedTuple):
    """One line of a sweep; `fields` go into each of its rows."""

    config: Config
    directory: Path
    fields: dict


def plan(
    claim: ModuleType,
    preset: str = "",
    assignments: Iterable[str] = (),
    workdir: str | Path = "runs",
    arms: Sequence[str] = (),
    doublings: int = 0,
) -> list[Run]:
    """The runs of a claim, in order: its sweep, the overrides applied to each run, equal runs listed once, arms matched.

    No preset is the smallest, no arms are the claim's own; `doublings` lengthens the ladder of every arm so many times. What an
    override says about looking leaves the sweep's fixed-vector arms as they are. Raises `ConfigError` for an unknown preset, arm or
    setting, values that cannot be, and a model whose sizes do not fit.
    """
    settings.choose("--preset", preset or claim.PRESETS[0], claim.PRESETS)
    arms = [settings.choose("--arms", arm, attention.TABLE) for arm in dict.fromkeys(arms or claim.ARMS)]
    experiment = claim.__name__.rpartition(".")[2]
    configs = []
    asked = [settings.validate(override(config, assignments)) for config in claim.sweep(preset or claim.PRESETS[0], arms)]
    for config in doubled(asked, doublings):
        sources.check(training.checked(config))
        data = config.data
        if data.task in tasks.TABLE and not any(data.shortest <= length <= data.longest for length in data.eval_lengths):
            raise ConfigError(f"none of data.eval_lengths={data.eval_lengths} is a trained length, and a verdict is about those")
        configs.append(replace(config, experiment=experiment, run=claim.name(config)))
    configs = match(list(dict.fromkeys(configs)))
    names = [config.run for config in configs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two different runs would be called {twice[0]}: {experiment}.name must tell them apart")
    return placed(configs, workdir)


def placed(configs: Sequence[Config], workdir: str | Path) -> list[Run]:
    """The runs of these configs, with their directories and the fields of their rows."""
    swept = swept_paths(configs)
    return [Run(config, Path(workdir) / config.experiment / config.run, describe(config, swept)) for config in configs]


def doubled(configs: Sequence[Config], times: int) -> list[Config]:
    """The runs, and behind the longest one of each arm its budget doubled once, twice, … `times` times."""
    longest: dict[Config, int] = {}
    for config in configs:
        alike = _at(config, 1)
        longest[alike] = max(longest.get(alike, 0), config.training.updates)
    found = []
    for config in configs:
        found.append(config)
        if config.training.updates == longest[_at(config, 1)]:
            found += [_at(config, config.training.updates * 2**step) for step in range(1, times + 1)]
    return found


def _at(config: Config, updates: int) -> Config:
    return replace(config, training=replace(config.training, updates=updates))


def override(config: Config, assignments: Iterable[str]) -> Config:
    """The settings of `assignments`, where they have a meaning: a fixed-vector arm keeps its settings of looking, a source-blind one
    those of word links."""
    changed, own = settings.override_all(config, assignments), settings.leaves(config)
    fixed = not attention.looks(config.model.attention)
    kept = LOOKING if fixed and changed.model.attention == config.model.attention else ()
    for path in (*kept, *(LINKS if config.text.blind else ())):
        changed = settings.override(changed, path, own[path])
    return changed


def match(configs: list[Config]) -> list[Config]:
    """With match=parameters, runs that differ only in how they look, if at all, and in budget are brought to the size of their largest."""

    def size(config):
        return model.parameters(config.model, sources.vocabulary_size(config))

    def group(config):
        for path in ("model.attention", "run", "training.updates", "text.blind", *LOOKING, *LINKS):
            config = settings.override(config, path, settings.leaves(Config())[path])
        return config

    matched = []
    for config in configs:
        if config.match == "parameters":
            reference = max((other for other in configs if group(other) == group(config)), key=size)
            largest = size(config) == size(reference)
            config = config if largest else model.match_parameters(config, reference, sources.vocabulary_size(config))
        matched.append(config)
    return matched


def swept_paths(configs: Sequence[Config]) -> list[str]:
    """The settings that tell the runs of a sweep apart, and the few that every row names."""
    values = [settings.leaves(config) for config in configs]
    return [path for path in values[0] if path not in ("run", "experiment") and (path in ALWAYS or len({v[path] for v in values}) > 1)]


def describe(config: Config, paths: Sequence[str]) -> dict:
    """The fields of a run's rows: swept settings by their last word, d, the number of parameters, and which settings these were."""
    values = settings.leaves(config)
    fields = {path.rpartition(".")[2]: list(values[path]) if isinstance(values[path], tuple) else values[path] for path in paths}
    parameters = model.parameters(config.model, sources.vocabulary_size(config))
    fields.pop("updates", None)  # every row has its budget
    return {
        **fields,
        "state_size": model.state_size(config.model),
        "parameters": parameters,
        "fingerprint": settings.fingerprint(config)[:16],
    }


class State(NamedTuple):
    """How far a run is. `name`: finished, running, stale (its process is gone without a word), failed, or waiting."""

    name: str
    update: int
    seconds_left: float | None
    note: str


def states(runs: Sequence[Run]) -> list[State]:
    """What the folders alone say; takes some seconds where a run's process has to be watched for a sign of life."""
    held = {run.directory: found for run in runs if (found := lock.read(run.directory))}
    alive = lock.alive(held)
    return [_state(run, held.get(run.directory), alive) for run in runs]


def _state(run: Run, holder: dict | None, alive: set[Path]) -> State:
    steps, updates = checkpoint.steps(run.directory / "checkpoint"), run.config.training.updates
    saved = steps[-1] if steps else 0
    try:
        if loop.finished(run.config, run.directory):
            return State("finished", updates, None, "")
    except DataError as error:  # a damaged row
        return State("failed", saved, None, str(error))
    if holder:
        note = f"process {holder.get('process')} on {holder.get('host')}"
        if run.directory not in alive:
            return State("stale", saved, None, f"{note} gives no sign of life; the same command goes on, unless it is only suspended")
        return State("running", holder.get("update", saved), holder.get("seconds_left"), note)
    if failures.failed(run.directory):
        return State("failed", saved, None, failures.failed(run.directory))
    return State("waiting", saved, None, "")


def listing(runs: Sequence[Run]) -> str:
    """A run per line: index, name, status, and what `--index` will train."""
    header = ("index", "run", "attention", "seeds", "updates", "d", "parameters", "status")
    lines = []
    for index, (run, state) in enumerate(zip(runs, states(runs), strict=True)):
        training, fields = run.config.training, run.fields
        status = f"{state.name}, update {state.update}" if state.update and state.name != "finished" else state.name
        sizes = (str(training.seeds), str(training.updates), str(fields["state_size"]), f"{fields['parameters']:,}")
        lines.append((str(index), _name(run), run.config.model.attention, *sizes, status))
    return report.text_table(header, lines)


def progress(runs: Sequence[Run]) -> str:
    """A run per line: state, updates done, time left, and whose it is or why it failed; the last line counts."""
    found = states(runs)
    lines = []
    for index, (run, state) in enumerate(zip(runs, found, strict=True)):
        updates = run.config.training.updates
        left = "" if state.seconds_left is None else f"{state.seconds_left / 60:.0f} min"
        lines.append((str(index), _name(run), state.name, f"{state.update}/{updates}", f"{state.update / updates:.0%}", left, state.note))
    names = [state.name for state in found]
    counts = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    table = report.text_table(("index", "run", "state", "update", "done", "left", "note"), lines)
    return f"{table}\n{len(runs)} run{'s' if len(runs) > 1 else ''}: {counts}"


def _name(run: Run) -> str:
    return f"{run.config.experiment}/{run.config.run}"


def conclude(claim: ModuleType, runs: Sequence[Run], directory: Path, command: str) -> str:
    """Rows of finished runs → merged rows, tables, figures (PNG and SVG) and the HTML report in `directory`; returns what to print.

    Raises `RunError` where runs are not finished, or folders are those of other configs, and `DataError` for rows of anything else.
    """
    if unfinished := [_name(run) for run in runs if not loop.finished(run.config, run.directory)]:
        raise RunError(f"{len(unfinished)} of {len(runs)} runs are not finished: {', '.join(unfinished)}; see --status")
    stored = [results.read_claim(run.directory, settings.to_json(run.config)) for run in runs]
    fields = {run.config.run: run.fields for run in runs}
    merged = results.merge(run.directory / "rows.jsonl" for run in runs)
    measured = [formats.completed(row, fields.get(row["run"], {})) for row in merged]
    curves = [row for run in runs for row in selection.read(run.directory) if row["budget"] == run.config.training.updates]
    check(measured, runs)
    check(curves, runs, ())
    found = archive.of_runs(runs[0].config.experiment, command, [run.directory for run in runs], measured, curves)
    made = archive.write(directory, found)
    score, drawn = claim.score(found.all_rows, found.sentences), claim.figures(found.all_rows)
    paths = [path for stem, figure in drawn.items() for path in figures.save(figure, directory / stem)]
    pictures = [Picture(stem.replace("_", " "), figures.svg_text(figure)) for stem, figure in drawn.items()]
    looked = looks.alignments([_panel(run) for run in runs], "Where each output looked (first seed, free running)")
    paths += figures.save(looked, directory / "alignments")
    pictures.append(Picture("One decoded example per run. A fixed vector leaves nothing to look at.", figures.svg_text(looked)))
    if spatial(runs[0].config):
        pictures += report.overlays([_panel(run) for run in runs])
    title, _, claimed = (claim.__doc__ or runs[0].config.experiment).strip().partition("\n")
    page = Report(
        title=title,
        claim=reflowed(claimed),
        verdict=str(score.verdict),
        reason=score.verdict.reason,
        budget=score.budget,
        command=command,
        tables=score.tables,
        pictures=pictures,
        config=stored[0]["config"],
        environment=stored[0]["environment"],
    )
    paths.append(report.write(page, directory / "report.html"))
    parts = [f"{table.title}\n{report.text_table(table.header, table.rows)}" for table in score.tables]
    parts.append(f"Verdict: {score.verdict}, {score.budget}.\n  {score.verdict.reason}")
    if score.verdict.needs:
        table = tables.needs(score.verdict, partial(minutes, measured), "What would decide it")
        commands = dict.fromkeys(remedy(command, runs, need) for need in score.verdict.needs)
        parts.append("\n".join([table.title, report.text_table(table.header, table.rows), *(f"  {text}" for text in commands if text)]))
    parts.append("\n".join(["Written:", *(f"  {path}" for path in (*paths, *made))]))
    return "\n\n".join(parts)


def minutes(rows: Sequence[dict], need: Need) -> float:
    """How long the runs of a need take where these rows were made: by the seconds of an update and seed of their arm's largest budget."""
    of_arm = [row for row in rows if need.arm == ("blind" if row.get("blind") else row["attention"])]
    if not of_arm:
        return float("nan")
    budget = max(row["budget"] for row in of_arm)
    largest = [row for row in of_arm if row["budget"] == budget]
    seeds = len({(row["run"], row["seed"]) for row in largest})
    return max(row["seconds"] for row in largest) / (budget * seeds) * need.updates / 60


def remedy(command: str, runs: Sequence[Run], need: Need) -> str:
    """The command that makes the runs of a need, given the one that made those that are there; "" where no flag does."""
    if need.budget not in {run.config.training.updates for run in runs}:
        before = [int(text) for text in re.findall(r"--doublings[= ](\d+)", command)]
        return f"{_without(command, 'doublings')} --doublings={(before or [0])[-1] + 1}"
    if need.role == "reported":
        training = runs[0].config.training
        first, seeds = training.first_seed, training.seeds + need.seeds
        return f"{_without(command, 'seeds', 'workdir')} --seeds={first}-{first + seeds - 1} --workdir=runs/{seeds}_seeds"
    return ""


def _without(command: str, *flags: str) -> str:
    """A command without these flags."""
    return re.sub(rf" --({'|'.join(flags)})([= ]\S+)", "", command)


def beside_kept(runs: Sequence[Run], kept: Sequence[dict]) -> str:
    """One line: whether the learning rates that were chosen here are those that kept curves speak for."""
    places = []
    for run in runs:
        if theirs := selection.adopted(kept, run.config, run.fields):
            places.append(
                (run.config.run, *(selection.choice(run.config, curve).rate for curve in (selection.read(run.directory), theirs)))
            )
    if not places:
        return "Learning rates: no curves are kept for these settings."
    differ = [f"; {name}: {here:g} here, {there:g} kept" for name, here, there in places if here != there]
    return f"Learning rates: those of the kept curves in {len(places) - len(differ)} of {len(places)} runs{''.join(differ)}."


def check(rows: Sequence[dict], runs: Sequence[Run], measured: Sequence[str] = MEASURED) -> None:
    """Raises `DataError` for a row that none of the runs can have written: of another run, with other fields, or not measured.

    What is measured lies where it can lie. Weights of a normaliser of mass "any" have any sum, so that their mass at gold is no share.
    """
    fields = {run.config.run: run.fields for run in runs}
    unbounded = {run.config.run for run in runs if attention.NORMALISERS[run.config.model.normaliser](run.config.model).mass == "any"}
    for row in rows:
        own = fields.get(row["run"], {"run": " or ".join(fields)})
        wrong = [f"{name} is {row.get(name)!r}, not {value!r}" for name, value in own.items() if row.get(name) != value]
        wrong += [f"{name} is no number" for name in measured if row.get(name) is None]
        wrong += results.impossible({name: x for name, x in row.items() if name != "alignment_mass" or row["run"] not in unbounded})
        wrong += [f"{name} is a list or an object" for name in row.keys() - own.keys() if isinstance(row[name], list | dict)]
        if wrong:
            place = ", ".join(f"{name}={row[name]}" for name in results.KEY if name in row)
            raise DataError(f"the row {place} is not of this sweep: {'; '.join(wrong)}; remove that run's directory, or its rows.jsonl")


def spatial(config: Config) -> bool:
    """Whether inputs are the places of a square field, so that looks can be drawn over it."""
    return config.data.task in tasks.TABLE and tasks.build(config.data).is_field


def reflowed(text: str) -> str:
    """A docstring for a page of any width: lines are joined within a paragraph, and within an item (a line indented by two)."""
    paragraphs = []
    for block in text.strip().split("\n\n"):
        items: list[str] = []
        for line in block.splitlines():
            if not items or (line.startswith("  ") and not line.startswith("   ")):
                items.append("  " + line.strip() if line.startswith("  ") else line.strip())
            elif items[-1].startswith("  ") and not line.startswith(" "):
                items.append(line.strip())
            else:
                items[-1] += " " + line.strip()
        paragraphs.append("\n".join(items))
    return "\n\n".join(paragraphs)


def _panel(run: Run) -> looks.Panel:
    example = run.directory / "example.json"
    return report.panel(run.config.run, results.read_json(example), str(example))
