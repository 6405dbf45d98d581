"""Scores that carry state: each published recurrence against a literal float64 loop over several looks, and what each row promises."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import attention
from attention_jax.attention import mechanism, stateful_scores
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from tests.attention import inputs

B, T, S, M, H, A = 3, 4, 5, 6, 4, 7
SIZES = Sizes(M, H, A)
LENGTHS = (5, 3, 0)
MASK_BxS = np.arange(S)[None, :] < np.array(LENGTHS)[:, None]
FILTERS, WIDTH, MIXTURES, FERTILITY = 2, 3, 3, 2.0


def softmax(e):
    exp = np.exp(e - e.max())
    return exp / exp.sum()


def hidden(p, q, h):
    return q @ p["query"] + h @ p["memory"]


def location_aware(p, query_TxH, memory_NxM, width=WIDTH):
    """Chorowski 2015, eq. 8 and 9; the look before the first saw the first place."""
    N, half, weights = len(memory_NxM), width // 2, []
    last = np.eye(N)[0]
    for q in query_TxH:
        e = np.zeros(N)
        for j in range(N):
            f = np.zeros(FILTERS)
            for r in range(-half, half + 1):
                if 0 <= j + r < N:
                    f += p["filters"][half + r] * last[j + r]
            e[j] = p["v"][:, 0] @ np.tanh(hidden(p, q, memory_NxM[j]) + f @ p["features"] + p["bias"])
        last = softmax(e)
        weights.append(last)
    return np.array(weights)


def coverage(p, query_TxH, memory_NxM, fertility=0.0):
    """Tu 2016, §3: linguistic coverage."""
    N, weights = len(memory_NxM), []
    covered = np.zeros(N)
    for q in query_TxH:
        e = [p["v"][:, 0] @ np.tanh(hidden(p, q, memory_NxM[j]) + p["coverage"][0] * covered[j]) for j in range(N)]
        weights.append(softmax(np.array(e)))
        for j in range(N):
            budget = fertility / (1 + np.exp(-(memory_NxM[j] @ p["fertility"][:, 0]))) if fertility else 1
            covered[j] += weights[-1][j] / budget
    return np.array(weights)


def window(p, query_TxH, N):
    """Graves 2013, eq. 46 to 51: φ(t, u), u = 1 … N."""
    κ, φ_TxN = np.zeros(MIXTURES), []
    for q in query_TxH:
        α, β, step = np.exp(q @ p["query"] + p["bias"]).reshape(3, MIXTURES)
        κ = κ + step
        φ_TxN.append([sum(α[k] * np.exp(-β[k] * (κ[k] - u) ** 2) for k in range(MIXTURES)) for u in range(1, N + 1)])
    return np.array(φ_TxN)


CASES = {
    "location_aware": ({}, "Chorowski 2015, eq. 8 and 9", location_aware),
    "location_aware, wide": ({"filter_width": 13}, "Chorowski 2015, eq. 8 and 9", lambda p, q, h: location_aware(p, q, h, 13)),
    "coverage": ({}, "Tu 2016, §3", coverage),
    "coverage, fertility": ({"fertility": FERTILITY}, "Tu 2016, §3, with fertility", lambda p, q, h: coverage(p, q, h, FERTILITY)),
}
"""Settings, source and loop of each row; Graves' window is tested by its φ, below."""


@cache
def row(name: str, **changed):
    """(the mechanism, its parameters' shapes, jitted: (params, memory, queries) → all looks)."""
    settings = {"filters": FILTERS, "filter_width": WIDTH, "mixtures": MIXTURES} | changed
    built = attention.build(ModelConfig(attention=name, **settings), SIZES)

    def looks(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.asarray(MASK_BxS))
        return mechanism.look_at_all(built, params, prepared, built.initial(prepared), query_BxTxH)

    return built, jax.eval_shape(built.init, jax.random.key(0)), jax.jit(looks)


drawn = partial(inputs.drawn, (B, S, M), (B, T, H))


VALUES = given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from((0.3, 0.7, 1.0)))


