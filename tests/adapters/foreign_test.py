"""Other people's mechanisms: what the adapter promises of any function or module, against ours where they compute the same."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attention_jax import attention, model, training
from attention_jax.adapters import foreign
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.system.errors import ConfigError
from tests.built import built

B, S, T, H, M = 3, 5, 4, 6, 6
SIZES = Sizes(M, H, 4)
MASK = np.array([[c == "#" for c in row] for row in ("###..", "#.#.#", ".....")])


def by_dot(query_BxH, memory_BxSxM, mask_BxS):
    """A user's own, without a thought for sources of padding alone: there its softmax is 0 / 0."""
    e_BxS = jnp.where(mask_BxS, jnp.einsum("bh,bsh->bs", query_BxH, memory_BxSxM), -jnp.inf)
    weights_BxS = jax.nn.softmax(e_BxS)
    return jnp.einsum("bs,bsm->bm", weights_BxS, memory_BxSxM), weights_BxS


def general(params, query_BxH, memory_BxSxM, mask_BxS):
    return by_dot(query_BxH, memory_BxSxM @ params["memory"], mask_BxS)


def of_general(key, sizes):
    return {"memory": jax.random.normal(key, (sizes.memory, sizes.query))}


class Module(nn.Module):
    @nn.compact
    def __call__(self, query_BxH, memory_BxSxM, mask_BxS):
        values_BxSxV = nn.Dense(3)(memory_BxSxM)
        _, weights_BxS = by_dot(nn.Dense(memory_BxSxM.shape[2])(query_BxH), memory_BxSxM, mask_BxS)
        return jnp.einsum("bs,bsv->bv", weights_BxS, values_BxSxV), weights_BxS


MECHANISMS = {"function": foreign.row(by_dot), "with parameters": foreign.row(general, of_general), "module": foreign.row(Module())}
EVERY = pytest.mark.parametrize("name", MECHANISMS)


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, row in MECHANISMS.items():
        monkeypatch.setitem(attention.MECHANISMS, name, row)


def mechanism_of(name: str):
    return attention.build(ModelConfig(attention=name), SIZES)


@cache
def looks(name: str):
    """Jitted: (params, memory, mask, queries) → (looks as a block, gradients of a random functional of them)."""
    mechanism = MECHANISMS[name](ModelConfig(attention=name), SIZES)
    mechanism = attention.checked(mechanism)

    def both(params, memory_BxSxM, mask_BxS, query_BxTxH):
        def looked(params, memory_BxSxM, query_BxTxH):
            prepared = mechanism.prepare(params, memory_BxSxM, mask_BxS)
            return look_at_all(mechanism, params, prepared, mechanism.initial(prepared), query_BxTxH)

        outputs, backward = jax.vjp(looked, params, memory_BxSxM, query_BxTxH)
        return outputs, backward(jax.tree.map(lambda x: jnp.asarray(random(*x.shape, seed=3)), outputs))

    return jax.jit(both)


def arguments(name: str, seed: int = 0):
    return mechanism_of(name).init(jax.random.key(seed)), random(B, S, M, seed=seed + 1), MASK, random(B, T, H, seed=seed + 2)


@EVERY
def test_weights_contexts_and_gradients_are_finite_whatever_the_mask(name):
    params, memory_BxSxM, mask_BxS, query_BxTxH = arguments(name)
    (found, gradients) = clean = looks(name)(params, memory_BxSxM, mask_BxS, query_BxTxH)
    assert found.context_BxTxC.shape == (B, T, mechanism_of(name).context_size) and found.weights_BxTxS.shape == (B, T, S)
    np.testing.assert_allclose(found.weights_BxTxS.sum(2), np.broadcast_to(mask_BxS.any(1)[:, None], (B, T)), atol=1e-6)
    assert not found.weights_BxTxS[~np.broadcast_to(mask_BxS[:, None], (B, T, S))].any() and not found.context_BxTxC[2].any()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(clean))
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(gradients)) and not gradients[1][~mask_BxS].any()
    garbage_BxSxM = np.where(mask_BxS[:, :, None], memory_BxSxM, np.nan)
    jax.tree.map(np.testing.assert_array_equal, looks(name)(params, garbage_BxSxM, mask_BxS, query_BxTxH), clean)


