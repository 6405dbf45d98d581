"""Places derived from masks against loops over rows; what is no mask is refused at every entry, on tracers too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attention_jax import attention, encoders, model
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig, TrainingConfig
from attention_jax.layers import cells, masks, predictions, recurrence
from attention_jax.model import search
from attention_jax.model.search import unknown
from attention_jax.statistics import alignments
from attention_jax.system.errors import ConfigError
from attention_jax.training import losses, regularisers
from attention_jax.types import Batch, Outputs

B, S, T, M, V = 2, 4, 3, 6, 8  # S: an image of 2 x 2
ROWS = arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 7)))


@pytest.mark.long
@given(ROWS)
def test_first_and_last_are_found_one_by_one(mask_BxS):
    places = [np.flatnonzero(row).tolist() for row in mask_BxS]
    assert masks.first(mask_BxS).tolist() == [p[0] if p else 0 for p in places]
    assert masks.last(mask_BxS).tolist() == [p[-1] if p else 0 for p in places]
    assert [np.flatnonzero(row).tolist() for row in masks.first_alone(mask_BxS)] == [p[:1] for p in places]


@pytest.mark.long
@given(ROWS)
def test_real_positions_come_first_in_order_and_go_back(mask_BxS):
    S = mask_BxS.shape[1]
    expected = [[s for s in range(S) if row[s]] + [s for s in range(S) if not row[s]] for row in mask_BxS]
    order_BxS, rank_BxS = masks.order(mask_BxS), masks.rank(mask_BxS)
    assert order_BxS.tolist() == expected
    x_BxSx2 = np.random.default_rng(0).normal(size=(*mask_BxS.shape, 2)).astype(np.float32)
    first_BxSx2 = masks.moved(x_BxSx2, order_BxS)
    np.testing.assert_array_equal(first_BxSx2, [x[places] for x, places in zip(x_BxSx2, expected, strict=True)])
    np.testing.assert_array_equal(masks.moved(first_BxSx2, rank_BxS), x_BxSx2)
    np.testing.assert_array_equal(masks.moved(first_BxSx2.swapaxes(1, 2), rank_BxS, axis=2), x_BxSx2.swapaxes(1, 2))
    prefix_BxS = masks.moved(mask_BxS, order_BxS)
    np.testing.assert_array_equal(prefix_BxS, np.arange(S) < mask_BxS.sum(1)[:, None])
    np.testing.assert_array_equal(masks.order(prefix_BxS), np.broadcast_to(np.arange(S), mask_BxS.shape))


def test_a_list_of_bools_is_a_mask():
    np.testing.assert_array_equal(masks.real([[True, False]]), [[True, False]])


def zeros(*shape):
    return np.zeros(shape, np.float32)


def parameters(init):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, jax.random.key(0)))


def prepare(**settings):
    mechanism = attention.build(ModelConfig(timing="after", **settings), Sizes(M, M, 4, ("forward", "reversed"), 2))
    return lambda mask_BxS: mechanism.prepare(parameters(mechanism.init), zeros(B, S, M), mask_BxS)


def encode(**settings):
    encoder = encoders.build(ModelConfig(hidden_size=3, cell="rnn", layers=1 if settings["encoder"] == "image" else 2, **settings), M)
    return lambda mask_BxS: encoder.apply(parameters(encoder.init), zeros(B, S, M), mask_BxS)


def spread(name):
    encoder = encoders.build(ModelConfig(hidden_size=3, encoder=name), M)
    return lambda mask_BxS: encoder.spread(zeros(B, T, S), mask_BxS)


def run(mask_BxS):
    cell = cells.lstm(M, 3)
    return recurrence.run(cell, parameters(cell.init), zeros(B, S, M), mask_BxS)


MODEL = model.build(ModelConfig(hidden_size=3, embedding_size=2, cell="rnn"), V)
SOURCE_BxS, TARGET_BxT, MASK_BxS, MASK_BxT = np.full((B, S), 4), np.full((B, T), 4), np.ones((B, S), bool), np.ones((B, T), bool)


def batch(source_mask_BxS=MASK_BxS, target_mask_BxT=MASK_BxT):
    return Batch(SOURCE_BxS, source_mask_BxS, TARGET_BxT, target_mask_BxT, 0 * TARGET_BxT, np.full(B, S), np.arange(B))


def sums(batch):
    return losses.sums(Outputs(zeros(B, T, V), zeros(B, T, S), zeros(B)), batch, TrainingConfig(doubly_stochastic=1.0, coverage=1.0))


SOURCES = {
    **{f"attention={name}": prepare(attention=name) for name in attention.TABLE},
    "normaliser=monotonic": prepare(normaliser="monotonic"),
    "window=local_m": prepare(window="local_m"),
    "estimator=reinforce": prepare(estimator="reinforce"),
    "heads": prepare(heads=2),
    "slots": prepare(slots=2),
    **{f"encoder={name}": encode(encoder=name) for name in encoders.TABLE},
    **{f"spread of {name}": spread(name) for name in ("pyramidal", "convolutional", "image")},
    "recurrence.run": run,
    "linen Attention": lambda mask_BxS: Attention().init(jax.random.key(0), zeros(B, T, M), zeros(B, S, M), mask_BxS),
    "linen Encoder": lambda mask_BxS: Encoder(hidden_size=3).init(jax.random.key(0), zeros(B, S, M), mask_BxS),
    "model.forced": lambda mask_BxS: MODEL.forced(parameters(MODEL.init), batch(mask_BxS)),
    "model.start": lambda mask_BxS: MODEL.start(parameters(MODEL.init), SOURCE_BxS, mask_BxS),
    "search.decode": lambda mask_BxS: search.decode(MODEL, parameters(MODEL.init), SOURCE_BxS, mask_BxS, T),
    "unknown.replaced": lambda mask_BxS: unknown.replaced(TARGET_BxT[:, None], zeros(B, 1, T, S), SOURCE_BxS, mask_BxS),
    "losses.sums": lambda mask_BxS: sums(batch(mask_BxS)),
    "regularisers.doubly_stochastic": lambda mask_BxS: regularisers.doubly_stochastic(zeros(B, T, S), MASK_BxT, mask_BxS),
}
"""Every public entry that takes a mask of sources; cuDNN's is tested in encoders/cudnn_test.py."""

