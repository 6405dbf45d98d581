"""Sums and counts against plain numpy; they add up over parts of a batch, and what is masked does not count.

What is computed chunk by chunk equals what is computed of all logits at once, gradients included.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.config import TrainingConfig
from attention_jax.layers import predictions
from attention_jax.system import machine
from attention_jax.training import losses, regularisers
from attention_jax.types import Batch, Logits, Outputs, logits_of

B, S, T, V, R = 3, 5, 5, 7, 6
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
    nll_BxT = predictions.token_nll(outputs.logits_BxTxV, batch.target_BxT, batch.target_mask_BxT)
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


@pytest.mark.long
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3]), st.permutations(range(B)))
def test_sums_add_over_parts_of_a_batch(seed, smoothing, order):
    outputs, batch = example(seed)
    whole = losses.sums(outputs, batch, TrainingConfig(smoothing=smoothing))
    parts = [losses.sums(*jax.tree.map(lambda x, b=b: x[b : b + 1], (outputs, batch)), TrainingConfig(smoothing=smoothing)) for b in order]
    total = jax.tree.map(lambda *xs: sum(xs), *parts)
    np.testing.assert_allclose(jax.tree.leaves(whole), jax.tree.leaves(total), rtol=1e-5, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("anything", [1e4, np.nan, -np.inf])
def test_masked_positions_change_nothing_and_get_no_gradient(anything):
    outputs, batch = example(3)
    masked_BxTx1 = ~batch.target_mask_BxT[:, :, None]
    garbage = outputs.replace(prediction=jnp.where(masked_BxTx1, anything, outputs.logits_BxTxV))
    other = batch.replace(target_BxT=jnp.where(batch.target_mask_BxT, batch.target_BxT, V - 1))
    for smoothing in (0.0, 0.2):
        config = TrainingConfig(smoothing=smoothing, coverage=0.5, doubly_stochastic=0.5, guided=0.5)
        gradient = jax.grad(lambda o, b, config=config: losses.sums(o, b, config).objective)
        assert jax.tree.all(jax.tree.map(np.array_equal, losses.sums(outputs, batch, config), losses.sums(garbage, other, config)))
        clean, dirty = gradient(outputs, batch).prediction, gradient(garbage, other).prediction
        assert np.array_equal(clean, dirty) and np.abs(clean).max() > 0
        assert np.abs(np.where(masked_BxTx1, clean, 0)).max() == 0


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
        outputs.replace(prediction=outputs.logits_BxTxV * 1e4)
    )
    assert np.isfinite(sums) and np.isfinite(gradient.prediction).all()


def test_scores_per_example():
    _, batch = example(5)
    nll_BxT = jnp.where(batch.target_mask_BxT, 0.5, 0.0)
    perfect = losses.counted(batch.target_BxT, nll_BxT, batch)
    np.testing.assert_array_equal(perfect.exact_B, [1, 1, 1])
    np.testing.assert_array_equal(perfect.tokens_B, TARGET_LENGTHS)
    np.testing.assert_array_equal(perfect.correct_B, TARGET_LENGTHS)
    np.testing.assert_allclose(perfect.nll_B, [2.0, 1.0, 0.0])
    wrong_last = losses.counted(batch.target_BxT.at[1, TARGET_LENGTHS[1] - 1].add(1), nll_BxT, batch)
    np.testing.assert_array_equal(wrong_last.exact_B, [1, 0, 1])
    np.testing.assert_array_equal(wrong_last.correct_B, [4, 1, 0])
    after_the_end = losses.counted(batch.target_BxT.at[1, TARGET_LENGTHS[1]].add(1), nll_BxT, batch)
    assert jax.tree.all(jax.tree.map(np.array_equal, after_the_end, perfect))


def read_from(seed: int) -> tuple[Outputs, Batch]:
    """The example with its logits not yet made."""
    outputs, batch = example(seed)
    rng = np.random.default_rng(seed)
    arrays = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((B, T, R), (R, V), (V,)))
    return outputs.replace(prediction=Logits(*arrays)), batch


@pytest.fixture(params=[1, 4, 100])
def in_chunks(request, monkeypatch):
    """So many positions to a chunk: 15 chunks; four, the last of which is filled up; one."""
    monkeypatch.setattr(machine, "block", lambda kind: 0)
    monkeypatch.setattr(predictions, "POSITIONS", request.param)


def differentiated(outputs: Outputs, batch: Batch, smoothing: float = 0.1):
    """(sums, gradient for the prediction) of a function of the objective whose slope is not 1."""

    def function(prediction):
        sums = losses.sums(outputs.replace(prediction=prediction), batch, TrainingConfig(smoothing=smoothing))
        return jnp.sin(0.1 * sums.objective), sums

    gradient, sums = jax.grad(function, has_aux=True)(outputs.prediction)
    return sums, gradient


def at_once(outputs: Outputs, batch: Batch, smoothing: float = 0.1):
    """The same of logits, by their gradient's definition."""
    prediction = outputs.prediction
    logits_BxTxV, pull_back = jax.vjp(logits_of, prediction)
    sums, gradient_BxTxV = differentiated(outputs.replace(prediction=logits_BxTxV), batch, smoothing)
    return sums, pull_back(gradient_BxTxV)[0]


