"""Timings against peers: each benchmark, and each size of one, in a process of its own, a line per row, a table at the end.

  python -m benchmarks.run                              all of them
  python -m benchmarks.run --list                       their names, and what each compares
  python -m benchmarks.run --only=layer,training --seconds=5
  python -m benchmarks.run --only=layer --sizes=64,128,128,256    at a size of your own: B,T,D,H (see --list)
  python -m benchmarks.run --only=sweep --whole         without cutting the budget of the sweep short
  python -m benchmarks.run --out=docs/performance/rows.jsonl --anew     the rows that the pages are made from (page.py)

Rows are appended to --out as they come. At the end they are compared with those of --stored, as they were at the start (compare.py).
Exit status: 0, whatever moved; 1 where a benchmark failed (the others go on) or --stored is damaged; 2 for flags that do not fit.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
from absl import app, flags, logging

from attention_jax import config as settings
from attention_jax.layers import precision
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError, DataError, RunError
from benchmarks import compare, rows, stored
from benchmarks.options import Options

STORED = Path(__file__).resolve().parent.parent / "docs" / "performance" / "rows.jsonl"
BENCHMARKS = tuple("layer training attention_memory seeds sweep compilation decoding pipeline scaling roofline devices imports gpu".split())

LIST = flags.DEFINE_bool("list", False, "Print the benchmarks, one a line, and stop.")
ONLY = flags.DEFINE_list("only", [], f"Some of them: {', '.join(BENCHMARKS)}.")
OUT = flags.DEFINE_string("out", "runs/benchmarks.jsonl", "Where rows are appended, one JSON object a line.")
ANEW = flags.DEFINE_bool("anew", False, "Remove what --out holds first.")
COMPARED = flags.DEFINE_string("stored", str(STORED), "Rows to compare with; empty: none.")
SECONDS = flags.DEFINE_float("seconds", 4, "How long ours and its peers take turns, per comparison.", lower_bound=0)
SIZES = flags.DEFINE_multi_string("sizes", [], "Instead of a benchmark's own, e.g. 64,128,128,256; can be repeated.")
WHOLE = flags.DEFINE_bool("whole", False, "sweep: with the whole budget of its runs.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "pipeline: folder with the raw files of multi30k; without it lines are made up.")
PRECISION = flags.DEFINE_enum(
    "precision", None, ["highest", "tf32", "bf16"], "Products of float32, ours and the peers'; default tf32 on a GPU, and highest on a CPU."
)
IN_PROCESS = flags.DEFINE_bool("in_process", False, "Run in this process, as each benchmark's own child does.")


def main(argv: list[str]) -> int:
    """Runs what the flags ask for, and returns the exit status above."""
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) > 1:
            raise ConfigError(f"unexpected argument {argv[1]!r}; flags look like --name=value, see --help")
        names = [settings.choose("--only", name, BENCHMARKS) for name in ONLY.value] or list(BENCHMARKS)
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        options = Options(SECONDS.value, sizes(modules), WHOLE.value, None if DATA_DIR.value is None else Path(DATA_DIR.value))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if LIST.value:
        print(listing(modules))
        return 0
    if IN_PROCESS.value:
        return max(in_process(module, options, Path(OUT.value)) for module in modules.values())
    try:
        return measure(modules, Path(OUT.value))
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def listing(modules: dict[str, ModuleType]) -> str:
    """Returns a line per benchmark: its name, what it compares, and the letters of --sizes."""
    letters = {name: f" [--sizes={','.join(module.LETTERS)}]" if hasattr(module, "LETTERS") else "" for name, module in modules.items()}
    return "\n".join(f"{name:18}{(module.__doc__ or '').splitlines()[0]}{letters[name]}" for name, module in modules.items())


def measure(modules: dict[str, ModuleType], out: Path) -> int:
    """Runs benchmarks in children that append their rows to `out`, prints a table and a comparison, and returns the exit status."""
    before = [row for row in earlier() if row["name"] in modules]
    if ANEW.value:
        out.unlink(missing_ok=True)
    start = out.stat().st_size if out.exists() else 0
    failed = [name for name, module in modules.items() if max(in_child(name, chosen) for chosen in apart(module))]
    found = stored.read(out, start) if out.exists() else []
    print("\n" + rows.table(found))
    if COMPARED.value:
        print(f"\nCompared with {COMPARED.value}. {compare.report(before, found)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def earlier() -> list[dict]:
    """Reads the rows of --stored; none where there is no such file. Raises `DataError` where it is damaged, before anything is measured."""
    return stored.read(Path(COMPARED.value)) if COMPARED.value and Path(COMPARED.value).exists() else []


def sizes(modules: dict) -> tuple[tuple[int, ...], ...]:
    """Returns --sizes as numbers. Raises `ConfigError` unless each benchmark takes them."""
    for text in SIZES.value:
        for name, module in modules.items():
            if not hasattr(module, "LETTERS"):
                raise ConfigError(f"--sizes={text}: {name} has no sizes to choose")
            numbers = text.split(",")
            if len(numbers) != len(module.LETTERS) or not all(number.isdecimal() and int(number) for number in numbers):
                raise ConfigError(f"--sizes={text} does not fit {name}: give {','.join(module.LETTERS)}, whole numbers above 0")
    return tuple(tuple(map(int, text.split(","))) for text in SIZES.value)


def apart(module: ModuleType) -> list[list[str]]:
    """Returns --sizes of each process, one size each, since after a large model a small one is up to 1.7 times as slow in its heap."""
    chosen = SIZES.value or [",".join(map(str, size)) for size in getattr(module, "SIZES", ())]
    return [[text] for text in chosen] if len(chosen) > 1 else [SIZES.value]


def in_child(name: str, chosen: list[str]) -> int:
    """Runs `name` in a process of its own, with the flags of this one; returns its exit status, and prints why it failed."""
    print(f"── {' '.join([name, *chosen])}", flush=True)
    command = [sys.executable, "-m", "benchmarks.run", f"--only={name}", "--in_process"]
    given = [f"--{flag.name}={flag.value}" for flag in (OUT, SECONDS, WHOLE, DATA_DIR, PRECISION) if flag.value is not None]
    given += [f"--sizes={text}" for text in chosen]
    child = subprocess.run([*command, *given], stderr=subprocess.PIPE, text=True)
    if child.returncode:
        said = child.stderr.strip().splitlines() or [f"exit status {child.returncode}, without a word"]
        print(f"{name} failed: {said[-1]}    (all of it: python -m benchmarks.run --only={name} --in_process)", file=sys.stderr)
    return child.returncode


def in_process(module: ModuleType, options: Options, out: Path) -> int:
    """Appends and prints a benchmark's rows as they come; returns 1 where it fails, after a line that says why."""
    try:
        if PRECISION.value not in (None, "highest") and jax.default_backend() == "cpu":
            raise ConfigError(f"--precision={PRECISION.value} is of GPUs: a CPU multiplies in float32")
        if PRECISION.value:
            jax.config.update("jax_default_matmul_precision", precision.named(PRECISION.value))
        for row in module.run(options):
            rows.append(out, row)
            print(rows.line(row.to_json()), flush=True)
    except (ConfigError, DataError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def cli() -> None:
    """Sets the process up as the experiments do, then calls `main`. A GPU is shared with peers and children: memory is taken on demand."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    machine.prepare()
    app.run(main)


if __name__ == "__main__":
    cli()
