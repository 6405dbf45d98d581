"""The decoder against loops by hand; its start, its timing, its causality, and what it threads through for a mechanism."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, decoder
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attention, Memory

B, S, T, E, H, M, D = 3, 5, 4, 4, 6, 6, 7
LENGTHS = (5, 3, 0)
SIZES = Sizes(memory=M, query=H, score=5, directions=("forward", "reversed"))
CONFIG = ModelConfig(hidden_size=3, decoder_size=H, embedding_size=E)  # encoder: two directions of 3
EVERY = pytest.mark.parametrize("name, timing", [(name, timing) for name in attention.TABLE for timing in ("before", "after")])
CELLS = pytest.mark.parametrize("cell", ["lstm", "gru"])


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


MASK_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
MEMORY = Memory(jnp.where(MASK_BxS[:, :, None], random(B, S, M, seed=1), 0), MASK_BxS, random(B, D, seed=2))
EMBEDDED_BxTxE = random(B, T, E, seed=3)


def make(mechanism: Attention, **settings):
    decode = decoder.build(dataclasses.replace(CONFIG, **settings), mechanism, M, D)
    shapes = jax.eval_shape(decode.init, jax.random.key(0))
    return decode, jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), shapes)


@cache
def built(name: str, timing: str):
    return make(attention.build(name, SIZES), timing=timing)


@cache
def unrolled(name: str, timing: str):
    """(outputs of unroll, their gradient by its inputs)."""
    decode, params = built(name, timing)
    return jax.vjp(lambda embedded_BxTxE: decode.unroll(params, MEMORY, embedded_BxTxE), EMBEDDED_BxTxE)


def steps(decode, params, keys_BxT=None):
    """T single steps, stacked along T as `unroll` would."""
    prepared, state = decode.start(params, MEMORY)
    outputs = []
    for t in range(T):
        state, output = decode.step(params, prepared, state, EMBEDDED_BxTxE[:, t], None if keys_BxT is None else keys_BxT[:, t])
        outputs.append(output)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *outputs)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@EVERY
def test_unroll_is_repeated_steps(name, timing):
    assert_close(unrolled(name, timing)[0], steps(*built(name, timing)))


@EVERY
def test_no_position_sees_a_later_input(name, timing):
    (features_BxTxF, weights_BxTxS, _), backward = unrolled(name, timing)
    seen = []
    for t in range(T):
        here = jnp.zeros_like(features_BxTxF).at[:, t].set(random(*features_BxTxF[:, t].shape, seed=t))
        looking = jnp.zeros_like(weights_BxTxS).at[:, t].set(random(B, S, seed=t))
        (gradient_BxTxE,) = backward((here, looking, jnp.zeros((B, T))))
        seen.append(np.asarray(jnp.abs(gradient_BxTxE).max((0, 2)) > 0))
    np.testing.assert_array_equal(seen, np.tri(T, dtype=bool))


@pytest.mark.parametrize("timing", ["before", "after"])
def test_timing_is_the_order_of_looking_and_moving(timing):
    """Elman cell, `general` score, one example at a time, in numpy."""
    decode, params = make(attention.build("general", SIZES), timing=timing, cell="rnn", start="bridge")
    features_BxTxF, weights_BxTxS, _ = decode.unroll(params, MEMORY, EMBEDDED_BxTxE)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    W, U = p["cell"]["input"], p["cell"]["recurrent"]["hidden"]

    for b, length in enumerate(LENGTHS):
        h_SxM = np.asarray(MEMORY.states_BxSxM[b, :length], np.float64)

        def attend(s_H, h_SxM=h_SxM):
            if not len(h_SxM):
                return np.zeros(M), np.zeros(0)
            e_S = h_SxM @ p["attention"]["memory"] @ s_H
            α_S = np.exp(e_S) / np.exp(e_S).sum()
            return α_S @ h_SxM, α_S

        s_H = np.tanh(np.asarray(MEMORY.final_BxD[b]) @ p["start"]["weight"] + p["start"]["bias"])
        for t in range(T):
            y_E = np.asarray(EMBEDDED_BxTxE[b, t], np.float64)
            moved_H = y_E @ W["weight"] + W["bias"] + s_H @ U["weight"] + U["bias"]
            if timing == "before":
                c_M, α_S = attend(s_H)
                s_H = np.tanh(moved_H + c_M @ p["context"])
            else:
                s_H = np.tanh(moved_H)
                c_M, α_S = attend(s_H)
            np.testing.assert_allclose(features_BxTxF[b, t], np.concatenate([s_H, c_M, y_E]), atol=1e-5)
            np.testing.assert_allclose(weights_BxTxS[b, t, :length], α_S, atol=1e-5)


def test_readout_is_a_tanh_layer():
    decode, params = built("additive", "before")
    features_BxTxF = random(B, T, H + M + E)
    expected = np.tanh(np.asarray(features_BxTxF) @ np.asarray(params["readout"]["weight"]) + np.asarray(params["readout"]["bias"]))
    np.testing.assert_allclose(decode.readout(params, features_BxTxF), expected, atol=1e-5)


@CELLS
def test_starts(cell):
    """zero; tanh of a projection of the final state; of the reversed direction's state at the first position."""
    sources = {"bridge": MEMORY.final_BxD, "backward": MEMORY.states_BxSxM[:, 0, 3:]}
    for start in ("zero", "bridge", "backward"):
        decode, params = make(attention.build("none", SIZES), start=start, cell=cell)
        _, (carry_BxF, _) = decode.start(params, MEMORY)
        assert carry_BxF.shape == (B, H * (2 if cell == "lstm" else 1))
        if start == "zero":
            assert not carry_BxF.any() and "start" not in params
        else:
            expected = np.tanh(np.asarray(sources[start]) @ np.asarray(params["start"]["weight"]) + np.asarray(params["start"]["bias"]))
            np.testing.assert_allclose(carry_BxF, expected, atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "bridge", "backward"])
