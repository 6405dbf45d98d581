"""The decoder against loops by hand; its start, its timing, its causality, and what it threads through for a mechanism."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.model import decoder
from attention_jax.system.errors import ConfigError
from attention_jax.types import Attention, DrawTerms, Memory

B, S, T, E, H, M, D = 3, 5, 4, 4, 6, 6, 7
LENGTHS = (5, 3, 0)
SIZES = Sizes(memory=M, query=H, score=5, directions=("forward", "reversed"))
CONFIG = ModelConfig(hidden_size=3, decoder_size=H, embedding_size=E)  # encoder: two directions of 3
VARIANTS = {
    "before": {"timing": "before"},
    "after": {"timing": "after"},
    "between": {"timing": "between"},
    "feeding": {"timing": "after", "feeding": True},
    "deep": {"timing": "before", "decoder_layers": 2, "residual": True},
    "deep after": {"timing": "after", "decoder_layers": 3, "residual": True},
    "gnmt": {"timing": "before", "decoder": "gnmt", "decoder_layers": 2},
    "gnmt after": {"timing": "after", "decoder": "gnmt", "decoder_layers": 2},
}
EVERY = pytest.mark.parametrize(
    "name, variant",
    [(name, "after") for name in attention.TABLE] + [(name, v) for name in ("none", "additive") for v in VARIANTS if v != "after"],
)
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
def mechanism(name: str) -> Attention:
    return attention.build(ModelConfig(attention=name), SIZES)


@cache
def built(name: str, variant: str):
    return make(mechanism(name), **VARIANTS[variant])


def unroll(decode, params, memory=MEMORY, embedded_BxTxE=EMBEDDED_BxTxE, keys_BxT=None):
    """Steps from the start."""
    return decode.unroll(params, *decode.start(params, memory), embedded_BxTxE, keys_BxT)


@cache
def unrolled(name: str, variant: str):
    """(Steps, their gradient by the inputs)."""
    decode, params = built(name, variant)
    outputs, backward = jax.vjp(jax.jit(lambda embedded_BxTxE: unroll(decode, params, embedded_BxTxE=embedded_BxTxE)), EMBEDDED_BxTxE)
    return outputs, jax.jit(backward)


def steps(decode, params, keys_BxT=None):
    """T single steps, stacked along T as `unroll` would."""
    prepared, state = decode.start(params, MEMORY)
    outputs, step = [], jax.jit(decode.step)
    for t in range(T):
        state, output = step(params, prepared, state, EMBEDDED_BxTxE[:, t], None if keys_BxT is None else keys_BxT[:, t])
        outputs.append(output)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *outputs)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@EVERY
def test_unroll_is_repeated_steps(name, variant):
    assert_close(unrolled(name, variant)[0], steps(*built(name, variant)))


@EVERY
def test_no_position_sees_a_later_input(name, variant):
    made, backward = unrolled(name, variant)
    zeros, seen = jax.tree.map(jnp.zeros_like, made), []
    for t in range(T):

        def here(zeros, t=t):
            return zeros.at[:, t].set(random(*zeros[:, t].shape, seed=t))

        (gradient_BxTxE,) = backward(zeros._replace(h=here(zeros.h), weights=here(zeros.weights)))
        seen.append(np.asarray(jnp.abs(gradient_BxTxE).max((0, 2)) > 0))
    np.testing.assert_array_equal(seen, np.tri(T, dtype=bool))


@pytest.mark.parametrize("timing", ["before", "after", "between"])
def test_timing_is_the_order_of_looking_and_moving(timing, evidence):
    """Elman cells, `general` score, one example at a time, in numpy."""
    decode, params = make(mechanism("general"), timing=timing, cell="rnn", start="bridge")
    h_BxTxH, _, context_BxTxC, weights_BxTxS, *_ = unroll(decode, params)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def move(cell, h_H, x_I):
        W, U = p[cell]["input"], p[cell]["recurrent"]["hidden"]
        return x_I @ W["weight"] + W["bias"] + h_H @ U["weight"] + U["bias"]

    for b, length in enumerate(LENGTHS):
        h_SxM = np.asarray(MEMORY.states_BxSxM[b, :length], np.float64)

        def attend(s_H, h_SxM=h_SxM):
            if not len(h_SxM):
                return np.zeros(M), np.zeros(0)
            e_S = h_SxM @ p["attention"]["score"]["memory"] @ s_H
            α_S = np.exp(e_S) / np.exp(e_S).sum()
            return α_S @ h_SxM, α_S

        s_H = np.tanh(np.asarray(MEMORY.final_BxD[b]) @ p["start"]["weight"] + p["start"]["bias"])
        for t in range(T):
            y_E = np.asarray(EMBEDDED_BxTxE[b, t], np.float64)
            if timing == "before":
                c_M, α_S = attend(s_H)
                s_H = np.tanh(move("cell", s_H, y_E) + c_M @ p["context"])
            else:
                s_H = np.tanh(move("cell", s_H, y_E))
                c_M, α_S = attend(s_H)
                if timing == "between":
                    s_H = np.tanh(move("second", s_H, c_M))
            evidence(f"timing={timing}", "its equations, a loop in numpy", h_BxTxH[b, t], s_H)
            evidence(f"timing={timing}", "its equations, a loop in numpy", context_BxTxC[b, t], c_M)
            evidence(f"timing={timing}", "its equations, a loop in numpy", weights_BxTxS[b, t, :length], α_S)


@pytest.mark.parametrize("timing", ["before", "after"])
def test_layers_and_feeding_in_numpy(timing, evidence):
    """Two Elman layers, input feeding; decoder=stacked, with a residual connection, and gnmt, whose residual ones start at the third."""
    for kind in ("stacked", "gnmt"):
        decode, params = make(
            mechanism("general"), timing=timing, cell="rnn", start="bridge", decoder=kind, decoder_layers=2, residual=True, feeding=True
        )
        h_BxTxH, _, context_BxTxC, weights_BxTxS, *_ = unroll(decode, params)
        p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        h_SxM = np.asarray(MEMORY.states_BxSxM[0], np.float64)

        def attend(s_H, p=p, h_SxM=h_SxM):
            e_S = np.exp(h_SxM @ p["attention"]["score"]["memory"] @ s_H)
            return e_S / e_S.sum() @ h_SxM

        def move(cell, h_H, x_I):
            W, U = cell["input"], cell["recurrent"]["hidden"]
            return x_I @ W["weight"] + W["bias"] + h_H @ U["weight"] + U["bias"]

        low_H, high_H = np.split(np.tanh(np.asarray(MEMORY.final_BxD[0]) @ p["start"]["weight"] + p["start"]["bias"]), 2)
        fed_H, upper = np.zeros(H), p["upper"]["layer1"]
        for t in range(T):
            y_E = np.asarray(EMBEDDED_BxTxE[0, t], np.float64)
            moved_H = move(p["cell"], low_H, y_E) + fed_H @ p["feed"]
            if timing == "before":
                c_M = attend(low_H if kind == "gnmt" else high_H)
                moved_H = moved_H + c_M @ p["context"]
            low_H = np.tanh(moved_H)
            if timing == "after" and kind == "gnmt":
                c_M = attend(low_H)
            high_H = np.tanh(move(upper, high_H, np.concatenate([low_H, c_M]) if kind == "gnmt" else low_H))
            top_H = high_H + (low_H if kind == "stacked" else 0)
            if timing == "after" and kind == "stacked":
                c_M = attend(top_H)
            fed_H = np.tanh(np.concatenate([top_H, c_M, y_E]) @ p["readout"]["weight"] + p["readout"]["bias"])
            evidence(f"decoder={kind}", f"its equations with input feeding, timing={timing}, a loop in numpy", h_BxTxH[0, t], top_H)
            evidence(f"decoder={kind}", f"its equations with input feeding, timing={timing}, a loop in numpy", context_BxTxC[0, t], c_M)


@pytest.mark.parametrize("kind, first", [("stacked", 1), ("gnmt", 2)])
def test_residual_connections_start_where_the_papers_have_them(kind, first, evidence):
    """Four Elman layers, one example, a plain loop: GNMT's start at the third layer from the bottom (Wu 2016, §3.1; tensorflow/nmt)."""
    L = 4
    decode, params = make(mechanism("summary"), timing="before", cell="rnn", start="zero", decoder=kind, decoder_layers=L, residual=True)
    h_BxTxH = unroll(decode, params)[0]
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    c_M = np.concatenate([MEMORY.states_BxSxM[0, -1, :3], MEMORY.states_BxSxM[0, 0, 3:]]).astype(np.float64)
    s = np.zeros((L, H))
    for t in range(T):
        x_I = np.asarray(EMBEDDED_BxTxE[0, t], np.float64)
        for layer in range(L):
            cell = p["upper"][f"layer{layer}"] if layer else p["cell"]
            seen_I = np.concatenate([x_I, c_M]) if layer and kind == "gnmt" else x_I
            a_H = seen_I @ cell["input"]["weight"] + cell["input"]["bias"]
            a_H = a_H + s[layer] @ cell["recurrent"]["hidden"]["weight"] + cell["recurrent"]["hidden"]["bias"]
            s[layer] = np.tanh(a_H if layer else a_H + c_M @ p["context"])
            x_I = s[layer] + x_I if layer >= first else s[layer]
        evidence(f"decoder={kind}", "four layers of Elman's cell with residual connections, a loop in numpy", h_BxTxH[0, t], x_I)


