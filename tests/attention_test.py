"""The contract of every row of the attention table, and each published formula against a literal loop."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import attention
from attention_jax.attention import fixed, normalisers
from attention_jax.attention.sizes import Sizes
from attention_jax.encoders.recurrent import DIRECTIONS
from attention_jax.types import ConfigError

B, S, M, A = 3, 5, 6, 4
LENGTHS = (5, 3, 0)
SIZES = Sizes(memory=M, query=M, score=A, directions=("forward", "reversed"))
FIXED = ("none", "summary")  # rows that look nothing up: their weights are zero
ORDERED = ("summary",)  # rows for which the order of the memory matters
ROWS = pytest.mark.parametrize("name", attention.TABLE)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


MASK_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
MEMORY_BxSxM = random(B, S, M, seed=1)
QUERY_BxM = random(B, M, seed=2)


@cache
def row(name: str):
    mechanism = attention.build(name, SIZES)
    return mechanism, mechanism.init(jax.random.key(0))


def look(name: str, params, memory_BxSxM, mask_BxS, query_BxM):
    """One target step from the initial state: (context_BxC, weights_BxS, extra_B)."""
    mechanism, _ = row(name)
    prepared = mechanism.prepare(params, memory_BxSxM, mask_BxS)
    context_BxC, weights_BxS, _, extra_B = mechanism.attend(params, prepared, mechanism.initial(prepared), query_BxM, None)
    return context_BxC, weights_BxS, extra_B


@cache
def with_gradients(name: str):
    """Jitted: (outputs, their gradients by params, memory, query, for random cotangents)."""

    def both(params, memory_BxSxM, mask_BxS, query_BxM):
        outputs, backward = jax.vjp(lambda p, m, q: look(name, p, m, mask_BxS, q), params, memory_BxSxM, query_BxM)
        return outputs, backward(jax.tree.map(lambda x: random(*x.shape, seed=5), outputs))

    return jax.jit(both)


def assert_equal(a, b):
    assert jax.tree.all(jax.tree.map(jnp.array_equal, a, b))


def assert_close(a, b, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


def assert_finite(tree):
    assert jax.tree.all(jax.tree.map(lambda x: bool(jnp.isfinite(x).all()), tree))


@ROWS
def test_shapes_and_weights(name):
    mechanism, params = row(name)
    (context_BxC, weights_BxS, extra_B), _ = with_gradients(name)(params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM)
    assert context_BxC.shape == (B, mechanism.context_size) and weights_BxS.shape == (B, S) and extra_B.shape == (B,)
    assert (weights_BxS >= 0).all()
    sums = [0, 0, 0] if name in FIXED else [1, 1, 0]  # the last row is empty
    np.testing.assert_allclose(weights_BxS.sum(1), sums, atol=1e-6)
    assert not jnp.where(MASK_BxS, 0, weights_BxS).any()


@ROWS
def test_jitted_is_eager(name):
    _, params = row(name)
    outputs, _ = with_gradients(name)(params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM)
    assert_close(outputs, look(name, params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM))


@ROWS
def test_padding_changes_nothing_bit_for_bit(name):
    _, params = row(name)
    garbage_BxSxM = jnp.where(MASK_BxS[:, :, None], MEMORY_BxSxM, 1e4)
    clean = with_gradients(name)(params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM)
    assert_equal(clean, with_gradients(name)(params, garbage_BxSxM, MASK_BxS, QUERY_BxM))
    _, (_, d_memory_BxSxM, _) = clean
    assert not jnp.where(MASK_BxS[:, :, None], 0, d_memory_BxSxM).any()


@ROWS
def test_further_columns_of_padding_change_nothing(name):
    _, params = row(name)
    wider_BxSxM = jnp.concatenate([MEMORY_BxSxM, random(B, 2, M, seed=9)], axis=1)
    context_BxC, weights_BxS, extra_B = look(name, params, wider_BxSxM, jnp.pad(MASK_BxS, ((0, 0), (0, 2))), QUERY_BxM)
    assert_close((context_BxC, weights_BxS[:, :S], extra_B), look(name, params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM))
    assert not weights_BxS[:, S:].any()


@ROWS
def test_rows_without_a_real_position_are_zero_with_finite_gradients(name):
    _, params = row(name)
    (context_BxC, weights_BxS, _), gradients = with_gradients(name)(params, MEMORY_BxSxM, jnp.zeros((B, S), bool), QUERY_BxM)
    assert not context_BxC.any() and not weights_BxS.any()
    assert not any(gradient.any() for gradient in jax.tree.leaves(gradients))


@ROWS
@pytest.mark.parametrize("sign", [-1, 1])
def test_scores_of_ten_thousand_are_finite(name, sign):
    _, params = row(name)
    large = jax.tree.map(lambda p: sign * 1e4 * p, params)
    outputs, gradients = with_gradients(name)(large, 100 * MEMORY_BxSxM, MASK_BxS, 100 * sign * QUERY_BxM)
    assert_finite((outputs, gradients))
    np.testing.assert_allclose(outputs[1].sum(1), [0, 0, 0] if name in FIXED else [1, 1, 0], atol=1e-6)


@ROWS
def test_the_order_of_places_does_not_matter(name):
    _, params = row(name)
    order = jnp.array([3, 0, 4, 2, 1])
    mask_BxS = jnp.array([[True] * 5, [True, False, True, True, False], [False] * 5])
    context_BxC, weights_BxS, extra_B = look(name, params, MEMORY_BxSxM, mask_BxS, QUERY_BxM)
    shuffled = look(name, params, MEMORY_BxSxM[:, order], mask_BxS[:, order], QUERY_BxM)
    if name in ORDERED:
        assert not np.allclose(shuffled[0], context_BxC)
    else:
        assert_close(shuffled, (context_BxC, weights_BxS[:, order], extra_B))


@ROWS
def test_seeds_side_by_side_are_seeds_one_by_one(name):
    mechanism, params = row(name)
    other = mechanism.init(jax.random.key(1))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), (params, QUERY_BxM), (other, -QUERY_BxM))
    together = jax.vmap(lambda p, q: look(name, p, MEMORY_BxSxM, MASK_BxS, q))(*both)
    alone = [look(name, p, MEMORY_BxSxM, MASK_BxS, q) for p, q in ((params, QUERY_BxM), (other, -QUERY_BxM))]
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone))


def additive_score(p, q, h):
    return sum(p["v"][a, 0] * np.tanh(q @ p["query"][:, a] + h @ p["memory"][:, a]) for a in range(A))


FORMULAS = {"additive": additive_score, "dot": lambda p, q, h: q @ h, "general": lambda p, q, h: q @ (p["memory"].T @ h)}


@pytest.mark.parametrize("name", [name for name in attention.TABLE if name not in FIXED])
def test_a_score_is_the_published_formula(name):
    _, params = row(name)
    context_BxM, weights_BxS, _ = look(name, params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM)
    p, memory_BxSxM, query_BxM = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, MEMORY_BxSxM, QUERY_BxM))
    for b, length in enumerate(LENGTHS):
        e = [FORMULAS[name](p, query_BxM[b], memory_BxSxM[b, s]) for s in range(length)]
        α = [np.exp(e_j) / sum(np.exp(e_k) for e_k in e) for e_j in e]
        c = sum((α_j * h_j for α_j, h_j in zip(α, memory_BxSxM[b, :length], strict=True)), np.zeros(M))
        np.testing.assert_allclose(weights_BxS[b], α + [0] * (S - length), atol=1e-6)
        np.testing.assert_allclose(context_BxM[b], c, atol=1e-5)


def test_no_context_has_no_width():
    mechanism, params = row("none")
    context_BxC, _, _ = look("none", params, MEMORY_BxSxM, MASK_BxS, QUERY_BxM)
    assert mechanism.context_size == 0 and context_BxC.shape == (B, 0) and params == {}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_summary_is_each_direction_s_last_state(direction):
    directions = DIRECTIONS[direction]
    width = M // len(directions)
    summary_BxM = fixed.summarise(SIZES._replace(directions=directions), MEMORY_BxSxM, MASK_BxS)
    for b, length in enumerate(LENGTHS):
        for d, name in enumerate(directions):
            columns = slice(d * width, (d + 1) * width)
            last = MEMORY_BxSxM[b, length - 1 if name == "forward" else 0, columns] if length else np.zeros(width)
            np.testing.assert_array_equal(summary_BxM[b, columns], last)


def test_the_summary_is_the_same_whatever_is_asked():
    _, params = row("summary")
    first, second = (look("summary", params, MEMORY_BxSxM, MASK_BxS, q)[0] for q in (QUERY_BxM, -QUERY_BxM))
    assert_equal(first, second)


def test_dot_says_which_sizes_do_not_fit():
    with pytest.raises(ConfigError, match=r"M=6 and H=5: set model\.decoder_size=6, or use attention=general"):
        attention.build("dot", SIZES._replace(query=5))


def test_unknown_names_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"did you mean 'additive'") as error:
        attention.build("aditive", SIZES)
    assert all(name in str(error.value) for name in attention.TABLE)


softmax = jax.jit(normalisers.softmax)


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=S, max_size=S), min_size=B, max_size=B),
    st.lists(st.lists(st.booleans(), min_size=S, max_size=S), min_size=B, max_size=B),
)
def test_softmax_over_any_mask(scores, mask):
    weights_BxS = softmax(jnp.array(scores, jnp.float32), jnp.array(mask))
    for weights_S, scores_S, mask_S in zip(weights_BxS, np.array(scores), np.array(mask), strict=True):
        exp_S = np.where(mask_S, np.exp(scores_S - max(scores_S[mask_S], default=0.0), where=mask_S, out=np.zeros(S)), 0)
        np.testing.assert_allclose(weights_S, exp_S / max(exp_S.sum(), 1e-30), rtol=2e-3, atol=1e-6)
        assert not weights_S[~mask_S].any()


def test_softmax_gradients_are_jax_s():
    scores_BxS, cotangent_BxS = random(B, S, seed=3), random(B, S, seed=4)
    full_BxS = jnp.ones((B, S), bool)
    ours, theirs = (jax.vjp(f, scores_BxS)[1](cotangent_BxS)[0] for f in (lambda x: softmax(x, full_BxS), jax.nn.softmax))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
