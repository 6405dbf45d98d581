"""Looks that are changed, against the same done one example and one step at a time."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import model
from attention_jax.config import ModelConfig
from attention_jax.model import interventions
from attention_jax.system.errors import ConfigError
from attention_jax.types import EOS, Batch, logits_of

V, B, T, S = 9, 3, 4, 5
CONFIG = ModelConfig(attention="general", hidden_size=4, decoder_size=6, embedding_size=3, timing="after")
MASK_BxS = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [1, 0, 0, 0, 0]], bool)


def batch() -> Batch:
    draw = np.random.default_rng(0).integers
    target_BxT = draw(EOS, V, (B, T)).astype(np.int32)
    mask_BxT = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
    source_BxS = np.where(MASK_BxS, draw(EOS, V, (B, S)), 0).astype(np.int32)
    return Batch(source_BxS, MASK_BxS, target_BxT, mask_BxT, np.full((B, T), -1, np.int32), np.full(B, T, np.int32), np.arange(B))


@pytest.fixture(scope="module", params=["general", "additive", "scaled_dot"])
def made(request):
    """(config, parameters that are far from their start)."""
    config = replace(CONFIG, attention=request.param, decoder_size=8)
    params = model.build(config, V).init(jax.random.key(1))
    return config, jax.tree.map(lambda x: 3 * x, params)


def predicted(config: ModelConfig, params, weights_BxTxS) -> np.ndarray:
    """Log-probabilities of every step whose context is these weights' sum of memory vectors, one step at a time."""
    stages = model.stages(config, V)
    memory_BxSxM, query_BxTxH, _ = interventions.looks(stages, params, batch())
    previous_BxT = np.pad(batch().target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=1)
    embedded_BxTxE = np.asarray(params["target_embedding"])[previous_BxT]
    found = np.zeros((B, T, V))
    for b, t in itertools.product(range(B), range(T)):
        context_M = sum(float(weights_BxTxS[b, t, s]) * np.asarray(memory_BxSxM[b, s]) for s in range(S))
        read_R = stages.decoder.readout(params["decoder"], query_BxTxH[b, t], context_M, embedded_BxTxE[b, t])
        found[b, t] = jax.nn.log_softmax(read_R @ params["logits"]["weight"] + params["logits"]["bias"])
    return found


def log_p(config: ModelConfig, params, change=None) -> tuple[np.ndarray, np.ndarray]:
    built = interventions.intervened(config, V, change) if change else model.build(config, V)
    outputs = built.forced(params, batch(), None)
    return np.asarray(jax.nn.log_softmax(logits_of(outputs.prediction))), np.asarray(outputs.weights_BxTxS)


def test_looks_are_those_of_the_model(made):
    config, params = made
    memory_BxSxM, query_BxTxH, attended = interventions.looks(model.stages(config, V), params, batch())
    plain, weights_BxTxS = log_p(config, params)
    np.testing.assert_array_equal(attended.weights_BxTxS, weights_BxTxS)
    assert memory_BxSxM.shape == (B, S, 8) and query_BxTxH.shape == (B, T, 8)
    np.testing.assert_allclose(predicted(config, params, weights_BxTxS), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["most attended", "another"])
def test_a_place_is_removed(made, which):
    config, params = made
    _, plain_BxTxS = log_p(config, params)
    choose = interventions.most_attended if which == "most attended" else interventions.another(jax.random.key(3))
    place_BxT = np.asarray(choose(plain_BxTxS, MASK_BxS))
    left_BxTxS = plain_BxTxS.astype(np.float64) * (np.arange(S)[None, None] != place_BxT[:, :, None])
    total_BxTx1 = left_BxTxS.sum(2, keepdims=True)
    wanted_BxTxS = left_BxTxS / np.where(total_BxTx1 > 0, total_BxTx1, 1)
    found, weights_BxTxS = log_p(config, params, interventions.removed(choose))
    np.testing.assert_allclose(weights_BxTxS, wanted_BxTxS, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found, predicted(config, params, wanted_BxTxS), rtol=1e-4, atol=1e-5)
    if which == "most attended":
        np.testing.assert_array_equal(weights_BxTxS[2], 0)  # of one place nothing is left
        np.testing.assert_array_equal(place_BxT, plain_BxTxS.argmax(2))
    else:
        assert (place_BxT[:2] != plain_BxTxS[:2].argmax(2)).all()


def test_weights_are_dealt_to_other_places(made):
    config, params = made
    _, plain_BxTxS = log_p(config, params)
    found, weights_BxTxS = log_p(config, params, interventions.permuted(jax.random.key(5)))
    np.testing.assert_array_equal(weights_BxTxS[:, :, :][~np.broadcast_to(MASK_BxS[:, None], (B, T, S))], 0)
    np.testing.assert_array_equal(np.sort(weights_BxTxS, axis=2), np.sort(plain_BxTxS, axis=2))
    assert (weights_BxTxS != plain_BxTxS).any()
    np.testing.assert_allclose(found, predicted(config, params, weights_BxTxS), rtol=1e-4, atol=1e-5)


def test_orders_and_other_places_are_equally_likely():
    n, mask_1xS = 12_000, np.array([[1, 0, 1, 1]], bool)
    weights_1xNxS = jnp.broadcast_to(jnp.array([0.5, 0, 0.3, 0.2]), (1, n, 4))
    dealt_NxS = np.asarray(interventions.dealt(jax.random.key(0), weights_1xNxS, mask_1xS))[0]
    orders, counts = np.unique(dealt_NxS, axis=0, return_counts=True)
    assert len(orders) == 6 and np.abs(counts - n / 6).max() < 4 * np.sqrt(n / 6)
    place_N = np.asarray(interventions.another(jax.random.key(1))(weights_1xNxS, mask_1xS))[0]
    assert set(place_N.tolist()) == {2, 3} and abs((place_N == 2).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize(
    "changes",
    [
        {"timing": "before"},
        {"feeding": True},
        {"heads": 2},
        {"slots": 2},
        {"estimator": "gumbel"},
        {"copy": True},
        {"decoder": "gnmt"},
        {"attention": "summary"},
        {"attention": "coverage"},
        {"attention": "location"},
        {"window": "local_p"},
    ],
)
def test_looks_that_reach_further_are_refused(changes):
    with pytest.raises(ConfigError, match="looks are changed"):
        interventions.intervened(replace(CONFIG, **changes), V, interventions.permuted(jax.random.key(0)))