@EVERY
def test_a_block_is_steps_and_padding_may_stand_anywhere(name):
    params, memory_BxSxM, mask_BxS, query_BxTxH = arguments(name)
    (block, _), mechanism = looks(name)(params, memory_BxSxM, mask_BxS, query_BxTxH), mechanism_of(name)
    prepared = mechanism.prepare(params, memory_BxSxM, mask_BxS)
    for t in range(T):
        context_BxC, weights_BxS, state, _ = mechanism.attend(params, prepared, mechanism.initial(prepared), query_BxTxH[:, t])
        np.testing.assert_allclose(context_BxC, block.context_BxTxC[:, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weights_BxS, block.weights_BxTxS[:, t], rtol=1e-5, atol=1e-6)
    order = np.array([4, 2, 0, 3, 1])
    shuffled, _ = looks(name)(params, memory_BxSxM[:, order], mask_BxS[:, order], query_BxTxH)
    np.testing.assert_allclose(shuffled.context_BxTxC, block.context_BxTxC, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shuffled.weights_BxTxS, block.weights_BxTxS[:, :, order], rtol=1e-5, atol=1e-6)


@EVERY
def test_seeds_side_by_side_are_seeds_one_by_one(name):
    seeds = [
        (mechanism_of(name).init(jax.random.key(seed)), random(B, S, M, seed=seed), MASK, random(B, T, H, seed=seed + 5)) for seed in (0, 1)
    ]
    together = jax.jit(jax.vmap(looks(name)))(*jax.tree.map(lambda *x: np.stack(x), *seeds))
    for r, own in enumerate(seeds):
        jax.tree.map(lambda a, b, r=r: np.testing.assert_allclose(a[r], b, rtol=1e-5, atol=1e-5), together, looks(name)(*own))


def test_a_function_that_computes_our_dot_product_is_our_dot_product():
    params, memory_BxSxM, mask_BxS, query_BxTxH = arguments("function")
    ours = attention.build(ModelConfig(attention="dot"), SIZES)
    prepared = ours.prepare(ours.init(jax.random.key(0)), memory_BxSxM, mask_BxS)
    expected = look_at_all(ours, ours.init(jax.random.key(0)), prepared, ours.initial(prepared), query_BxTxH)
    found, _ = looks("function")(params, memory_BxSxM, mask_BxS, query_BxTxH)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


def test_what_knows_places_finds_real_positions_at_the_front():
    def first(query_BxH, memory_BxSxM, mask_BxS):
        return memory_BxSxM[:, 0], jax.nn.one_hot(0 * mask_BxS.sum(1), mask_BxS.shape[1])

    row = foreign.row(first, knows_places=True)
    attention.MECHANISMS["first"] = row
    try:
        mechanism = attention.build(ModelConfig(attention="first"), SIZES)
        mask_BxS, memory_BxSxM = np.array([[False, True, True, False, True]]), random(1, S, M)
        context_BxM, weights_BxS, _, _ = mechanism.attend({}, mechanism.prepare({}, memory_BxSxM, mask_BxS), (), random(1, H))
        np.testing.assert_array_equal(context_BxM[0], memory_BxSxM[0, 1])
        assert weights_BxS.tolist() == [[0, 1, 0, 0, 0]]
        with pytest.raises(ConfigError, match="slots=2 leaves segments instead of positions"):
            attention.build(ModelConfig(attention="first", slots=2), SIZES)
    finally:
        del attention.MECHANISMS["first"]


@EVERY
def test_half_precision_stays_half(name):
    halved = jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.bfloat16) if x.dtype == np.float32 else x, arguments(name))
    mechanism = mechanism_of(name)
    prepared = mechanism.prepare(*halved[:3])
    context_BxC, weights_BxS, _, _ = mechanism.attend(halved[0], prepared, mechanism.initial(prepared), halved[3][:, 0])
    assert context_BxC.dtype == weights_BxS.dtype == jnp.bfloat16


@pytest.mark.long
@pytest.mark.parametrize(
    "changes", [{}, {"timing": "after"}, {"timing": "between", "feeding": True}, {"copy": True}, {"slots": 2}, {"vector_size": 3}]
)
def test_a_model_trains_with_it(changes):
    """Gradients of an update reach the module's parameters, with every timing of the decoder."""
    config = Config(
        model=dataclasses.replace(ModelConfig(attention="module", hidden_size=4, embedding_size=4), **changes),
        data=DataConfig(symbols=3, longest=3, eval_lengths=(2,), eval_examples=2),
        training=TrainingConfig(batch_size=4, coverage=0.1),
    )
    state = training.init(*built(config), 0, 1e-2)
    batch = sources.build(config).sample(jax.random.key(0), 0)
    gradients, sums = jax.jit(lambda state: training.gradients(state, batch, *built(config)))(state)
    assert np.isfinite(sums.objective)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients["decoder"]["attention"]))
    assert model.state_size(config.model) > 0


def refused(row, changes=(), sizes: Sizes = SIZES) -> str:
    """What is said against the row, in one line."""
    attention.MECHANISMS["refused"] = row
    try:
        with pytest.raises(ConfigError) as error:
            attention.build(dataclasses.replace(ModelConfig(attention="refused"), **dict(changes)), sizes)
    finally:
        del attention.MECHANISMS["refused"]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("mechanism", "said"),
    [
        (lambda q, m, mask: m.mean(1), "attention=refused cannot be asked with a query of 6 and a memory of 6"),
        (lambda q, m: (m[:, 0], m[:, :, 0]), "attention=refused cannot be asked with a query of 6 and a memory of 6"),
        (lambda q, m, mask: (m, m[:, :, 0]), r"must return a context BxC and weights BxS; with B=2 and S=3 it returns ((2, 3, 6), (2, 3))"),
        (lambda q, m, mask: (m[:, 0], m[:, 0]), r"it returns ((2, 6), (2, 6))"),
    ],
)
def test_what_is_no_mechanism_is_refused(mechanism, said):
    assert said in refused(foreign.row(mechanism))


def test_variables_that_are_no_parameters_are_refused():
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, query_BxH, memory_BxSxM, mask_BxS):
            return by_dot(nn.BatchNorm(use_running_average=False)(query_BxH), memory_BxSxM, mask_BxS)

    assert "Normalised has variables besides its parameters: batch_stats" in refused(foreign.row(Normalised()))


@pytest.mark.parametrize(
    "changes", [{"normaliser": "sparsemax"}, {"window": "local_m"}, {"estimator": "gumbel"}, {"heads": 2}], ids=lambda x: next(iter(x))
)
def test_settings_of_scores_have_no_meaning_to_it(changes):
    (name, value), said = next(iter(changes.items())), refused(MECHANISMS["function"], changes)
    assert f"attention=refused is a mechanism by itself, so model.{name}={value} has no meaning: leave it at" in said
