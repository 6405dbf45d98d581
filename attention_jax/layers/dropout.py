"""Dropout whose draws belong to (update, example, stream): padding and sharding do not change them."""

import jax
import jax.numpy as jnp

from attention_jax.layers import keys
from attention_jax.types.signatures import Array, Key


def dropout(x_BxTxE: Array, rate: float, keys_B: Key | None, *places: Array | int):
    """Computes x · Bernoulli(1 - rate) / (1 - rate), a mask per example (Srivastava 2014); x itself without keys or with rate 0.

    `places` are the stream below `keys_B` that is drawn from, and its number, as for `keys.fold`. The draw at position t does not depend on
    T: JAX's generator counts in row-major order.
    """
    if keys_B is None or rate == 0:
        return x_BxTxE
    draw = jax.vmap(lambda key: jax.random.bernoulli(key, jnp.float32(1 - rate), x_BxTxE.shape[1:]))
    return jnp.where(draw(keys.fold(keys_B, *places)), x_BxTxE / (1 - rate), 0)
