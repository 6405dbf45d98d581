"""Weights of attention layers from Keras and from PyTorch's tutorial: the settings that make the same layer here, and its parameters.

    settings, params = from_keras("AdditiveAttention", layer.get_weights(), size=64)
    mechanism = attention.build(ModelConfig(**settings), Sizes(memory=64, query=64, score=64))
    context = linen.attention.Attention(**settings).apply({"params": to_flax(params)}, query_BxTxM, memory_BxSxM, mask_BxS)

    theirs                                     score of query q and key k                ours
    keras Attention                            q · k                                     dot
    keras Attention(use_scale=True)            s q · k                                   general, its matrix s I
    keras Attention(score_mode="concat")       w Σ tanh(s (q + k)),  s = 1 without scale additive, its matrices s I, its v w 1
    keras AdditiveAttention                    v · tanh(q + k),  v = 1 without scale     additive, its matrices I
    keras MultiHeadAttention                   softmax(Q q · K k / √d) V k, then O       scaled_dot with heads, where V = K without biases
    PyTorch's tutorial, BahdanauAttention      Va tanh(Wa q + Ua k), all with biases     weight_normalised, g = ‖v‖

Keras's layers attend with query, key and value of one size, and here key and value are one memory. A bias of Va adds the same to every
score: softmax, sparsemax and entmax do not see it, so it is left out; other normalisers would. Numbers keep their type: float64 needs
JAX_ENABLE_X64=1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_jax.adapters.interchange import array_of, check_dtype
from attention_jax.config import choose
from attention_jax.system.errors import ConfigError, DataError

KERAS = ("Attention", "AdditiveAttention", "MultiHeadAttention")
"""Layers of keras.layers that have a counterpart."""

MODES = ("dot", "concat")
"""Values of score_mode of keras.layers.Attention."""

PARTS = ("query", "key", "value", "attention_output")
"""The affines of keras.layers.MultiHeadAttention, in the order of its weights."""


def from_keras(layer: str, weights: Sequence, size: int, score_mode: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts `get_weights()` of a Keras attention layer to (settings of `ModelConfig`, parameters of that mechanism).

    `layer` is the name of its class, `size` M that of query and memory, and `score_mode` that of Attention, "dot" or "concat". It must be
    given for an Attention of one weight, which fits both; no weight is dot, two are concat. Sizes of the mechanism are memory = query =
    score = M. Raises `ConfigError` for a layer or a mode without counterpart or one that is lacking, and `DataError` for weights of
    another number, shape or type, for biases that are not 0, and for a MultiHeadAttention whose keys and values are projected apart.
    """
    choose("layer", layer, KERAS)
    if score_mode:
        choose("score_mode", score_mode, MODES)
    arrays = [array_of(f"weight {i} of {layer}", weight) for i, weight in enumerate(weights)]
    for i, array in enumerate(arrays):
        check_dtype(f"weight {i} of {layer}", array)
    if layer == "MultiHeadAttention":
        return _many_heads(arrays, size)
    if layer == "AdditiveAttention":
        _check_shapes(layer, arrays, [[], [(size,)]], size)
        return {"attention": "additive"}, _one_head(_additive(np.eye(size), arrays[0] if arrays else np.ones(size), arrays))
    if (score_mode or _mode_of(arrays)) == "concat":
        _check_shapes(f"{layer} of score_mode=concat", arrays, [[()], [(), ()]], size)
        scale = arrays[0] if len(arrays) == 2 else 1.0
        return {"attention": "additive"}, _one_head(_additive(scale * np.eye(size), arrays[-1] * np.ones(size), arrays))
    _check_shapes(layer, arrays, [[], [()]], size)
    if not arrays:
        return {"attention": "dot"}, _one_head({})
    return {"attention": "general"}, _one_head({"memory": _typed(arrays[0] * np.eye(size), arrays)})


