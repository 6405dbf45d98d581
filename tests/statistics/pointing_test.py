"""Pointing against a loop over places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import pointing

B, T, ROWS, COLUMNS = 2, 3, 2, 4


@given(st.integers(0, 10**6))
def test_it_is_the_share_of_the_most_attended_place_in_the_box(seed):
    rng = np.random.default_rng(seed)
    weights_BxTxPxQ = rng.dirichlet(np.ones(COLUMNS // 2), (B, T, 1))  # memory places of 2 x 2 source places
    weights_BxTxYxX = np.repeat(np.repeat(weights_BxTxPxQ, 2, 2), 2, 3) / 4
    corner_BxTx2 = rng.integers(0, 2, (B, T, 2))
    box_BxTx4 = np.concatenate([corner_BxTx2, corner_BxTx2 + rng.integers(1, 3, (B, T, 2))], axis=2).clip(0, [2, 4, 2, 4]).astype(float)
    box_BxTx4[0, 1] = -1
    found = pointing.pointed(weights_BxTxYxX.reshape(B, T, -1), box_BxTx4, ROWS, memory=4)
    for b in range(B):
        for t in range(T):
            top, left, bottom, right = map(int, box_BxTx4[b, t])
            if (b, t) == (0, 1):
                assert not any(values[b, t] for values in found)
                continue
            q = int(weights_BxTxPxQ[b, t, 0].argmax())
            within = [(y, x) for y in range(ROWS) for x in range(COLUMNS) if top <= y < bottom and left <= x < right]
            np.testing.assert_allclose(found.pointing_BxT[b, t], sum(x // 2 == q for _, x in within) / 4)
            np.testing.assert_allclose(found.mass_BxT[b, t], sum(weights_BxTxYxX[b, t, y, x] for y, x in within))
            np.testing.assert_allclose(found.chance_BxT[b, t], len(within) / 8)
            p = weights_BxTxPxQ[b, t, 0]
            np.testing.assert_allclose(found.vectors_BxT[b, t], np.exp(-(p * np.log(p)).sum()))


def test_one_place_is_one_vector():
    found = pointing.pointed(np.eye(4)[None, :1], np.array([[[0, 0, 1, 2.0]]]), 1)
    assert [float(values[0, 0]) for values in found] == [1, 1, 1, 0.5, 1]
