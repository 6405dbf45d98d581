"""Affine maps y = x W + b: parameters {"weight", "bias"}, a start for them, and the product itself."""

import jax
import jax.numpy as jnp

from attention_jax.types.signatures import Array, Key

glorot = jax.nn.initializers.glorot_uniform(dtype=jnp.float32)


def product(inputs: Array, weight_IxO: Array) -> Array:
    """x W, for inputs of any rank, as one product of matrices: W's gradient is one, too, and nothing is transposed for it."""
    rows_NxI = inputs.reshape(-1, inputs.shape[-1]) if inputs.ndim > 2 and inputs.size else inputs
    return (rows_NxI @ weight_IxO).reshape(*inputs.shape[:-1], weight_IxO.shape[1])


def affine(parameters: dict, inputs: Array) -> Array:
    """y = x W + b, for inputs of any rank; without a weight, y = b, whatever the inputs."""
    if "weight" not in parameters:
        return jnp.broadcast_to(parameters["bias"], (*inputs.shape[:-1], parameters["bias"].size))
    outputs = product(inputs, parameters["weight"])
    return outputs + jnp.broadcast_to(parameters["bias"], outputs.shape)


def dense(key: Key, inputs: int, outputs: int, blocks: int = 1, initializer: jax.nn.initializers.Initializer = glorot) -> dict:
    """An affine {"weight", "bias"} of `blocks` side by side, each initialised as a matrix of its own; of no inputs, a bias."""
    if inputs == 0:
        return {"bias": jnp.zeros(blocks * outputs, jnp.float32)}
    weights = [initializer(k, (inputs, outputs)) for k in jax.random.split(key, blocks)]
    return {"weight": jnp.concatenate(weights, axis=1), "bias": jnp.zeros(blocks * outputs, jnp.float32)}
