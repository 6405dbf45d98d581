"""What a run compiles: the first states of its seeds, and updates, many to a call. Runs that train alike share their programs."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from attention_jax import training
from attention_jax.config import Config, TextConfig
from attention_jax.data import sources, tasks
from attention_jax.data.sources import Source
from attention_jax.system import machine
from attention_jax.training import parallel
from attention_jax.types import TrainState

ANY = 1  # what training.updates is in a program that every budget shares
IN_FLIGHT = 2  # updates on text that are handed over while an earlier one is computed


class Progress(struct.PyTreeNode):
    """What a checkpoint holds; every array has the leading axis R. `best_…` move only with training.evaluate=best."""

    states: TrainState
    best_params: dict
    best_nll_R: jax.Array
    best_step_R: jax.Array


def mesh(config: Config, R: int | None = None) -> Mesh:
    """The devices of a run, all of its programs alike; of R seeds, where they are not training.seeds."""
    return parallel.run_mesh(R or config.training.seeds, config.training.batch_size, config.model.hidden_size)


def start(config: Config, run_seeds: list[int], rates: list[float]) -> Progress:
    """Update 0 of every seed."""
    program = shared(config)
    program = replace(program, training=replace(program.training, nudge=config.training.nudge))  # it acts here alone
    init = _init(program, config.training.evaluate == "best", mesh(config))
    return init(np.asarray(run_seeds, np.int32), np.asarray(rates, np.float32))


def shapes(config: Config) -> Progress:
    """Shapes and types of what `start` gives; nothing is computed."""
    init = _of_all_seeds(config, config.training.evaluate == "best")
    return jax.eval_shape(init, *(np.zeros(config.training.seeds, kind) for kind in (np.int32, np.float32)))


def check_memory(config: Config) -> None:
    """Raises `MemoryError` where a run's states alone, of the seeds that this process has, are larger than all memory: a compiler may
    take for ever to find out."""
    needed = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes(config))) // jax.process_count()
    if needed > (there := machine.memory()):
        raise MemoryError(f"parameters and the optimizer's averages need {needed / 2**30:,.0f} GiB, there are {there / 2**30:,.0f}")


@lru_cache(maxsize=4)
def _init(config: Config, keeps_best: bool, devices: Mesh) -> Callable:
    return parallel.side_by_side(_of_all_seeds(config, keeps_best), devices)


def _of_all_seeds(config: Config, keeps_best: bool) -> Callable:
    def init(seed, rate):
        state = training.init(config, seed, rate)
        return Progress(state, state.params if keeps_best else {}, jnp.asarray(jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))

    return parallel.one_by_one(init)


def advance(config: Config, source: Source) -> Callable:
    """advance(states, seeds, step, updates) → (states, losses_UxR): mean loss per token of each update and seed, on the host.

    Synthetic data are made inside one compiled loop over at most `training.chunk` updates. Text is handed over update by update while
    earlier ones are computed. The states that go in may be overwritten.
    """
    update, budget = _update(shared(config), mesh(config)), np.int32(config.training.updates)
    if source.sample is not None:

        def on_device(states, run_seeds, step, updates):
            states, losses_RxU = update(states, np.int32(updates), budget)
            return states, parallel.fetch(losses_RxU).T[:updates]

        return on_device

    read: Any = source.read
    in_flight = IN_FLIGHT if jax.process_count() == 1 else 0  # several CPU processes hang in sums that are queued

    def from_host(states, run_seeds, step, updates):
        losses = []
        for i in range(step, step + updates):
            states, loss_R = update(states, read(run_seeds, i), budget)
            losses.append(loss_R)
            jax.block_until_ready(losses[-1 - min(in_flight, len(losses) - 1)])
        return states, np.stack(parallel.fetch(losses))

    return from_host


@lru_cache(maxsize=4)
def _update(config: Config, devices: Mesh) -> Callable:
    """One compiled program for all runs of a process that train the same model in the same way, for every number of updates and budget."""
    shares = devices.shape[parallel.AXIS]
    axis_name = parallel.AXIS if shares > 1 else None

    def update(state, batch, budget):
        state, sums = training.train_step(state, batch, config, axis_name, budget if config.training.updates == ANY else None)
        return state, sums.nll / jnp.maximum(sums.tokens, 1)

    def train(states, batches, budget):
        return parallel.over_seeds(lambda state, batch: update(state, batch, budget), config.training.seeds_at_once)(states, batches)

    if config.data.task not in tasks.TABLE:
        return parallel.side_by_side(train, devices, shared=1, donate=(0,), split=(1,))
    sample: Any = sources.synthetic(config).sample

    def train_on_device(states, count, budget):
        share = jax.lax.axis_index(parallel.AXIS) if shares > 1 else 0

        def updates(state):
            def body(i, carry):
                state, losses_U = carry
                state, loss = update(state, sample(state.key, state.step, share, shares), budget)
                return state, losses_U.at[i].set(loss)

            return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(config.training.chunk, jnp.float32)))

        return parallel.over_seeds(updates, config.training.seeds_at_once)(states)

    return parallel.side_by_side(train_on_device, devices, shared=2, donate=(0,))


def shared(config: Config) -> Config:
    """The config without what a program does not depend on: runs that differ in nothing else share what is compiled.

    The budget is handed over, except to scheduled sampling, whose decay is solved for it beforehand.
    """
    loop_only = {
        "seeds": 1,
        "first_seed": 0,
        "learning_rates": (1.0,),
        "pilot_updates": 0,
        "pilot_seeds": 1,
        "checkpoint_every": 1,
        "nudge": 0,
    }
    if config.training.sampling != "scheduled":
        loop_only["updates"] = ANY
    train = replace(config.training, evaluate="last", **loop_only)
    text = TextConfig(vocabulary_size=config.text.vocabulary_size)
    return Config(model=config.model, data=config.data, text=text, training=train)