def assert_close(ours, theirs, rtol=1e-5, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunks_are_all_logits_at_once(in_chunks, smoothing):
    outputs, batch = read_from(7)
    (sums, gradient), expected = differentiated(outputs, batch, smoothing), at_once(outputs, batch, smoothing)
    assert_close((sums, gradient), expected)
    assert all(np.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(gradient))
    assert_close(losses.sums(outputs, batch, TrainingConfig(smoothing=smoothing)), expected[0])


def test_chunks_of_seeds_side_by_side(in_chunks):
    outputs, batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(read_from, (8, 9)))
    together = jax.jit(jax.vmap(differentiated))(outputs, batches)
    for r, seed in enumerate((8, 9)):
        assert_close(jax.tree.map(lambda x, r=r: x[r], together), at_once(*read_from(seed)))


def test_chunks_do_not_see_what_is_masked(in_chunks):
    outputs, batch = read_from(3)
    masked_BxTx1 = ~batch.target_mask_BxT[:, :, None]
    hidden_BxTxR = jnp.where(masked_BxTx1, jnp.nan, outputs.prediction.hidden_BxTxR)
    garbage = outputs.replace(prediction=outputs.prediction.replace(hidden_BxTxR=hidden_BxTxR))
    other = batch.replace(target_BxT=jnp.where(batch.target_mask_BxT, batch.target_BxT, V - 1))
    clean, dirty = differentiated(outputs, batch), differentiated(garbage, other)
    assert jax.tree.all(jax.tree.map(np.array_equal, clean, dirty))
    assert not np.where(masked_BxTx1, clean[1].hidden_BxTxR, 0).any()
    nothing = differentiated(garbage, batch.replace(target_mask_BxT=jnp.zeros((B, T), bool)))
    assert not any(leaf.any() for leaf in jax.tree.leaves((nothing[0].nll, nothing[0].correct, nothing[1])))


def test_chunks_in_bfloat16_are_summed_in_float32(in_chunks):
    outputs, batch = read_from(4)
    half = outputs.replace(prediction=jax.tree.map(lambda x: x.astype(jnp.bfloat16), outputs.prediction))
    (sums, gradient), (exact_sums, exact) = differentiated(half, batch), differentiated(outputs, batch)
    assert sums.objective.dtype == sums.nll.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_allclose(sums.nll, exact_sums.nll, rtol=0.02)
    assert_close(jax.tree.map(lambda x: x.astype(jnp.float32), gradient), exact, rtol=0.1, atol=0.02)


def test_logits_of_many_words_never_stand_in_memory():
    B, T, R, V = 8, 200, 16, 8000
    shapes = jax.eval_shape(lambda: (jnp.zeros((B, T, R)), jnp.zeros((R, V)), jnp.zeros(V), jnp.zeros((B, T), int), jnp.ones((B, T), bool)))

    def loss(hidden_BxTxR, weight_RxV, bias_V, target_BxT, mask_BxT):
        batch = Batch(None, None, target_BxT, mask_BxT, None, None, None)
        outputs = Outputs(Logits(hidden_BxTxR, weight_RxV, bias_V), jnp.zeros((B, T, 1)), jnp.zeros(B))
        return losses.sums(outputs, batch, TrainingConfig(smoothing=0.1)).objective

    def judged(hidden_BxTxR, weight_RxV, bias_V, target_BxT, mask_BxT):
        return predictions.judged(Logits(hidden_BxTxR, weight_RxV, bias_V), target_BxT, mask_BxT)

    for function in (jax.value_and_grad(loss, argnums=(0, 1, 2)), judged):
        memory = jax.jit(function).lower(*shapes).compile().memory_analysis()
        assert memory.temp_size_in_bytes < B * T * V * 4


def test_judged_in_chunks_or_of_logits(in_chunks):
    outputs, batch = read_from(5)
    logits_BxTxV, mask_BxT = np.asarray(outputs.logits_BxTxV), batch.target_mask_BxT
    for prediction in (outputs.prediction, outputs.logits_BxTxV):
        nll_BxT, tokens_BxT = predictions.judged(prediction, batch.target_BxT, mask_BxT)
        np.testing.assert_allclose(nll_BxT, predictions.token_nll(logits_BxTxV, batch.target_BxT, mask_BxT), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.where(mask_BxT, tokens_BxT, 0), np.where(mask_BxT, logits_BxTxV.argmax(2), 0))


def test_likeliest_is_the_arg_max_and_the_first_of_equals():
    logits_NxV = jnp.asarray(np.random.default_rng(0).integers(0, 3, (50, V)), jnp.float32).at[0].set(-jnp.inf)
    np.testing.assert_array_equal(predictions.argmax(logits_NxV), logits_NxV.argmax(1))


@pytest.mark.parametrize(("backend", "chunks"), [("cpu", 16), ("gpu", 2)])
def test_bahdanau_s_logits_come_in_few_chunks_on_a_gpu(backend, chunks, monkeypatch):
    """80 sentences of 50 words, 30,000 of them known: each chunk reads 120 MB of weights."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert jax.eval_shape(lambda x: predictions.in_chunks(30_000, x)[0], jnp.zeros(80 * 50)).shape[0] == chunks
