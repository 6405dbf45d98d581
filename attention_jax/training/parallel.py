"""The same update on one device, pmapped, over a mesh, and over seeds: launchers change where it runs, never what comes out.

In goes a step(state, batch, axis_name=None), such as `partial(training.train_step, model=model, config=config.training)`; out comes a
function of (state, whole batch). The batch is split over devices along its first axis, the state is whole on each of them.
`jax.pmap` is in maintenance since JAX 0.8, so `sharded` is the one to use; the others show that it computes the same. Arguments in
`donate` may be overwritten, as `jax.jit` has it: donate=0 where the caller goes on with the new state alone.

Runs train R seeds, and those share nothing: `side_by_side` gives each device some of the seeds, and the devices never talk. Where there
are more devices than that, they share the batches too. The devices may be of several processes (`jax.distributed`), which all make the
same calls in the same order; what comes out is the same, however the devices are dealt out to processes. A picture: docs/where_it_runs.md.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from attention_jax.system import machine
from attention_jax.system.errors import ConfigError
from attention_jax.types import Batch, TrainState

AXIS = "data"
"""Name of the axis along which a batch is split and sums are added."""

SEEDS = "seeds"
"""Name of the axis along which seeds are shared out."""


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Makes a mesh of one axis, `AXIS`, over `devices`; by default over all of them."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def jitted(step: Callable, donate: int | tuple[int, ...] = ()) -> Callable:
    """Compiles a step with `jax.jit`, to run on one device or wherever its arguments lie."""
    return jax.jit(lambda state, batch: step(state, batch), donate_argnums=donate, compiler_options=machine.compiler_options(1))


def pmapped(step: Callable) -> Callable:
    """Compiles a step with `jax.pmap` over the devices of this process.

    What it returns raises `ConfigError` for a batch that they cannot share evenly.
    """
    n = jax.local_device_count()
    mapped = jax.pmap(lambda state, batch: step(state, batch, axis_name=AXIS), AXIS, in_axes=(None, 0), out_axes=None)

    def run(state, batch):
        _check(batch, n)
        return mapped(state, jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), batch))

    return run


def sharded(step: Callable, mesh: Mesh, donate: int | tuple[int, ...] = ()) -> Any:
    """Compiles a step with `jax.shard_map` over the mesh.

    What it returns raises `ConfigError` for a batch that the mesh's devices cannot share evenly.
    """
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        lambda state, batch: step(state, batch, axis_name=AXIS),
        mesh=mesh,
        in_specs=(whole, split),
        out_specs=whole,
        check_vma=False,  # the check refuses scans whose initial carry is a constant
    )
    return _placed(jax.jit(mapped, donate_argnums=donate, compiler_options=machine.compiler_options(mesh.size)), mesh)


def on_mesh(step: Callable, mesh: Mesh) -> Callable:
    """Compiles a step with plain `jax.jit` for a batch that is split over the mesh: the compiler adds over devices, no axis is named."""
    return _placed(jax.jit(lambda state, batch: step(state, batch), out_shardings=NamedSharding(mesh, PartitionSpec())), mesh)


def over_seeds(function: Callable, at_once: int = 0) -> Callable:
    """Maps `function` over R seeds: its arguments and results get a leading axis R.

    One seed after the other on CPUs; on accelerators `at_once` of them together, or all with 0.
    """
    if not machine.vectorises():
        return one_by_one(function)
    return one_by_one(function, at_once) if at_once else jax.vmap(function)


def one_by_one(function: Callable, at_once: int | None = None) -> Callable:
    """Maps `function` over R seeds, one after the other, or `at_once` together: its arguments and results get a leading axis R.

    Orthogonal initialisers need it: vmapped, they have hung on two CPU cores.
    """

    @wraps(function)
    def mapped(*arrays):
        return jax.lax.map(lambda each: function(*each), arrays, batch_size=at_once)

    return mapped


def side_by_side(function: Callable, mesh: Mesh, shared: int = 0, donate: tuple[int, ...] = (), split: tuple[int, ...] = ()) -> Callable:
    """Compiles a function of arrays with a leading axis R, its last `shared` arguments aside, which are the same for all seeds.

    Along `SEEDS` of a `run_mesh` each device calls `function` with its share of the seeds. Nothing is added over them, so two CPU cores
    as two devices are about twice as fast as one device that has both; numbers are promised bit for bit only on the same number of
    devices. The second axis of the arguments in `split`, B, is shared out along `AXIS`. JAX's log calls the program by the function's name.
    """

    def specs(count: int) -> tuple[PartitionSpec, ...]:
        own = (PartitionSpec(SEEDS, AXIS) if i in split else PartitionSpec(SEEDS) for i in range(count - shared))
        return (*own, *[PartitionSpec()] * shared)

    @wraps(function)
    def mapped(*arguments):
        laid = jax.shard_map(function, mesh=mesh, in_specs=specs(len(arguments)), out_specs=PartitionSpec(SEEDS), check_vma=False)
        return laid(*arguments)

    compiled = jax.jit(mapped, donate_argnums=donate, compiler_options=machine.compiler_options(mesh.size))
    if jax.process_count() == 1:
        return compiled

    def run(*arguments):
        placed = zip(arguments, specs(len(arguments)), strict=True)
        return compiled(*(jax.tree.map(partial(place, sharding=NamedSharding(mesh, spec)), each) for each, spec in placed))

    return run


def run_mesh(R: int, B: int = 1, H: int = 0) -> Mesh:
    """Devices for R seeds that train side by side, in batches of B: as many along `SEEDS` as share the seeds evenly, and of what is left
    as many along `AXIS` as share a batch evenly, and well with a hidden size of H (`machine.shares`).

    Several processes need all of their devices: `ConfigError` where these numbers do not allow that.
    """
    n = len(jax.devices())
    most = machine.shares(H) if jax.process_count() == 1 else n
    even = [seeds for seeds in range(1, n + 1) if R % seeds == 0]
    shapes = [(seeds, shares) for seeds in even for shares in range(1, min(most, n // seeds) + 1) if B % shares == 0]
    if jax.process_count() > 1 and not (shapes := [shape for shape in shapes if shape[0] * shape[1] == n]):
        raise ConfigError(
            f"{n} devices of {jax.process_count()} processes cannot share training.seeds={R} with training.batch_size={B} evenly: "
            f"make the product of a divisor of one and a divisor of the other {n}"
        )
    shape = max(shapes)
    devices = jax.devices()[: shape[0] * shape[1]]
    return jax.make_mesh(shape, (SEEDS, AXIS), axis_types=(AxisType.Auto,) * 2, devices=devices)


def spread(tree: Any, mesh: Mesh) -> Any:
    """Shares out the seeds of a pytree with leading axis R over the devices of a `run_mesh`."""
    return jax.tree.map(partial(place, sharding=NamedSharding(mesh, PartitionSpec(SEEDS))), tree)


def place(x: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """Lays an array of the host, the same in every process, on the devices of all; one that lies on several processes stays there."""
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return x
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def fetch(tree: Any) -> Any:
    """Copies a pytree to the host, as NumPy's arrays; what lies on several processes is gathered, so all of them must call."""

    def one(x):
        there = isinstance(x, jax.Array) and not x.is_fully_addressable
        return multihost_utils.process_allgather(x, tiled=True) if there else np.asarray(x)

    return jax.tree.map(one, tree)


