"""The LSTM by NVIDIA's cuDNN: the values of `recurrence.run` on a GPU, by one call in place of a loop. Setting: model.loop=cudnn.

cuDNN wants gates in the order i, f, g, o, all weights in one vector, float32, and in each row real positions first and at least one of
them; it has no cell of ours but the LSTM. Positions are moved there and back by one gather each. Rows without a real position are given
one, and their results set to zero. Seeds, each of which has weights of its own, are one call after the other: cuDNN has a batch of
sequences, and none of weights.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.experimental import rnn

from attention_jax.config import ModelConfig
from attention_jax.layers import masks, precision
from attention_jax.system.errors import ConfigError
from attention_jax.types import Cell
from attention_jax.types.signatures import Array


def lacking(config: ModelConfig, is_lstm: bool) -> str:
    """Says why cuDNN cannot run this config's recurrences on the default backend; empty where it can."""
    if not is_lstm or config.transition > 1:
        return f"has model.cell=lstm alone, with model.transition=1, not {config.cell} with {config.transition}"
    if jax.default_backend() != "gpu":
        return f"needs an NVIDIA GPU, and JAX runs on {jax.default_backend()}: set model.loop=scan"
    if precision.current() == "bf16":
        return "multiplies float32 as highest or as tf32, not as bf16: set model.loop=scan"
    return ""


def run(cell: Cell, params: dict, inputs_BxTxI: Array, mask_BxT: Array, reverse: bool = False):
    """Runs an LSTM over time as `recurrence.run` does: (h_BxTxH, last carry_Bx2H). Raises `ConfigError` for other types than float32."""
    mask_BxT, inputs_BxTxI, H = masks.real(mask_BxT), jnp.asarray(inputs_BxTxI), cell.hidden_size
    weights_W = packed(params)
    if other := {str(x.dtype) for x in (inputs_BxTxI, weights_W) if x.dtype != jnp.float32}:
        raise ConfigError(f"model.loop=cudnn computes in float32, not in {' and '.join(sorted(other))}: set model.loop=scan")
    lengths_B = mask_BxT.sum(1, dtype=jnp.int32)
    rank_BxT = reversed_ranks(masks.rank(mask_BxT), lengths_B) if reverse else masks.rank(mask_BxT)
    inputs_BxTxI = masks.moved(jnp.where(mask_BxT[:, :, None], inputs_BxTxI, 0), jnp.argsort(rank_BxT, axis=1))
    found = lstm(H, products(), inputs_BxTxI, weights_W, jnp.maximum(lengths_B, 1))
    h_BxTxH, last_BxF = cast(tuple[jax.Array, jax.Array], found)  # checkers lose what `custom_vjp` returns
    h_BxTxH = masks.moved(h_BxTxH, rank_BxT)
    return jnp.where(mask_BxT[:, :, None], h_BxTxH, 0), jnp.where(lengths_B[:, None] > 0, last_BxF, 0)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def lstm(H: int, products: jax.lax.Precision, inputs_BxTxI: Array, weights_W: Array, lengths_B: Array):
    """Calls cuDNN's LSTM from zeros: (h_BxTxH, [h, c]_Bx2H at each length). Under `jax.vmap` it is a loop of such calls."""
    return _forward(H, products, inputs_BxTxI, weights_W, lengths_B)[0]


def _forward(H: int, products, inputs_BxTxI, weights_W, lengths_B):
    @sequential_vmap
    def forward(inputs_BxTxI, weights_W, lengths_B):
        B, _, I = inputs_BxTxI.shape
        zeros_1xBxH = jnp.zeros((1, B, H), inputs_BxTxI.dtype)
        outputs, kept = rnn.lstm_fwd(
            inputs_BxTxI, zeros_1xBxH, zeros_1xBxH, weights_W, lengths_B, I, H, 1, dropout=0.0, bidirectional=False, precision=products
        )
        h_BxTxH, h_1xBxH, c_1xBxH = outputs
        return (h_BxTxH, jnp.concatenate([h_1xBxH[0], c_1xBxH[0]], axis=1)), kept

    return forward(inputs_BxTxI, weights_W, lengths_B)


def _backward(H: int, products, kept, gradients):
    @sequential_vmap
    def backward(kept, gradients):
        d_h_BxTxH, d_last_BxF = gradients
        d_h_1xBxH, d_c_1xBxH = jnp.split(d_last_BxF[None], 2, axis=2)
        I = kept[0].shape[2]
        d_inputs_BxTxI, _, _, d_weights_W, _ = rnn.lstm_bwd(I, H, 1, 0.0, False, products, kept, (d_h_BxTxH, d_h_1xBxH, d_c_1xBxH))
        return d_inputs_BxTxI, d_weights_W

    return *backward(kept, gradients), None


lstm.defvjp(_forward, _backward)


def products() -> jax.lax.Precision:
    """Returns the precision of cuDNN's products: float32 where all products are, else TF32 (JAX's HIGH), the least that cuDNN has."""
    return jax.lax.Precision.HIGHEST if precision.current() == "highest" else jax.lax.Precision.HIGH


def packed(params: dict):
    """Returns a cell's parameters as cuDNN's one vector: W_ih, W_hh, b_ih, b_hh, matrices transposed."""

    def gates(x_xP):
        i, f, o, g = jnp.split(x_xP, 4, axis=-1)
        return jnp.concatenate([i, f, g, o], axis=-1).T.reshape(-1)

    affines = params["input"], params["recurrent"]["hidden"]
    return jnp.concatenate([gates(affine[kind]) for kind in ("weight", "bias") for affine in affines])


def reversed_ranks(rank_BxT: Array, lengths_B: Array):
    """Reverses each row's ranks below its length."""
    return jnp.where(rank_BxT < lengths_B[:, None], lengths_B[:, None] - 1 - rank_BxT, rank_BxT)
