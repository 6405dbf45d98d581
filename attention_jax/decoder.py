"""Memory → logits: one scan that calls `attend` and cannot tell which mechanism it got.

    timing = before (Bahdanau 2015):  c_i = attend(s_{i-1});  s_i = f(s_{i-1}, [y_{i-1}; c_i])
    timing = after  (Luong 2015):     s_i = f(s_{i-1}, y_{i-1});  c_i = attend(s_i)
    both:                             logits_i = V tanh(W [s_i; c_i; y_{i-1}])

    start = zero:      s_0 = 0
    start = bridge:    s_0 = tanh(W final + b), of the encoder's whole final state
    start = backward:  s_0 = tanh(W h←_1 + b), of the reversed direction's state at the first position (Bahdanau 2015, A.2.2)

y_{i-1} is the embedded previous token, or a learned constant (the embedding of BOS) where `feedback` is off.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax import recurrence
from attention_jax.config import ModelConfig
from attention_jax.encoders import cells
from attention_jax.types import Attention, Memory


class Decoder(NamedTuple):
    """init(key) → params;  start(params, memory) → (prepared, state);
    step(params, prepared, state, embedded_BxE, keys_B) → (state, (features_BxF, weights_BxS, extra_B));
    unroll(params, memory, embedded_BxTxE, keys_BxT or None) → (features_BxTxF, weights_BxTxS, extra_B);
    readout(params, features_…xF) → the vector that logits are read from.
    """

    init: Callable
    start: Callable
    step: Callable
    unroll: Callable
    readout: Callable


def build(config: ModelConfig, attention: Attention, memory_size: int, final_size: int) -> Decoder:
    """The decoder of `config.cell`, `decoder_size`, `start`, `timing` around a mechanism."""
    H = config.decoder_size or config.hidden_size
    E, C = config.embedding_size, attention.context_size
    cell = cells.TABLE[config.cell](E, H)
    start_size = {"zero": 0, "bridge": final_size, "backward": config.hidden_size}[config.start]

    def init(key):
        keys = jax.random.split(key, 5)
        params = {
            "cell": cell.init(keys[0]),
            "attention": attention.init(keys[1]),
            "readout": cells.dense(keys[2], H + C + E, H),
        }
        if config.timing == "before":
            params["context"] = cells.glorot(keys[3], (C, cell.projected_size)) if C else jnp.zeros((0, cell.projected_size))
        if start_size:
            params["start"] = cells.dense(keys[4], start_size, cell.carry_size)
        return params

    def start(params, memory: Memory):
        prepared = attention.prepare(params["attention"], memory.states_BxSxM, memory.mask_BxS)
        if config.start == "zero":
            carry_BxF = jnp.zeros((memory.mask_BxS.shape[0], cell.carry_size))
        else:
            source_BxD = memory.final_BxD if config.start == "bridge" else memory.states_BxSxM[:, 0, memory_size - start_size :]
            carry_BxF = jnp.tanh(recurrence.affine(params["start"], source_BxD))
        return prepared, (carry_BxF, attention.initial(prepared))

    def advance(params, prepared, state, projected_BxP, keys_B):
        carry_BxF, attention_state = state

        def dot(name, a_BxI):
            return recurrence.affine(params["cell"]["recurrent"][name], a_BxI)

        def look(carry_BxF):
            return attention.attend(params["attention"], prepared, attention_state, carry_BxF[:, :H], keys_B)

        if config.timing == "before":
            context_BxC, weights_BxS, attention_state, extra_B = look(carry_BxF)
            carry_BxF = cell.step(dot, carry_BxF, projected_BxP + context_BxC @ params["context"])
        else:
            carry_BxF = cell.step(dot, carry_BxF, projected_BxP)
            context_BxC, weights_BxS, attention_state, extra_B = look(carry_BxF)
        return (carry_BxF, attention_state), (carry_BxF[:, :H], context_BxC, weights_BxS, extra_B)

    def step(params, prepared, state, embedded_BxE, keys_B=None):
        projected_BxP = cell.project(params["cell"]["input"], embedded_BxE)
        state, (h_BxH, context_BxC, weights_BxS, extra_B) = advance(params, prepared, state, projected_BxP, keys_B)
        return state, (jnp.concatenate([h_BxH, context_BxC, embedded_BxE], axis=1), weights_BxS, extra_B)

    def unroll(params, memory: Memory, embedded_BxTxE, keys_BxT=None):
        prepared, state = start(params, memory)
        projected_TxBxP = cell.project(params["cell"]["input"], embedded_BxTxE).swapaxes(0, 1)
        keys_TxB = None if keys_BxT is None else keys_BxT.T
        _, outputs = jax.lax.scan(lambda state, x: advance(params, prepared, state, *x), state, (projected_TxBxP, keys_TxB))
        h_BxTxH, context_BxTxC, weights_BxTxS = (x.swapaxes(0, 1) for x in outputs[:3])
        return jnp.concatenate([h_BxTxH, context_BxTxC, embedded_BxTxE], axis=2), weights_BxTxS, outputs[3].T

    def readout(params, features):
        return jnp.tanh(recurrence.affine(params["readout"], features))

    return Decoder(init, start, step, unroll, readout)
