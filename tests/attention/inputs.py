"""Parameters and inputs of a mechanism, drawn for comparisons in float64."""

import jax
import jax.numpy as jnp
import numpy as np


def drawn(memory: tuple[int, ...], query: tuple[int, ...], shapes, seed: int, scale: float):
    """(params, memory, query) of normal numbers: arrays of these shapes, and parameters like those of `shapes`."""
    draw = np.random.default_rng(seed)

    def normal(shape):
        return jnp.asarray(scale * draw.normal(size=shape), jnp.float32)

    return jax.tree.map(lambda x: normal(x.shape), shapes), normal(memory), normal(query)


def in_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
