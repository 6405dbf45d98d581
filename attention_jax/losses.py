"""Logits → sums and counts. Nothing is divided here: divide once, after adding over devices."""

import jax
import jax.numpy as jnp

from attention_jax.types import Batch, Outputs, Scores, Sums


def token_nll(logits_BxTxV, target_BxT, mask_BxT):
    """-log p(target) in nats per position, 0 where the mask is False."""
    normaliser_BxT = jax.nn.logsumexp(logits_BxTxV, axis=2)
    chosen_BxT = jnp.take_along_axis(logits_BxTxV, target_BxT[:, :, None], axis=2)[:, :, 0]
    return jnp.where(mask_BxT, normaliser_BxT - chosen_BxT, 0)


def sums(outputs: Outputs, batch: Batch, smoothing: float) -> Sums:
    """Objective = Σ [(1 - ε) nll + ε · mean over V of -log p] + extra; ε = smoothing in [0, 1) (Szegedy 2016)."""
    mask_BxT = batch.target_mask_BxT
    nll_BxT = token_nll(outputs.logits_BxTxV, batch.target_BxT, mask_BxT)
    objective = nll_BxT.sum()
    if smoothing:
        uniform_BxT = jax.nn.logsumexp(outputs.logits_BxTxV, axis=2) - outputs.logits_BxTxV.mean(2)
        objective = (1 - smoothing) * objective + smoothing * jnp.where(mask_BxT, uniform_BxT, 0).sum()
    correct_BxT = mask_BxT & (outputs.logits_BxTxV.argmax(2) == batch.target_BxT)
    return Sums(objective + outputs.extra_B.sum(), nll_BxT.sum(), mask_BxT.sum(), correct_BxT.sum())


def scores(predicted_BxT, nll_BxT, batch: Batch) -> Scores:
    """Per example; `exact_B` is 1.0 where every real position is right, EOS included."""
    mask_BxT = batch.target_mask_BxT
    right_BxT = (predicted_BxT == batch.target_BxT) | ~mask_BxT
    return Scores(nll_BxT.sum(1), mask_BxT.sum(1), (right_BxT & mask_BxT).sum(1), right_BxT.all(1).astype(jnp.float32))
