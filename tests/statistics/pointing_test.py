"""Pointing against a loop over places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import pointing

B, T, ROWS, COLUMNS = 2, 3, 2, 4


@given(st.integers(0, 10**6))
def test_a_vector_is_in_a_box_if_the_middle_of_its_field_is(seed):
    rng = np.random.default_rng(seed)
    weights_BxTxPxQ = rng.dirichlet(np.ones(COLUMNS // 2), (B, T, 1))  # memory places of 2 x 2 source places
    weights_BxTxYxX = np.repeat(np.repeat(weights_BxTxPxQ, 2, 2), 2, 3) / 4
    corner_BxTx2 = rng.integers(0, 2, (B, T, 2))
    box_BxTx4 = np.concatenate([corner_BxTx2, corner_BxTx2 + rng.integers(1, 3, (B, T, 2))], axis=2).clip(0, [2, 4, 2, 4]).astype(float)
    box_BxTx4[0, 1] = -1
    found = pointing.pointed(weights_BxTxYxX.reshape(B, T, -1), box_BxTx4, ROWS, side=2, memory=4)
    for b in range(B):
        for t in range(T):
            top, left, bottom, right = map(int, box_BxTx4[b, t])
            if (b, t) == (0, 1):
                assert not any(values[b, t] for values in found)
                continue
            q = int(weights_BxTxPxQ[b, t, 0].argmax())
            within = [i for i in range(COLUMNS // 2) if top <= 1 < bottom and left <= 2 * i + 1 < right]
            assert found.pointing_BxT[b, t] == (q in within)
            np.testing.assert_allclose(found.mass_BxT[b, t], weights_BxTxPxQ[b, t, 0, within].sum())
            np.testing.assert_allclose(found.chance_BxT[b, t], len(within) / (COLUMNS // 2))
            p = weights_BxTxPxQ[b, t, 0]
            np.testing.assert_allclose(found.vectors_BxT[b, t], np.exp(-(p * np.log(p)).sum()))


def test_the_nearest_field_is_in_a_box_that_is_smaller_than_it():
    """A box of 4 x 4 places, wherever it is, holds the middle of one field of 4 x 4; the last field may have fewer places."""
    for top in range(4):
        for left in range(9):
            held = pointing.middles(np.array([[[top, left, top + 4, left + 4.0]]]), 8, 12, 4).reshape(8, 12)
            assert held[::4, ::4].sum() == 1
    assert np.flatnonzero(pointing.middles(np.array([[[0, 0, 3, 10.0]]]), 3, 10, 4).reshape(3, 10)[0]).tolist() == list(range(10))


def test_one_place_is_one_vector():
    found = pointing.pointed(np.eye(4)[None, :1], np.array([[[0, 0, 1, 2.0]]]), 1)
    assert [float(values[0, 0]) for values in found] == [1, 1, 1, 0.5, 1]
