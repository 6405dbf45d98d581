"""Marginal likelihood and evidence lower bound against brute force in float64: sums over places and over whole alignments."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.attention import marginal
from attention_jax.attention.estimators import nothing_drawn
from attention_jax.attention.mechanism import weigh
from attention_jax.attention.normalisers import softmax
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended, Targets
from tests.attention import finite_differences

B, T, S, M, V, H, A = 2, 3, 4, 2, 5, 3, 20
MASK_BxS = np.array([[True] * S, [True, True, True, False]])
TARGET_BxT = np.array([[1, 4, 0], [2, 3, 3]])
SIZES = Sizes(memory=M, query=H, score=A, embedding=V)
ROWS = {"marginal": marginal.marginal, "variational": marginal.variational}
EVERY = pytest.mark.parametrize("name", ROWS)


def values(seed: int = 0, scale: float = 1.0) -> dict:
    """Scores, memory, emission, queries, and the variational posterior's query, memory and v."""
    rng = np.random.default_rng(seed)
    shapes = {
        "scores": (B, T, S),
        "states": (B, S, M),
        "emission": (M, V),
        "asked": (B, T, H),
        "query": (H + V, A),
        "memory": (M, A),
        "v": (A, 1),
    }
    return {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()}


def predicted(name, values, α_BxTxS, mask_BxT=True, target_BxT=TARGET_BxT, goal=True):
    """(logits_BxTxV, extra_BxT) of the row, with y_t embedded as a one-hot vector."""
    estimator = ROWS[name](ModelConfig(), SIZES)
    own = {part: values[part] for part in ("query", "memory", "v")}
    keys_BxT = jax.random.split(jax.random.key(0), (B, T))
    used_BxTxS, terms = estimator.draw(own, (), α_BxTxS, values["asked"], keys_BxT)
    looks = Attended(weigh(used_BxTxS, values["states"]), α_BxTxS, terms)
    embedded_BxTxE = jax.nn.one_hot(target_BxT, V, dtype=α_BxTxS.dtype)
    aim = Targets(jnp.asarray(target_BxT), jnp.broadcast_to(mask_BxT, (B, T)), embedded_BxTxE, jnp.float32(0)) if goal else None

    def emit(context_BxTxM):
        return jnp.tanh(context_BxTxM) @ values["emission"]

    return estimator.predict(own, emit, ({}, values["states"], jnp.asarray(MASK_BxS)), looks, values["asked"], aim)


def nll_and_extra(name, values):
    """What training minimises, in its two parts, and the logits."""
    α_BxTxS = softmax(values["scores"], jnp.asarray(MASK_BxS)[:, None])
    logits_BxTxV, extra_BxT = predicted(name, values, α_BxTxS)
    nll_BxT = -jnp.take_along_axis(jax.nn.log_softmax(logits_BxTxV), TARGET_BxT[:, :, None], 2)[:, :, 0]
    return nll_BxT, extra_BxT, logits_BxTxV


@cache
def compiled(name):
    def objective(values):
        nll_BxT, extra_BxT, logits_BxTxV = nll_and_extra(name, values)
        return nll_BxT.sum() + extra_BxT.sum(), (nll_BxT, extra_BxT, logits_BxTxV)

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


def parts(values):
    """(α_BxTxS, log p(v | h_s)_BxSxV) in float64."""
    α_BxTxS = finite_differences.softmax(values["scores"], MASK_BxS[:, None])
    return α_BxTxS, finite_differences.log_softmax(np.tanh(values["states"]) @ values["emission"])


def chosen(log_p_BxSxV):
    """log p(y_t | h_s)_BxTxS."""
    return np.stack([log_p_BxSxV[b][:, TARGET_BxT[b]].T for b in range(B)])


def marginal_loss(values) -> float:
    """-log p(y | x), by summing over every alignment of the whole target (S^T of them), not place by place."""
    α_BxTxS, log_p_BxSxV = parts(values)
    joint_BxTxS = α_BxTxS * np.exp(chosen(log_p_BxSxV))
    paths = np.array(list(itertools.product(range(S), repeat=T)))
    return -sum(np.log(np.prod([joint_BxTxS[b, t, paths[:, t]] for t in range(T)], 0).sum()) for b in range(B))


def posterior(values):
    """q_BxTxS of the additive score, in float64."""
    asked_BxTxI = np.concatenate([values["asked"], np.eye(V)[TARGET_BxT]], 2)
    hidden = np.tanh((asked_BxTxI @ values["query"])[:, :, None] + (values["states"] @ values["memory"])[:, None])
    return finite_differences.softmax((hidden @ values["v"])[..., 0], MASK_BxS[:, None])


