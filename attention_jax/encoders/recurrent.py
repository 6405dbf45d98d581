"""Recurrent encoders: one direction or both, any number of layers, with or without residual connections.

Layer l reads the outputs of layer l-1. With both directions each layer runs a forward and a reversed recurrence and
concatenates them, so that the memory at position s is [h→_s; h←_s] (Schuster & Paliwal 1997; Bahdanau 2015, §3.2).
`reversed` alone is Sutskever's trick of reversing the source (2014, §3.3): the network reads right to left, and the
memory stays in the order of the source.
"""

import jax
import jax.numpy as jnp

from attention_jax import recurrence
from attention_jax.config import ModelConfig, choose
from attention_jax.encoders import cells
from attention_jax.encoders.dropout import dropout
from attention_jax.types import Encoder, Memory

DIRECTIONS = {"forward": ("forward",), "reversed": ("reversed",), "both": ("forward", "reversed")}


def recurrent(config: ModelConfig, input_size: int) -> Encoder:
    """The encoder of `config.cell`, `hidden_size`, `direction`, `layers`, `residual`.

    final_BxD = every layer's and direction's last carry (LSTM: h and c). A residual connection needs a layer's input and output of
    equal size, so it starts at the second layer.
    """
    new_cell = cells.TABLE[choose("model.cell", config.cell, cells.TABLE)]
    directions = DIRECTIONS[choose("model.direction", config.direction, DIRECTIONS)]
    memory_size = config.hidden_size * len(directions)
    stack = [new_cell(input_size if layer == 0 else memory_size, config.hidden_size) for layer in range(config.layers)]

    def init(key):
        keys = jax.random.split(key, (config.layers, len(directions)))
        return {
            f"layer{layer}": {name: stack[layer].init(keys[layer, d]) for d, name in enumerate(directions)}
            for layer in range(config.layers)
        }

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        states_BxSxM, finals = inputs_BxSxE, []
        for layer, cell in enumerate(stack):
            if layer > 0:
                states_BxSxM = dropout(keys_B, 10 + layer, states_BxSxM, config.dropout)
            runs = [
                recurrence.run(cell, params[f"layer{layer}"][name], states_BxSxM, mask_BxS, reverse=name == "reversed")
                for name in directions
            ]
            outputs_BxSxM = jnp.concatenate([h_BxSxH for h_BxSxH, _ in runs], axis=2)
            states_BxSxM = states_BxSxM + outputs_BxSxM if config.residual and layer > 0 else outputs_BxSxM
            finals += [last_BxF for _, last_BxF in runs]
        return Memory(states_BxSxM, mask_BxS, jnp.concatenate(finals, axis=1))

    final_size = sum(cell.carry_size for cell in stack) * len(directions)
    return Encoder(init, apply, memory_size, final_size, directions)
