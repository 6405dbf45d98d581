"""Predictions → sums and counts. Nothing is divided here: divide once, after adding over devices.

Logits are B·T·V numbers, with many words more than all else of a model. So they are made chunk by chunk of positions, and a chunk's
gradients are taken while its logits are at hand: the backward pass makes none again (Hsu 2024, arXiv:2410.10989, §3.2). All that is
computed of a chunk is `plain`, differentiated as it stands; with few words there is one chunk.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp

from attention_jax.config import TrainingConfig, check
from attention_jax.layers import masks
from attention_jax.layers.predictions import argmax, exact, in_chunks, logits, token_nll
from attention_jax.training import regularisers
from attention_jax.types import EOS, Batch, Counted, Logits, Outputs, Sums
from attention_jax.types.signatures import Array


def sums(outputs: Outputs, batch: Batch, config: TrainingConfig) -> Sums:
    """Sums the losses of a batch: Σ [(1 - ε) nll + ε · mean over V of -log p] + extra + weighted regularisers is the objective.

    ε = `config.smoothing` in [0, 1) is label smoothing (Szegedy 2016). Only the objective has a gradient. Raises `ConfigError` for settings
    that cannot be.
    """
    check(config)
    target_N, mask_N, prediction = batch.target_BxT.reshape(-1), masks.real(batch.target_mask_BxT).reshape(-1), outputs.prediction
    if isinstance(prediction, Logits):
        hidden_NxR = prediction.hidden_BxTxR.reshape(target_N.size, -1)
        read = hidden_NxR, prediction.weight_RxV, prediction.bias_V
        found = cross_entropy(*read, target_N, mask_N, config.smoothing)
        objective, nll, correct = cast(tuple[jax.Array, jax.Array, jax.Array], found)  # checkers lose what `custom_vjp` returns
    else:
        logits_NxV = jnp.where(mask_N[:, None], prediction.reshape(target_N.size, -1), 0)
        objective, nll, correct = plain(logits_NxV, target_N, mask_N, config.smoothing)
    objective = objective + (outputs.extra_B + regularisation(outputs.weights_BxTxS, batch, config)).sum()
    return Sums(objective, nll, mask_N.sum(dtype=jnp.int32), correct)


def plain(logits_NxV: Array, target_N: Array, mask_N: Array, smoothing: float):
    """Sums over positions where the mask is True: (objective, nll, count of positions whose arg max is the target), in nats."""
    nll = objective = token_nll(logits_NxV, target_N, mask_N).sum()
    if smoothing:
        exact_NxV = exact(logits_NxV)
        uniform_N = jax.nn.logsumexp(exact_NxV, axis=1) - exact_NxV.mean(1)
        objective = (1 - smoothing) * nll + smoothing * jnp.where(mask_N, uniform_N, 0).sum()
    return objective, nll, (mask_N & (argmax(logits_NxV) == target_N)).sum(dtype=jnp.int32)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def cross_entropy(hidden_NxR: Array, weight_RxV: Array, bias_V: Array, target_N: Array, mask_N: Array, smoothing: float):
    """Computes `plain` of logits = hidden · weight + bias, chunk by chunk of positions; only the objective has a gradient.

    What stands in `hidden` where the mask is False changes nothing.
    """
    return _forward(hidden_NxR, weight_RxV, bias_V, target_N, mask_N, smoothing)[0]


def _forward(hidden_NxR, weight_RxV, bias_V, target_N, mask_N, smoothing: float):
    """(the sums, the gradients of the first)."""

    def of_chunk(hidden_NxR, weight_RxV, bias_V, target_N, mask_N):
        terms = plain(logits(hidden_NxR, weight_RxV, bias_V, mask_N), target_N, mask_N, smoothing)
        return terms[0], terms

    def body(totals, chunk):
        hidden_NxR, target_N, mask_N = chunk
        gradients, terms = jax.grad(of_chunk, (0, 1, 2), has_aux=True)(hidden_NxR, weight_RxV, bias_V, target_N, mask_N)
        return jax.tree.map(jnp.add, totals, gradients[1:]), (gradients[0], terms)

    zeros = exact(jnp.zeros_like(weight_RxV)), exact(jnp.zeros_like(bias_V))
    chunks = in_chunks(bias_V.size, hidden_NxR, target_N, mask_N)
    (weight_gradient_RxV, bias_gradient_V), (hidden_gradients, terms) = jax.lax.scan(body, zeros, chunks)
    gradients = (
        hidden_gradients.reshape(-1, hidden_NxR.shape[1])[: len(target_N)],
        weight_gradient_RxV.astype(weight_RxV.dtype),
        bias_gradient_V.astype(bias_V.dtype),
    )
    return jax.tree.map(lambda x_C: x_C.sum(0, dtype=x_C.dtype), terms), gradients


def _backward(smoothing: float, gradients, cotangents):
    return *((exact(g) * cotangents[0]).astype(g.dtype) for g in gradients), None, None


cross_entropy.defvjp(_forward, _backward)


def regularisation(weights_BxTxS: Array, batch: Batch, config: TrainingConfig):
    """Sums the regularisers of attention that `config` asks for, each times its weight there; returns one number per example, _B."""
    total_B = jnp.zeros(weights_BxTxS.shape[0], weights_BxTxS.dtype)
    if config.coverage:
        total_B += config.coverage * regularisers.coverage(weights_BxTxS, batch.target_mask_BxT)
    if config.doubly_stochastic:
        term_B = regularisers.doubly_stochastic(weights_BxTxS, batch.target_mask_BxT, batch.source_mask_BxS)
        total_B += config.doubly_stochastic * term_B
    if config.guided:
        total_B += config.guided * regularisers.guided(weights_BxTxS, batch.gold_BxT, batch.target_mask_BxT)
    return total_B


def counted(predicted_BxT: Array, nll_BxT: Array, batch: Batch) -> Counted:
    """Counts what is right in each example; `exact_B` is 1.0 where every real position is right, EOS included."""
    mask_BxT = masks.real(batch.target_mask_BxT)
    right_BxT = (predicted_BxT == batch.target_BxT) | ~mask_BxT
    symbol_BxT = mask_BxT & (batch.target_BxT != EOS)
    return Counted(
        nll_BxT.sum(1),
        mask_BxT.sum(1, dtype=jnp.int32),
        (right_BxT & mask_BxT).sum(1, dtype=jnp.int32),
        right_BxT.all(1).astype(jnp.float32),
        symbol_BxT.sum(1, dtype=jnp.int32),
        (symbol_BxT & ~right_BxT).sum(1, dtype=jnp.int32),
    )
