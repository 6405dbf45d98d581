"""Parameters of the functions ↔ parameters of the Linen modules: the same arrays under Flax's names.

    ours                                     Flax's
    {"weight": IxO, "bias": O}               {"kernel": IxO, "bias": O}          an affine
    "query": HxA, or of more axes            "query": {"kernel": HxA}            a matrix on its own
    "bias": O, "sharpness": scalar, …        the same                            vectors and scalars

The N heads' parameters are stacked, so what is a vector of one head is a matrix there. Modules without parameters have none.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from attention_jax.types.signatures import Init


def to_flax(params: dict) -> dict:
    """Renames parameters to Flax's names, without empty branches."""
    renamed = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        *above, last = _flax_names(path, leaf)
        branch = renamed
        for name in above:
            branch = branch.setdefault(name, {})
        branch[last] = leaf
    return renamed


def from_flax(variables: dict, like: dict) -> dict:
    """Inverts `to_flax`, for parameters of the structure of `like` (arrays or their shapes, as of `jax.eval_shape(init, key)`)."""

    def found(path, leaf):
        branch = variables
        for name in _flax_names(path, leaf):
            branch = branch[name]
        return branch

    return jax.tree.map_with_path(found, like)


def _flax_names(path, leaf) -> list[str]:
    *above, last = (entry.key for entry in path)
    if last == "weight":
        return [*above, "kernel"]
    return [*above, last, "kernel"] if leaf.ndim >= 2 and last != "bias" else [*above, last]


def declared(module: nn.Module, init: Init, param_dtype: jax.typing.DTypeLike) -> dict:
    """Declares the parameters of init(key) in `module`'s present scope, in `param_dtype`; returns them under our names."""
    like = jax.eval_shape(init, jax.random.key(0))
    parts = to_flax(like)
    if module.is_mutable_collection("params") and not all(module.has_variable("params", name) for name in parts):
        parts = to_flax(init(module.make_rng("params")))

    def start(key, part):
        return jax.tree.map(
            lambda x: jnp.zeros(x.shape, param_dtype) if isinstance(x, jax.ShapeDtypeStruct) else x.astype(param_dtype), part
        )

    return from_flax({name: module.param(name, start, part) for name, part in parts.items()}, like)