def negative_elbo(values) -> float:
    """-Σ [E_q log p(y | z) - KL(q ‖ α)] with the two terms apart."""
    α_BxTxS, log_p_BxSxV = parts(values)
    q_BxTxS = posterior(values)
    real = q_BxTxS > 0
    divergence = (q_BxTxS[real] * np.log(q_BxTxS[real] / α_BxTxS[real])).sum()
    return divergence - (q_BxTxS * chosen(log_p_BxSxV)).sum()


ORACLES = {"marginal": marginal_loss, "variational": negative_elbo}


@EVERY
def test_objective_and_gradient_are_the_enumerated_ones(name, evidence):
    (total, _), gradients = compiled(name)(values())
    reference = {"marginal": "-log Σ over all alignments of p(y, z)", "variational": "-ELBO by enumeration"}[name]
    evidence(f"estimator={name}", reference, total, ORACLES[name](values()))
    for part, theirs in finite_differences.gradient(ORACLES[name], values()).items():
        evidence(f"estimator={name}", f"gradient of {reference}, float64 differences", gradients[part], theirs)


@EVERY
def test_logits_are_the_log_of_the_mixture(name, evidence):
    _, extra_BxT, logits_BxTxV = compiled(name)(values())[0][1]
    α_BxTxS, log_p_BxSxV = parts(values())
    theirs_BxTxV = np.log(np.einsum("bts,bsv->btv", α_BxTxS, np.exp(log_p_BxSxV)))
    evidence(f"estimator={name}", "log Σ_s α_s p(v | h_s), NumPy float64", logits_BxTxV, theirs_BxTxV)
    logits_alone, no_extra = jax.jit(lambda α: predicted(name, values(), α, goal=False))(α_BxTxS)
    np.testing.assert_allclose(logits_alone, logits_BxTxV, rtol=1e-5, atol=1e-6)
    assert not np.asarray(no_extra).any()


@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 3.0]))
@settings(max_examples=20)
def test_the_bound_is_a_bound_and_off_by_the_divergence_from_the_posterior(seed, scale):
    drawn = values(seed, scale)
    extra_BxT = np.asarray(compiled("variational")(drawn)[0][1][1])
    exact = {name: value.astype(np.float64) for name, value in drawn.items()}
    α_BxTxS, log_p_BxSxV = parts(exact)
    joint_BxTxS = α_BxTxS * np.exp(chosen(log_p_BxSxV))
    true_BxTxS, q_BxTxS = joint_BxTxS / joint_BxTxS.sum(2, keepdims=True), posterior(exact)
    some = (q_BxTxS > 1e-30) & (true_BxTxS > 0)
    divergence_BxT = np.where(some, q_BxTxS * np.log(np.where(some, q_BxTxS, 1) / np.where(some, true_BxTxS, 1)), 0).sum(2)
    np.testing.assert_allclose(extra_BxT, divergence_BxT, rtol=1e-4, atol=1e-4)
    assert (extra_BxT >= -1e-5).all()


def test_the_bound_is_tight_where_q_is_the_posterior(evidence):
    """With as many units as there are pairs of place and token, an additive score can be any function of the two: v is solved for."""
    drawn = values(3)
    states_SxM = np.eye(S, M) + np.eye(S, M, -2) * 2.0  # places (1, 0), (0, 1), (2, 0), (0, 2): four vectors in two dimensions
    drawn["states"] = np.broadcast_to(states_SxM, (B, S, M)).astype(np.float32).copy()
    drawn["scores"] = np.zeros((B, T, S), np.float32)
    drawn["query"][:H] = 0  # α is uniform here, so the posterior depends on y_t and h_s alone
    hidden = np.tanh(drawn["query"][H:][:, None, :] + (states_SxM @ drawn["memory"])[None]).astype(np.float64)  # V x S x A
    log_p_SxV = parts({k: v.astype(np.float64) for k, v in drawn.items()})[1][0]
    v, *_ = np.linalg.lstsq(hidden.reshape(V * S, A), log_p_SxV.T.reshape(V * S), rcond=None)
    assert np.abs(hidden @ v - log_p_SxV.T).max() < 1e-8
    drawn["v"] = v[:, None].astype(np.float32)
    nll_BxT, extra_BxT, _ = compiled("variational")(drawn)[0][1]
    evidence("estimator=variational", "q = exact posterior: -ELBO = -log p(y)", nll_BxT + extra_BxT, nll_BxT, atol=2e-3 * np.abs(v).max())


