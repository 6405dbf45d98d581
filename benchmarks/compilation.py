"""Compilations of a sweep: programs per entry point, cache hits of a second start, seconds to the first step, cold and warm.

The command is `experiments.run --experiment=bottleneck --preset=tiny` with a budget of a few updates (a budget changes no program), twice:
with an empty folder of compiled programs, then with what the first left there. Counts are JAX's own events (see listener.py).
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import children, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target
from experiments import bottleneck

ARMS = len(bottleneck.ARMS)
BUCKETS = 2  # padded sizes of its test data: the longest trained length, and the longest there is
ENTRY_POINTS = {"train": 1, "forced": BUCKETS, "free": BUCKETS, "init": 1}
"""How many shapes each is called with. The names of their functions, as JAX's events have them, begin so."""


def run(options: Options) -> Iterator[Row]:
    """Yields rows of every entry point, of the second start, and of the first step."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (listened(Path(folder), start) for start in ("cold", "warm"))
    sizes = f"{ARMS} arms × {BUCKETS} buckets"

    def row(what, sizes, value, unit, target=None):
        return Row("compilation", what, sizes, rows.sample([value]), targets=(target,) if target else (), unit=unit)

    for entry, shapes in ENTRY_POINTS.items():
        count = sum(n for name, n in cold["programs"].items() if name.removeprefix("jit(").startswith(entry))
        yield row(entry, f"{ARMS} arms × {shapes} shapes", count, "programs", Target("ours", "≤", ARMS * shapes))
    yield row("all programs, cold", sizes, sum(cold["programs"].values()), "programs")
    yield row("compiled anew, warm", sizes, warm["misses"], "programs", Target("ours", "≤", 0))
    yield row("first step, cold", sizes, cold["first_step"], "s")
    yield row("first step, warm", sizes, warm["first_step"], "s", Target("ours", "≤", 5))


def listened(folder: Path, start: str) -> dict:
    """Returns the listener's report of a start with the compiled programs in `folder`."""
    report, settings = folder / f"{start}.json", ("training.updates=4",)
    flags = ["--experiment=bottleneck", "--preset=tiny", f"--workdir={folder / start}"]
    children.experiment(flags, settings, folder / "compiled", report)
    return json.loads(report.read_text())
