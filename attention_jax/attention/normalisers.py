"""Scores → weights. Every normaliser gives zero where the mask is False, and zeros for a row without a real position."""

import jax
import jax.numpy as jnp


def softmax(scores_BxS, mask_BxS):
    """α_j = exp(e_j - max e) / Σ_k exp(e_k - max e) over real positions; values and gradients stay finite for scores of ±1e4."""
    top_Bx1 = jnp.max(scores_BxS, axis=1, keepdims=True, where=mask_BxS, initial=-1e30)
    shifted_BxS = jnp.where(mask_BxS, scores_BxS - jax.lax.stop_gradient(top_Bx1), 0)
    exp_BxS = jnp.where(mask_BxS, jnp.exp(shifted_BxS), 0)
    total_Bx1 = exp_BxS.sum(1, keepdims=True)
    return exp_BxS / jnp.where(total_Bx1 > 0, total_Bx1, 1)
