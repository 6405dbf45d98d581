"""A pyramid of recurrent layers: each layer after the first reads pairs of positions, so that the memory is short.

    h^l_j = recurrence(h^l_{j-1}, [h^{l-1}_{2j}; h^{l-1}_{2j+1}])      Chan 2016, "Listen, Attend and Spell", §3.1, eq. 5

With L layers a memory position stands for 2^(L-1) source positions. It is real where any of them is; where the second of a pair is missing
it reads as zero. L = 1 is the recurrent encoder.
"""

from functools import partial

import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.encoders import loops, places
from attention_jax.encoders.recurrent import DIRECTIONS, init_layers, run_layer
from attention_jax.layers import transition
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.system.errors import ConfigError
from attention_jax.types import Encoder, Memory
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


@cites("chan2016")
def pyramidal(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder of `config.cell`, `transition`, `hidden_size`, `direction`, `layers`.

    final_BxD = every layer's and direction's last carry. Raises `ConfigError` for `residual`: a layer's output is shorter than its input.
    """
    if config.residual:
        raise ConfigError("model.residual=True is impossible with model.encoder=pyramidal: a layer's output is shorter than its input")
    directions = DIRECTIONS[config.direction]
    memory_size = config.hidden_size * len(directions)
    stack = [transition.build(config, 2 * memory_size if layer else input_size, config.hidden_size) for layer in range(config.layers)]
    reduction = 2 ** (config.layers - 1)
    loops.check(config)

    def init(key):
        return init_layers(key, stack, [directions] * config.layers)

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        states_BxPxM, mask_BxP, finals = inputs_BxSxE, mask_BxS, []
        for layer, cell in enumerate(stack):
            if layer > 0:
                states_BxPxM = pairs(dropout(states_BxPxM, config.dropout, keys_B, OfExample.LAYERS, layer))
                mask_BxP = places.reduced(mask_BxP, 2)
            states_BxPxM, lasts = run_layer(config, cell, params[f"layer{layer}"], states_BxPxM, mask_BxP)
            finals += lasts
        return Memory(states_BxPxM, mask_BxP, jnp.concatenate(finals, axis=1))

    final_size = sum(cell.carry_size for cell in stack) * len(directions)
    spread = partial(places.spread, reduction=reduction)
    return places.real_first(Encoder(init, apply, memory_size, final_size, directions, reduction, spread))


def pairs(states_BxSxM: Array):
    """Puts positions 2j and 2j+1 side by side: half as many vectors of 2 M; an odd S is padded with a zero vector."""
    B, S, M = states_BxSxM.shape
    return jnp.pad(states_BxSxM, ((0, 0), (0, S % 2), (0, 0))).reshape(B, (S + 1) // 2, 2 * M)
