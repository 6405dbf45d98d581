"""What a decoder knows at each step of an output that is there: where it attends, how long its state is, what it thinks likely.

    (logits_i, weights_i, state_i) = step(state_{i-1}, y_{i-1})        y_0 = BOS, y_1 … y_T are given

Nothing is searched for, so that every search can be looked at afterwards, and so can a target. The numbers are those that the search had,
up to the last bits.
"""

import jax
import jax.numpy as jnp
from flax import struct

from attention_jax.layers import masks
from attention_jax.model.search import top_k
from attention_jax.model.search.one_output import SPECIAL, Special, log_probabilities
from attention_jax.types import Model
from attention_jax.types.signatures import Array, Params, Tree

LIKELIEST = 5
"""K: how many tokens are named at each step."""


class Known(struct.PyTreeNode):
    """Holds what a decoder knew at each step of an output: T steps, the K likeliest tokens of each, likeliest first."""

    weights_BxTxS: Array
    norm_BxT: Array  # Euclidean norm of the state; NaN of a model that does not say
    likely_BxTxK: Array  # tokens
    log_p_BxTxK: Array  # of these, in nats


def along(
    model: Model, params: Params, source: Tree, mask_BxS: Array, tokens_BxT: Array, K: int = LIKELIEST, special: Special = SPECIAL
) -> Known:
    """Runs a decoder along given tokens, padded behind their end, and returns what it knew at each of these steps.

    `source` and `mask_BxS` are as in `search.decode`. Where there are fewer than K tokens, all are named.
    """
    params, source, tokens_BxT, mask_BxS = *jax.tree.map(jnp.asarray, (params, source, tokens_BxT)), masks.real(mask_BxS)
    prepared, state = model.start(params, source, mask_BxS)
    previous_BxT = jnp.pad(tokens_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=special.bos).astype(jnp.int32)

    def body(state, token_B):
        logits_BxV, weights_BxS, state = model.step(params, prepared, state, token_B)
        log_p_BxK, likely_BxK = top_k.largest(log_probabilities(logits_BxV), min(K, logits_BxV.shape[1]))
        norm_B = model.norm(state) if model.norm else jnp.full(len(token_B), jnp.nan, jnp.float32)
        return state, Known(weights_BxS, norm_B, likely_BxK, log_p_BxK)

    known_Tx = jax.lax.scan(body, state, previous_BxT.T)[1]
    return jax.tree.map(lambda x: x.swapaxes(0, 1), known_Tx)
