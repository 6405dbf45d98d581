"""The K largest numbers by blocks are those of one sort, in the same order, equals included."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.model.search import top_k

B = 3


@cache
def compiled(function, K: int):
    return jax.jit(lambda x_BxN: function(x_BxN, K))


def draw(seed: int, N: int, kind: str):
    """Numbers that are all different, mostly equal, or mostly -inf."""
    rng = np.random.default_rng(seed)
    x_BxN = rng.normal(0, 1, (B, N)).astype(np.float32)
    if kind == "equal":
        return np.round(x_BxN / 2)
    return np.where(rng.random((B, N)) < 0.99, -np.inf, x_BxN).astype(np.float32) if kind == "-inf" else x_BxN


@pytest.mark.parametrize(("N", "K"), [(1, 1), (64, 2), (200, 3), (640, 1), (650, 5), (8 * 64 - 1, 7)])
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["different", "equal", "-inf"]))
def test_largest_is_a_stable_sort(N, K, seed, kind):
    x_BxN = draw(seed, N, kind)
    values_BxK, index_BxK = compiled(top_k.largest, K)(x_BxN)
    expected_BxK = np.argsort(-x_BxN, axis=1, kind="stable")[:, :K]
    np.testing.assert_array_equal(index_BxK, expected_BxK)
    np.testing.assert_array_equal(values_BxK, np.take_along_axis(x_BxN, expected_BxK, axis=1))
    for fast, plain in zip((values_BxK, index_BxK), compiled(top_k.plain, K)(x_BxN), strict=True):
        np.testing.assert_array_equal(fast, plain)


def test_half_precision_and_seeds_side_by_side():
    x_RxBxN = jnp.asarray(np.stack([draw(seed, 650, "different") for seed in range(2)]), jnp.bfloat16)  # many are equal
    values_RxBxK, index_RxBxK = jax.jit(jax.vmap(lambda x_BxN: top_k.largest(x_BxN, 4)))(x_RxBxN)
    assert values_RxBxK.dtype == jnp.bfloat16
    expected_RxBxK = np.argsort(-np.asarray(x_RxBxN, np.float32), axis=2, kind="stable")[:, :, :4]
    np.testing.assert_array_equal(index_RxBxK, expected_RxBxK)
