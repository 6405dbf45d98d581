"""A replay against NumPy step by step, and against the search whose outputs it follows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import model
from attention_jax.config import ModelConfig, SearchConfig
from attention_jax.model import ensembles, search
from attention_jax.model.search import replay
from attention_jax.types import BOS
from tests.model.search import small

NAMED = small.MODEL._replace(norm=lambda state: jnp.linalg.norm(state["h"], axis=1))
SEARCHES = [SearchConfig(), SearchConfig("sample"), SearchConfig("beam", beam_size=3, n_best=2), SearchConfig(replace_unknown=True)]


@pytest.mark.parametrize("seed", range(3))
def test_every_step_is_that_of_numpy(seed):
    params, rng = small.draw(seed), np.random.default_rng(seed)
    rows = [[4, 5, 6], [7, 4], [8]]
    source_BxS, mask_BxS = small.batch(rows)
    tokens_BxT = rng.integers(0, small.V, (3, 5))
    known = replay.along(NAMED, params, source_BxS, mask_BxS, jnp.asarray(tokens_BxT), K=3)
    for b, row in enumerate(rows):
        h_H, seen_S, token = small.begin(row)
        assert token == BOS
        for t in range(5):
            log_p_V, weights_S, h_H, seen_S = small.numpy_step(params, row, h_H, seen_S, token)
            order = np.argsort(-log_p_V)[:3]
            np.testing.assert_allclose(known.weights_BxTxS[b, t, : len(row)], weights_S, atol=1e-5)
            assert known.norm_BxT[b, t] == pytest.approx(np.linalg.norm(h_H), rel=1e-4)
            np.testing.assert_array_equal(known.likely_BxTxK[b, t], order)
            np.testing.assert_allclose(known.log_p_BxTxK[b, t], log_p_V[order], atol=1e-4)
            token = tokens_BxT[b, t]


def test_of_few_tokens_all_are_named_and_a_norm_may_be_unknown():
    source_BxS, mask_BxS = small.batch([[4, 5]])
    known = replay.along(small.MODEL, small.draw(0), source_BxS, mask_BxS, jnp.array([[1, 2]]), K=99)
    assert known.likely_BxTxK.shape == (1, 2, small.V) and np.isnan(known.norm_BxT).all()
    np.testing.assert_allclose(np.exp(known.log_p_BxTxK).sum(2), 1, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("settings", SEARCHES, ids=lambda settings: f"{settings.method}, {settings.replace_unknown}")
@pytest.mark.parametrize("attention", ["additive", "summary"])
def test_a_search_is_the_same_with_and_without(settings, attention):
    """And its weights, and the probability of what it says, are those of the replay."""
    built = model.build(ModelConfig(attention=attention, hidden_size=5, embedding_size=4), 9)

    params = built.init(jax.random.key(0))
    params["logits"]["weight"] = 5 * params["logits"]["weight"]
    source_BxS, mask_BxS = small.batch([[4, 5, 2], [7, 2]])
    given = built, params, source_BxS, mask_BxS, 4, settings
    plain, (found, known) = search.decode(*given), search.examined(*given)
    np.testing.assert_array_equal(plain.tokens_BxNxT, found.tokens_BxNxT)
    np.testing.assert_array_equal(plain.scores_BxN, found.scores_BxN)
    ended_BxNxT = np.asarray(found.weights_BxNxTxS).any(3)
    np.testing.assert_allclose(np.where(ended_BxNxT[..., None], known.weights_BxTxS, 0), found.weights_BxNxTxS, atol=1e-6)
    assert np.isfinite(known.norm_BxT).all() and known.likely_BxTxK.shape == (*found.tokens_BxNxT.shape, 5)
    if settings == SearchConfig():
        said_BxT = np.asarray(found.tokens_BxNxT)[:, 0]
        is_said_BxT = np.cumprod(np.pad(said_BxT[:, :-1] != 2, ((0, 0), (1, 0)), constant_values=True), axis=1).astype(bool)
        np.testing.assert_array_equal(np.asarray(known.likely_BxTxK)[:, 0, :, 0][is_said_BxT], said_BxT[is_said_BxT])
        total_B = np.where(is_said_BxT, np.asarray(known.log_p_BxTxK)[:, 0, :, 0], 0).sum(1)
        np.testing.assert_allclose(total_B, found.log_p_BxN[:, 0], rtol=1e-5)


@pytest.mark.long
def test_outputs_that_begin_with_given_tokens():
    source_BxS, mask_BxS = small.batch([[4, 5, 6], [7, 4]])
    given = search.Given(np.array([[0, 3], [0, 0]]), np.array([2, 1]))
    found, known = search.examined(NAMED, small.draw(0), source_BxS, mask_BxS, 4, given=given)
    assert found.tokens_BxNxT[0, 0, :2].tolist() == [0, 3] and found.tokens_BxNxT[1, 0, 0] == 0
    forced = replay.along(NAMED, small.draw(0), source_BxS, mask_BxS, found.tokens_BxNxT[:, 0])
    np.testing.assert_allclose(known.log_p_BxTxK[:, 0], forced.log_p_BxTxK, rtol=1e-5)


@pytest.mark.long
def test_the_norm_of_an_ensemble_is_the_mean():

    built = model.build(ModelConfig(hidden_size=5, embedding_size=4, cell="lstm", decoder_layers=2), 9)
    members = [built.init(jax.random.key(seed)) for seed in range(2)]
    source_BxS, mask_BxS = small.batch([[4, 5, 2], [7, 2]])
    tokens_BxT = jnp.array([[4, 5, 2], [6, 2, 0]])
    alone = [replay.along(built, params, source_BxS, mask_BxS, tokens_BxT).norm_BxT for params in members]
    together = replay.along(ensembles.ensemble(built), jax.tree.map(lambda *x: jnp.stack(x), *members), source_BxS, mask_BxS, tokens_BxT)
    np.testing.assert_allclose(together.norm_BxT, np.mean(alone, axis=0), rtol=1e-5)
    assert np.all(np.asarray(alone) < 5**0.5), "the output of an LSTM is below 1, its memory is not"
