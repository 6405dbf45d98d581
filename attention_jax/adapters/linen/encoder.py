"""Encoders as a Flax Linen module: data → memory, every row of `encoders.TABLE`.

memory = Encoder(encoder="recurrent", cell="lstm", hidden_size=64, layers=2)(inputs_BxSxE, mask_BxS)
memory.states_BxSxM, memory.mask_BxS, memory.final_BxD
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from attention_jax import encoders
from attention_jax.adapters.linen import settings
from attention_jax.adapters.linen.parameters import declared
from attention_jax.config import ModelConfig
from attention_jax.layers import keys
from attention_jax.system.errors import ConfigError
from attention_jax.types import Memory
from attention_jax.types.signatures import Array, Key, Tree


class Encoder(settings.EncoderSettings):
    """The encoder of these settings; see `config.ModelConfig` for what each is, `attention_jax.encoders` for the rows."""

    dtype: jax.typing.DTypeLike | None = None
    param_dtype: jax.typing.DTypeLike = jnp.float32

    @property
    def config(self) -> ModelConfig:
        """The settings as the functions take them."""
        return settings.config_of(self, settings.ENCODER)

    @nn.compact
    def __call__(
        self, inputs_BxSxE: Array, mask_BxS: Array | None = None, seq_lengths: Array | None = None, deterministic: bool = True
    ) -> Memory:
        """Returns the memory: states (zero where its mask is False), that mask, and the final state (all layers and directions).

        Real positions are given by `mask_BxS`, or by `seq_lengths` (of B, as `flax.linen.RNN` takes them); by default all are real.
        A mask of a shorter memory (pyramidal, convolutional with stride) comes with it. Dropout, where `deterministic` is False,
        draws from the stream "dropout". Raises `ConfigError` for settings and shapes that do not fit.
        """
        if inputs_BxSxE.ndim != 3:
            raise ConfigError(f"Encoder needs inputs of shape BxSxE, not {inputs_BxSxE.shape}")
        if mask_BxS is not None and seq_lengths is not None:
            raise ConfigError("Encoder needs a mask or seq_lengths, not both")
        B, S, E = inputs_BxSxE.shape
        if seq_lengths is not None:
            mask_BxS = jnp.arange(S, dtype=jnp.int32)[None, :] < jnp.asarray(seq_lengths)[:, None]
        elif mask_BxS is None:
            mask_BxS = jnp.ones((B, S), bool)
        if mask_BxS.shape != (B, S):
            raise ConfigError(f"Encoder needs a mask of shape {(B, S)}, as its inputs, not {mask_BxS.shape}")
        encoder = encoders.build(self.config, E)
        params = declared(self, encoder.init, self.param_dtype)
        inputs_BxSxE, params = cast(self.dtype, inputs_BxSxE, params)
        keys_B = None if deterministic or self.dropout == 0 else per_example(self.make_rng("dropout"), B)
        return encoder.apply(params, inputs_BxSxE, mask_BxS, keys_B)


def cast(dtype: jax.typing.DTypeLike | None, *trees: Tree):
    """Casts every array of the trees to `dtype`; None: to the one they all promote to."""
    leaves, structure = jax.tree.flatten(trees)
    return jax.tree.unflatten(structure, promote_dtype(*leaves, dtype=dtype))


def per_example(key: Key, B: int):
    """Splits a key into one per example of a batch."""
    return keys.each(key, jnp.arange(B, dtype=jnp.int32))
