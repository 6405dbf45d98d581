"""Every loop against the plain one: each cell that it has, padding of every kind, both directions, alone and as seeds side by side."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import encoders
from attention_jax.config import ModelConfig
from attention_jax.encoders import loops, recurrent
from attention_jax.layers import cells
from attention_jax.system.errors import ConfigError

B, S, E, H = 3, 5, 3, 4
MASKS = {
    "no padding": np.ones((B, S), bool),
    "padding behind": np.arange(S)[None] < np.array([5, 2, 0])[:, None],
    "padding anywhere": np.array([[c == "#" for c in row] for row in ("..###", "#.##.", "....#")]),
}
LSTM = ModelConfig(cell="lstm", hidden_size=H, layers=2, embedding_size=E)
PAIRS = [
    (loop, cell) for loop in loops.TABLE if loop != "plain" for cell in cells.TABLE if loop != "cudnn" or cells.TABLE[cell](E, H).is_lstm
]


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@cache
def programs(loop: str, name: str):
    """(of one seed, of three side by side): params, inputs_BxSxE, mask_BxS → {direction: (outputs, gradients)}."""
    cell = cells.TABLE[name](E, H)

    def passes(params, inputs_BxSxE, mask_BxS):
        found = {}
        for reverse in (False, True):
            outputs, backward = jax.vjp(lambda *x, r=reverse: loops.TABLE[loop].run(cell, *x, mask_BxS, r), params, inputs_BxSxE)
            found[reverse] = outputs, backward(jax.tree.map(lambda x: jnp.asarray(random(*x.shape, seed=7)), outputs))
        return found

    return jax.jit(passes), jax.jit(jax.vmap(passes))


def arguments(name: str, seed: int):
    """(params, inputs_BxSxE)."""
    shapes = jax.eval_shape(cells.TABLE[name](E, H).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size + seed), shapes), random(B, S, E, seed=seed)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("loop", "name"), PAIRS)
def test_values_and_gradients_are_those_of_the_plain_loop(loop, name, mask, reverse, cudnn_anywhere):
    of_plain, of_loop = (programs(each, name)[0](*arguments(name, 0), MASKS[mask])[reverse] for each in ("plain", loop))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), of_loop, of_plain)
    assert all(np.abs(g).max() > 1e-4 for g in jax.tree.leaves(of_plain[1]))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])
@pytest.mark.parametrize(("loop", "name"), PAIRS)
def test_seeds_side_by_side_are_the_plain_loop_s_one_by_one(loop, name, reverse, cudnn_anywhere):
    """Each with weights, inputs and padding of its own."""
    seeds = [(*arguments(name, seed), mask) for seed, mask in enumerate(MASKS.values())]
    together = programs(loop, name)[1](*jax.tree.map(lambda *x: np.stack(x), *seeds))[reverse]
    for r, own in enumerate(seeds):
        alone = programs("plain", name)[0](*own)[reverse]
        jax.tree.map(lambda a, b, r=r: np.testing.assert_allclose(a[r], b, rtol=1e-5, atol=1e-5), together, alone)


def recurs(name: str) -> bool:
    """Whether the encoder runs a cell; those that do can have two layers."""
    try:
        return encoders.TABLE[name](LSTM, E).recurs
    except ConfigError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("encoder", [name for name in encoders.TABLE if recurs(name)])
def test_every_encoder_takes_every_loop(encoder, cudnn_anywhere):
    config = dataclasses.replace(LSTM, encoder=encoder)
    inputs_BxSxE, mask_BxS = random(B, S, E), MASKS["padding behind"]
    params = encoders.build(config, E).init(jax.random.key(0))
    memories = {}
    for loop in (loops.AUTO, *loops.TABLE):
        build = encoders.build(dataclasses.replace(config, loop=loop), E)
        memories[loop] = build.apply(params, inputs_BxSxE, mask_BxS)
        ran = str(jax.make_jaxpr(build.apply)(params, inputs_BxSxE, mask_BxS))
        assert ("rnn_fwd" in ran) == (loop in ("cudnn", "auto")), loop
    for memory in memories.values():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), memory, memories["plain"])


def test_auto_is_cudnn_where_that_is_there_and_can(cudnn_anywhere):
    auto = dataclasses.replace(LSTM, loop="auto")
    assert loops.chosen(auto) == "cudnn"
    assert {loops.chosen(dataclasses.replace(auto, **other)) for other in ({"cell": "gru"}, {"transition": 2})} == {"scan"}
    assert loops.chosen(auto, jnp.bfloat16) == "scan"
    with jax.default_matmul_precision("BF16_BF16_F32"):
        assert loops.chosen(auto) == "scan"
    assert [loops.chosen(dataclasses.replace(LSTM, loop=loop)) for loop in loops.TABLE] == [*loops.TABLE]


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="a GPU is here")
def test_auto_is_ours_elsewhere_and_cudnn_is_refused():
    assert loops.chosen(dataclasses.replace(LSTM, loop="auto")) == "scan"
    with pytest.raises(ConfigError, match=r"needs an NVIDIA GPU, and JAX runs on cpu: set model\.loop=scan"):
        recurrent.recurrent(dataclasses.replace(LSTM, loop="cudnn"), E)
