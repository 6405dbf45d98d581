"""Filters before the recurrence: layers of one-dimensional convolutions, each shortening the source by its stride.

    y_j = relu(b + Σ_o x_{s j + o - ⌊(k-1)/2⌋} W_o),  o = 0 … k-1      k = kernel, s = stride, x = 0 outside the source

A memory position stands for stride^convolutions source positions. What is masked reads as zero, as does what lies outside, in every layer:
padding changes nothing. A convolution is an affine of patches, and its weight the W_o one below the other; `filters` works along one axis
(speech, text) or two (images). Zhang, Chan & Jaitly 2017 listen through them.
"""

from collections.abc import Callable
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
    """Makes the recurrent encoder of `config` over `config.convolutions` layers of `hidden_size` filters.

    Raises `ConfigError` as both do.
    """
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
    """Returns the source positions per memory position along an axis. Raises `ConfigError` where filters would miss positions."""
    if config.stride > config.kernel:
        raise ConfigError(f"model.stride={config.stride} is above model.kernel={config.kernel}: filters would miss positions")
    return config.stride**config.convolutions


def init_filters(key: Key, config: ModelConfig, axes: int, input_size: int, beside: int = 0) -> dict:
    """Draws {"layer0": affine map of patches, …}, He uniform (2015), since each layer ends in a relu; each reads `beside` more numbers."""
    seen = config.kernel**axes
    return {
        f"layer{layer}": dense(k, seen * ((config.hidden_size if layer else input_size) + beside), config.hidden_size, initializer=he)
        for layer, k in enumerate(jax.random.split(key, config.convolutions))
    }


def filters(config: ModelConfig, params: dict, inputs_xE: Array, mask_x: Array, keys_B: Key | None = None, beside: Callable | None = None):
    """Returns (states_xO, mask_x) after all layers; x is B and one axis of positions, or two (YxX), as of the inputs.

    beside(inputs_xE, mask_x) adds numbers to what each layer reads.
    """
    states_xO, seen_x = jnp.where(mask_x[..., None], inputs_xE, 0), mask_x
    for layer in range(config.convolutions):
        if layer > 0:
            states_xO = dropout(states_xO, config.dropout, keys_B, OfExample.FILTERS, layer)
        states_xO = beside(states_xO, seen_x) if beside else states_xO
        seen_x = places.reduced(seen_x, config.stride)
        states_xO = jax.nn.relu(affine(params[f"layer{layer}"], patches(states_xO, config.kernel, config.stride)))
        states_xO = jnp.where(seen_x[..., None], states_xO, 0)
    return states_xO, seen_x


def patches(inputs_xI: Array, kernel: int, stride: int):
    """Returns the patches that a filter reads: ⌈S / stride⌉ along each axis, each of kernel (or kernel², row-major) vectors side by side.

    ⌊(k-1)/2⌋ zero vectors are added before the source and ⌊k/2⌋ behind it, whatever S is: a patch does not depend on S.
    """
    sizes = inputs_xI.shape[1:-1]
    padded_xI = jnp.pad(inputs_xI, [(0, 0), *[((kernel - 1) // 2, kernel // 2)] * len(sizes), (0, 0)])

    def at(offsets):
        along = [slice(offset, offset + size, stride) for offset, size in zip(offsets, sizes, strict=True)]
        return padded_xI[:, *along]

    return jnp.concatenate([at(offsets) for offsets in product(range(kernel), repeat=len(sizes))], axis=-1)
