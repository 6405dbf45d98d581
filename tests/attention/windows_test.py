"""Luong's windows against literal loops over looks and places."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from attention_jax.attention import WINDOWS, normalisers, windows
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

B, S, T, H, A = 3, 6, 8, 4, 5
SIZES = Sizes(memory=H, query=H, score=A)
LENGTHS = arrays.arrays(np.int32, B, elements=st.integers(0, S))
ROWS = pytest.mark.parametrize("name", WINDOWS)
LOCAL = pytest.mark.parametrize("name", ["local_m", "local_p"])
QUERY = np.random.default_rng(0).normal(size=(B, T, H)).astype(np.float32)


@cache
def built(name: str, D: int):
    """(the row, its parameters, place of T looks from the start, jitted)."""
    row = WINDOWS[name](ModelConfig(window=name, window_size=D), SIZES)
    params = row.init(jax.random.key(1))

    def place(params, query_BxTxH, mask_BxS):
        return row.place(params, row.initial(mask_BxS) if row.initial else (), query_BxTxH, mask_BxS)

    return row, params, jax.jit(place)


def masks(lengths, places: int = S):
    return np.arange(places)[None, :] < lengths[:, None]


def loops(name: str, params, query, lengths, D: int):
    """(inside, factor) place by place, in float64; both count from 1."""
    inside, factor = np.zeros((B, T, S), bool), np.ones((B, T, S))
    for b, t, s in np.ndindex(B, T, S):
        n = int(lengths[b])
        if name == "local_m":
            centre = float(min(t + 1, n))
        else:
            W, v, q = (np.asarray(x, np.float64) for x in (params["query"], params["v"], query[b, t]))
            centre = n / (1 + np.exp(-(v[:, 0] @ np.tanh(W.T @ q))))
            factor[b, t, s] = np.exp(-((s + 1 - centre) ** 2) / (2 * (D / 2) ** 2))
        inside[b, t, s] = s < n and abs(s + 1 - centre) <= D
    return inside, factor


@LOCAL
@pytest.mark.parametrize("D", [1, 2])
@given(lengths=LENGTHS, scale=st.sampled_from([0.1, 3.0, 1e4]))
def test_equals_literal_loops(evidence, name, D, lengths, scale):
    _, params, place = built(name, D)
    query, mask = QUERY * np.float32(scale), masks(lengths)
    inside, factor, _ = place(params, query, mask)
    expected_inside, expected_factor = loops(name, params, query, lengths, D)
    weights = normalisers.softmax(jnp.zeros((B, T, S)), inside) * factor
    total = np.maximum(expected_inside.sum(2, keepdims=True), 1)
    evidence(f"window={name}", f"literal loops, D={D}", weights, expected_inside * expected_factor / total)
    np.testing.assert_array_equal(weights > 0, expected_inside)
    assert expected_inside.any(2)[lengths > 0].all()  # no look at a source with a place is blind


@ROWS
@given(lengths=LENGTHS)
def test_block_equals_steps(name, lengths):
    row, params, place = built(name, 1)
    mask = masks(lengths)
    inside, factor, last = place(params, QUERY, mask)
    state = row.initial(mask) if row.initial else ()
    for t in range(T):
        one_inside, one_factor, state = row.place(params, state, QUERY[:, t : t + 1], mask)
        np.testing.assert_array_equal(one_inside[:, 0], inside[:, t])
        np.testing.assert_allclose(
            np.broadcast_to(one_factor, (B, 1, S))[:, 0], np.broadcast_to(factor, (B, T, S))[:, t], rtol=1e-5, atol=1e-6
        )
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, last))


@pytest.mark.long
@ROWS
@given(lengths=LENGTHS)
def test_padding_changes_nothing(name, lengths):
    _, params, place = built(name, 1)
    inside, factor, _ = place(params, QUERY, masks(lengths))
    longer_inside, longer_factor, _ = place(params, QUERY, masks(lengths, S + 3))
    np.testing.assert_array_equal(longer_inside[:, :, :S], inside)
    assert not longer_inside[:, :, S:].any() and not inside[~masks(lengths)[:, None].repeat(T, 1)].any()
    np.testing.assert_allclose(longer_factor[:, :, :S], factor, rtol=1e-6)


def test_local_m_by_hand():
    """D = 0 walks the diagonal and stays at the last of three places."""
    _, params, place = built("local_m", 0)
    inside, factor, seen = place(params, QUERY[:, :5], masks(np.array([3, 1, 0])))
    assert [list(np.flatnonzero(look)) for look in inside[0]] == [[0], [1], [2], [2], [2]]
    assert [list(np.flatnonzero(look)) for look in inside[1]] == [[0]] * 5
    assert not inside[2].any() and (factor == 1).all() and list(seen) == [5, 5, 5]


def test_local_p_by_hand():
    """v = 0 looks at the middle, p = n / 2 = 2 of four places: with D = 2 the factors are exp(-(s - 2)² / 2) over places 1 … 4."""
    _, params, place = built("local_p", 2)
    inside, factor, _ = place(jax.tree.map(jnp.zeros_like, params), QUERY, masks(np.array([4, 4, 4])))
    np.testing.assert_array_equal(inside[0, 0], [True] * 4 + [False] * 2)
    np.testing.assert_allclose(factor[0, 0, :4], np.exp([-0.5, 0, -0.5, -2]), rtol=1e-6)


def test_local_p_learns_where_to_look(evidence):
    """The gradient reaches the parameters through the factor alone: float64 differences of the loops give the same."""
    _, params, place = built("local_p", 2)
    lengths = np.array([6, 4, 0])
    ours = jax.grad(lambda p: (place(p, QUERY, masks(lengths))[1] * QUERY[:, :, :1]).sum())(params)
    for name in ("query", "v"):
        numeric = np.zeros(params[name].shape)
        for at in np.ndindex(numeric.shape):
            step = np.zeros(numeric.shape)
            step[at] = 1e-6
            up, down = (loops("local_p", params | {name: np.float64(params[name]) + d}, QUERY, lengths, 2)[1] for d in (step, -step))
            numeric[at] = ((up - down) * QUERY[:, :, :1]).sum() / 2e-6
        evidence("window=local_p", "gradient by float64 finite differences", ours[name], numeric, rtol=1e-4)


@ROWS
def test_half_precision(name):
    """Factors take the dtype of the query; places beyond 256, which bf16 cannot count, stay apart."""
    row, params, _ = built(name, 1)
    params, query = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, QUERY))
    mask = np.ones((B, 400), bool)
    inside, factor, _ = row.place(params, row.initial(mask) + 300 if row.initial else (), query, mask)
    assert inside.dtype == bool and factor.dtype == jnp.bfloat16
    if name != "all":
        assert inside.sum(2).max() <= 3 and (np.argmax(inside, axis=2) > 100).any()


def test_local_p_needs_a_width():
    with pytest.raises(ConfigError, match=r"window=local_p needs model.window_size of at least 1, not 0"):
        windows.local_p(ModelConfig(window_size=0), SIZES)
