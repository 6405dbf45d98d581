"""Gradients of NumPy functions in float64, for comparison with those of JAX."""

import numpy as np


def gradient(function, values: dict, step: float = 1e-5) -> dict:
    """∂ function / ∂ each array of `values` by central differences; function(values) → float."""
    values = {name: np.array(value, np.float64) for name, value in values.items()}
    found = {}
    for name, value in values.items():
        found[name] = np.zeros_like(value)
        for i in np.ndindex(value.shape):
            kept = value[i]
            value[i] = kept + step
            up = function(values)
            value[i] = kept - step
            found[name][i] = (up - function(values)) / (2 * step)
            value[i] = kept
    return found


def softmax(scores, mask=True):
    """Along the last axis, over the mask."""
    weights = np.where(mask, np.exp(scores - np.max(np.where(mask, scores, -np.inf), -1, keepdims=True)), 0)
    return weights / weights.sum(-1, keepdims=True)


def log_softmax(logits):
    """Along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
