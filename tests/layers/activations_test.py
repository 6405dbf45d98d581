"""tanh against NumPy in double precision, on every path that it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from attention_jax.layers import activations

POINTS = np.concatenate([np.linspace(-12, 12, 4001), np.geomspace(1e-30, 1, 200), [0.0, -0.0, 1e4, -1e4, np.inf, -np.inf]])


@pytest.mark.parametrize(
    "function", [activations.tanh, activations.rational, jax.jit(activations.tanh)], ids=["tanh", "rational", "jitted"]
)
def test_values_are_those_of_double_precision(function):
    x = jnp.asarray(POINTS, jnp.float32)
    np.testing.assert_allclose(function(x), np.tanh(np.asarray(x, np.float64)), rtol=1e-6, atol=4e-7)
    small = np.abs(POINTS) < 1e-3
    np.testing.assert_allclose(function(x)[small], x[small], rtol=1e-6)


@pytest.mark.parametrize("function", [activations.rational, jax.jit(activations.tanh)], ids=["rational", "jitted"])
def test_small_numbers_keep_their_accuracy(function):
    """Down to the least that are not flushed to zero: x P(x²) would be one for |x| < 3e-36."""
    x = np.concatenate([sign * np.geomspace(2e-38, 1, 1000, dtype=np.float32) for sign in (1, -1)])
    np.testing.assert_allclose(np.asarray(function(x), np.float64), np.tanh(x.astype(np.float64)), rtol=4e-7, atol=0)


def test_the_edges_of_the_numbers():
    x = np.array([0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, np.finfo(np.float32).max], np.float32)
    y = np.asarray(activations.rational(jnp.asarray(x)))
    np.testing.assert_array_equal(y[[0, 1, 4, 5, 6, 7]], np.array([0, 0, 1, -1, np.nan, 1], np.float32))
    assert not np.signbit(y[0]) and np.signbit(y[1]) and (np.abs(y[2:4]) <= 1e-45).all(), "smaller numbers may be flushed to zero"


def test_the_derivative_is_one_minus_the_square():
    x = jnp.linspace(-10, 10, 1001)
    slopes = jax.vmap(jax.grad(activations.tanh))(x)
    np.testing.assert_allclose(slopes, 1 - np.tanh(np.asarray(x, np.float64)) ** 2, atol=1e-6)
    np.testing.assert_allclose(jax.jvp(activations.tanh, (x,), (jnp.ones_like(x),))[1], slopes, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_other_types_stay(dtype):
    x = jnp.linspace(-3, 3, 50, dtype=dtype)
    np.testing.assert_array_equal(activations.tanh(x), jnp.tanh(x))
    assert activations.sigmoid(x).dtype == dtype


def test_sigmoid():
    x = jnp.asarray(POINTS[:-2], jnp.float32)
    np.testing.assert_allclose(activations.sigmoid(x), scipy.special.expit(np.asarray(x, np.float64)), atol=4e-7)
