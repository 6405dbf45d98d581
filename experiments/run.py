"""attention_jax: does one fixed vector forget long inputs, and what does attention change?

  python -m experiments.run --experiment=bottleneck --preset=tiny       train, evaluate, tables, figure, report
  python -m experiments.run --experiment=bottleneck --list              its runs, one a line, and how far they are
  python -m experiments.run --experiment=bottleneck --index=2           exactly one run (for job arrays)
  python -m experiments.run --experiment=bottleneck --status            which runs are finished, running, waiting, failed or stale
  python -m experiments.run --experiment=bottleneck --conclude          tables, figure and report of finished runs; trains nothing
  python -m experiments.run --experiment=bottleneck --set model.cell=lstm --set data.task=reverse --workdir=runs/lstm
  python -m experiments.run --experiment=path/to/mine.py                an experiment of your own, with rows of your own (docs/using.md)
  python -m experiments.run --experiment=translation_length --check_data --set data.task=parallel_text --set text.source_file=mine.tsv
  python -m experiments.run --experiment=bottleneck --dry_run           runs, programs and minutes on this machine; trains nothing
  python -m experiments.run --experiment=bottleneck --cite              BibTeX of the papers that its runs use
  python -m experiments.run --reproduce=docs/results/bottleneck         its runs anew, in another folder, and whether they say the same
  python -m experiments.run --compare=runs/a/bottleneck --with=runs/b/bottleneck
  python -m experiments.run --table=attention,vector_size --table_of=docs/results/bottleneck --table_where=budget=largest
  echo "3 1 4 1 5" | python -m experiments.run --decode=runs/bottleneck/additive-gru-h16-d8-u400 --input=-
  python -m experiments.run --decode=runs/bottleneck/additive-gru-h16-d8-u400 --input=in.txt --set search.method=beam --set search.n_best=3
  python -m experiments.run --decode=runs/mine/additive --input=test.de --references=test.en --rows=scores.jsonl > test.out
  python -m experiments.run --decode=runs/mine/additive --export=additive.npz

A second invocation skips what is finished, and goes on where a stopped or killed run was. Programs are kept once they are compiled, in
~/.cache/attention_jax/compiled (see --cache_dir and --keep_compiled): another sweep of the same shapes compiles nothing.
Decoding prints one output per input line; with search.n_best above 1 it prints the best of each line, best first, as
"line<TAB>score<TAB>text", lines counted from 1, scores in nats.

Exit status: 0 done, and nothing differs; 1 a run failed; 2 for what the user can mend; 3 what was reproduced or compared differs; 4 that
cannot be decided; 70 no progress for --stuck_seconds; 74 a disk refuses, or another process has the run; 75 stopped by SIGINT, SIGTERM,
SIGHUP, SIGUSR1 or --max_seconds and saved: after 70, 74 and 75 the same command goes on. A second signal ends the process at once.
"""

from attention_jax.system import output, signals

if __name__ == "__main__":
    output.prepare()
    signals.leave_at_once()  # first of all: the imports below take seconds, and there is nothing to save yet

import contextlib
import functools
import logging as stdlib_logging
import math
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from absl import app, flags, logging

from attention_jax.config import choose
from attention_jax.data import sources
from attention_jax.report import citation, corpora, decoding, figures, layouts, pivot, report
from attention_jax.running import exits, logs, selection, writers
from attention_jax.sweeps import agreement, archive, claims, comparison, execution, explored, forecast, gathered, measurements, sweep
from attention_jax.system import files, machine
from attention_jax.system.errors import ConfigError
from attention_jax.training import parallel

FLAGS = flags.FLAGS
OF_TRAINING = "preset arms doublings seeds index list status conclude dry_run check_data cite keep_rates".split()
"""Flags that say what to train: with --decode nothing is trained, and with --reproduce the folder says it."""

PACKAGE = __package__ or "experiments"

COMMAND = f"{__package__}.run"
"""The name of this file: `experiments.run` in a checkout, `attention_jax.experiments.run` where the package is installed."""

HOME = Path(__file__).parent
"""The folder of the claims and of their kept rate curves."""

CLAIMS = sorted(module.name for module in pkgutil.iter_modules([str(HOME)]) if module.name not in ("run", "launch"))

SEVERAL = {"study": "synthetic", "all-real": "real"}
"""{name for --experiment: the DATA of the claims that it runs, one after the other}."""

NEEDED = {
    "decode": "input references rows seed export alignments beside".split(),
    "table": "table_of table_format table_metric table_lengths table_where".split(),
}
"""{flag: those that mean nothing without it}."""

