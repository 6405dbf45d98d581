"""Decoder state, context and previous token → the vector that logits are read from.

    a = W_s s_i + W_e y_{i-1} + W_c c_i + b
    tanh     tanh a
    maxout   max(a_{2k-1}, a_{2k}), k = 1 … R, with an `a` of 2R                        Goodfellow 2013; Bahdanau 2015, A.2.2
    linear   a, so that logits are linear in all three

A context gate z = σ(G [s_i; c_i; y_{i-1}] + b) weighs the two sides of the sum (Tu 2017, §4): source scales W_c c_i by z, target the
rest, both uses z and 1 - z.

A pointer-generator (See 2017, eq. 8 and 9) mixes what is read with the source's own tokens:

    p(w) = g p_vocabulary(w) + (1 - g) Σ_{s: x_s = w} α_s        g = σ(w · [s_i; c_i; y_{i-1}] + b)

Where weights sum to less than 1, what they lack goes to the vocabulary, so that p sums to 1. All of it is mixed in logs, from the gate's
logit: log p is as exact where g rounds to 0 or 1, or p(w) to 0, as elsewhere.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig, check, choose
from attention_jax.layers import activations
from attention_jax.layers.affine import affine, dense, product
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


def tanh(a_xR: Array):
    """Computes tanh a."""
    return activations.tanh(a_xR)


@cites("goodfellow2013")
def maxout(a_x2R: Array):
    """Returns the larger of each pair.

    Compares two numbers: the gradient of a reduction looks for what is equal to the largest, which a compiler may have rounded otherwise.
    """
    a_xRx2 = a_x2R.reshape(*a_x2R.shape[:-1], -1, 2)
    return jnp.maximum(a_xRx2[..., 0], a_xRx2[..., 1])


def linear(a_xR: Array):
    """Returns a."""
    return a_xR


TABLE = {"tanh": (tanh, 1), "maxout": (maxout, 2), "linear": (linear, 1)}
"""Row: (function, how many columns of `a` make one of the result)."""


FLOOR = 1e-30
"""Of a copied probability: below, log(a + b x) is its tangent at x = 0, whose slope is finite."""


class Readout(NamedTuple):
    """init(key) → params;  apply(params, h_…xH, context_…xC, embedded_…xE) → hidden_…xR."""

    init: Callable
    apply: Callable
    size: int  # R


def build(config: ModelConfig, state_size: int, context_size: int) -> Readout:
    """Makes the readout of `config.readout` and `config.context_gate`. R = H, or E where the logits are tied to an embedding.

    Raises `ConfigError` for impossible settings.
    """
    check(config)
    function, pieces = TABLE[choose("model.readout", config.readout, TABLE)]
    H, C, E = state_size, context_size, config.embedding_size
    R = H if config.tied == "none" else E

    def init(key):
        key, gate_key = jax.random.split(key)
        params = dense(key, H + C + E, pieces * R)
        return params if config.context_gate == "none" else params | {"gate": dense(gate_key, H + C + E, pieces * R)}

    def apply(params, h_xH, context_xC, embedded_xE):
        features_xF = jnp.concatenate([h_xH, context_xC, embedded_xE], axis=-1)
        if config.context_gate == "none":
            return function(affine(params, features_xF))
        source_xR = product(context_xC, params["weight"][H : H + C])
        target_xR = affine(params, features_xF) - source_xR
        z_xR = activations.sigmoid(affine(params["gate"], features_xF))
        source_xR = source_xR if config.context_gate == "target" else z_xR * source_xR
        target_xR = {"source": 1, "target": z_xR, "both": 1 - z_xR}[config.context_gate] * target_xR
        return function(source_xR + target_xR)

    return Readout(init, apply, R)


def copied(gate_BxTx1: Array, logits_BxTxV: Array, weights_BxTxS: Array, source_BxS: Array):
    """Computes log p(w) of the pointer-generator, in float32 at least: g = σ(gate), the probability of generating, stays in logs.

    Weights may have any sum: what they lack to 1 is generated, what is above 1 is divided out. A sum counts as 1 where the rounding of
    weights and of their sum may be all that it is off. `FLOOR` is the least copied probability whose log is taken.
    """
    (B, T, V), S = logits_BxTxV.shape, source_BxS.shape[1]
    dtype = jnp.promote_types(logits_BxTxV.dtype, jnp.float32)
    rounding = 2 * float(jnp.finfo(weights_BxTxS.dtype).eps) + S * float(jnp.finfo(dtype).eps)
    gate_BxTx1, logits_BxTxV, weights_BxTxS = (x.astype(dtype) for x in (gate_BxTx1, logits_BxTxV, weights_BxTxS))
    copies_BxVxT = jnp.zeros((B, V, T), dtype).at[jnp.arange(B, dtype=jnp.int32)[:, None], source_BxS].add(weights_BxTxS.swapaxes(1, 2))
    copies_BxTxV = copies_BxVxT.swapaxes(1, 2)
    mass_BxTx1 = weights_BxTxS.sum(2, keepdims=True)
    mass_BxTx1 = jnp.where(jnp.abs(mass_BxTx1 - 1) > rounding, mass_BxTx1, 1)
    log_g_BxTx1, log_rest_BxTx1 = jax.nn.log_sigmoid(gate_BxTx1), jax.nn.log_sigmoid(-gate_BxTx1)
    lacks_BxTx1 = mass_BxTx1 < 1
    lack_BxTx1 = jnp.where(lacks_BxTx1, 1 - mass_BxTx1, 1)
    log_generate_BxTx1 = jnp.where(lacks_BxTx1, jnp.logaddexp(log_g_BxTx1, log_rest_BxTx1 + jnp.log(lack_BxTx1)), log_g_BxTx1)
    log_copy_BxTx1 = log_rest_BxTx1 - jnp.log(jnp.maximum(mass_BxTx1, 1))
    return mixed(logits_BxTxV, log_generate_BxTx1, log_copy_BxTx1, copies_BxTxV)


@jax.custom_vjp
def mixed(logits_BxTxV: Array, log_generate_BxTx1: Array, log_copy_BxTx1: Array, copies_BxTxV: Array):
    """Computes log(exp(log_generate) · softmax(logits) + exp(log_copy) · copies).

    Its gradients are computed from the arguments and the result: no further B·T·V numbers are kept for them.
    """
    return _forward(logits_BxTxV, log_generate_BxTx1, log_copy_BxTx1, copies_BxTxV)[0]


def _forward(logits_BxTxV, log_generate_BxTx1, log_copy_BxTx1, copies_BxTxV):
    total_BxTx1 = jax.nn.logsumexp(logits_BxTxV, axis=2, keepdims=True)
    generated_BxTxV, seen_BxTxV = logits_BxTxV - total_BxTx1 + log_generate_BxTx1, copies_BxTxV > FLOOR
    both_BxTxV = jnp.logaddexp(generated_BxTxV, log_copy_BxTx1 + jnp.log(jnp.where(seen_BxTxV, copies_BxTxV, 1)))
    tangent_BxTxV = generated_BxTxV + _slope(log_copy_BxTx1, generated_BxTxV) * copies_BxTxV
    log_p_BxTxV = jnp.where(seen_BxTxV, both_BxTxV, tangent_BxTxV)
    return log_p_BxTxV, (logits_BxTxV, total_BxTx1, log_generate_BxTx1, log_copy_BxTx1, copies_BxTxV, log_p_BxTxV)


def _backward(residuals, g_BxTxV):
    logits_BxTxV, total_BxTx1, log_generate_BxTx1, log_copy_BxTx1, copies_BxTxV, log_p_BxTxV = residuals
    log_softmax_BxTxV = logits_BxTxV - total_BxTx1
    d_generated_BxTxV = g_BxTxV * jnp.exp(log_softmax_BxTxV + log_generate_BxTx1 - log_p_BxTxV)
    d_copies_BxTxV = g_BxTxV * _slope(log_copy_BxTx1, log_p_BxTxV)
    d_generate_BxTx1, d_copy_BxTx1 = (x_BxTxV.sum(2, keepdims=True) for x_BxTxV in (d_generated_BxTxV, d_copies_BxTxV * copies_BxTxV))
    return d_generated_BxTxV - jnp.exp(log_softmax_BxTxV) * d_generate_BxTx1, d_generate_BxTx1, d_copy_BxTx1, d_copies_BxTxV


def _slope(log_copy_BxTx1, log_p_BxTxV):
    """Computes ∂ log p / ∂ copies."""
    return jnp.exp(jnp.minimum(log_copy_BxTx1 - log_p_BxTxV, -math.log(FLOOR)))


mixed.defvjp(_forward, _backward)
