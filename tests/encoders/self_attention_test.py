"""Self-attention against flax.linen's layers and against loops in NumPy, each example alone and without its padding."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.encoders import self_attention

S, E = 7, 3
LENGTHS = (7, 4, 1)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def built(H: int, layers: int):
    """(encoder, random parameters, inputs, memory) of examples of `LENGTHS`."""
    encoder = self_attention.self_attention(ModelConfig(hidden_size=H, layers=layers), E)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), shapes)
    inputs_BxSxE = random(len(LENGTHS), S, E, seed=1)
    mask_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
    return encoder, params, inputs_BxSxE, encoder.apply(params, inputs_BxSxE, mask_BxS)


def plain(tree):
    """The same parameters in NumPy's float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def loops(params, x_SxE, H: int, heads: int):
    """The memory of one source by the equations, one position, head and place at a time."""

    def linear(p, x_I):
        return x_I @ p["weight"] + p["bias"]

    def norm(p, x_I):
        return p["scale"] * (x_I - x_I.mean()) / math.sqrt(x_I.var() + 1e-6) + p["bias"]

    length, width = len(x_SxE), H // heads
    x = [math.sqrt(H) * linear(params["input"], e) + place(s, H) for s, e in enumerate(x_SxE)]
    for layer in range(sum(name.startswith("layer") for name in params)):
        p = params[f"layer{layer}"]
        q, k, v = zip(*(np.split(linear(p["heads"], norm(p["attention_norm"], each)), 3) for each in x), strict=True)
        for s in range(length):
            parts = []
            for n in range(heads):
                own = slice(n * width, (n + 1) * width)
                e = np.array([q[s][own] @ k[j][own] / math.sqrt(width) for j in range(length)])
                weights = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
                parts.append(sum(w * v[j][own] for j, w in enumerate(weights)))
            x[s] = x[s] + linear(p["joined"], np.concatenate(parts))
        x = [each + linear(p["narrow"], np.maximum(linear(p["wide"], norm(p["feedforward_norm"], each)), 0)) for each in x]
    return np.stack([norm(params["norm"], each) for each in x])


def place(s: int, H: int):
    """p_s of Vaswani 2017, sines first."""
    angles = [s / 10_000 ** (2 * i / H) for i in range((H + 1) // 2)]
    return np.array([*map(math.sin, angles), *map(math.cos, angles)][:H])


@pytest.mark.long
@pytest.mark.parametrize("H, heads", [(8, 4), (6, 2), (5, 1)])
def test_equations(evidence, H, heads):
    encoder, params, inputs_BxSxE, memory = built(H, 2)
    for b, length in enumerate(LENGTHS):
        expected_SxH = loops(plain(params), np.asarray(inputs_BxSxE[b, :length], np.float64), H, heads)
        reference = "two blocks, a loop in NumPy, each example without padding (Vaswani 2017, §3.2 to 3.5; Xiong 2020, fig. 1b)"
        evidence("encoder=self_attention", reference, memory.states_BxSxM[b, :length], expected_SxH)
        evidence("encoder=self_attention", reference, memory.final_BxD[b], expected_SxH[-1])
        assert not memory.states_BxSxM[b, length:].any()
    assert (encoder.memory_size, encoder.final_size, encoder.directions, encoder.recurs) == (H, H, ("forward",), False)


def test_a_block_is_flax_s(evidence):
    H, N = 8, 4
    _, params, _, _ = built(H, 1)
    p, x_BxSxH = params["layer0"], random(len(LENGTHS), S, H, seed=3)
    mask_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]

    def of_heads(part):
        return {"kernel": part["weight"].reshape(H, N, H // N), "bias": part["bias"].reshape(N, H // N)}

    split = zip(*(jnp.split(p["heads"][name], 3, axis=-1) for name in ("weight", "bias")), strict=True)
    theirs = dict(zip(("query", "key", "value"), (of_heads({"weight": w, "bias": b}) for w, b in split), strict=True))
    theirs["out"] = {"kernel": p["joined"]["weight"].reshape(N, H // N, H), "bias": p["joined"]["bias"]}
    norm, attention = nn.LayerNorm(epsilon=1e-6), nn.MultiHeadDotProductAttention(num_heads=N)
    normed = norm.apply({"params": p["attention_norm"]}, x_BxSxH)
    y = x_BxSxH + attention.apply({"params": theirs}, normed, mask=mask_BxS[:, None, None, :])
    normed = norm.apply({"params": p["feedforward_norm"]}, y)
    wide = nn.relu(nn.Dense(4 * H).apply({"params": {"kernel": p["wide"]["weight"], "bias": p["wide"]["bias"]}}, normed))
    y = y + nn.Dense(H).apply({"params": {"kernel": p["narrow"]["weight"], "bias": p["narrow"]["bias"]}}, wide)
    ours = self_attention.block(p, x_BxSxH, mask_BxS, 0.0, None, 0)
    reference = "flax.linen: LayerNorm, MultiHeadDotProductAttention, Dense"
    for b, length in enumerate(LENGTHS):
        evidence("encoder=self_attention", reference, ours[b, :length], y[b, :length])


@pytest.mark.long
def test_positions_tell_equal_tokens_apart_and_every_place_is_seen():
    encoder, params, _, _ = built(8, 1)
    same_1xSxE = jnp.broadcast_to(random(1, 1, E, seed=2), (1, S, E))
    states_SxM = encoder.apply(params, same_1xSxE, jnp.ones((1, S), bool)).states_BxSxM[0]
    assert len(np.unique(np.round(np.asarray(states_SxM), 4), axis=0)) == S
    slopes_SxE = jax.grad(lambda x: encoder.apply(params, x, jnp.ones((1, S), bool)).states_BxSxM[0, 2].sum())(same_1xSxE)[0]
    assert (jnp.abs(slopes_SxE).max(1) > 1e-6).all()
