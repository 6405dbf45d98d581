"""Compiles a run: the first states of its seeds, and updates, many to a call. Runs that train alike share their programs.

Where these programs run, and who decides it: docs/where_it_runs.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from attention_jax import training
from attention_jax.config import Config, TrainingConfig
from attention_jax.system import machine
from attention_jax.training import parallel
from attention_jax.types import Model, TrainState
from attention_jax.types.sizes import VocabularySizes

ANY = 1  # what training.updates is in a program that every budget shares
IN_FLIGHT = 2  # updates on text that are handed over while an earlier one is computed


class Progress(struct.PyTreeNode):
    """What a checkpoint holds; every array has the leading axis R. `best_…` move only with training.evaluate=best."""

    states: TrainState
    best_params: dict
    best_nll_R: jax.Array
    best_step_R: jax.Array


@dataclass(frozen=True)
class Resolved:
    """A config and what follows from it and its vocabularies; `running.resolved.resolve` makes it once, at the start of a run."""

    config: Config
    sizes: VocabularySizes
    model: Model

    @property
    def mesh(self) -> Mesh:
        """The devices of the run; all of its programs run on them."""
        return self.mesh_of(self.config.training.seeds)

    def mesh_of(self, R: int) -> Mesh:
        """Returns the devices on which R seeds of this config train."""
        return parallel.run_mesh(R, self.config.training.batch_size, self.config.model.hidden_size)


class Batches(Protocol):
    """Training batches, as `data.sources.Source` has them: made on the device by `sample`, or else read on the host by `read`."""

    @property
    def sample(self) -> Callable | None: ...
    @property
    def read(self) -> Callable | None: ...


def start(run: Resolved, seeds: Sequence[int], rates: Sequence[float]) -> Progress:
    """Makes initial parameters and optimizer state of every seed, on the devices of the run."""
    settings = replace(shared(run.config.training), nudge=run.config.training.nudge)  # it acts here alone
    init = _init(run.model, settings, run.config.training.evaluate == "best", run.mesh_of(len(seeds)))
    return init(np.asarray(seeds, np.int32), np.asarray(rates, np.float32))


def shapes(run: Resolved) -> Progress:
    """Returns the shapes and types of what `start` makes, as `jax.ShapeDtypeStruct`s; nothing is computed."""
    training = run.config.training
    init = _of_all_seeds(run.model, training, training.evaluate == "best")
    return jax.eval_shape(init, *(np.zeros(training.seeds, kind) for kind in (np.int32, np.float32)))


def check_memory(run: Resolved) -> None:
    """Raises `MemoryError` where a run's states alone, of the seeds that this process has, are larger than all memory: a compiler may
    take for ever to find out."""
    needed = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes(run))) // jax.process_count()
    if needed > (there := machine.memory()):
        raise MemoryError(f"parameters and the optimizer's averages need {needed / 2**30:,.0f} GiB, there are {there / 2**30:,.0f}")


@lru_cache(maxsize=4)
def _init(model: Model, config: TrainingConfig, keeps_best: bool, devices: Mesh) -> Callable:
    return parallel.side_by_side(_of_all_seeds(model, config, keeps_best), devices)


def _of_all_seeds(model: Model, config: TrainingConfig, keeps_best: bool) -> Callable:
    def init(seed, rate):
        state = training.init(model, config, seed, rate)
        return Progress(state, state.params if keeps_best else {}, jnp.asarray(jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))

    return parallel.one_by_one(init)


def advance(run: Resolved, batches: Batches) -> Callable:
    """Makes the function advance(states, seeds, step, updates) → (states, losses_UxR): mean nats per token of each update and seed, NumPy.

    Synthetic data are made inside one compiled loop over at most `training.chunk` updates. Text is handed over update by update while
    earlier ones are computed. The states that go in may be overwritten.
    """
    config = run.config.training
    update, budget = _update(run.model, batches.sample, shared(config), run.mesh), np.int32(config.updates)
    if batches.sample is not None:

        def on_device(states, run_seeds, step, updates):
            states, losses_RxU = update(states, np.int32(updates), budget)
            return states, parallel.fetch(losses_RxU).T[:updates]

        return on_device

    read: Any = batches.read
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
def _update(model: Model, sample: Callable | None, config: TrainingConfig, devices: Mesh) -> Callable:
    """Compiles one program for all runs of a process that train the same model in the same way, for every number of updates and budget."""
    shares = devices.shape[parallel.AXIS]
    axis_name = parallel.AXIS if shares > 1 else None

    def update(state, batch, budget):
        state, sums = training.train_step(state, batch, model, config, axis_name, budget if config.updates == ANY else None)
        return state, sums.nll / jnp.maximum(sums.tokens, 1)

    def train(states, batches, budget):
        return parallel.over_seeds(lambda state, batch: update(state, batch, budget), config.seeds_at_once)(states, batches)

    if sample is None:
        return parallel.side_by_side(train, devices, shared=1, donate=(0,), split=(1,))

    def train_on_device(states, count, budget):
        share = jax.lax.axis_index(parallel.AXIS) if shares > 1 else 0

        def updates(state):
            def body(i, carry):
                state, losses_U = carry
                state, loss = update(state, sample(state.key, state.step, share, shares), budget)
                return state, losses_U.at[i].set(loss)

            return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(config.chunk, jnp.float32)))

        return parallel.over_seeds(updates, config.seeds_at_once)(states)

    return parallel.side_by_side(train_on_device, devices, shared=2, donate=(0,))


def shared(config: TrainingConfig) -> TrainingConfig:
    """Returns the settings with fixed values for what a compiled program does not depend on: runs that agree in the rest share programs.

    The budget is an argument of the program, except with scheduled sampling, whose decay is solved for it beforehand.
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
    if config.sampling != "scheduled":
        loop_only["updates"] = ANY
    return replace(config, evaluate="last", **loop_only)