def from_tutorial(state_dict: Mapping, prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts the BahdanauAttention of PyTorch's tutorial to (settings of `ModelConfig`, parameters of that mechanism).

    With a `prefix` ("attention.") it takes the entries of a larger model that start so. Sizes of the mechanism are those of the
    matrices: Wa AxH, Ua AxM, Va 1xA, and `attention_size` = A. Raises `DataError` for entries that are missing, left over, or of another
    shape or type.
    """
    found = {name.removeprefix(prefix): array_of(name, value) for name, value in state_dict.items() if name.startswith(prefix)}
    for name in ("Wa.weight", "Ua.weight"):
        if name not in found or found[name].ndim != 2:
            raise DataError(f"the state dict has no matrix {prefix}{name}; it has {', '.join(list(state_dict)[:4]) or 'nothing'}, …")
    (A, H), M = found["Wa.weight"].shape, found["Ua.weight"].shape[1]
    shapes = {"Wa.weight": (A, H), "Wa.bias": (A,), "Ua.weight": (A, M), "Ua.bias": (A,), "Va.weight": (1, A), "Va.bias": (1,)}
    if wrong := sorted(set(found) ^ set(shapes)):
        raise DataError(f"the tutorial's BahdanauAttention has {', '.join(shapes)}; missing or left over: {', '.join(wrong)}")
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise DataError(
                f"{prefix}{name} is of shape {found[name].shape}, and with Wa of {(A, H)} and Ua of {(A, M)} it must be {shape}"
            )
        check_dtype(prefix + name, found[name])
    v_Ax1 = found["Va.weight"].T
    score = {
        "query": found["Wa.weight"].T,
        "memory": found["Ua.weight"].T,
        "v": v_Ax1,
        "bias": found["Wa.bias"] + found["Ua.bias"],
        "gain": np.sqrt((v_Ax1**2).sum()).astype(v_Ax1.dtype),
    }
    return {"attention": "weight_normalised", "attention_size": A}, _one_head(score)


def _mode_of(arrays: Sequence[np.ndarray]) -> str:
    """Returns the score_mode that the weights of an Attention tell. Raises `ConfigError` where they are one number."""
    if [array.shape for array in arrays] == [()]:
        raise ConfigError(
            "an Attention of one weight is dot with use_scale=True or concat without: say layer.score_mode, score_mode='dot' or 'concat'"
        )
    return "concat" if len(arrays) == 2 else "dot"


def _one_head(score: dict) -> dict[str, Any]:
    """Returns the parameters of a mechanism whose score alone has any."""
    return {"score": score, "normaliser": {}, "window": {}, "estimator": {}}


def _additive(matrix_MxM: np.ndarray, v_M: np.ndarray, like: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    matrix_MxM = _typed(matrix_MxM, like)
    return {"query": matrix_MxM, "memory": matrix_MxM, "v": _typed(v_M[:, None], like)}


def _typed(array: np.ndarray, like: Sequence[np.ndarray]) -> np.ndarray:
    """Casts to the type of the weights; float32 where there is none."""
    return array.astype(like[0].dtype if like else np.float32)


def _many_heads(arrays: list[np.ndarray], M: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts the weights of a MultiHeadAttention: kernels MxNxd three times and NxdxM, each followed by its bias or by none."""
    each = 2 if len(arrays) == 2 * len(PARTS) else 1
    N = arrays[0].shape[1] if arrays and arrays[0].ndim == 3 else 1
    shapes = [(M, N, M // N)] * 3 + [(N, M // N, M)]
    biases = [(N, M // N)] * 3 + [(M,)]
    wanted = [shape for pair in zip(shapes, biases, strict=True) for shape in pair[:each]]
    _check_shapes("MultiHeadAttention", arrays, [wanted], M)
    if each == 2:
        for name, bias in zip(PARTS, arrays[1::2], strict=True):
            if bias.any():
                raise DataError(f"the {name} bias of MultiHeadAttention is not 0, and heads have no biases here: set use_bias=False")
    query, key, value, output = arrays[::each]
    if not np.array_equal(key, value):
        raise DataError("MultiHeadAttention projects keys and values apart, and heads share one projection of the memory here")
    if N == 1:
        raise DataError("MultiHeadAttention of one head has projections, and a mechanism of heads=1 has none here")
    params = {"query": query.reshape(M, M), "memory": key.reshape(M, M), "output": output.reshape(M, M), "heads": _one_head({})}
    return {"attention": "scaled_dot", "heads": N}, params


def _check_shapes(layer: str, arrays: Sequence[np.ndarray], valid: list[list[tuple]], size: int) -> None:
    """Raises `DataError` unless the arrays are of the shapes of one of `valid`."""
    shapes = [array.shape for array in arrays]
    if shapes not in valid:
        ways = " or ".join(str(each) if each else "none" for each in valid)
        raise DataError(f"keras.layers.{layer} of size {size} has weights of shapes {ways}, and these are {shapes or 'none'}")
