"""Which places a look may see. A row is `row(config, sizes) → Window`; places outside get exactly zero, and a window without a
real place inside leaves no weights at all.

    all       every real place
    local_m   |s - p_t| ≤ D,  p_t = min(t, n)                      Luong 2015, §3.2, "monotonic alignment"
    local_p   |s - p_t| ≤ D,  p_t = n σ(v · tanh(W q_t)),          Luong 2015, eq. 9
              and weights times exp(-(s - p_t)² / 2 σ²), σ = D/2   Luong 2015, eq. 10

s = 1, 2, … are the places, t = 1, 2, … the looks, n is the last real place, D = `config.window_size`. Luong's p_t = t leaves the
source when outputs are longer; ours stays at the last place. The Gaussian comes after the normaliser: weights sum to at most 1.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.layers.affine import glorot
from attention_jax.system.errors import ConfigError
from attention_jax.types import Window
from attention_jax.types.signatures import Array


def everywhere(config: ModelConfig, sizes: Sizes) -> Window:
    """No window: every real place is inside."""

    def place(params, state, query_BxTxH, mask_BxS):
        inside_BxTxS = jnp.broadcast_to(mask_BxS[:, None, :], (*query_BxTxH.shape[:2], mask_BxS.shape[1]))
        return inside_BxTxS, jnp.ones((1, 1, 1), query_BxTxH.dtype), state

    return Window(place)


def local_m(config: ModelConfig, sizes: Sizes) -> Window:
    """Looks move on by one place each; what is carried is how many there were."""

    def place(params, seen_B, query_BxTxH, mask_BxS):
        T = query_BxTxH.shape[1]
        look_BxT = seen_B[:, None] + 1 + jnp.arange(T, dtype=jnp.int32)[None, :]
        centre_BxT = jnp.minimum(look_BxT, last_place(mask_BxS)[:, None])
        away_BxTxS = jnp.abs(places(mask_BxS) - centre_BxT[:, :, None])
        return mask_BxS[:, None, :] & (away_BxTxS <= config.window_size), jnp.ones((1, 1, 1), query_BxTxH.dtype), seen_B + T

    return Window(place, initial=lambda mask_BxS: jnp.zeros(mask_BxS.shape[0], jnp.int32), knows_places=True)


def local_p(config: ModelConfig, sizes: Sizes) -> Window:
    """The query says where to look; stateless. Raises `ConfigError` for D = 0, a Gaussian without a width."""
    D = config.window_size
    if D < 1:
        raise ConfigError(f"window=local_p needs model.window_size of at least 1, not {D}: the Gaussian's deviation is half of it")

    def init(key):
        query_key, v_key = jax.random.split(key)
        return {"query": glorot(query_key, (sizes.query, sizes.score)), "v": glorot(v_key, (sizes.score, 1))}

    def place(params, state, query_BxTxH, mask_BxS):
        share_BxT = jax.nn.sigmoid(jnp.tanh(query_BxTxH @ params["query"]) @ params["v"])[:, :, 0]
        centre_BxT = share_BxT.astype(jnp.promote_types(share_BxT.dtype, jnp.float32)) * last_place(mask_BxS)[:, None]
        away_BxTxS = places(mask_BxS) - centre_BxT[:, :, None]
        inside_BxTxS = mask_BxS[:, None, :] & (jnp.abs(away_BxTxS) <= D)
        return inside_BxTxS, jnp.exp(-2 * (away_BxTxS / D) ** 2).astype(query_BxTxH.dtype), state

    return Window(place, init, mass="at most 1", knows_places=True)


def places(mask_BxS: Array):
    """s of each place, counted from 1, of shape 1x1xS."""
    return jnp.arange(1, mask_BxS.shape[1] + 1, dtype=jnp.int32)[None, None, :]


def last_place(mask_BxS: Array):
    """n of each row, 0 where nothing is real."""
    return jnp.where(mask_BxS.any(1), masks.last(mask_BxS) + 1, 0)
