"""Images: memory positions are places instead of times, and nothing is recurrent.

    y_{vu} = relu(b + Σ_{op} x_{s v + o - ⌊(k-1)/2⌋, s u + p - ⌊(k-1)/2⌋} W_{op})

Layers of two-dimensional filters (see convolutional.py) turn BxYxX places into ⌈Y/r⌉ x ⌈X/r⌉, r = stride^convolutions; the
memory lists them row by row. The fixed vector is their mean over real places. Xu 2015, "Show, Attend and Tell", §3.1.1.

Filters see what stands around a place, not where it is. With `config.coordinates` each layer reads a place's row and column besides (Liu
2018), and the memory's vectors end in them. Attention can then ask for a place, and the mean can tell what stands where: rows and columns
that no filter has read have one mean for all images. A source has `config.rows` rows, or with 0 as many as columns.
"""

from math import isqrt

import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.encoders import places
from attention_jax.encoders.convolutional import filters, init_filters, stride_of
from attention_jax.system.errors import ConfigError
from attention_jax.types import Encoder, Memory
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key


@cites("xu2015")
def image(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder of `config.kernel`, `stride`, `convolutions`, `hidden_size`, of images whose rows lie one behind the other.

    final_BxD = the mean. Raises `ConfigError` for more than one recurrent layer; `apply` and `spread` raise it where S does not fill rows.
    """
    if config.layers > 1:
        raise ConfigError(f"model.layers={config.layers} is impossible with model.encoder=image: it has no recurrence")
    reduction = stride_of(config)

    def init(key):
        return init_filters(key, config, 2, input_size, 2 * config.coordinates)

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        return look(config, params, field(inputs_BxSxE, 1, config.rows), field(mask_BxS, 1, config.rows), keys_B)

    def spread(weights_BxTxP, mask_BxS):
        weights_BxTxPxQ = field(weights_BxTxP, 2, -(-config.rows // reduction))
        weights_BxTxYxX = places.spread(weights_BxTxPxQ, field(mask_BxS, 1, config.rows), reduction)
        return weights_BxTxYxX.reshape(*weights_BxTxP.shape[:2], -1)

    M = config.hidden_size + 2 * config.coordinates
    return Encoder(init, apply, M, M, ("mean",), reduction**2, spread, recurs=False, squares=True)


def look(config: ModelConfig, params: dict, inputs_BxYxXxE: Array, mask_BxYxX: Array, keys_B: Key | None = None) -> Memory:
    """Encodes images of any shape by the filters of `config`."""
    beside = located if config.coordinates else None
    states_BxPxQxM, seen_BxPxQ = filters(config, params, inputs_BxYxXxE, mask_BxYxX, keys_B, beside)
    if config.coordinates:
        states_BxPxQxM = located(states_BxPxQxM, seen_BxPxQ)
    B, P, Q, M = states_BxPxQxM.shape
    states_BxSxM, mask_BxS = states_BxPxQxM.reshape(B, P * Q, M), seen_BxPxQ.reshape(B, P * Q)
    mean_BxM = states_BxSxM.sum(1) / jnp.maximum(mask_BxS.sum(1, dtype=jnp.int32), 1)[:, None]
    return Memory(states_BxSxM, mask_BxS, mean_BxM)


def located(states_BxPxQxM: Array, seen_BxPxQ: Array) -> Array:
    """Adds two numbers to the vector of each real place: its row and its column, by the number of rows, so that a column may be above 1."""
    B, P, Q, _ = states_BxPxQxM.shape
    row_PxQ, column_PxQ = jnp.mgrid[:P, :Q]
    coordinates_PxQx2 = (jnp.stack([row_PxQ, column_PxQ], axis=2) / P).astype(states_BxPxQxM.dtype)
    coordinates_BxPxQx2 = jnp.where(seen_BxPxQ[..., None], coordinates_PxQx2[None], 0)
    return jnp.concatenate([states_BxPxQxM, coordinates_BxPxQx2], axis=3)


def field(flat: Array, axis: int, rows: int) -> Array:
    """Splits an axis of positions into two, rows and columns; `rows` 0: as many as columns. Raises `ConfigError` where they do not fit."""
    size = flat.shape[axis]
    Y = rows or isqrt(size)
    if size % max(Y, 1) or (not rows and size != Y * Y):
        shape = f"images of {rows} rows" if rows else "square images"
        raise ConfigError(f"model.encoder=image reads {shape}, and a source of {size} positions is none; see model.rows")
    return flat.reshape(*flat.shape[:axis], Y, size // Y, *flat.shape[axis + 1 :])
