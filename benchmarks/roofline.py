"""Layers under the machine's ceilings: the rate of large products, and of moving memory.

A layer's intensity is its operations per byte of its products (flops.py); a loop over time reads its weights T times. Points above the
sloping ceiling have weights that stay in a cache.
"""

import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from attention_jax.layers import cells
from attention_jax.system import machine
from attention_jax.training import parallel
from benchmarks import flops, layer, measure, rows
from benchmarks.options import Options
from benchmarks.rows import Row

LETTERS = layer.LETTERS
NUMBERS = 2**27
"""Of the array that is moved, 512 MB: no cache holds it."""


def run(options: Options) -> Iterator[Row]:
    """Yields the two ceilings, then the forward pass of layers at the sizes of `layer`, in GFLOP/s."""
    yield Row("roofline", "matrix peak", "", rows.sample([measure.matrix_peak() / 1e9]), unit="GFLOP/s")
    yield Row("roofline", "bandwidth", f"{4 * NUMBERS / 2**20:.0f} MB", rows.sample([bandwidth() / 1e9]), unit="GB/s")
    for B, T, D, H in options.sizes or layer.SIZES:
        for cell in layer.FLAX:
            operations = flops.layer(cell, B, T, D, H)
            params = cells.TABLE[cell](D, H).init(jax.random.key(0))
            inputs_BxTxD = jax.random.normal(jax.random.key(1), (B, T, D))
            function = layer.forward(parallel.run_mesh(1, B, H), layer.ours(cell, D, H), params, inputs_BxTxD)
            (sample,) = measure.alternate({cell: function}, options.seconds / 4).values()
            rate = rows.sample([operations / 1e9 / sample.median])
            note = f"{operations / flops.moved_layer(cell, B, T, D, H):.1f} operations a byte"
            yield Row("roofline", f"{cell} forward", f"{B},{T},{D},{H}", rate, unit="GFLOP/s", note=note)


def bandwidth(repeats: int = 7) -> float:
    """Measures bytes per second that all devices read and write together: x + 1, into memory that is already allocated."""
    mesh = parallel.data_mesh()
    split = jax.NamedSharding(mesh, jax.P(parallel.AXIS))
    options = machine.compiler_options(mesh.size)
    add = jax.jit(lambda x: x + 1, out_shardings=split, donate_argnums=0, compiler_options=options)
    x = add(jax.device_put(jnp.zeros(NUMBERS - NUMBERS % mesh.size), split))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        x = jax.block_until_ready(add(x))
        seconds.append(time.perf_counter() - began)
    return 2 * x.nbytes / min(seconds)
