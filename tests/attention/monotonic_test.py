"""Monotonic attention, MoChA and single steps against every path that can be taken, one after the other."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from attention_jax.attention import monotonic
from attention_jax.config import ModelConfig

S, T, W = 5, 3, 2
CONFIG = ModelConfig(noise=0.0, chunk_size=W)
ROWS = {"monotonic": monotonic.monotonic_row, "mocha": monotonic.mocha_row, "stepwise": monotonic.stepwise_row}
EACH = pytest.mark.parametrize("name", ROWS)
OFFSET = 0.5
PROBABILITIES = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, float(np.float32(1e-30)), float(np.float32(1 - 1e-7))]))


@cache
def looks(name: str, training: bool):
    """Jitted: (e_TxBxS, u_TxBxS, mask_BxS) → weights_TxBxS of T looks in a row, without noise."""
    row = ROWS[name](CONFIG)
    params = {"offset": jnp.array(OFFSET)}

    def all_of_them(e_TxBxS, u_TxBxS, mask_BxS):
        keys = jax.random.split(jax.random.key(0), (mask_BxS.shape[0], 1)) if training else None

        def look(state, scores):
            weights, state = row.normalise(params, state, tuple(x[:, None] for x in scores)[: row.scores], mask_BxS[:, None], keys)
            return state, weights[:, 0]

        return jax.lax.scan(look, row.initial(mask_BxS), (e_TxBxS, u_TxBxS))[1]

    return jax.jit(all_of_them)


def draw(shape=(T, S), seed: int = 0, scale: float = 1.5):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, shape).astype(np.float32), rng.normal(0, scale, shape).astype(np.float32)


def chunk(u, place: int):
    """The softmax of u over the W places that end at `place`."""
    first = max(place - W + 1, 0)
    weights = np.zeros(len(u))
    weights[first : place + 1] = np.exp(u[first : place + 1] - u[first : place + 1].max())
    return weights / weights.sum()


def given_by(name: str, u, place: int):
    """Weights of a look that chose `place`; len(u) stands for the end of the source, where nothing is left to choose."""
    if place == len(u):
        return np.zeros(len(u))
    return chunk(u, place) if name == "mocha" else np.eye(len(u))[place]


def chance(name: str, p_S, at: int, j: int) -> float:
    """The probability that a look goes on from `at` to j; len(p) stands for the end, which is not left."""
    end = len(p_S)
    if at == end:
        return float(j == end)
    if name == "stepwise":
        return p_S[at] if j == at else 1 - p_S[at] if j == at + 1 else 0.0
    return float(j >= at) * np.prod(1 - p_S[at:j]) * (p_S[j] if j < end else 1)


def enumerated(name: str, e, u):
    """Expected weights_TxS, in float64: the sum over all (S+1)^T paths of their probability times their weights."""
    p = 1 / (1 + np.exp(-(np.asarray(e, np.float64) + OFFSET)))
    looks, places = p.shape
    expected, total = np.zeros((looks, places)), 0.0
    for path in product(range(places + 1), repeat=looks):
        probability, at = 1.0, 0
        for i, j in enumerate(path):
            probability *= chance(name, p[i], at, j)
            at = j
        total += probability
        expected += probability * np.stack([given_by(name, u[i].astype(np.float64), j) for i, j in enumerate(path)])
    assert abs(total - 1) < 1e-12
    return expected


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_expectation_sums_over_every_path(evidence, name, seed):
    e, u = draw(seed=seed)
    weights = looks(name, training=True)(e[:, None], u[:, None], np.ones((1, S), bool))[:, 0]
    evidence(f"normaliser={name}", f"all {(S + 1) ** T} alignment paths, float64", weights, enumerated(name, e, u), rtol=2e-6, atol=1e-6)


@EACH
def test_gradient_of_the_expectation(evidence, name):
    """By first and second scores, of one weighted sum of all looks, against differences of the sum over paths."""
    e, u = draw((2, 4), seed=4)
    cotangent = np.random.default_rng(5).normal(size=(2, 4))
    mask = np.ones((1, 4), bool)
    ours = jax.grad(lambda e, u: (looks(name, training=True)(e[:, None], u[:, None], mask)[:, 0] * cotangent).sum(), (0, 1))(e, u)

    def value(x):
        return (enumerated(name, x[0], x[1]) * cotangent).sum()

    x, numeric = np.stack([e, u]).astype(np.float64), np.zeros((2, 2, 4))
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        numeric[place] = (value(x + step) - value(x - step)) / 2e-5
    evidence(f"normaliser={name}", "float64 finite differences of the sum over all paths", np.stack(ours), numeric, rtol=1e-4)


@EACH
def test_expectation_is_the_mean_of_hard_looks(evidence, name):
    """Each of the 2^(T S) outcomes of the coins p_ij, looked at without keys: training uses their mean, weighted by probability."""
    places, (e, u) = 4, draw((T, 4), seed=6)
    p = 1 / (1 + np.exp(-(e.astype(np.float64) + OFFSET)))
    coins = np.array(list(product([0, 1], repeat=T * places))).reshape(-1, T, places)
    probability = np.where(coins, p, 1 - p).prod((1, 2))
    sure = np.moveaxis(np.where(coins, 9.0, -9.0), 0, 1).astype(np.float32)
    shared = np.broadcast_to(u[:, None], sure.shape)
    hard = looks(name, training=False)(sure, shared, np.ones((len(coins), places), bool))
    soft = looks(name, training=True)(e[:, None], u[:, None], np.ones((1, places), bool))[:, 0]
    mean = np.einsum("b,tbs->ts", probability, np.asarray(hard, np.float64))
    evidence(f"normaliser={name}", f"mean of hard looks over all {2 ** (T * places)} outcomes of the coins", soft, mean, atol=1e-6)


@EACH
@given(
    e=arrays.arrays(np.float32, (T, 3, S), elements=st.sampled_from([-1e4, -2.0, -0.4, 0.0, 1.0, 1e4])), mask=arrays.arrays(bool, (3, S))
)
def test_hard_looks(evidence, name, e, mask):
    """From where the last look stopped, the first real place with e + r > 0; past the end nothing, ever after.

    Single steps, which need real places first: this place if e + r > 0 there, else the next one.
    """
    u = draw((T, 3, S))[1]
    if name == "stepwise":
        mask = np.arange(S)[None, :] < mask.sum(1)[:, None]
    expected = np.zeros((T, 3, S))
    for b in range(3):
        real, at = np.flatnonzero(mask[b]), 0
        for t in range(T):
            while at < len(real) and e[t, b, real[at]] + OFFSET <= 0:
                at += 1
                if name == "stepwise":
                    break
            if name != "mocha" and at < len(real):
                expected[t, b, real[at]] = 1
            elif at < len(real):
                near = [j for j in real if real[at] - W < j <= real[at]]
                expected[t, b, near] = np.exp(u[t, b, near]) / np.exp(u[t, b, near]).sum()
    evidence(f"normaliser={name}", "hard looks, a literal loop", looks(name, training=False)(e, u, mask), expected, atol=1e-6)


@given(
    p=arrays.arrays(np.float32, (2, S), elements=PROBABILITIES),
    before=arrays.arrays(np.float32, (2, S), elements=st.floats(0, 1, width=32)),
)
def test_parallel_equals_recursive(evidence, p, before):
    """Probabilities of 0, 1 and next to them included, where the quotients of the paper's parallel form fail."""
    before = (before / np.maximum(before.sum(1, keepdims=True), 1)).astype(np.float32)
    parallel, recursive = jax.jit(monotonic.parallel)(p, before), jax.jit(monotonic.recursive)(p, before)
    evidence("normaliser=monotonic", "parallel against recursive form", parallel, recursive, atol=1e-6)
    expected = np.zeros((2, S))
    for b, j in np.ndindex(2, S):  # Raffel 2017, eq. 9
        reach = [before[b, k] * np.prod(1 - p[b, k:j].astype(np.float64)) for k in range(j + 1)]
        expected[b, j] = p[b, j] * np.sum(reach)
    evidence("normaliser=monotonic", "Raffel 2017, eq. 9 in float64", parallel, expected, atol=1e-6)