@EVERY
def test_zero_weights_and_padding_have_no_say_and_finite_gradients(name):
    α_BxTxS = np.full((B, T, S), 1 / 2, np.float32) * (np.arange(S) < 2)  # as sparsemax leaves them
    α_BxTxS[1, 2] = 0  # no place at all
    given_values = values()

    def total(states, α):
        logits, extra = predicted(name, given_values | {"states": states}, α)
        return (jax.nn.logsumexp(logits, 2) - logits[:, :, 0] + extra).sum(), (logits, extra)

    step = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
    (value, outputs), (d_states, d_α) = step(given_values["states"], α_BxTxS)
    garbage = given_values["states"].copy()
    garbage[:, 2:] = 1e4
    (same, same_outputs), (same_d_states, same_d_α) = step(garbage, α_BxTxS)
    assert value == same and np.isfinite(d_α).all() and np.isfinite(d_states).all()
    jax.tree.map(np.testing.assert_array_equal, (outputs, d_states, d_α), (same_outputs, same_d_states, same_d_α))
    assert not np.asarray(d_states[:, 2:]).any() and not np.asarray(d_α)[:, :, 2:].any()
    assert not np.asarray(outputs[0][1, 2]).any() and not np.asarray(outputs[1][1, 2]).any() and not np.asarray(d_α[1, 2]).any()


def test_positions_outside_the_target_leave_no_loss():
    α_BxTxS = jnp.asarray(finite_differences.softmax(values()["scores"]), jnp.float32)
    mask_BxT = np.array([[True, True, False], [True, False, False]])
    extra = jax.jit(lambda mask_BxT: predicted("variational", values(), α_BxTxS, mask_BxT)[1])
    extra_BxT, whole_BxT = extra(mask_BxT), extra(np.ones((B, T), bool))
    np.testing.assert_array_equal(extra_BxT, np.where(mask_BxT, whole_BxT, 0))


@EVERY
def test_logits_far_apart_are_right_and_differentiable(name, evidence):
    far = values() | {"emission": values()["emission"] * 1e4, "scores": values()["scores"] * 20, "v": values()["v"] * 0}
    (_, (nll_BxT, extra_BxT, _)), gradients = compiled(name)(far)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert np.isfinite(extra_BxT).all()
    α_BxTxS, log_p_BxSxV = parts({part: value.astype(np.float64) for part, value in far.items()})
    with np.errstate(divide="ignore"):
        joint_BxTxS = np.log(α_BxTxS) + chosen(log_p_BxSxV)
    theirs_BxT = -np.logaddexp.reduce(joint_BxTxS, 2)
    evidence(f"estimator={name}", "nll with logits of ±1e4, NumPy float64", nll_BxT, theirs_BxT, rtol=1e-4)


def shapes(jaxpr):
    """Shapes of everything computed, inner loops included."""
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from shapes(inner)


@EVERY
def test_places_times_tokens_are_never_held_at_once_not_even_for_the_gradient(name):
    closed = jax.make_jaxpr(jax.grad(lambda values: sum(x.sum() for x in nll_and_extra(name, values)[:2])))(values())
    found = list(shapes(closed.jaxpr))
    assert (B, T, V) in found  # the search sees into the loops
    assert not [shape for shape in found if {S, V} <= set(shape) and T in shape]


@EVERY
def test_bfloat16_in_bfloat16_out(name):
    half = {part: jnp.asarray(value, jnp.bfloat16) for part, value in values().items()}
    α_BxTxS = softmax(values()["scores"], jnp.asarray(MASK_BxS)[:, None])
    logits_BxTxV, extra_BxT = jax.jit(lambda values, α: predicted(name, values, α))(half, α_BxTxS.astype(jnp.bfloat16))
    assert logits_BxTxV.dtype == extra_BxT.dtype == jnp.bfloat16
    exact_BxTxV = compiled(name)(values())[0][1][2]
    np.testing.assert_allclose(logits_BxTxV.astype(jnp.float32), exact_BxTxV, atol=0.1)


def test_the_marginal_shows_its_distribution_and_draws_nothing():
    α_BxTxS = softmax(values()["scores"], jnp.asarray(MASK_BxS)[:, None])
    for row in ROWS.values():
        used_BxTxS, terms = row(ModelConfig(), SIZES).draw({}, (), α_BxTxS, None, None)
        np.testing.assert_array_equal(used_BxTxS, α_BxTxS)
        jax.tree.map(np.testing.assert_array_equal, terms, nothing_drawn(α_BxTxS))
