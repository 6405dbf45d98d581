"""Memory and inputs → states and contexts: one scan that calls `attend` and cannot tell which mechanism it got.

    timing = before  (Bahdanau 2015):  c_i = attend(s_{i-1});   s_i = f(s_{i-1}, [y_{i-1}; c_i])
    timing = after   (Luong 2015):     s_i = f(s_{i-1}, y_{i-1});   c_i = attend(s_i)
    timing = between (Sennrich 2017):  s'_i = f(s_{i-1}, y_{i-1});  c_i = attend(s'_i);  s_i = g(s'_i, c_i)

    start = zero:      s_0 = 0
    start = bridge:    s_0 = tanh(W final + b), of the encoder's whole final state, or of its vector (model.vector_size)
    start = backward:  s_0 = tanh(W h←_1 + b), of the reversed direction's state at the first real position (Bahdanau 2015, A.2.2)

y_{i-1} is the embedded previous token, or a learned constant (the embedding of BOS) where `feedback` is off. With `feeding` the
readout of step i-1 is a further input of step i (Luong 2015, §3.3). Of several layers each reads the one below; `residual` adds a
layer's input, the context aside, to its output. decoder = stacked: the top layer asks (in timing = between the bottom one), residual
connections start at the second layer; decoder = gnmt (Wu 2016, §3): the bottom layer asks, the context is an input of every layer, and
residual connections start at the third, as those of its encoder do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.attention import fixed
from attention_jax.attention.mechanism import look_at_all
from attention_jax.config import ModelConfig, check
from attention_jax.layers import activations, deferred, transition
from attention_jax.layers.affine import affine, dense, glorot
from attention_jax.model import readout
from attention_jax.types import Attention, Looks, Memory
from attention_jax.types.signatures import Array


class Steps(NamedTuple):
    """What a decoder does at T positions, or at one, without the axis T."""

    h_BxTxH: Array
    query_BxTxH: Array
    looks: Looks
    read_BxTxR: Array | None  # the readout of these contexts where the loop had to make it (`feeding`)


class Decoder(NamedTuple):
    """init(key) → params;  start(params, memory, keys_B or None) → (prepared, state);
    step(params, prepared, state, embedded_BxE, keys_B or None) → (state, Steps of one);
    unroll(params, prepared, state, embedded_BxTxE, keys_BxT or None) → Steps;
    readout(params, h_…xH, context_…xC, embedded_…xE) → the vector that logits are read from.
    """

    init: Callable
    start: Callable
    step: Callable
    unroll: Callable
    readout: Callable


def build(config: ModelConfig, attention: Attention, memory_size: int, final_size: int) -> Decoder:
    """The decoder of `config.cell`, `decoder`, `decoder_layers`, `decoder_size`, `start`, `timing`, `feeding` around a mechanism.

    Raises `ConfigError` for settings that cannot be.
    """
    check(config)
    H, E, C = config.decoder_size or config.hidden_size, config.embedding_size, attention.context_size
    gnmt, L = config.decoder == "gnmt", config.decoder_layers
    bottom = transition.build(config, E, H)
    second: Any = transition.build(config, C, H) if config.timing == "between" else None
    upper = [transition.build(config, H + C if gnmt else H, H) for _ in range(L - 1)]
    out = readout.build(config, H, C)
    F, P = bottom.carry_size, bottom.projected_size
    start_size = {"zero": 0, "bridge": config.vector_size or final_size, "backward": config.hidden_size}[config.start]
    first_residual = 2 if gnmt else 1
    asks = 0 if gnmt or config.timing == "between" else L - 1  # the layer whose state is the query

    def init(key):
        keys = jax.random.split(key, 7)
        params = {"cell": bottom.init(keys[0]), "attention": attention.init(keys[1]), "readout": out.init(keys[2])}
        if config.timing == "before":
            params |= {"context": glorot(keys[3], (C, P))} if C else {}
        if second:
            params["second"] = second.init(keys[3])
        if start_size:
            params["start"] = dense(keys[4], start_size, L * F)
        if config.feeding:
            params["feed"] = glorot(keys[5], (out.size, P))
        if upper:
            params["upper"] = {
                f"layer{i}": cell.init(k) for i, (k, cell) in enumerate(zip(jax.random.split(keys[6], L - 1), upper, strict=True), 1)
            }
        return params

    def start(params, memory: Memory, keys_B=None):
        prepared = attention.prepare(params["attention"], memory.states_BxSxM, memory.mask_BxS)
        B, dtype = memory.mask_BxS.shape[0], memory.states_BxSxM.dtype
        if config.start == "zero":
            carry_BxLF = jnp.zeros((B, L * F), dtype)
        else:
            states_BxSxM, source_BxD = memory.states_BxSxM, memory.final_BxD
            if config.start == "backward":
                source_BxD = fixed.end("reversed", states_BxSxM[:, :, memory_size - start_size :], memory.mask_BxS)
            elif attention.handed:
                source_BxD = attention.handed(params["attention"], states_BxSxM, memory.mask_BxS)
            carry_BxLF = activations.tanh(affine(params["start"], source_BxD))
        fed = jnp.zeros((B, out.size), dtype) if config.feeding else ()
        return prepared, (tuple(jnp.split(carry_BxLF, L, axis=1)), attention.initial(prepared, keys_B), fed)

    def move(cell, params, carry_BxF, projected_BxP):
        return cell.step(params["recurrent"], carry_BxF, projected_BxP)

    def ascend(params, carries, bottom_BxF, context_BxC):
        """The carries of all layers, given the bottom one's; `context_BxC` is None where upper layers do not see it."""
        new, below_BxH = [bottom_BxF], bottom_BxF[:, :H]
        for i, cell in enumerate(upper, 1):
            inputs_BxI = below_BxH if context_BxC is None else jnp.concatenate([below_BxH, context_BxC], axis=1)
            layer = params["upper"][f"layer{i}"]
            new.append(move(cell, layer, carries[i], cell.project(layer["input"], inputs_BxI)))
            below_BxH = new[i][:, :H] + below_BxH if config.residual and i >= first_residual else new[i][:, :H]
        return tuple(new), below_BxH

    def advance(params, prepared, state, embedded_BxE, projected_BxP, keys_B):
        carries, attention_state, fed = state

        def look(query_BxH):
            context_BxC, weights_BxS, new, terms = attention.attend(params["attention"], prepared, attention_state, query_BxH, keys_B)
            return query_BxH, Looks(context_BxC, weights_BxS, terms), new

        if config.feeding:
            projected_BxP = projected_BxP + fed @ params["feed"]
        looked = None
        if config.timing == "before":
            looked = look(carries[asks][:, :H])
            projected_BxP = projected_BxP + looked[1].context_BxTxC @ params["context"] if C else projected_BxP
        bottom_BxF = move(bottom, params["cell"], carries[0], projected_BxP)
        if config.timing == "between":
            looked = look(bottom_BxF[:, :H])
            context_BxP = second.project(params["second"]["input"], looked[1].context_BxTxC)
            bottom_BxF = move(second, params["second"], bottom_BxF, context_BxP)
        elif config.timing == "after" and gnmt:
            looked = look(bottom_BxF[:, :H])
        carries, h_BxH = ascend(params, carries, bottom_BxF, looked[1].context_BxTxC if gnmt and looked else None)
        query_BxH, looks, attention_state = looked or look(h_BxH)
        if config.feeding:
            fed = out.apply(params["readout"], h_BxH, looks.context_BxTxC, embedded_BxE)
        return (carries, attention_state, fed), Steps(h_BxH, query_BxH, looks, fed if config.feeding else None)

    def step(params, prepared, state, embedded_BxE, keys_B=None):
        return advance(params, prepared, state, embedded_BxE, bottom.project(params["cell"]["input"], embedded_BxE), keys_B)

    def unroll(params, prepared, state, embedded_BxTxE, keys_BxT=None):
        projected_TxBxP = bottom.project(params["cell"]["input"], embedded_BxTxE).swapaxes(0, 1)
        if config.timing == "after" and not config.feeding and not gnmt:  # states do not depend on contexts: move first, look then
            return apart(params, prepared, state, projected_TxBxP, keys_BxT)
        keys_TxB = None if keys_BxT is None else keys_BxT.T
        inputs = embedded_BxTxE.swapaxes(0, 1), projected_TxBxP, keys_TxB
        _, outputs = deferred.scan(lambda state, x: advance(params, prepared, state, *x), state, inputs)
        return jax.tree.map(lambda x: x.swapaxes(0, 1), outputs)

    def apart(params, prepared, state, projected_TxBxP, keys_BxT):
        def body(carries, projected_BxP):
            bottom_BxF = move(bottom, params["cell"], carries[0], projected_BxP)
            return ascend(params, carries, bottom_BxF, None)

        carries, attention_state, _ = state
        _, h_TxBxH = deferred.scan(body, carries, projected_TxBxP)
        h_BxTxH = h_TxBxH.swapaxes(0, 1)
        looks = look_at_all(attention, params["attention"], prepared, attention_state, h_BxTxH, keys_BxT)
        return Steps(h_BxTxH, h_BxTxH, looks, None)

    def read(params, h_xH, context_xC, embedded_xE):
        return out.apply(params["readout"], h_xH, context_xC, embedded_xE)

    return Decoder(init, start, step, unroll, read)
