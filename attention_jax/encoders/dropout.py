"""Dropout whose draws belong to (update, example, place): padding and sharding do not change them."""

import jax
import jax.numpy as jnp


def dropout(keys_B, place: int, x_BxTxE, rate: float):
    """x · Bernoulli(1 - rate) / (1 - rate), a mask per example; x itself where `keys_B` is None or the rate is 0 (Srivastava 2014).

    `place` tells apart the layers that share keys. Position t's draw does not depend on T: JAX's generator counts in row-major order.
    """
    if keys_B is None or rate == 0:
        return x_BxTxE
    draw = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, x_BxTxE.shape[1:]))
    return jnp.where(draw(keys_B), x_BxTxE / (1 - rate), 0)
