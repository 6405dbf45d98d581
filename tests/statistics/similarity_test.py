"""Rank correlation and cosine against SciPy and NumPy, one look at a time."""

import numpy as np
import pytest
from scipy import stats

from attention_jax.statistics import similarity

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_that_of_scipy(ties):
    a, b = RANDOM.normal(size=(2, 5, 9)).astype(np.float32)
    if ties:
        a, b = np.round(2 * a), np.round(2 * b)
    mask = RANDOM.random((5, 9)) < 0.7
    found, defined = similarity.rank_correlation(a, b, mask)
    for i in range(5):
        assert defined[i]
        np.testing.assert_allclose(found[i], stats.spearmanr(a[i, mask[i]], b[i, mask[i]]).statistic, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(similarity.ranks(a, mask))[i, mask[i]], stats.rankdata(a[i, mask[i]]))


def test_what_is_at_padding_does_not_count():
    a, b, mask = np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 3.0, 2.0, -9.0]), np.array([True, True, True, False])
    assert similarity.rank_correlation(a, b, mask)[0] == pytest.approx(0.5)
    assert similarity.rank_correlation(a, np.array([1.0, 3.0, 2.0, np.inf]), mask)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("b", "mask"), [([1.0, 1.0, 1.0], [1, 1, 1]), ([1.0, 2.0, 3.0], [0, 1, 0]), ([1.0, 2.0, 3.0], [0, 0, 0])])
def test_without_differences_there_is_no_correlation(b, mask):
    found, defined = similarity.rank_correlation(np.array([1.0, 2.0, 3.0]), np.array(b), np.array(mask, bool))
    assert found == 0 and not defined


def test_cosine():
    query, key = RANDOM.normal(size=(2, 3, 4)), RANDOM.normal(size=(2, 5, 4))
    key[1, 2] = 0
    found = np.asarray(similarity.cosine(query, key))
    for b in range(2):
        for t in range(3):
            for s in range(5):
                q, k = query[b, t], key[b, s]
                wanted = q @ k / (np.linalg.norm(q) * np.linalg.norm(k)) if k.any() else 0
                np.testing.assert_allclose(found[b, t, s], wanted, rtol=1e-4, atol=1e-6)
