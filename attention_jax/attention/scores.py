"""Soft attention: a score for every memory position, a softmax over them, and the weighted sum.

    α_ij = exp e_ij / Σ_k exp e_ik        c_i = Σ_j α_ij h_j

    additive   e_ij = v · tanh(W q_i + U h_j)      Bahdanau 2015, appendix A.1.2
    dot        e_ij = q_i · h_j                     Luong 2015, eq. 8
    general    e_ij = q_i · W h_j                   Luong 2015, eq. 8

Keys are projected once per source, in `prepare`. All three are stateless and draw nothing.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.normalisers import softmax
from attention_jax.attention.sizes import Sizes
from attention_jax.types import Attention, ConfigError

glorot = jax.nn.initializers.glorot_uniform()


def additive(sizes: Sizes) -> Attention:
    """Bahdanau's score, without biases as in the paper; A = sizes.score."""

    def init(key):
        query_key, memory_key, v_key = jax.random.split(key, 3)
        return {
            "query": glorot(query_key, (sizes.query, sizes.score)),
            "memory": glorot(memory_key, (sizes.memory, sizes.score)),
            "v": glorot(v_key, (sizes.score, 1)),
        }

    def score(params, keys_BxSxA, query_BxH):
        hidden_BxSxA = jnp.tanh((query_BxH @ params["query"])[:, None, :] + keys_BxSxA)
        return (hidden_BxSxA @ params["v"])[:, :, 0]

    return soft(init, lambda params, memory_BxSxM: memory_BxSxM @ params["memory"], score, sizes)


def dot(sizes: Sizes) -> Attention:
    """The bare inner product; the memory vector must be as wide as the decoder state."""
    if sizes.memory != sizes.query:
        raise ConfigError(
            f"attention=dot needs memory vectors as wide as the decoder state, but M={sizes.memory} and H={sizes.query}: "
            f"set model.decoder_size={sizes.memory}, or use attention=general"
        )
    return soft(lambda key: {}, lambda params, memory_BxSxM: memory_BxSxM, _inner, sizes)


def general(sizes: Sizes) -> Attention:
    """The inner product after a linear map of the memory."""
    return soft(
        lambda key: {"memory": glorot(key, (sizes.memory, sizes.query))},
        lambda params, memory_BxSxM: memory_BxSxM @ params["memory"],
        _inner,
        sizes,
    )


def _inner(params, keys_BxSxH, query_BxH):
    return (keys_BxSxH * query_BxH[:, None, :]).sum(2)


def soft(init, project, score, sizes: Sizes) -> Attention:
    """The mechanism of a score: project(params, memory_BxSxM) → keys, once; score(params, keys, query_BxH) → e_BxS, at every step."""

    def prepare(params, memory_BxSxM, mask_BxS):
        return project(params, memory_BxSxM), memory_BxSxM, mask_BxS

    def attend(params, prepared, state, query_BxH, keys_B):
        projected, memory_BxSxM, mask_BxS = prepared
        weights_BxS = softmax(score(params, projected, query_BxH), mask_BxS)
        context_BxM = (weights_BxS[:, :, None] * memory_BxSxM).sum(1)
        return context_BxM, weights_BxS, state, jnp.zeros(query_BxH.shape[0])

    return Attention(init, prepare, lambda prepared: (), attend, sizes.memory)
