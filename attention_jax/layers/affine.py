"""Affine maps y = x W + b: parameters {"weight", "bias"}, a start for them, and the product itself."""

import jax
import jax.numpy as jnp

from attention_jax.types.signatures import Array, Key

glorot = jax.nn.initializers.glorot_uniform(dtype=jnp.float32)


def product(inputs: Array, weight_IxO: Array) -> Array:
    """Computes x W for inputs of any rank, as one product of matrices; its gradients need no transposed copy of the inputs."""
    rows_NxI = inputs.reshape(-1, inputs.shape[-1]) if inputs.ndim > 2 and inputs.size else inputs
    return (rows_NxI @ weight_IxO).reshape(*inputs.shape[:-1], weight_IxO.shape[1])


def affine(parameters: dict, inputs: Array) -> Array:
    """Computes y = x W + b for inputs of any rank; y = b where the parameters have no weight."""
    if "weight" not in parameters:
        return jnp.broadcast_to(parameters["bias"], (*inputs.shape[:-1], parameters["bias"].size))
    outputs = product(inputs, parameters["weight"])
    return outputs + jnp.broadcast_to(parameters["bias"], outputs.shape)


def dense(key: Key, inputs: int, outputs: int, blocks: int = 1, initializer: jax.nn.initializers.Initializer = glorot) -> dict:
    """Draws an affine map {"weight", "bias"} with `blocks` outputs side by side, each initialised as a matrix of its own; biases are 0.

    With `inputs` = 0 it has no weight.
    """
    if inputs == 0:
        return {"bias": jnp.zeros(blocks * outputs, jnp.float32)}
    weights = [initializer(k, (inputs, outputs)) for k in jax.random.split(key, blocks)]
    return {"weight": jnp.concatenate(weights, axis=1), "bias": jnp.zeros(blocks * outputs, jnp.float32)}
