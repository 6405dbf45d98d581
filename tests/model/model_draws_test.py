"""What a model draws at random: by key, example and position, whatever the padding, and apart from dropout."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, model
from attention_jax.attention.estimators import nothing_drawn
from attention_jax.layers import keys
from attention_jax.types import Attention
from tests.model.model_test import BASE, TARGET_LENGTHS, B, S, T, V, assert_close, assert_equal, built, make_batch, parameters_of, real

DROPPED = dataclasses.replace(BASE, layers=2, dropout=0.5)
KEY = jax.random.key(5)


@cache
def dropped():
    """(params, forced): logits of real positions under a key."""
    made, params = built(DROPPED)
    outputs = jax.jit(made.forced)
    return params, lambda params, batch, key: real(outputs(params, batch, key), batch)[0]


@pytest.mark.long
def test_dropout_is_off_without_a_key():
    made, params = built(DROPPED)
    plain = model.build(dataclasses.replace(DROPPED, dropout=0.0), V)
    batch = make_batch(extra=0)
    assert_equal(made.forced(params, batch), plain.forced(params, batch))
    assert_equal(plain.forced(params, batch, KEY), plain.forced(params, batch))


@pytest.mark.long
def test_draws_belong_to_key_and_example():
    params, forced = dropped()
    batch = make_batch()
    logits = forced(params, batch, KEY)
    assert_equal(logits, forced(params, batch, KEY))
    for other in (forced(params, batch, jax.random.key(6)), forced(params, batch.replace(example_B=batch.example_B + 1), KEY)):
        assert all(not np.allclose(logits[b], other[b]) for b in range(B))
    order = jnp.array([2, 0, 1])
    assert_close(logits[order], forced(params, jax.tree.map(lambda x: x[order], batch), KEY))


@pytest.mark.long
def test_draws_do_not_depend_on_padding_or_on_the_rest_of_the_batch():
    params, forced = dropped()
    logits = forced(params, make_batch(), KEY)
    alone = jax.tree.map(lambda x: x[1:2], make_batch(extra=0))
    assert_close(logits[1:2, :T], forced(params, alone, KEY))


def drawing(sizes, vector) -> Attention:
    """A mechanism that draws: its weights are uniform draws, its loss term the first of them plus one."""

    def attend(params, mask_BxS, state, query_BxH, keys_B):
        weights_BxS = jax.vmap(lambda key: jax.random.uniform(key, mask_BxS.shape[1:]))(keys_B)
        return query_BxH[:, :1], weights_BxS, state, nothing_drawn(weights_BxS)

    def predict(params, prepared, emit, looks, query_BxTxH, goal):
        return emit(looks.context_BxTxC), looks.weights_BxTxS[:, :, 0] + 1

    return Attention(lambda key: {}, lambda params, memory, mask: mask, lambda prepared, keys_B: (), attend, 1, predict)


@pytest.fixture
def with_drawing(monkeypatch):
    monkeypatch.setitem(attention.FIXED, "drawing", drawing)


def test_loss_terms_of_a_mechanism_count_on_real_positions_only(with_drawing):
    made = model.build(dataclasses.replace(BASE, attention="drawing"), V)
    outputs = made.forced(parameters_of(made), make_batch(extra=0), KEY)
    expected_B = [(outputs.weights_BxTxS[b, :length, 0] + 1).sum() for b, length in enumerate(TARGET_LENGTHS)]
    np.testing.assert_allclose(outputs.extra_B, expected_B, rtol=1e-6)
    assert len(np.unique(outputs.weights_BxTxS)) == outputs.weights_BxTxS.size, "every position and example draws for itself"


def test_a_mechanism_does_not_share_its_draws_with_dropout(with_drawing, monkeypatch):
    """Keys of target positions and keys of dropout's places come from one key per example; no two may be the same."""
    made = model.build(dataclasses.replace(BASE, attention="drawing"), V)
    outputs = made.forced(parameters_of(made), make_batch(extra=0), KEY)
    used = []

    def spy(x, rate, keys_B, *places):
        used.append(keys.fold(keys_B, *places))
        return x

    monkeypatch.setattr(model, "dropout", spy)
    made.forced(parameters_of(made), make_batch(extra=0), KEY)
    assert len(used) == 3
    for keys_B in used:
        draws_BxS = jax.vmap(lambda key: jax.random.uniform(key, (S,)))(keys_B)
        for t in range(T):
            assert not (outputs.weights_BxTxS[:, t] == draws_BxS).all(1).any(), f"position {t} draws with a key of dropout"