@pytest.mark.long
def test_what_a_sure_look_leaves_has_a_log(evidence):
    """p rounds to 1 at a score of 20, but the next place still gets σ(-20) of it, and that a gradient."""
    mask = jnp.ones((1, 1, 3), bool)

    def log_next(e, keys_Bx1):
        scores_1x1x3 = jnp.stack([e, e, e])[None, None] - monotonic.OFFSET
        params = {"offset": jnp.asarray(monotonic.OFFSET)}
        return jnp.log(monotonic.advance(params, jnp.array([[1.0, 0, 0]]), scores_1x1x3, mask, keys_Bx1, 0.0))[0, 1]

    value, slope = jax.value_and_grad(log_next)(20.0, jax.random.split(jax.random.key(0), (1, 1)))
    evidence("normaliser=monotonic", "log α of the place after a sure one, σ(e) σ(-e)", value, np.log(1 / (1 + np.exp(20.0))), rtol=1e-6)
    np.testing.assert_allclose(slope, -1, rtol=1e-6)


def test_closed_form_of_the_paper(evidence):
    """Raffel 2017, appendix C.1: q = cumprod(1 - p) · cumsum(α / cumprod(1 - p)), the product exclusive; fine in float64 for moderate p."""
    rng = np.random.default_rng(7)
    p, before = rng.uniform(0.05, 0.8, (2, S)), rng.dirichlet(np.ones(S), 2)
    left = np.cumprod(np.pad(1 - p[:, :-1], ((0, 0), (1, 0)), constant_values=1), axis=1)
    expected = p * left * np.cumsum(before / left, axis=1)
    evidence(
        "normaliser=monotonic", "cumulative products and sums, float64", monotonic.parallel(np.float32(p), np.float32(before)), expected
    )


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
@EACH
def test_extreme_scores(name, extreme):
    """Long sources and scores that leave no doubt: finite weights and gradients, and the place that such scores mean.

    Of single steps none stays: they are at the second place, then at the third.
    """
    e = np.full((2, 1, 50), -1e4, np.float32)
    e[:, :, 40] = extreme
    u = np.where(np.arange(50) % 2, 1e4, -1e4).astype(np.float32) * np.ones_like(e)
    weights, backward = jax.vjp(lambda e, u: looks(name, training=True)(e, u, np.ones((1, 50), bool)), e, u)
    place = {"monotonic": 40, "mocha": 39, "stepwise": np.array([1, 2])[:, None, None]}[name]
    found = float(extreme > 0 or name == "stepwise")
    np.testing.assert_allclose(weights, (np.arange(50) == place) * found * np.ones_like(e), atol=1e-6)
    assert all(np.isfinite(x).all() for x in backward(np.ones_like(e)))