@CELLS
def test_starts(cell):
    """zero; tanh of a projection of the final state; of the reversed direction's state at the first position."""
    sources = {"bridge": MEMORY.final_BxD, "backward": MEMORY.states_BxSxM[:, 0, 3:]}
    for start in ("zero", "bridge", "backward"):
        decode, params = make(mechanism("none"), start=start, cell=cell, decoder_layers=2)
        _, (carries, _, _) = decode.start(params, MEMORY)
        carry_BxLF = jnp.concatenate(carries, axis=1)
        assert carry_BxLF.shape == (B, 2 * H * (2 if cell == "lstm" else 1))
        if start == "zero":
            assert not carry_BxLF.any() and "start" not in params
        else:
            expected = np.tanh(np.asarray(sources[start]) @ np.asarray(params["start"]["weight"]) + np.asarray(params["start"]["bias"]))
            np.testing.assert_allclose(carry_BxLF, expected, atol=1e-6)


def test_a_backward_start_reads_the_first_real_position():
    decode, params = make(mechanism("none"), start="backward")
    mask_BxS = np.array([[c == "#" for c in row] for row in ("..##.", "#.#..", ".....")])
    states_BxSxM = random(B, S, M, seed=1)
    (carry_BxH,), *_ = decode.start(params, Memory(states_BxSxM, mask_BxS, None))[1]
    read_BxH = np.stack([states_BxSxM[0, 2, 3:], states_BxSxM[1, 0, 3:], np.zeros(3)])
    expected_BxH = np.tanh(read_BxH @ np.asarray(params["start"]["weight"]) + np.asarray(params["start"]["bias"]))
    np.testing.assert_allclose(carry_BxH, expected_BxH, atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "bridge", "backward"])
