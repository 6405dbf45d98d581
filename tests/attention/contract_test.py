"""What every row of every attention table promises, whatever it computes: one case for each row, T looks in a scan, two jitted functions.

A row that is added to a table is tested here without an edit. A case is the row with additive scores (where those do not go with it, the
first score that does), softmax, all and soft beside it; every score has a second case with two heads, which is spared what only costs
compilations. Of a case's functions `evaluate` has no keys, and `train` has them, draws, predicts what the estimator makes of its looks,
and differentiates all of it.
"""

import dataclasses
from functools import cache
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attention_jax import attention
from attention_jax.attention import combinations
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended, Targets

B, S, T, M, A, V, E = 3, 5, 3, 6, 4, 4, 2
EXTRA = 2  # columns of padding beyond the longest source
LENGTHS = (5, 3, 0)
SIZES = Sizes(memory=M, query=M, score=A, directions=("forward", "reversed"), embedding=E)
BASE = ModelConfig(window_size=1, timing="after")
AXES = {"normaliser": attention.NORMALISERS, "window": attention.WINDOWS, "estimator": attention.ESTIMATORS}
SETTINGS = {  # rows that do something else besides, if asked
    "coverage with fertility": {"attention": "coverage", "fertility": 2.0},
    "reinforce with a learned baseline and mixing": {"estimator": "reinforce", "baseline": "learned", "mixing": 0.5, "entropy_bonus": 0.1},
    "two slots": {"slots": 2},
    "two pooled slots": {"slots": 2, "pooling": "mean"},
    "temperature": {"score_temperature": 0.5},
}


def completed(changes: dict) -> ModelConfig:
    """`changes` with the first score that goes with them: additive, where that one does."""
    scores = [changes["attention"]] if "attention" in changes else attention.SCORES
    configs = [dataclasses.replace(BASE, **changes | {"attention": score}) for score in scores]
    return next(c for c in configs if not any(broken for broken, _ in combinations.rules(c, attention.rows_of(c, SIZES), SIZES)))


def cases() -> dict[str, ModelConfig]:
    changes = {f"attention={name}": {"attention": name} for name in attention.TABLE}
    for axis, table in AXES.items():
        changes |= {f"{axis}={name}": {axis: name} for name in table if name != getattr(BASE, axis)}
    changes |= {f"attention={name} heads=2": {"attention": name, "heads": 2} for name in attention.SCORES}
    return {name: completed(c) for name, c in (changes | SETTINGS).items()}


CASES = cases()
EVERY = pytest.mark.parametrize("case", CASES)
ROWS = pytest.mark.parametrize("case", [name for name, c in CASES.items() if c.heads == 1 or c.attention == "additive"])


def knows_order(c: ModelConfig) -> bool:
    """Whether places are more than their content to this case."""
    rows = attention.rows_of(c, SIZES)
    return c.slots > 0 or rows.placed or (not rows.looks and rows.whole.context_size > 0)


def mass(c: ModelConfig) -> str:
    """What the weights of a source with a real position sum to, as the tables have it."""
    if c.attention in attention.FIXED:
        return "0"
    masses = {attention.NORMALISERS[c.normaliser](c).mass, attention.WINDOWS[c.window](c, SIZES).mass}
    return next(m for m in ("any", "at most 1", "1") if m in masses)


@cache
def built(case: str):
    return attention.build(CASES[case], SIZES)


def random(*shape, seed: int = 0, scale: float = 1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, scale, shape), jnp.float32)


