"""Attention as a Flax module: memory → context, every score, normaliser, window and estimator.

    attend = Attention(attention="additive", normaliser="sparsemax", attention_size=64)
    context_BxTxC, weights_BxTxS = attend(query_BxTxH, memory_BxSxM, mask_BxS)

A query of shape BxH is one look. Looks that are not known beforehand (a decoder's) take the steps of the functions, as they do:

    prepared = attend.prepare(memory_BxSxM, mask_BxS, query_size=H)       once per source
    state = attend.initial(prepared)                                      what is carried from look to look, without an array for most rows
    context_BxC, weights_BxS, state, terms = attend.attend(prepared, state, query_BxH)

With `deterministic=False` what is drawn in training is drawn, from the stream "attention"; else hard rows take their arg max.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from attention_jax import attention
from attention_jax.adapters.linen import settings
from attention_jax.adapters.linen.encoder import cast, per_example
from attention_jax.adapters.linen.parameters import declared
from attention_jax.attention import mechanism
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers.keys import each
from attention_jax.system.errors import ConfigError
from attention_jax.types import Emit, Goal, Looks
from attention_jax.types.signatures import Array, Tree


@struct.dataclass
class Prepared:
    """A source that is ready to be looked at, with what the looks need to know of it."""

    arrays: Any
    B: int = struct.field(pytree_node=False)
    memory_size: int = struct.field(pytree_node=False)  # M
    query_size: int = struct.field(pytree_node=False)  # H
    dtype: Any = struct.field(pytree_node=False)  # what is computed in


class Attention(settings.AttentionSettings):
    """The mechanism of these settings; see `config.ModelConfig` for what each is, `attention_jax.attention` for the rows.

    `attention_size` = 0 is the width of the query. `dtype` = None is what memory and parameters promote to; queries follow.
    """

    directions: tuple[str, ...] = ("forward",)  # summary, slots: whose states make up a memory vector, as in `types.Encoder`
    embedding_size: int = 0  # variational: E of the target tokens
    dtype: jax.typing.DTypeLike | None = None
    param_dtype: jax.typing.DTypeLike = jnp.float32

    @property
    def config(self) -> ModelConfig:
        """The settings as the functions take them; timing = after, start = zero: both are for the caller's model to say."""
        return settings.config_of(self, settings.ATTENTION, timing="after", start="zero")

    def __call__(self, query: Array, memory_BxSxM: Array, mask_BxS: Array | None = None, deterministic: bool = True):
        """(context, weights) of looks that are known beforehand: BxTxC and BxTxS of a query BxTxH, BxC and BxS of a query BxH.

        `mask_BxS` = None: every place is real. Weights are exactly 0 where it is False, and a row without a real place gets zeros.
        Raises `ConfigError` for settings and shapes that do not fit.
        """
        if memory_BxSxM.ndim != 3:
            raise ConfigError(f"Attention needs a memory of shape BxSxM, not {memory_BxSxM.shape}")
        if query.ndim not in (2, 3) or query.shape[0] != memory_BxSxM.shape[0]:
            raise ConfigError(f"Attention needs a query of shape BxTxH or BxH with B={memory_BxSxM.shape[0]}, not {query.shape}")
        prepared = self.prepare(memory_BxSxM, mask_BxS, query.shape[-1])
        state = self.initial(prepared, deterministic)
        looks = self.look(prepared, state, query if query.ndim == 3 else query[:, None], deterministic)
        if query.ndim == 3:
            return looks.context_BxTxC, looks.weights_BxTxS
        return looks.context_BxTxC[:, 0], looks.weights_BxTxS[:, 0]

    def prepare(self, memory_BxSxM: Array, mask_BxS: Array | None, query_size: int) -> Prepared:
        """What is computed once per source."""
        B, S, M = memory_BxSxM.shape
        mask_BxS = jnp.ones((B, S), bool) if mask_BxS is None else mask_BxS
        if mask_BxS.shape != (B, S):
            raise ConfigError(f"Attention needs a mask of shape {(B, S)}, as its memory, not {mask_BxS.shape}")
        functions, params = self._bound(M, query_size)
        memory_BxSxM, params = cast(self.dtype, memory_BxSxM, params)
        return Prepared(functions.prepare(params, memory_BxSxM, mask_BxS), B, M, query_size, memory_BxSxM.dtype)

    def initial(self, prepared: Prepared, deterministic: bool = True):
        """The state before the first look."""
        functions, _ = self._bound(prepared.memory_size, prepared.query_size)
        return functions.initial(prepared.arrays, self._keys(prepared, deterministic))

    def attend(self, prepared: Prepared, state: Tree, query_BxH: Array, deterministic: bool = True):
        """One look: (context_BxC, weights_BxS, state, `types.Terms`)."""
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxH, params = cast(prepared.dtype, query_BxH, params)
        return functions.attend(params, prepared.arrays, state, query_BxH, self._keys(prepared, deterministic))

    def look(self, prepared: Prepared, state: Tree, query_BxTxH: Array, deterministic: bool = True) -> Looks:
        """T looks: as a block, or one after the other where each depends on those before it."""
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxTxH, params = cast(prepared.dtype, query_BxTxH, params)
        keys_B = self._keys(prepared, deterministic)
        keys_BxT = None if keys_B is None else each(keys_B, jnp.arange(query_BxTxH.shape[1], dtype=jnp.int32))
        return mechanism.look_at_all(functions, params, prepared.arrays, state, query_BxTxH, keys_BxT)

    def predict(self, prepared: Prepared, emit: Emit, looks: Looks, query_BxTxH: Array, goal: Goal | None = None):
        """(logits_BxTxV, extra_BxT) of looks, where emit(context_BxTxC) → logits_BxTxV is the caller's readout.

        Estimators that train on an objective of their own (reinforce, marginal, variational) need it: minimise Σ nll + Σ extra.
        """
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxTxH, params = cast(prepared.dtype, query_BxTxH, params)
        return functions.predict(params, prepared.arrays, emit, looks, query_BxTxH, goal)

    @nn.compact
    def _bound(self, M: int, H: int):
        """The functions for these sizes, and their parameters."""
        sizes = Sizes(M, H, self.attention_size or H, self.directions, self.embedding_size)
        functions = attention.build(self.config, sizes)
        return functions, declared(self, functions.init, self.param_dtype)

    def _keys(self, prepared: Prepared, deterministic: bool):
        return None if deterministic else per_example(self.make_rng("attention"), prepared.B)
