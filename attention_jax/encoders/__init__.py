"""Data → memory. An encoder is a row of `TABLE`: `row(config, input_size) → Encoder`, two pure functions and their sizes.

    init(key) → params
    apply(params, inputs_BxSxE, mask_BxS, keys_B) → Memory(states_BxSxM, mask_BxS, final_BxD)

`keys_B` (one key per example) drive dropout; None switches it off. States are zero where the mask is False.
"""

from attention_jax.config import ModelConfig, choose
from attention_jax.encoders import recurrent
from attention_jax.types import Encoder

TABLE = {"recurrent": recurrent.recurrent}


def build(config: ModelConfig, input_size: int) -> Encoder:
    """The encoder that `config.encoder` names; raises `ConfigError` for an unknown name, cell or direction."""
    return TABLE[choose("model.encoder", config.encoder, TABLE)](config, input_size)
