"""The fixed vector as d = `model.vector_size` numbers, whatever the sizes of encoder and decoder.

    v = tanh(W h + b)        h = what `summary` is: each direction's state at the end of its pass, or the mean of places without an order

In every arm v is what start = bridge reads. It is the context of `summary`. With slots each slot's vector passes the same W and b, so
that scores look at K vectors of d numbers: one slot is `summary` at every d. Scores without slots look at the memory as it is.
With d = 0 there is no projection: `summary` is h, a slot's vector as it is, and start = bridge reads the encoder's whole final state.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from attention_jax.attention import fixed
from attention_jax.attention.sizes import Sizes
from attention_jax.layers import activations
from attention_jax.layers.affine import affine, dense
from attention_jax.types import Attention
from attention_jax.types.signatures import Array, Init, Params


class Vector(NamedTuple):
    """through(params, h_…xM) → v_…xC;  joined(init) → init, of which the parameters have the projection's beside them, under "vector"."""

    size: int  # C: d, or M for d = 0
    through: Callable[[Params, Array], Array]
    joined: Callable[[Init], Init]


def build(d: int, sizes: Sizes) -> Vector:
    """The projection of memory vectors to `d` numbers; the identity, without parameters, for d = 0."""
    if d == 0:
        return Vector(sizes.memory, lambda params, h_xM: h_xM, lambda init: init)

    def through(params, h_xM):
        return activations.tanh(affine(params["vector"], h_xM))

    def joined(init):
        def both(key):
            key, vector_key = jax.random.split(key)
            return {"vector": dense(vector_key, sizes.memory, d)} | init(key)

        return both

    return Vector(d, through, joined)


def handed_over(attention: Attention, vector: Vector, sizes: Sizes) -> Attention:
    """`attention` with the vector as what the decoder's start reads; there is one projection, whoever else reads it."""

    def handed(params, memory_BxSxM, mask_BxS):
        return vector.through(params, fixed.summarise(sizes, memory_BxSxM, mask_BxS))

    return attention._replace(init=vector.joined(attention.init), handed=handed)