@pytest.mark.parametrize("case", CASES)
@VALUES
def test_formula(case, seed, scale, evidence):
    settings, source, loop = CASES[case]
    name = case.split(",")[0]
    _, shapes, looks = row(name, **settings)
    given = drawn(shapes, seed, scale)
    p, memory, query = inputs.in_float64((given[0]["score"], *given[1:]))
    weights_BxTxS = np.zeros((B, T, S))
    for b, N in enumerate(LENGTHS):
        if N:
            weights_BxTxS[b, :, :N] = loop(p, query[b], memory[b, :N])
    found = looks(*given)
    evidence(f"attention={name}", f"float64 loop of {source}: weights of {T} looks", found.weights_BxTxS, weights_BxTxS, 1e-4, 2e-5)
    np.testing.assert_allclose(found.context_BxTxC, weights_BxTxS @ memory, rtol=1e-4, atol=1e-4)


@pytest.mark.long
@VALUES
def test_window_is_graves_own(seed, scale, evidence):
    """The score is log φ, so that its exponential is the original window; normalised by softmax, it is φ over its sum."""
    built, shapes, looks = row("gaussian")
    given = drawn(shapes, seed, 0.5 * scale)
    params, _, query_BxTxH = given
    score = stateful_scores.gaussian(ModelConfig(mixtures=MIXTURES), SIZES)
    keys = score.project(params["score"], given[1], jnp.asarray(MASK_BxS))
    state, e_TxBxS = score.initial(keys, jnp.asarray(MASK_BxS)), []
    for t in range(T):
        e_TxBxS.append(score.score(params["score"], keys, state, query_BxTxH[:, t : t + 1])[:, 0])
        state = score.observe(params["score"], keys, state, query_BxTxH[:, t], None)
    p, query = inputs.in_float64((params["score"], query_BxTxH))
    φ_BxTxS = np.stack([window(p, query[b], S) for b in range(B)])
    evidence("attention=gaussian", "float64 loop of Graves 2013, eq. 46 to 51: log φ", jnp.stack(e_TxBxS, 1), np.log(φ_BxTxS), 1e-4, 1e-4)
    weights_BxTxS = np.where(MASK_BxS[:, None, :], φ_BxTxS, 0)
    weights_BxTxS[:2] /= weights_BxTxS[:2].sum(2, keepdims=True)
    evidence("attention=gaussian", "float64 loop of Graves 2013: φ / Σ φ", looks(*given).weights_BxTxS, weights_BxTxS, 1e-4, 2e-5)


def test_window_by_hand():
    """All raw outputs 0: κ = 1, 2, 3, 4 and φ(t, u) = 3 exp(-(t - u)²), so the window reaches place t at look t."""
    built, shapes, looks = row("gaussian")
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    weights_TxS = looks(zeros, jnp.ones((B, S, M)), jnp.ones((B, T, H))).weights_BxTxS[0]
    assert weights_TxS.argmax(1).tolist() == [0, 1, 2, 3]
    first = np.exp([0.0, -1.0, -4.0, -9.0, -16.0])
    np.testing.assert_allclose(weights_TxS[0], first / first.sum(), rtol=1e-5)


def test_window_is_exact_far_out_in_bfloat16():
    """bfloat16 cannot tell place 301 from 300; the window can."""
    score = stateful_scores.gaussian(ModelConfig(mixtures=1), SIZES)
    params = {"query": jnp.zeros((H, 3), jnp.bfloat16), "bias": jnp.zeros(3, jnp.bfloat16)}
    keys = score.project(params, jnp.zeros((1, 400, M), jnp.bfloat16), jnp.ones((1, 400), bool))
    query_BxH = jnp.zeros((1, H), jnp.bfloat16)
    state = score.observe(params, keys, score.initial(keys, keys > 0) + 299, query_BxH, None)
    e_S = score.score(params, keys, state, query_BxH[:, None])[0, 0]
    assert state.dtype == jnp.float32 and e_S.dtype == jnp.bfloat16
    assert e_S.argmax() == 300 and e_S[299:302].tolist() == [-1, 0, -1]  # look 301 reaches place 301, in column 300


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_window_stays_finite(size):
    """Raw outputs of ±1e4: values and gradients of weights are finite, and κ does not go back."""
    built, shapes, looks = row("gaussian")
    params, memory_BxSxM, query_BxTxH = drawn(shapes, 3, 1.0)
    params["score"]["bias"] = jnp.full(3 * MIXTURES, size)

    def loss(params, query_BxTxH):
        weights_BxTxS = looks(params, memory_BxSxM, query_BxTxH).weights_BxTxS
        return (weights_BxTxS**2).sum(), weights_BxTxS

    (_, weights_BxTxS), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, size * query_BxTxH)
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), (weights_BxTxS, gradients)))
    np.testing.assert_allclose(weights_BxTxS.sum(2), np.broadcast_to(MASK_BxS.any(1)[:, None], (B, T)), atol=1e-5)


