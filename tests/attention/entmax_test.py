"""The sparse normalisers against the optimisation problem they solve, and their Jacobian against finite differences."""

from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from attention_jax import attention
from attention_jax.attention import entmax, normalisers
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

S = 6
ALPHAS = (1.25, 1.5, 1.75, 2.0, 2.5)
EACH = pytest.mark.parametrize("alpha", ALPHAS)
SCORES = arrays.arrays(np.float32, S, elements=st.floats(-3, 3, width=32))
MASKS = arrays.arrays(bool, S).filter(lambda mask: mask.any())
GAPS = np.array([0.3, -0.2, 1.1, 0.9, -2.5, 0.05], np.float32)  # no α puts a place within 1e-3 of the threshold


def row(alpha: float) -> str:
    return "normaliser=" + {1.5: "entmax15", 2.0: "sparsemax"}.get(alpha, "entmax")


@cache
def weigh(alpha: float):
    return jax.jit(entmax.entmax(alpha))


def by_bisection(e, alpha: float):
    """α-entmax of all of `e` in float64: [(α-1) e - τ]₊^{1/(α-1)} with the τ that makes it sum to 1."""
    z = (alpha - 1) * np.asarray(e, np.float64)
    low, high = z.max() - 1, z.max()
    for _ in range(100):
        τ = (low + high) / 2
        low, high = (τ, high) if (np.maximum(z - τ, 0) ** (1 / (alpha - 1))).sum() > 1 else (low, τ)
    return np.maximum(z - low, 0) ** (1 / (alpha - 1))


@EACH
@given(scores=SCORES, mask=MASKS)
def test_equals_the_definition(evidence, alpha, scores, mask):
    weights = weigh(alpha)(scores, mask)
    assert not weights[~mask].any()
    evidence(row(alpha), f"float64 bisection of the definition, α={alpha}", weights[mask], by_bisection(scores[mask], alpha), atol=5e-6)


@EACH
@given(scores=SCORES, other=arrays.arrays(np.float64, S, elements=st.floats(0, 1)).filter(lambda p: p.sum() > 0.1))
def test_no_other_distribution_is_better(alpha, scores, other):
    """Σ p e + H_α(p), with Tsallis' H_α(p) = Σ (p - p^α) / (α (α-1)), is largest at the weights."""

    def objective(p):
        return p @ scores.astype(np.float64) + (p - p**alpha).sum() / (alpha * (alpha - 1))

    weights = np.asarray(weigh(alpha)(scores, np.ones(S, bool)), np.float64)
    assert objective(weights) >= objective(other / other.sum()) - 1e-6


@given(scores=SCORES)
def test_sparsemax_is_the_projection(evidence, scores):
    """The nearest point of the simplex, found by trying every face: on each the projection onto its plane is known."""
    e = scores.astype(np.float64)
    nearest = None
    for size in range(1, S + 1):
        for face in map(list, combinations(range(S), size)):
            p = np.zeros(S)
            p[face] = e[face] + (1 - e[face].sum()) / size
            if (p >= 0).all() and (nearest is None or ((p - e) ** 2).sum() < ((nearest - e) ** 2).sum()):
                nearest = p
    evidence("normaliser=sparsemax", "projection onto every face of the simplex", weigh(2.0)(scores, np.ones(S, bool)), nearest)


@EACH
def test_jacobian(evidence, alpha):
    mask = np.array([1, 1, 1, 1, 1, 0], bool)
    ours = jax.jacrev(weigh(alpha))(jnp.array(GAPS), mask)
    assert not ours[:, ~mask].any() and not ours[~mask].any()
    p, h = by_bisection(GAPS[mask], alpha), 1e-5
    s = np.array([x ** (2 - alpha) if x > 0 else 0 for x in p])
    evidence(row(alpha), f"diag(s) - s sᵀ / Σ s, α={alpha}", ours[mask][:, mask], np.diag(s) - np.outer(s, s) / s.sum())
    steps = np.eye(mask.sum()) * h
    numeric = np.stack([(by_bisection(GAPS[mask] + d, alpha) - by_bisection(GAPS[mask] - d, alpha)) / (2 * h) for d in steps], axis=1)
    evidence(row(alpha), f"Jacobian by float64 finite differences, α={alpha}", ours[mask][:, mask], numeric, rtol=1e-4)


