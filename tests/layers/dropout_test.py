"""Dropout's draws: how many, and that they belong to example and place."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.layers.dropout import dropout

B, S, E = 3, 5, 4
KEYS_B = jax.random.split(jax.random.key(0), B)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_dropout_drops_and_scales():
    x_BxTxE = random(B, 200, E)
    dropped_BxTxE = dropout(x_BxTxE, 0.25, KEYS_B, 1)
    kept_BxTxE = dropped_BxTxE != 0
    np.testing.assert_allclose(dropped_BxTxE[kept_BxTxE], x_BxTxE[kept_BxTxE] / 0.75, rtol=1e-6)
    shares_B = kept_BxTxE.mean((1, 2))
    assert (np.abs(shares_B - 0.75) < 0.06).all() and len(set(shares_B.tolist())) == B  # 800 draws a row: 4 standard deviations


def test_dropout_without_keys_or_rate_is_the_identity():
    x_BxTxE = random(B, S, E)
    assert dropout(x_BxTxE, 0.5, None, 1) is x_BxTxE
    assert dropout(x_BxTxE, 0.0, KEYS_B, 1) is x_BxTxE


def test_draws_belong_to_example_and_place():
    ones = jnp.ones((B, 40, E))
    drawn_BxTxE = dropout(ones, 0.5, KEYS_B, 1)
    np.testing.assert_array_equal(drawn_BxTxE, dropout(ones, 0.5, KEYS_B, 1))
    np.testing.assert_array_equal(dropout(ones[:1], 0.5, KEYS_B[1:2], 1), drawn_BxTxE[1:2])  # not on who else is in the batch
    np.testing.assert_array_equal(dropout(ones[:, :17], 0.5, KEYS_B, 1), drawn_BxTxE[:, :17])  # not on padding
    assert not np.array_equal(dropout(ones, 0.5, KEYS_B, 2), drawn_BxTxE)
    assert not np.array_equal(drawn_BxTxE[0], drawn_BxTxE[1])
