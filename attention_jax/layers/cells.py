"""Recurrent cells: one step each. Gates of one cell share one product and, where they can, one tanh.

    rnn         h' = tanh(x W + h U)                                      Elman 1990
    lstm        i, f, o = σ(x W + h U);  g = tanh(x W + h U)
                c' = f c + i g;  h' = o tanh c'                           Hochreiter & Schmidhuber 1997; Gers 2000
    gru         r, z = σ(x W + h U);  n = tanh(x W_n + r (h U_n + b))
                h' = (1 - z) n + z h                                      reset after the product: cuDNN, PyTorch, Flax
    gru_before  r, z = σ(x W + h U);  n = tanh(x W_n + (r h) U_n)
                h' = (1 - z) n + z h                                      reset before it: Cho 2014, Bahdanau 2015

Linear recurrences, h' = a ∘ h + b with a and b free of h: they have `gates`, and need not be a loop (recurrence.linear).

    mingru      z = σ(x W);  n = x W_n;  a = 1 - z;  b = z n              Feng 2024, §3.1
    minlstm     f, i = σ(x W);  n = x W_n;  a = f / (f + i);  b = i n / (f + i)       Feng 2024, §3.2
    diagonal    a = λ;  b = √(1 - λ²) x W;  λ = exp(-exp ν) in (0, 1)     Orvieto 2023, §3.3-3.4, real-valued

σ(x) = ½ tanh(½ x) + ½, so one tanh serves all gates. Recurrent matrices start orthogonal, input matrices Glorot uniform,
biases zero, the LSTM's forget gate at 1 (Jozefowicz 2015), λ uniform in [0.5, 0.99]. An affine of no inputs is its bias and
has no weight: a cell of `inputs` = 0 reads nothing, and the recurrent affine "decay" of `diagonal` is the constant ν.
"""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.layers.activations import sigmoid, tanh
from attention_jax.layers.affine import affine, dense
from attention_jax.types import Cell
from attention_jax.types.citations import cites

orthogonal = jax.nn.initializers.orthogonal(dtype=jnp.float32)


def _cell(blocks: int, step, inputs: int, hidden: int, recurrent: dict[str, int], carries: int = 1, bias=None) -> Cell:
    """Makes a cell of `blocks` gates from the input, and of recurrent affines: `recurrent` maps their names to their numbers of blocks."""

    def init(key):
        key, input_key = jax.random.split(key)
        input_params = dense(input_key, inputs, hidden, blocks)
        if bias is not None:
            input_params["bias"] = jnp.asarray(bias)
        keys = jax.random.split(key, len(recurrent))
        return {
            "input": input_params,
            "recurrent": {name: dense(k, hidden, hidden, n, orthogonal) for k, (name, n) in zip(keys, recurrent.items(), strict=True)},
        }

    return Cell(init, affine, step, hidden, carries * hidden, blocks * hidden)


@cites("elman1990")
def rnn(inputs: int, hidden: int) -> Cell:
    """Makes an Elman network: h' = tanh(x W + h U)."""

    def formula(params, carry_H, input_I):
        x, h = params["input"], params["recurrent"]["hidden"]
        return np.tanh(input_I @ x["weight"] + x["bias"] + carry_H @ h["weight"] + h["bias"])

    return _cell(1, _rnn_step, inputs, hidden, {"hidden": 1})._replace(formula=formula)


def _rnn_step(recurrent, h_BxH, projected_BxH):
    return tanh(projected_BxH + affine(recurrent["hidden"], h_BxH))


@cites("hochreiter1997", "gers2000")
def lstm(inputs: int, hidden: int) -> Cell:
    """Makes a long short-term memory with forget gate and without peepholes: gates in the order i, f, o, g; carry = [h, c]."""
    bias = np.repeat(np.array([0, 1, 0, 0], np.float32), hidden)
    return _cell(4, _lstm_step, inputs, hidden, {"hidden": 4}, carries=2, bias=bias)._replace(is_lstm=True)


def _lstm_step(recurrent, carry_BxF, projected_BxP):
    h_BxH, c_BxH = jnp.split(carry_BxF, 2, axis=1)
    scale_P = np.repeat(np.array([0.5, 0.5, 0.5, 1.0], projected_BxP.dtype), h_BxH.shape[1])
    tanh_BxP = tanh(scale_P[None, :] * (projected_BxP + affine(recurrent["hidden"], h_BxH)))
    i_BxH, f_BxH, o_BxH, g_BxH = jnp.split(tanh_BxP, 4, axis=1)
    i_BxH, f_BxH, o_BxH = 0.5 * i_BxH + 0.5, 0.5 * f_BxH + 0.5, 0.5 * o_BxH + 0.5
    c_BxH = f_BxH * c_BxH + i_BxH * g_BxH
    return jnp.concatenate([o_BxH * tanh(c_BxH), c_BxH], axis=1)


