"""Masks are True where a position is real, and padding may stand anywhere in a row: before, between and behind real positions.

What knows positions by number or by their neighbours reads a row in `order`, real positions first, and `rank` puts its results back.
Where they come first already neither changes a bit.
"""

import jax
import jax.numpy as jnp

from attention_jax.system.errors import ConfigError
from attention_jax.types.signatures import Array


def real(mask_x: Array) -> jax.Array:
    """Returns `mask_x` as an array. Raises `ConfigError` unless it is of bools: ones and zeros would be counted and compared as numbers."""
    given = mask_x if hasattr(mask_x, "dtype") else jnp.asarray(mask_x)
    if given.dtype != bool:
        raise ConfigError(f"a mask is of bools, True where a position is real, and this one is of {given.dtype}: give mask != 0")
    return jnp.asarray(given)


def first(mask_x: Array, axis: int = 1):
    """Returns the index of the first real position along an axis; 0 where there is none."""
    return jnp.argmax(mask_x, axis=axis).astype(jnp.int32)


def last(mask_x: Array, axis: int = 1):
    """Returns the index of the last real position along an axis; 0 where there is none."""
    index_x = jax.lax.broadcasted_iota(jnp.int32, mask_x.shape, axis)
    return jnp.max(jnp.where(mask_x, index_x, 0), axis=axis)


def first_alone(mask_BxS: Array):
    """Returns a mask that is True at the first real position of each row alone; False everywhere where there is none."""
    return mask_BxS & (jnp.cumsum(mask_BxS, axis=1, dtype=jnp.int32) == 1)


def rank(mask_BxS: Array):
    """Returns where each position goes when real positions are moved to the front and padding behind them; both keep their order."""
    real_BxS, padded_BxS = jnp.cumsum(mask_BxS, axis=1, dtype=jnp.int32), jnp.cumsum(~mask_BxS, axis=1, dtype=jnp.int32)
    return jnp.where(mask_BxS, real_BxS, real_BxS[:, -1:] + padded_BxS) - 1


def order(mask_BxS: Array):
    """Returns which position comes where when real positions are moved to the front: the inverse permutation of `rank`."""
    return jnp.argsort(rank(mask_BxS), axis=1).astype(jnp.int32)


def moved(x: Array, index_BxS: Array, axis: int = 1):
    """Gathers `index_BxS` along an axis of x, which leads with B: by `order` real positions come first, by `rank` they go back."""
    shape = [size if i in (0, axis) else 1 for i, size in enumerate(x.shape)]
    return jnp.take_along_axis(x, index_BxS.reshape(shape), axis=axis, mode="promise_in_bounds")
