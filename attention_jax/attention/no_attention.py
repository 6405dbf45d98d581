"""The fixed-vector arms: what an encoder-decoder has without attention.

    none      c_i is empty: the final state starts the decoder and is not seen again      (Sutskever 2014)
    summary   c_i = h_last at every step                                                   (Cho 2014; Bahdanau 2015: c_i = h→_Tx)

With two directions h_last = [h→_S; h←_1], each direction's state after its whole pass; vector.py may make d numbers of it. Weights are
zero: nothing is attended to.
"""

from typing import Any

import jax.numpy as jnp

from attention_jax.attention import estimators
from attention_jax.attention.sizes import Sizes
from attention_jax.layers import masks
from attention_jax.types import Attended, Attention
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


@cites("sutskever2014")
def none(sizes: Sizes, vector: Any) -> Attention:
    """Makes the arm without a context: C = 0.

    Use it as the plainest model without attention, that of Sutskever 2014: the vector starts the decoder and is not seen again.
    """
    return _constant(lambda key: {}, lambda params, memory_BxSxM, mask_BxS: memory_BxSxM[:, 0, :0], 0)


@cites("cho2014", "bahdanau2015")
def summary(sizes: Sizes, vector: Any) -> Attention:
    """Makes the arm with the same vector at every step: C = M, or d of `vector`, a `vector.Vector`.

    Use it as the fixed vector that attention is compared with: the decoder sees it at every step, so that what is missing is missing in
    the vector.
    """

    def context(params, memory_BxSxM, mask_BxS):
        return vector.through(params, summarise(sizes, memory_BxSxM, mask_BxS))

    return _constant(vector.joined(lambda key: {}), context, vector.size)


def _constant(init, context, context_size: int) -> Attention:
    """Makes the mechanism whose context is context(params, memory_BxSxM, mask_BxS) for every query."""

    def prepare(params, memory_BxSxM, mask_BxS):
        return context(params, memory_BxSxM, mask_BxS), jnp.zeros(mask_BxS.shape, memory_BxSxM.dtype)

    def attend(params, prepared, state, query_BxH, keys_B=None):
        context_BxC, weights_BxS = prepared
        return context_BxC, weights_BxS, state, estimators.nothing_drawn(weights_BxS)

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        T = query_BxTxH.shape[1]
        context_BxTxC, weights_BxTxS = (jnp.broadcast_to(x[:, None], (x.shape[0], T, x.shape[1])) for x in prepared)
        return Attended(context_BxTxC, weights_BxTxS, estimators.nothing_drawn(weights_BxTxS))

    def predict(params, prepared, emit, attended, query_BxTxH, goal=None):
        return estimators.from_context(params, emit, prepared, attended, query_BxTxH, goal)

    return Attention(init, prepare, lambda prepared, keys_B=None: (), attend, context_size, predict, block, looks=False)


def summarise(sizes: Sizes, memory_BxSxM: Array, mask_BxS: Array):
    """Returns each direction's state at the end of its pass, side by side: forward at the last real position, reversed at the first.

    Zero for an empty row. Positions without an order (directions = mean) are averaged.
    """
    parts = jnp.split(memory_BxSxM, len(sizes.directions), axis=2)
    ends = [end(name, part, mask_BxS) for name, part in zip(sizes.directions, parts, strict=True)]
    return jnp.concatenate(ends, axis=1)


def end(direction: str, states_BxSxH: Array, mask_BxS: Array):
    """Returns a direction's state at the end of its pass, or the mean of positions without an order. Zero for an empty row."""
    if direction == "mean":
        end_BxH = jnp.where(mask_BxS[:, :, None], states_BxSxH, 0).sum(1) / jnp.maximum(mask_BxS.sum(1, dtype=jnp.int32), 1)[:, None]
    else:
        at_B = masks.last(mask_BxS) if direction == "forward" else masks.first(mask_BxS)
        end_BxH = jnp.take_along_axis(states_BxSxH, at_B[:, None, None], axis=1)[:, 0]
    return jnp.where(mask_BxS.any(1, keepdims=True), end_BxH, 0).astype(states_BxSxH.dtype)
