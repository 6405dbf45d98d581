"""Configs → runs: a claim's sweep becomes a list of named, indexed runs; their rows become tables, figures and a report.

A claim is a module of `experiments/`, or of a file outside (claims.py), with

    __doc__                 the claim, the rule of its verdict, what the presets cost
    PRESETS, ARMS           names of its presets, the smallest first, and of its arms: fixed vectors, then attention
    sweep(preset, arms) → list of Config, one a run; name(config) → the run's name
    score(rows, sentences) → Score                      figures(rows) → {stem: Figure}

and, where it wants them,

    DATA        "real": its runs learn real data, and --experiment=all-real runs it; "synthetic", as without it: study does
    CHOICES     names that --arms takes, where arms are no rows of model.attention
    FIELDS      settings that every row names, beside those that differ between runs
    VALUE       what --compare compares: "exact_match", as without it, "loss", or "error_rate"
    arm(row) → the name of a row's arm, where several arms have one row of model.attention: for --compare and for what would decide
    PAPERS      keys of report/papers.bib: of the claim and of statistics of its own
    JUDGED      how many tested lengths among the trained a verdict needs: 1, as without it; 0 where nothing is judged
    findings(rows, sentences) → Findings, what the rows say of sentences of the literature: docs/results.md
    check(config), which raises `ConfigError` for settings that it measures nothing of
    files(rows) → {path below the folder of results: text}, written beside the rows
    measure(trained, source) → rows, measured of each seed's model besides, of all runs or those of measures(config): measurements.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from attention_jax import attention, model
from attention_jax import config as settings
from attention_jax.config import Config, formats
from attention_jax.data import sources, tasks
from attention_jax.report import figures, report
from attention_jax.report.figures import described, looks
from attention_jax.report.report import Picture, Report
from attention_jax.running import checkpoint, failures, finished, lock, results, selection
from attention_jax.running.resolved import check, stored_sizes
from attention_jax.sweeps import archive, explored, measurements, provenance, remedies
from attention_jax.sweeps.matching import LINKS, LOOKING, SizesOf, match
from attention_jax.sweeps.measurements import Measure, MeasureOf
from attention_jax.system.errors import ConfigError, DataError, RunError, StorageError, one_line

ALWAYS = (
    "model.attention model.cell model.hidden_size model.vector_size data.task training.optimizer training.schedule training.warmup "
    "training.clip training.precision match"
).split()


NAMES = {"data.symbols": "alphabet"}
"""{setting: its field in a row}, where that is not its last word: the `symbols` of a row are counted."""


class Run(NamedTuple):
    """A run of a sweep; `fields` go into each of its rows."""

    config: Config
    directory: Path
    fields: dict
    measure: Measure | None = None  # the claim's

    @property
    def is_finished(self) -> bool:
        """True where all of its rows are there, those of its claim's `measure` too."""
        place = self.config, self.directory
        return finished.is_finished(*place) and (self.measure is None or measurements.finished(*place))


def plan(
    claim: ModuleType,
    preset: str = "",
    assignments: Iterable[str] = (),
    workdir: str | Path = "runs",
    arms: Sequence[str] = (),
    doublings: int = 0,
    sizes_of: SizesOf | None = None,
) -> list[Run]:
    """Plans the runs of a claim, in order: its sweep, the overrides applied to each run, equal runs listed once, arms matched.

    Without a preset it is the smallest, without arms the claim's own; `doublings` lengthens the ladder of every arm so many times.
    `sizes_of`: how many tokens the vocabularies of a corpus have, which match=parameters needs to know before its text is trained on.
    Overrides of how a mechanism attends leave the fixed-vector arms as they are. Raises `ConfigError` for an unknown preset, arm or
    setting, invalid values, a model whose sizes do not fit, and what the claim cannot measure.
    """
    settings.choose("--preset", preset or claim.PRESETS[0], claim.PRESETS)
    arms = [settings.choose("--arms", arm, getattr(claim, "CHOICES", attention.TABLE)) for arm in dict.fromkeys(arms or claim.ARMS)]
    experiment = claim.__name__.rpartition(".")[2]
    configs = []
    swept = claim.sweep(preset or claim.PRESETS[0], arms)
    _check_control(swept, assignments)
    asked = [settings.validate(override(config, assignments)) for config in swept]
    for config in doubled(asked, doublings):
        _check(claim, config)
        configs.append(replace(config, experiment=experiment, run=claim.name(config)))
    configs = match(list(dict.fromkeys(configs)), sizes_of)
    if twice := sorted(name for name, count in Counter(config.run for config in configs).items() if count > 1):
        raise ConfigError(f"two different runs would be called {twice[0]}: {experiment}.name must tell them apart")
    return placed(configs, workdir, named(claim), partial(measurements.of, claim))


