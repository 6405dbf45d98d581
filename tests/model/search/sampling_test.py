"""Which tokens are kept, by NumPy; how often they are drawn, by a test of fit; what a draw depends on."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from attention_jax.config import SearchConfig
from attention_jax.model import search
from attention_jax.model.search.sampling import kept
from tests.model.search import small

T = 4
LOGITS = arrays(np.float32, 9, elements=st.integers(-40, 40).map(lambda n: n / 8))


def kept_numpy(logits_V, temperature, top_k, top_p):
    """q in float64: the likeliest first, each kept while there is room and the share of those before it is below p."""
    p_V = np.exp(np.float64(logits_V) / temperature - np.max(np.float64(logits_V) / temperature))
    order = sorted(range(len(p_V)), key=lambda v: (-p_V[v], v))[: top_k or None]
    total, share, nucleus = p_V[order].sum(), 0.0, []
    for v in order:
        if share < top_p * total * (1 - 1e-6) or not nucleus:
            nucleus.append(v)
        share += p_V[v]
    q_V = np.zeros(len(p_V))
    q_V[nucleus] = p_V[nucleus] / p_V[nucleus].sum()
    return q_V


@cache
def q(temperature, top_k, top_p):
    return jax.jit(lambda logits_V: jax.nn.softmax(kept(logits_V[None], temperature, top_k, top_p))[0])


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 3, 1.0), (2.0, 0, 0.6180339), (1.0, 4, 0.8660254), (1.0, 20, 1e-4)]
)
@given(logits_V=LOGITS)
def test_the_tokens_that_are_kept(evidence, temperature, top_k, top_p, logits_V):
    expected_V = kept_numpy(logits_V, temperature, top_k, top_p)
    evidence("search=sample", "top-k and nucleus sets in NumPy", q(temperature, top_k, top_p)(logits_V), expected_V, rtol=1e-4, atol=1e-6)


def test_cold_is_the_arg_max():
    for temperature in (1e-3, 1e-200):
        q_V = q(temperature, 0, 1.0)(np.float32([1, 3, -2, 3.5, 3.4]))
        np.testing.assert_array_equal(q_V > 0.99, [False, False, False, True, False])


@cache
def decode(config: SearchConfig, positions: int = T):
    def found(params, source_BxS, mask_BxS, example_B):
        return search.decode(small.MODEL, params, source_BxS, mask_BxS, positions, config, example_B=example_B)

    return jax.jit(found)


def draws(config: SearchConfig, rows: list[list[int]], example_B, params=None, size: int = small.S):
    found = decode(config)(small.draw(1) if params is None else params, *small.batch(rows, size), np.asarray(example_B))
    return np.asarray(found.tokens_BxNxT[:, 0]), np.asarray(found.log_p_BxN[:, 0])


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (1.5, 3, 0.9)])
def test_how_often_an_output_is_drawn(temperature, top_k, top_p):
    """Two positions of 3000 examples against the product of both distributions; the threshold is passed by chance once in 10⁴ runs."""
    config = SearchConfig("sample", temperature=temperature, top_k=top_k, top_p=top_p, draw_seed=3, max_length=2)
    params, source, B = small.draw(1), [4, 5, 2], 3000
    tokens_BxT, log_p_B = draws(config, [source] * B, np.arange(B), params)
    expected, log_p = np.zeros((small.V, small.V)), np.zeros((small.V, small.V))
    first_V, _, h_H, seen_S = small.numpy_step(params, source, *small.begin(source))
    q_V = kept_numpy(first_V, temperature, top_k, top_p)
    for v in range(small.V):
        if v == 2:  # EOS: PAD follows
            expected[v, 0], log_p[v, 0] = q_V[v], first_V[v]
            continue
        second_V, *_ = small.numpy_step(params, source, h_H, seen_S, v)
        expected[v], log_p[v] = q_V[v] * kept_numpy(second_V, temperature, top_k, top_p), first_V[v] + second_V
    counts = np.zeros_like(expected)
    np.add.at(counts, tuple(tokens_BxT.T), 1)
    assert not counts[expected == 0].any()
    possible = expected > 0
    assert stats.chisquare(counts[possible], B * expected[possible]).pvalue > 1e-4
    np.testing.assert_allclose(log_p_B, log_p[tuple(tokens_BxT.T)], rtol=1e-4)  # the model's own, neither tempered nor cut


@pytest.mark.long
def test_a_draw_depends_on_example_and_seed_alone():
    rows, example_B, config = [[4, 5, 2], [6, 2], [5, 5, 2], []] * 4, np.arange(16), SearchConfig("sample")
    tokens_BxT, log_p_B = draws(config, rows, example_B)
    order = np.random.default_rng(0).permutation(16)
    shuffled_BxT, shuffled_B = draws(config, [rows[i] for i in order], order)
    np.testing.assert_array_equal(shuffled_BxT, tokens_BxT[order])
    np.testing.assert_allclose(shuffled_B, log_p_B[order], rtol=1e-5)
    np.testing.assert_array_equal(draws(config, rows, example_B, size=small.S + 2)[0], tokens_BxT)
    assert (draws(config, rows, example_B + 1)[0] != tokens_BxT).any()
    assert (draws(SearchConfig("sample", draw_seed=1), rows, example_B)[0] != tokens_BxT).any()
    longer_BxT = decode(config, T + 2)(small.draw(1), *small.batch(rows), example_B).tokens_BxNxT[:, 0]
    np.testing.assert_array_equal(longer_BxT[:, :T], tokens_BxT)


@pytest.mark.long
def test_the_likeliest_token_alone_is_greedy():
    rows, example_B = [[4, 5, 2], [6, 2], [5, 5, 2], []], np.arange(4)
    tokens_BxT, log_p_B = draws(SearchConfig(), rows, example_B)
    for config in (SearchConfig("sample", top_k=1), SearchConfig("sample", top_p=1e-6)):
        found_BxT, found_B = draws(config, rows, example_B)
        np.testing.assert_array_equal(found_BxT, tokens_BxT)
        np.testing.assert_allclose(found_B, log_p_B, rtol=1e-6)


def test_half_precision():
    q_BxV = kept(jnp.zeros((2, 5), jnp.bfloat16), 0.7, 3, 0.5)
    assert q_BxV.dtype == jnp.float32 and (np.isfinite(q_BxV).sum(1) == 2).all()
