"""Fewer memory positions than source positions: which of them stand for which, along one axis or two.

Memory place j stands for the source positions r j … r j + r - 1 along each axis. It is real where any of them is, and what
is looked up there is shown spread evenly over those that are real. S and P below are one axis of positions, or two (YxX).
"""

import jax
import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.types import Encoder
from attention_jax.types.signatures import Array


def real_first(encoder: Encoder) -> Encoder:
    """`encoder`, to which neighbours are neighbours, over sources whose real positions come first, whatever the mask.

    Its memory places come in that order, real ones first; `spread` shows weights where the source's positions stand.
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


def members(mask_BxS: Array, reduction: int):
    """count_BxP: how many real source positions every memory place stands for; a last place may have fewer members than r."""
    window = (1, *(reduction for _ in mask_BxS.shape[1:]))
    padding = [(0, -size % width) for size, width in zip(mask_BxS.shape, window, strict=True)]
    return jax.lax.reduce_window(masks.real(mask_BxS).astype(jnp.int32), 0, jax.lax.add, window, window, padding)


def reduced(mask_BxS: Array, reduction: int):
    """mask_BxP: where any source position of a memory place is real."""
    return members(mask_BxS, reduction) > 0


def spread(weights_BxTxP: Array, mask_BxS: Array, reduction: int):
    """weights_BxTxS: a memory place's weight, shared equally by its real source positions; 0 where the mask is False."""
    count_BxP = jnp.maximum(members(mask_BxS, reduction), 1)
    shares_BxTxS = weights_BxTxP / count_BxP[:, None]
    for axis, size in enumerate(mask_BxS.shape[1:], 2):
        shares_BxTxS = jax.lax.slice_in_dim(jnp.repeat(shares_BxTxS, reduction, axis), 0, size, axis=axis)
    return jnp.where(mask_BxS[:, None], shares_BxTxS, 0)
