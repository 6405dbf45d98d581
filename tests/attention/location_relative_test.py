"""Scores that compare no content: Battenberg's mixture and dynamic convolutions against literal float64 loops over several looks."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax import attention
from attention_jax.attention import location_relative, mechanism
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from tests.attention import inputs

B, T, S, M, H, A = 3, 4, 14, 6, 4, 7
SIZES = Sizes(M, H, A)
LENGTHS = (14, 3, 0)
MASK_BxS = np.arange(S)[None, :] < np.array(LENGTHS)[:, None]
SETTINGS = {"filters": 2, "filter_width": 3, "mixtures": 3}


def softplus(x):
    return np.log1p(np.exp(x))


def softmax(e):
    exp = np.exp(e - e.max())
    return exp / exp.sum()


def mixture(p, query_TxH, N):
    """Battenberg 2019, §2.2 and table 1, V2: weights of positions 1 … N, without a sum."""
    K, rows = SETTINGS["mixtures"], []
    μ = np.zeros(K)
    for s in query_TxH:
        raw = np.tanh(s @ p["query"] + p["query_bias"]) @ p["output"] + p["bias"]
        w, Δ, σ = softmax(raw[:K]), softplus(raw[K : 2 * K]), softplus(raw[2 * K :])
        μ = μ + Δ
        Z = np.sqrt(2 * np.pi * σ**2)
        rows.append([sum(w[k] / Z[k] * np.exp(-((j - μ[k]) ** 2) / (2 * σ[k] ** 2)) for k in range(K)) for j in range(1, N + 1)])
    return np.array(rows)


def convolved(p, query_TxH, N):
    """Battenberg 2019, eq. 7 to 9: weights of N positions; the look before the first saw the first one."""
    W, F = SETTINGS["filter_width"], SETTINGS["filters"]
    P = scipy.stats.betabinom.pmf(np.arange(11), 10, 0.1, 0.9)
    last, rows = np.eye(N)[0], []
    for s in query_TxH:
        G = (np.tanh(s @ p["query"] + p["query_bias"]) @ p["dynamic_filters"]).reshape(W, F)
        e = np.zeros(N)
        for j in range(N):
            f, g = np.zeros(F), np.zeros(F)
            for r in range(W):
                if 0 <= j + r - W // 2 < N:
                    f += p["filters"][r] * last[j + r - W // 2]
                    g += G[r] * last[j + r - W // 2]
            prior = sum(P[r] * last[j - r] for r in range(11) if j - r >= 0)
            e[j] = p["v"][:, 0] @ np.tanh(f @ p["features"] + g @ p["dynamic_features"] + p["bias"]) + np.log(max(prior, 1e-6))
        last = softmax(e)
        rows.append(last)
    return np.array(rows)


@cache
def row(name: str, normaliser: str = "softmax"):
    """(its parameters' shapes, jitted: (params, memory, queries) → all looks)."""
    built = attention.build(ModelConfig(attention=name, normaliser=normaliser, **SETTINGS), SIZES)

    def looks(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.asarray(MASK_BxS))
        return mechanism.look_at_all(built, params, prepared, built.initial(prepared), query_BxTxH)

    return jax.eval_shape(built.init, jax.random.key(0)), jax.jit(looks)


drawn = partial(inputs.drawn, (B, S, M), (B, T, H))


def whole(loop, p, query_BxTxH):
    """The loop's weights of every source, zero at padding."""
    weights_BxTxS = np.zeros((B, T, S))
    for b, N in enumerate(LENGTHS):
        if N:
            weights_BxTxS[b, :, :N] = loop(p, query_BxTxH[b], N)
    return weights_BxTxS


VALUES = given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from((0.3, 0.7, 1.0)))


@pytest.mark.long
@settings(max_examples=20)
@VALUES
def test_the_mixture_is_the_paper_s(seed, scale, evidence):
    """With normaliser=exponential its weights; with softmax the same over their sum."""
    shapes, looks = row("gmm_v2", "exponential")
    given = drawn(shapes, seed, scale)
    given[0]["score"]["bias"] += jnp.asarray([0.0] * 3 + [0.5] * 3 + [2.0] * 3)  # bells that reach several positions
    p, query_BxTxH = inputs.in_float64((given[0]["score"], given[2]))
    weights_BxTxS = whole(mixture, p, query_BxTxH)
    reference = "float64 loop of Battenberg 2019, §2.2 and table 1, V2"
    evidence("attention=gmm_v2", reference, looks(*given).weights_BxTxS, weights_BxTxS, 1e-4, 1e-5)
    weights_BxTxS[:2] /= weights_BxTxS[:2].sum(2, keepdims=True)
    evidence("attention=gmm_v2", f"{reference}, over its sum", row("gmm_v2")[1](*given).weights_BxTxS, weights_BxTxS, 1e-4, 2e-5)