def finite(params: Any) -> np.ndarray:
    """Returns finite_R: whether all parameters of each seed, the leading axis R, are finite. All processes must call, as for `fetch`."""
    return np.all([np.isfinite(x).reshape(len(x), -1).all(1) for x in jax.tree.leaves(fetch(params))], axis=0)


def is_first() -> bool:
    """Returns whether this is the process that writes: the first of several, or the only one."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Returns once all processes have called it with this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def is_lost(error: Exception) -> bool:
    """Returns whether an error says that another process of this run is out of reach, by the wording of JAX's transports."""
    words = ("Gloo", "NCCL", "Connection", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination service")
    return jax.process_count() > 1 and isinstance(error, JaxRuntimeError | ValueError) and any(word in str(error) for word in words)


def all_gather(numbers: Sequence[int]) -> np.ndarray:
    """Gathers integers from every process: numbers_PxN, process by process, the same in all of them. All must call."""
    if jax.process_count() == 1:
        return np.asarray([numbers])
    return np.asarray(multihost_utils.process_allgather(np.asarray(numbers, np.int32)))


def broadcast(value: Any) -> Any:
    """Returns the first process's `value`, which JSON must hold, in every process. All must call.

    What is read from a network's file system is handed round this way: other processes may see an older state of it.
    """
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode() if is_first() else b""
    size = int(all_gather([len(text)])[0, 0])
    letters = np.frombuffer(text.ljust(size), np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(letters))[:size]))


def replica(states: TrainState, r: int) -> TrainState:
    """Returns the state of seed number r, from 0, of states with leading axis R."""
    return jax.tree.map(lambda x: x[r], states)


def _placed(function: Callable, mesh: Mesh) -> Callable:
    """`function`, its state copied to every device of the mesh and its batch split over them before the call, where they are not yet."""
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))

    def run(state, batch):
        _check(batch, mesh.size)
        return function(_put(state, whole), _put(batch, split))

    run.lower = lambda state, batch: function.lower(_put(state, whole), _put(batch, split))  # pyright: ignore[reportFunctionMemberAccess]  # as of a jitted function
    return run


def _put(tree: Any, sharding: NamedSharding) -> Any:
    """`jax.device_put`, which takes its time for many small arrays, unless all of them lie there."""
    there = all(isinstance(x, jax.Array) and x.sharding == sharding for x in jax.tree.leaves(tree))
    return tree if there else jax.device_put(tree, sharding)


def _check(batch: Batch, n: int):
    if (B := batch.source_BxS.shape[0]) % n:
        raise ConfigError(f"training.batch_size={B} cannot be shared by {n} devices: it must be a multiple of {n}")