def test_coverage_stays_finite_where_nothing_is_fertile():
    _, shapes, looks = row("coverage", fertility=FERTILITY)
    params, memory_BxSxM, query_BxTxH = drawn(shapes, 3, 1.0)
    params["score"]["fertility"] = -1e4 * jnp.ones((M, 1))
    value, gradients = jax.value_and_grad(lambda p: looks(p, jnp.abs(memory_BxSxM), query_BxTxH).context_BxTxC.sum())(params)
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), (value, gradients)))


def test_coverage_by_hand():
    """Φ_j = N σ(0) = 1 for N = 2: after looks with weights (¾, ¼) and (¼, ¾), both places are used up exactly."""
    score = stateful_scores.coverage(ModelConfig(fertility=2.0), Sizes(1, 1, 1))
    params = {"query": jnp.ones((1, 1)), "memory": jnp.ones((1, 1)), "v": jnp.ones((1, 1)), "coverage": -jnp.ones((1, 1))}
    keys = score.project(params | {"fertility": jnp.zeros((1, 1))}, jnp.ones((1, 2, 1)), jnp.ones((1, 2), bool))
    state = score.initial(keys, jnp.ones((1, 2), bool))
    for weights in ([0.75, 0.25], [0.25, 0.75]):
        state = score.observe(params, keys, state, jnp.ones((1, 1)), jnp.array([weights]))
    np.testing.assert_allclose(state, [[1, 1]])
    np.testing.assert_allclose(score.score(params, keys, state, jnp.ones((1, 1, 1)))[0, 0], np.tanh([1 + 1 - 1] * 2), rtol=1e-6)


@cache
def additive_looks():
    built = attention.build(ModelConfig(attention="additive"), SIZES)

    def looks(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.asarray(MASK_BxS))
        return built.block(params, prepared, built.initial(prepared), query_BxTxH)

    return jax.jit(looks)


def as_additive(params):
    return params | {"score": {name: params["score"][name] for name in ("query", "memory", "v")}}


@VALUES
def test_boundless_fertility_is_additive(seed, scale, evidence):
    """What can never be used up leaves no trace."""
    _, shapes, looks = row("coverage", fertility=1e9)
    params, *given = drawn(shapes, seed, scale)
    ours, theirs = looks(params, *given).weights_BxTxS, additive_looks()(as_additive(params), *given).weights_BxTxS
    evidence("attention=coverage", "attention=additive, at a fertility of 1e9", ours, theirs)


@pytest.mark.parametrize(("name", "blind"), [("coverage", "coverage"), ("location_aware", "features")])
@VALUES
def test_without_sight_of_the_past_they_are_additive(name, blind, seed, scale, evidence):
    _, shapes, looks = row(name)
    params, *given = drawn(shapes, seed, scale)
    params["score"] |= {p: jnp.zeros_like(params["score"][p]) for p in (blind, "bias") if p in params["score"]}
    ours, theirs = looks(params, *given).weights_BxTxS, additive_looks()(as_additive(params), *given).weights_BxTxS
    evidence(f"attention={name}", f"attention=additive, where {blind} = 0", ours, theirs)


def test_location_aware_moves_on():
    """One filter that looks one place back, and nothing else: from the first place, each look is one further."""
    score = stateful_scores.location_aware(ModelConfig(filters=1, filter_width=3), Sizes(1, 1, 1))
    params = {name: jnp.zeros((1, 1)) for name in ("query", "memory")} | {"v": jnp.array([[50.0]]), "bias": jnp.zeros(1)}
    params |= {"filters": jnp.array([[1.0], [0.0], [0.0]]), "features": jnp.array([[5.0]])}
    mask_BxS, query_BxH = jnp.ones((1, S), bool), jnp.zeros((1, 1))
    keys = score.project(params, jnp.zeros((1, S, 1)), mask_BxS)
    state, seen = score.initial(keys, mask_BxS), []
    assert state[0].tolist() == [1, 0, 0, 0, 0]
    for _ in range(S - 1):
        weights_BxS = jax.nn.softmax(score.score(params, keys, state, query_BxH[:, None])[:, 0])
        seen.append(int(weights_BxS[0].argmax()))
        state = score.observe(params, keys, state, query_BxH, weights_BxS)
    assert seen == [1, 2, 3, 4]