@pytest.mark.long
def test_noise():
    """σ(e + r + noise · ε) with ε of mean 0 and deviation 1, a draw of its own at each place; none without keys."""
    row = monotonic.monotonic_row(ModelConfig(noise=0.5))
    many = 2000
    mask = jnp.ones((many, 2), bool)
    keys = jax.random.split(jax.random.key(1), (many, 1))
    e = jnp.zeros((many, 1, 2))
    weights, _ = row.normalise(row.init(keys[0, 0]), row.initial(mask), (e,), mask[:, None], keys)
    first = np.asarray(weights[:, 0, 0], np.float64)
    second = weights[:, 0, 1] / (1 - first)
    noise = np.stack([np.log(p / (1 - p)) - monotonic.OFFSET for p in (first, second)]) / 0.5
    assert abs(noise.mean(1)).max() < 4 / np.sqrt(many) and abs(noise.std(1) - 1).max() < 4 / np.sqrt(2 * many)
    assert abs(np.corrcoef(noise)[0, 1]) < 4 / np.sqrt(many)
    without, _ = row.normalise(row.init(keys[0, 0]), row.initial(mask), (e,), mask[:, None], None)
    assert not without.any()  # e + r = -1 everywhere


def test_wide_chunks():
    """A chunk wider than the source is the softmax over all places up to the chosen one."""
    u = jnp.array([[0.3, -1.0, 2.0, 0.5]])
    weights = monotonic.chunkwise(jnp.array([[0.0, 0.0, 1.0, 0.0]]), u, jnp.ones((1, 4), bool), 7)
    np.testing.assert_allclose(weights[0, :3], jax.nn.softmax(u[0, :3]), rtol=1e-6)
    assert weights[0, 3] == 0


def test_single_steps_by_hand():
    """p = ½ everywhere: after three looks the places are those of three fair coins, and of four places none is lost yet."""
    row = monotonic.stepwise_row(CONFIG)
    keys, mask = jax.random.split(jax.random.key(0), (1, 1)), jnp.ones((1, 4), bool)
    state = row.initial(mask)
    for _ in range(3):
        weights, state = row.normalise({"offset": jnp.array(0.0)}, state, (jnp.zeros((1, 1, 4)),), mask[:, None], keys)
    np.testing.assert_allclose(weights[0, 0], np.array([1, 3, 3, 1]) / 8)
    weights, _ = row.normalise({"offset": jnp.array(0.0)}, state, (jnp.zeros((1, 1, 4)),), mask[:, None], keys)
    np.testing.assert_allclose(weights[0, 0], np.array([1, 4, 6, 4]) / 16)  # 1/16 has passed the end


@EACH
def test_state_keeps_its_type(name):
    """bf16 scores, float32 state: the scan of `looks` would refuse a carry that changes."""
    e, u = (x.astype(jnp.bfloat16) for x in draw((T, 1, S)))
    weights = looks(name, training=True)(e, u, np.ones((1, S), bool))
    assert weights.dtype == jnp.bfloat16 and ROWS[name](CONFIG).initial(np.ones((1, S), bool)).dtype == jnp.float32
