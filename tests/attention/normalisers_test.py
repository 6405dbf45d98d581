"""What every row of attention.NORMALISERS promises, for any scores and any mask; and the dense ones against numpy in float64."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from attention_jax.attention import NORMALISERS, normalisers
from attention_jax.config import ModelConfig

B, S, MORE = 3, 5, 2
CARRIED = [name for name, row in NORMALISERS.items() if row(ModelConfig()).initial]  # with keys they do something else
EACH = pytest.mark.parametrize(("name", "training"), [(n, False) for n in NORMALISERS] + [(n, True) for n in CARRIED])
SCORES = st.one_of(
    arrays.arrays(np.float32, (2, B, 1, S), elements=st.floats(-5, 5, width=32)),
    arrays.arrays(np.float32, (2, B, 1, S), elements=st.sampled_from([-1e4, -1.0, 0.0, 1.0, 1e4])),
)
MASKS = arrays.arrays(bool, (B, 1, S))
KEYS = jax.random.split(jax.random.key(3), (B, 1))
COTANGENT = np.random.default_rng(4).normal(size=(B, 1, S + MORE)).astype(np.float32)


@cache
def look(name: str, training: bool):
    """Jitted: (scores, mask, cotangent) → weights of a second look, and their gradient by the scores of both looks."""
    row = NORMALISERS[name](ModelConfig())
    params = row.init(jax.random.key(0))
    keys = KEYS if training else None

    def weights(scores_2xBxTxS, mask_BxTxS):
        state = row.initial(mask_BxTxS[:, 0]) if row.initial else ()
        _, state = row.normalise(params, state, tuple(scores_2xBxTxS)[: row.scores], mask_BxTxS, keys)
        return row.normalise(params, state, tuple(scores_2xBxTxS)[: row.scores], mask_BxTxS, keys)[0]

    def both(scores_2xBxTxS, mask_BxTxS, cotangent_BxTxS):
        weights_BxTxS, backward = jax.vjp(lambda scores: weights(scores, mask_BxTxS), scores_2xBxTxS)
        return weights_BxTxS, backward(cotangent_BxTxS)[0]

    return jax.jit(both)


@EACH
@given(scores=SCORES, mask=MASKS)
def test_promises(name, training, scores, mask):
    """Weights ≥ 0, exactly 0 where masked, of the promised mass, with finite gradients that are 0 where masked."""
    weights, gradient = look(name, training)(scores, mask, COTANGENT[:, :, :S])
    assert (weights >= 0).all() and np.isfinite(weights).all() and np.isfinite(gradient).all()
    assert not weights[~mask].any() and not gradient[:, ~mask].any()
    mass, total, some = NORMALISERS[name](ModelConfig()).mass, weights.sum(2), mask.any(2)
    if mass == "1":
        np.testing.assert_allclose(total, some, atol=1e-6)
    else:
        assert mass == "any" or (total <= 1 + 1e-6).all()


@EACH
@given(scores=SCORES, mask=MASKS)
def test_padding_changes_nothing(name, training, scores, mask):
    """Neither what stands in masked places, NaN included, nor how many of them follow: weights, gradients, draws."""
    expected = look(name, training)(np.where(mask, scores, 0), mask, COTANGENT[:, :, :S])
    garbage = np.where(mask, scores, np.float32(np.nan))
    for value, same in zip(look(name, training)(garbage, mask, COTANGENT[:, :, :S]), expected, strict=True):
        np.testing.assert_array_equal(value, same)
    longer = np.pad(garbage, ((0, 0), (0, 0), (0, 0), (0, MORE)), constant_values=1e4)
    padded = look(name, training)(longer, np.pad(mask, ((0, 0), (0, 0), (0, MORE))), COTANGENT)
    for value, same in zip(padded, expected, strict=True):
        np.testing.assert_allclose(value[..., :S], same, rtol=1e-5, atol=1e-6)
        assert not value[..., S:].any()


@EACH
def test_half_precision(name, training):
    """bf16 scores give bf16 weights and gradients, as close as bf16 can be."""
    scores = np.random.default_rng(5).normal(size=(2, B, 1, S)).astype(jnp.bfloat16)
    mask = np.arange(S)[None, None, :] < np.array([5, 3, 0])[:, None, None]
    weights, gradient = look(name, training)(scores, mask, COTANGENT[:, :, :S].astype(jnp.bfloat16))
    assert weights.dtype == gradient.dtype == jnp.bfloat16
    single, _ = look(name, training)(scores.astype(np.float32), mask, COTANGENT[:, :, :S])
    np.testing.assert_allclose(weights.astype(np.float32), single, rtol=0.03, atol=0.01)


EQUATIONS = {"softmax": lambda e: np.exp(e) / np.exp(e).sum(), "exponential": np.exp}
EQUATIONS |= {name: own for name, row in NORMALISERS.items() if (own := row(ModelConfig()).formula)}
"""Of the dense ones; other rows bring their own."""


@pytest.mark.parametrize("name", EQUATIONS)
def test_equals_its_equation(evidence, name):
    scores = np.random.default_rng(6).normal(size=(B, 1, S)).astype(np.float32) * 4
    mask = np.arange(S)[None, None, :] < np.array([5, 3, 1])[:, None, None]
    row = NORMALISERS[name](ModelConfig())
    weights, _ = jax.jit(lambda scores: row.normalise(row.init(jax.random.key(0)), (), (scores,), mask, None))(scores)
    for b in range(B):
        e = scores[b, 0, mask[b, 0]].astype(np.float64)
        evidence(f"normaliser={name}", "its equation in numpy, float64", weights[b, 0, mask[b, 0]], EQUATIONS[name](e), rtol=2e-6)


def test_smoothing_stays_defined():
    """σ(-1e4) is 0 in floating point, and yet equal scores get equal weights."""
    weights = normalisers.smoothing(jnp.full((1, 4), -1e4), jnp.array([[True, True, False, True]]))
    np.testing.assert_allclose(weights, [[1 / 3, 1 / 3, 0, 1 / 3]], rtol=1e-6)


def test_exponential_is_capped():
    weights = normalisers.exponential(jnp.array([[39.0, 41.0, 1e4]]), jnp.ones((1, 3), bool))
    np.testing.assert_allclose(weights, np.exp([[39.0, 40.0, 40.0]]), rtol=1e-5)
