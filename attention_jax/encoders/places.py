"""Fewer memory positions than source positions: which of them stand for which, along one axis or two.

Memory place j stands for the source positions r j … r j + r - 1 along each axis. It is real where any of them is, and what
is looked up there is shown spread evenly over those that are real. S and P below are one axis of positions, or two (YxX).
"""

import jax
import jax.numpy as jnp


def members(mask_BxS, reduction: int):
    """count_BxP: how many real source positions every memory place stands for; a last place may have fewer members than r."""
    window = (1, *(reduction for _ in mask_BxS.shape[1:]))
    padding = [(0, -size % width) for size, width in zip(mask_BxS.shape, window, strict=True)]
    return jax.lax.reduce_window(mask_BxS.astype(jnp.int32), 0, jax.lax.add, window, window, padding)


def reduced(mask_BxS, reduction: int):
    """mask_BxP: where any source position of a memory place is real."""
    return members(mask_BxS, reduction) > 0


def spread(weights_BxTxP, mask_BxS, reduction: int):
    """weights_BxTxS: a memory place's weight, shared equally by its real source positions; 0 where the mask is False."""
    count_BxP = jnp.maximum(members(mask_BxS, reduction), 1)
    shares_BxTxS = weights_BxTxP / count_BxP[:, None]
    for axis, size in enumerate(mask_BxS.shape[1:], 2):
        shares_BxTxS = jax.lax.slice_in_dim(jnp.repeat(shares_BxTxS, reduction, axis), 0, size, axis=axis)
    return jnp.where(mask_BxS[:, None], shares_BxTxS, 0)