OF_ONE = "index keep_rates".split()
"""Flags that have no meaning for several claims."""


class _Paths(flags.ArgumentParser):
    """A path, or several with commas between."""

    def parse(self, argument: str) -> str:
        return ",".join(map(files.expanded, argument.split(",")))


def define_path(name: str, default: str | None, text: str) -> flags.FlagHolder:
    """Defines a flag that is a path."""
    return flags.DEFINE(_Paths(), name, default, text, serializer=flags.ArgumentSerializer())


def define_paths(name: str, default: list[str], text: str) -> flags.FlagHolder:
    """Defines a flag that is a path, or several, and can be repeated."""
    return flags.DEFINE_multi(_Paths(), flags.ArgumentSerializer(), name, default, text)


EXPERIMENT = define_path("experiment", None, f"A claim, or several: {', '.join((*CLAIMS, *SEVERAL))}; or a file: path/to/mine.py.")
PRESET = flags.DEFINE_string(
    "preset", None, "Size of the sweep: tiny (a laptop, the default), full (an accelerator), or another of the experiment's."
)
ARMS = flags.DEFINE_list("arms", [], "Other arms than the experiment's own: none, summary, and rows of the table of mechanisms.")
DOUBLINGS = flags.DEFINE_integer("doublings", 0, "Lengthen the ladder of budgets by so many doublings.", 0, 20)
CHOOSE_RATES = flags.DEFINE_bool(
    "choose_rates", False, "Measure the rate curve of every run, also where the experiment keeps one for these settings."
)
KEEP_RATES = define_path("keep_rates", None, "Write the rate curves of this sweep to a file as kept ones, over those for the same runs.")
INDEX = flags.DEFINE_integer("index", None, "Train exactly this run of the sweep; see --list.")
LIST = flags.DEFINE_bool("list", False, "Print the runs of the sweep, one a line, and stop.")
SET = flags.DEFINE_multi_string(
    "set", [], "Override a setting of every run, e.g. --set model.hidden_size=128; can be repeated. With --decode: search.*."
)
SEEDS = flags.DEFINE_string("seeds", None, "How many seeds (8), or which (100-107).")
WORKDIR = define_path("workdir", "runs", "Where runs are kept, as <workdir>/<experiment>/<run>.")
DATA_DIR = define_path("data_dir", None, "Folder with the raw files of a corpus; without it they are downloaded.")
CACHE_DIR = define_path("cache_dir", None, "Where built corpora, downloads and compiled programs are kept; default ~/.cache/attention_jax.")
KEEP_COMPILED = flags.DEFINE_bool(
    "keep_compiled",
    True,
    "Keep compiled programs in <cache_dir>/compiled, or in $JAX_COMPILATION_CACHE_DIR if that is set; --nokeep_compiled compiles anew.",
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print runs, the programs that they share and minutes, by updates timed here; to launch: both scripts. Nothing else."
)
CHECK_DATA = flags.DEFINE_bool(
    "check_data", False, "Print what a corpus holds, and what is wrong with it, by file and line (then the status is 2); trains nothing."
)
CITE = flags.DEFINE_bool("cite", False, "Print BibTeX entries of the papers that the runs use: mechanisms, cells, optimizers, statistics.")
REPRODUCE = define_path(
    "reproduce", None, "Make the runs of a folder of results anew, in --workdir (by default runs/reproduced), and compare."
)
COMPARE = define_path("compare", None, "Compare this folder of results, one that a sweep concluded, with another, --with.")
WITH = define_path("with", None, "The other folder of --compare.")
STATUS = flags.DEFINE_bool("status", False, "Print how far each run is, from the folders alone, and stop.")
CONCLUDE = flags.DEFINE_bool(
    "conclude", False, "Train nothing: merged rows, tables, figures and report of a sweep whose runs are finished."
)
RETRY_FAILED = flags.DEFINE_bool("retry_failed", False, "Restart runs that failed; without it they are left out, which a line says.")
MAX_SECONDS = flags.DEFINE_float("max_seconds", 0.0, "Save and leave after so many seconds, before a scheduler would; 0: no limit.", 0.0)
STUCK_SECONDS = flags.DEFINE_float("stuck_seconds", 1800.0, "End the process after so many seconds without progress; 0: never.", 0.0)
flags.register_multi_flags_validator(
    (MAX_SECONDS, STUCK_SECONDS), lambda seconds: all(map(math.isfinite, seconds.values())), "seconds must be finite; 0: no limit"
)
DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "On a GPU: only operations, and choices among them, that repeat bit for bit; slower."
)
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One run over several processes, found by JAX itself: Slurm's srun, TPU pods.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "The same elsewhere: host:port of the first process, with --processes and --process."
)
PROCESSES = flags.DEFINE_integer("processes", None, "With --coordinator, or to launch: how many processes a run has.", 1)
PROCESS = flags.DEFINE_integer("process", None, "With --coordinator: which of them this is, from 0.", 0)
WRITERS = flags.DEFINE_list("writers", [], f"Write losses and results to other programs as well: {', '.join(writers.TABLE)}.")
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "The same as --writers=tensorboard: to <run>/events (needs tensorboardX).")
TABLE = flags.DEFINE_list("table", [], "Tabulate finished runs by two settings, cell,vector_size; a third makes several tables.")
TABLE_OF = define_paths("table_of", [], "Of which runs: a --workdir, results, a file of rows; can be repeated.")
TABLE_FORMAT = flags.DEFINE_enum("table_format", "text", list(layouts.FORMATS), "How tables are written; LaTeX needs booktabs.")
TABLE_METRIC = flags.DEFINE_string("table_metric", "exact_match", f"What is tabulated: {', '.join(pivot.MODES)}.")
TABLE_LENGTHS = flags.DEFINE_string("table_lengths", "long", f"Over which lengths: {', '.join(pivot.LENGTHS)}, or 8,12 or 8-16.")
TABLE_WHERE = flags.DEFINE_multi_string("table_where", [], "Of runs with a setting: cell=gru, budget=largest; can be repeated.")
DECODE = define_path("decode", None, "Use a trained run instead: its folder, e.g. runs/bottleneck/additive-gru-h16-d8-u400.")
INPUT = define_paths("input", ["-"], "With --decode: a file of inputs, one a line; - is standard input; can be repeated.")
REFERENCES = define_paths("references", [], "With --decode: score outputs by this file, or several, with commas between; for each --input.")
ROWS = define_path("rows", None, "With --references: write scores to this new file, JSON lines, and outputs beside it, packed.")
SEED = flags.DEFINE_string("seed", None, "With --decode: a seed, best (of validation) or ensemble; default: the first, and scores of all.")
EXPORT = define_path("export", None, "With --decode: write the run to this new .npz file, weights, vocabularies and settings; no input.")
ALIGNMENTS = define_path(
    "alignments", None, "With --decode: where each output looked: .html to go through, .png or .svg for a paper, .gif."
)
BESIDE = define_paths("beside", [], "With --alignments: another run, whose outputs are shown beside; can be repeated.")
STYLE = flags.DEFINE_enum("style", "page", list(figures.SIZES), "Pictures for a page or a paper, or for a slide: larger letters and lines.")
WATCH = define_path(
    "watch", None, "Write a page of the runs while they train to this .html file: losses, and one example as it is learned."
)


