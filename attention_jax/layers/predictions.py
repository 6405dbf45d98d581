"""Logits and what they say of a target: the arg max, the nll of a token, chunk by chunk of positions where there are many words."""

import jax
import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.system import machine
from attention_jax.types import Emission
from attention_jax.types.signatures import Array

POSITIONS = 256
"""A chunk may have so many positions whatever V is: with fewer, adding up the weight's gradient costs more than making it."""


def token_nll(logits_xV: Array, target_x: Array, mask_x: Array):
    """-log p(target) in nats per position, in float32 or better, 0 where the mask is False."""
    exact_xV = exact(logits_xV)
    chosen_x = jnp.take_along_axis(exact_xV, target_x[..., None], axis=-1)[..., 0]
    return jnp.where(masks.real(mask_x), jax.nn.logsumexp(exact_xV, axis=-1) - chosen_x, 0)


def likeliest(logits_xV: Array):
    """The arg max, the first of equals: as two reductions that compilers vectorise, which they do not do with one of pairs."""
    V = logits_xV.shape[-1]
    index_xV = jax.lax.broadcasted_iota(jnp.int32, logits_xV.shape, logits_xV.ndim - 1)
    return jnp.where(logits_xV == logits_xV.max(-1, keepdims=True), index_xV, V - 1).min(-1)


def exact(x: Array):
    """In float32 or better."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def logits(hidden_NxR: Array, weight_RxV: Array, bias_V: Array, mask_N: Array):
    """hidden · weight + bias; what stands in `hidden` where the mask is False changes nothing."""
    return jnp.where(mask_N[:, None], hidden_NxR, 0) @ weight_RxV + bias_V[None]


def judged(prediction: Emission | Array, target_BxT: Array, mask_BxT: Array):
    """(nll_BxT, arg max_BxT) of logits or of an `Emission`, the latter chunk by chunk; no gradient passes."""
    prediction = jax.lax.stop_gradient(prediction)
    if not isinstance(prediction, Emission):
        return token_nll(prediction, target_BxT, mask_BxT), likeliest(prediction)

    def of_chunk(chunk):
        hidden_NxR, target_N, mask_N = chunk
        logits_NxV = logits(hidden_NxR, prediction.weight_RxV, prediction.bias_V, mask_N)
        return token_nll(logits_NxV, target_N, mask_N), likeliest(logits_NxV)

    N = target_BxT.size
    chunks = in_chunks(prediction.bias_V.size, prediction.hidden_BxTxR.reshape(N, -1), target_BxT.reshape(-1), mask_BxT.reshape(-1))
    return jax.tree.map(lambda x: x.reshape(-1)[:N].reshape(target_BxT.shape), jax.lax.map(of_chunk, chunks))


def in_chunks(V: int, *arrays_N: Array):
    """Arrays with the leading axis N as C chunks of equal size, the last one filled up with zeros, as few as `machine.block` allows."""
    N = len(arrays_N[0])
    C = -(-N // max(machine.block("logits") // V, POSITIONS))
    size = -(-N // C)

    def cut(x_N):
        return jnp.pad(x_N, ((0, C * size - N), *((0, 0),) * (x_N.ndim - 1))).reshape(C, size, *x_N.shape[1:])

    return tuple(map(cut, arrays_N))