def test_without_context_the_memory_is_seen_through_the_start_alone(start):
    decode, params = make(attention.build("none", SIZES), start=start)
    gradient = jax.grad(lambda memory: (decode.unroll(params, memory, EMBEDDED_BxTxE)[0] ** 2).sum(), allow_int=True)(MEMORY)
    assert bool(gradient.final_BxD.any()) == (start == "bridge")
    touched_SxM = gradient.states_BxSxM.any(0)
    expected_SxM = np.zeros((S, M), bool)
    expected_SxM[0, 3:] = start == "backward"
    np.testing.assert_array_equal(touched_SxM, expected_SxM)


def counting(_: Sizes) -> Attention:
    """A mechanism with everything the interface offers: it counts its steps, shows the count as weights, and draws its loss term."""

    def attend(params, prepared, state, query_BxH, keys_B):
        extra_B = jnp.zeros(B) if keys_B is None else jax.vmap(jax.random.uniform)(keys_B)
        return query_BxH[:, :2], jnp.broadcast_to(state[:, None], (B, S)), state + 1, extra_B

    return Attention(lambda key: {}, lambda params, memory, mask: mask, lambda prepared: jnp.zeros(B), attend, 2)


@CELLS
@pytest.mark.parametrize("timing", ["before", "after"])
def test_state_keys_and_sums_are_threaded_through(cell, timing):
    decode, params = make(counting(SIZES), timing=timing, cell=cell)
    keys_BxT = jax.random.split(jax.random.key(3), (B, T))
    unrolled = decode.unroll(params, MEMORY, EMBEDDED_BxTxE, keys_BxT)
    assert_close(unrolled, steps(decode, params, keys_BxT))
    features_BxTxF, weights_BxTxS, extra_BxT = unrolled
    np.testing.assert_array_equal(weights_BxTxS, jnp.broadcast_to(jnp.arange(T)[None, :, None], (B, T, S)))
    np.testing.assert_array_equal(extra_BxT, jax.vmap(jax.vmap(jax.random.uniform))(keys_BxT))
    _, (carry_BxF, _) = decode.start(params, MEMORY)
    h_BxTxH = features_BxTxF[:, :, :H]
    asked_BxTxH = h_BxTxH if timing == "after" else jnp.concatenate([carry_BxF[:, None, :H], h_BxTxH[:, :-1]], axis=1)
    np.testing.assert_allclose(features_BxTxF[:, :, H : H + 2], asked_BxTxH[:, :, :2], atol=1e-6)