def main(argv: list[str]) -> int:
    """Runs what the flags ask for, and returns the exit status of the module's docstring; an error is one line on standard error."""
    return exits.ended(lambda: act(argv))


def act(argv: list[str]) -> int:
    """Does what the flags ask for; returns the exit status of what went well, and of a comparison."""
    if len(argv) > 1:
        raise ConfigError(f"unexpected argument {argv[1]!r}; flags look like --name=value, see --help")
    with figures.sized(STYLE.value), signals.Stop(MAX_SECONDS.value, STUCK_SECONDS.value) as stop:
        if DISTRIBUTED.value or any(flag.value is not None for flag in (COORDINATOR, PROCESSES, PROCESS)):
            machine.join(COORDINATOR.value, PROCESSES.value, PROCESS.value)
        for needed, names in NEEDED.items():
            if not FLAGS[needed].value:
                refuse(names, f"needs --{needed}")
        if DECODE.value is not None:
            refuse([*OF_TRAINING, "watch"], "has no meaning with --decode: that run is trained")
            stop.stuck_seconds = 0.0  # a person may be typing
            if EXPERIMENT.value is not None:
                claim_of()  # its file may hold rows that the run is made of
            asked = INPUT.value, REFERENCES.value, ROWS.value, SEED.value, SET.value, ALIGNMENTS.value, BESIDE.value, EXPORT.value
            decoding.use(Path(DECODE.value), decoding.Asked(*asked, folders()), functools.partial(output.show, exact=True), output.tell)
        elif TABLE.value:
            workdir = Path(WORKDIR.value) / (Path(EXPERIMENT.value).stem if EXPERIMENT.value else "")
            chosen = TABLE_FORMAT.value, TABLE_METRIC.value, TABLE_LENGTHS.value, TABLE_WHERE.value
            output.show(gathered.shown(TABLE.value, TABLE_OF.value or [workdir], *chosen))
        elif COMPARE.value is not None or WITH.value is not None:
            return compare(COMPARE.value, WITH.value)
        elif REPRODUCE.value is not None:
            return reproduce(Path(REPRODUCE.value), stop)
        else:
            each_of(EXPERIMENT.value or "", stop)
    return 0


