"""Cost of an import above JAX's own, in processor seconds of a new process: one attention function, and a whole command line.

Most of what the first takes is Flax, from which the records of arrays come; its row stands beside.
"""

from collections.abc import Iterator

from benchmarks import children, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target

REPEATS = 7
MODULES = {
    "flax": (),
    "attention_jax.attention": (Target("ours", "≤", 0.3),),
    "attention_jax.adapters.linen.attention": (Target("ours", "≤", 0.3),),
    "experiments.run": (),
}


def run(options: Options) -> Iterator[Row]:
    """Yields a row per module."""
    for module, targets in MODULES.items():
        children.answer("benchmarks.importing", module)  # compiles its files
        times = [children.answer("benchmarks.importing", module)["above"] for _ in range(REPEATS)]
        yield Row("imports", module, "above jax.numpy", rows.sample(times), targets=targets)
