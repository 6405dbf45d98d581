"""Attention layers of others with weights copied: outputs against the formulas of their manuals in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention
from attention_jax.adapters.attention_weights import from_keras, from_tutorial
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.parameters import to_flax
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError, DataError

B, S, T, M, H, A = 2, 5, 3, 6, 4, 7
MASK_BxS = np.arange(S)[None, :] < np.array([[5], [3]])


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


QUERY_BxTxM, MEMORY_BxSxM, QUERY_BxTxH = random(B, T, M, seed=1), random(B, S, M, seed=2), random(B, T, H, seed=3)


def attended(scores_BxTxS, values_BxSxC):
    """(context, weights) of scores, by a softmax over real places in float64."""
    e = np.where(MASK_BxS[:, None], np.exp(scores_BxTxS), 0)
    weights = e / e.sum(2, keepdims=True)
    return np.einsum("bts,bsc->btc", weights, values_BxSxC), weights


def pairs(query, key):
    """Every query beside every key, in float64."""
    return query[:, :, None].astype(np.float64), key[:, None].astype(np.float64)


def keras_formula(layer: str, weights: list, mode: str):
    """The layer as Keras's manual has it."""
    q, k = pairs(QUERY_BxTxM, MEMORY_BxSxM)
    if layer == "AdditiveAttention":
        return attended(((weights[0] if weights else 1) * np.tanh(q + k)).sum(3), MEMORY_BxSxM)
    if mode == "concat":
        return attended(weights[-1] * np.tanh((weights[0] if len(weights) == 2 else 1) * (q + k)).sum(3), MEMORY_BxSxM)
    return attended((weights[0] if weights else 1) * (q * k).sum(3), MEMORY_BxSxM)


def ours(settings, params, query, sizes: Sizes):
    """(contexts, weights) of the functions; the module says the same."""
    mechanism = attention.build(ModelConfig(**settings), sizes)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(mechanism.init, jax.random.key(0)))
    prepared = mechanism.prepare(params, MEMORY_BxSxM, MASK_BxS)
    found = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), query)
    module = Attention(**settings).apply({"params": to_flax(params)}, query, MEMORY_BxSxM, MASK_BxS)
    np.testing.assert_allclose(module[0], found.context_BxTxC, rtol=1e-5, atol=1e-6)
    return found.context_BxTxC, found.weights_BxTxS