@EACH
def test_extremes(alpha):
    """A clear winner takes all, exactly; ties share; nothing overflows; rows without a place are zero."""
    e = jnp.array([[1e4, -1e4, 0, 1, 2, 3], [-1e4] * 6, [1e4, 1e4, -1e4, -1e4, -1e4, -1e4], [1e4] * 6])
    mask = jnp.array([[True] * 6, [True] * 6, [True] * 6, [False] * 6])
    weights, backward = jax.vjp(lambda e: weigh(alpha)(e, mask), e)
    np.testing.assert_allclose(weights, [[1, 0, 0, 0, 0, 0], [1 / 6] * 6, [1 / 2, 1 / 2, 0, 0, 0, 0], [0] * 6], atol=1e-6)
    assert not np.asarray(weights)[0, 1:].any() and not np.asarray(weights)[2, 2:].any()
    (gradient,) = backward(jnp.array(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32))
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[3].any()


@pytest.mark.parametrize("alpha", [1.5, 1.75, 2.0])
@pytest.mark.parametrize("spread", [0.001, 1.0])
def test_many_places(evidence, alpha, spread):
    """Sums over 2000 places lose no digits that matter, whether all of them get weight or few."""
    scores = np.random.default_rng(1).normal(size=2000).astype(np.float32) * np.float32(spread)
    weights = weigh(alpha)(scores, np.ones(2000, bool))
    evidence(
        row(alpha),
        f"float64 bisection of the definition, 2000 places, α={alpha}",
        weights,
        by_bisection(scores, alpha),
        rtol=1e-3,
        atol=1e-6,
    )
    assert abs(float(weights.sum()) - 1) < 1e-5


def test_between_softmax_and_sparsemax():
    mask = np.ones(S, bool)
    assert entmax.entmax(1.0) is normalisers.softmax and entmax.entmax(2) is entmax.sparsemax and entmax.entmax(1.5) is entmax.entmax15
    near = {1.0: entmax.entmax(1 + 1e-6), 1.5: entmax.entmax(1.5 + 1e-6), 2.0: entmax.entmax(2 - 1e-6)}
    for alpha, close in near.items():
        np.testing.assert_allclose(jax.jit(close)(GAPS, mask), weigh(alpha)(GAPS, mask), rtol=1e-4, atol=2e-6)


def test_impossible_alpha():
    with pytest.raises(ConfigError, match=r"model.alpha=0.5.*at least 1"):
        attention.build(ModelConfig(normaliser="entmax", alpha=0.5), Sizes(1, 1, 1))


@pytest.mark.parametrize("alpha", [0.999, 3.001, 10.0, float("nan"), float("inf")])
def test_alpha_that_float32_cannot_do(alpha):
    with pytest.raises(ConfigError, match=rf"alpha={alpha} is impossible: it must be in \[1, 3\]"):
        entmax.entmax(alpha)
    with pytest.raises(ConfigError, match=rf"alpha={alpha}"):
        attention.build(ModelConfig(normaliser="entmax", alpha=alpha), Sizes(1, 1, 1))


@pytest.mark.parametrize("alpha", [2.75, 3.0])
@given(scores=SCORES)
def test_large_alpha_is_as_exact_as_its_threshold(evidence, alpha, scores):
    """Next to the threshold p = ε^{1/(α-1)} of a rounding error ε; elsewhere as for any α."""
    expected = by_bisection(scores, alpha)
    weights = weigh(alpha)(scores, np.ones(S, bool))
    threshold = (8 * np.finfo(np.float32).eps) ** (1 / (alpha - 1))
    evidence(row(alpha), f"float64 bisection of the definition, α={alpha}, at the threshold", weights, expected, rtol=0, atol=threshold)
    assert abs(float(weights.sum()) - 1) < 1e-5
    evidence(row(alpha), f"float64 bisection of the definition, α={alpha}", weigh(alpha)(GAPS, np.ones(S, bool)), by_bisection(GAPS, alpha))


def test_second_derivatives():
    """The Jacobian is itself differentiable: Σ p² has the Hessian that float64 differences of its gradient give."""
    mask = np.ones(S, bool)
    hessian = jax.jacrev(jax.grad(lambda e: (weigh(1.5)(e, mask) ** 2).sum()))(jnp.array(GAPS))

    def gradient(e):
        p = by_bisection(e, 1.5)
        s = np.sqrt(p)
        return s * (2 * p - s @ (2 * p) / s.sum())

    numeric = np.stack([(gradient(GAPS + d) - gradient(GAPS - d)) / 2e-5 for d in np.eye(S) * 1e-5])
    np.testing.assert_allclose(hessian, numeric, rtol=1e-3, atol=1e-4)
