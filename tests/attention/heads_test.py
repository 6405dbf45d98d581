"""Multi-head attention against a literal loop over Vaswani's formula, and what all heads of a mechanism must share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

B, S, T, M, H = 3, 5, 2, 6, 4
LENGTHS = (5, 2, 0)
SIZES = Sizes(memory=M, query=H, score=6)
MASK_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


MEMORY_BxSxM, QUERY_BxTxH = random(B, S, M, seed=1), random(B, T, H, seed=2)


def parameters(init, seed: int = 0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), leaf.dtype), shapes)


def vaswani(params, memory_BxSxM, query_BxTxH, heads: int):
    """head_n = softmax(q_n k_nᵀ / √d) v_n, d = M / N, keys being the values; c = [head_1; …; head_N] W^O (2017, §3.2.2)."""
    d = M // heads
    weights_BxTxS, context_BxTxM = np.zeros((B, T, S)), np.zeros((B, T, M))
    for b, n in enumerate(LENGTHS):
        for t in range(T if n else 0):
            parts = []
            for head in range(heads):
                columns = slice(head * d, (head + 1) * d)
                q = query_BxTxH[b, t] @ params["query"][:, columns]
                k = memory_BxSxM[b, :n] @ params["memory"][:, columns]
                e = np.array([sum(q[i] * k[s, i] for i in range(d)) / d**0.5 for s in range(n)])
                α = np.exp(e) / np.exp(e).sum()
                parts.append(sum(α[s] * k[s] for s in range(n)))
                weights_BxTxS[b, t, :n] += α / heads
            context_BxTxM[b, t] = np.concatenate(parts) @ params["output"]
    return context_BxTxM, weights_BxTxS


@pytest.mark.parametrize("heads", [2, 3])
def test_heads_are_vaswani_s(heads, evidence):
    mechanism = attention.build(ModelConfig(attention="scaled_dot", heads=heads), SIZES)
    params = parameters(mechanism.init)
    prepared = mechanism.prepare(params, MEMORY_BxSxM, MASK_BxS)
    looks = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), QUERY_BxTxH)
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, MEMORY_BxSxM, QUERY_BxTxH))
    context_BxTxM, weights_BxTxS = vaswani(*exact, heads)
    evidence("heads=N", "numpy loop of Vaswani 2017, §3.2.2", looks.context_BxTxC, context_BxTxM, atol=1e-5)
    evidence("heads=N", "numpy loop of Vaswani 2017, §3.2.2", looks.weights_BxTxS, weights_BxTxS, atol=1e-6)


@pytest.mark.long
def test_heads_draw_and_score_on_their_own():
    """Heads of equal parameters and input differ in nothing but their draws."""
    mechanism = attention.build(ModelConfig(attention="scaled_dot", heads=2, estimator="straight_through"), SIZES._replace(query=M))
    params = parameters(mechanism.init)
    half_Mx3 = params["memory"][:, :3]
    params |= {"memory": jnp.concatenate([half_Mx3, half_Mx3], axis=1), "output": jnp.eye(M)}
    mask_BxS = jnp.ones((B, S), bool)
    prepared = mechanism.prepare(params, MEMORY_BxSxM, mask_BxS)
    keys_BxT = jax.random.split(jax.random.key(0), (B, 8))
    looks = look_at_all(mechanism, params, prepared, mechanism.initial(prepared, keys_BxT[:, 0]), jnp.zeros((B, 8, M)), keys_BxT)
    first, second = jnp.split(looks.context_BxTxC, 2, axis=2)
    assert not np.allclose(first, second)
    quiet = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), jnp.zeros((B, 8, M)))
    np.testing.assert_array_equal(*np.split(quiet.context_BxTxC, 2, axis=2))


@pytest.mark.parametrize("heads", [4, 5])
def test_heads_that_do_not_divide_are_refused(heads):
    with pytest.raises(ConfigError, match=f"heads={heads} does not divide"):
        attention.build(ModelConfig(heads=heads), SIZES)
