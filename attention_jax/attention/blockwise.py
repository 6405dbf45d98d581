"""Additive scores without B·T·S·A numbers in memory: q_BxTxA and k_BxSxA → e_BxTxS, a block of queries and positions at a time.

    e_ts = v · tanh(q_t + k_s)                                       Bahdanau 2015, appendix A.1.2

    g_ts = ∂L/∂e_ts        u_ts = g_ts (1 - tanh²(q_t + k_s))
    ∂L/∂v = Σ_ts g_ts tanh(q_t + k_s)        ∂L/∂q_t = v ∘ Σ_s u_ts        ∂L/∂k_s = v ∘ Σ_t u_ts

`at_once` is the score as one would write it, and what each block does. The backward pass does tanh again (as Rabe & Staats 2021,
arXiv:2112.05682, do for softmax attention), so nothing but v, q and k is kept for it. The one query of a decoder's step is one block: there
is no inner loop. Forward-mode differentiation is not defined.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp

from attention_jax.system import machine
from attention_jax.types.signatures import Array


def through_tanh(v_Ax1: Array, keys_BxSxA: Array, query_BxTxA: Array) -> jax.Array:
    """Computes e_ts = v · tanh(q_t + k_s) of every query and key; memory holds its arguments, its result and a few blocks."""
    B, S, A = keys_BxSxA.shape
    looks, places = block(B, query_BxTxA.shape[1], S, A, jax.default_backend())
    return cast(jax.Array, by_blocks(looks, places, v_Ax1, keys_BxSxA, query_BxTxA))  # checkers lose what `custom_vjp` returns


def at_once(v_Ax1: Array, keys_BxSxA: Array, query_BxTxA: Array):
    """Computes e_ts = v · tanh(q_t + k_s) through B·T·S·A numbers."""
    return (tanh_of_sums(keys_BxSxA, query_BxTxA) @ v_Ax1)[:, :, :, 0]


def tanh_of_sums(keys_BxSxA: Array, query_BxTxA: Array):
    """Computes tanh(q_t + k_s), BxTxSxA."""
    return jnp.tanh(query_BxTxA[:, :, None, :] + keys_BxSxA[:, None, :, :])


def block(B: int, T: int, S: int, A: int, backend: str) -> tuple[int, int]:
    """Returns how many of T queries and of S positions a block has; on a CPU one query.

    A single query is one block, which is no larger than the keys.
    """
    if T == 1:
        return 1, S
    numbers = machine.block("scores", backend)
    places = even(S, numbers // max(B * A, 1))
    return 1 if backend == "cpu" else even(T, numbers // max(B * A * places, 1)), places


def even(n: int, most: int) -> int:
    """Returns the size of parts of n ≥ 1: as few and as equal as they can be with at most `most` each (at least one)."""
    return -(-n // -(-n // max(most, 1)))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def by_blocks(looks: int, places: int, v_Ax1: Array, keys_BxSxA: Array, query_BxTxA: Array):
    """Computes `at_once` in blocks of `looks` queries and `places` keys; the last ones are filled up with zeros."""
    S, T = keys_BxSxA.shape[1], query_BxTxA.shape[1]
    if (looks, places) == (T, S):
        return at_once(v_Ax1, keys_BxSxA, query_BxTxA)
    queries, keys = parts(query_BxTxA, looks, 1), parts(keys_BxSxA, places, 1)
    e_blocks = jax.lax.map(lambda k_BxPxA: jax.lax.map(lambda q_BxLxA: at_once(v_Ax1, k_BxPxA, q_BxLxA), queries), keys)
    return whole(whole(e_blocks, 3, S), 1, T)


def _forward(looks: int, places: int, *inputs):
    return by_blocks(looks, places, *inputs), inputs


def _backward(looks: int, places: int, inputs, g_BxTxS):
    v_Ax1, keys_BxSxA, query_BxTxA = inputs
    S, T = keys_BxSxA.shape[1], query_BxTxA.shape[1]
    if (looks, places) == (T, S):
        sums = block_sums(keys_BxSxA, query_BxTxA, g_BxTxS)
    else:
        sums = blocks_sums(parts(keys_BxSxA, places, 1), parts(query_BxTxA, looks, 1), parts(parts(g_BxTxS, looks, 1), places, 3))
        sums = sums[0], whole(sums[1], 1, S), whole(sums[2], 1, T)
    v_1x1xA = v_Ax1.T[None].astype(sums[0].dtype)
    gradients = sums[0][:, None], v_1x1xA * sums[1], v_1x1xA * sums[2]
    return tuple(x.astype(given.dtype) for x, given in zip(gradients, inputs, strict=True))


by_blocks.defvjp(_forward, _backward)


def block_sums(keys_BxSxA: Array, query_BxTxA: Array, g_BxTxS: Array):
    """Computes Σ_ts g_ts tanh(q_t + k_s), Σ_t u_ts and Σ_s u_ts, in float32 at least."""
    dtype = jnp.promote_types(g_BxTxS.dtype, jnp.float32)
    tanh_BxTxSxA = tanh_of_sums(keys_BxSxA, query_BxTxA)
    u_BxTxSxA = g_BxTxS[:, :, :, None] * (1 - tanh_BxTxSxA * tanh_BxTxSxA)
    sum_A = jnp.einsum("bts,btsa->a", g_BxTxS, tanh_BxTxSxA, preferred_element_type=dtype)
    return sum_A, u_BxTxSxA.sum(1, dtype=dtype), u_BxTxSxA.sum(2, dtype=dtype)


def blocks_sums(keys: Array, queries: Array, gs: Array):
    """Computes `block_sums` of all blocks; sums over queries and positions come in as many blocks as `keys` and `queries`."""
    dtype = jnp.promote_types(gs.dtype, jnp.float32)

    def at_places(sums, inputs):
        v_sum_A, query_sums = sums
        k_BxPxA, gs_of_places = inputs

        def at_looks(sums, inputs):
            more_A, more_BxPxA, sum_BxLxA = block_sums(k_BxPxA, *inputs)
            return (sums[0] + more_A, sums[1] + more_BxPxA), sum_BxLxA

        start = v_sum_A, jnp.zeros(k_BxPxA.shape, dtype)
        (v_sum_A, key_sum_BxPxA), more = jax.lax.scan(at_looks, start, (queries, gs_of_places))
        return (v_sum_A, query_sums + more), key_sum_BxPxA

    start = jnp.zeros(keys.shape[-1], dtype), jnp.zeros(queries.shape, dtype)
    (v_sum_A, query_sums), key_sums = jax.lax.scan(at_places, start, (keys, gs))
    return v_sum_A, key_sums, query_sums


def parts(x: Array, size: int, axis: int):
    """Cuts x into parts of `size` along an axis, the last filled up with zeros; the axis of parts leads."""
    padded = jnp.pad(x, [(0, -x.shape[i] % size if i == axis else 0) for i in range(x.ndim)])
    return jnp.moveaxis(padded.reshape(*x.shape[:axis], padded.shape[axis] // size, size, *x.shape[axis + 1 :]), axis, 0)


def whole(parts: Array, axis: int, size: int):
    """Inverts `parts`: returns the first `size` along the axis."""
    joined = jnp.moveaxis(parts, 0, axis)
    joined = joined.reshape(*joined.shape[:axis], joined.shape[axis] * joined.shape[axis + 1], *joined.shape[axis + 2 :])
    return jax.lax.slice_in_dim(joined, 0, size, axis=axis)
