"""The `entmax` package by the authors of entmax: weights and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax import attention
from attention_jax.config import ModelConfig

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-peers")
theirs = pytest.importorskip("entmax", reason="entmax is not installed: make test-peers")

B, S = 6, 9
FUNCTIONS = {
    "sparsemax": ({"normaliser": "sparsemax"}, lambda x: theirs.sparsemax(x, dim=-1)),
    "entmax15": ({"normaliser": "entmax15"}, lambda x: theirs.entmax15(x, dim=-1)),
} | {
    f"entmax {alpha}": ({"normaliser": "entmax", "alpha": alpha}, lambda x, alpha=alpha: theirs.entmax_bisect(x, alpha=alpha, dim=-1))
    for alpha in (1.1, 1.25, 1.75, 2.5)
}


def jitted(changes: dict):
    row = attention.NORMALISERS[changes["normaliser"]](ModelConfig(**changes))

    def both(scores_BxS, cotangent_BxS):
        def weigh(scores_BxS):
            weights_Bx1xS, _ = row.normalise({}, (), (scores_BxS[:, None],), jnp.ones((B, 1, S), bool), None)
            return weights_Bx1xS[:, 0]

        weights_BxS, backward = jax.vjp(weigh, scores_BxS)
        return weights_BxS, backward(cotangent_BxS)[0]

    return jax.jit(both)


OURS = {name: jitted(changes) for name, (changes, _) in FUNCTIONS.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 3.0]))
def test_weights_and_gradients(name, evidence, seed, scale):
    """In single precision, theirs in double: α-entmax for α < 2 has an unbounded slope where a weight vanishes."""
    rng = np.random.default_rng(seed)
    scores_BxS, cotangent_BxS = rng.normal(0, scale, (B, S)).astype(np.float32), rng.normal(size=(B, S)).astype(np.float32)
    scores = torch.tensor(scores_BxS, dtype=torch.float64, requires_grad=True)
    weights = FUNCTIONS[name][1](scores)
    weights.backward(torch.tensor(cotangent_BxS, dtype=torch.float64))
    weights_BxS, gradient_BxS = OURS[name](scores_BxS, cotangent_BxS)
    row, reference = f"normaliser={FUNCTIONS[name][0]['normaliser']}", "entmax package 1.3, double precision"
    evidence(row, f"{reference}: weights", weights_BxS, weights.detach().numpy(), rtol=0, atol=2e-6)
    evidence(row, f"{reference}: gradients", gradient_BxS, scores.grad.numpy(), rtol=1e-3, atol=1e-3)
