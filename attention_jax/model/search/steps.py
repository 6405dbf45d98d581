"""What a search drives: a step from token to token, whoever's it is, and the state that it carries.

    (logits_i, state_i) = step(state_{i-1}, y_{i-1})           i = 1 … T,  y_0 = BOS,  state_0 is given
    p(y_i | y_<i) = softmax(logits_i)

`of` makes the record, and says what is wrong with a step before anything is compiled.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.system.errors import ConfigError
from attention_jax.types.signatures import Array, Tree


class Steps(NamedTuple):
    """Holds a step, what it starts from, and the shapes of what it returns.

    step(state, token_B) → (logits_BxV, weights_BxS, state); every array of `state` leads with B.
    """

    step: Callable
    state: Tree
    mask_BxS: Array
    logits_BxV: Any  # shape and dtype
    weights_BxS: Any


def of(step: Callable, state: Tree, mask_BxS: Array | None = None) -> Steps:
    """Checks a step by its shapes, and returns it with what it starts from.

    Without `mask_BxS` the step is `step(state, token_B) → (logits_BxV, state)`, and S is 0: there are no weights. Raises `ConfigError`
    where the state does not lead with B, and where the step returns anything else, a state of other shapes or types included.
    """
    state = jax.tree.map(jnp.asarray, state)
    B = _batch_size(state) if mask_BxS is None else mask_BxS.shape[0]
    _check_lead(state, B)
    if mask_BxS is None:
        mask_BxS, step = jnp.zeros((B, 0), bool), _without_weights(step, B)
    mask_BxS = masks.real(mask_BxS)
    found = jax.eval_shape(step, state, jax.ShapeDtypeStruct((B,), jnp.int32))
    if not isinstance(found, tuple) or len(found) != 3:
        raise ConfigError(f"with a mask, step must return (logits_BxV, weights_BxS, state); it returns {_spoken(found)}")
    logits, weights, after = found
    if len(getattr(logits, "shape", ())) != 2 or logits.shape[0] != B or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ConfigError(f"step must return floating logits of shape BxV first, with B={B}; it returns {_spoken(logits)}")
    if getattr(weights, "shape", None) != mask_BxS.shape:
        raise ConfigError(f"step must return weights of the mask's shape {mask_BxS.shape} second; it returns {_spoken(weights)}")
    _check_unchanged(state, after)
    return Steps(step, state, mask_BxS, logits, weights)


def _without_weights(step: Callable, B: int) -> Callable:
    """Returns a step that attends to S = 0 positions."""

    def padded(state, token_B):
        found = step(state, token_B)
        if not isinstance(found, tuple) or len(found) != 2:
            shapes = _spoken(found)
            raise ConfigError(f"step must return (logits_BxV, state), or with a mask also weights_BxS between them; it returns {shapes}")
        return found[0], jnp.zeros((B, 0), jnp.float32), found[1]

    return padded


def _batch_size(state: Tree) -> int:
    """Returns B, the leading axis of the first array of a state."""
    for leaf in jax.tree.leaves(state):
        if leaf.ndim:
            return leaf.shape[0]
    raise ConfigError("the state has no array that leads with the batch, so B is unknown: put one into it, as jnp.zeros(B)")


def _check_lead(state: Tree, B: int) -> None:
    """Raises `ConfigError` for an array of a state that does not lead with B."""
    for path, leaf in jax.tree.leaves_with_path(state):
        if not leaf.ndim or leaf.shape[0] != B:
            raise ConfigError(
                f"every array of the state must lead with B={B}, and state{jax.tree_util.keystr(path)} is of shape {leaf.shape}: "
                "repeat it, or let the step close over it"
            )


def _check_unchanged(before: Tree, after: Tree) -> None:
    """Raises `ConfigError` where a step returns a state of another structure, or an array of another shape or type."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ConfigError(
            f"step must return a state of the structure that it takes: {jax.tree.structure(before)}, not {jax.tree.structure(after)}"
        )
    for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ConfigError(
                f"step takes state{jax.tree_util.keystr(path)} as {_spoken(old)} and returns it as {_spoken(new)}: "
                "shapes and types must stay"
            )


def _spoken(tree: Tree) -> str:
    """Returns the shapes and types of arrays for a message, on one line."""
    named = jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else type(x).__name__, tree)
    return str(named).replace("'", "")
