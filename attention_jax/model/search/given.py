"""Outputs that begin with given tokens: a step of a search → one that says them first, whatever the search's method.

    p(y_i | y_<i) = 1 of the given token        i ≤ how many of them a row has
                    softmax(logits_i)[y_i]      after them

So log p of an output is that of what follows the given tokens; length penalties count them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from attention_jax.types import Batch
from attention_jax.types.signatures import Array, Tree


class Given(NamedTuple):
    """The first tokens of each output; `count_B` says how many of a row are given."""

    tokens_BxG: Array
    count_B: Array


def of_targets(batch: Batch) -> Given:
    """Returns the target tokens before the first position that a batch's target mask holds; of a masked row none."""
    return Given(batch.target_BxT, jnp.argmax(jnp.asarray(batch.target_mask_BxT), axis=1).astype(jnp.int32))


def first(step: Callable, state: Tree, given: Given) -> tuple[Callable, Tree]:
    """Returns (step, state) that say the given tokens before what `step(state, token_B) → (logits_BxV, weights_BxS, state)` says."""
    tokens_BxG, count_B = map(jnp.asarray, given)

    def of(state: Tree, token_B: Array) -> tuple[Array, Array, Tree]:
        inner, i_B = state
        logits_BxV, weights_BxS, inner = step(inner, token_B)
        place_Bx1 = jnp.minimum(i_B, tokens_BxG.shape[1] - 1)[:, None]
        is_other_BxV = jnp.arange(logits_BxV.shape[1])[None] != jnp.take_along_axis(tokens_BxG, place_Bx1, axis=1)
        said_BxV = jnp.where(is_other_BxV, -jnp.inf, 0).astype(logits_BxV.dtype)
        return jnp.where((i_B < count_B)[:, None], said_BxV, logits_BxV), weights_BxS, (inner, i_B + 1)

    return of, (state, jnp.zeros(len(count_B), jnp.int32))
