"""Data → memory. An encoder is a row of `TABLE`: `row(config, input_size) → Encoder`, two pure functions and their sizes.

    init(key) → params
    apply(params, inputs_BxSxE, mask_BxS, keys_B) → Memory(states_BxPxM, mask_BxP, final_BxD)

    recurrent       one direction or both, layers, residual connections         P = S
    gnmt            both directions at the bottom, forward layers above         P = S
    pyramidal       every layer halves the length                               P = ⌈S / 2^(layers-1)⌉
    convolutional   filters along the source, then the recurrent encoder        P = ⌈S / r⌉, r = stride^convolutions
    image           filters over a square of places, no recurrence              P = ⌈√S / r⌉²
    self_attention  blocks of self-attention, no recurrence                     P = S

`keys_B` (one key per example) drive dropout; None switches it off. States are zero where the mask is False, and what inputs hold there, NaN
included, changes neither values nor gradients. Where P is not S, `spread` turns weights over memory positions into weights over source
positions, and `Memory.mask_BxS` is mask_BxP. Padding may stand anywhere: sequences are read as if real positions came first, and pyramidal
and convolutional return memory positions in that order; in an image positions stay where they are, and what is masked reads as zero.
"""

import jax.numpy as jnp

from attention_jax.config import ModelConfig, check, choose
from attention_jax.encoders import convolutional, gnmt, image, loops, pyramidal, recurrent, self_attention
from attention_jax.layers import masks
from attention_jax.types import Encoder

TABLE = {
    "recurrent": recurrent.recurrent,
    "gnmt": gnmt.gnmt,
    "pyramidal": pyramidal.pyramidal,
    "convolutional": convolutional.convolutional,
    "image": image.image,
    "self_attention": self_attention.self_attention,
}


def build(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder that `config.encoder` names. Raises `ConfigError` for settings that are impossible, or not with this encoder."""
    check(config)
    new_encoder = TABLE[choose("model.encoder", config.encoder, TABLE)]
    encoder = new_encoder(config, input_size)
    loops.check(config, encoder)

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        return encoder.apply(params, jnp.asarray(inputs_BxSxE), masks.real(mask_BxS), keys_B)

    return encoder._replace(apply=apply)
