"""Sampling: y_i ~ q(y | y_<i), where q is the model's distribution, tempered and cut to its likeliest tokens.

    q ∝ exp(logits / temperature)                              on the tokens that are kept
    top_k    the k likeliest tokens (Fan 2018)
    top_p    of them, the smallest set of likeliest tokens whose share of q is at least p: the nucleus (Holtzman 2020, §3.1)

Of tokens that are equally likely the one with the lower id counts as the likelier.
"""

import jax
import jax.numpy as jnp

from attention_jax.config import SearchConfig, check
from attention_jax.layers import keys
from attention_jax.model.search.one_output import SPECIAL, Special, follow
from attention_jax.model.search.steps import Steps
from attention_jax.types.signatures import Array, Key

COLDEST = 1e-30  # a lower temperature is the arg max all the same


def sample(
    steps: Steps,
    positions: int,
    keys_B: Key,
    settings: SearchConfig,
    stop: bool = True,
    special: Special = SPECIAL,
):
    """Samples outputs: (tokens_BxT, weights_BxTxS, log p_B), log p being the model's own, neither tempered nor cut; see `follow`.

    The draw at position i depends on the example's key and on i alone. Raises `ConfigError` for impossible settings.
    """
    check(settings)

    def choose(i, logits_BxV):
        logits_BxV = kept(logits_BxV, settings.temperature, settings.top_k, settings.top_p)
        return jax.vmap(jax.random.categorical)(keys.fold(keys_B, i), logits_BxV)

    return follow(steps, positions, choose, stop, settings.min_length, special)


def kept(logits_BxV: Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0):
    """Returns the logits, up to a constant, of the distribution q that tokens are drawn from; -∞ where a token is left out.

    `temperature` > 0; with top_k = 0 and top_p = 1 no token is left out.
    """
    logits_BxV = logits_BxV.astype(jnp.promote_types(logits_BxV.dtype, jnp.float32))
    logits_BxV = (logits_BxV - logits_BxV.max(1, keepdims=True)) / max(temperature, COLDEST)
    order_BxV = jnp.argsort(-logits_BxV, axis=1, stable=True)
    rank_BxV = jnp.argsort(order_BxV, axis=1)
    if top_k:
        logits_BxV = jnp.where(rank_BxV < top_k, logits_BxV, -jnp.inf)
    if top_p < 1:
        sorted_BxV = jax.nn.softmax(jnp.take_along_axis(logits_BxV, order_BxV, axis=1), axis=1)
        likelier_BxV = jnp.cumsum(sorted_BxV, axis=1) - sorted_BxV  # share of the tokens before each
        inside_BxV = (likelier_BxV < top_p).at[:, 0].set(True)
        logits_BxV = jnp.where(jnp.take_along_axis(inside_BxV, rank_BxV, axis=1), logits_BxV, -jnp.inf)
    return logits_BxV
