"""The fixed-vector arms: what an encoder-decoder has without attention.

    none      c_i is empty: the final state starts the decoder and is not seen again      (Sutskever 2014)
    summary   c_i = h_last at every step                                                   (Cho 2014; Bahdanau 2015: c_i = h→_Tx)

With two directions h_last = [h→_S; h←_1], each direction's state after its whole pass.
"""

import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.types import Attention


def none(sizes: Sizes) -> Attention:
    """No context at all: C = 0."""

    def prepare(params, memory_BxSxM, mask_BxS):
        return jnp.zeros(mask_BxS.shape, memory_BxSxM.dtype)

    def attend(params, weights_BxS, state, query_BxH, keys_B):
        B = query_BxH.shape[0]
        return jnp.zeros((B, 0), query_BxH.dtype), weights_BxS, state, jnp.zeros(B)

    return Attention(lambda key: {}, prepare, lambda prepared: (), attend, 0)


def summary(sizes: Sizes) -> Attention:
    """The same vector at every step: C = M. The weights are zero: nothing is looked up."""

    def prepare(params, memory_BxSxM, mask_BxS):
        return summarise(sizes, memory_BxSxM, mask_BxS), jnp.zeros(mask_BxS.shape, memory_BxSxM.dtype)

    def attend(params, prepared, state, query_BxH, keys_B):
        summary_BxM, weights_BxS = prepared
        return summary_BxM, weights_BxS, state, jnp.zeros(query_BxH.shape[0])

    return Attention(lambda key: {}, prepare, lambda prepared: (), attend, sizes.memory)


def summarise(sizes: Sizes, memory_BxSxM, mask_BxS):
    """Each direction's state at the end of its pass: forward at the last real position, reversed at the first. Zero for an empty row."""
    last_B = jnp.maximum(mask_BxS.sum(1) - 1, 0)
    parts = jnp.split(memory_BxSxM, len(sizes.directions), axis=2)
    ends = {"forward": last_B, "reversed": jnp.zeros_like(last_B)}
    taken = [jnp.take_along_axis(part, ends[name][:, None, None], axis=1)[:, 0] for name, part in zip(sizes.directions, parts, strict=True)]
    return jnp.where(mask_BxS.any(1)[:, None], jnp.concatenate(taken, axis=1), 0)
