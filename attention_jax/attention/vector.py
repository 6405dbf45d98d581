"""The fixed vector as d = `model.vector_size` numbers, whatever the sizes of encoder and decoder.

    v = tanh(W h + b)        h = what `summary` is: each direction's state at the end of its pass, or the mean of positions without an order

In every arm v is what start = bridge reads. It is the context of `summary`. With slots each slot's vector passes the same W and b, so that
scores read K vectors of d numbers: one slot is `summary` at every d. Scores without slots read the memory as it is. With d = 0 there is no
projection: `summary` is h, a slot's vector as it is, and start = bridge reads the encoder's whole final state.

With n = `model.vector_bits` > 0 each number is rounded to n bits, and the gradient is that of the number that was rounded:

    v = 2 round((2ⁿ − 1)(tanh(W h + b) + 1) / 2) / (2ⁿ − 1) − 1        n < 16: one of 2ⁿ numbers, −1 and 1 among them
                                                                     n = 16: the nearest bfloat16
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.attention import no_attention
from attention_jax.attention.sizes import Sizes
from attention_jax.layers import activations
from attention_jax.layers.affine import affine, dense
from attention_jax.types import Attention
from attention_jax.types.signatures import Array, Init, Params


class Vector(NamedTuple):
    """A projection of memory vectors to the one vector of a model; the identity where `model.vector_size` is 0.

    through(params, h_…xM) → v_…xC;  joined(init) → an init that also draws the projection's parameters, under "vector".
    """

    size: int  # C: d, or M for d = 0
    through: Callable[[Params, Array], Array]
    joined: Callable[[Init], Init]


BFLOAT16 = 16
"""Bits of a number that is no step of a grid."""


def build(d: int, sizes: Sizes, bits: int = 0) -> Vector:
    """Makes the projection of memory vectors to `d` numbers of so many `bits`; the identity, without parameters, for d = 0."""
    if d == 0:
        return Vector(sizes.memory, lambda params, h_xM: h_xM, lambda init: init)

    def through(params, h_xM):
        return rounded(activations.tanh(affine(params["vector"], h_xM)), bits)

    def joined(init):
        def both(key):
            key, vector_key = jax.random.split(key)
            return {"vector": dense(vector_key, sizes.memory, d)} | init(key)

        return both

    return Vector(d, through, joined)


def rounded(v_xC: Array, bits: int):
    """Rounds numbers of [−1, 1] to so many bits, with a straight-through gradient (Bengio 2013); 0 bits leave them as they are."""
    if bits == 0:
        return v_xC
    if bits == BFLOAT16:
        nearest_xC = jax.lax.reduce_precision(v_xC, exponent_bits=8, mantissa_bits=7)
    else:
        steps = 2**bits - 1
        nearest_xC = jnp.round((v_xC + 1) * (steps / 2)) * (2 / steps) - 1
    return jax.lax.stop_gradient(nearest_xC) + (v_xC - jax.lax.stop_gradient(v_xC))


def handed_over(attention: Attention, vector: Vector, sizes: Sizes) -> Attention:
    """Gives `attention` the vector as what the decoder starts from; there is one projection, whoever else reads it."""

    def handed(params, memory_BxSxM, mask_BxS):
        return vector.through(params, no_attention.summarise(sizes, memory_BxSxM, mask_BxS))

    return attention._replace(init=vector.joined(attention.init), handed=handed)
