"""What every row of encoders.TABLE promises, few compilations a row: padding changes nothing, sizes and dtypes are those announced."""

import dataclasses
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attention_jax import encoders
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

B, S, E, H = 4, 9, 3, 4  # S is a square of an odd side: an image of 3 x 3, then 2 x 2, then 1 x 1 places
CONFIG = ModelConfig(hidden_size=H, embedding_size=E, dropout=0.5)
CASES = {
    "recurrent": {"layers": 2, "residual": True},
    "gnmt": {"layers": 3, "cell": "lstm"},
    "pyramidal": {"layers": 2, "cell": "rnn"},
    "convolutional": {"kernel": 4, "stride": 2, "convolutions": 2, "transition": 2},
    "image": {"stride": 2, "convolutions": 2},
    "self_attention": {"layers": 2},
}


def new(name: str):
    """The row's encoder; of one layer where nothing else is said."""
    return encoders.build(dataclasses.replace(CONFIG, **{"encoder": name} | CASES.get(name, {})), E)


def places(encoder) -> int:
    """P, of S positions."""
    if encoder.squares:
        return math.ceil(math.isqrt(S) / math.isqrt(encoder.reduction)) ** 2
    return math.ceil(S / encoder.reduction)


PLACES = {name: places(new(name)) for name in encoders.TABLE}
ROWS = pytest.mark.parametrize("name", encoders.TABLE)
LINES = pytest.mark.parametrize("name", [name for name in encoders.TABLE if not new(name).squares])  # whose S may be any number
KEYS_B = jax.random.split(jax.random.key(0), B)
LENGTHS = st.lists(st.integers(0, S), min_size=B, max_size=B)
HOLES = np.array([[c == "#" for c in row] for row in ("..####.#.", "#.##.#...", ".......##", ".........")])
MASKS = arrays(bool, (B, S)) | LENGTHS.map(lambda lengths: np.asarray(mask(lengths)))


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def mask(lengths, extra: int = 0):
    return jnp.arange(S + extra)[None, :] < jnp.array(lengths)[:, None]


@cache
def row(name: str):
    """(encoder, random parameters, jitted apply)."""
    encoder = new(name)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0))
    return encoder, jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), shapes), jax.jit(encoder.apply)


@cache
def with_gradients(name: str):
    """Jitted, with dropout: (memory, gradients of a random linear functional of it by parameters and inputs)."""
    encoder = row(name)[0]

    def both(params, inputs_BxSxE, mask_BxS):
        memory, backward = jax.vjp(lambda *x: encoder.apply(*x, mask_BxS, KEYS_B), params, inputs_BxSxE)
        cotangent = memory.replace(
            states_BxSxM=random(*memory.states_BxSxM.shape, seed=5),
            mask_BxS=np.zeros(memory.mask_BxS.shape, jax.dtypes.float0),
            final_BxD=random(*memory.final_BxD.shape, seed=6),
        )
        return memory, backward(cotangent)

    return jax.jit(both)


def test_places_are_as_many_as_they_say():
    expected = {"recurrent": S, "gnmt": S, "pyramidal": 5, "convolutional": 3, "image": 1, "self_attention": S}
    assert {name: PLACES[name] for name in CASES} == expected


@ROWS
def test_sizes_are_those_announced_and_jit_changes_nothing(name):
    encoder, params, _ = row(name)
    inputs_BxSxE, mask_BxS = random(B, S, E, seed=1), mask((S, 4, 1, 0))
    memory, gradients = with_gradients(name)(params, inputs_BxSxE, mask_BxS)
    P, pieces = PLACES[name], len(encoder.directions)
    assert memory.states_BxSxM.shape == (B, P, encoder.memory_size) and memory.mask_BxS.shape == (B, P)
    assert memory.final_BxD.shape == (B, encoder.final_size) and encoder.memory_size == pieces * H
    assert (encoder.spread is None) == (P == S) == (encoder.reduction == 1)
    eager = encoder.apply(params, inputs_BxSxE, mask_BxS, KEYS_B)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), memory, eager)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in jax.tree.leaves(gradients) if g.size)


