"""attention_jax: does one fixed vector forget long inputs, and what does attention change?

  python -m experiments.run --experiment=bottleneck --preset=tiny       train, evaluate, tables, figure, report
  python -m experiments.run --experiment=bottleneck --list              its runs, one a line, and how far they are
  python -m experiments.run --experiment=bottleneck --index=2           exactly one run (for job arrays)
  python -m experiments.run --experiment=bottleneck --set model.cell=lstm --set data.task=reverse --workdir=runs/lstm
  echo "3 1 4 1 5" | python -m experiments.run --decode=runs/bottleneck/additive-gru-h64 --input=-
  python -m experiments.run --decode=runs/bottleneck/additive-gru-h64 --input=in.txt --set search.method=beam --set search.n_best=3

A second invocation skips what is finished, and goes on where a stopped run was. Programs are kept once they are compiled, in
~/.cache/attention_jax/compiled (see --cache_dir and --keep_compiled): another sweep of the same shapes compiles nothing.
Decoding prints one output per input line; with search.n_best above 1 it prints the best of each line, best first, as
"line<TAB>score<TAB>text", lines counted from 1, scores in nats.
"""

import importlib
import pkgutil
import shlex
import sys
from pathlib import Path

from absl import app, flags, logging

import experiments
from attention_jax import config as settings
from attention_jax import loop, machine, report, sweep, trained
from attention_jax.types import ConfigError, DataError, RunError

CLAIMS = sorted(module.name for module in pkgutil.iter_modules(experiments.__path__) if module.name != "run")

EXPERIMENT = flags.DEFINE_string("experiment", None, f"The claim to test: {', '.join(CLAIMS)}.")
PRESET = flags.DEFINE_string("preset", "tiny", "Size of the sweep: tiny (a laptop) or full (an accelerator).")
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
DECODE = flags.DEFINE_string("decode", None, "Use a trained run instead: its folder, e.g. runs/bottleneck/additive-gru-h64.")
INPUT = flags.DEFINE_string("input", "-", "With --decode: a file of inputs, one a line; - is standard input.")
ALIGNMENTS = flags.DEFINE_string("alignments", None, "With --decode: draw where each output looked, to this .html or .png file.")


def main(argv: list[str]) -> int:
    """Exit status: 0; 2 for what the user can mend; 1 for a run that failed; 128 + signal for one that was stopped and saved."""
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) > 1:
            raise ConfigError(f"unexpected argument {argv[1]!r}; flags look like --name=value, see --help")
        if DECODE.value is not None:
            decode(Path(DECODE.value), INPUT.value, SET.value, ALIGNMENTS.value)
        else:
            train()
    except loop.Interrupted as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return 128 + stopped.signal
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped before a run began; nothing is lost", file=sys.stderr)
        return 130
    return 0


def train() -> None:
    """The sweep, or one run of it; when all its runs are finished, the conclusion."""
    name = settings.choose("--experiment", EXPERIMENT.value or "", CLAIMS)
    claim = importlib.import_module(f"experiments.{name}")
    runs = sweep.plan(claim, PRESET.value, [*SET.value, *seed_settings(SEEDS.value)], WORKDIR.value)
    if LIST.value:
        print(sweep.listing(runs))
        return
    if INDEX.value is not None and not 0 <= INDEX.value < len(runs):
        raise ConfigError(f"--index={INDEX.value} is no run of this sweep; valid: 0 to {len(runs) - 1}, see --list")
    chosen = runs if INDEX.value is None else [runs[INDEX.value]]
    data_dir, cache_dir = (None if flag.value is None else Path(flag.value) for flag in (DATA_DIR, CACHE_DIR))
    for i, run in enumerate(chosen):
        loop.run(run.config, run.directory, run.fields, data_dir, cache_dir, title=f"[{i + 1}/{len(chosen)}] ")
    if all(loop.finished(run.config, run.directory) for run in runs):
        command = shlex.join(["python", "-m", "experiments.run", *sys.argv[1:]])
        print(sweep.conclude(claim, runs, Path(WORKDIR.value) / name, command))


def seed_settings(text: str | None) -> list[str]:
    """ "8" → so many seeds from 0; "100-107" → these."""
    if text is None:
        return []
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ConfigError(f"--seeds={text} does not fit: give a number (8) or a range (100-107)")
    if not dash:
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
    outputs = run.decode_n_best(read_lines(source), search)
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
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"--input={source}, line {line}: not UTF-8") from None


def cli() -> None:
    """Entry point of the installed command: sets up the process for this machine, then `main`."""
    app.call_after_init(lambda: machine.prepare(None if CACHE_DIR.value is None else Path(CACHE_DIR.value), KEEP_COMPILED.value))
    app.run(main)


if __name__ == "__main__":
    cli()
