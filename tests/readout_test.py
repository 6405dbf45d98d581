"""The readout against its equations in numpy; the pointer-generator against a loop over tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import readout
from attention_jax.config import ModelConfig
from attention_jax.types import ConfigError

B, T, S, V, H, C, E = 2, 3, 4, 7, 4, 6, 5


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


H_BxTxH, C_BxTxC, E_BxTxE = random(B, T, H, seed=1), random(B, T, C, seed=2), random(B, T, E, seed=3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("tied", ["none", "output"])
@pytest.mark.parametrize("gate", ["none", "source", "target", "both"])
@pytest.mark.parametrize("name", readout.TABLE)
def test_readout_is_its_equation(name, gate, tied, evidence):
    made = readout.build(ModelConfig(readout=name, context_gate=gate, tied=tied, embedding_size=E), H, C)
    assert made.size == (H if tied == "none" else E)
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: random(*leaf.shape, seed=leaf.size), shapes)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    s, c, y = (np.asarray(x, np.float64) for x in (H_BxTxH, C_BxTxC, E_BxTxE))
    source = c @ p["weight"][H : H + C]
    target = s @ p["weight"][:H] + y @ p["weight"][H + C :] + p["bias"]
    if gate != "none":
        z = sigmoid(np.concatenate([s, c, y], 2) @ p["gate"]["weight"] + p["gate"]["bias"])
        source = source if gate == "target" else z * source
        target = target * {"source": 1, "target": z, "both": 1 - z}[gate]
    a = source + target
    expected = np.tanh(a) if name == "tanh" else np.stack([np.maximum(a[..., 2 * k], a[..., 2 * k + 1]) for k in range(made.size)], -1)
    reference = "Bahdanau 2015, A.2.2, numpy" if name == "maxout" else "its equation, numpy"
    evidence(
        f"readout={name}",
        reference if gate == "none" else f"context gate of Tu 2017, {gate}, numpy",
        made.apply(params, H_BxTxH, C_BxTxC, E_BxTxE),
        expected,
    )


@pytest.mark.parametrize("mass", [1.0, 0.6, 0.0])
def test_copying_is_the_pointer_generator(mass, evidence):
    logits_BxTxV, g_BxTx1 = random(B, T, V, seed=4), jax.nn.sigmoid(random(B, T, 1, seed=5))
    weights_BxTxS = mass * jax.nn.softmax(random(B, T, S, seed=6), axis=2)
    source_BxS = jnp.array([[4, 5, 4, 2], [6, 6, 6, 2]])
    log_p_BxTxV = readout.copied(g_BxTx1, logits_BxTxV, weights_BxTxS, source_BxS)
    expected = np.zeros((B, T, V))
    for b in range(B):
        for t in range(T):
            g, e = float(g_BxTx1[b, t, 0]), np.exp(np.asarray(logits_BxTxV[b, t], np.float64))
            expected[b, t] = (g + (1 - g) * (1 - mass)) * e / e.sum()
            for s in range(S):
                expected[b, t, source_BxS[b, s]] += (1 - g) * weights_BxTxS[b, t, s]
    np.testing.assert_allclose(expected.sum(2), 1, atol=1e-6)
    evidence("copy=true", f"See 2017, eq. 9, a loop over source tokens, weights of mass {mass}", jnp.exp(log_p_BxTxV), expected)


def test_copying_has_finite_gradients_where_nothing_is_likely():
    extreme = jnp.full((B, T, V), -1e4).at[:, :, 0].set(1e4)

    def total(g_BxTx1, logits_BxTxV, weights_BxTxS):
        return readout.copied(g_BxTx1, logits_BxTxV, weights_BxTxS, jnp.full((B, S), 3))[:, :, 5].sum()

    gradients = jax.grad(total, (0, 1, 2))(jnp.full((B, T, 1), 0.5), extreme, jnp.zeros((B, T, S)))
    assert all(bool(jnp.isfinite(g).all()) for g in gradients)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"model\.readout='maxou' is unknown \(did you mean 'maxout'"):
        readout.build(ModelConfig(readout="maxou"), H, C)