KERAS = {
    "Attention": ("Attention", [], "dot", "dot"),
    "Attention, scaled": ("Attention", [np.float32(-0.3)], "dot", "general"),
    "Attention, concat": ("Attention", [np.float32(1.3)], "concat", "additive"),
    "Attention, concat, scaled": ("Attention", [np.float32(0.7), np.float32(1.3)], "concat", "additive"),
    "AdditiveAttention": ("AdditiveAttention", [random(M, seed=4)], "dot", "additive"),
    "AdditiveAttention, plain": ("AdditiveAttention", [], "dot", "additive"),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(name, evidence):
    layer, weights, mode, row = KERAS[name]
    settings, params = from_keras(layer, weights, M, mode)
    assert settings == {"attention": row}
    expected = keras_formula(layer, [np.asarray(w, np.float64) for w in weights], mode)
    for mine, theirs in zip(ours(settings, params, QUERY_BxTxM, Sizes(M, M, M)), expected, strict=True):
        evidence(f"attention={row}", f"formula of Keras's manual in float64, weights converted: {name}", mine, theirs)


@pytest.mark.parametrize("name", KERAS)
def test_the_mode_of_keras_is_asked_for_where_weights_fit_both(name):
    layer, weights, mode, row = KERAS[name]
    if layer == "Attention" and len(weights) == 1:
        with pytest.raises(ConfigError, match=r"one weight is dot with use_scale=True or concat without: .*score_mode='dot' or 'concat'"):
            from_keras(layer, weights, M)
    else:
        settings, params = from_keras(layer, weights, M)
        given, expected = from_keras(layer, weights, M, mode)
        assert settings == given == {"attention": row}
        jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.parametrize("biases", [False, True])
def test_keras_heads(biases, evidence):
    N, d = 2, M // 2
    query, key, output = random(M, N, d, seed=5), random(M, N, d, seed=6), random(N, d, M, seed=7)
    weights = [query, key, key, output]
    if biases:
        zeros = [np.zeros((N, d), np.float32)] * 3 + [np.zeros(M, np.float32)]
        weights = [array for pair in zip(weights, zeros, strict=True) for array in pair]
    settings, params = from_keras("MultiHeadAttention", weights, M)
    assert settings == {"attention": "scaled_dot", "heads": N}
    q, k = (np.einsum("btm,mnd->bntd", x.astype(np.float64), kernel) for x, kernel in ((QUERY_BxTxM, query), (MEMORY_BxSxM, key)))
    looks = [attended(q[:, n] @ k[:, n].swapaxes(1, 2) / d**0.5, k[:, n]) for n in range(N)]
    context = sum(look[0] @ output[n] for n, look in enumerate(looks))
    mine = ours(settings, params, QUERY_BxTxM, Sizes(M, M, M))
    reference = "formula of Keras's MultiHeadAttention in float64, weights converted"
    evidence("heads=N", reference, mine[0], context)
    evidence("heads=N", reference, mine[1], np.mean([look[1] for look in looks], axis=0))


def tutorial(**changes) -> dict:
    """A state dict of the tutorial's three layers, in a decoder's."""
    shapes = {"Wa.weight": (A, H), "Wa.bias": (A,), "Ua.weight": (A, M), "Ua.bias": (A,), "Va.weight": (1, A), "Va.bias": (1,)}
    weights = {f"attention.{name}": random(*shape, seed=10 + i) for i, (name, shape) in enumerate(shapes.items())}
    return {name: array for name, array in (weights | {"out.weight": random(3, 3)} | changes).items() if array is not None}


def test_the_tutorial(evidence):
    weights = tutorial()
    settings, params = from_tutorial(weights, "attention.")
    assert settings == {"attention": "weight_normalised", "attention_size": A}
    w = {name.removeprefix("attention."): array.astype(np.float64) for name, array in weights.items()}
    q, k = pairs(QUERY_BxTxH, MEMORY_BxSxM)
    hidden = np.tanh(q @ w["Wa.weight"].T + w["Wa.bias"] + k @ w["Ua.weight"].T + w["Ua.bias"])
    expected = attended((hidden @ w["Va.weight"].T + w["Va.bias"])[..., 0], MEMORY_BxSxM)
    for mine, theirs in zip(ours(settings, params, QUERY_BxTxH, Sizes(M, H, A)), expected, strict=True):
        evidence("attention=weight_normalised", "formula of PyTorch's seq2seq tutorial in float64, weights converted", mine, theirs)


WRONG_KERAS = {
    r"layer='Atention' is unknown \(did you mean 'Attention'\?\); valid: Attention, AdditiveAttention, MultiHeadAttention": (
        "Atention",
        [],
    ),
    r"keras\.layers\.Attention of size 6 has weights of shapes none or \[\(\)\], and these are \[\(6,\)\]": ("Attention", [np.ones(6)]),
    r"keras\.layers\.AdditiveAttention of size 6 has weights of shapes none or \[\(6,\)\], and these are \[\(5,\)\]": (
        "AdditiveAttention",
        [np.ones(5)],
    ),
    r"of size 6 has weights of shapes \[\(6, 2, 3\), \(6, 2, 3\), \(6, 2, 3\), \(2, 3, 6\)\], and these are \[\(6, 2, 4\)": (
        "MultiHeadAttention",
        [np.ones((6, 2, 4))] * 4,
    ),
    "projects keys and values apart": ("MultiHeadAttention", [random(6, 2, 3, seed=i) for i in range(3)] + [random(2, 3, 6)]),
    "the key bias of MultiHeadAttention is not 0": (
        "MultiHeadAttention",
        [array for i in range(3) for array in (np.ones((6, 2, 3)), np.ones((2, 3)) * (i == 1))] + [np.ones((2, 3, 6)), np.zeros(6)],
    ),
    "MultiHeadAttention of one head has projections": ("MultiHeadAttention", [np.ones((6, 1, 6))] * 3 + [np.ones((1, 6, 6))]),
}


@pytest.mark.parametrize("said", WRONG_KERAS)
def test_what_keras_weights_cannot_be(said):
    layer, weights = WRONG_KERAS[said]
    with pytest.raises((ConfigError, DataError), match=said) as error:
        from_keras(layer, [np.asarray(w, np.float32) for w in weights], M)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention.Wa.weight": None}, "the state dict has no matrix attention.Wa.weight; it has attention.Wa.bias, attention.Ua.weight"),
        ({"attention.Va.bias": None}, "the tutorial's BahdanauAttention has Wa.weight, Wa.bias, .*; missing or left over: Va.bias"),
        ({"attention.Xa.bias": np.ones(2)}, "missing or left over: Xa.bias"),
        (
            {"attention.Va.weight": np.ones((2, A), np.float32)},
            r"attention.Va.weight is of shape \(2, 7\), and with Wa of \(7, 4\) and Ua of \(7, 6\) it must be \(1, 7\)",
        ),
        ({"attention.Ua.bias": np.ones(A)}, "attention.Ua.bias is float64, which JAX would round to float32"),
    ],
)
def test_what_the_tutorial_s_weights_cannot_be(changes, said):
    with pytest.raises(DataError, match=said) as error, jax.enable_x64(False):
        from_tutorial(tutorial(**changes), "attention.")
    assert "\n" not in str(error.value)
