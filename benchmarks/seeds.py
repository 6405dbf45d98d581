"""Eight seeds as a batch axis against one seed: cost of an update of all, at a size of the sweeps.

Data are made inside the loop, as a run makes them. `8 seeds` is an update of all eight, shared out over devices; `one seed` is an update
of one in the same loop, and `one seed, plain` is `jax.jit` of the step itself, a call per update.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax

from attention_jax import training
from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.layers import precision
from attention_jax.running.resolved import resolve
from attention_jax.training import compiled
from benchmarks import measure, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target
from experiments import bottleneck

LETTERS = "RHB"
SIZES = ((8, 64, 32),)
UPDATES = 20  # in a call
ONE, PLAIN = "one seed", "one seed, plain"


def run(options: Options) -> Iterator[Row]:
    """Yields rows of every arm and size; an update of R seeds may cost half of R updates of one."""
    for R, H, B in options.sizes or SIZES:
        targets: dict[str, tuple[Target, ...]] = dict.fromkeys((ONE, PLAIN), (Target("ratio", "≥", 2 / R),))
        for arm in ("none", "summary", "additive"):
            config = at_size(replace(bottleneck.TINY, model=replace(bottleneck.TINY.model, attention=arm)), H, B)
            functions = {f"{R} seeds": chunk(config, R), ONE: chunk(config, 1), PLAIN: steps(config)}
            for row in measure.compare("seeds", config.model.attention, f"R={R} H={H} B={B}", functions, options.seconds, targets):
                yield replace(row, ours=per_update(row.ours), theirs=row.theirs and per_update(row.theirs))


def at_size(config: Config, H: int, B: int) -> Config:
    """Returns `config` with other widths, in the precision of this process."""
    updates = replace(config.training, batch_size=B, precision=precision.current())
    return replace(config, model=replace(config.model, hidden_size=H, embedding_size=32, vector_size=0), training=updates)


def chunk(config: Config, R: int) -> Callable:
    """Builds () → losses of the next updates of R seeds, as a run makes them."""
    config = replace(config, training=replace(config.training, seeds=R))
    advance, seeds = compiled.advance(resolve(config), sources.build(config)), config.training.all_seeds
    states = compiled.start(resolve(config), seeds, [1e-3] * R).states

    def function():
        nonlocal states
        states, losses_UxR = advance(states, seeds, 0, UPDATES)
        return losses_UxR

    return function


def steps(config: Config) -> Callable:
    """Builds () → the sums of the last of as many updates of one seed, each a call of its own."""
    model, sample = resolve(config).model, cast(Any, sources.build(config).sample)
    step = jax.jit(lambda state: training.train_step(state, sample(state.key, state.step), model, config.training))
    state = jax.jit(partial(training.init, model, config.training))(0, 1e-3)

    def function():
        nonlocal state
        sums = None
        for _ in range(UPDATES):
            state, sums = step(state)
        return sums

    return function


def per_update(sample: rows.Sample) -> rows.Sample:
    """Returns the time per update of a call."""
    low, high = sample.quartiles
    return rows.Sample(sample.median / UPDATES, (low / UPDATES, high / UPDATES), sample.repeats)