TARGETS = {
    "model.forced": lambda mask_BxT: MODEL.forced(parameters(MODEL.init), batch(target_mask_BxT=mask_BxT)),
    "losses.sums": lambda mask_BxT: sums(batch(target_mask_BxT=mask_BxT)),
    "predictions.token_nll": lambda mask_BxT: predictions.token_nll(zeros(B, T, V), TARGET_BxT, mask_BxT),
    "predictions.judged": lambda mask_BxT: predictions.judged(zeros(B, T, V), TARGET_BxT, mask_BxT),
    "losses.counted": lambda mask_BxT: losses.counted(TARGET_BxT, zeros(B, T), batch(target_mask_BxT=mask_BxT)),
    "regularisers.coverage": lambda mask_BxT: regularisers.coverage(zeros(B, T, S), mask_BxT),
    "regularisers.doubly_stochastic": lambda mask_BxT: regularisers.doubly_stochastic(zeros(B, T, S), mask_BxT, MASK_BxS),
    "regularisers.guided": lambda mask_BxT: regularisers.guided(zeros(B, T, S), 0 * TARGET_BxT, mask_BxT),
    "regularisers.guided_by_links": lambda mask_BxT: regularisers.guided_by_links(zeros(B, T, S), zeros(B, T, S), mask_BxT),
    "alignments.sums": lambda mask_BxT: alignments.sums(zeros(B, T, S), batch(target_mask_BxT=mask_BxT)),
}
"""And every one that takes a mask of targets."""


@pytest.mark.parametrize(
    ("entry", "mask_BxN"),
    [pytest.param(f, MASK_BxS, id=name) for name, f in SOURCES.items()]
    + [pytest.param(f, MASK_BxT, id=f"{name}, target") for name, f in TARGETS.items()],
)
def test_ones_and_zeros_are_no_mask(entry, mask_BxN):
    jax.eval_shape(entry, jnp.asarray(mask_BxN))
    for kind in (np.int32, np.float32):
        message = f"a mask is of bools, True where a position is real, and this one is of {kind.__name__}: give mask != 0"
        for array in (np.asarray, jnp.asarray):
            with pytest.raises(ConfigError, match=message):
                entry(array(mask_BxN.astype(kind)))
        with pytest.raises(ConfigError, match=message):
            jax.eval_shape(entry, jax.ShapeDtypeStruct(mask_BxN.shape, kind))
