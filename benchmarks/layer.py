"""One LSTM or GRU layer, forward + backward and forward alone, against PyTorch's, a plain `lax.scan` and Flax's cells.

Forward + backward is from inputs, weights and a gradient of the outputs to the gradients of inputs and weights. Weights begin in Flax
and are copied into ours and PyTorch's; outputs agree everywhere, gradients with PyTorch's and the plain loop's. In JAX the batch is
split over the devices that a run of one seed would have.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax.adapters import interchange
from attention_jax.layers import cells, recurrence
from attention_jax.system import machine
from attention_jax.training import parallel
from attention_jax.types.signatures import Array, Params
from benchmarks import apart, flops, measure, peers, plain
from benchmarks.options import Options
from benchmarks.rows import Row, Target

LETTERS = "BTDH"
SIZES = ((64, 128, 128, 256), (32, 50, 512, 1000), (128, 400, 64, 64))
FLAX = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}
OURS, PLAIN, TORCH = "ours", "plain lax.scan", "torch.nn"
TARGETS = dict.fromkeys((TORCH, TORCH + apart.KEPT), (Target("ratio", "≥", 1.0),))
WHOLE, BATCH = PartitionSpec(), PartitionSpec(parallel.AXIS)


def run(options: Options) -> Iterator[Row]:
    """Yields rows of every cell and size."""
    for B, T, D, H in options.sizes or SIZES:
        for cell in FLAX:
            yield from at_size(cell, B, T, D, H, options.seconds, TARGETS)


def at_size(cell: str, B: int, T: int, D: int, H: int, seconds: float, targets: dict) -> Iterator[Row]:
    """Asserts equal work; then forward + backward, with targets, then forward alone."""
    keys = jax.random.split(jax.random.key(0), 3)
    inputs_BxTxD, gradient_BxTxH = jax.random.normal(keys[0], (B, T, D)), jax.random.normal(keys[1], (B, T, H))
    network = linen.RNN(FLAX[cell](H))
    variables = jax.jit(network.init)(keys[2], inputs_BxTxD)
    params = interchange.cell_from_flax(variables["params"]["cell"], cell)
    columns: dict[str, tuple[Callable, dict]] = {  # function, its weights
        OURS: (ours(cell, D, H), params),
        PLAIN: (partial(plain.layer, cell), params),
        "flax.linen": (network.apply, variables),
    }
    mesh = parallel.run_mesh(1, B, H)
    both = {name: both_passes(mesh, of, weights, inputs_BxTxD, gradient_BxTxH) for name, (of, weights) in columns.items()}
    one = {name: forward(mesh, of, weights, inputs_BxTxD) for name, (of, weights) in columns.items()}
    assert_equal_work(f"{cell} {B}×{T}×{D}×{H}", cell, both, one)
    with ExitStack() as context:
        if peers.installed("torch"):
            made = context.enter_context(apart.beside(TORCH, torch_passes, cell, params, inputs_BxTxD, gradient_BxTxH))
            assert_equals_torch(f"{cell} {B}×{T}×{D}×{H}", cell, both[OURS], made)
            both |= {column: functions["both"] for column, functions in made.items()}
            one |= {column: functions["forward"] for column, functions in made.items()}
        sizes, operations = f"B={B} T={T} D={D} H={H}", flops.layer(cell, B, T, D, H)
        yield from measure.compare("layer", f"{cell} both passes", sizes, both, seconds, targets, flops.training(operations))
        yield from measure.compare("layer", f"{cell} forward", sizes, one, seconds / 2, {}, operations)


def ours(cell: str, D: int, H: int) -> Callable:
    """Returns our layer, (params, inputs_BxTxD) → h_BxTxH."""
    made = cells.TABLE[cell](D, H)
    return lambda params, inputs_BxTxD: recurrence.run(made, params, inputs_BxTxD, jnp.ones(inputs_BxTxD.shape[:2], bool))[0]


def forward(mesh: Mesh, function: Callable, params: Params, inputs_BxTxD: Array) -> Callable:
    """Builds the forward pass, () → h_BxTxH."""
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(WHOLE, BATCH), out_specs=BATCH, check_vma=False)
    return partial(compiled(mesh, mapped), *placed(mesh, params, inputs_BxTxD))


def both_passes(mesh: Mesh, function: Callable, params: Params, inputs_BxTxD: Array, gradient_BxTxH: Array) -> Callable:
    """Builds both passes, () → (h_BxTxH, gradients of the parameters, gradient_BxTxD of the inputs)."""

    def passes(params, inputs_BxTxD, gradient_BxTxH):
        h_BxTxH, backward = jax.vjp(function, params, inputs_BxTxD)
        d_params, d_inputs_BxTxD = backward(gradient_BxTxH)
        return h_BxTxH, jax.lax.psum(d_params, parallel.AXIS), d_inputs_BxTxD

    ins, outs = (WHOLE, BATCH, BATCH), (BATCH, WHOLE, BATCH)
    mapped = jax.shard_map(passes, mesh=mesh, in_specs=ins, out_specs=outs, check_vma=False)
    return partial(compiled(mesh, mapped), *placed(mesh, params, inputs_BxTxD, gradient_BxTxH))


def compiled(mesh: Mesh, mapped: Callable) -> Callable:
    """Compiles with the options of a program for these devices."""
    return jax.jit(mapped, compiler_options=machine.compiler_options(mesh.size))


def placed(mesh: Mesh, params: Params, *batches: Array) -> tuple:
    """Puts the parameters on every device, and splits the batches over them."""
    return jax.device_put(params, NamedSharding(mesh, WHOLE)), *jax.device_put(batches, NamedSharding(mesh, BATCH))


def torch_passes(cell: str, params: dict, inputs_BxTxD: Array, gradient_BxTxH: Array) -> dict[str, Callable]:
    """Builds forward and both passes of torch.nn's layer with our weights; gradients have PyTorch's names."""
    import torch

    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](inputs_BxTxD.shape[2], gradient_BxTxH.shape[2], batch_first=True)
    layer.load_state_dict(peers.tensors(interchange.recurrent_to_torch({"layer0": {"forward": params}}, cell)))
    layer.to(peers.device())
    arrays = peers.tensors({"x": inputs_BxTxD, "g": gradient_BxTxH})
    inputs, gradient = arrays["x"].requires_grad_(), arrays["g"]

    def forward():
        with torch.no_grad():
            h = layer(inputs)[0]
        peers.wait()
        return {"h": h}

    def both():
        layer.zero_grad()
        inputs.grad = None
        h = layer(inputs)[0]
        h.backward(gradient)
        peers.wait()
        return {"h": h, "d inputs": inputs.grad} | {name: parameter.grad for name, parameter in layer.named_parameters()}

    return {"forward": forward, "both": both}


def named(cell: str, both: Callable) -> dict:
    """Names the results of both passes, gradients as in PyTorch."""
    h_BxTxH, d_params, d_inputs_BxTxD = both()
    return {"h": h_BxTxH, "d inputs": d_inputs_BxTxD} | interchange.recurrent_to_torch({"layer0": {"forward": d_params}}, cell)


def assert_equal_work(what: str, cell: str, both: dict[str, Callable], one: dict[str, Callable]) -> None:
    """Raises `RunError` unless all columns in JAX agree: Flax's on outputs, the plain loop's on gradients as well."""
    ours = named(cell, both[OURS])
    measure.assert_equal_work(f"{what}, {PLAIN}", ours, named(cell, both[PLAIN]))
    for name, forward in one.items():
        measure.assert_equal_work(f"{what}, {name} forward", {"h": ours["h"]}, {"h": forward()})


def assert_equals_torch(what: str, cell: str, both: Callable, made: dict[str, dict[str, apart.Peer]]) -> None:
    """Raises `RunError` unless PyTorch's outputs and gradients are ours."""
    ours = named(cell, both)
    for column, functions in made.items():
        measure.assert_equal_work(f"{what}, {column}", ours, functions["both"].result())
        measure.assert_equal_work(f"{what}, {column} forward", {"h": ours["h"]}, functions["forward"].result())
