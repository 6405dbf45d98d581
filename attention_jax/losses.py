"""Logits → sums and counts. Nothing is divided here: divide once, after adding over devices."""

import jax
import jax.numpy as jnp

from attention_jax import regularisers
from attention_jax.config import TrainingConfig
from attention_jax.types import Batch, Outputs, Scores, Sums


def token_nll(logits_BxTxV, target_BxT, mask_BxT):
    """-log p(target) in nats per position, 0 where the mask is False."""
    normaliser_BxT = jax.nn.logsumexp(logits_BxTxV, axis=2)
    chosen_BxT = jnp.take_along_axis(logits_BxTxV, target_BxT[:, :, None], axis=2)[:, :, 0]
    return jnp.where(mask_BxT, normaliser_BxT - chosen_BxT, 0)


def sums(outputs: Outputs, batch: Batch, config: TrainingConfig) -> Sums:
    """Objective = Σ [(1 - ε) nll + ε · mean over V of -log p] + extra + weighted regularisers; ε = smoothing in [0, 1) (Szegedy 2016)."""
    mask_BxT, ε = batch.target_mask_BxT, config.smoothing
    nll_BxT = token_nll(outputs.logits_BxTxV, batch.target_BxT, mask_BxT)
    objective = nll_BxT.sum()
    if ε:
        uniform_BxT = jax.nn.logsumexp(outputs.logits_BxTxV, axis=2) - outputs.logits_BxTxV.mean(2)
        objective = (1 - ε) * objective + ε * jnp.where(mask_BxT, uniform_BxT, 0).sum()
    correct_BxT = mask_BxT & (outputs.logits_BxTxV.argmax(2) == batch.target_BxT)
    objective = objective + (outputs.extra_B + regularisation(outputs.weights_BxTxS, batch, config)).sum()
    return Sums(objective, nll_BxT.sum(), mask_BxT.sum(), correct_BxT.sum())


def regularisation(weights_BxTxS, batch: Batch, config: TrainingConfig):
    """Coverage loss, doubly stochastic term and guided alignment, each with its weight in `config`; zero where none is asked for."""
    total_B = jnp.zeros(weights_BxTxS.shape[0], weights_BxTxS.dtype)
    if config.coverage:
        total_B += config.coverage * regularisers.coverage(weights_BxTxS, batch.target_mask_BxT)
    if config.doubly_stochastic:
        term_B = regularisers.doubly_stochastic(weights_BxTxS, batch.target_mask_BxT, batch.source_mask_BxS)
        total_B += config.doubly_stochastic * term_B
    if config.guided:
        total_B += config.guided * regularisers.guided(weights_BxTxS, batch.gold_BxT, batch.target_mask_BxT)
    return total_B


def scores(predicted_BxT, nll_BxT, batch: Batch) -> Scores:
    """Per example; `exact_B` is 1.0 where every real position is right, EOS included."""
    mask_BxT = batch.target_mask_BxT
    right_BxT = (predicted_BxT == batch.target_BxT) | ~mask_BxT
    return Scores(nll_BxT.sum(1), mask_BxT.sum(1), (right_BxT & mask_BxT).sum(1), right_BxT.all(1).astype(jnp.float32))
