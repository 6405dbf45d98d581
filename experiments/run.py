"""attention_jax: does one fixed vector forget long inputs, and what does attention change?

  python -m experiments.run --experiment=bottleneck --preset=tiny       train, evaluate, tables, figure, report
  python -m experiments.run --experiment=bottleneck --list              its runs, one a line, and how far they are
  python -m experiments.run --experiment=bottleneck --index=2           exactly one run (for job arrays)
  python -m experiments.run --experiment=bottleneck --status            which runs are finished, running, waiting, failed or stale
  python -m experiments.run --experiment=bottleneck --conclude          tables, figure and report of finished runs; trains nothing
  python -m experiments.run --experiment=bottleneck --set model.cell=lstm --set data.task=reverse --workdir=runs/lstm
  python -m experiments.run --experiment=path/to/mine.py                an experiment of your own, with rows of your own (docs/using.md)
  python -m experiments.run --experiment=bottleneck --dry_run           runs, programs and minutes on this machine; trains nothing
  python -m experiments.run --reproduce=docs/results/bottleneck         its runs anew, in another folder, and whether they say the same
  python -m experiments.run --compare=runs/a/bottleneck --with=runs/b/bottleneck
  echo "3 1 4 1 5" | python -m experiments.run --decode=runs/bottleneck/additive-gru-h16-d8-u400 --input=-
  python -m experiments.run --decode=runs/bottleneck/additive-gru-h16-d8-u400 --input=in.txt --set search.method=beam --set search.n_best=3

A second invocation skips what is finished, and goes on where a stopped or killed run was. Programs are kept once they are compiled, in
~/.cache/attention_jax/compiled (see --cache_dir and --keep_compiled): another sweep of the same shapes compiles nothing.
Decoding prints one output per input line; with search.n_best above 1 it prints the best of each line, best first, as
"line<TAB>score<TAB>text", lines counted from 1, scores in nats.

Exit status: 0 done, and nothing differs; 1 a run failed, or another process has it; 2 for what the user can mend; 3 what was reproduced
or compared differs; 4 that cannot be decided; 70 no progress for --stuck_seconds; 75 stopped by SIGINT, SIGTERM, SIGUSR1 or --max_seconds
and saved: the same command goes on. A second signal ends the process at once.
"""

from attention_jax.system import signals

if __name__ == "__main__":
    signals.leave_at_once()  # first of all: the imports below take seconds, and there is nothing to save yet

import logging as stdlib_logging
import os
import pkgutil
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

from absl import app, flags, logging
from jax.errors import JaxRuntimeError
from tqdm import tqdm

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.data.corpora import words
from attention_jax.report import figures, report
from attention_jax.running import failures, loop, selection
from attention_jax.sweeps import agreement, archive, claims, forecast, sweep
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.training import parallel

FLAGS = flags.FLAGS
NOT_REPRODUCED = "preset arms doublings set seeds index list status conclude dry_run keep_rates".split()
"""Flags that say what to run: with --reproduce, the folder does."""

COMMAND = f"{__package__}.run"
"""The name of this file: `experiments.run` in a checkout, `attention_jax.experiments.run` where the package is installed."""

HOME = Path(__file__).parent
"""The folder of the claims and of their kept rate curves."""

CLAIMS = sorted(module.name for module in pkgutil.iter_modules([str(HOME)]) if module.name not in ("run", "launch"))