def test_without_context_the_memory_is_seen_through_the_start_alone(start):
    decode, params = make(mechanism("none"), start=start)
    gradient = jax.grad(lambda memory: (unroll(decode, params, memory)[0] ** 2).sum(), allow_int=True)(MEMORY)
    assert bool(gradient.final_BxD.any()) == (start == "bridge")
    touched_SxM = gradient.states_BxSxM.any(0)
    expected_SxM = np.zeros((S, M), bool)
    expected_SxM[0, 3:] = start == "backward"
    np.testing.assert_array_equal(touched_SxM, expected_SxM)


def counting() -> Attention:
    """A mechanism with everything the interface offers: it counts its steps, shows the count as weights, and draws its terms."""

    def attend(params, prepared, state, query_BxH, keys_B):
        drawn_B = jnp.zeros(B) if keys_B is None else jax.vmap(jax.random.uniform)(keys_B)
        return query_BxH[:, :2], jnp.broadcast_to(state[:, None], (B, S)), state + 1, DrawTerms(drawn_B, drawn_B, drawn_B)

    def initial(prepared, keys_B=None):
        return jnp.zeros(B)

    return Attention(lambda key: {}, lambda params, memory, mask: mask, initial, attend, 2, predict=None)


@CELLS
@pytest.mark.parametrize("timing", ["before", "after", "between"])
def test_state_keys_and_terms_are_threaded_through(cell, timing):
    decode, params = make(counting(), timing=timing, cell=cell)
    keys_BxT = jax.random.split(jax.random.key(3), (B, T))
    unrolled = unroll(decode, params, keys_BxT=keys_BxT)
    assert_close(unrolled, steps(decode, params, keys_BxT))
    h_BxTxH, query_BxTxH, context_BxTxC, weights_BxTxS, terms, _ = unrolled
    np.testing.assert_array_equal(weights_BxTxS, np.broadcast_to(jnp.arange(T)[None, :, None], (B, T, S)))
    np.testing.assert_array_equal(terms.log_draw, jax.vmap(jax.vmap(jax.random.uniform))(keys_BxT))
    _, ((carry_BxF,), _, _) = decode.start(params, MEMORY)
    if timing != "between":
        asked_BxTxH = h_BxTxH if timing == "after" else jnp.concatenate([carry_BxF[:, None, :H], h_BxTxH[:, :-1]], axis=1)
        np.testing.assert_allclose(query_BxTxH, asked_BxTxH, atol=1e-6)
    np.testing.assert_allclose(context_BxTxC, query_BxTxH[:, :, :2], atol=1e-6)


@CELLS
def test_a_cell_of_its_own_is_that_cell_of_the_whole_model(cell):
    """`decoder_cell` over an encoder of another cell, against `cell`: the same parameters, the same states."""
    (ours, params), (theirs, same) = (make(mechanism("additive"), **settings) for settings in ({"decoder_cell": cell}, {"cell": cell}))
    jax.tree.map(np.testing.assert_array_equal, params, same)
    states = [decode.unroll(params, *decode.start(params, MEMORY), EMBEDDED_BxTxE).h for decode in (ours, theirs)]
    np.testing.assert_array_equal(*states)
    with pytest.raises(ConfigError, match=r"model\.decoder_cell='gruu'.*did you mean 'gru'"):
        make(mechanism("additive"), decoder_cell="gruu")
