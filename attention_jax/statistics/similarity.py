"""Is a weight a similarity? Rank correlation of the weights of a look with how alike query and memory vectors are.

    cos_ts = q_t · k_s / (‖q_t‖ ‖k_s‖)
    ρ_t    = Pearson's correlation of the ranks of w_ts and of cos_ts over the real places s         Spearman 1904

ρ is 1 where weights rise with similarity, however steeply. It is not defined where all weights, or all cosines, are equal.
"""

import jax.numpy as jnp

from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array

SHORTEST = 1e-12
"""Products of lengths below this one count as this: vectors of zeros are like nothing."""


def cosine(query_BxTxM: Array, key_BxSxM: Array):
    """Computes cos_ts of every query and key."""
    product_BxTxS = jnp.einsum("btm,bsm->bts", query_BxTxM, key_BxSxM)
    lengths_BxTxS = jnp.linalg.norm(query_BxTxM, axis=2)[:, :, None] * jnp.linalg.norm(key_BxSxM, axis=2)[:, None]
    return product_BxTxS / jnp.maximum(lengths_BxTxS, SHORTEST)


def ranks(values_xS: Array, mask_xS: Array):
    """Ranks real values along the last axis, from 1 for the smallest; equal ones get the mean of their ranks, others 0."""
    real_xS = mask_xS[..., None, :]
    below_xS = (real_xS & (values_xS[..., None, :] < values_xS[..., :, None])).sum(-1, dtype=jnp.int32)
    equal_xS = (real_xS & (values_xS[..., None, :] == values_xS[..., :, None])).sum(-1, dtype=jnp.int32)
    return jnp.where(mask_xS, below_xS + (equal_xS + 1) / 2, 0)


@cites("spearman1904")
def rank_correlation(a_xS: Array, b_xS: Array, mask_xS: Array):
    """Computes (ρ over the real places of the last axis, whether it is defined); ρ is 0 where it is not."""
    count_x1 = jnp.maximum(mask_xS.sum(-1, keepdims=True, dtype=jnp.int32), 1)
    centred = []
    for values_xS in (a_xS, b_xS):
        rank_xS = ranks(values_xS, mask_xS)
        centred.append(jnp.where(mask_xS, rank_xS - rank_xS.sum(-1, keepdims=True) / count_x1, 0))
    a_xS, b_xS = centred
    scale_x = jnp.sqrt((a_xS * a_xS).sum(-1) * (b_xS * b_xS).sum(-1))
    return jnp.where(scale_x > 0, (a_xS * b_xS).sum(-1) / jnp.where(scale_x > 0, scale_x, 1), 0), scale_x > 0
