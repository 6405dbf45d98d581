"""On a GPU: Bahdanau's own size in words per second, an LSTM layer against cuDNN, 16 seeds as one batch, bfloat16 against float32.

Products of float32 are rounded to TF32 on both sides unless --precision says otherwise, so equal work is asserted to 5 %. joeynmt's
encoder is PyTorch's GRU, that is cuDNN's, as is that of the model in its place where it is not installed (torch_model.py). Without a GPU
nothing is run, and a line says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from attention_jax import training as updates
from attention_jax.running.resolved import resolve
from benchmarks import flops, layer, measure, seeds, training
from benchmarks.options import Options
from benchmarks.rows import Row, Target
from experiments import bottleneck

V, E, H, B, S = BAHDANAU = (30_000, 620, 1000, 80, 50)  # 2015, A.2.3 and B.2
LSTM = (64, 128, 1024, 1024)  # B, T, D, H
R = 16


def run(options: Options) -> Iterator[Row]:
    """Yields rows where JAX sees a GPU; else prints a line."""
    if jax.default_backend() != "gpu":
        print("   not run: no GPU", flush=True)
        return
    for row in training.at_size(*BAHDANAU, (Target("ratio", "≥", 3.0),), options.seconds):
        yield replace(row, name="gpu", note=f"{B * S / row.ours.median:,.0f} target words per second")
    targets = {layer.TORCH: (Target("ratio", "≥", 0.9),)}
    for row in layer.at_size("lstm", *LSTM, options.seconds, targets):
        yield replace(row, name="gpu")
    yield from many_seeds(options.seconds)
    yield from half_precision(options.seconds)


def many_seeds(seconds: float) -> Iterator[Row]:
    """Compares R seeds of bottleneck's tiny model as one batch with one after the other."""
    for arm in ("none", *bottleneck.ARMS):
        tiny = replace(bottleneck.TINY, model=replace(bottleneck.TINY.model, attention=arm))
        config = seeds.at_size(tiny, 64, 32)
        one = seeds.chunk(config, 1)
        functions = {f"{R} seeds": seeds.chunk(config, R), "one after the other": partial(repeated, one)}
        targets = {"one after the other": (Target("ratio", "≥", 8.0),)}
        sizes = f"R={R} H={config.model.hidden_size}, {seeds.UPDATES} updates"
        yield from measure.compare("gpu", f"seeds, {config.model.attention}", sizes, functions, seconds, targets)


def repeated(function: Callable) -> None:
    """Calls it R times, waiting for each."""
    for _ in range(R):
        jax.block_until_ready(function())


def half_precision(seconds: float) -> Iterator[Row]:
    """Compares gradients at Bahdanau's size with those of bfloat16 parameters and activations."""
    config, batch = training.settings(V, E, H, B), training.full_batch(V, B, S)
    model = resolve(config).model
    state = updates.init(model, config.training, 0, 0.0)
    halved = state.replace(params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), state.params))
    gradients = jax.jit(lambda state: updates.gradients(state, batch, model, config.training))
    functions = {"bfloat16": partial(gradients, halved), "float32": partial(gradients, state)}
    flop = flops.training(flops.encoder_decoder(V, E, H, B, S, S))
    yield from measure.compare("gpu", "gradients in bfloat16", f"V={V} E={E} H={H} B={B} S=T={S}", functions, seconds, {}, flop)
