"""Logits, their arg max and the nll of target tokens, chunk by chunk of positions where there are many words."""

import jax
import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.system import machine
from attention_jax.types import Logits
from attention_jax.types.signatures import Array

POSITIONS = 256
"""A chunk may have so many positions whatever V is: with fewer, adding up the weight's gradient costs more than making it."""


def token_nll(logits_xV: Array, target_x: Array, mask_x: Array):
    """Computes -log p(target) in nats per position, in float32 at least; 0 where the mask is False."""
    exact_xV = exact(logits_xV)
    chosen_x = jnp.take_along_axis(exact_xV, target_x[..., None], axis=-1)[..., 0]
    return jnp.where(masks.real(mask_x), jax.nn.logsumexp(exact_xV, axis=-1) - chosen_x, 0)


def argmax(logits_xV: Array):
    """Returns the arg max over the last axis, the first of equals; by two reductions, which compilers vectorise."""
    V = logits_xV.shape[-1]
    index_xV = jax.lax.broadcasted_iota(jnp.int32, logits_xV.shape, logits_xV.ndim - 1)
    return jnp.where(logits_xV == logits_xV.max(-1, keepdims=True), index_xV, V - 1).min(-1)


def exact(x: Array):
    """Casts to float32, or keeps a wider type."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def logits(hidden_NxR: Array, weight_RxV: Array, bias_V: Array, mask_N: Array):
    """Computes hidden · weight + bias; `hidden` is read as 0 where the mask is False, so that NaN there changes nothing."""
    return jnp.where(mask_N[:, None], hidden_NxR, 0) @ weight_RxV + bias_V[None]


def judged(prediction: Logits | Array, target_BxT: Array, mask_BxT: Array):
    """Returns (nll_BxT in nats, arg max_BxT) of logits or of `Logits`, the latter chunk by chunk; no gradient passes."""
    prediction = jax.lax.stop_gradient(prediction)
    if not isinstance(prediction, Logits):
        return token_nll(prediction, target_BxT, mask_BxT), argmax(prediction)

    def of_chunk(chunk):
        hidden_NxR, target_N, mask_N = chunk
        logits_NxV = logits(hidden_NxR, prediction.weight_RxV, prediction.bias_V, mask_N)
        return token_nll(logits_NxV, target_N, mask_N), argmax(logits_NxV)

    N = target_BxT.size
    chunks = in_chunks(prediction.bias_V.size, prediction.hidden_BxTxR.reshape(N, -1), target_BxT.reshape(-1), mask_BxT.reshape(-1))
    return jax.tree.map(lambda x: x.reshape(-1)[:N].reshape(target_BxT.shape), jax.lax.map(of_chunk, chunks))


def in_chunks(V: int, *arrays_Nx: Array):
    """Cuts arrays with the leading axis N into chunks of equal size, as few as `machine.block` allows; the last is filled up with zeros."""
    N = len(arrays_Nx[0])
    C = -(-N // max(machine.block("logits") // V, POSITIONS))
    size = -(-N // C)

    def cut(x_Nx):
        return jnp.pad(x_Nx, ((0, C * size - N), *((0, 0),) * (x_Nx.ndim - 1))).reshape(C, size, *x_Nx.shape[1:])

    return tuple(map(cut, arrays_Nx))