EXPERIMENT = flags.DEFINE_string("experiment", None, f"The claim to test: {', '.join(CLAIMS)}, or a file: path/to/mine.py.")
PRESET = flags.DEFINE_string(
    "preset", None, "Size of the sweep: tiny (a laptop, the default), full (an accelerator), or another of the experiment's."
)
ARMS = flags.DEFINE_list("arms", [], "Other arms than the experiment's own: none, summary, and rows of the table of mechanisms.")
DOUBLINGS = flags.DEFINE_integer("doublings", 0, "Lengthen the ladder of budgets by so many doublings.", 0, 20)
CHOOSE_RATES = flags.DEFINE_bool(
    "choose_rates", False, "Measure the rate curve of every run, also where the experiment keeps one for these settings."
)
KEEP_RATES = flags.DEFINE_string(
    "keep_rates", None, "Write the rate curves of this sweep to a file as kept ones, over those for the same runs."
)
INDEX = flags.DEFINE_integer("index", None, "Train exactly this run of the sweep; see --list.")
LIST = flags.DEFINE_bool("list", False, "Print the runs of the sweep, one a line, and stop.")
SET = flags.DEFINE_multi_string(
    "set", [], "Override a setting of every run, e.g. --set model.hidden_size=128; can be repeated. With --decode: search.*."
)
SEEDS = flags.DEFINE_string("seeds", None, "How many seeds (8), or which (100-107).")
WORKDIR = flags.DEFINE_string("workdir", "runs", "Where runs are kept, as <workdir>/<experiment>/<run>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with the raw files of a corpus; without it they are downloaded.")
CACHE_DIR = flags.DEFINE_string(
    "cache_dir", None, "Where built corpora, downloads and compiled programs are kept; default ~/.cache/attention_jax."
)
KEEP_COMPILED = flags.DEFINE_bool(
    "keep_compiled",
    True,
    "Keep compiled programs in <cache_dir>/compiled, or in $JAX_COMPILATION_CACHE_DIR if that is set; --nokeep_compiled compiles anew.",
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print runs, the programs that they share and minutes, by updates timed here; to launch: both scripts. Nothing else."
)
REPRODUCE = flags.DEFINE_string(
    "reproduce", None, "Make the runs of a folder of results anew, in --workdir (by default runs/reproduced), and compare."
)
COMPARE = flags.DEFINE_string("compare", None, "Compare this folder of results, one that a sweep concluded, with another, --with.")
WITH = flags.DEFINE_string("with", None, "The other folder of --compare.")
STATUS = flags.DEFINE_bool("status", False, "Print how far each run is, from the folders alone, and stop.")
CONCLUDE = flags.DEFINE_bool(
    "conclude", False, "Train nothing: merged rows, tables, figures and report of a sweep whose runs are finished."
)
RETRY_FAILED = flags.DEFINE_bool(
    "retry_failed", False, "Begin runs again that failed; without it they are left out, with a line that says so."
)
MAX_SECONDS = flags.DEFINE_float("max_seconds", 0.0, "Save and leave after so many seconds, before a scheduler would; 0: no limit.", 0.0)
STUCK_SECONDS = flags.DEFINE_float("stuck_seconds", 1800.0, "End the process after so many seconds without progress; 0: never.", 0.0)
DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "On a GPU: only operations, and choices among them, that repeat bit for bit; slower."
)
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One run over several processes, found by JAX itself: Slurm's srun, TPU pods.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "The same elsewhere: host:port of the first process, with --processes and --process."
)
PROCESSES = flags.DEFINE_integer("processes", None, "With --coordinator, or to launch: how many processes a run has.", 1)
PROCESS = flags.DEFINE_integer("process", None, "With --coordinator: which of them this is, from 0.", 0)
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write losses to <run>/events for TensorBoard as well (needs tensorboardX).")
DECODE = flags.DEFINE_string("decode", None, "Use a trained run instead: its folder, e.g. runs/bottleneck/additive-gru-h16-d8-u400.")
INPUT = flags.DEFINE_string("input", "-", "With --decode: a file of inputs, one a line; - is standard input.")
ALIGNMENTS = flags.DEFINE_string("alignments", None, "With --decode: draw where each output looked, to this .html or .png file.")


