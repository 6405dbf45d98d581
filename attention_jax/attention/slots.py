"""A memory of K slots: the fixed vector at K = 1, attention at K = S, and what lies between.

    slots    c_i = Σ_k α_ik v_k        v_k = the vector of slot k

The n real positions of a source are cut into min(K, n) segments of equal length (give or take one). A slot is

    ends   the forward state at its segment's end and the backward state at its start, so that one slot is `summary`
    mean   the average over its segment

and the mechanism attends to slots, or to d numbers of each (vector.py), as it would to positions. A slot's weight is shown spread evenly
over its segment's positions.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.attention.vector import Vector
from attention_jax.layers import masks
from attention_jax.types import Attended, Attention
from attention_jax.types.signatures import Array


def reduced(attention: Attention, slots: int, pooling: str, sizes: Sizes, vector: Vector) -> Attention:
    """Wraps `attention`: it attends to K = `slots` slots of the memory, each through `vector`, instead of its positions.

    Use it to go from the fixed vector to attention by degrees: K = 1 is `summary`, K = S attends to every position.

    No paper: it is this suite's own scale.
    """

    def prepare(params, memory_BxSxM, mask_BxS):
        segment_BxSxK, exists_BxK = segments(mask_BxS, min(slots, mask_BxS.shape[1]))
        slots_BxKxC = vector.through(params, pool(memory_BxSxM, segment_BxSxK, pooling, sizes))
        return attention.prepare(params, slots_BxKxC, exists_BxK), shares(segment_BxSxK).astype(memory_BxSxM.dtype), segment_BxSxK

    def initial(prepared, keys_B=None):
        return attention.initial(prepared[0], keys_B)

    def attend(params, prepared, state, query_BxH, keys_B=None):
        context_BxC, weights_BxK, state, terms = attention.attend(params, prepared[0], state, query_BxH, keys_B)
        return context_BxC, jnp.einsum("bsk,bk->bs", prepared[1], weights_BxK), state, terms

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        attended = attention.block(params, prepared[0], state, query_BxTxH, keys_BxT)  # pyright: ignore[reportOptionalCall]  # left out below where there is none
        return attended.replace(weights_BxTxS=jnp.einsum("bsk,btk->bts", prepared[1], attended.weights_BxTxS))

    def predict(params, prepared, emit, attended: Attended, query_BxTxH, goal=None):
        inner, _, segment_BxSxK = prepared
        weights_BxTxK = jnp.einsum("bsk,bts->btk", segment_BxSxK.astype(attended.weights_BxTxS.dtype), attended.weights_BxTxS)
        return attention.predict(params, inner, emit, attended.replace(weights_BxTxS=weights_BxTxK), query_BxTxH, goal)

    functions = {"init": vector.joined(attention.init), "prepare": prepare, "initial": initial, "attend": attend, "predict": predict}
    return attention._replace(**functions, block=block if attention.block else None, knows_places=False)


def segments(mask_BxS: Array, K: int):
    """Returns (segment_BxSxK, exists_BxK): real position s, the r-th of n, lies in segment ⌊r min(K, n) / n⌋."""
    rank_BxS = masks.rank(mask_BxS)
    n_Bx1 = jnp.maximum(mask_BxS.sum(1, dtype=jnp.int32), 1)[:, None]
    index_BxS = rank_BxS * jnp.minimum(K, n_Bx1) // n_Bx1
    segment_BxSxK = (index_BxS[:, :, None] == jnp.arange(K, dtype=jnp.int32)[None, None, :]) & mask_BxS[:, :, None]
    return segment_BxSxK, segment_BxSxK.any(1)


def shares(segment_BxSxK: Array):
    """Computes 1 / n for each of the n positions of a segment, in float32."""
    return segment_BxSxK.astype(jnp.float32) / jnp.maximum(segment_BxSxK.sum(1, dtype=jnp.int32), 1)[:, None, :]


def pool(memory_BxSxM: Array, segment_BxSxK: Array, pooling: str, sizes: Sizes):
    """Computes the slots' vectors; zero for slots that do not exist."""
    S = memory_BxSxM.shape[1]

    def picked(name, part_BxSxH):
        if pooling == "mean" or name == "mean":
            taken_BxSxK = shares(segment_BxSxK)
        else:
            end_BxK = masks.first(segment_BxSxK) if name == "reversed" else masks.last(segment_BxSxK)
            taken_BxSxK = jax.nn.one_hot(end_BxK, S, dtype=jnp.float32, axis=1) * segment_BxSxK.any(1, keepdims=True)
        return jnp.einsum("bsk,bsh->bkh", taken_BxSxK.astype(part_BxSxH.dtype), part_BxSxH)

    parts = jnp.split(memory_BxSxM, len(sizes.directions), axis=2)
    return jnp.concatenate([picked(name, part) for name, part in zip(sizes.directions, parts, strict=True)], axis=2)
