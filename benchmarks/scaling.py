"""Cost of an update by source length, target length, state size, batch and seeds: time, memory, and fitted exponents.

One of the sizes grows, the others stay as in BASE. The exponent is the slope of log time over log size between the larger half of the
sizes; memory is what XLA plans to allocate, on all devices. `python -m benchmarks.plots` draws both.
"""

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np

from attention_jax import training
from attention_jax.running.resolved import resolve
from attention_jax.training import parallel
from benchmarks import measure, rows, seeds
from benchmarks import training as steps
from benchmarks.options import Options
from benchmarks.rows import Row
from experiments import bottleneck

BASE = {"S": 32, "T": 32, "H": 128, "B": 32}
AXES = {"S": (16, 32, 64, 128, 256, 512), "T": (16, 32, 64, 128, 256), "H": (32, 64, 128, 256, 512), "B": (8, 16, 32, 64, 128)}
SEEDS = (1, 2, 4, 8, 16)
MECHANISMS, V = ("additive", "none"), 256


def run(options: Options) -> Iterator[Row]:
    """Yields a row per size, and one with the exponent per axis."""
    for mechanism in MECHANISMS:
        for axis, values in AXES.items():
            yield from along(mechanism, axis, [at(mechanism, BASE | {axis: value}) for value in values], values, options.seconds)
        config = replace(bottleneck.TINY, model=replace(bottleneck.TINY.model, attention=mechanism))
        config = seeds.at_size(config, 64, 32)
        yield from along(mechanism, "seeds", [(seeds.chunk(config, R), None) for R in SEEDS], SEEDS, options.seconds)


def along(mechanism: str, axis: str, functions: list, values: tuple[int, ...], seconds: float) -> Iterator[Row]:
    """Yields rows of one axis, its sizes timed in turns."""
    samples = measure.alternate({str(value): function for value, (function, _) in zip(values, functions, strict=True)}, seconds / 2)
    for value, (_, memory_mb) in zip(values, functions, strict=True):
        sample = seeds.per_update(samples[str(value)]) if axis == "seeds" else samples[str(value)]
        yield Row("scaling", f"{mechanism}, {axis}", f"{axis}={value}", sample, memory_mb=memory_mb)
    half = len(values) // 2
    slope = np.polyfit(np.log(values[half:]), np.log([samples[str(value)].median for value in values[half:]]), 1)[0]
    yield Row("scaling", f"{mechanism}, {axis}", f"{axis} from {values[half]}", rows.sample([float(slope)]), unit="as exponent")


def at(mechanism: str, sizes: dict[str, int]) -> tuple:
    """Returns (the update at these sizes, MB that it allocates: temporaries may share memory with results)."""
    config = steps.settings(V, sizes["H"], sizes["H"], sizes["B"])
    config = replace(config, model=replace(config.model, attention=mechanism))
    batch = steps.full_batch(V, sizes["B"], max(sizes["S"], sizes["T"]))
    sources = {name: getattr(batch, name)[:, : sizes["S"]] for name in ("source_BxS", "source_mask_BxS")}
    targets = {name: getattr(batch, name)[:, : sizes["T"]] for name in ("target_BxT", "target_mask_BxT", "gold_BxT")}
    batch = batch.replace(**sources, **targets)
    mesh = parallel.run_mesh(1, sizes["B"], sizes["H"])
    batch = jax.device_put(batch, jax.NamedSharding(mesh, jax.P(parallel.AXIS)))
    step = parallel.sharded(steps.update_of(config), mesh, donate=0)
    state = training.init(resolve(config).model, config.training, 0, steps.RATE)
    plan = step.lower(state, batch).compile().memory_analysis()
    allocated = plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    return steps.stepping(step, state, batch), mesh.size * allocated / 2**20
