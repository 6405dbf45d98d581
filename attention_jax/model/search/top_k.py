"""The K largest of many numbers per row, exactly: what a search asks of V logits, or of the K·V continuations of a beam.

    blocks    L neighbours each, every block known by its maximum
    best      the K best blocks hold the K largest numbers: one that were in no such block would come after K maxima
    ties      of equals the first, in both stages: neighbours make up a block, and the chosen blocks stay in order

One pass over the numbers and two short sorts take the place of a long one: `plain` is that, and says the same.
"""

import jax
import jax.numpy as jnp

from attention_jax.types.signatures import Array

BLOCK = 64  # L


def largest(x_BxN: Array, K: int):
    """Returns (values_BxK, index_BxK), largest first; of equals the first. Calls `plain` where there are at most K blocks."""
    (B, N), L = x_BxN.shape, BLOCK
    whole = N // L * L
    if whole <= K * L:
        return plain(x_BxN, K)
    x_BxNxL = x_BxN[:, :whole].reshape(B, -1, L)
    block_BxK = jnp.sort(plain(x_BxNxL.max(2), K)[1], axis=1)
    inside_BxKxL = jnp.take_along_axis(x_BxNxL, block_BxK[:, :, None], axis=1, mode="promise_in_bounds")
    place_BxKxL = block_BxK[:, :, None] * L + jnp.arange(L, dtype=jnp.int32)[None, None, :]
    rest_R = jnp.arange(whole, N, dtype=jnp.int32)  # of the last block, which is shorter: they are candidates as they are
    rest_BxR = jnp.broadcast_to(rest_R, (B, N - whole))
    candidates_BxC = jnp.concatenate([inside_BxKxL.reshape(B, -1), x_BxN[:, whole:]], axis=1)
    values_BxK, chosen_BxK = plain(candidates_BxC, K)
    index_BxC = jnp.concatenate([place_BxKxL.reshape(B, -1), rest_BxR], axis=1)
    return values_BxK, jnp.take_along_axis(index_BxC, chosen_BxK, axis=1, mode="promise_in_bounds")


def plain(x_BxN: Array, K: int):
    """Returns what `largest` does, by one sort."""
    return jax.lax.top_k(x_BxN, K)
