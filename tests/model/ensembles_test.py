"""Several sets of parameters as one model: by NumPy, the mean of their probabilities; of one set, the model itself."""

import jax
import numpy as np
import pytest

from attention_jax import model
from attention_jax.config import ModelConfig, SearchConfig
from attention_jax.model import search
from attention_jax.model.ensembles import ensemble
from attention_jax.types import Batch

pytestmark = pytest.mark.long

V, SOURCE_BxS = 9, np.array([[4, 5, 6, 7, 2], [8, 4, 2, 0, 0]])
MASK_BxS = SOURCE_BxS > 0
CONFIGS = {
    "additive": ModelConfig(hidden_size=6, embedding_size=4),
    "none": ModelConfig(hidden_size=6, embedding_size=4, attention="none"),
    "feeding": ModelConfig(hidden_size=6, embedding_size=4, feeding=True, attention="location_aware", cell="lstm", copy=True),
}


def members(config: ModelConfig, R: int):
    """(model, parameters of each of R members, all of them along a leading axis)."""
    built = model.build(config, V)
    init = jax.jit(built.init)
    each = [jax.tree.map(lambda x: 3 * np.asarray(x), init(jax.random.key(r))) for r in range(R)]
    return built, each, jax.tree.map(lambda *x: np.stack(x), *each)


def probabilities(logits):
    logits = np.asarray(logits, np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_are_the_mean_of_probabilities(name):
    built, each, together = members(CONFIGS[name], 2)
    whole = ensemble(built)
    assert ensemble(built) is whole
    prepared, state = jax.jit(whole.start)(together, SOURCE_BxS, MASK_BxS)
    start, step, step_of_all = jax.jit(built.start), jax.jit(built.step), jax.jit(whole.step)
    alone = [start(params, SOURCE_BxS, MASK_BxS) for params in each]
    for token_B in np.array([[1, 1], [5, 7], [4, 4]]):
        logits_BxV, weights_BxS, state = step_of_all(together, prepared, state, token_B)
        found = [step(params, mine, of_it, token_B) for params, (mine, of_it) in zip(each, alone, strict=True)]
        alone = [(mine, after) for (mine, _), (*_, after) in zip(alone, found, strict=True)]
        mean_BxV = np.mean([probabilities(logits) for logits, *_ in found], 0)
        np.testing.assert_allclose(np.exp(logits_BxV), mean_BxV, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(weights_BxS, np.mean([weights for _, weights, _ in found], 0), atol=1e-6)


def test_teacher_forcing_is_the_mean_of_probabilities():
    built, each, together = members(CONFIGS["additive"], 3)
    target_BxT = np.array([[5, 6, 2], [7, 2, 0]])
    length_B = MASK_BxS.sum(1)
    batch = Batch(SOURCE_BxS, MASK_BxS, target_BxT, target_BxT > 0, np.full_like(target_BxT, -1), length_B, np.arange(2))
    found = ensemble(built).forced(together, batch)
    mean_BxTxV = np.mean([probabilities(built.forced(params, batch).logits_BxTxV) for params in each], 0)
    np.testing.assert_allclose(np.exp(found.logits_BxTxV), mean_BxTxV, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("settings", [SearchConfig(), SearchConfig("beam", beam_size=3, n_best=2)], ids=lambda settings: settings.method)
def test_one_member_is_the_model(settings):
    built, (params,), together = members(CONFIGS["additive"], 1)
    ours, alone = (search.decode(m, p, SOURCE_BxS, MASK_BxS, 6, settings) for m, p in ((ensemble(built), together), (built, params)))
    np.testing.assert_array_equal(ours.tokens_BxNxT, alone.tokens_BxNxT)
    np.testing.assert_allclose(ours.scores_BxN, alone.scores_BxN, rtol=1e-5, atol=1e-5)


def test_a_window_is_that_of_each_member():
    built, each, together = members(CONFIGS["additive"], 2)
    limited = ensemble(built).within(1, 1)
    prepared, state = limited.start(together, SOURCE_BxS, MASK_BxS)
    _, weights_BxS, _ = limited.step(together, prepared, state, np.array([1, 1]))
    assert (np.asarray(weights_BxS)[0, 2:] == 0).all() and (np.asarray(weights_BxS)[0, :2] > 0).all()