def _check_control(swept: Iterable[Config], assignments: Iterable[str]) -> None:
    """Raises `ConfigError` where arms would be made blind in a sweep with a control that is: rows would no longer tell them apart."""
    given = any(each.partition("=")[0].strip() == "text.blind" for each in assignments)
    if given and any(config.text.blind for config in swept):
        raise ConfigError("text.blind: this sweep has a control that is blind beside its arms; leave it out")


def _check(claim: ModuleType, config: Config) -> None:
    """Raises `ConfigError` for settings that contradict each other, and for those that the claim cannot measure, or not judge."""
    check(config)
    getattr(claim, "check", lambda config: None)(config)
    n, least = len(sources.trained_lengths(config)), getattr(claim, "JUDGED", 1)
    if n < least:
        given = f"data.eval_lengths={config.data.eval_lengths}"
        raise ConfigError(f"{n} of {given} are trained lengths that are tested; a verdict needs {least}")


def named(claim: ModuleType) -> Sequence[str]:
    """Returns the settings that every row of a claim names: its own, and `ALWAYS`."""
    return (*ALWAYS, *getattr(claim, "FIELDS", ()))


def placed(configs: Sequence[Config], workdir: str | Path, always: Sequence[str] = ALWAYS, of: MeasureOf = lambda _: None) -> list[Run]:
    """Returns the runs of these configs, with their directories, the fields of their rows, and what their claim measures `of` each."""
    swept, counted = swept_paths(configs, always), {}
    places = [Path(workdir) / config.experiment / config.run for config in configs]
    return [Run(config, place, describe(config, swept, counted, place), of(config)) for config, place in zip(configs, places, strict=True)]


def doubled(configs: Sequence[Config], times: int) -> list[Config]:
    """Returns the configs, and behind the longest one of each arm its budget doubled once, twice, … `times` times."""
    longest: dict[Config, int] = {}
    for config in configs:
        longest[_alike(config)] = max(longest.get(_alike(config), 0), config.training.updates)
    found = []
    for config in configs:
        found.append(config)
        if config.training.updates == longest[_alike(config)]:
            found += [_at(config, config.training.updates * 2**step) for step in range(1, times + 1)]
    return found


def _alike(config: Config) -> Config:
    """Returns what the budgets of an arm share: all but updates and learning rates, which may be those of a budget."""
    return replace(config, training=replace(config.training, updates=1, learning_rates=(1.0,)))