def refuse(names: Sequence[str], why: str) -> None:
    """Raises `ConfigError` where one of these flags is given, which would be ignored."""
    if given := [name for name in names if FLAGS[name].present]:
        raise ConfigError(f"--{given[0]} {why}")


def each_of(name: str, stop: signals.Stop) -> None:
    """Trains a claim, or those of `SEVERAL`, as `execution.each_of` does."""
    if name not in SEVERAL:
        return train(name, stop)
    members = claims.of_data(SEVERAL[name], PACKAGE, CLAIMS)
    refuse(OF_ONE, f"is of one experiment, and --experiment={name} is {', '.join(members)}")
    execution.each_of(members, functools.partial(train, stop=stop))


def train(name: str, stop: signals.Stop) -> None:
    """Trains the sweep of a claim, or one run of it, and concludes it when all its runs are finished."""
    claim, runs = planned(name, (*CLAIMS, *SEVERAL))
    if KEEP_RATES.value is not None:
        selection.kept(Path(KEEP_RATES.value))  # before anything is trained
    if LIST.value or STATUS.value:
        output.show(sweep.listing(runs) if LIST.value else sweep.progress(runs))
        return
    if CHECK_DATA.value:
        corpora.check([run.config for run in runs], *folders(), output.show)
        return
    if CITE.value:
        output.show(citation.citation([run.config for run in runs], getattr(claim, "PAPERS", ())))
        return
    if DRY_RUN.value:
        found = forecast.table(forecast.forecast(runs, kept_rates(name), *folders(), output.tell))
        output.show(f"{found.title}\n{report.text_table(found.header, found.rows)}")
        return
    if INDEX.value is not None and not 0 <= INDEX.value < len(runs):
        raise ConfigError(f"--index={INDEX.value} is no run of this sweep; valid: 0 to {len(runs) - 1}, see --list")
    if not CONCLUDE.value:
        train_runs(runs, stop, kept_rates(name))
        if not execution.all_finished(runs):
            return
    if parallel.is_first():
        conclude(name, claim, runs)


def conclude(name: str, claim: ModuleType, runs: list[sweep.Run]) -> None:
    """Writes and prints the results of finished runs; keeps their rate curves with --keep_rates."""
    output.show(sweep.conclude(claim, runs, Path(WORKDIR.value) / runs[0].config.experiment, command(name)))
    if CHOOSE_RATES.value:
        output.show(sweep.beside_kept(runs, selection.kept(selection.kept_file(name, HOME))))
    if KEEP_RATES.value is not None:
        found = [row for run in runs for row in selection.shipped(selection.read(run.directory), run.config)]
        selection.replace_kept(Path(KEEP_RATES.value), found)


def planned(name: str, valid: Sequence[str] = CLAIMS) -> tuple[ModuleType, list[sweep.Run]]:
    """Returns the claim of a name, and its runs; `valid` are the names that an error gives."""
    claim = claims.find(name, PACKAGE, valid)
    assignments = [*SET.value, *claims.seed_settings(SEEDS.value)]
    sizes_of = functools.partial(sources.learned_sizes, data_dir=folders()[0], cache_dir=folders()[1])
    return claim, sweep.plan(claim, PRESET.value or "", assignments, WORKDIR.value, ARMS.value, DOUBLINGS.value, sizes_of)


def claim_of(results: str = "") -> ModuleType:
    """Returns the claim that --experiment names, else that of `results`, the name of an experiment."""
    return claims.find(EXPERIMENT.value or "", PACKAGE, CLAIMS, results)


def kept_rates(name: str) -> list[dict]:
    """Returns the rate curves that are kept with an experiment; none with --choose_rates."""
    return [] if CHOOSE_RATES.value else selection.kept(selection.kept_file(name, HOME))


def folders() -> tuple[Path | None, Path | None]:
    """Returns the paths of --data_dir and --cache_dir."""
    data, cache = (None if flag.value is None else Path(flag.value) for flag in (DATA_DIR, CACHE_DIR))
    return data, cache


