"""The same update on one device, pmapped, over a mesh, and over seeds: launchers change where it runs, never what comes out.

In go a config and a function of (state, batch, config, axis_name), `training.train_step` or `training.gradients`; out comes a
function of (state, whole batch). The batch is split over devices along its first axis, the state is whole on each of them.
`jax.pmap` is in maintenance since JAX 0.8, so `sharded` is the one to use; the others show that it computes the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from attention_jax import training
from attention_jax.config import Config
from attention_jax.types import Batch, ConfigError, TrainState

AXIS = "data"
"""Name of the axis along which a batch is split and sums are added."""


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis over `devices`, by default all of them."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def jitted(config: Config, function: Callable = training.train_step) -> Callable:
    """On one device, or wherever the arguments are."""
    return jax.jit(lambda state, batch: function(state, batch, config))


def pmapped(config: Config, function: Callable = training.train_step) -> Callable:
    """`jax.pmap` over the devices of this process; raises `ConfigError` for a batch that they cannot share evenly."""
    n = jax.local_device_count()
    mapped = jax.pmap(lambda state, batch: function(state, batch, config, AXIS), AXIS, in_axes=(None, 0), out_axes=None)

    def run(state, batch):
        _check(batch, n)
        return mapped(state, jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), batch))

    return run


def sharded(config: Config, mesh: Mesh, function: Callable = training.train_step) -> Callable:
    """`jax.shard_map` over the mesh; raises `ConfigError` for a batch that its devices cannot share evenly."""
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        lambda state, batch: function(state, batch, config, AXIS),
        mesh=mesh,
        in_specs=(whole, split),
        out_specs=whole,
        check_vma=False,  # the check refuses scans whose initial carry is a constant
    )
    return _placed(jax.jit(mapped), mesh)


def on_mesh(config: Config, mesh: Mesh, function: Callable = training.train_step) -> Callable:
    """Plain `jax.jit` over a batch that lies split on the mesh: the compiler adds over devices, no axis is named."""
    return _placed(jax.jit(lambda state, batch: function(state, batch, config), out_shardings=NamedSharding(mesh, PartitionSpec())), mesh)


def over_seeds(function: Callable) -> Callable:
    """`function` for R seeds side by side: states, batches and results have a leading axis R, what follows them is shared."""
    return lambda states, batches, *shared: jax.vmap(lambda state, batch: function(state, batch, *shared))(states, batches)


def init_seeds(config: Config, seeds: Sequence[int], learning_rates: Sequence[float]) -> TrainState:
    """First states of R seeds, stacked; made one by one, since a vmapped orthogonal initialiser has hung on two CPU cores."""
    states = [_init(config, seed, rate) for seed, rate in zip(seeds, learning_rates, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def spread(tree: Any) -> Any:
    """A pytree with leading axis R, its seeds shared out over as many devices as divide them evenly.

    Seeds never talk to each other, so nothing is added over devices and two CPU cores as two devices are twice as fast as one
    that has both; numbers are promised bit for bit only on the same number of devices.
    """
    R = jax.tree.leaves(tree)[0].shape[0]
    n = max(n for n in range(1, len(jax.devices()) + 1) if R % n == 0)
    mesh = jax.make_mesh((n,), ("seeds",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n])
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("seeds")))


def replica(states: TrainState, r: int) -> TrainState:
    """One seed's state out of R."""
    return jax.tree.map(lambda x: x[r], states)


_init = jax.jit(training.init, static_argnums=0)


def _placed(function: Callable, mesh: Mesh) -> Callable:
    """`function`, its state copied to every device of the mesh and its batch split over them before the call."""
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))

    def run(state, batch):
        _check(batch, mesh.size)
        return function(jax.device_put(state, whole), jax.device_put(batch, split))

    return run


def _check(batch: Batch, n: int):
    if (B := batch.source_BxS.shape[0]) % n:
        raise ConfigError(f"training.batch_size={B} cannot be shared by {n} devices: it must be a multiple of {n}")
