"""Recurrent encoders: one direction or both, any number of layers, with or without residual connections.

Layer l reads the outputs of layer l-1. With both directions each layer runs a forward and a reversed recurrence and
concatenates them, so that the memory at position s is [h→_s; h←_s] (Schuster & Paliwal 1997; Bahdanau 2015, §3.2).
`reversed` alone is Sutskever's trick of reversing the source (2014, §3.3): the network reads right to left, and the
memory stays in the order of the source. `run_layer` and `init_layers` serve every encoder that has a recurrence.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.encoders import loops
from attention_jax.layers import masks, transition
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.system import machine
from attention_jax.types import Cell, Encoder, Memory
from attention_jax.types.signatures import Array, Key

DIRECTIONS = {"forward": ("forward",), "reversed": ("reversed",), "both": ("forward", "reversed")}


def recurrent(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder of `config.cell`, `transition`, `hidden_size`, `direction`, `layers`, `residual`.

    final_BxD = every layer's and direction's last carry (LSTM: h and c). A residual connection needs a layer's input and output of equal
    size, so it starts at the second layer.
    """
    directions = DIRECTIONS[config.direction]
    memory_size = config.hidden_size * len(directions)
    loops.check(config)
    stack = [transition.build(config, memory_size if layer else input_size, config.hidden_size) for layer in range(config.layers)]

    def init(key):
        return init_layers(key, stack, [directions] * config.layers)

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        states_BxSxM, finals = inputs_BxSxE, []
        for layer, cell in enumerate(stack):
            if layer > 0:
                states_BxSxM = dropout(states_BxSxM, config.dropout, keys_B, OfExample.LAYERS, layer)
            outputs_BxSxM, lasts = run_layer(config, cell, params[f"layer{layer}"], states_BxSxM, mask_BxS)
            states_BxSxM = states_BxSxM + outputs_BxSxM if config.residual and layer > 0 else outputs_BxSxM
            finals += lasts
        return Memory(states_BxSxM, mask_BxS, jnp.concatenate(finals, axis=1))

    final_size = sum(cell.carry_size for cell in stack) * len(directions)
    return Encoder(init, apply, memory_size, final_size, directions)


def init_layers(key: Key, stack: Sequence[Cell], directions: Sequence[tuple[str, ...]]) -> dict:
    """Draws {"layer0": {direction: the cell's parameters}, …}; each layer has its cell and its directions."""
    keys = jax.random.split(key, (len(stack), max(map(len, directions))))
    return {
        f"layer{layer}": {name: cell.init(keys[layer, d]) for d, name in enumerate(names)}
        for layer, (cell, names) in enumerate(zip(stack, directions, strict=True))
    }


def run_layer(config: ModelConfig, cell: Cell, params: dict, inputs_BxSxI: Array, mask_BxS: Array):
    """Runs the directions in `params`: (outputs_BxSxM side by side in the order of `DIRECTIONS`, last carries).

    One loop per direction. Where machine and loop vectorise, one for both: the reversed direction reads from the last position.
    """
    loop = loops.TABLE[loops.chosen(config, inputs_BxSxI.dtype)]
    names = [name for name in ("forward", "reversed") if name in params]
    if len(names) == 2 and loop.vectorises and machine.vectorises():
        both = jax.tree.map(lambda *pair: jnp.stack(pair), *(params[name] for name in names))
        inputs, mask = (jnp.stack([x, x[:, ::-1]]) for x in (inputs_BxSxI, masks.real(mask_BxS)))
        (h_BxSxH, backwards_BxSxH), lasts = jax.vmap(partial(loop.run, cell))(both, inputs, mask)
        return jnp.concatenate([h_BxSxH, backwards_BxSxH[:, ::-1]], axis=2), list(lasts)
    runs = [loop.run(cell, params[name], inputs_BxSxI, mask_BxS, reverse=name == "reversed") for name in names]
    return jnp.concatenate([h_BxSxH for h_BxSxH, _ in runs], axis=2), [last_BxF for _, last_BxF in runs]