def main(argv: list[str]) -> int:
    """Exit status, as in the module's docstring; what goes wrong is one line on standard error."""
    try:
        if len(argv) > 1:
            raise ConfigError(f"unexpected argument {argv[1]!r}; flags look like --name=value, see --help")
        with signals.Stop(MAX_SECONDS.value, STUCK_SECONDS.value) as stop:
            if DISTRIBUTED.value or any(flag.value is not None for flag in (COORDINATOR, PROCESSES, PROCESS)):
                machine.join(COORDINATOR.value, PROCESSES.value, PROCESS.value)
            if DECODE.value is not None:
                stop.stuck_seconds = 0.0  # a person may be typing
                if EXPERIMENT.value is not None:
                    claim_of()  # its file may hold rows that the run is made of
                decode(Path(DECODE.value), INPUT.value, SET.value, ALIGNMENTS.value)
            elif COMPARE.value is not None or WITH.value is not None:
                return compare(COMPARE.value, WITH.value)
            elif REPRODUCE.value is not None:
                return reproduce(Path(REPRODUCE.value), stop)
            else:
                train(stop)
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return signals.STOPPED
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (JaxRuntimeError, ValueError) as error:
        if not parallel.lost(error):
            raise
        reason = str(error).splitlines()[0][:200]
        print(f"stopped: another process of this run is gone ({reason}); the same command goes on from its checkpoint", file=sys.stderr)
        return signals.STOPPED
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


class _Handler(stdlib_logging.Handler):
    """Writes to standard error, each record on a line of its own, whatever progress bar is there."""

    def emit(self, record: stdlib_logging.LogRecord) -> None:
        """Writes it."""
        tqdm.write(self.format(record), file=sys.stderr)


class _Formatter(stdlib_logging.Formatter):
    """Says of which run, process and update a line is."""

    def format(self, record: stdlib_logging.LogRecord) -> str:
        """level [place] message."""
        place = f" [{loop.place()}]" if loop.place() else ""
        return f"{record.levelname.lower()}{place}: {record.getMessage()}"


def train(stop: signals.Stop) -> None:
    """The sweep, or one run of it; when all its runs are finished, the conclusion."""
    claim, runs = planned()
    if KEEP_RATES.value is not None:
        selection.kept(Path(KEEP_RATES.value))  # before anything is trained
    if LIST.value or STATUS.value:
        print(sweep.listing(runs) if LIST.value else sweep.progress(runs))
        return
    if DRY_RUN.value:
        found = forecast.table(runs, kept_rates(), *folders())
        print(f"{found.title}\n{report.text_table(found.header, found.rows)}")
        return
    if INDEX.value is not None and not 0 <= INDEX.value < len(runs):
        raise ConfigError(f"--index={INDEX.value} is no run of this sweep; valid: 0 to {len(runs) - 1}, see --list")
    if not CONCLUDE.value:
        train_runs(runs if INDEX.value is None else [runs[INDEX.value]], stop, kept_rates())
        if not all(loop.finished(run.config, run.directory) for run in runs):
            return
    if parallel.first():
        print(sweep.conclude(claim, runs, Path(WORKDIR.value) / runs[0].config.experiment, command()))
        if CHOOSE_RATES.value:
            print(sweep.beside_kept(runs, selection.kept(kept_file())))
        if KEEP_RATES.value is not None:
            found = [row for run in runs for row in selection.shipped(selection.read(run.directory), run.config)]
            selection.replace_kept(Path(KEEP_RATES.value), found)


def planned() -> tuple[ModuleType, list[sweep.Run]]:
    """The claim that the flags name, and its runs."""
    claim = claim_of()
    assignments = [*SET.value, *seed_settings(SEEDS.value)]
    return claim, sweep.plan(claim, PRESET.value or "", assignments, WORKDIR.value, ARMS.value, DOUBLINGS.value)


def claim_of(results: str = "") -> ModuleType:
    """The claim that --experiment names; or the one that `results` are of, a name."""
    return claims.find(EXPERIMENT.value or "", __package__ or "experiments", CLAIMS, results)


def kept_rates() -> list[dict]:
    """The rate curves that are kept with the experiment; none where they are to be measured."""
    return [] if CHOOSE_RATES.value else selection.kept(kept_file())


