"""Which source positions a memory place stands for, counted one by one in plain Python."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.encoders import places

SHAPES = pytest.mark.parametrize("shape", [(7,), (8,), (5, 4)])
REDUCTIONS = pytest.mark.parametrize("reduction", [1, 2, 3])


@SHAPES
@REDUCTIONS
@given(st.integers(0, 2**16))
def test_places_are_counted_and_weights_shared(shape, reduction, seed):
    B, T = 2, 3
    source = np.random.default_rng(seed)
    mask_BxS = source.random((B, *shape)) < 0.6
    memory_shape = tuple(-(-size // reduction) for size in shape)
    weights_BxTxP = source.random((B, T, *memory_shape))

    members = {place: [] for place in product(*map(range, memory_shape))}
    for position in product(*map(range, shape)):
        members[tuple(p // reduction for p in position)].append(position)
    count_BxP, shown_BxTxS = np.zeros((B, *memory_shape), int), np.zeros((B, T, *shape))
    for b, (place, positions) in product(range(B), members.items()):
        real = [position for position in positions if mask_BxS[b, *position]]
        count_BxP[b, *place] = len(real)
        for position in real:
            shown_BxTxS[b, :, *position] = weights_BxTxP[b, :, *place] / len(real)

    mask = jnp.asarray(mask_BxS)
    np.testing.assert_array_equal(places.members(mask, reduction), count_BxP)
    np.testing.assert_array_equal(places.reduced(mask, reduction), count_BxP > 0)
    np.testing.assert_allclose(places.spread(jnp.asarray(weights_BxTxP, jnp.float32), mask, reduction), shown_BxTxS, rtol=1e-6)