@cites("cho2014")
def gru(inputs: int, hidden: int) -> Cell:
    """Makes a gated recurrent unit whose reset gate acts after the recurrent product."""
    return _cell(3, _gru_step, inputs, hidden, {"hidden": 3})


def _gru_step(recurrent, h_BxH, projected_BxP):
    gates_BxG, n_BxH = jnp.split(projected_BxP, [2 * h_BxH.shape[1]], axis=1)
    recurrent_gates_BxG, recurrent_n_BxH = jnp.split(affine(recurrent["hidden"], h_BxH), [2 * h_BxH.shape[1]], axis=1)
    r_BxH, z_BxH = jnp.split(sigmoid(gates_BxG + recurrent_gates_BxG), 2, axis=1)
    n_BxH = tanh(n_BxH + r_BxH * recurrent_n_BxH)
    return n_BxH + z_BxH * (h_BxH - n_BxH)


@cites("cho2014")
def gru_before(inputs: int, hidden: int) -> Cell:
    """Makes a gated recurrent unit whose reset gate acts before the recurrent product: two products a step."""
    return _cell(3, _gru_before_step, inputs, hidden, {"gates": 2, "candidate": 1})


def _gru_before_step(recurrent, h_BxH, projected_BxP):
    H = h_BxH.shape[1]
    r_BxH, z_BxH = jnp.split(sigmoid(projected_BxP[:, : 2 * H] + affine(recurrent["gates"], h_BxH)), 2, axis=1)
    n_BxH = tanh(projected_BxP[:, 2 * H :] + affine(recurrent["candidate"], r_BxH * h_BxH))
    return n_BxH + z_BxH * (h_BxH - n_BxH)


def _linear(blocks: int, gates, inputs: int, hidden: int) -> Cell:
    """Makes the cell h' = a ∘ h + b of gates(recurrent, projected) → (a, b), without recurrent affines."""
    return _cell(blocks, _linear_step(gates), inputs, hidden, {})._replace(gates=gates)


def _linear_step(gates):
    def step(recurrent, h_BxH, projected_BxP):
        a_BxH, b_BxH = gates(recurrent, projected_BxP)
        return a_BxH * h_BxH + b_BxH

    return step


@cites("feng2024")
def mingru(inputs: int, hidden: int) -> Cell:
    """Makes a minimal GRU: gate and candidate read the input alone, so it is a linear recurrence."""
    return _linear(2, _mingru_gates, inputs, hidden)


def _mingru_gates(recurrent, projected_xP):
    z_xH, n_xH = jnp.split(projected_xP, 2, axis=-1)
    return sigmoid(-z_xH), sigmoid(z_xH) * n_xH


@cites("feng2024")
def minlstm(inputs: int, hidden: int) -> Cell:
    """Makes a minimal LSTM: gates read the input alone, and forget and input gate sum to 1."""
    return _linear(3, _minlstm_gates, inputs, hidden)


def _minlstm_gates(recurrent, projected_xP):
    f_xH, i_xH, n_xH = jnp.split(projected_xP, 3, axis=-1)
    odds_xH = jax.nn.softplus(-i_xH) - jax.nn.softplus(-f_xH)  # log(σ(f) / σ(i)), finite where both gates are shut
    return sigmoid(odds_xH), sigmoid(-odds_xH) * n_xH


@cites("orvieto2023")
def diagonal(inputs: int, hidden: int) -> Cell:
    """Makes a linear recurrent unit with one real λ per column, constant over time."""
    cell = _linear(1, _diagonal_gates, inputs, hidden)

    def init(key):
        key, decay_key = jax.random.split(key)
        decay_H = jax.random.uniform(decay_key, (hidden,), jnp.float32, 0.5, 0.99)
        return cell.init(key) | {"recurrent": {"decay": {"bias": jnp.log(-jnp.log(decay_H))}}}

    return cell._replace(init=init)


def _diagonal_gates(recurrent, projected_xH):
    ν_xH = jnp.clip(affine(recurrent["decay"], projected_xH), -20, 4)  # λ from 1 - 2e-9 to 2e-24: beyond, gradients are not finite
    rate_xH = jnp.exp(ν_xH)
    return jnp.exp(-rate_xH), jnp.sqrt(-jnp.expm1(-2 * rate_xH)) * projected_xH


TABLE = {
    "rnn": rnn,
    "lstm": lstm,
    "gru": gru,
    "gru_before": gru_before,
    "mingru": mingru,
    "minlstm": minlstm,
    "diagonal": diagonal,
}
