"""Scores without a past: each published formula against a literal float64 loop, and what each row promises."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import attention
from attention_jax.attention import mechanism, scores
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError
from tests.attention import inputs

B, T, S, M, H, A, L = 3, 3, 5, 6, 4, 7, 4
MASK_BxS = np.arange(S)[None, :] < np.array((5, 3, 0))[:, None]
EQUAL = ("dot", "scaled_dot")  # rows that need M = H


def norm(x):
    return np.sqrt(sum(x_i * x_i for x_i in x))


def additive(p, q, h, j):
    return sum(p["v"][a, 0] * np.tanh(q @ p["query"][:, a] + h @ p["memory"][:, a]) for a in range(A))


def weight_normalised(p, q, h, j):
    v = p["v"][:, 0]
    return sum(p["gain"] * v[a] / norm(v) * np.tanh(q @ p["query"][:, a] + h @ p["memory"][:, a] + p["bias"][a]) for a in range(A))


def concat(p, q, h, j):
    return p["v"][:, 0] @ np.tanh(np.concatenate((q, h)) @ p["query_and_memory"])


def cosine(p, q, h, j):
    asked = q @ p["query"]
    return np.sqrt(M) * np.log1p(np.exp(p["sharpness"])) * sum(asked[m] * h[m] for m in range(M)) / (norm(asked) * norm(h))


FORMULAS = {
    "additive": additive,
    "weight_normalised": weight_normalised,
    "concat": concat,
    "dot": lambda p, q, h, j: sum(q[m] * h[m] for m in range(M)),
    "scaled_dot": lambda p, q, h, j: sum(q[m] * h[m] for m in range(M)) / np.sqrt(M),
    "cosine": cosine,
    "location": lambda p, q, h, j: q @ p["places"][:, j] if j < L else -np.inf,
}
"""score(params, query, memory vector, place) of each row, as published; other rows bring their own."""


def width(name: str) -> int:
    """H: that of the query, for a row."""
    return M if name in EQUAL else H


for _name, _new in attention.SCORES.items():
    if own := _new(ModelConfig(attention=_name), Sizes(M, width(_name), A)).formula:
        FORMULAS[_name] = own

SOURCES = {
    "additive": "Bahdanau 2015, appendix A.1.2",
    "weight_normalised": "Salimans & Kingma 2016, eq. 2, in Bahdanau 2015, appendix A.1.2",
    "concat": "Luong 2015, §3.1",
    "dot": "Luong 2015, §3.1",
    "scaled_dot": "Vaswani 2017, eq. 1",
    "general": "Luong 2015, §3.1",
    "cosine": "Graves 2014 (Neural Turing Machines), eq. 5 and 6",
    "location": "Luong 2015, §3.1",
}
SOURCES |= {name: attention.SCORES[name].__doc__.splitlines()[0] for name in FORMULAS.keys() - SOURCES.keys()}
ROWS = pytest.mark.parametrize("name", FORMULAS)


@cache
def row(name: str):
    """(the mechanism, its parameters' shapes, jitted: a block of looks, jitted: the same looks one by one)."""
    built = attention.build(ModelConfig(attention=name, location_size=L), Sizes(M, width(name), A))

    def block(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.asarray(MASK_BxS))
        return built.block(params, prepared, built.initial(prepared), query_BxTxH)

    def steps(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.asarray(MASK_BxS))
        return mechanism.look_at_all(built._replace(block=None), params, prepared, built.initial(prepared), query_BxTxH)

    return built, jax.eval_shape(built.init, jax.random.key(0)), jax.jit(block), jax.jit(steps)


def drawn(name: str, seed: int, scale: float):
    """(params, memory_BxSxM, query_BxTxH) of normal numbers, biases and gains among them."""
    return inputs.drawn((B, S, M), (B, T, width(name)), row(name)[1], seed, scale)


def softmax(e):
    exp = np.exp(e - e.max())
    return exp / exp.sum()


VALUES = given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from((0.3, 1.0, 2.0)))


@ROWS
@VALUES
def test_formula(name, seed, scale, evidence):
    params, memory_BxSxM, query_BxTxH = drawn(name, seed, scale)
    looks = row(name)[2](params, memory_BxSxM, query_BxTxH)
    p, memory, query = jax.tree.map(lambda x: np.asarray(x, np.float64), (params["score"], memory_BxSxM, query_BxTxH))
    weights_BxTxS, context_BxTxM = np.zeros((B, T, S)), np.zeros((B, T, M))
    for b in range(B):
        n = MASK_BxS[b].sum()
        for t in range(T if n else 0):
            weights_BxTxS[b, t, :n] = softmax(np.array([FORMULAS[name](p, query[b, t], memory[b, j], j) for j in range(n)]))
            context_BxTxM[b, t] = sum(weights_BxTxS[b, t, j] * memory[b, j] for j in range(n))
    evidence(f"attention={name}", f"float64 loop of {SOURCES[name]}: weights", looks.weights_BxTxS, weights_BxTxS, rtol=1e-4, atol=2e-5)
    evidence(f"attention={name}", f"float64 loop of {SOURCES[name]}: context", looks.context_BxTxC, context_BxTxM, rtol=1e-4, atol=1e-4)


@ROWS
@VALUES
def test_a_block_is_as_many_looks(name, seed, scale):
    arguments = drawn(name, seed, scale)
    block, steps = (looks(*arguments) for looks in row(name)[2:])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5), block, steps)


