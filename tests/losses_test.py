"""Sums and counts against plain numpy; they add up over parts of a batch, and what is masked does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import losses, regularisers
from attention_jax.config import TrainingConfig
from attention_jax.types import Batch, Outputs

B, S, T, V = 3, 5, 4, 7
TARGET_LENGTHS = (4, 2, 0)


def example(seed: int) -> tuple[Outputs, Batch]:
    rng = np.random.default_rng(seed)
    mask_BxT = np.arange(T) < np.array(TARGET_LENGTHS)[:, None]
    target_BxT = np.where(mask_BxT, rng.integers(2, V, (B, T)), 0)
    outputs = Outputs(
        jnp.asarray(rng.normal(0, 3, (B, T, V)), jnp.float32), jnp.zeros((B, T, S)), jnp.asarray(rng.normal(size=B), jnp.float32)
    )
    source_BxS = jnp.ones((B, S), jnp.int32)
    batch = Batch(
        source_BxS,
        source_BxS > 0,
        jnp.asarray(target_BxT, jnp.int32),
        jnp.asarray(mask_BxT),
        jnp.full((B, T), -1),
        jnp.arange(B),
        jnp.arange(B),
    )
    return outputs, batch


def log_probabilities(outputs: Outputs) -> np.ndarray:
    logits_BxTxV = np.asarray(outputs.logits_BxTxV, np.float64)
    return logits_BxTxV - np.log(np.exp(logits_BxTxV).sum(2, keepdims=True))


def real_positions(batch: Batch):
    return [(b, t, int(batch.target_BxT[b, t])) for b in range(B) for t in range(T) if batch.target_mask_BxT[b, t]]


@pytest.mark.parametrize("seed", [0, 1])
def test_token_nll_is_minus_log_probability(seed):
    outputs, batch = example(seed)
    nll_BxT = losses.token_nll(outputs.logits_BxTxV, batch.target_BxT, batch.target_mask_BxT)
    expected_BxT = np.zeros((B, T))
    for b, t, token in real_positions(batch):
        expected_BxT[b, t] = -log_probabilities(outputs)[b, t, token]
    np.testing.assert_allclose(nll_BxT, expected_BxT, rtol=1e-5, atol=1e-6)
    assert (np.asarray(nll_BxT)[~np.asarray(batch.target_mask_BxT)] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_sums_follow_the_formula(smoothing):
    outputs, batch = example(2)
    log_p = log_probabilities(outputs)
    smooth_V = lambda token: (1 - smoothing) * np.eye(V)[token] + smoothing / V  # noqa: E731  the smoothed target distribution
    expected = sum(-(smooth_V(token) * log_p[b, t]).sum() for b, t, token in real_positions(batch))
    sums = losses.sums(outputs, batch, TrainingConfig(smoothing=smoothing))
    assert float(sums.objective) == pytest.approx(expected + float(outputs.extra_B.sum()), rel=1e-5)
    assert float(sums.nll) == pytest.approx(sum(-log_p[b, t, token] for b, t, token in real_positions(batch)), rel=1e-5)
    assert int(sums.tokens) == sum(TARGET_LENGTHS)
    assert int(sums.correct) == sum(log_p[b, t].argmax() == token for b, t, token in real_positions(batch))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3]), st.permutations(range(B)))
def test_sums_add_over_parts_of_a_batch(seed, smoothing, order):
    outputs, batch = example(seed)
    whole = losses.sums(outputs, batch, TrainingConfig(smoothing=smoothing))
    parts = [losses.sums(*jax.tree.map(lambda x, b=b: x[b : b + 1], (outputs, batch)), TrainingConfig(smoothing=smoothing)) for b in order]
    total = jax.tree.map(lambda *xs: sum(xs), *parts)
    np.testing.assert_allclose(jax.tree.leaves(whole), jax.tree.leaves(total), rtol=1e-5, atol=1e-5)


def test_masked_positions_change_nothing_and_get_no_gradient():
    outputs, batch = example(3)
    masked_BxTx1 = ~batch.target_mask_BxT[:, :, None]
    garbage = outputs.replace(logits_BxTxV=jnp.where(masked_BxTx1, 1e4, outputs.logits_BxTxV))
    other = batch.replace(target_BxT=jnp.where(batch.target_mask_BxT, batch.target_BxT, V - 1))
    for smoothing in (0.0, 0.2):
        config = TrainingConfig(smoothing=smoothing, coverage=0.5, doubly_stochastic=0.5, guided=0.5)
        gradient = jax.grad(lambda o, b, config=config: losses.sums(o, b, config).objective)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, losses.sums(outputs, batch, config), losses.sums(garbage, other, config)))
        clean, dirty = gradient(outputs, batch).logits_BxTxV, gradient(garbage, other).logits_BxTxV
        assert jnp.array_equal(clean, dirty) and jnp.abs(clean).max() > 0
        assert jnp.abs(jnp.where(masked_BxTx1, clean, 0)).max() == 0


def test_regularisers_are_weighed_and_added():
    outputs, batch = example(6)
    weights_BxTxS = jax.nn.softmax(jnp.asarray(np.random.default_rng(1).normal(size=(B, T, S)), jnp.float32), axis=2)
    outputs, batch = outputs.replace(weights_BxTxS=weights_BxTxS), batch.replace(gold_BxT=jnp.zeros((B, T), jnp.int32))
    plain = losses.sums(outputs, batch, TrainingConfig()).objective
    terms = {
        "coverage": regularisers.coverage(weights_BxTxS, batch.target_mask_BxT),
        "doubly_stochastic": regularisers.doubly_stochastic(weights_BxTxS, batch.target_mask_BxT, batch.source_mask_BxS),
        "guided": regularisers.guided(weights_BxTxS, batch.gold_BxT, batch.target_mask_BxT),
    }
    for name, term_B in terms.items():
        weighed = losses.sums(outputs, batch, TrainingConfig(**{name: 0.5})).objective
        assert float(weighed - plain) == pytest.approx(0.5 * float(term_B.sum()), rel=1e-4) and float(term_B.sum()) > 0


def test_large_logits_stay_finite():
    outputs, batch = example(4)
    sums, gradient = jax.value_and_grad(lambda o: losses.sums(o, batch, TrainingConfig(smoothing=0.1)).objective)(
        outputs.replace(logits_BxTxV=outputs.logits_BxTxV * 1e4)
    )
    assert jnp.isfinite(sums) and jnp.isfinite(gradient.logits_BxTxV).all()


def test_scores_per_example():
    _, batch = example(5)
    nll_BxT = jnp.where(batch.target_mask_BxT, 0.5, 0.0)
    perfect = losses.scores(batch.target_BxT, nll_BxT, batch)
    np.testing.assert_array_equal(perfect.exact_B, [1, 1, 1])
    np.testing.assert_array_equal(perfect.tokens_B, TARGET_LENGTHS)
    np.testing.assert_array_equal(perfect.correct_B, TARGET_LENGTHS)
    np.testing.assert_allclose(perfect.nll_B, [2.0, 1.0, 0.0])
    wrong_last = losses.scores(batch.target_BxT.at[1, TARGET_LENGTHS[1] - 1].add(1), nll_BxT, batch)
    np.testing.assert_array_equal(wrong_last.exact_B, [1, 0, 1])
    np.testing.assert_array_equal(wrong_last.correct_B, [4, 1, 0])
    after_the_end = losses.scores(batch.target_BxT.at[1, TARGET_LENGTHS[1]].add(1), nll_BxT, batch)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, after_the_end, perfect))
