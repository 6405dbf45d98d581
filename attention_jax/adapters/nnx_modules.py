"""Attention and encoders as Flax NNX modules: the same mechanisms, settings and parameters as `linen`, with sizes given at the start.

    attend = Attention(memory_size=64, query_size=32, rngs=rngs, attention="location_aware")
    context_BxTxC, weights_BxTxS = attend(query_BxTxH, memory_BxSxM, mask_BxS)
    memory = Encoder(16, rngs=rngs, cell="lstm", hidden_size=32)(inputs_BxSxE, mask_BxS)

Queries that are not known beforehand (a decoder's) attend step by step:

    prepared = attend.prepare(memory_BxSxM, mask_BxS)                      once per source
    state = attend.initial(prepared)                                       carried from query to query
    context_BxC, weights_BxS, state, terms = attend.attend(prepared, state, query_BxH)

Settings are keywords, with the names and defaults of `config.ModelConfig`. Parameters are `nnx.Param`s named kernel and bias, kept in
`param_dtype`, started from the stream "params"; `dtype` is what is computed in (None: what inputs and parameters promote to). Masks are
True where real. With a `key` a call is of training: estimators and dropout draw from it; without, hard rows take their arg max.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax import attention, encoders
from attention_jax.adapters.linen import settings as linen
from attention_jax.adapters.linen.encoder import cast, per_example
from attention_jax.adapters.linen.parameters import from_flax, to_flax
from attention_jax.attention import mechanism
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig, check, choose
from attention_jax.layers.keys import each
from attention_jax.system.errors import ConfigError
from attention_jax.types import Attended, Memory
from attention_jax.types import Attention as Mechanism
from attention_jax.types.signatures import Array, Init, Key, Tree


class Attention(nnx.Module):
    """The mechanism of these settings, for memory vectors of M = `memory_size` numbers and queries of H = `query_size`.

    `attention_size` = 0 is the width of the query. Raises `ConfigError` for settings and sizes that do not fit.
    """

    def __init__(
        self,
        memory_size: int,
        query_size: int,
        *,
        rngs: nnx.Rngs,
        directions: tuple[str, ...] = ("forward",),
        embedding_size: int = 0,
        dtype: jax.typing.DTypeLike | None = None,
        param_dtype: jax.typing.DTypeLike = jnp.float32,
        **settings: Any,
    ):
        self.config = _config(settings, linen.ATTENTION, timing="after", start="zero")
        self.sizes = nnx.static(Sizes(memory_size, query_size, self.config.attention_size or query_size, directions, embedding_size))
        self.dtype = dtype
        self.params = _started(self.functions.init, rngs, param_dtype)

    @property
    def functions(self) -> Mechanism:
        """The pure functions of the mechanism, which take these parameters."""
        return attention.build(self.config, self.sizes)

    def __call__(self, query: Array, memory_BxSxM: Array, mask_BxS: Array | None = None, key: Key | None = None) -> tuple[Array, Array]:
        """Returns (context, weights) of queries that are known beforehand: BxTxC and BxTxS of a query BxTxH, BxC and BxS of a query BxH.

        `mask_BxS` = None: every position is real. Raises `ConfigError` for shapes that do not fit.
        """
        if query.ndim not in (2, 3) or query.shape[0] != memory_BxSxM.shape[0] or query.shape[-1] != self.sizes.query:
            raise ConfigError(
                f"Attention needs a query of shape BxTxH or BxH with B={memory_BxSxM.shape[0]} and H={self.sizes.query}, not {query.shape}"
            )
        prepared = self.prepare(memory_BxSxM, mask_BxS)
        query_BxTxH = query if query.ndim == 3 else query[:, None]
        attended = self.look(prepared, self.initial(prepared, key), query_BxTxH, key)
        if query.ndim == 3:
            return attended.context_BxTxC, attended.weights_BxTxS
        return attended.context_BxTxC[:, 0], attended.weights_BxTxS[:, 0]

    def prepare(self, memory_BxSxM: Array, mask_BxS: Array | None = None) -> Tree:
        """Computes what depends on the memory alone, once per source. Raises `ConfigError` for shapes that do not fit."""
        if memory_BxSxM.ndim != 3 or memory_BxSxM.shape[2] != self.sizes.memory:
            raise ConfigError(f"Attention needs a memory of shape BxSxM with M={self.sizes.memory}, not {memory_BxSxM.shape}")
        mask_BxS = jnp.ones(memory_BxSxM.shape[:2], bool) if mask_BxS is None else mask_BxS
        if mask_BxS.shape != memory_BxSxM.shape[:2]:
            raise ConfigError(f"Attention needs a mask of shape {memory_BxSxM.shape[:2]}, as its memory, not {mask_BxS.shape}")
        memory_BxSxM, params = cast(self.dtype, memory_BxSxM, self._arrays())
        return self.functions.prepare(params, memory_BxSxM, mask_BxS)

    def initial(self, prepared: Tree, key: Key | None = None) -> Tree:
        """Returns the state before the first query; every array leads with B."""
        return self.functions.initial(prepared, _keys(prepared, key))

    def attend(self, prepared: Tree, state: Tree, query_BxH: Array, key: Key | None = None):
        """Attends with one query: (context_BxC, weights_BxS, state, `types.DrawTerms`)."""
        query_BxH, params = cast(self.dtype, query_BxH, self._arrays())
        return self.functions.attend(params, prepared, state, query_BxH, _keys(prepared, key))

    def look(self, prepared: Tree, state: Tree, query_BxTxH: Array, key: Key | None = None) -> Attended:
        """Attends with T queries: as a block, or one after the other where each depends on those before it."""
        query_BxTxH, params = cast(self.dtype, query_BxTxH, self._arrays())
        keys_B = _keys(prepared, key)
        keys_BxT = None if keys_B is None else each(keys_B, jnp.arange(query_BxTxH.shape[1], dtype=jnp.int32))
        return mechanism.look_at_all(self.functions, params, prepared, state, query_BxTxH, keys_BxT)

    def _arrays(self) -> dict:
        return _as_ours(self.params, self.functions.init)


class Encoder(nnx.Module):
    """The encoder of these settings, for inputs of E = `input_size` numbers; every row of `encoders.TABLE`.

    Raises `ConfigError` for settings and sizes that do not fit.
    """

    def __init__(
        self,
        input_size: int,
        *,
        rngs: nnx.Rngs,
        dtype: jax.typing.DTypeLike | None = None,
        param_dtype: jax.typing.DTypeLike = jnp.float32,
        **settings: Any,
    ):
        self.config = _config(settings, linen.ENCODER)
        self.input_size, self.dtype = input_size, dtype
        functions = encoders.build(self.config, input_size)
        self.memory_size, self.final_size = functions.memory_size, functions.final_size
        self.params = _started(functions.init, rngs, param_dtype)

    def __call__(self, inputs_BxSxE: Array, mask_BxS: Array | None = None, key: Key | None = None) -> Memory:
        """Returns the memory: states (zero where its mask is False), that mask, and the final state. Dropout draws where there is a key.

        `mask_BxS` = None: every position is real. Raises `ConfigError` for shapes that do not fit.
        """
        if inputs_BxSxE.ndim != 3 or inputs_BxSxE.shape[2] != self.input_size:
            raise ConfigError(f"Encoder needs inputs of shape BxSxE with E={self.input_size}, not {inputs_BxSxE.shape}")
        mask_BxS = jnp.ones(inputs_BxSxE.shape[:2], bool) if mask_BxS is None else mask_BxS
        if mask_BxS.shape != inputs_BxSxE.shape[:2]:
            raise ConfigError(f"Encoder needs a mask of shape {inputs_BxSxE.shape[:2]}, as its inputs, not {mask_BxS.shape}")
        functions = encoders.build(self.config, self.input_size)
        inputs_BxSxE, params = cast(self.dtype, inputs_BxSxE, _as_ours(self.params, functions.init))
        return functions.apply(params, inputs_BxSxE, mask_BxS, None if key is None else per_example(key, inputs_BxSxE.shape[0]))


def _config(given: dict[str, Any], names: tuple[str, ...], **fixed: Any) -> ModelConfig:
    """Returns the config of a module's keywords. Raises `ConfigError` for one that is no setting of it."""
    for name in given:
        choose("setting", name, names)
    return check(ModelConfig(**given, **fixed))


def _started(init: Init, rngs: nnx.Rngs, param_dtype: jax.typing.DTypeLike) -> Any:
    """Draws parameters, each an `nnx.Param` under Flax's names."""
    return nnx.data(jax.tree.map(lambda x: nnx.Param(x.astype(param_dtype)), to_flax(init(rngs.params()))))


def _as_ours(params: Any, init: Init) -> dict:
    """Returns the arrays of a module's parameters under our names."""
    arrays = jax.tree.map(lambda x: x[...], params, is_leaf=lambda x: isinstance(x, nnx.Variable))
    return from_flax(arrays, jax.eval_shape(init, jax.random.key(0)))


def _keys(prepared: Tree, key: Key | None) -> Key | None:
    """Splits a key into one per example."""
    return None if key is None else per_example(key, jax.tree.leaves(prepared)[0].shape[0])