@VALUES
def test_scaled_dot_is_that_of_jax(seed, scale, evidence):
    params, memory_BxSxM, query_BxTxM = drawn("scaled_dot", seed, scale)
    context_BxTxM = row("scaled_dot")[2](params, memory_BxSxM, query_BxTxM).context_BxTxC
    real, memory_BxSx1xM = slice(0, 2), memory_BxSxM[:, :, None]  # the third source is empty, where the other has no answer
    theirs = jax.nn.dot_product_attention(
        query_BxTxM[real, :, None], memory_BxSx1xM[real], memory_BxSx1xM[real], mask=jnp.asarray(MASK_BxS)[real, None, None, :]
    )
    evidence("attention=scaled_dot", "jax.nn.dot_product_attention", context_BxTxM[real], theirs[:, :, 0], rtol=1e-4, atol=1e-4)


@VALUES
def test_concat_is_additive_with_its_matrices_stacked(seed, scale, evidence):
    params, *given = drawn("additive", seed, scale)
    both = jnp.concatenate((params["score"]["query"], params["score"]["memory"]))
    stacked = params | {"score": {"query_and_memory": both, "v": params["score"]["v"]}}
    ours, theirs = row("concat")[2](stacked, *given).weights_BxTxS, row("additive")[2](params, *given).weights_BxTxS
    evidence("attention=concat", "attention=additive with W = [W_q; W_h]", ours, theirs)


@VALUES
def test_weight_normalised_does_not_see_the_length_of_v(seed, scale):
    params, *given = drawn("weight_normalised", seed, scale)
    longer = params | {"score": params["score"] | {"v": 37 * params["score"]["v"]}}
    looks = row("weight_normalised")[2]
    np.testing.assert_allclose(looks(longer, *given).weights_BxTxS, looks(params, *given).weights_BxTxS, rtol=1e-4, atol=1e-5)


@VALUES
def test_weight_normalised_is_additive_where_g_is_the_length_of_v(seed, scale, evidence):
    params, *given = drawn("additive", seed, scale)
    p = params["score"]
    normalised = params | {"score": p | {"gain": jnp.linalg.norm(p["v"]), "bias": jnp.zeros(A)}}
    ours, theirs = row("weight_normalised")[2](normalised, *given), row("additive")[2](params, *given)
    evidence("attention=weight_normalised", "attention=additive with b = 0, g = ‖v‖", ours.weights_BxTxS, theirs.weights_BxTxS)


def test_weight_normalised_starts_as_in_tensorflow_nmt():
    params = row("weight_normalised")[0].init(jax.random.key(1))["score"]
    np.testing.assert_allclose(params["gain"], A**-0.5, rtol=1e-6)
    assert not params["bias"].any()


@VALUES
def test_cosine_sees_directions_only(seed, scale):
    params, memory_BxSxM, query_BxTxH = drawn("cosine", seed, scale)
    looks = row("cosine")[2]
    longer = looks(params, 50 * memory_BxSxM, 1000 * query_BxTxH)
    np.testing.assert_allclose(longer.weights_BxTxS, looks(params, memory_BxSxM, query_BxTxH).weights_BxTxS, rtol=1e-4, atol=1e-5)


def test_cosine_by_hand():
    """q = (1, 0) with W = 1 against (3, 0), (0, 5), (-2, 0), (1, 1): β times 1, 0, -1, 1/√2, where β = √2 log 2."""
    score = scores.cosine(ModelConfig(), Sizes(2, 2, 1))
    params = {"query": jnp.eye(2), "sharpness": jnp.zeros(())}
    keys = score.project(params, jnp.array([[[3.0, 0.0], [0.0, 5.0], [-2.0, 0.0], [1.0, 1.0]]]), jnp.ones((1, 4), bool))
    e_S = score.score(params, keys, (), jnp.array([[[1.0, 0.0]]]))[0, 0]
    np.testing.assert_allclose(e_S, 2**0.5 * np.log(2) * np.array([1, 0, -1, 0.5**0.5]), rtol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "weight_normalised"])
def test_vectors_of_length_zero(name):
    """Nothing is divided by zero: finite values and gradients where memory, query and parameters are all zeros."""
    zeros = jax.tree.map(jnp.zeros_like, drawn(name, 0, 1.0))
    looks = row(name)[2]
    value, gradients = jax.value_and_grad(lambda given: (looks(*given).context_BxTxC + looks(*given).weights_BxTxS[..., :1]).sum())(zeros)
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), (value, gradients)))


@VALUES
def test_location_ends(seed, scale):
    """Weights are exactly 0 from location_size on, and a shorter source uses the same columns."""
    params, memory_BxSxM, query_BxTxH = drawn("location", seed, scale)
    weights_BxTxS = row("location")[2](params, memory_BxSxM, query_BxTxH).weights_BxTxS
    assert (weights_BxTxS[0, :, :L] > 0).all() and not weights_BxTxS[:, :, L:].any()
    e_TxS = np.asarray(query_BxTxH[1] @ params["score"]["places"][:, :3], np.float64)
    np.testing.assert_allclose(weights_BxTxS[1, :, :3], np.stack([softmax(e) for e in e_TxS]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EQUAL)
def test_inner_products_need_equal_widths(name):
    with pytest.raises(ConfigError, match=f"attention={name} needs .* M=6 and H=4: set model.decoder_size=6, or use attention=general"):
        attention.build(ModelConfig(attention=name), Sizes(M, H, A))


def test_every_row_is_checked_here_or_with_the_histories():
    stateful = {name for name, new in attention.SCORES.items() if new(ModelConfig(attention=name), Sizes(M, M, A)).initial}
    assert set(FORMULAS) | stateful == set(attention.SCORES)