def _at(config: Config, updates: int) -> Config:
    return replace(config, training=replace(config.training, updates=updates))


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Applies `assignments` where they have a meaning: a fixed-vector arm keeps its settings of attending, a source-blind one
    those of word links."""
    changed, own = settings.override_all(config, assignments), settings.leaves(config)
    fixed = not attention.looks(config.model.attention)
    kept = LOOKING if fixed and changed.model.attention == config.model.attention else ()
    there = settings.leaves(changed)
    for path in (*kept, *(LINKS if config.text.blind else ())):
        changed = changed if there[path] == own[path] else settings.override(changed, path, own[path])
    return changed


def swept_paths(configs: Sequence[Config], always: Sequence[str] = ALWAYS) -> list[str]:
    """Returns the settings that differ between the runs of a sweep, and those that every row names."""
    values = [settings.leaves(config) for config in configs]
    return [path for path in values[0] if path not in ("run", "experiment") and (path in always or len({v[path] for v in values}) > 1)]


def describe(config: Config, paths: Sequence[str], counted: dict, directory: Path) -> dict:
    """Returns the fields of a run's rows: swept settings by last word or `NAMES`, d, number of parameters, the settings' fingerprint.

    On text there are no parameters to count before the run in this directory has its vocabularies; it adds them itself. `counted` keeps
    what was counted: models of one sweep are often alike.
    """
    values = settings.leaves(config)
    names = {path: NAMES.get(path, path.rpartition(".")[2]) for path in paths}
    fields = {name: list(values[path]) if isinstance(values[path], tuple) else values[path] for path, name in names.items()}
    fields.pop("updates", None)  # every row has its budget
    vocabulary = stored_sizes(directory, config)
    alike = config.model, vocabulary
    if alike not in counted:
        parameters = {"parameters": model.parameters(config.model, vocabulary)} if vocabulary else {}
        counted[alike] = {"state_size": model.state_size(config.model), **parameters}
    return {**fields, **counted[alike], "fingerprint": finished.fingerprint(config)}


class State(NamedTuple):
    """Progress of a run. `name`: finished, running, stale (its process has died), failed, or waiting."""

    name: str
    update: int
    seconds_left: float | None
    note: str


def states(runs: Sequence[Run]) -> list[State]:
    """Returns the state of each run, from the folders; takes seconds where a running process has to be watched."""
    held = {run.directory: found for run in runs if (found := lock.read(run.directory))}
    alive = lock.alive(held)
    return [_state(run, held.get(run.directory), alive) for run in runs]


def _state(run: Run, holder: dict | None, alive: set[Path]) -> State:
    steps, updates = checkpoint.steps(run.directory / "checkpoint"), run.config.training.updates
    saved = steps[-1] if steps else 0
    try:
        if run.is_finished:
            return State("finished", updates, None, "")
    except (DataError, StorageError) as error:  # a damaged row, or one that cannot be read
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
    """Lists runs, one a line: index, name, sizes, status."""
    header = ("index", "run", "attention", "seeds", "updates", "d", "parameters", "status")
    lines = []
    for index, (run, state) in enumerate(zip(runs, states(runs), strict=True)):
        training, fields = run.config.training, run.fields
        status = f"{state.name}, update {state.update}" if state.update and state.name != "finished" else state.name
        parameters = f"{fields['parameters']:,}" if "parameters" in fields else "by the text"
        sizes = (str(training.seeds), str(training.updates), str(fields["state_size"]), parameters)
        lines.append((str(index), _name(run), run.config.model.attention, *sizes, status))
    return report.text_table(header, lines)


def progress(runs: Sequence[Run]) -> str:
    """Lists the progress of runs, one a line: state, updates done, time left, process or reason of failure; the last line counts."""
    found = states(runs)
    lines = []
    for index, (run, state) in enumerate(zip(runs, found, strict=True)):
        updates = run.config.training.updates
        left = "" if state.seconds_left is None else f"{state.seconds_left / 60:.0f} min"
        lines.append((str(index), _name(run), state.name, f"{state.update}/{updates}", f"{state.update / updates:.0%}", left))
    names = [state.name for state in found]
    counts = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    table = report.text_table(("index", "run", "state", "update", "done", "left"), lines)
    notes = [f"  {index} {state.name}: {one_line(state.note)}" for index, state in enumerate(found) if state.note]  # would widen all lines
    table = "\n".join([table, *notes])
    return f"{table}\n{len(runs)} run{'s' if len(runs) > 1 else ''}: {counts}"


def _name(run: Run) -> str:
    return f"{run.config.experiment}/{run.config.run}"


def conclude(claim: ModuleType, runs: Sequence[Run], directory: Path, command: str) -> str:
    """Writes merged rows, tables, figures (PNG and SVG) and the HTML report of finished runs to `directory`; returns what to print.

    Raises `RunError` where runs are not finished, or folders are those of other configs, and `DataError` for rows of anything else.
    """
    if unfinished := [_name(run) for run in runs if not run.is_finished]:
        raise RunError(f"{len(unfinished)} of {len(runs)} runs are not finished: {', '.join(unfinished)}; see --status")
    stored = [results.read_claim(run.directory, settings.to_json(run.config)) for run in runs]
    found = _archived(runs, command)
    made = archive.write(directory, found)
    made += archive.write_texts(directory, getattr(claim, "files", lambda rows: {})(found.all_rows))
    score, drawn = claim.score(found.all_rows, found.sentences), claim.figures(found.all_rows)
    paths, pictures = _save(drawn, runs, directory)
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
        environment=provenance.made_with(stored),
        explorer=explored.of_runs([(run.config, run.directory) for run in runs]),
    )
    paths.append(report.write(page, directory / "report.html"))
    parts = [f"{table.title}\n{report.text_table(table.header, table.rows)}" for table in score.tables]
    if unlike := provenance.unlike(stored):
        parts.append(unlike)
    parts.append(f"Verdict: {score.verdict}, {score.budget}.\n  {score.verdict.reason}")
    if score.verdict.needs:
        parts.append(remedies.text(score.verdict, found.rows, [run.config for run in runs], command, remedies.names_of(claim)))
    parts.append("\n".join(["Written:", *(f"  {path}" for path in (*paths, *made))]))
    return "\n\n".join(parts)


def _archived(runs: Sequence[Run], command: str) -> archive.Archive:
    """Returns the checked rows, rate curves and sentences of finished runs."""
    measured: list[dict] = []
    for run in runs:
        of_run = [formats.completed(row, run.fields) for row in finished.rows(run.config, run.directory)]
        provenance.check_fields(of_run, run)
        measured += of_run
    curves = [row for run in runs for row in selection.read(run.directory) if row["budget"] == run.config.training.updates]
    provenance.check(curves, runs, ())
    besides = [row for run in runs if run.measure for row in measurements.read(run.directory)]
    provenance.check(besides, runs, ())
    return archive.of_runs(runs[0].config.experiment, command, [run.directory for run in runs], measured, curves, besides)


def _save(drawn: Mapping[str, looks.Figure], runs: Sequence[Run], directory: Path) -> tuple[list[Path], list[Picture]]:
    """Writes a claim's figures and the alignments of its runs; returns the files, and the pictures for the report."""
    paths = [path for stem, figure in drawn.items() for path in figures.save(figure, directory / stem)]
    pictures = [Picture(described.words(figure), figures.svg_text(figure)) for figure in drawn.values()]
    panels = [_panel(run) for run in runs]
    if images := [panel for panel in panels if panel.image is not None]:
        paths += [path for panel in images for path in figures.save(report.overlay(panel), directory / f"looks_{panel.title}")]
        return paths, pictures + report.overlays(images)
    looked = looks.alignments(panels, "Where each output looked (first seed, free running)")
    paths += figures.save(looked, directory / "alignments")
    pictures.append(Picture(f"One decoded example per run. {described.words(looked)}", figures.svg_text(looked)))
    return paths, pictures + (report.overlays(panels) if tasks.is_field(runs[0].config.data) else [])


def beside_kept(runs: Sequence[Run], kept: Sequence[dict]) -> str:
    """Returns a line that compares the learning rates that were chosen here with those of the kept curves."""
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


def reflowed(text: str) -> str:
    """Joins the lines of a docstring within a paragraph, and within an item (a line indented by two), for a page of any width."""
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