@ROWS
@given(MASKS, st.integers(0, 9), st.sampled_from([1.0, -1e4, np.nan, np.inf, 1e38]))
def test_garbage_in_padding_changes_nothing_bit_for_bit(name, mask_BxS, seed, scale):
    _, params, _ = row(name)
    inputs_BxSxE = random(B, S, E, seed=seed)
    garbage_BxSxE = jnp.where(mask_BxS[:, :, None], inputs_BxSxE, scale * random(B, S, E, seed=99))
    clean, dirty = (with_gradients(name)(params, x, mask_BxS) for x in (inputs_BxSxE, garbage_BxSxE))
    assert jax.tree.all(jax.tree.map(np.array_equal, clean, dirty))
    memory, (_, d_inputs_BxSxE) = clean
    assert not np.where(memory.mask_BxS[:, :, None], 0, memory.states_BxSxM).any()
    assert not np.where(mask_BxS[:, :, None], 0, d_inputs_BxSxE).any()
    assert not memory.final_BxD[~mask_BxS.any(1)].any(), "a row of length 0 leaves nothing"


@LINES
@given(arrays(bool, (B, S)))
@example(HOLES)
def test_padding_may_stand_anywhere(name, mask_BxS):
    """What a row leaves is what it leaves with its real positions at the front; a memory as long as the source stays where it was."""
    encoder, params, apply = row(name)
    inputs_BxSxE, front_BxSxE = random(B, S, E, seed=1), np.zeros((B, S, E), np.float32)
    for b, real_S in enumerate(mask_BxS):
        front_BxSxE[b, : real_S.sum()] = inputs_BxSxE[b, real_S]
    memory, front = apply(params, inputs_BxSxE, mask_BxS), apply(params, front_BxSxE, mask(mask_BxS.sum(1)))
    np.testing.assert_allclose(memory.final_BxD, front.final_BxD, atol=1e-6)
    for b, real_S in enumerate(mask_BxS):
        places_P = slice(None) if encoder.spread else np.argsort(~real_S, stable=True)
        np.testing.assert_array_equal(memory.mask_BxS[b, places_P], front.mask_BxS[b])
        np.testing.assert_allclose(memory.states_BxSxM[b, places_P], front.states_BxSxM[b], atol=1e-6)
    if encoder.spread:
        weights_Bx2xP = jnp.where(memory.mask_BxS[:, None], jnp.abs(random(B, 2, PLACES[name], seed=2)), 0)
        shown_Bx2xS, at_front_Bx2xS = (np.asarray(encoder.spread(weights_Bx2xP, m)) for m in (mask_BxS, mask(mask_BxS.sum(1))))
        for b, real_S in enumerate(mask_BxS):
            np.testing.assert_array_equal(shown_Bx2xS[b][:, real_S], at_front_Bx2xS[b, :, : real_S.sum()])


@LINES
def test_further_columns_of_padding_change_nothing(name):
    _, params, apply = row(name)
    lengths, inputs_BxSxE = (S, 6, 3, 0), random(B, S, E, seed=1)
    memory, _ = with_gradients(name)(params, inputs_BxSxE, mask(lengths))
    wider_BxSxE = jnp.concatenate([inputs_BxSxE, random(B, 5, E, seed=9)], axis=1)
    wider = apply(params, wider_BxSxE, mask(lengths, extra=5), KEYS_B)
    P = PLACES[name]
    np.testing.assert_allclose(wider.states_BxSxM[:, :P], memory.states_BxSxM, atol=1e-5)
    np.testing.assert_allclose(wider.final_BxD, memory.final_BxD, atol=1e-5)
    np.testing.assert_array_equal(wider.mask_BxS[:, :P], memory.mask_BxS)
    assert not wider.mask_BxS[:, P:].any() and not wider.states_BxSxM[:, P:].any()


