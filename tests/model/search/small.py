"""A model small enough to enumerate: what it says depends on the source and on all it has heard, and where it has looked before.

    h_t = tanh(h_{t-1} A + E[token])      α_t = softmax(Q[source] h_t - seen_{t-1})      logits = h_t O + α_t W[source]

`MODEL` is it in JAX; `outputs` lists, in NumPy and float64, every output it can have.
"""

import jax.numpy as jnp
import numpy as np

from attention_jax.model.search import steps
from attention_jax.types import BOS, EOS, Model

V, S, H = 4, 3, 3
SHAPES = {"A": (H, H), "E": (V, H), "Q": (9, H), "O": (H, V), "W": (9, V)}


def draw(seed: int, scale: float = 1.0) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in SHAPES.items()}


def start(params, source_BxS, mask_BxS):
    B = source_BxS.shape[0]
    return (source_BxS, mask_BxS), {"h": jnp.zeros((B, H)), "seen": jnp.zeros(mask_BxS.shape)}


def step(params, prepared, state, token_B, keys_B=None):
    source_BxS, mask_BxS = prepared
    h_BxH = jnp.tanh(state["h"] @ params["A"] + params["E"][token_B])
    scores_BxS = jnp.einsum("bsh,bh->bs", params["Q"][source_BxS], h_BxH) - state["seen"]
    weights_BxS = jnp.where(mask_BxS, jnp.exp(scores_BxS), 0)
    weights_BxS = weights_BxS / jnp.maximum(weights_BxS.sum(1, keepdims=True), 1e-30)
    logits_BxV = h_BxH @ params["O"] + jnp.einsum("bs,bsv->bv", weights_BxS, params["W"][source_BxS])
    return logits_BxV, weights_BxS, {"h": h_BxH, "seen": state["seen"] + weights_BxS}


MODEL = Model(None, None, start, step)


def steps_of(model: Model, params, source_BxS, mask_BxS) -> steps.Steps:
    """What a method drives when it decodes with a model."""
    prepared, state = model.start(params, source_BxS, mask_BxS)
    return steps.of(lambda state, token_B: model.step(params, prepared, state, token_B), state, mask_BxS)


def numpy_step(params, source, h_H, seen_S, token):
    """(log p over V, weights, h, seen) of one example whose source has no padding."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    h_H = np.tanh(h_H @ params["A"] + params["E"][token])
    e_S = np.exp(params["Q"][source] @ h_H - seen_S)
    weights_S = e_S / e_S.sum() if len(source) else e_S
    logits_V = h_H @ params["O"] + weights_S @ params["W"][source]
    return logits_V - np.log(np.exp(logits_V).sum()), weights_S, h_H, seen_S + weights_S


def begin(source):
    """(h, seen, token) before the first step."""
    return np.zeros(H), np.zeros(len(source)), BOS


def outputs(params, source, T: int, min_length: int = 0, stop: bool = True) -> list[tuple[list[int], float, np.ndarray, bool]]:
    """(tokens, log p, weights_txS, whether it ended) of everything that can be said in T positions."""

    def extend(tokens, log_p, weights, h_H, seen_S, token):
        if len(tokens) == T:
            return [(tokens, log_p, np.array(weights), False)]
        log_p_V, weights_S, h_H, seen_S = numpy_step(params, source, h_H, seen_S, token)
        found = []
        for token in range(V):
            new = [*tokens, token], log_p + log_p_V[token], [*weights, weights_S]
            if stop and token == EOS:
                found += [(*new[:2], np.array(new[2]), True)] if len(tokens) >= min_length else []
            else:
                found += extend(*new, h_H, seen_S, token)
        return found

    return extend([], 0.0, [], *begin(source))


def batch(rows: list[list[int]], size: int = S):
    """(source_BxS, mask_BxS), padded to `size`."""
    source_BxS = np.zeros((len(rows), size), np.int32)
    for b, row in enumerate(rows):
        source_BxS[b, : len(row)] = row
    return source_BxS, np.arange(size)[None, :] < np.array([len(row) for row in rows])[:, None]
