"""Filters before the recurrence: layers of one-dimensional convolutions, each shortening the source by its stride.

    y_j = relu(b + Σ_o x_{s j + o - ⌊(k-1)/2⌋} W_o),  o = 0 … k-1      k = kernel, s = stride, x = 0 outside the source

A memory place stands for stride^convolutions source positions. What is masked reads as zero, as does what lies outside, in
every layer: padding changes nothing. A convolution is an affine of patches, and its weight the W_o one below the other;
`filters` works along one axis (speech, text) or two (images). Zhang, Chan & Jaitly 2017 listen through them.
"""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.encoders import places
from attention_jax.encoders.recurrent import recurrent
from attention_jax.layers.affine import affine, dense
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.system.errors import ConfigError
from attention_jax.types import Encoder
from attention_jax.types.signatures import Array, Key

he = jax.nn.initializers.he_uniform(dtype=jnp.float32)


def convolutional(config: ModelConfig, input_size: int) -> Encoder:
    """The recurrent encoder of `config` over `config.convolutions` layers of `hidden_size` filters; raises `ConfigError` as both do."""
    upper = recurrent(config, config.hidden_size)
    reduction = stride_of(config)

    def init(key):
        key, filter_key = jax.random.split(key)
        return {"filters": init_filters(filter_key, config, 1, input_size), "recurrent": upper.init(key)}

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        states_BxPxO, mask_BxP = filters(config, params["filters"], inputs_BxSxE, mask_BxS, keys_B)
        states_BxPxO = dropout(states_BxPxO, config.dropout, keys_B, OfExample.FILTERS, config.convolutions)
        return upper.apply(params["recurrent"], states_BxPxO, mask_BxP, keys_B)

    spread = partial(places.spread, reduction=reduction)
    return places.real_first(upper._replace(init=init, apply=apply, reduction=reduction, spread=spread))


def stride_of(config: ModelConfig) -> int:
    """Source positions per memory place along an axis, after all layers; raises `ConfigError` where filters would miss positions."""
    if config.stride > config.kernel:
        raise ConfigError(f"model.stride={config.stride} is above model.kernel={config.kernel}: filters would miss positions")
    return config.stride**config.convolutions


def init_filters(key: Key, config: ModelConfig, axes: int, input_size: int) -> dict:
    """{"layer0": affine of patches, …}, He uniform (2015): the layers end in a relu."""
    seen = config.kernel**axes
    return {
        f"layer{layer}": dense(k, seen * (config.hidden_size if layer else input_size), config.hidden_size, initializer=he)
        for layer, k in enumerate(jax.random.split(key, config.convolutions))
    }


def filters(config: ModelConfig, params: dict, inputs_BxSxE: Array, mask_BxS: Array, keys_B: Key | None = None):
    """(states_BxPxO, mask_BxP) after all layers; S and P are one axis of positions, or two (YxX)."""
    states_BxPxO, mask_BxP = jnp.where(mask_BxS[..., None], inputs_BxSxE, 0), mask_BxS
    for layer in range(config.convolutions):
        if layer > 0:
            states_BxPxO = dropout(states_BxPxO, config.dropout, keys_B, OfExample.FILTERS, layer)
        mask_BxP = places.reduced(mask_BxP, config.stride)
        states_BxPxO = jax.nn.relu(affine(params[f"layer{layer}"], patches(states_BxPxO, config.kernel, config.stride)))
        states_BxPxO = jnp.where(mask_BxP[..., None], states_BxPxO, 0)
    return states_BxPxO, mask_BxP


def patches(inputs_BxSxI: Array, kernel: int, stride: int):
    """What a filter sees at its places: ⌈S / stride⌉ along each axis, its kernel (or kernel², row-major) vectors side by side.

    ⌊(k-1)/2⌋ places before and ⌊k/2⌋ behind are added as zeros, whatever S is: what a place sees does not depend on S.
    """
    sizes = inputs_BxSxI.shape[1:-1]
    padded_BxSxI = jnp.pad(inputs_BxSxI, [(0, 0), *[((kernel - 1) // 2, kernel // 2)] * len(sizes), (0, 0)])

    def at(offsets):
        along = [slice(offset, offset + size, stride) for offset, size in zip(offsets, sizes, strict=True)]
        return padded_BxSxI[:, *along]

    return jnp.concatenate([at(offsets) for offsets in product(range(kernel), repeat=len(sizes))], axis=-1)
