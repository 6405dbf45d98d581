"""Windows limit the positions of an attention step. A row is `row(config, sizes) → Window`; positions outside get exactly zero, and a
window without a real position inside leaves no weights at all.

    all       every real position
    local_m   |s - p_t| ≤ D,  p_t = min(t, n)                      Luong 2015, §3.2, "monotonic alignment"
    local_p   |s - p_t| ≤ D,  p_t = n σ(v · tanh(W q_t)),          Luong 2015, eq. 9
              and weights times exp(-(s - p_t)² / 2 σ²), σ = D/2   Luong 2015, eq. 10
    around    -b ≤ s - a_{t-1} ≤ f,  a_t = argmax_s α_ts           Ping 2018 (Deep Voice 3, arXiv 1710.07654)

`around` is no row: it takes the place of `all` where a search is told so (`search.backward_window`, `search.forward_window`).

s = 1, 2, … are the positions, t = 1, 2, … the steps, n is the last real position, D = `config.window_size`. Luong's p_t = t leaves the
source when outputs are longer; ours stays at the last position. The Gaussian comes after the normaliser: weights sum to at most 1.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.layers.affine import glorot
from attention_jax.system.errors import ConfigError
from attention_jax.types import Window
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


def everywhere(config: ModelConfig, sizes: Sizes) -> Window:
    """Makes no window: every real position is inside.

    Use it unless you know that an output needs a neighbourhood alone.

    No paper: it leaves everything as it is.
    """

    def place(params, state, query_BxTxH, mask_BxS):
        inside_BxTxS = jnp.broadcast_to(mask_BxS[:, None, :], (*query_BxTxH.shape[:2], mask_BxS.shape[1]))
        return inside_BxTxS, jnp.ones((1, 1, 1), query_BxTxH.dtype), state

    return Window(place)


@cites("luong2015")
def local_m(config: ModelConfig, sizes: Sizes) -> Window:
    """Makes a window that moves on by one position a step; its state counts the steps.

    Use it where output t belongs to a position near t, and to no other: the window moves on by itself, and nothing outside of it is
    reached.

    Unlike the paper's, which leaves the source where outputs are longer than it, the window stays at the last position.
    """

    def place(params, seen_B, query_BxTxH, mask_BxS):
        T = query_BxTxH.shape[1]
        look_BxT = seen_B[:, None] + 1 + jnp.arange(T, dtype=jnp.int32)[None, :]
        centre_BxT = jnp.minimum(look_BxT, last_place(mask_BxS)[:, None])
        away_BxTxS = jnp.abs(places(mask_BxS) - centre_BxT[:, :, None])
        return mask_BxS[:, None, :] & (away_BxTxS <= config.window_size), jnp.ones((1, 1, 1), query_BxTxH.dtype), seen_B + T

    return Window(place, initial=lambda mask_BxS: jnp.zeros(mask_BxS.shape[0], jnp.int32), knows_places=True)


@cites("luong2015")
def local_p(config: ModelConfig, sizes: Sizes) -> Window:
    """Makes a window around a position that the query predicts; stateless. Raises `ConfigError` for D = 0, a Gaussian without a width.

    Use it where an output needs a neighbourhood alone, and which one is to be learned.
    """
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


def around(backward: int, forward: int) -> Window:
    """Makes a window from b = `backward` positions before the last attended one to f = `forward` after it; -1: there is no such limit.

    The last attended position is that of the largest weight; before the first step it is the first real position.
    """

    def place(params, last_B, query_Bx1xH, mask_BxS):
        inside_Bx1xS = mask_BxS[:, None, :]
        away_Bx1xS = places(mask_BxS) - last_B[:, None, None]
        if backward >= 0:
            inside_Bx1xS &= away_Bx1xS >= -backward
        if forward >= 0:
            inside_Bx1xS &= away_Bx1xS <= forward
        return inside_Bx1xS, jnp.ones((1, 1, 1), query_Bx1xH.dtype), last_B

    def observe(last_B, weights_BxS):
        return jnp.where(weights_BxS.any(1), jnp.argmax(weights_BxS, axis=1) + 1, last_B).astype(last_B.dtype)

    return Window(place, initial=lambda mask_BxS: jnp.ones(mask_BxS.shape[0], jnp.int32), knows_places=True, observe=observe)


def places(mask_BxS: Array):
    """Returns the number s of each position, counted from 1, of shape 1x1xS."""
    return jnp.arange(1, mask_BxS.shape[1] + 1, dtype=jnp.int32)[None, None, :]


def last_place(mask_BxS: Array):
    """Returns n, the number of the last real position of each row; 0 where nothing is real."""
    return jnp.where(mask_BxS.any(1), masks.last(mask_BxS) + 1, 0)
