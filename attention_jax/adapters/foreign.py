"""Other people's attention as a row of the table of mechanisms: a function of query and memory, or a Flax module.

    attention.MECHANISMS["mine"] = foreign.row(mine)                  --set model.attention=mine, --arms=summary,mine

What `row` takes, with B examples, S source positions, a query of H numbers and a memory of M:

    mine(query_BxH, memory_BxSxM, mask_BxS) → (context_BxC, weights_BxS)                  a function without parameters
    mine(params, query_BxH, memory_BxSxM, mask_BxS), init(key, sizes) → params            one with parameters; sizes.query = H, …
    a `flax.linen.Module` with such a `__call__` (of one look), whose only variables are its parameters

What must hold: it can be differentiated, under `jit` and `vmap`; weights are over the S places, none of them where the mask is False, and
the context is made of real places alone. The memory is zero at padding, and padding may stand anywhere. Nothing is drawn: there are no
keys. What the suite needs besides is done here: a source without a real position leaves zeros, with zero gradients, and results have
the dtype of the memory.

It is asked once a step. What can be computed once per source (projected keys) or carried from step to step makes a `types.Score`, or an
`types.Attention` of its own: `attention.SCORES`, `attention.MECHANISMS`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.attention import estimators
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError
from attention_jax.types import Attended, Attention

B, S = 2, 3  # of the example that shapes are read off


def row(mechanism: Any, init: Callable | None = None, knows_places: bool = False) -> Callable:
    """Returns the row of a mechanism, for `attention.MECHANISMS`: row(config, sizes) → `types.Attention`.

    `knows_places`: True for a mechanism that depends on positions and not on content alone; it then finds real positions at the
    front. The row raises `ConfigError` where the mechanism does not take such arrays, or returns others than the above.
    """
    if hasattr(mechanism, "init") and hasattr(mechanism, "apply"):
        start, one = _of_module(mechanism)
    elif init is None:
        start, one = lambda key, sizes: {}, lambda params, *arrays: mechanism(*arrays)
    else:
        start, one = init, mechanism

    def new(config: ModelConfig, sizes: Sizes) -> Attention:
        C = _context_size(config.attention, start, one, sizes)
        return _attention(lambda key: start(key, sizes), one, C, knows_places)

    return new


def _of_module(module) -> tuple[Callable, Callable]:
    """Returns (init, mechanism) of a Flax module."""

    def init(key, sizes: Sizes):
        variables = module.init(key, *(jnp.zeros(x.shape, x.dtype) for x in _example(sizes)))
        if other := sorted(set(variables) - {"params"}):
            raise ConfigError(
                f"{type(module).__name__} has variables besides its parameters: {', '.join(other)}; they would not be trained"
            )
        return variables.get("params", {})

    return init, lambda params, *arrays: module.apply({"params": params}, *arrays)


def _example(sizes: Sizes) -> tuple:
    """Returns the shapes of a query, a memory and a mask."""
    shapes = (B, sizes.query), (B, S, sizes.memory)
    return *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes), jax.ShapeDtypeStruct((B, S), bool)


def _context_size(name: str, start: Callable, one: Callable, sizes: Sizes) -> int:
    """Returns C. Raises `ConfigError` where the mechanism fails on arrays of these sizes, or returns others than a context and weights."""
    params = jax.eval_shape(lambda key: start(key, sizes), jax.random.key(0))
    try:
        context_BxC, weights_BxS = jax.eval_shape(one, params, *_example(sizes))
        shapes = context_BxC.shape, weights_BxS.shape
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"attention={name} cannot be asked with a query of {sizes.query} and a memory of {sizes.memory}: {error}"
        ) from error
    if len(shapes[0]) != 2 or shapes[0][0] != B or shapes[1] != (B, S):
        raise ConfigError(f"attention={name} must return a context BxC and weights BxS; with B={B} and S={S} it returns {shapes}")
    return shapes[0][1]


def _attention(init: Callable, one: Callable, context_size: int, knows_places: bool) -> Attention:
    """Returns the mechanism of `one`, a function of parameters and one query."""

    def look(params, prepared, query_BxH):
        memory_BxSxM, mask_BxS = prepared
        some_Bx1 = mask_BxS.any(1)[:, None]
        context_BxC, weights_BxS = one(params, query_BxH, memory_BxSxM, mask_BxS | ~some_Bx1)  # never a mask of nothing: 0 / 0
        context_BxC, weights_BxS = jnp.where(some_Bx1, context_BxC, 0), jnp.where(mask_BxS, weights_BxS, 0)
        return context_BxC.astype(memory_BxSxM.dtype), weights_BxS.astype(memory_BxSxM.dtype)

    def prepare(params, memory_BxSxM, mask_BxS):
        return memory_BxSxM, mask_BxS

    def attend(params, prepared, state, query_BxH, keys_B=None):
        context_BxC, weights_BxS = look(jax.tree.map(jnp.asarray, params), prepared, jnp.asarray(query_BxH))
        return context_BxC, weights_BxS, state, estimators.nothing_drawn(weights_BxS)

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        params = jax.tree.map(jnp.asarray, params)
        attended = jax.vmap(lambda query_BxH: look(params, prepared, query_BxH), 1, 1)(jnp.asarray(query_BxTxH))
        return Attended(*attended, estimators.nothing_drawn(attended[1]))

    def predict(params, prepared, emit, attended, query_BxTxH, goal=None):
        return estimators.from_context(params, emit, prepared, attended, query_BxTxH, goal)

    return Attention(init, prepare, lambda prepared, keys_B=None: (), attend, context_size, predict, block, knows_places)
