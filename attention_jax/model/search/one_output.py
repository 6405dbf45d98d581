"""One output per input: the loop of greedy decoding and of sampling, which differ in the choice of a token alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.model.search.steps import Steps
from attention_jax.types import BOS, EOS, PAD, UNK
from attention_jax.types.signatures import Array


class Special(NamedTuple):
    """Ids of the tokens that a search knows of. Those of other people's models are others."""

    pad: int = PAD
    bos: int = BOS
    eos: int = EOS
    unk: int = UNK


SPECIAL = Special()
"""Those of this project."""


def follow(steps: Steps, positions: int, choose: Callable, stop: bool = True, min_length: int = 0, special: Special = SPECIAL):
    """Decodes y_i = choose(i, logits_BxV): (tokens_BxT, weights_BxTxS, log p_B), T = `positions`, log p = Σ_i log p(y_i | y_<i) in nats.

    A row ends with its first EOS, which comes after `min_length` tokens at the earliest: PAD and zero weights follow, and the loop ends
    when every row has. `stop=False` never ends a row.
    """
    B, logits, weights = steps.mask_BxS.shape[0], steps.logits_BxV, steps.weights_BxS
    start_B = jnp.full(B, special.bos, jnp.int32)

    def unfinished(loop):
        return (loop[0] < positions) & in_any(~loop[3])

    def body(loop):
        i, state, token_B, done_B, tokens_TxB, weights_TxBxS, log_p_B = loop
        logits_BxV, weights_BxS, state = steps.step(state, token_B)
        chosen_B = choose(i, without_end(logits_BxV, i, min_length, stop, special.eos)).astype(jnp.int32)
        log_p_B = log_p_B + jnp.where(done_B, 0, log_probability(logits_BxV, chosen_B))
        token_B = jnp.where(done_B, special.pad, chosen_B)
        tokens_TxB = tokens_TxB.at[i].set(token_B)
        weights_TxBxS = weights_TxBxS.at[i].set(jnp.where(done_B[:, None], 0, weights_BxS))
        return i + 1, state, token_B, done_B | (stop & (token_B == special.eos)), tokens_TxB, weights_TxBxS, log_p_B

    nothing = jnp.full((positions, B), special.pad, jnp.int32), jnp.zeros((positions, *weights.shape), weights.dtype)
    start = jnp.int32(0), steps.state, start_B, jnp.zeros(B, bool), *nothing, jnp.zeros(B, exact(logits.dtype))
    *_, tokens_TxB, weights_TxBxS, log_p_B = jax.lax.while_loop(unfinished, body, start)
    return tokens_TxB.T, weights_TxBxS.swapaxes(0, 1), log_p_B


@jax.custom_batching.custom_vmap
def in_any(x: Array):
    """Returns whether any number of x is True; under `jax.vmap`, whether any is in all that are mapped over."""
    return jnp.any(x)


@in_any.def_vmap
def _in_any_of_all(size, are_batched, x):
    return jnp.any(x), False


def log_probability(logits_BxV: Array, token_B: Array):
    """Computes log p of one token per row, in nats, in float32 at least: sums over an output need it."""
    logits_BxV = logits_BxV.astype(exact(logits_BxV.dtype))
    below_BxV = logits_BxV - logits_BxV.max(1, keepdims=True)
    return jnp.take_along_axis(below_BxV, token_B[:, None], axis=1)[:, 0] - jnp.log(jnp.exp(below_BxV).sum(1))


def log_probabilities(logits: Array):
    """Computes log p of every token, over the last axis."""
    return jax.nn.log_softmax(logits.astype(exact(logits.dtype)), axis=-1)


def exact(dtype: jax.typing.DTypeLike):
    """Returns the type that log-probabilities of such logits are added up in: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def without_end(logits: Array, i: Array | int, min_length: int, stop: bool, eos: int):
    """Sets `eos` to -∞ in logits or log-probabilities of position i while fewer than `min_length` tokens precede it."""
    if not min_length:
        return logits
    too_early = stop & (i < min_length)
    return jnp.where(too_early & (jnp.arange(logits.shape[-1], dtype=jnp.int32) == eos), -jnp.inf, logits)