def kept_file() -> Path:
    """Where an experiment keeps its curves: in the folder `curves` beside its file."""
    file = Path(EXPERIMENT.value or "")
    return (file.parent if file.suffix else HOME) / "curves" / f"{file.stem}.jsonl"


def folders() -> tuple[Path | None, Path | None]:
    """--data_dir and --cache_dir."""
    data, cache = (None if flag.value is None else Path(flag.value) for flag in (DATA_DIR, CACHE_DIR))
    return data, cache


def reproduce(folder: Path, stop: signals.Stop) -> int:
    """The runs of a folder of results made anew, concluded and compared; exit status."""
    if given := [name for name in NOT_REPRODUCED if FLAGS[name].present]:
        raise ConfigError(f"--{given[0]} has no meaning with --reproduce: the runs are those of {folder}")
    there = archive.read(folder)
    claim = claim_of(there.experiment)
    workdir = Path("runs/reproduced" if FLAGS["workdir"].using_default_value else WORKDIR.value)
    runs = sweep.placed(there.configs(), workdir)
    if (workdir / there.experiment).resolve() == folder.resolve():
        raise ConfigError(f"--reproduce={folder} needs another --workdir: its runs are in {workdir}")
    curves = [row for config in there.configs() for row in selection.shipped(_of(there.curves, config.run), config)]
    train_runs(runs, stop, [] if CHOOSE_RATES.value else curves)
    if not all(loop.finished(run.config, run.directory) for run in runs):
        return 1
    if not parallel.first():
        return 0
    sweep.conclude(claim, runs, workdir / there.experiment, command())
    return compare(str(folder), str(workdir / there.experiment))


def _of(rows: list[dict], run: str) -> list[dict]:
    return [row for row in rows if row["run"] == run]


def compare(one: str | None, other: str | None) -> int:
    """Prints what two folders of results agree on, draws both, and returns the exit status."""
    if not (one and other):
        raise ConfigError("--compare and --with name two folders of results: give both")
    archives = [archive.read(folder) for folder in (one, other)]
    if len({found.experiment for found in archives}) > 1:
        raise ConfigError(f"--compare={one} is of {archives[0].experiment}, --with={other} of {archives[1].experiment}")
    claim = claim_of(archives[0].experiment)
    sides = [
        agreement.Side(name, found.rows, found.stored, claim.score(found.all_rows, found.sentences).verdict)
        for name, found in zip((one, other), archives, strict=True)
    ]
    found = agreement.between(sides[0], sides[1], value=getattr(claim, "VALUE", "exact_match"))
    print(agreement.text(found))
    for stem, figure in agreement.figures(found).items():
        for path in figures.save(figure, Path(WORKDIR.value) / "compared" / stem):
            print(f"  {path}")
    return agreement.EXIT[found.outcome]


def command() -> str:
    """The one that makes this sweep, as a reader would type it."""
    passing = re.compile(r"--(no)?(conclude|retry_failed|index|keep_rates)\b")
    return shlex.join(["python", "-m", COMMAND, *(text for text in sys.argv[1:] if not passing.match(text))])


def train_runs(runs: list[sweep.Run], stop: signals.Stop, curves: list[dict]) -> None:
    """One run after the other, with the rate curves that are kept; one that fails does not keep the others from theirs.

    `RunError` at the end names those that failed.
    """
    data_dir, cache_dir = folders()
    failed = []
    for run in runs if CHOOSE_RATES.value else []:
        if any(row.get("kept") for row in selection.read(run.directory)):
            raise ConfigError(f"--choose_rates: {run.directory} has taken a kept rate curve; choose another --workdir")
    for i, run in enumerate(runs):
        if (reason := failures.failed(run.directory)) and not RETRY_FAILED.value and not loop.finished(run.config, run.directory):
            print(f"left out: {run.directory} failed before ({reason})", file=sys.stderr)
            failed.append(run)
            continue
        try:
            title = f"[{i + 1}/{len(runs)}] "
            loop.run(run.config, run.directory, run.fields, data_dir, cache_dir, title, stop, TENSORBOARD.value, curves)
        except RunError as error:
            if isinstance(error, Stopped | StorageError) or len(runs) == 1 or not failures.failed(run.directory):
                raise
            print(f"error: {error}", file=sys.stderr)
            failed.append(run)
    if failed:
        named = ", ".join(str(run.directory) for run in failed)
        raise RunError(
            f"{len(failed)} of {len(runs)} runs failed: {named}; see {failures.FILE} there, and --retry_failed to begin them again"
        )


