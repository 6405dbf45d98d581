"""Reductions of memory: each memory position stands for several source positions, along one axis or two.

Memory position j stands for the source positions r j … r j + r - 1 along each axis. It is real where any of them is, and its weight is
shared equally by those that are real. After B, and T, come positions along one axis, or two (YxX).
"""

import jax
import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.types import Encoder
from attention_jax.types.signatures import Array


def real_first(encoder: Encoder) -> Encoder:
    """Wraps an encoder to which neighbours are neighbours: it reads sources with real positions moved to the front.

    Its memory positions come in that order, real ones first; `spread` puts weights back where the source's positions stand.
    """

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        order_BxS = masks.order(mask_BxS)
        return encoder.apply(params, masks.moved(inputs_BxSxE, order_BxS), masks.moved(mask_BxS, order_BxS), keys_B)

    def spread(weights_BxTxP, mask_BxS):
        rank_BxS = masks.rank(masks.real(mask_BxS))
        first_BxS = jnp.arange(rank_BxS.shape[1], dtype=jnp.int32)[None, :] < mask_BxS.sum(1, dtype=jnp.int32)[:, None]
        shown_BxTxS = encoder.spread(weights_BxTxP, first_BxS)  # pyright: ignore[reportOptionalCall]  # these encoders have one
        return masks.moved(shown_BxTxS, rank_BxS, axis=2)

    return encoder._replace(apply=apply, spread=spread)


def members(mask_Bx: Array, reduction: int):
    """Counts the real source positions of every memory position; the last may have fewer members than r."""
    window = (1, *(reduction for _ in mask_Bx.shape[1:]))
    padding = [(0, -size % width) for size, width in zip(mask_Bx.shape, window, strict=True)]
    return jax.lax.reduce_window(masks.real(mask_Bx).astype(jnp.int32), 0, jax.lax.add, window, window, padding)


def reduced(mask_Bx: Array, reduction: int):
    """Returns the mask of memory positions: True where any source position of a memory position is real."""
    return members(mask_Bx, reduction) > 0


def spread(weights_BxTx: Array, mask_Bx: Array, reduction: int):
    """Shares the weight of a memory position equally among its real source positions; 0 where the mask is False."""
    count_Bx = jnp.maximum(members(mask_Bx, reduction), 1)
    shares_BxTx = weights_BxTx / count_Bx[:, None]
    for axis, size in enumerate(mask_Bx.shape[1:], 2):
        shares_BxTx = jax.lax.slice_in_dim(jnp.repeat(shares_BxTx, reduction, axis), 0, size, axis=axis)
    return jnp.where(mask_Bx[:, None], shares_BxTx, 0)
