"""Forward attention against every alignment that stays or moves on, one after the other, and against the published recursion."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from attention_jax.attention import forward
from attention_jax.config import ModelConfig

S, T = 4, 5
ROWS = {"forward": forward.forward_row, "forward_agent": forward.forward_agent_row}
EACH = pytest.mark.parametrize("name", ROWS)
SCORES = arrays.arrays(np.float32, (2, T, S), elements=st.floats(-5, 5, width=32))


@cache
def looks(name: str):
    """Jitted: (e_TxBxS, a_TxBxS, mask_BxS) → weights_TxBxS of T looks in a row."""
    row = ROWS[name](ModelConfig())

    def all_of_them(e_TxBxS, a_TxBxS, mask_BxS):
        def look(state, scores):
            weights, state = row.normalise({}, state, tuple(x[:, None] for x in scores)[: row.scores], mask_BxS[:, None], None)
            return state, weights[:, 0]

        return jax.lax.scan(look, row.initial(mask_BxS), (e_TxBxS, a_TxBxS))[1]

    return jax.jit(all_of_them)


def recursion(name: str, e_TxN, a_TxN):
    """Zhang 2018, algorithm 1, and 2 with the mean of second scores as the agent: weights_TxN in float64."""
    N, rows, u = e_TxN.shape[1], [], 0.5
    α = np.eye(N)[0]
    for e, a in zip(np.float64(e_TxN), np.float64(a_TxN), strict=True):
        y = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
        stay, go = (1, 1) if name == "forward" else (1 - u, u)
        new = np.array([(stay * α[j] + (go * α[j - 1] if j else 0)) * y[j] for j in range(N)])
        α = new / new.sum()
        u = 1 / (1 + np.exp(-(α @ a)))
        rows.append(α)
    return np.array(rows)


@EACH
@given(scores=SCORES)
def test_the_published_recursion(name, scores, evidence):
    e_TxS, a_TxS = scores
    weights_TxS = looks(name)(e_TxS[:, None], a_TxS[:, None], np.ones((1, S), bool))[:, 0]
    number = 1 if name == "forward" else 2
    evidence(
        f"normaliser={name}", f"float64 loop of Zhang 2018, algorithm {number}", weights_TxS, recursion(name, e_TxS, a_TxS), 2e-5, 1e-6
    )


@given(scores=SCORES)
def test_weights_sum_over_every_alignment(scores, evidence):
    """α_i(j) is the share of all alignments that are at j at step i, each weighing Π y: what a forward algorithm computes."""
    e_TxS = np.float64(scores[0])
    y_TxS = np.exp(e_TxS) / np.exp(e_TxS).sum(1, keepdims=True)
    expected = np.zeros((T, S))
    for i in range(T):
        for steps in product((0, 1), repeat=i + 1):
            path = np.cumsum(steps)
            if path[-1] < S:
                expected[i, path[-1]] += np.prod([y_TxS[t, j] for t, j in enumerate(path)])
    expected /= expected.sum(1, keepdims=True)
    weights_TxS = looks("forward")(scores[0][:, None], scores[1][:, None], np.ones((1, S), bool))[:, 0]
    evidence("normaliser=forward", "all alignments that stay or move on, float64", weights_TxS, expected, 2e-5, 1e-6)


@EACH
def test_gradient(name, evidence):
    """By first and second scores, of one weighted sum of all looks, against differences of the recursion."""
    draw = np.random.default_rng(0)
    scores, cotangent = draw.normal(size=(2, T, S)), draw.normal(size=(T, S))
    mask = np.ones((1, S), bool)
    ours = jax.grad(lambda x: (looks(name)(x[0][:, None], x[1][:, None], mask)[:, 0] * cotangent).sum())(jnp.float32(scores))
    numeric = np.zeros_like(scores)
    for place in np.ndindex(scores.shape):
        step = np.zeros_like(scores)
        step[place] = 1e-5
        numeric[place] = ((recursion(name, *(scores + step)) - recursion(name, *(scores - step))) * cotangent).sum() / 2e-5
    evidence(f"normaliser={name}", "float64 finite differences of the recursion", ours, numeric, 1e-4, 1e-5)


def test_it_moves_on_by_one_at_most():
    """The score of the last place does not take it there at once, and a lower one of the first place does not take it back."""
    e_TxBxS = np.zeros((T, 1, S), np.float32)
    e_TxBxS[:3, 0, 3], e_TxBxS[3:, 0, 0] = 50, 20
    weights_TxS = looks("forward")(e_TxBxS, e_TxBxS, np.ones((1, S), bool))[:, 0]
    for i in range(3):
        assert not weights_TxS[i, i + 2 :].any()
    assert weights_TxS[2, 3] > 0.99 and weights_TxS[4, 3] > 0.99


def test_an_agent_that_never_moves_stays():
    """Second scores of -1e4 from the first look on: the first two places share that look, and keep what they have."""
    e_TxBxS = np.zeros((T, 1, S), np.float32)
    weights_TxS = looks("forward_agent")(e_TxBxS, e_TxBxS - 1e4, np.ones((1, S), bool))[:, 0]
    np.testing.assert_allclose(weights_TxS, np.tile([0.5, 0.5, 0, 0], (T, 1)), atol=1e-6)


@EACH
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_scores(name, extreme):
    """Over many looks: finite weights and gradients, and never out of reach."""
    e = np.zeros((40, 1, 50), np.float32)
    e[:, :, ::2] = extreme
    weights, backward = jax.vjp(lambda e, a: looks(name)(e, a, np.ones((1, 50), bool)), e, -e / 1e4)
    np.testing.assert_allclose(weights.sum(2), 1, atol=1e-5)
    assert all(np.isfinite(x).all() for x in backward(np.ones_like(e)))


@EACH
def test_state_keeps_its_type(name):
    """bf16 scores, float32 state: the scan of `looks` would refuse a carry that changes."""
    e = np.random.default_rng(0).normal(size=(T, 1, S)).astype(jnp.bfloat16)
    assert looks(name)(e, e, np.ones((1, S), bool)).dtype == jnp.bfloat16
