"""Draws and relaxed draws: how often, how exact, how biased. For two places the noise has one dimension, so that expectations over it
are integrals: g_1 - g_2 is logistic, and the relaxed weight of the first place is σ((log α_1 / α_2 + logit u) / τ), u uniform."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.attention import estimators, reinforce
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended
from tests.attention import finite_differences

SIZES = Sizes(memory=2, query=3, score=4)
N = 20_000  # draws
α_S = np.array([0.5, 0.2, 0.0, 0.25, 0.05], np.float32)
ROWS = {"gumbel": estimators.gumbel, "straight_through": estimators.straight_through, "reinforce": reinforce.reinforce}
DRAWS = pytest.mark.parametrize("name", ROWS)


def config(τ: float = 1.0) -> ModelConfig:
    return ModelConfig(gumbel_temperature=τ, baseline="none")


@cache
def draw(name: str, τ: float = 1.0):
    """Jitted: (α_BxTxS, keys_BxT or None) → used_BxTxS."""
    estimator = ROWS[name](config(τ), SIZES)
    return jax.jit(lambda α, keys: estimator.draw({}, jnp.zeros(α.shape[0], bool), α, jnp.zeros((*α.shape[:2], 3)), keys)[0])


@cache
def keys(n: int = N):
    return jax.random.split(jax.random.key(0), (n, 1))


@DRAWS
def test_places_are_drawn_as_often_as_their_weights_say(name):
    used_NxS = np.asarray(draw(name)(np.broadcast_to(α_S, (N, 1, 5)), keys()))[:, 0]
    counted_S, expected_S = np.bincount(used_NxS.argmax(1), minlength=5), N * α_S
    real = α_S > 0
    assert (used_NxS[:, ~real] == 0).all()
    assert ((counted_S - expected_S)[real] ** 2 / expected_S[real]).sum() < 21.1  # χ² with 3 degrees of freedom exceeds it once in 10⁴
    np.testing.assert_allclose(used_NxS.sum(1), np.ones(N), atol=1e-6)
    if name != "gumbel":
        assert set(np.unique(used_NxS)) == {0.0, 1.0}


@DRAWS
def test_padding_changes_no_draw_and_a_row_without_places_stays_empty(name):
    α_Bx1xS = np.broadcast_to(α_S, (50, 1, 5)).copy()
    α_Bx1xS[0] = 0
    used_BxS = np.asarray(draw(name)(α_Bx1xS, keys()[:50]))[:, 0]
    wide_BxS = np.asarray(draw(name)(np.pad(α_Bx1xS, ((0, 0), (0, 0), (0, 4))), keys()[:50]))[:, 0]
    np.testing.assert_array_equal(wide_BxS, np.pad(used_BxS, ((0, 0), (0, 4))))
    assert not used_BxS[0].any() and used_BxS[1:].any(1).all()


@DRAWS
def test_without_keys_it_is_the_first_arg_max(name):
    α_1x3xS = np.array([[α_S, [0.1, 0.3, 0.2, 0.3, 0.1], [0, 0, 0, 0, 0]]], np.float32)
    np.testing.assert_array_equal(draw(name)(α_1x3xS, None)[0], np.eye(5)[[0, 1, 2]] * [[1], [1], [0]])


def noise(n: int):
    return np.asarray(jax.jit(jax.vmap(lambda key: jax.random.gumbel(key, (5,))))(keys()[:n, 0]), np.float64)


@pytest.mark.parametrize("τ", [0.5, 2.0])
def test_the_relaxed_draw_and_its_gradient(τ, evidence):
    α_Bx1xS, g_BxS = np.broadcast_to(α_S, (8, 1, 5)), noise(8)
    pull_S = np.array([1.0, -2.0, 0.5, 3.0, 0.1])

    def relaxed(values):
        with np.errstate(divide="ignore"):
            return finite_differences.softmax((np.log(values["α"]) + g_BxS) / τ, α_S > 0)

    α_BxS = np.array(α_Bx1xS[:, 0], np.float64)
    inner_BxS = np.where(α_S > 0, α_BxS, 1)  # differences need room to both sides; places without weight are left out
    theirs_BxS = finite_differences.gradient(lambda values: (relaxed(values) @ pull_S).sum(), {"α": inner_BxS})["α"]
    ours, gradients = {}, {}
    for name in ("gumbel", "straight_through"):
        ours[name], backward = jax.vjp(lambda α, name=name: draw(name, τ)(α, keys()[:8]), jnp.asarray(α_Bx1xS))
        gradients[name] = np.asarray(backward(jnp.broadcast_to(jnp.asarray(pull_S, jnp.float32), (8, 1, 5)))[0])[:, 0]
        assert not gradients[name][:, 2].any()  # a place without weight has a gradient of exactly 0
        evidence(f"estimator={name}", f"gradient of the relaxed draw, τ={τ}, float64 differences", gradients[name], theirs_BxS * (α_S > 0))
    evidence("estimator=gumbel", f"softmax((log α + g) / τ), τ={τ}, NumPy float64", ours["gumbel"][:, 0], relaxed({"α": α_BxS}))
    np.testing.assert_array_equal(ours["straight_through"][:, 0], np.eye(5)[np.argmax(relaxed({"α": α_BxS}), 1)])


@DRAWS
def test_any_weights_have_finite_gradients(name):
    α_1x5xS = np.zeros((1, 5, 5), np.float32)
    α_1x5xS[0, :4, :3] = [[1, 1e-30, 1e-38], [1, 0, 0], [0.5, 0.5, 1e-44], [1e-29, 1, 1e-20]]
    estimator = ROWS[name](config(0.1), SIZES)

    def total(α):
        used, terms = estimator.draw({}, jnp.zeros(1, bool), α, jnp.zeros((1, 5, 3)), keys()[:5].T)
        return (used * jnp.arange(5)[None, None, :]).sum() + terms.log_draw.sum() + terms.entropy.sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(α_1x5xS)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert not np.asarray(gradient)[α_1x5xS < 1e-35].any()


# Two places: log p(y | c) is read from a context between h_1 and h_2, α_1 = σ(d).
D = 0.7
MEMORY_2x2 = np.array([[1.5, -0.5], [-1.0, 0.8]])
EMISSION_2x3 = np.array([[1.0, -2.0, 0.5], [-1.5, 0.4, 2.0]])


def log_p(share, np=np):
    """log p(y = 0 | share · h_1 + (1 - share) · h_2)."""
    logits = np.tanh(np.stack([share, 1 - share], -1) @ MEMORY_2x2) @ EMISSION_2x3
    return logits[..., 0] - np.log(np.exp(logits).sum(-1))


def slope(share):
    return (log_p(share + 1e-6) - log_p(share - 1e-6)) / 2e-6


def expected_gradient(name: str, τ: float) -> float:
    """E_g ∂ log p / ∂ d of the relaxed draw, or of the straight-through one, by the midpoint rule over u."""
    u = (np.arange(40_000) + 0.5) / 40_000
    noisy = D + np.log(u / (1 - u))
    share = 1 / (1 + np.exp(-np.clip(noisy / τ, -500, 500)))
    at = share if name == "gumbel" else (noisy > 0).astype(np.float64)
    return float((slope(at) * share * (1 - share) / τ).mean())


def enumerated_gradient() -> float:
    """∂ / ∂ d of α_1 log p(y | h_1) + α_2 log p(y | h_2)."""
    share = 1 / (1 + np.exp(-D))
    return float(share * (1 - share) * (log_p(np.array(1.0)) - log_p(np.array(0.0))))


@pytest.mark.parametrize("name", ["gumbel", "straight_through"])
def test_gradients_have_the_expectation_of_their_definition(name, evidence):
    """Within four standard errors; what that expectation is worth, the next test says."""
    for τ in (1.0, 0.5):

        @jax.jit
        @jax.grad
        def gradient(d_N, τ=τ):
            α_Nx1x2 = jnp.stack([jax.nn.sigmoid(d_N), jax.nn.sigmoid(-d_N)], 1)[:, None]
            return log_p(draw(name, τ)(α_Nx1x2, keys())[:, 0, 0], jnp).sum()

        found_N = np.asarray(gradient(jnp.full(N, D)), np.float64)
        error = found_N.std() / np.sqrt(N)
        assert error < 0.1 * abs(enumerated_gradient())
        reference = f"expected gradient at τ={τ} by quadrature, mean of {N} draws within 4 standard errors"
        evidence(f"estimator={name}", reference, found_N.mean(), expected_gradient(name, τ), rtol=0, atol=4 * error)


def test_the_bias_as_stated(evidence):
    """gumbel's falls with τ towards 0; straight_through's does not, since it sees two slopes of log p and not its change."""
    true, bias = enumerated_gradient(), {}
    for name in ("gumbel", "straight_through"):
        for τ in (1.0, 0.1, 0.01):
            share = expected_gradient(name, τ) / true
            bias[name, τ] = abs(share - 1)
            evidence(f"estimator={name}", f"known bias: share of the enumerated ∇E[log p] at τ={τ}, two places", share, 1, rtol=0, atol=0.9)
    assert bias["gumbel", 1.0] > 0.3 and bias["gumbel", 0.1] < 0.05 and bias["gumbel", 0.01] < 0.005
    assert min(bias["straight_through", τ] for τ in (1.0, 0.1, 0.01)) > 0.3


def test_soft_passes_the_weights_on():
    estimator = estimators.soft(config(), SIZES)
    used_BxTxS, terms = estimator.draw({}, (), α_S[None, None], None, None)
    np.testing.assert_array_equal(used_BxTxS[0, 0], α_S)
    looks = Attended(jnp.ones((1, 1, 2)), jnp.asarray(α_S)[None, None], terms)
    logits, extra = estimator.predict({}, lambda c: c * 2, None, looks, None, None)
    assert (logits == 2).all() and not extra.any()
