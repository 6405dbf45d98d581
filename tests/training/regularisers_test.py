"""Each term against loops in float64, by hand, and at its edges."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.training import regularisers
from tests.attention import finite_differences

B, T, S = 3, 4, 5


def drawn(seed: int):
    """weights_BxTxS, target_mask_BxT, source_mask_BxS, gold_BxT (-1: none), links_BxTxS."""
    rng = np.random.default_rng(seed)
    source_mask_BxS = np.arange(S) < rng.integers(1, S + 1, (B, 1))
    target_mask_BxT = np.arange(T) < rng.integers(1, T + 1, (B, 1))
    weights_BxTxS = finite_differences.softmax(rng.normal(0, 2, (B, T, S)), source_mask_BxS[:, None])
    gold_BxT = np.minimum(rng.integers(-1, S, (B, T)), source_mask_BxS.sum(1, keepdims=True) - 1)
    links_BxTxS = (rng.random((B, T, S)) < 0.4) & source_mask_BxS[:, None]
    return weights_BxTxS, target_mask_BxT, source_mask_BxS, gold_BxT, links_BxTxS


@jax.jit
def terms(weights, target_mask, source_mask, gold, links):
    """All four, by name."""
    return {
        "coverage": regularisers.coverage(weights, target_mask),
        "doubly_stochastic": regularisers.doubly_stochastic(weights, target_mask, source_mask),
        "guided": regularisers.guided(weights, gold, target_mask),
        "guided_by_links": regularisers.guided_by_links(weights, links, target_mask),
    }


@jax.jit
def terms_and_gradients(weights, *rest):
    """All four, and the gradient of the sum of each by the weights."""
    outputs, backward = jax.vjp(lambda w: terms(w, *rest), weights)
    unit = {name: {n: jnp.full_like(out, n == name) for n, out in outputs.items()} for name in outputs}
    return outputs, {name: backward(cotangent)[0] for name, cotangent in unit.items()}


def reference(weights, target_mask, source_mask, gold, links) -> dict:
    """The four terms, one position after the other."""
    out = {name: np.zeros(B) for name in ("coverage", "doubly_stochastic", "guided", "guided_by_links")}
    for b in range(B):
        seen = np.zeros(S)
        for t in range(T):
            if not target_mask[b, t]:
                continue
            out["coverage"][b] += sum(min(weights[b, t, s], seen[s]) for s in range(S))
            seen += weights[b, t]
            if gold[b, t] >= 0:
                out["guided"][b] -= np.log(weights[b, t, gold[b, t]])
            for s in np.flatnonzero(links[b, t]):
                out["guided_by_links"][b] -= np.log(weights[b, t, s]) / links[b, t].sum()
        out["doubly_stochastic"][b] = sum((1 - seen[s]) ** 2 for s in range(S) if source_mask[b, s])
    return out


SOURCES = {
    "coverage": "See 2017, eq. 12-13, loops",
    "doubly_stochastic": "Xu 2015, eq. 14, loops",
    "guided": "Chen 2016, loops",
    "guided_by_links": "Chen 2016, loops",
}


def test_values_and_gradients(evidence):
    for seed in range(3):
        weights, *rest = drawn(seed)
        outputs, gradients = terms_and_gradients(weights.astype(np.float32), *rest)
        for name, source in SOURCES.items():
            theirs = reference(weights, *rest)[name]
            evidence(f"regulariser={name}", source, outputs[name], theirs)
            inner = np.where(weights > 0, weights, 1e-3)  # differences need room to both sides
            slope = finite_differences.gradient(lambda v, name=name, rest=rest: reference(*v.values(), *rest)[name].sum(), {"w": inner})[
                "w"
            ]
            real = weights > 0
            evidence(f"regulariser={name}", f"gradient of {source}", gradients[name] * real, slope * real, rtol=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 7.0, np.nan]))
def test_padded_target_positions_and_padded_links_change_nothing(seed, garbage):
    weights, target_mask, source_mask, gold, links = drawn(seed)
    outputs, gradients = terms_and_gradients(weights.astype(np.float32), target_mask, source_mask, gold, links)
    weights = np.where(target_mask[:, :, None], weights, garbage)
    gold = np.where(target_mask, gold, 2)
    links = links | ~target_mask[:, :, None]
    same, same_gradients = terms_and_gradients(weights.astype(np.float32), target_mask, source_mask, gold, links)
    jax.tree.map(np.testing.assert_array_equal, (outputs, gradients), (same, same_gradients))
    assert all((np.asarray(gradient)[~target_mask] == 0).all() for gradient in gradients.values())


def test_weights_of_padded_source_positions_do_not_reach_what_is_asked_of_each_place():
    weights, target_mask, source_mask, gold, links = drawn(1)
    source_mask = source_mask & (np.arange(S) < S - 1)
    dirty = np.where(source_mask[:, None], weights, np.nan)
    clean, same = (
        jax.value_and_grad(lambda w: regularisers.doubly_stochastic(w, target_mask, source_mask).sum())(w.astype(np.float32))
        for w in (weights, dirty)
    )
    jax.tree.map(np.testing.assert_array_equal, clean, same)


def test_padded_source_positions_change_nothing():
    weights, target_mask, source_mask, gold, links = drawn(1)
    wide = [np.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, 2),)) for x in (weights, source_mask, links)]
    plain, padded = terms(weights, target_mask, source_mask, gold, links), terms(wide[0], target_mask, wide[1], gold, wide[2])
    jax.tree.map(lambda mine, same: np.testing.assert_allclose(mine, same, rtol=1e-6), plain, padded)


def test_zero_weight_at_a_gold_place_is_finite():
    weights, _, source_mask, _, _ = drawn(0)
    weights = np.eye(S)[:T][None].repeat(B, 0).astype(np.float32)
    gold = np.full((B, T), S - 1)
    outputs, gradients = terms_and_gradients(weights, np.ones((B, T), bool), source_mask, gold, gold[:, :, None] == np.arange(S))
    for name in ("guided", "guided_by_links"):
        np.testing.assert_allclose(outputs[name], np.full(B, T * 69.0776), rtol=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_by_hand():
    once, even = np.eye(3)[None], np.full((1, 3, 3), 1 / 3)
    same_place = np.eye(3)[[0, 0, 0]][None]
    gold, links = np.array([[0, 1, -1]]), np.array([[[1, 1, 0], [0, 0, 1], [0, 0, 0]]])
    all_real = np.ones((1, 3), bool)
    ours = {name: terms(w, all_real, all_real, gold, links) for name, w in (("once", once), ("same", same_place), ("even", even))}
    assert ours["once"]["coverage"] == ours["once"]["doubly_stochastic"] == ours["once"]["guided"] == 0
    assert ours["same"]["coverage"] == 2  # three looks at one place, two too many
    assert ours["same"]["doubly_stochastic"] == (1 - 3) ** 2 + 1 + 1
    np.testing.assert_allclose(ours["even"]["guided"], [2 * np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(ours["even"]["guided_by_links"], [2 * np.log(3)], rtol=1e-6)


def test_dtype_follows_the_weights():
    weights, target_mask, source_mask, gold, links = drawn(0)
    outputs, gradients = terms_and_gradients(jnp.asarray(weights, jnp.bfloat16), target_mask, source_mask, gold, links)
    assert {x.dtype for x in jax.tree.leaves((outputs, gradients))} == {jnp.dtype(jnp.bfloat16)}
