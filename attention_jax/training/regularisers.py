"""Additive loss terms over weights α_BxTxS: how often a place is looked at, and where to look. Each is a sum per example, in _B.

    coverage            Σ_t Σ_s min(α_ts, Σ_{t' < t} α_t's)        See 2017, eq. 12-13
    doubly_stochastic   Σ_s (1 - Σ_t α_ts)²                        Xu 2015, eq. 14
    guided              -Σ_t log α_{t, gold_t}                     Chen 2016, cross-entropy
    guided_by_links     -Σ_t Σ_s A_ts log α_ts, Σ_s A_ts = 1       the same, links of another aligner

Sums, not means over t: `losses` divides once, by tokens. Weights are zero at padded source positions; what stands at padded target
positions changes nothing. The papers' coefficients (λ = 1 for the first two) are settings of training.
"""

import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array

FLOOR = 1e-30
"""log α is taken of no less: a gold place with a smaller weight costs 69 nats and has no gradient."""


@cites("see2017")
def coverage(weights_BxTxS: Array, target_mask_BxT: Array):
    """Computes Σ_t Σ_s min(α_ts, Σ_{t' < t} α_t's) ≥ 0 per example: how much is attended to again (See 2017, eq. 12-13)."""
    real_BxTxS = jnp.where(masks.real(target_mask_BxT)[:, :, None], weights_BxTxS, 0)
    past_BxTxS = jnp.pad(jnp.cumsum(real_BxTxS, axis=1)[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return jnp.minimum(real_BxTxS, past_BxTxS).sum((1, 2))


@cites("xu2015")
def doubly_stochastic(weights_BxTxS: Array, target_mask_BxT: Array, source_mask_BxS: Array):
    """Computes Σ_s (1 - Σ_t α_ts)² over real source positions, per example: each is to get a weight of 1 in all (Xu 2015, eq. 14)."""
    received_BxS = jnp.where(masks.real(target_mask_BxT)[:, :, None], weights_BxTxS, 0).sum(1)
    return (jnp.where(masks.real(source_mask_BxS), 1 - received_BxS, 0) ** 2).sum(1)


@cites("chen2016")
def guided(weights_BxTxS: Array, gold_BxT: Array, target_mask_BxT: Array):
    """Computes -Σ_t log α_{t, gold_t} in nats per example, over target positions that have a gold position, gold ≥ 0 (Chen 2016)."""
    gold_weight_BxT = jnp.take_along_axis(weights_BxTxS, jnp.maximum(gold_BxT, 0)[:, :, None], axis=2)[:, :, 0]
    return -jnp.where(masks.real(target_mask_BxT) & (gold_BxT >= 0), _log(gold_weight_BxT), 0).sum(1)


def guided_by_links(weights_BxTxS: Array, links_BxTxS: Array, target_mask_BxT: Array):
    """Computes -Σ_t Σ_s A_ts log α_ts in nats per example, with A the rows of `links_BxTxS` (≥ 0, or bool) scaled to sum to 1 (Chen 2016).

    Target positions without a link cost nothing.
    """
    weights_BxTxS = jnp.asarray(weights_BxTxS)
    links_BxTxS = jnp.where(masks.real(target_mask_BxT)[:, :, None], links_BxTxS, 0).astype(weights_BxTxS.dtype)
    total_BxTx1 = links_BxTxS.sum(2, keepdims=True)
    share_BxTxS = links_BxTxS / jnp.where(total_BxTx1 > 0, total_BxTx1, 1)
    return -(share_BxTxS * _log(weights_BxTxS)).sum((1, 2))


def _log(weights):
    """log max(α, floor); its gradient is 0 below the floor."""
    return jnp.log(jnp.where(weights > FLOOR, weights, FLOOR))