@settings(max_examples=20)
@VALUES
def test_dynamic_convolutions_are_the_paper_s(seed, scale, evidence):
    shapes, looks = row("dynamic_convolution")
    given = drawn(shapes, seed, scale)
    p, query_BxTxH = inputs.in_float64((given[0]["score"], given[2]))
    weights_BxTxS = whole(convolved, p, query_BxTxH)
    evidence(
        "attention=dynamic_convolution",
        "float64 loop of Battenberg 2019, eq. 7 to 9",
        looks(*given).weights_BxTxS,
        weights_BxTxS,
        1e-4,
        1e-5,
    )


def test_the_mixture_starts_with_steps_of_one_and_a_width_of_ten(evidence):
    """Where the network says nothing yet: look i is at position i, and falls as a normal density of deviation 10."""
    shapes, looks = row("gmm_v2", "exponential")
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    params["score"]["bias"] = location_relative.gmm_v2(ModelConfig(mixtures=3), SIZES).init(jax.random.key(0))["bias"]
    weights_TxS = looks(params, jnp.ones((B, S, M)), jnp.ones((B, T, H))).weights_BxTxS[0]
    expected_TxS = [scipy.stats.norm.pdf(np.arange(1, S + 1), loc=i, scale=10) for i in range(1, T + 1)]
    evidence("attention=gmm_v2", "scipy.stats.norm: densities of the first looks", weights_TxS, expected_TxS, 1e-5)


@pytest.mark.long
def test_the_mixture_is_exact_far_out_in_bfloat16():
    """bfloat16 cannot tell place 301 from 300; the mixture can."""
    score = location_relative.gmm_v2(ModelConfig(mixtures=1), SIZES)
    params = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.bfloat16), jax.eval_shape(score.init, jax.random.key(0)))
    params["bias"] = jnp.asarray([0, location_relative.inverse_softplus(1), -1], jnp.bfloat16)
    keys = score.project(params, jnp.zeros((1, 400, M), jnp.bfloat16), jnp.ones((1, 400), bool))
    query_BxH = jnp.zeros((1, H), jnp.bfloat16)
    state = score.observe(params, keys, score.initial(keys, keys > 0) + 299, query_BxH, None)
    e_S = score.score(params, keys, state, query_BxH[:, None])[0, 0]
    assert state.dtype == jnp.float32 and e_S.dtype == jnp.bfloat16
    assert abs(float(state[0, 0]) - 300) < 0.01 and e_S.argmax() == 300  # the look after it reaches position 301, in column 300


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_the_mixture_stays_finite_and_does_not_go_back(size):
    """Raw outputs of ±1e4."""
    shapes, looks = row("gmm_v2")
    params, memory_BxSxM, query_BxTxH = drawn(shapes, 3, 1.0)
    params["score"]["bias"] = jnp.full(9, size)

    def loss(params, query_BxTxH):
        weights_BxTxS = looks(params, memory_BxSxM, query_BxTxH).weights_BxTxS
        return (weights_BxTxS**2).sum(), weights_BxTxS

    (_, weights_BxTxS), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, size * query_BxTxH)
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), (weights_BxTxS, gradients)))
    np.testing.assert_allclose(weights_BxTxS.sum(2), np.broadcast_to(MASK_BxS.any(1)[:, None], (B, T)), atol=1e-5)
    means_BxT = weights_BxTxS @ jnp.arange(S)
    assert (np.diff(means_BxT, axis=1) >= -1e-3).all()


def test_the_prior_is_beta_binomial(evidence):
    """It moves on by 1 position on average."""
    ours = location_relative.beta_binomial(10, 0.1, 0.9)
    evidence(
        "attention=dynamic_convolution", "scipy.stats.betabinom", ours, scipy.stats.betabinom.pmf(np.arange(11), 10, 0.1, 0.9), 1e-9, 1e-12
    )
    np.testing.assert_allclose(ours @ np.arange(11), 1)


def test_the_prior_alone_moves_on_and_never_back():
    """Where v is 0 the first look is P itself, and the later ones its powers under convolution, but for the floor of 10⁻⁶."""
    shapes, looks = row("dynamic_convolution")
    params, *given = drawn(shapes, 0, 1.0)
    params["score"]["v"] *= 0
    weights_TxS = np.float64(looks(params, *given).weights_BxTxS[0])
    P = scipy.stats.betabinom.pmf(np.arange(11), 10, 0.1, 0.9)
    np.testing.assert_allclose(weights_TxS[0], np.pad(P, (0, S - 11)), atol=1e-5)
    np.testing.assert_allclose(weights_TxS[1, :8], np.convolve(P, P)[:8] / np.convolve(P, P)[:S].sum(), atol=1e-4)
    assert (np.diff(weights_TxS @ np.arange(S)) > 0).all()


def test_content_is_not_read():
    """Another memory, the same weights."""
    for name in ("gmm_v2", "dynamic_convolution"):
        shapes, looks = row(name)
        params, memory_BxSxM, query_BxTxH = drawn(shapes, 1, 0.7)
        ours, other = (looks(params, memory, query_BxTxH).weights_BxTxS for memory in (memory_BxSxM, -3 * memory_BxSxM))
        np.testing.assert_array_equal(ours, other)