@ROWS
def test_numpy_s_arrays_are_arrays(name):
    _, params, apply = row(name)
    arguments = params, random(B, S, E, seed=1), mask((S, 4, 1, 0))
    by_numpy = row(name)[0].apply(*jax.tree.map(np.asarray, arguments))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), by_numpy, apply(*arguments))
    if spread := row(name)[0].spread:
        weights_Bx2xP = jnp.abs(random(B, 2, PLACES[name]))
        by_numpy = spread(np.asarray(weights_Bx2xP), np.asarray(arguments[2]))
        np.testing.assert_allclose(by_numpy, spread(weights_Bx2xP, arguments[2]), atol=1e-6)


@ROWS
def test_what_is_dropped_belongs_to_the_example(name):
    _, params, apply = row(name)
    inputs_BxSxE, mask_BxS = random(B, S, E, seed=1), mask((S, S, S, S))
    whole, dropped = apply(params, inputs_BxSxE, mask_BxS), apply(params, inputs_BxSxE, mask_BxS, KEYS_B)
    swapped = apply(params, inputs_BxSxE[::-1], mask_BxS, KEYS_B[::-1])
    assert not np.allclose(whole.states_BxSxM, dropped.states_BxSxM, atol=1e-3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[::-1], b, atol=1e-5), swapped, dropped)
    same = apply(params, jnp.broadcast_to(inputs_BxSxE[:1], inputs_BxSxE.shape), mask_BxS, KEYS_B)
    assert not np.allclose(same.states_BxSxM[0], same.states_BxSxM[1], atol=1e-3), "examples draw for themselves"


@ROWS
def test_bfloat16_stays_bfloat16(name):
    _, params, apply = row(name)
    inputs_BxSxE, mask_BxS = random(B, S, E, seed=1), mask((S, 4, 1, 0))
    exact = apply(params, inputs_BxSxE, mask_BxS)
    rough = apply(*jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, inputs_BxSxE)), mask_BxS)
    assert rough.states_BxSxM.dtype == rough.final_BxD.dtype == jnp.bfloat16
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.1), rough, exact)


@ROWS
def test_seeds_side_by_side_are_seeds_one_by_one(name):
    _, params, apply = row(name)
    inputs_BxSxE, mask_BxS = random(B, S, E, seed=1), mask((S, 4, 1, 0))
    both = jax.tree.map(lambda p: jnp.stack([p, -0.5 * p]), params)
    together = jax.vmap(apply, in_axes=(0, None, None))(both, inputs_BxSxE, mask_BxS)
    for r in range(2):
        alone = apply(jax.tree.map(lambda p, r=r: p[r], both), inputs_BxSxE, mask_BxS)
        jax.tree.map(lambda a, b, r=r: np.testing.assert_allclose(a[r], b, atol=1e-5), together, alone)


@ROWS
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_inputs_give_finite_gradients(name, scale):
    results = with_gradients(name)(row(name)[1], scale * random(B, S, E, seed=1), mask((S, 4, 1, 0)))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(results))


@pytest.mark.parametrize("name", [name for name in encoders.TABLE if PLACES[name] < S])
@given(MASKS, st.integers(0, 99))
def test_weights_shown_over_the_source_keep_their_mass(name, mask_BxS, seed):
    encoder, params, apply = row(name)
    memory = apply(params, random(B, S, E, seed=1), mask_BxS)
    weights_Bx2xP = jnp.where(memory.mask_BxS[:, None], jnp.abs(random(B, 2, PLACES[name], seed=seed)), 0)
    shown_Bx2xS = encoder.spread(weights_Bx2xP, mask_BxS)
    np.testing.assert_allclose(shown_Bx2xS.sum(2), weights_Bx2xP.sum(2), rtol=1e-5)
    assert not np.where(mask_BxS[:, None], 0, shown_Bx2xS).any() and (shown_Bx2xS >= 0).all()


def test_unknown_encoders_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"model\.encoder='pyramid' .*did you mean 'pyramidal'.*valid: recurrent, gnmt, pyramidal"):
        encoders.build(dataclasses.replace(CONFIG, encoder="pyramid"), E)
