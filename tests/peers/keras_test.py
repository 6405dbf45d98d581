"""Keras 3 layers on the JAX backend with the same weights.

Its `activations.sparsemax` is no reference: in 3.15.1 the outputs do not sum to 1, because all cumulated sums are added up.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, encoders
from attention_jax.adapters.attention_weights import from_keras
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig

keras = pytest.importorskip("keras", reason="Keras is not installed: make test-peers")

B, S, T, M, E, H = 3, 5, 2, 6, 4, 3
LENGTHS = (5, 2, 1)
MASK_BxS = np.arange(S) < np.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


QUERY_BxTxM, MEMORY_BxSxM, V_M = random(B, T, M, seed=1), random(B, S, M, seed=2), random(M, seed=3)


@pytest.fixture(autouse=True)
def lenient_ranks():
    """Keras adds arrays of different rank."""
    with jax.numpy_rank_promotion("allow"):
        yield


def ours(score_params: dict, **changes):
    """(contexts, weights) of T looks; parameters other than the score's are zero, heads' are `score_params` whole."""
    mechanism = attention.build(ModelConfig(**changes), Sizes(memory=M, query=M, score=M))
    shapes = jax.eval_shape(mechanism.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    params |= score_params if "heads" in changes else {"score": score_params}
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    prepared = mechanism.prepare(params, jnp.asarray(MEMORY_BxSxM), jnp.asarray(MASK_BxS))
    looks = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), jnp.asarray(QUERY_BxTxM))
    return looks.context_BxTxC, looks.weights_BxTxS


def weights_of(layer) -> list:
    """What `layer.get_weights()` returns; that warns of NumPy 2."""
    return [np.asarray(weight.value) for weight in layer.weights]


def asked(layer):
    return layer([QUERY_BxTxM, MEMORY_BxSxM], mask=[None, MASK_BxS], return_attention_scores=True)


def compare(evidence, row: str, name: str, mine, theirs):
    for kind, ours_, theirs_ in zip(("outputs", "weights"), mine, theirs, strict=True):
        evidence(row, f"Keras {keras.__version__} {name}: {kind}", ours_, np.asarray(theirs_), atol=2e-6)


def test_dot_attention(evidence):
    layer = keras.layers.Attention()
    compare(evidence, "attention=dot", "Attention(dot)", ours({}, attention="dot"), asked(layer))


def test_scaled_dot_attention(evidence):
    layer = keras.layers.Attention(use_scale=True)
    layer.build([QUERY_BxTxM.shape, MEMORY_BxSxM.shape])
    layer.scale.assign(M**-0.5)
    compare(evidence, "attention=scaled_dot", "Attention(dot, scale)", ours({}, attention="scaled_dot"), asked(layer))


def test_concat_attention(evidence):
    layer = keras.layers.Attention(use_scale=True, score_mode="concat")
    layer.build([QUERY_BxTxM.shape, MEMORY_BxSxM.shape])
    layer.scale.assign(0.7)
    layer.concat_score_weight.assign(1.3)
    I = 0.7 * np.eye(M, dtype=np.float32)
    params = {"query_and_memory": np.concatenate([I, I]), "v": np.full((M, 1), 1.3, np.float32)}
    compare(evidence, "attention=concat", "Attention(concat)", ours(params, attention="concat"), asked(layer))


def test_additive_attention(evidence):
    layer = keras.layers.AdditiveAttention()
    layer.build([QUERY_BxTxM.shape, MEMORY_BxSxM.shape])
    layer.scale.assign(V_M)
    I = np.eye(M, dtype=np.float32)
    params = {"query": I, "memory": I, "v": V_M[:, None]}
    compare(evidence, "attention=additive", "AdditiveAttention", ours(params, attention="additive"), asked(layer))


@pytest.mark.parametrize("heads", [2, 3])
def test_multi_head_attention(heads, evidence):
    """Keras' keys and values are projected apart, ours together: it gets the same matrix twice."""
    layer = keras.layers.MultiHeadAttention(heads, M // heads, use_bias=False)
    layer.build(QUERY_BxTxM.shape, MEMORY_BxSxM.shape)
    query_MxM, memory_MxM, output_MxM = (random(M, M, seed=seed) for seed in (4, 5, 6))
    split = (M, heads, M // heads)
    key_MxNxd = memory_MxM.reshape(split)
    layer.set_weights([query_MxM.reshape(split), key_MxNxd, key_MxNxd, output_MxM.reshape(*split[1:], M)])
    output_BxTxM, weights_BxNxTxS = layer(
        QUERY_BxTxM, MEMORY_BxSxM, attention_mask=np.repeat(MASK_BxS[:, None], T, 1), return_attention_scores=True
    )
    mine = ours({"query": query_MxM, "memory": memory_MxM, "output": output_MxM}, attention="scaled_dot", heads=heads)
    compare(evidence, "heads=N", "MultiHeadAttention", mine, (output_BxTxM, np.asarray(weights_BxNxTxS).mean(1)))


@pytest.mark.parametrize(("use_scale", "score_mode"), [(False, "dot"), (True, "dot"), (False, "concat"), (True, "concat"), (None, "")])
def test_converted_weights(use_scale, score_mode, evidence):
    """`from_keras` reads off the layer all it needs; None stands for AdditiveAttention."""
    additive = use_scale is None
    layer = keras.layers.AdditiveAttention() if additive else keras.layers.Attention(use_scale=use_scale, score_mode=score_mode)
    layer.build([QUERY_BxTxM.shape, MEMORY_BxSxM.shape])
    layer.set_weights([random(*weight.shape, seed=8 + i) for i, weight in enumerate(layer.weights)])
    settings, params = from_keras(type(layer).__name__, weights_of(layer), M, score_mode or "dot")
    name = f"{type(layer).__name__}, weights converted, scale={use_scale} {score_mode}"
    compare(evidence, f"attention={settings['attention']}", name, ours(params["score"], **settings), asked(layer))


@pytest.mark.parametrize("use_bias", [False, True])
def test_converted_heads(use_bias, evidence):
    layer = keras.layers.MultiHeadAttention(2, M // 2, use_bias=use_bias)
    layer.build(QUERY_BxTxM.shape, MEMORY_BxSxM.shape)
    weights = [random(*weight.shape, seed=i) * (weight.ndim == 3) for i, weight in enumerate(weights_of(layer))]
    at = 2 if use_bias else 1
    weights[2 * at] = weights[at]  # values as keys
    layer.set_weights(weights)
    settings, params = from_keras("MultiHeadAttention", weights_of(layer), M)
    output_BxTxM, weights_BxNxTxS = layer(
        QUERY_BxTxM, MEMORY_BxSxM, attention_mask=np.repeat(MASK_BxS[:, None], T, 1), return_attention_scores=True
    )
    theirs = output_BxTxM, np.asarray(weights_BxNxTxS).mean(1)
    compare(evidence, "heads=N", "MultiHeadAttention, weights converted", ours(params, **settings), theirs)


def blocks(array, order: tuple[int, ...]):
    """Gates in another order."""
    parts = np.split(np.asarray(array), len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)


CELLS = {  # our cell: Keras' layer, its settings, where our gates stand among its own
    "rnn": (keras.layers.SimpleRNN, {}, (0,)),
    "lstm": (keras.layers.LSTM, {}, (0, 1, 3, 2)),
    "gru": (keras.layers.GRU, {"reset_after": True}, (1, 0, 2)),
    "gru_before": (keras.layers.GRU, {"reset_after": False}, (1, 0, 2)),
}


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers(cell, evidence):
    make, settings, order = CELLS[cell]
    layer = make(H, return_sequences=True, **settings)
    inputs_BxSxE = random(B, S, E, seed=7)
    layer.build(inputs_BxSxE.shape)
    layer.set_weights([random(*w.shape, seed=seed) * 0.5 for seed, w in enumerate(layer.weights)])
    kernel_ExP, recurrent_HxP, bias = (blocks(w, order) for w in layer.weights)
    bias_P, recurrent_bias_P = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    recurrent = {"hidden": {"weight": recurrent_HxP, "bias": recurrent_bias_P}}
    if cell == "gru_before":
        gates = {"weight": recurrent_HxP[:, : 2 * H], "bias": np.zeros(2 * H, np.float32)}
        recurrent = {"gates": gates, "candidate": {"weight": recurrent_HxP[:, 2 * H :], "bias": np.zeros(H, np.float32)}}
    params = {"layer0": {"forward": {"input": {"weight": kernel_ExP, "bias": bias_P}, "recurrent": recurrent}}}
    encoder = encoders.build(ModelConfig(cell=cell, hidden_size=H, direction="forward"), E)
    memory = encoder.apply(jax.tree.map(jnp.asarray, params), jnp.asarray(inputs_BxSxE), jnp.asarray(MASK_BxS))
    theirs_BxSxH = np.where(MASK_BxS[:, :, None], np.asarray(layer(inputs_BxSxE, mask=MASK_BxS)), 0)
    spoken = ", ".join([make.__name__, *(f"{name}={value}" for name, value in settings.items())])
    evidence(f"cell={cell}", f"Keras {keras.__version__} {spoken}", memory.states_BxSxM, theirs_BxSxH)
