"""REINFORCE against the enumeration of every sequence of places, in a decoder that feeds each context into the next look's scores."""

import dataclasses
import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.attention import estimators, reinforce
from attention_jax.attention.mechanism import weigh
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended, Targets
from tests.attention import finite_differences

S, T, V, M = 3, 3, 4, 2
N = 4000  # draws
TARGET = (2, 0, 1)
AVERAGE = -1.3
BASELINES = ("none", "average", "learned")
SIZES = Sizes(memory=M, query=S, score=4)
BASE = ModelConfig(estimator="reinforce", baseline="none")


def parameters(seed: int = 0) -> dict:
    """Scores of each look, how the context before changes them, the memory, and the emission."""
    rng = np.random.default_rng(seed)
    shapes = {"scores": (T, S), "feed": (M, S), "memory": (S, M), "emission": (M, V)}
    return {name: rng.normal(0, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}


def unrolled(estimator, params, own, key, expected=False):
    """(nll_T, extra_T, places used_TxS, Attended) of one example whose T looks depend on the contexts before."""
    memory_1xSxM, state = params["memory"][None], jnp.array([expected])

    def look(context_1xM, inputs):
        scores_S, key = inputs
        query_1xS = scores_S[None] + context_1xM @ params["feed"]
        α_1x1xS = jax.nn.softmax(query_1xS)[:, None]
        used_1x1xS, terms = estimator.draw(own, state, α_1x1xS, query_1xS[:, None], None if key is None else key[None, None])
        context_1x1xM = weigh(used_1x1xS, memory_1xSxM)
        return context_1x1xM[:, 0], (Attended(context_1x1xM, α_1x1xS, terms), query_1xS[:, None], used_1x1xS)

    keys_T = None if key is None else jax.random.split(key, T)
    _, looked = jax.lax.scan(look, jnp.zeros((1, M)), (params["scores"], keys_T))
    looks, query_1xTxS, used_1xTxS = jax.tree.map(lambda x: jnp.swapaxes(x[:, :, 0], 0, 1), looked)
    target_1xT = jnp.array([TARGET])
    goal = Targets(target_1xT, jnp.ones((1, T), bool), jnp.zeros((1, T, 1)), jnp.float32(AVERAGE))

    def emit(context_BxTxM):
        return jnp.tanh(context_BxTxM) @ params["emission"]

    logits, extra = estimator.predict(own, emit, None, looks, query_1xTxS, goal)
    return -estimators.log_likelihood(logits, target_1xT)[0], extra[0], used_1xTxS[0], looks


@cache
def row(**changes):
    """(estimator, its own parameters)."""
    estimator = reinforce.reinforce(dataclasses.replace(BASE, **changes), SIZES)
    return estimator, estimator.init(jax.random.key(5))


@cache
def draws(baseline: str, entropy_bonus: float = 0.0):
    """Per draw: the gradients by the model's and the row's parameters, the places, and (nll_T, log α(z)_T, b_T)."""
    estimator, own = row(baseline=baseline, entropy_bonus=entropy_bonus)

    def objective(params, own, key):
        nll_T, extra_T, used_TxS, looks = unrolled(estimator, params, own, key)
        return nll_T.sum() + extra_T.sum(), (used_TxS.argmax(1), used_TxS, nll_T, looks.terms.log_draw[0], looks.terms.baseline[0])

    gradient = jax.vmap(jax.grad(objective, (0, 1), has_aux=True), (None, None, 0))
    return jax.tree.map(np.asarray, jax.jit(gradient)(parameters(), own, jax.random.split(jax.random.key(11), N)))


def path(values, places):
    """(log p(places), [log p(y_t | z_t)], Σ_t H[α_t]) of one sequence of places, in float64."""
    context, log_q, log_p, entropy = np.zeros(M), 0.0, [], 0.0
    for t, z in enumerate(places):
        α = finite_differences.softmax(values["scores"][t] + context @ values["feed"])
        context = values["memory"][z]
        log_q += np.log(α[z])
        entropy -= (α * np.log(α)).sum()
        log_p.append(finite_differences.log_softmax(np.tanh(context) @ values["emission"])[TARGET[t]])
    return log_q, log_p, entropy


PATHS = list(itertools.product(range(S), repeat=T))


def expected_nll(values) -> float:
    """-E_z log p(y | z), over all sequences of places."""
    return -sum(np.exp(log_q) * sum(log_p) for log_q, log_p, _ in (path(values, z) for z in PATHS))


@cache
def enumerated() -> dict:
    return finite_differences.gradient(expected_nll, parameters())


def expectation(values_N, places_NxT) -> np.ndarray:
    """Σ_z p(z) · value at z, from draws among which every sequence of places occurs (a value depends on the draw through z only)."""
    first = {tuple(z): i for i, z in reversed(list(enumerate(places_NxT.tolist())))}
    assert set(first) == set(PATHS)
    exact = {name: value.astype(np.float64) for name, value in parameters().items()}
    return sum(np.exp(path(exact, z)[0]) * values_N[first[z]].astype(np.float64) for z in PATHS)


@pytest.mark.long
@pytest.mark.parametrize("baseline", BASELINES)
def test_gradient_is_unbiased_exactly(baseline, evidence):
    (gradients, _), (places_NxT, *_) = draws(baseline)
    for name, theirs in enumerated().items():
        ours = expectation(gradients[name], places_NxT)
        evidence(f"estimator=reinforce baseline={baseline}", "expectation over all draws: ∇E[log p], enumerated", ours, theirs)


@pytest.mark.parametrize("baseline", BASELINES)
def test_mean_over_draws_is_within_its_standard_error(baseline):
    (gradients, _), _ = draws(baseline)
    for name, theirs in enumerated().items():
        error = gradients[name].std(0, ddof=1) / np.sqrt(N)
        off = np.abs(gradients[name].mean(0, dtype=np.float64) - theirs)
        assert (off <= 4 * error + 1e-6).all(), (name, off / error)


def test_a_gradient_depends_on_the_draw_through_its_places_only():
    (gradients, _), (places_NxT, *_) = draws("average")
    same = (places_NxT == places_NxT[0]).all(1)
    assert same.sum() > 10
    np.testing.assert_allclose(gradients["scores"][same], np.broadcast_to(gradients["scores"][0], (same.sum(), T, S)), atol=1e-5)


def test_draws_are_one_hot_and_as_likely_as_they_say():
    _, (places_NxT, used_NxTxS, _, log_draw_NxT, _) = draws("none")
    assert set(np.unique(used_NxTxS)) == {0.0, 1.0} and (used_NxTxS.sum(2) == 1).all()
    exact = {name: value.astype(np.float64) for name, value in parameters().items()}
    expected_P = N * np.array([np.exp(path(exact, z)[0]) for z in PATHS])
    counted_P = np.array([(places_NxT == np.array(z)).all(1).sum() for z in PATHS])
    assert ((counted_P - expected_P) ** 2 / expected_P).sum() < 60.1  # χ² with 26 degrees of freedom exceeds it once in 6000 times
    theirs_N = [path(exact, tuple(z))[0] for z in places_NxT[:50].tolist()]
    np.testing.assert_allclose(log_draw_NxT[:50].sum(1), theirs_N, rtol=1e-5)


def test_entropy_bonus_adds_the_gradient_of_each_looks_entropy(evidence):
    (gradients, _), (places_NxT, *_) = draws("none", 0.3)
    exact = {name: value.astype(np.float64) for name, value in parameters().items()}
    probability = {z: np.exp(path(exact, z)[0]) for z in PATHS}
    bonus = finite_differences.gradient(lambda values: -0.3 * sum(p * path(values, z)[2] for z, p in probability.items()), exact)
    for name, theirs in enumerated().items():
        ours = expectation(gradients[name], places_NxT)
        evidence("estimator=reinforce entropy_bonus=0.3", "∇E[log p] + λ E[∇H], enumerated", ours, theirs + bonus[name])


def test_learned_baseline_descends_its_squared_error_and_average_is_as_stated(evidence):
    estimator, own = row(baseline="learned")
    (_, gradients), (_, _, nll_NxT, log_draw_NxT, baseline_NxT) = draws("learned")
    reward_NxT = -np.cumsum(nll_NxT[:, ::-1], 1)[:, ::-1]
    bias = gradients["output"]["bias"][:, 0]  # ∂b/∂bias = 1
    evidence("estimator=reinforce baseline=learned", "∂ ½ Σ (b - R)²", bias, (baseline_NxT - reward_NxT).sum(1), rtol=1e-4)
    average, own = row(baseline="average")
    nll_T, extra_T, used_TxS, looks = jax.jit(lambda key: unrolled(average, parameters(), own, key))(jax.random.key(1))
    log_draw_T = np.asarray(looks.terms.log_draw[0])
    reward_T = -np.cumsum(np.asarray(nll_T)[::-1])[::-1]
    formula_T = -(reward_T - AVERAGE * np.array([3, 2, 1])) * log_draw_T
    evidence("estimator=reinforce baseline=average", "-(R - b) log α(z) by hand", extra_T, formula_T)


def test_a_good_baseline_has_less_variance_than_none():
    none, average = draws("none")[0][0]["scores"], draws("average")[0][0]["scores"]
    assert average.var(0).sum() < 0.7 * none.var(0).sum()


def test_an_example_on_the_expected_context_has_the_objective_of_soft():
    estimator, own = row(baseline="learned", entropy_bonus=0.3, mixing=1.0)

    def objective(params, estimator, key, expected):
        nll_T, extra_T, *_ = unrolled(estimator, params, own, key, expected)
        return nll_T.sum() + extra_T.sum()

    both = jax.jit(jax.value_and_grad(objective), static_argnums=(1, 3))
    ours = both(parameters(), estimator, jax.random.key(2), True)
    theirs = both(parameters(), estimators.soft(BASE, SIZES), jax.random.key(2), False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs)


@pytest.mark.parametrize("mixing", [0.0, 0.5, 1.0])
def test_mixing_picks_its_share_of_examples(mixing):
    estimator, _ = row(mixing=mixing)
    mask_NxS = jnp.ones((N, S), bool)
    expected_N = np.asarray(jax.jit(estimator.initial)(mask_NxS, jax.random.split(jax.random.key(3), N)))
    assert abs(expected_N.mean() - mixing) <= 4 * np.sqrt(mixing * (1 - mixing) / N)
    assert not np.asarray(estimator.initial(mask_NxS, None)).any()


def test_without_keys_it_takes_the_arg_max_and_leaves_no_loss():
    estimator, own = row(baseline="learned", mixing=1.0, entropy_bonus=1.0)
    _, extra_T, used_TxS, looks = jax.jit(lambda params: unrolled(estimator, params, own, None))(parameters())
    np.testing.assert_array_equal(used_TxS.argmax(1), looks.weights_BxTxS[0].argmax(1))
    np.testing.assert_array_equal(np.sort(used_TxS, 1), np.eye(S)[-1:].repeat(T, 0))
    np.testing.assert_array_equal(extra_T, np.zeros(T))


def test_padded_target_positions_change_neither_reward_nor_gradient():
    estimator, own = row(baseline="average", entropy_bonus=0.3)
    α_1x2xS = jax.nn.softmax(parameters()["scores"][None, :2])
    keys = jax.random.split(jax.random.key(4), (1, 2))

    @jax.jit
    @jax.value_and_grad
    def total(α_1x2xS, mask_1x2, target_1x2):
        _, terms = estimator.draw(own, jnp.array([False]), α_1x2xS, α_1x2xS, keys)
        goal = Targets(target_1x2, mask_1x2, jnp.zeros((1, 2, 1)), jnp.float32(AVERAGE))
        looks = Attended(jnp.ones((1, 2, M)), α_1x2xS, terms)
        return estimator.predict(own, lambda c: c @ parameters()["emission"], None, looks, α_1x2xS, goal)[1].sum()

    value, gradient = total(α_1x2xS, jnp.array([[True, False]]), jnp.array([[1, 0]]))
    other, same = total(α_1x2xS, jnp.array([[True, False]]), jnp.array([[1, 3]]))
    assert value == other
    np.testing.assert_array_equal(gradient, same)
    np.testing.assert_array_equal(gradient[0, 1], np.zeros(S))
    assert np.abs(gradient[0, 0]).max() > 0
