"""Blocks of self-attention: every position reads all others at once, and nothing is recurrent.

    x⁰_s = √H (W e_s + b) + p_s        p_s = [sin(s ω); cos(s ω)],  ω_i = 10000^(-2i/H)            Vaswani 2017, §3.4, §3.5
    y   = x  + O [head_1; …; head_N]    head_n = softmax(q_n k_nᵀ / √(H/N)) v_n,  q, k, v = affine maps of LN(x)    §3.2
    x'  = y  + W₂ relu(W₁ LN(y) + b₁) + b₂,  4 H columns between                                                   §3.3

`layers` such blocks, the norm before each part and once at the end (Xiong 2020, fig. 1b); N = gcd(4, H). The memory is LN of the last x.
Its vector at the last real position, the end of the source, is the fixed vector (as in CLIP's encoder of text, Radford 2021, §2.4). The
encoder alone is made of these: the decoder that attends to its memory is recurrent, as beside every encoder.
"""

import math

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.layers.affine import affine, dense
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.types import Encoder, Memory
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key

HEADS, WIDER, SMALLEST = 4, 4, 1e-6
"""At most so many heads; how much wider the middle of a feed-forward part is; what is added to a variance."""


@cites("vaswani2017", "xiong2020")
def self_attention(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder of `config.hidden_size`, `layers`; `cell`, `loop`, `direction` and `residual` have no meaning for it.

    final_BxD = the memory's vector at the last real position.
    """
    H = config.hidden_size

    def init(key):
        keys = jax.random.split(key, 1 + config.layers)
        blocks = {f"layer{layer}": init_block(k, H) for layer, k in enumerate(keys[1:])}
        return {"input": dense(keys[0], input_size, H), **blocks, "norm": _norm(H)}

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        order_BxS, rank_BxS = masks.order(mask_BxS), masks.rank(mask_BxS)
        seen_BxS = masks.moved(mask_BxS, order_BxS)
        inputs_BxSxE = masks.moved(jnp.where(mask_BxS[:, :, None], inputs_BxSxE, 0), order_BxS)
        states_BxSxH = math.sqrt(H) * affine(params["input"], inputs_BxSxE)
        states_BxSxH = states_BxSxH + positions(mask_BxS.shape[1], H).astype(states_BxSxH.dtype)[None]
        for layer in range(config.layers):
            states_BxSxH = block(params[f"layer{layer}"], states_BxSxH, seen_BxS, config.dropout, keys_B, layer)
        states_BxSxH = jnp.where(seen_BxS[:, :, None], normed(params["norm"], states_BxSxH), 0)
        final_BxH = jnp.take_along_axis(states_BxSxH, masks.last(seen_BxS)[:, None, None], axis=1)[:, 0]
        return Memory(masks.moved(states_BxSxH, rank_BxS), mask_BxS, final_BxH)

    return Encoder(init, apply, H, H, ("forward",), recurs=False)


def init_block(key: Key, H: int) -> dict:
    """Draws a block: queries, keys and values side by side, what joins the heads, and the two affine maps behind."""
    keys = jax.random.split(key, 4)
    return {
        "attention_norm": _norm(H),
        "heads": dense(keys[0], H, H, 3),
        "joined": dense(keys[1], H, H),
        "feedforward_norm": _norm(H),
        "wide": dense(keys[2], H, WIDER * H),
        "narrow": dense(keys[3], WIDER * H, H),
    }


def block(params: dict, states_BxSxH: Array, mask_BxS: Array, dropped: float, keys_B: Key | None, layer: int):
    """Computes x' of x; what is masked is not attended to. Dropout acts on what each of the two parts adds."""
    added_BxSxH = affine(params["joined"], attended(affine(params["heads"], normed(params["attention_norm"], states_BxSxH)), mask_BxS))
    states_BxSxH = states_BxSxH + dropout(added_BxSxH, dropped, keys_B, OfExample.LAYERS, 2 * layer)
    wide_BxSxW = jax.nn.relu(affine(params["wide"], normed(params["feedforward_norm"], states_BxSxH)))
    return states_BxSxH + dropout(affine(params["narrow"], wide_BxSxW), dropped, keys_B, OfExample.LAYERS, 2 * layer + 1)


def attended(projected_BxSx3H: Array, mask_BxS: Array):
    """Computes the N heads' weighted means of values, side by side; queries, keys and values come side by side."""
    B, S, columns = projected_BxSx3H.shape
    H = columns // 3
    N = math.gcd(HEADS, H)
    query_BxSxNxI, key_BxSxNxI, value_BxSxNxI = (part.reshape(B, S, N, H // N) for part in jnp.split(projected_BxSx3H, 3, axis=2))
    scores_BxNxSxS = jnp.einsum("bqni,bkni->bnqk", query_BxSxNxI, key_BxSxNxI) / math.sqrt(H // N)
    weights_BxNxSxS = jax.nn.softmax(jnp.where(mask_BxS[:, None, None, :], scores_BxNxSxS, -1e30), axis=-1)
    return jnp.einsum("bnqk,bkni->bqni", weights_BxNxSxS, value_BxSxNxI).reshape(B, S, H)


def positions(S: int, H: int):
    """Computes p_s of S positions; of an odd H the last cosine is left out."""
    frequency_I = 10_000.0 ** (-jnp.arange((H + 1) // 2, dtype=jnp.float32) * 2 / H)
    angle_SxI = jnp.arange(S, dtype=jnp.float32)[:, None] * frequency_I[None, :]
    return jnp.concatenate([jnp.sin(angle_SxI), jnp.cos(angle_SxI)], axis=1)[:, :H]


def normed(params: dict, x_xH: Array):
    """Computes LN(x) = scale (x − mean) / √(variance + 1e-6) + bias along the last axis, in float32 at least (Ba 2016)."""
    wide_xH = x_xH.astype(jnp.promote_types(x_xH.dtype, jnp.float32))
    centred_xH = wide_xH - wide_xH.mean(-1, keepdims=True)
    unit_xH = centred_xH * jax.lax.rsqrt((centred_xH**2).mean(-1, keepdims=True) + SMALLEST)
    scale_xH, bias_xH = (jnp.broadcast_to(params[name], x_xH.shape) for name in ("scale", "bias"))
    return unit_xH.astype(x_xH.dtype) * scale_xH + bias_xH


def _norm(H: int) -> dict:
    return {"scale": jnp.ones(H, jnp.float32), "bias": jnp.zeros(H, jnp.float32)}