def reproduce(folder: Path, stop: signals.Stop) -> int:
    """Reruns a folder of results, concludes and compares; returns the exit status."""
    refuse([*OF_TRAINING, "set"], f"has no meaning with --reproduce: the runs are those of {folder}")
    there = archive.read(folder)
    claim = claim_of(there.experiment)
    workdir = Path("runs/reproduced" if FLAGS["workdir"].using_default_value else WORKDIR.value)
    runs = sweep.placed(there.configs(), workdir, sweep.named(claim), functools.partial(measurements.of, claim))
    if (workdir / there.experiment).resolve() == folder.resolve():
        raise ConfigError(f"--reproduce={folder} needs another --workdir: its runs are in {workdir}")
    train_runs(runs, stop, [] if CHOOSE_RATES.value else there.kept_curves())
    if not execution.all_finished(runs):
        return 1
    if not parallel.is_first():
        return 0
    sweep.conclude(claim, runs, workdir / there.experiment, command())
    return compare(str(folder), str(workdir / there.experiment))


def compare(one: str | None, other: str | None) -> int:
    """Prints and draws the comparison of two folders of results, and returns the exit status."""
    if not (one and other):
        raise ConfigError("--compare and --with name two folders of results: give both")
    found = comparison.between(one, other, claim_of, Path(WORKDIR.value) / "compared")
    output.show(found.text)
    return agreement.EXIT[found.outcome]


def command(name: str = "") -> str:
    """Returns the command of this sweep, for a shell; with `name` that of one claim where --experiment names several."""
    passing = re.compile(r"--(no)?(conclude|retry_failed|index|keep_rates)\b")
    texts = (text for text in sys.argv[1:] if not passing.match(text))
    several = rf"(?<=experiment=){EXPERIMENT.value}$" if EXPERIMENT.value in SEVERAL else "$^"
    return shlex.join(["python", "-m", COMMAND, *(re.sub(several, name, text) for text in texts)])


def train_runs(runs: list[sweep.Run], stop: signals.Stop, curves: list[dict]) -> None:
    """Trains one run after the other, or that of --index, with the kept rate curves; where one fails, the others go on."""
    chosen = runs if INDEX.value is None else [runs[INDEX.value]]
    if CHOOSE_RATES.value:
        execution.check_own_rates(chosen)
    named = dict.fromkeys([*WRITERS.value, *["tensorboard"] * TENSORBOARD.value])
    written = [choose("--writers", name, writers.TABLE) for name in named]
    watch = None if WATCH.value is None else explored.page([(run.config, run.directory) for run in runs], Path(WATCH.value))
    execution.train(chosen, stop, curves, *folders(), RETRY_FAILED.value, written, watch)


def cli() -> None:
    """Sets up the process for this machine, then calls `main`: entry point of the installed command."""
    output.prepare()
    app.call_after_init(_prepare)
    app.run(_leave, flags_parser=parsed)


def parsed(argv: list[str], about: str = __doc__ or "", of: tuple[str, ...] = ("experiment",)) -> list[str]:
    """Parses flags, and returns the other arguments; an invalid flag ends the process with 2, as a setting does (in absl with 1).

    --help prints `about`, and the flags of every module that has one of the flags `of`; --helpfull prints all there are.
    """
    if asked := {"-h", "-help", "--help", "-helpshort", "--helpshort", "-helpfull", "--helpfull"}.intersection(argv[1:]):
        modules = [] if any(text.endswith("full") for text in asked) else [FLAGS.find_module_defining_flag(name) for name in of]
        output.show("\n".join([about.strip(), *map(FLAGS.module_help, modules)] if modules else [about.strip(), FLAGS.get_help()]))
        sys.exit(0)
    try:
        return FLAGS(argv)
    except (flags.Error, UnicodeDecodeError) as error:  # the latter of a --flagfile
        output.tell(f"error: {ConfigError(error)}; see --help")
        sys.exit(2)


def _leave(argv: list[str]) -> int:
    """Calls `main`; after a failure exits at once, without waiting for other processes or threads of a failed save."""
    status = main(argv)
    if status:
        with contextlib.suppress(OSError):  # what is asked for was flushed as it was shown
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _prepare() -> None:
    logging.set_verbosity(logging.WARNING)
    handler = logs.Handler()
    handler.setFormatter(logs.Formatter())
    stdlib_logging.getLogger().handlers = [handler]  # instead of absl's
    machine.prepare(None if CACHE_DIR.value is None else Path(CACHE_DIR.value), KEEP_COMPILED.value, DETERMINISTIC.value)


if __name__ == "__main__":
    cli()
