"""Attention as a Flax Linen module: queries and memory → contexts and weights, every score, normaliser, window and estimator.

    attend = Attention(attention="additive", normaliser="sparsemax", attention_size=64)
    context_BxTxC, weights_BxTxS = attend(query_BxTxH, memory_BxSxM, mask_BxS)

A query of shape BxH is one query per example. Queries that are not known beforehand (a decoder's) attend step by step:

    prepared = attend.prepare(memory_BxSxM, mask_BxS, query_size=H)       once per source
    state = attend.initial(prepared)                                      carried from query to query, without an array for most rows
    context_BxC, weights_BxS, state, terms = attend.attend(prepared, state, query_BxH)

With `deterministic=False` estimators draw from the stream "attention"; else hard rows take their arg max.
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
from attention_jax.types import Attended, Emit, Targets
from attention_jax.types.signatures import Array, Tree


@struct.dataclass
class Prepared:
    """A prepared memory, as `Attention.prepare` returns it."""

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
        """The settings as the functions take them, with timing = after and start = zero, which are the caller's own matter."""
        return settings.config_of(self, settings.ATTENTION, timing="after", start="zero")

    def __call__(self, query: Array, memory_BxSxM: Array, mask_BxS: Array | None = None, deterministic: bool = True):
        """Returns (context, weights) of queries that are known beforehand: BxTxC and BxTxS of a query BxTxH, BxC and BxS of a query BxH.

        `mask_BxS` = None: every position is real. Weights are exactly 0 where it is False, and a row without a real position gets zeros.
        Raises `ConfigError` for settings and shapes that do not fit.
        """
        if memory_BxSxM.ndim != 3:
            raise ConfigError(f"Attention needs a memory of shape BxSxM, not {memory_BxSxM.shape}")
        if query.ndim not in (2, 3) or query.shape[0] != memory_BxSxM.shape[0]:
            raise ConfigError(f"Attention needs a query of shape BxTxH or BxH with B={memory_BxSxM.shape[0]}, not {query.shape}")
        prepared = self.prepare(memory_BxSxM, mask_BxS, query.shape[-1])
        state = self.initial(prepared, deterministic)
        attended = self.look(prepared, state, query if query.ndim == 3 else query[:, None], deterministic)
        if query.ndim == 3:
            return attended.context_BxTxC, attended.weights_BxTxS
        return attended.context_BxTxC[:, 0], attended.weights_BxTxS[:, 0]

    def prepare(self, memory_BxSxM: Array, mask_BxS: Array | None, query_size: int) -> Prepared:
        """Computes what depends on the memory alone, once per source."""
        B, S, M = memory_BxSxM.shape
        mask_BxS = jnp.ones((B, S), bool) if mask_BxS is None else mask_BxS
        if mask_BxS.shape != (B, S):
            raise ConfigError(f"Attention needs a mask of shape {(B, S)}, as its memory, not {mask_BxS.shape}")
        functions, params = self._bound(M, query_size)
        memory_BxSxM, params = cast(self.dtype, memory_BxSxM, params)
        return Prepared(functions.prepare(params, memory_BxSxM, mask_BxS), B, M, query_size, memory_BxSxM.dtype)

    def initial(self, prepared: Prepared, deterministic: bool = True):
        """Returns the state before the first query."""
        functions, _ = self._bound(prepared.memory_size, prepared.query_size)
        return functions.initial(prepared.arrays, self._keys(prepared, deterministic))

    def attend(self, prepared: Prepared, state: Tree, query_BxH: Array, deterministic: bool = True):
        """Attends with one query: (context_BxC, weights_BxS, state, `types.DrawTerms`)."""
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxH, params = cast(prepared.dtype, query_BxH, params)
        return functions.attend(params, prepared.arrays, state, query_BxH, self._keys(prepared, deterministic))

    def look(self, prepared: Prepared, state: Tree, query_BxTxH: Array, deterministic: bool = True) -> Attended:
        """Attends with T queries: as a block, or one after the other where each depends on those before it."""
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxTxH, params = cast(prepared.dtype, query_BxTxH, params)
        keys_B = self._keys(prepared, deterministic)
        keys_BxT = None if keys_B is None else each(keys_B, jnp.arange(query_BxTxH.shape[1], dtype=jnp.int32))
        return mechanism.look_at_all(functions, params, prepared.arrays, state, query_BxTxH, keys_BxT)

    def predict(self, prepared: Prepared, emit: Emit, attended: Attended, query_BxTxH: Array, goal: Targets | None = None):
        """Returns (logits_BxTxV, extra_BxT), where emit(context_BxTxC) → logits_BxTxV is the caller's readout.

        Estimators that train on an objective of their own (reinforce, marginal, variational) need it: minimise Σ nll + Σ extra.
        """
        functions, params = self._bound(prepared.memory_size, prepared.query_size)
        query_BxTxH, params = cast(prepared.dtype, query_BxTxH, params)
        return functions.predict(params, prepared.arrays, emit, attended, query_BxTxH, goal)

    @nn.compact
    def _bound(self, M: int, H: int):
        """Returns the functions for these sizes, and their parameters."""
        sizes = Sizes(M, H, self.attention_size or H, self.directions, self.embedding_size)
        functions = attention.build(self.config, sizes)
        return functions, declared(self, functions.init, self.param_dtype)

    def _keys(self, prepared: Prepared, deterministic: bool):
        return None if deterministic else per_example(self.make_rng("attention"), prepared.B)