def parameters(case: str, seed: int = 0):
    """Random parameters of the case's shapes, biases included, made without compiling `init`."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(built(case).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), leaf.dtype), shapes)


def inputs(case: str, seed: int = 0, lengths=LENGTHS, scale: float = 1.0):
    """params, memory_BxSxM, mask_BxS, query_BxTxM."""
    mask_BxS = jnp.arange(S)[None, :] < jnp.array(lengths)[:, None]
    return parameters(case, seed), random(B, S, M, seed=seed + 1, scale=scale), mask_BxS, random(B, T, M, seed=seed + 2, scale=scale)


KEYS_BxT = jax.random.split(jax.random.key(7), (B, T))
GARBAGE = st.sampled_from((np.nan, np.inf, -1e38, 1e4))  # what may stand in padding
EMIT_MxV = random(M, V, seed=3)
TARGET_BxT = jnp.array([[0, 1, 2], [3, 2, 1], [1, 1, 0]])
GOAL = Targets(TARGET_BxT, jnp.ones((B, T), bool), random(B, T, E, seed=4), jnp.float32(-1.0))


def begin(case: str, params, memory_BxSxM, mask_BxS, keys_BxT):
    """(mechanism, prepared, state) before the first look."""
    mechanism = built(case)
    prepared = mechanism.prepare(params, memory_BxSxM, mask_BxS)
    return mechanism, prepared, mechanism.initial(prepared, None if keys_BxT is None else keys_BxT[:, 0])


def in_a_scan(case: str, params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT=None) -> Attended:
    """T looks, one after the other even where there is a block."""
    mechanism, prepared, state = begin(case, params, memory_BxSxM, mask_BxS, keys_BxT)
    return look_at_all(mechanism._replace(block=None), params, prepared, state, query_BxTxM, keys_BxT)


def eagerly(case: str, params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT=None) -> Attended:
    """T looks in a plain loop."""
    mechanism, prepared, state = begin(case, params, memory_BxSxM, mask_BxS, keys_BxT)
    looks = []
    for t in range(T):
        keys_B = None if keys_BxT is None else keys_BxT[:, t]
        context_BxC, weights_BxS, state, terms = mechanism.attend(params, prepared, state, query_BxTxM[:, t], keys_B)
        looks.append(Attended(context_BxC, weights_BxS, terms))
    return jax.tree.map(lambda *parts: jnp.stack(parts, axis=1), *looks)


def outcome(case: str, params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT):
    """What training makes of T looks: (Attended, logits_BxTxV, extra_BxT)."""
    mechanism, prepared, _ = begin(case, params, memory_BxSxM, mask_BxS, keys_BxT)
    looks = in_a_scan(case, params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT)
    dtype = memory_BxSxM.dtype
    goal = GOAL.replace(embedded_BxTxE=GOAL.embedded_BxTxE.astype(dtype), average=GOAL.average.astype(dtype))

    def emit(context_BxTxC):
        return context_BxTxC @ EMIT_MxV[: mechanism.context_size].astype(dtype)

    return looks, *mechanism.predict(params, prepared, emit, looks, query_BxTxM, goal)


@cache
def train(case: str):
    """Jitted: (params, memory, mask, query, keys) → (outcome, its gradients by params, memory and query for random cotangents)."""

    def cotangent(number: int, x):
        """The same on real positions, however many columns are padded."""
        wide = random(*x.shape[:2], *([S + EXTRA] if x.ndim == 3 else []), seed=number)
        return (wide[..., : x.shape[2]] if x.ndim == 3 else wide).astype(x.dtype)

    def both(params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT):
        outputs, backward = jax.vjp(lambda p, m, q: outcome(case, p, m, mask_BxS, q, keys_BxT), params, memory_BxSxM, query_BxTxM)
        leaves, tree = jax.tree.flatten(outputs)
        return outputs, backward(jax.tree.unflatten(tree, [cotangent(i, leaf) for i, leaf in enumerate(leaves)]))

    return jax.jit(both)


@cache
def evaluate(case: str):
    """Jitted: (params, memory, mask, query) → Attended, without keys."""
    return jax.jit(lambda *arguments: in_a_scan(case, *arguments))


@cache
def trained(case: str):
    """The outcome and gradients of `inputs(case)`."""
    return train(case)(*inputs(case), KEYS_BxT)


def assert_equal(a, b):
    assert jax.tree.all(jax.tree.map(np.array_equal, a, b))


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    """To `rtol` of each number, or to `atol` of the largest of its array (of 1, if that is larger)."""

    def close(x, y):
        x, y = np.float64(x), np.float64(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol * np.abs(y).max(initial=1))

    jax.tree.map(close, a, b)


def assert_finite(tree):
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), tree))


def assert_weights(case: str, weights_BxTxS, mask_BxS, atol=1e-5):
    """Not negative, exactly zero where nothing is, and of the documented mass."""
    weights_BxTxS, mask_BxS = np.asarray(weights_BxTxS), np.asarray(mask_BxS)
    assert (weights_BxTxS >= 0).all()
    assert not np.where(mask_BxS[:, None, :], 0, weights_BxTxS).any()
    sums_BxT, real_Bx1 = weights_BxTxS.sum(2), mask_BxS.any(1)[:, None]
    documented = mass(CASES[case])
    if documented in "01":
        np.testing.assert_allclose(sums_BxT, np.where(real_Bx1, float(documented), 0) + 0 * sums_BxT, atol=atol)
    if documented == "at most 1":
        assert (sums_BxT <= 1 + atol).all()


@EVERY
@settings(max_examples=8)
@given(st.integers(0, 10**6), st.lists(st.integers(0, S), min_size=B, max_size=B), st.sampled_from((0.1, 1.0, 10.0)), GARBAGE)
def test_shapes_weights_and_padding(case, seed, lengths, scale, garbage):
    params, memory_BxSxM, mask_BxS, query_BxTxM = jax.device_get(inputs(case, seed, lengths, scale))
    garbage_BxSxM = np.where(mask_BxS[:, :, None], memory_BxSxM, np.float32(garbage))
    outputs, gradients = clean = jax.device_get(train(case)(params, memory_BxSxM, mask_BxS, query_BxTxM, KEYS_BxT))
    looks = jax.device_get(evaluate(case)(params, memory_BxSxM, mask_BxS, query_BxTxM))
    for seen in (outputs[0], looks):
        assert seen.context_BxTxC.shape == (B, T, built(case).context_size) and seen.weights_BxTxS.shape == (B, T, S)
        assert all(term.shape == (B, T) for term in jax.tree.leaves(seen.terms))
        assert_weights(case, seen.weights_BxTxS, mask_BxS)
        assert not np.where(mask_BxS.any(1)[:, None, None], 0, seen.context_BxTxC).any()
    assert outputs[1].shape == (B, T, V) and outputs[2].shape == (B, T)
    assert_finite(clean)
    assert_equal(clean, train(case)(params, garbage_BxSxM, mask_BxS, query_BxTxM, KEYS_BxT))
    assert_equal(looks, evaluate(case)(params, garbage_BxSxM, mask_BxS, query_BxTxM))
    assert not np.where(mask_BxS[:, :, None], 0, gradients[1]).any()


@pytest.mark.parametrize("seed", [168, 283, 290, 1265])
@pytest.mark.parametrize("case", [case for case in CASES if "gaussian" in case or "gmm" in case])
def test_a_window_far_beyond_the_source_is_finite(case, seed):
    """Bells of log -1e14, which the compiler may form twice and round in two ways."""
    assert_finite(train(case)(*inputs(case, seed, [0, 3, 5], 10.0), KEYS_BxT))


@EVERY
@settings(max_examples=8)
@given(st.integers(0, 10**6), arrays(bool, (B, S)))
@example(0, np.array([[False, True, False, True, True], [True, True, False, True, False], [False, False, True, False, False]]))
@example(0, np.array([[False] * 2 + [True] * 3, [True] * 3 + [False] * 2, [False] * 5]))
def test_padding_may_stand_anywhere(case, seed, mask_BxS):
    """What a row leaves is what it leaves with its real positions at the front, with keys and without; weights stand where they do."""
    params, _, _, query_BxTxM = inputs(case, seed)
    memory_BxSxM, front_BxSxM = np.where(mask_BxS[:, :, None], random(B, S, M, seed=seed + 1), np.float32(1e4)), np.zeros((B, S, M))
    for b, real_S in enumerate(mask_BxS):
        front_BxSxM[b, : real_S.sum()] = memory_BxSxM[b, real_S]
    sources = (memory_BxSxM, mask_BxS), (jnp.asarray(front_BxSxM, jnp.float32), jnp.arange(S)[None] < mask_BxS.sum(1)[:, None])
    training = [jax.device_get(train(case)(params, *source, query_BxTxM, KEYS_BxT)[0]) for source in sources]
    looks = [jax.device_get(evaluate(case)(params, *source, query_BxTxM)) for source in sources]
    assert_close(training[0][1:], training[1][1:])
    for here, front in ((training[0][0], training[1][0]), looks):
        assert_close((here.context_BxTxC, here.terms), (front.context_BxTxC, front.terms))
        assert not np.where(mask_BxS[:, None, :], 0, here.weights_BxTxS).any()
        for b, real_S in enumerate(mask_BxS):
            assert_close(here.weights_BxTxS[b][:, real_S], front.weights_BxTxS[b, :, : real_S.sum()])


@EVERY
def test_numpy_s_arrays_are_arrays(case):
    """Outside `jit`, as a user calls them: parameters, memory, mask and queries."""
    arguments = inputs(case)
    by_numpy = tuple(jax.tree.map(np.asarray, arguments))
    for keys_BxT, jitted in ((None, evaluate(case)(*arguments)), (KEYS_BxT, trained(case)[0][0])):
        assert_close(eagerly(case, *by_numpy, keys_BxT), jitted)
        mechanism, prepared, state = begin(case, *by_numpy[:3], keys_BxT)
        assert_close(look_at_all(mechanism, by_numpy[0], prepared, state, by_numpy[3], keys_BxT), jitted)


def widened(case: str):
    """`inputs(case)` with further columns of padding, garbage in them."""
    params, memory_BxSxM, mask_BxS, query_BxTxM = inputs(case)
    wider_BxSxM = jnp.concatenate([memory_BxSxM, random(B, EXTRA, M, seed=9)], axis=1)
    return params, wider_BxSxM, jnp.pad(mask_BxS, ((0, 0), (0, EXTRA))), query_BxTxM


@ROWS
def test_further_columns_of_padding_change_nothing(case):
    def cut(looks):
        assert not looks.weights_BxTxS[:, :, S:].any()
        return looks.replace(weights_BxTxS=looks.weights_BxTxS[:, :, :S])

    outputs, (d_params, d_memory_BxSxM, d_query_BxTxM) = jax.device_get(train(case)(*widened(case), KEYS_BxT))
    assert not d_memory_BxSxM[:, S:].any()
    assert_close(((cut(outputs[0]), *outputs[1:]), (d_params, d_memory_BxSxM[:, :S], d_query_BxTxM)), trained(case))
    assert_close(cut(jax.device_get(evaluate(case)(*widened(case)))), evaluate(case)(*inputs(case)))


@EVERY
def test_sources_without_a_real_position_are_zero_with_zero_gradients(case):
    arguments = inputs(case, lengths=(0, 0, 0))
    outputs, gradients = train(case)(*arguments, KEYS_BxT)
    for looks in (outputs[0], evaluate(case)(*arguments)):
        assert not np.any(looks.context_BxTxC) and not np.any(looks.weights_BxTxS)
    assert_finite(outputs)
    assert_finite(gradients)
    assert not any(np.any(gradient) for gradient in jax.tree.leaves(gradients[:2]))


@EVERY
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("by_params", "by_vectors"), [(1e4, 1), (1, 1e2), (1e4, 1e2)])
def test_scores_of_ten_thousand_are_finite(case, sign, by_params, by_vectors):
    params, memory_BxSxM, mask_BxS, query_BxTxM = inputs(case)
    large = jax.tree.map(lambda p: sign * by_params * np.asarray(p), params)
    arguments = large, by_vectors * np.asarray(memory_BxSxM), mask_BxS, sign * by_vectors * np.asarray(query_BxTxM)
    outputs, gradients = train(case)(*arguments, KEYS_BxT)
    assert_finite((outputs, gradients))
    for looks in (outputs[0], evaluate(case)(*arguments)):
        assert_finite(looks)
        assert_weights(case, looks.weights_BxTxS, mask_BxS)


@EVERY
def test_the_order_of_places_matters_where_it_should(case):
    params, memory_BxSxM, _, query_BxTxM = inputs(case)
    order = jnp.array([3, 0, 4, 2, 1])
    if knows_order(CASES[case]):
        mask_BxS = jnp.ones((B, S), bool)
        looks, shuffled = (evaluate(case)(params, m, mask_BxS, query_BxTxM) for m in (memory_BxSxM, memory_BxSxM[:, order]))
        assert not np.allclose(shuffled.context_BxTxC, looks.context_BxTxC, atol=1e-3)
    else:
        mask_BxS = jnp.array([[True] * 5, [True, False, True, True, False], [False] * 5])
        looks = evaluate(case)(params, memory_BxSxM, mask_BxS, query_BxTxM)
        shuffled = evaluate(case)(params, memory_BxSxM[:, order], mask_BxS[:, order], query_BxTxM)
        assert_close(shuffled, looks.replace(weights_BxTxS=looks.weights_BxTxS[:, :, order]))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("window=")])
@pytest.mark.parametrize("training", [False, True])
def test_positions_outside_a_window_get_exactly_nothing(case, training):
    params, memory_BxSxM, mask_BxS, query_BxTxM = arguments = inputs(case)
    window = attention.WINDOWS[CASES[case].window](CASES[case], SIZES)
    state = window.initial(mask_BxS) if window.initial else ()
    weights_BxTxS = (trained(case)[0][0] if training else evaluate(case)(*arguments)).weights_BxTxS
    outside = 0
    for t in range(T):
        inside_Bx1xS, factor_Bx1xS, state = window.place(params["window"], state, query_BxTxM[:, t : t + 1], mask_BxS)
        assert not np.where(inside_Bx1xS[:, 0], 0, weights_BxTxS[:, t]).any()
        assert not (inside_Bx1xS[:, 0] & ~mask_BxS).any()
        assert (factor_Bx1xS >= 0).all() and (factor_Bx1xS <= 1).all()
        outside += (mask_BxS & ~inside_Bx1xS[:, 0]).sum()
    assert outside > 0


SOFT = [name for name, c in CASES.items() if c.estimator == "soft" and c.heads == 1 and not c.slots and c.attention not in attention.FIXED]


@pytest.mark.parametrize("case", SOFT)
def test_a_soft_context_is_the_expected_memory_vector(case, evidence):
    params, memory_BxSxM, mask_BxS, query_BxTxM = inputs(case)
    looks = evaluate(case)(params, memory_BxSxM, mask_BxS, query_BxTxM)
    α_BxTxS, h_BxSxM = np.float64(looks.weights_BxTxS), np.float64(memory_BxSxM)
    c_BxTxM = np.array([[sum(α_BxTxS[b, t, s] * h_BxSxM[b, s] for s in range(S)) for t in range(T)] for b in range(B)])
    evidence("estimator=soft", "Σ_s α_s h_s, a loop in NumPy, float64", looks.context_BxTxC, c_BxTxM)


@EVERY
@pytest.mark.parametrize("keys_BxT", [None, KEYS_BxT], ids=["evaluation", "training"])
def test_blocks_are_steps_and_jitted_is_eager(case, keys_BxT):
    params, memory_BxSxM, mask_BxS, query_BxTxM = arguments = inputs(case)
    jitted = evaluate(case)(*arguments) if keys_BxT is None else trained(case)[0][0]
    assert_close(eagerly(case, *arguments, keys_BxT), jitted)
    mechanism, prepared, state = begin(case, params, memory_BxSxM, mask_BxS, keys_BxT)
    if mechanism.block:
        assert_close(mechanism.block(params, prepared, state, query_BxTxM, keys_BxT), jitted)


@ROWS
def test_seeds_side_by_side_are_seeds_one_by_one(case):
    _, memory_BxSxM, mask_BxS, _ = inputs(case)
    seeds = [(parameters(case, seed), random(B, T, M, seed=seed + 20), jax.random.split(jax.random.key(seed), (B, T))) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    together = jax.device_get(jax.jit(jax.vmap(lambda p, q, k: in_a_scan(case, p, memory_BxSxM, mask_BxS, q, k)))(*stacked))
    for seed, (params, query_BxTxM, keys_BxT) in enumerate(seeds):
        (alone, _, _), _ = train(case)(params, memory_BxSxM, mask_BxS, query_BxTxM, keys_BxT)
        assert_close(jax.tree.map(itemgetter(seed), together), alone)


@ROWS
def test_half_precision_agrees_to_its_precision(case):
    arguments = inputs(case)
    halved = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, arguments)
    half, single = evaluate(case)(*halved), evaluate(case)(*arguments)
    assert_close((half.context_BxTxC, half.weights_BxTxS), (single.context_BxTxC, single.weights_BxTxS), rtol=5e-2, atol=5e-2)
    for leaf in jax.tree.leaves((half, jax.eval_shape(train(case), *halved, KEYS_BxT))):
        assert leaf.dtype == jnp.bfloat16
