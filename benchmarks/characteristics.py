"""Operating characteristics of the verdict: draws what is not on file yet, then writes the page.

  python -m benchmarks.characteristics                   the whole table: 2,000 draws a cell; it can be stopped and started again
  python -m benchmarks.characteristics --draws=250       fewer
  python -m benchmarks.characteristics --page            the page alone, from the rows on file

Exit status: 0; 1 where rows on file are damaged, or come from another rule or generator; 2 for flags that do not fit.
"""

import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from absl import app, flags

from attention_jax.running import results
from attention_jax.statistics.characteristics import coverage, draws, page
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from attention_jax.system.machine import cores

ROOT = Path(__file__).resolve().parent.parent

DRAWS = flags.DEFINE_integer("draws", draws.DRAWS, "Draws a cell.", lower_bound=1)
OUT = flags.DEFINE_string("out", str(ROOT / "docs" / "results" / "characteristics" / "rows.jsonl"), "Where rows are appended.")
PAGE = flags.DEFINE_bool("page", False, "Draw nothing.")
PAGE_TO = flags.DEFINE_string("page_to", str(ROOT / "docs" / "characteristics.md"), "Where the page goes.")
PROCESSES = flags.DEFINE_integer("processes", None, "So many draw side by side; default: one a core.", lower_bound=1)

Job = tuple[Callable, tuple]


def main(argv: list[str]) -> int:
    """Draws what is missing and writes the page; returns the exit status above."""
    if len(argv) > 1:
        print(f"error: unexpected argument {argv[1]!r}; flags look like --name=value, see --help", file=sys.stderr)
        return 2
    out = Path(OUT.value)
    try:
        rows = results.read(out) if out.exists() else []
        if not PAGE.value:
            rows += draw(out, rows)
        files.write_bytes(PAGE_TO.value, page.page(rows).encode())
    except (DataError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {PAGE_TO.value}")
    return 0


def draw(out: Path, rows: list[dict]) -> list[dict]:
    """Draws what is missing, appends each row to the file at once, and returns the rows."""
    if cells := [cell for suite in draws.SUITES.values() for cell in suite.stale(rows)]:
        raise RunError(f"{out} holds draws of another rule or generator ({'; '.join(cells[:3])}): remove it, and draw again")
    open_jobs, made, start = list(jobs(rows)), [], time.monotonic()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(PROCESSES.value or cores(), multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(function, *arguments) for function, arguments in open_jobs]):
            made.append(done.result())
            results.append(out, made[-1:])
            minutes = (time.monotonic() - start) / 60
            print(f"\r{len(made)} of {len(open_jobs)} blocks, {minutes:.1f} minutes", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return made


def jobs(rows: list[dict]) -> Iterator[Job]:
    """Yields functions and arguments of the rows that are not on file."""
    covered = {(row["examples"], row["p"], row["scatter"], row["seeds"]) for row in rows if row["table"] == "coverage"}
    curves = {row["curve"] for row in rows if row["table"] == "lengths"}
    of_losses = {row["seeds"] for row in rows if row["table"] == "losses"}
    for cell in itertools.product(coverage.EXAMPLES, coverage.RATES, coverage.SCATTERS, sorted(draws.SEEDS)):
        if cell not in covered:
            yield coverage.of_typical_seed, cell
    for number in range(len(coverage.PLANTED)):
        if number not in curves:
            yield coverage.planted_length, (number,)
    for seeds in draws.SEEDS:
        if seeds not in of_losses:
            yield coverage.of_losses, (seeds,)
    for suite in draws.SUITES.values():
        for block in suite.open_blocks(rows, DRAWS.value):
            yield draws.block, block


if __name__ == "__main__":
    app.run(main)
