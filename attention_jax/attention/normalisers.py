"""Scores → weights. A row is `row(config) → Normaliser`; weights are exactly zero where the mask is False, rows without a real position get
zeros, and values and gradients stay finite for scores of ±1e4.

    softmax      α_j = exp(e_j) / Σ_k exp(e_k)
    smoothing    α_j = σ(e_j) / Σ_k σ(e_k)        Chorowski 2015, §2.3: σ instead of exp, so that several positions share the weight
    exponential  α_j = exp(e_j)                   Graves 2013, eq. 47: the window of `gaussian`, without a sum; mass "any"

The sparse ones are in `entmax.py`, those that move along the source in `monotonic.py` and `forward.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.config import ModelConfig
from attention_jax.types import Normaliser
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Weigh

LARGEST_EXPONENT = 40.0
"""`exponential` takes larger scores for this one: e⁴⁰ ≈ 2e17, whose square still is a float32."""


def softmax_row(config: ModelConfig) -> Normaliser:
    """Makes the softmax.

    Use it first: no real position has a weight of zero, so that each can be learned.

    No paper: it is older than attention.
    """
    return plain(softmax)


@cites("chorowski2015")
def smoothing_row(config: ModelConfig) -> Normaliser:
    """Makes Chorowski's smoothing: sigmoids divided by their sum.

    Use it where one output rests on several positions, as a sound on its frames in Chorowski 2015. What it gains has not been measured
    here.
    """
    return plain(smoothing)._replace(formula=lambda e: (1 / (1 + np.exp(-e))) / (1 / (1 + np.exp(-e))).sum())


@cites("graves2013")
def exponential_row(config: ModelConfig) -> Normaliser:
    """Makes the bare exponential; weights may have any sum.

    Use it with gaussian, to have the window of Graves 2013 as it was published, or with gmm_v2. Other scores are refused.
    """
    return plain(exponential)._replace(mass="any")


def plain(function: Weigh) -> Normaliser:
    """Makes a row of a function (scores_xS, mask_xS) → weights_xS that carries no state and draws nothing."""
    return Normaliser(lambda params, state, scores, mask_BxTxS, keys_BxT: (function(scores[0], mask_BxTxS), state))


def softmax(scores_xS: Array, mask_xS: Array):
    """Computes α_j = exp(e_j - max e) / Σ_k exp(e_k - max e) over real positions, along the last axis."""
    top_x1 = jnp.max(scores_xS, axis=-1, keepdims=True, where=mask_xS, initial=-1e30)
    shifted_xS = jnp.where(mask_xS, scores_xS - jax.lax.stop_gradient(top_x1), 0)
    exp_xS = jnp.where(mask_xS, jnp.exp(shifted_xS), 0)
    total_x1 = exp_xS.sum(-1, keepdims=True)
    return exp_xS / jnp.where(total_x1 > 0, total_x1, 1)


def smoothing(scores_xS: Array, mask_xS: Array):
    """Computes α_j = σ(e_j) / Σ_k σ(e_k) along the last axis, as a softmax of log σ(e): defined where every σ(e) rounds to 0."""
    return softmax(jax.nn.log_sigmoid(jnp.where(mask_xS, scores_xS, 0)), mask_xS)


def exponential(scores_xS: Array, mask_xS: Array):
    """Computes α_j = exp(min(e_j, 40)); the gradient is zero above 40."""
    capped_xS = jnp.minimum(jnp.where(mask_xS, scores_xS, 0), LARGEST_EXPONENT)
    return jnp.where(mask_xS, jnp.exp(capped_xS), 0)
