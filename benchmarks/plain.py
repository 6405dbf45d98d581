"""Plain JAX, without optimisation: the recurrences as `lax.scan`, everything inside the loop in the order of the
equations. Our parameters go in, so it serves as a peer and as a reference.
"""

import jax
import jax.numpy as jnp

from attention_jax.layers.affine import affine
from attention_jax.types import BOS
from attention_jax.types.signatures import Array


def lstm(params: dict, carry: tuple[Array, Array], x_BxD: Array):
    """i, f, o = σ(x W + h U); g = tanh(x W + h U); c' = f c + i g; h' = o tanh c'."""
    h_BxH, c_BxH = carry
    a_Bx4H = affine(params["input"], x_BxD) + affine(params["recurrent"]["hidden"], h_BxH)
    i_BxH, f_BxH, o_BxH, g_BxH = jnp.split(a_Bx4H, 4, axis=1)
    c_BxH = jax.nn.sigmoid(f_BxH) * c_BxH + jax.nn.sigmoid(i_BxH) * jnp.tanh(g_BxH)
    return jax.nn.sigmoid(o_BxH) * jnp.tanh(c_BxH), c_BxH


def gru(params: dict, carry: tuple[Array], x_BxD: Array):
    """r, z = σ(x W + h U); n = tanh(x W_n + r (h U_n + b)); h' = (1 - z) n + z h."""
    (h_BxH,) = carry
    x_r, x_z, x_n = jnp.split(affine(params["input"], x_BxD), 3, axis=1)
    h_r, h_z, h_n = jnp.split(affine(params["recurrent"]["hidden"], h_BxH), 3, axis=1)
    z_BxH, n_BxH = jax.nn.sigmoid(x_z + h_z), jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    return ((1 - z_BxH) * n_BxH + z_BxH * h_BxH,)


CELLS = {"lstm": (lstm, 2), "gru": (gru, 1)}
"""Row: (step, arrays in its carry)."""


def layer(cell: str, params: dict, inputs_BxTxD: Array, reverse: bool = False):
    """Returns h_BxTxH of a cell, without masks; the projection of the inputs is inside the loop, too."""
    step, carries = CELLS[cell]
    zeros_BxH = jnp.zeros((inputs_BxTxD.shape[0], params["recurrent"]["hidden"]["weight"].shape[0]), inputs_BxTxD.dtype)

    def body(carry, x_BxD):
        carry = step(params, carry, x_BxD)
        return carry, carry[0]

    _, h_TxBxH = jax.lax.scan(body, (zeros_BxH,) * carries, inputs_BxTxD.swapaxes(0, 1), reverse=reverse)
    return h_TxBxH.swapaxes(0, 1)


def nll(params: dict, source_BxS: Array, target_BxT: Array):
    """-log p of every target token: bidirectional GRU, additive attention after the update, input feeding, bridge (no masks)."""
    decoder, directions = params["decoder"], params["encoder"]["layer0"]
    embedded_BxSxE = params["source_embedding"][source_BxS]
    forward_BxSxH = layer("gru", directions["forward"], embedded_BxSxE)
    reversed_BxSxH = layer("gru", directions["reversed"], embedded_BxSxE, reverse=True)
    memory_BxSxM = jnp.concatenate([forward_BxSxH, reversed_BxSxH], axis=2)
    final_BxM = jnp.concatenate([forward_BxSxH[:, -1], reversed_BxSxH[:, 0]], axis=1)
    score, readout = decoder["attention"]["score"], decoder["readout"]
    inputs = decoder["cell"]["input"]
    cell = decoder["cell"] | {"input": inputs | {"weight": jnp.concatenate([inputs["weight"], decoder["feed"]])}}
    keys_BxSxA = memory_BxSxM @ score["memory"]

    def step(state, y_BxE):
        h_BxH, r_BxR = state
        (h_BxH,) = gru(cell, (h_BxH,), jnp.concatenate([y_BxE, r_BxR], axis=1))
        e_BxS = (jnp.tanh((h_BxH @ score["query"])[:, None] + keys_BxSxA) @ score["v"])[:, :, 0]
        context_BxM = jnp.einsum("bs,bsm->bm", jax.nn.softmax(e_BxS, axis=1), memory_BxSxM)
        r_BxR = jnp.tanh(affine(readout, jnp.concatenate([h_BxH, context_BxM, y_BxE], axis=1)))
        return (h_BxH, r_BxR), r_BxR

    start_BxH = jnp.tanh(affine(decoder["start"], final_BxM))
    previous_BxT = jnp.pad(target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    embedded_TxBxE = params["target_embedding"][previous_BxT].swapaxes(0, 1)
    _, r_TxBxR = jax.lax.scan(step, (start_BxH, jnp.zeros_like(start_BxH)), embedded_TxBxE)
    log_p_BxTxV = jax.nn.log_softmax(affine(params["logits"], r_TxBxR.swapaxes(0, 1)), axis=2)
    return -jnp.take_along_axis(log_p_BxTxV, target_BxT[:, :, None], axis=2)[:, :, 0]
