"""The encoder of GNMT: both directions at the bottom, where they cost least, forward layers above.

    layer 0     [h→_s; h←_s]
    layer 1     forward, over layer 0
    layer l ≥ 2 forward, over x^l = x^{l-1} + h^{l-1}, the input of layer l being the output of layer l-1 plus its input

Memory is the output of the top layer, its residual connection included. Residual connections start at the third layer from
the bottom, the first whose input and output agree in size. Wu 2016, "Google's Neural Machine Translation System", §3.1-3.2, fig. 1.
"""

import jax.numpy as jnp

from attention_jax.config import ModelConfig
from attention_jax.encoders import loops
from attention_jax.encoders.recurrent import DIRECTIONS, init_layers, run_layer
from attention_jax.layers import transition
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.system.errors import ConfigError
from attention_jax.types import Encoder, Memory
from attention_jax.types.citations import cites


@cites("wu2016")
def gnmt(config: ModelConfig, input_size: int) -> Encoder:
    """Makes the encoder of `config.cell`, `transition`, `hidden_size`, `layers`; final_BxD = every layer's and direction's last carry.

    Raises `ConfigError` for fewer than two layers, or a `direction` other than both, which is the bottom layer's.
    """
    if config.layers < 2:
        raise ConfigError(f"model.layers={config.layers} is impossible with model.encoder=gnmt: it needs at least 2")
    if config.direction != "both":
        raise ConfigError(f"model.direction={config.direction!r} is impossible with model.encoder=gnmt: its bottom layer reads both ways")
    H = config.hidden_size
    sizes = [input_size, 2 * H, *[H] * (config.layers - 2)]
    stack = [transition.build(config, size, H) for size in sizes]
    directions = [DIRECTIONS["both"], *[DIRECTIONS["forward"]] * (config.layers - 1)]
    loops.check(config)

    def init(key):
        return init_layers(key, stack, directions)

    def apply(params, inputs_BxSxE, mask_BxS, keys_B=None):
        states_BxSxM, finals = inputs_BxSxE, []
        for layer, cell in enumerate(stack):
            if layer > 0:
                states_BxSxM = dropout(states_BxSxM, config.dropout, keys_B, OfExample.LAYERS, layer)
            outputs_BxSxM, lasts = run_layer(config, cell, params[f"layer{layer}"], states_BxSxM, mask_BxS)
            states_BxSxM = states_BxSxM + outputs_BxSxM if layer > 1 else outputs_BxSxM
            finals += lasts
        return Memory(states_BxSxM, mask_BxS, jnp.concatenate(finals, axis=1))

    final_size = sum(cell.carry_size * len(names) for cell, names in zip(stack, directions, strict=True))
    return Encoder(init, apply, H, final_size, DIRECTIONS["forward"])
