"""The readout against its equations in numpy; the pointer-generator against a loop over tokens."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.model import readout
from attention_jax.system.errors import ConfigError

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
    formulas = {"tanh": np.tanh, "maxout": lambda a: np.maximum(a[..., ::2], a[..., 1::2]), "linear": lambda a: a}
    expected = formulas[name](a)
    reference = "Bahdanau 2015, A.2.2, numpy" if name == "maxout" else "its equation, numpy"
    evidence(
        f"readout={name}",
        reference if gate == "none" else f"context gate of Tu 2017, {gate}, numpy",
        made.apply(params, H_BxTxH, C_BxTxC, E_BxTxE),
        expected,
    )


def dyadic(mass: float, seed: int):
    """Random weights over S places whose sum is exactly `mass` in every precision."""
    counts = np.random.default_rng(seed).multinomial(1024, np.ones(S) / S, (B, T))
    return jnp.asarray(mass * counts / 1024, jnp.float32)


SOURCE_BxS = np.array([[4, 5, 4, 2], [6, 6, 6, 2]])
GATES = (-40.0, -20.0, -3.0, 0.5, 17.0, 25.0, 40.0)


def true_copying(gate, logits_V, weights_S, source_S, token):
    """(log p(token), its gradients by gate, logits and weights), in float64: each from its definition, products and sums of positive
    numbers alone; 1 - σ(x) is σ(-x)."""
    logits_V, weights_S, mass = logits_V.astype(np.float64), weights_S.astype(np.float64), float(weights_S.sum(dtype=np.float64))
    g, rest, over = sigmoid(gate), sigmoid(-gate), max(mass, 1)
    vocabulary_V = np.exp(logits_V - np.logaddexp.reduce(logits_V))
    keep, copied = g + rest * max(1 - mass, 0), weights_S[source_S == token].sum() / over
    p = keep * vocabulary_V[token] + rest * copied
    by_gate = g * rest * (min(mass, 1) * vocabulary_V[token] - copied)
    by_logits_V = keep * vocabulary_V[token] * ((np.arange(len(logits_V)) == token) - vocabulary_V)
    by_weights_S = rest * ((source_S == token) / over - (copied / over if mass > 1 else vocabulary_V[token] if mass < 1 else 0))
    log_p = np.logaddexp(np.log(keep) + np.log(vocabulary_V[token]), np.log(rest) + np.log(copied) if copied else -np.inf)
    return log_p, by_gate / p, by_logits_V / p, by_weights_S / p


@pytest.mark.parametrize("mass", [1.0, 0.5, 0.0, 2.0])
def test_copying_is_exact_in_logs_with_its_gradients(mass, evidence):
    """Gates that are all but shut or open, tokens that are in the source and not, a vocabulary that is sure of itself."""
    logits_BxTxV, weights_BxTxS = 8 * random(B, T, V, seed=4), dyadic(mass, 6)

    def chosen(gate, logits_BxTxV, weights_BxTxS):
        log_p_BxTxV = readout.copied(jnp.full((B, T, 1), gate), logits_BxTxV, weights_BxTxS, SOURCE_BxS)
        return log_p_BxTxV.sum((0, 1)), log_p_BxTxV

    slopes = jax.jit(jax.jacrev(lambda *x: chosen(*x)[0], (0, 1, 2)))
    values = jax.jit(lambda *x: chosen(*x)[1])
    for gate in GATES:
        found = np.asarray(values(gate, logits_BxTxV, weights_BxTxS))
        by_gate_V, by_logits_VxBxTxV, by_weights_VxBxTxS = map(np.asarray, slopes(gate, logits_BxTxV, weights_BxTxS))
        true_gate_V = np.zeros(V)
        for b, t, v in np.ndindex(B, T, V):
            true = true_copying(gate, np.asarray(logits_BxTxV[b, t]), np.asarray(weights_BxTxS[b, t]), SOURCE_BxS[b], v)
            row = f"copy=true, gate logits to ±40, weights of mass {mass}, float64"
            evidence("copy=true", row, found[b, t, v], true[0], rtol=2e-6)
            np.testing.assert_allclose(by_logits_VxBxTxV[v, b, t], true[2], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(by_weights_VxBxTxS[v, b, t], true[3], rtol=1e-4, atol=1e-6)
            true_gate_V[v] += true[1]
        np.testing.assert_allclose(by_gate_V, true_gate_V, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_a_gate_that_is_all_but_shut_or_open_still_learns():
    """Not in the source at a gate of -20: 22.08 nats; a vocabulary that says no at a gate of 17: 17.69. Neither gradient is 0."""
    even_1x1xV, weights_1x1xS = jnp.zeros((1, 1, 8)), jnp.full((1, 1, S), 0.25)

    def loss(gate, logits_1x1xV, source, token):
        return -readout.copied(jnp.full((1, 1, 1), gate), logits_1x1xV, weights_1x1xS, jnp.array([source]))[0, 0, token]

    absent, slope = jax.value_and_grad(loss)(-20.0, even_1x1xV, [4, 5, 6, 7], 1)
    np.testing.assert_allclose((absent, slope), (20 + np.log(8), -1), rtol=1e-6)
    denied, slope = jax.value_and_grad(loss)(17.0, even_1x1xV.at[0, 0, 5].set(-60), [5, 5, 6, 7], 5)
    np.testing.assert_allclose((denied, slope), (17 + np.log(2), 1), rtol=1e-6)


@pytest.mark.long
def test_a_sum_that_only_rounding_keeps_from_one_is_one():
    """Of float32 and of bfloat16 weights: else a shut gate would let through what the rounding lacks."""
    logits_BxTxV, many = random(B, T, V, seed=4), 500
    source_BxS = jnp.full((B, many), 6)
    for dtype in (jnp.float32, jnp.bfloat16):
        weights_BxTxS = jax.nn.softmax(random(B, T, many, seed=7), axis=2).astype(dtype)
        log_p_BxTxV = readout.copied(jnp.full((B, T, 1), -20.0), logits_BxTxV, weights_BxTxS, source_BxS)
        assert log_p_BxTxV.dtype == jnp.float32
        expected = np.log(sigmoid(-20.0)) + jax.nn.log_softmax(logits_BxTxV)[:, :, :6]
        np.testing.assert_allclose(log_p_BxTxV[:, :, :6], expected, rtol=1e-5)


@pytest.mark.parametrize("mass", [1.0, 0.6, 0.0])
def test_copying_is_the_pointer_generator(mass, evidence):
    logits_BxTxV, gate_BxTx1 = random(B, T, V, seed=4), random(B, T, 1, seed=5)
    g_BxTx1 = jax.nn.sigmoid(gate_BxTx1)
    weights_BxTxS = mass * jax.nn.softmax(random(B, T, S, seed=6), axis=2)
    source_BxS = jnp.array([[4, 5, 4, 2], [6, 6, 6, 2]])
    log_p_BxTxV = readout.copied(gate_BxTx1, logits_BxTxV, weights_BxTxS, source_BxS)
    expected = np.zeros((B, T, V))
    for b in range(B):
        for t in range(T):
            g, e = float(g_BxTx1[b, t, 0]), np.exp(np.asarray(logits_BxTxV[b, t], np.float64))
            expected[b, t] = (g + (1 - g) * (1 - mass)) * e / e.sum()
            for s in range(S):
                expected[b, t, source_BxS[b, s]] += (1 - g) * weights_BxTxS[b, t, s]
    np.testing.assert_allclose(expected.sum(2), 1, atol=1e-6)
    evidence("copy=true", f"See 2017, eq. 9, a loop over source tokens, weights of mass {mass}", jnp.exp(log_p_BxTxV), expected)


@pytest.mark.long
def test_copying_has_finite_gradients_where_nothing_is_likely():
    extreme = jnp.full((B, T, V), -1e4).at[:, :, 0].set(1e4)

    def total(gate_BxTx1, logits_BxTxV, weights_BxTxS, token):
        return readout.copied(gate_BxTx1, logits_BxTxV, weights_BxTxS, jnp.full((B, S), 3))[:, :, token].sum()

    for weight, token, gate in itertools.product((0.0, 1e-45, 1e-38, 1e-31, 0.25, 0.25 + 1e-7), (3, 5), (-1e4, 0.5, 1e4)):
        arguments = jnp.full((B, T, 1), gate), extreme, jnp.full((B, T, S), weight), token
        value, gradients = jax.value_and_grad(total, (0, 1, 2))(*arguments)
        assert all(bool(np.isfinite(g).all()) for g in (value, *gradients)), (weight, token, gate)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"model\.readout='maxou' is unknown \(did you mean 'maxout'"):
        readout.build(ModelConfig(readout="maxou"), H, C)
