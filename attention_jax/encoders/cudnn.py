"""The LSTM by NVIDIA's cuDNN: the values of `recurrence.run` on a GPU, by one call in place of a loop. Setting: model.loop=cudnn.

cuDNN wants gates in the order i, f, g, o, all weights in one vector, float32, and in each row real positions first and at least one of
them; it has no cell of ours but the LSTM. Positions are moved there and back by one gather each. Rows without a real position are given
one, and their results set to zero.
"""

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from attention_jax import masks, precision
from attention_jax.config import ModelConfig
from attention_jax.types import Cell, ConfigError


def check(config: ModelConfig) -> None:
    """Raises `ConfigError` where cuDNN cannot do what the config asks for, or is not there."""
    if config.encoder != "recurrent":
        raise ConfigError(f"model.loop=cudnn is for model.encoder=recurrent, not {config.encoder}")
    if config.cell != "lstm" or config.transition > 1:
        raise ConfigError(
            f"model.loop=cudnn has model.cell=lstm alone, with model.transition=1, not {config.cell} with {config.transition}"
        )
    if jax.default_backend() != "gpu":
        raise ConfigError(f"model.loop=cudnn needs an NVIDIA GPU, and JAX runs on {jax.default_backend()}: set model.loop=scan")


def run(cell: Cell, params: dict, inputs_BxTxI, mask_BxT, reverse: bool = False):
    """(h_BxTxH, last carry_Bx2H), as `recurrence.run` of an LSTM. float32."""
    mask_BxT, (B, _, I), H = masks.real(mask_BxT), inputs_BxTxI.shape, cell.hidden_size
    lengths_B = mask_BxT.sum(1, dtype=jnp.int32)
    rank_BxT = turned(masks.rank(mask_BxT), lengths_B) if reverse else masks.rank(mask_BxT)
    inputs_BxTxI = masks.moved(jnp.where(mask_BxT[:, :, None], inputs_BxTxI, 0), jnp.argsort(rank_BxT, axis=1))
    zeros_1xBxH = jnp.zeros((1, B, H), inputs_BxTxI.dtype)
    weights = packed(params)
    h_BxTxH, h_1xBxH, c_1xBxH = rnn.lstm(
        inputs_BxTxI, zeros_1xBxH, zeros_1xBxH, weights, jnp.maximum(lengths_B, 1), I, H, 1, 0.0, False, products()
    )
    h_BxTxH = masks.moved(h_BxTxH, rank_BxT)
    last_BxF = jnp.concatenate([h_1xBxH[0], c_1xBxH[0]], axis=1)
    return jnp.where(mask_BxT[:, :, None], h_BxTxH, 0), jnp.where(lengths_B[:, None] > 0, last_BxF, 0)


def products() -> jax.lax.Precision:
    """That of the products around the loop: float32, or else TF32, which is the least that cuDNN has."""
    return jax.lax.Precision.HIGHEST if precision.current() == "highest" else jax.lax.Precision.DEFAULT


def packed(params: dict):
    """The vector of W_ih, W_hh, b_ih, b_hh, matrices transposed, of a cell's parameters."""

    def gates(x_xP):
        i, f, o, g = jnp.split(x_xP, 4, axis=-1)
        return jnp.concatenate([i, f, g, o], axis=-1).T.reshape(-1)

    affines = params["input"], params["recurrent"]["hidden"]
    return jnp.concatenate([gates(affine[kind]) for kind in ("weight", "bias") for affine in affines])


def turned(rank_BxT, lengths_B):
    """Each row's ranks below its length from last to first."""
    return jnp.where(rank_BxT < lengths_B[:, None], lengths_B[:, None] - 1 - rank_BxT, rank_BxT)
