"""Does the short verdict come out again? The preset tiny, run under other rounding, devices, seeds, and versions of Python and JAX.

  python -m benchmarks.replicates                                  20 replicates that this environment can make, then the flip rate
  python -m benchmarks.replicates --pythons=.venv-jax-0.11.2/bin/python,other/bin/python      and in these environments
  python -m benchmarks.replicates --only=ulp                       those whose name begins so
  python -m benchmarks.replicates --page                           the table alone, from the rows on file

Learning rates are those of the curves that are kept with the experiment; tf32 measures its own. A replicate is a process of its own and a
row on file; what is on file is not run again. A flip is another verdict, or another k, than most
replicates have. Exit status: 0; 1 where a replicate failed; 2 for flags that do not fit;
130 stopped by Ctrl-C.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from attention_jax.report import report
from attention_jax.report.tables import Table
from attention_jax.running import results
from attention_jax.statistics import intervals
from attention_jax.sweeps import archive
from attention_jax.system.errors import ConfigError, DataError, RunError
from experiments import bottleneck

ROOT = Path(__file__).resolve().parent.parent


class Replicate(NamedTuple):
    """One run of the preset: flags and settings of the command line, devices (0: one a core), interpreter."""

    name: str
    flags: tuple[str, ...] = ()
    devices: int = 0
    python: str = sys.executable


def replicates(pythons: Sequence[str] = ()) -> list[Replicate]:
    """Returns the replicates: unchanged; starts moved by units in the last place; devices; TF32; other seeds; other interpreters."""
    found = [Replicate("plain")]
    found += [Replicate(f"ulp {n}", (f"--set=training.nudge={n}",)) for n in (1, 2, 3, -1, -2, -3)]
    found += [Replicate(f"devices {n}", devices=n) for n in (1, 4)]
    found += [Replicate("tf32", ("--set=training.precision=tf32",))]
    found += [Replicate(f"seeds {first}", (f"--seeds={first}-{first + 7}",)) for first in range(100, 1100, 100)]
    others = [Replicate(f"environment {environment(python)}", python=python) for python in pythons]
    if len({each.name for each in others}) < len(others):
        raise ConfigError(f"--pythons={','.join(pythons)}: two of them have the same versions, and count once")
    return found + others


def environment(python: str) -> str:
    """Returns the versions of Python and JAX of an interpreter."""
    code = "import platform; from importlib.metadata import version; print(platform.python_version(), 'JAX', version('jax'))"
    try:
        done = subprocess.run([python, "-c", f"import attention_jax; {code}"], capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError as error:
        raise ConfigError(f"--pythons={python} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise ConfigError(f"--pythons={python} has no attention_jax: {_last(done.stderr)}")
    return done.stdout.strip()


def _last(errors: str) -> str:
    return (errors.strip().splitlines() or ["it says nothing"])[-1]


def run(replicate: Replicate, workdir: Path) -> dict:
    """Trains a replicate, and returns its row. Raises `RunError` where it failed."""
    folder = workdir / replicate.name.replace(" ", "_")
    command = [replicate.python, "-m", "experiments.run", "--experiment=bottleneck", "--preset=tiny", "--retry_failed"]
    command += [f"--workdir={folder}", *replicate.flags]
    devices = f"--xla_force_host_platform_device_count={replicate.devices}" if replicate.devices else ""
    flags_of_xla = f"{os.environ.get('XLA_FLAGS', '')} {devices}".strip()
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags_of_xla}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"replicate {replicate.name!r} failed: {_last(done.stderr)}")
    found = archive.read(folder / "bottleneck")
    verdict = bottleneck.score(found.all_rows).verdict
    made = next(iter(found.stored.values()))["environment"]
    row = {
        "replicate": replicate.name,
        "verdict": verdict.value,
        "detail": verdict.detail,
        "k": verdict.k if verdict.k == verdict.k else None,
    }
    row |= {"gap": verdict.rungs[-1].gap.interval.mean if verdict.rungs else None, "reason": verdict.reason}
    row |= {name: made[name] for name in ("python", "jax", "device_kind", "device_count", "cpu_cores", "git_commit")}
    return row | {"seconds": round(time.monotonic() - began)}


def table(rows: list[dict]) -> Table:
    """Tabulates replicates; the title has the share that flipped, with its exact interval."""
    said = Counter((row["verdict"], row["k"]) for row in rows)
    (most, k), count = said.most_common(1)[0]
    header = ("replicate", "verdict", "k", "gap at k", "python", "JAX", "devices", "seconds")
    lines = [
        (
            row["replicate"],
            f"{row['verdict']}{', ' * bool(row['detail'])}{row['detail']}",
            "" if row["k"] is None else f"{row['k']:g}",
            "" if row["gap"] is None else f"{row['gap']:.3f}",
            row["python"],
            row["jax"],
            str(row["device_count"]),
            str(row["seconds"]),
        )
        for row in rows
    ]
    share = intervals.clopper_pearson(len(rows) - count, len(rows))
    words = f'{len(rows) - count} of {len(rows)} replicates say something else than "{most}"{f" up to {k:g} ×" if k else ""}'
    return Table(f"{words}: flip rate {share.mean:.2f} [{share.low:.2f}, {share.high:.2f}]", header, lines)


def page(rows: list[dict]) -> str:
    """Returns `table` as it is printed."""
    made = table(rows)
    return f"{report.text_table(made.header, made.rows)}\n\n{made.title}"


def main(arguments: Sequence[str]) -> int:
    """Runs what is not on file, and prints the table; returns the exit status above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "replicates" / "rows.jsonl", help="where rows are appended")
    parser.add_argument("--workdir", type=Path, default=Path("runs/replicates"), help="where replicates are trained, a folder each")
    parser.add_argument("--pythons", default="", help="interpreters of other environments, each a replicate: a,b")
    parser.add_argument("--only", default="", help="replicates whose name begins so")
    parser.add_argument("--page", action="store_true", help="run nothing")
    asked = parser.parse_args(arguments)
    try:
        rows = results.read(asked.out) if asked.out.exists() else []
        there = {row["replicate"] for row in rows}
        for replicate in [] if asked.page else replicates(list(filter(None, asked.pythons.split(",")))):
            if replicate.name not in there and replicate.name.startswith(asked.only):
                rows.append(run(replicate, asked.workdir.absolute()))
                asked.out.parent.mkdir(parents=True, exist_ok=True)
                results.append(asked.out, rows[-1:])
                print(f"{replicate.name}: {rows[-1]['verdict']}, {rows[-1]['seconds']} s", file=sys.stderr, flush=True)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if rows:
        print(page(rows))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on", file=sys.stderr)
        sys.exit(130)