def seed_settings(text: str | None) -> list[str]:
    """ "8" → so many seeds from 0; "100-107" → these."""
    if text is None:
        return []
    if not (found := re.fullmatch("([0-9]{1,10})(?:-([0-9]{1,10}))?", text)):
        raise ConfigError(f"--seeds={text} does not fit: give a number (8) or a range (100-107)")
    first, last = found.groups()
    if last is None:
        return [f"training.seeds={first}"]
    return [f"training.first_seed={first}", f"training.seeds={int(last) - int(first) + 1}"]


def decode(directory: Path, source: str, assignments: list[str], alignments: str | None) -> None:
    """Prints the best outputs of every input line; with `alignments`, draws them as well."""
    if alignments is not None and Path(alignments).suffix not in (".html", ".png"):
        raise ConfigError(f"--alignments={alignments} must end in .html or .png")
    if others := [text for text in assignments if not text.strip().startswith("search.")]:
        raise ConfigError(f"--set {others[0]}: a trained run stays as it is; with --decode only search.* can be set")
    run = trained.load(directory)  # before anybody types his input
    search = settings.validate(settings.override_all(run.config, assignments)).search
    lines = read_lines(source)
    try:
        outputs = run.decode_n_best(lines, search)
    except (JaxRuntimeError, MemoryError) as error:
        if not failures.is_full(error):
            raise
        longest = max(len(words.split(line)) for line in lines)
        raise RunError(f"out of memory: shorten the longest line ({longest} words), or lower search.beam_size={search.beam_size}") from None
    for number, best in enumerate(outputs, start=1):
        for output in best:
            print(output.text if search.n_best == 1 else f"{number}\t{output.score:.4f}\t{output.text}")
    if alignments is not None:
        shown = [output for best in outputs for output in best if output.source_tokens]
        report.write_alignments(shown, Path(alignments), str(directory), sweep.spatial(run.config))
        print(f"alignments: {alignments}", file=sys.stderr)


def read_lines(source: str) -> list[str]:
    """The lines of a file or of standard input, UTF-8; what cannot be read raises `DataError`."""
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        text = data.decode("utf-8-sig")  # only newlines end a line, as in training data
        return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    except OSError as error:
        raise DataError(f"--input={source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1  # not of `data`: there a byte order mark comes first
        raise DataError(f"--input={source}, line {line}: not UTF-8") from None


def cli() -> None:
    """Entry point of the installed command: sets up the process for this machine, then `main`."""
    app.call_after_init(_prepare)
    app.run(_leave, flags_parser=parsed)


def parsed(argv: list[str]) -> list[str]:
    """What is no flag; a flag that does not exist or fit ends the process with 2, as a setting does (absl would say 1, a failed run)."""
    try:
        return FLAGS(argv)
    except (flags.Error, UnicodeDecodeError) as error:  # the latter of a --flagfile
        print(f"error: {ConfigError(error)}; see --help", file=sys.stderr)
        sys.exit(2)


def _leave(argv: list[str]) -> int:
    """`main`; what did not end well ends at once: other processes that are gone, and threads of a failed save, would be waited for."""
    status = main(argv)
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _prepare() -> None:
    logging.set_verbosity(logging.WARNING)
    handler = _Handler()
    handler.setFormatter(_Formatter())
    stdlib_logging.getLogger().handlers = [handler]  # instead of absl's
    machine.prepare(None if CACHE_DIR.value is None else Path(CACHE_DIR.value), KEEP_COMPILED.value, DETERMINISTIC.value)


if __name__ == "__main__":
    cli()
