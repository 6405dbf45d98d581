"""A memory of K slots: at K = 1 it is `summary`, at K = S attention, and in between what a loop over segments says."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, model
from attention_jax.attention import slots
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.encoders.recurrent import DIRECTIONS
from attention_jax.types import Batch

B, S, T, M, V = 4, 7, 3, 6, 8
LENGTHS = (7, 4, 1, 0)
MASK_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
EVERY_DIRECTION = pytest.mark.parametrize("direction", DIRECTIONS)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


MEMORY_BxSxM, QUERY_BxTxM = random(B, S, M, seed=1), random(B, T, M, seed=2)


def parameters(init, seed: int = 0):
    """Random parameters of `init`'s shapes."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), shapes)


HOLES_BxS = jnp.array([[c == "#" for c in row] for row in ("..#.##.", "##.#..#", "......#", ".......")])


def looks(direction: str, mask_BxS=MASK_BxS, **changes):
    """T looks with the parameters of additive scores, where there are any."""
    sizes = Sizes(memory=M, query=M, score=4, directions=DIRECTIONS[direction])
    mechanism = attention.build(ModelConfig(**changes), sizes)
    params = parameters(mechanism.init)
    prepared = mechanism.prepare(params, MEMORY_BxSxM, mask_BxS)
    return look_at_all(mechanism, params, prepared, mechanism.initial(prepared), QUERY_BxTxM)


@EVERY_DIRECTION
@pytest.mark.parametrize("mask_BxS", [MASK_BxS, HOLES_BxS], ids=["padding behind", "padding anywhere"])
def test_one_slot_is_the_summary(direction, mask_BxS, evidence):
    ours, theirs = looks(direction, mask_BxS, slots=1).context_BxTxC, looks(direction, mask_BxS, attention="summary").context_BxTxC
    evidence("slots=1", "attention=summary (design: k = 1 is the fixed vector)", ours, theirs, rtol=0, atol=1e-6)


@EVERY_DIRECTION
@pytest.mark.parametrize("pooling", ["ends", "mean"])
@pytest.mark.parametrize("K", [S, S + 3])
def test_as_many_slots_as_positions_are_attention(direction, pooling, K, evidence):
    ours, theirs = looks(direction, slots=K, pooling=pooling), looks(direction)
    evidence("slots=S", "attention=additive over all positions", ours.context_BxTxC, theirs.context_BxTxC, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.weights_BxTxS, theirs.weights_BxTxS, atol=1e-6)


def test_one_pooled_slot_is_the_mean(evidence):
    memory_BxSxM = np.asarray(MEMORY_BxSxM, np.float64)
    means_BxM = np.stack([memory_BxSxM[b, :n].mean(0) if n else np.zeros(M) for b, n in enumerate(LENGTHS)])
    ours_BxTxM = looks("both", slots=1, pooling="mean").context_BxTxC
    evidence("slots=1 pooling=mean", "numpy: mean of the real positions", ours_BxTxM, np.stack([means_BxM] * T, axis=1), rtol=0, atol=1e-6)


def cut(n: int, K: int) -> list[list[int]]:
    """Positions 0 … n-1 in min(K, n) consecutive segments: segment k starts at the first r with r min(K, n) ≥ k n."""
    K = min(K, n)
    starts = [next(r for r in range(n) if r * K >= k * n) for k in range(K)] + [n]
    return [list(range(a, b)) for a, b in itertools.pairwise(starts)]


@EVERY_DIRECTION
@pytest.mark.parametrize("pooling", ["ends", "mean"])
@pytest.mark.parametrize("K", [1, 2, 3, 5, S])
def test_slots_are_what_a_loop_over_segments_says(direction, pooling, K, evidence):
    sizes = Sizes(memory=M, query=M, score=4, directions=DIRECTIONS[direction])
    segment_BxSxK, exists_BxK = slots.segments(MASK_BxS, K)
    expected_BxKxM, width = np.zeros((B, K, M)), M // len(sizes.directions)
    for b, n in enumerate(LENGTHS):
        found = cut(n, K) if n else []
        lengths = [len(segment) for segment in found]
        assert sum(lengths) == n and (not found or max(lengths) - min(lengths) <= 1)
        assert exists_BxK[b].tolist() == [k < len(found) for k in range(K)]
        for k, segment in enumerate(found):
            assert np.flatnonzero(segment_BxSxK[b, :, k]).tolist() == segment
            for d, name in enumerate(sizes.directions):
                columns = slice(d * width, (d + 1) * width)
                at = segment if pooling == "mean" else [segment[-1 if name == "forward" else 0]]
                expected_BxKxM[b, k, columns] = np.asarray(MEMORY_BxSxM, np.float64)[b, at, columns].mean(0)
    ours_BxKxM = slots.pool(MEMORY_BxSxM, segment_BxSxK, pooling, sizes)
    evidence(f"slots=K pooling={pooling}", "numpy: loop over segments", ours_BxKxM, expected_BxKxM, rtol=0, atol=1e-6)


def test_a_slot_s_weight_is_spread_over_its_segment():
    weights_BxTxS = looks("both", slots=2).weights_BxTxS
    for b, n in enumerate(LENGTHS):
        for segment in cut(n, 2) if n else []:
            assert np.ptp(np.asarray(weights_BxTxS[b, :, segment]), axis=0).max() == 0
    np.testing.assert_allclose(weights_BxTxS.sum(2), [[1] * T] * 3 + [[0] * T], atol=1e-6)


def make_batch() -> Batch:
    rng = np.random.default_rng(0)
    source_BxS, target_BxT = rng.integers(4, V, (B, S)), rng.integers(4, V, (B, T))
    mask_BxS = np.asarray(MASK_BxS)
    arrays = np.where(mask_BxS, source_BxS, 0), mask_BxS, target_BxT, np.ones((B, T), bool), np.full((B, T), -1)
    return jax.tree.map(jnp.asarray, Batch(*arrays, np.array(LENGTHS), np.arange(B)))


@pytest.mark.long
@EVERY_DIRECTION
@pytest.mark.parametrize(("K", "other"), [(1, {"attention": "summary"}), (S, {"slots": 0})], ids=["one slot", "as many as positions"])
def test_whole_models_agree_at_equal_parameters_and_start(direction, K, other, evidence):
    base = ModelConfig(hidden_size=3, embedding_size=4, attention_size=3, direction=direction, start="bridge")
    first, second = model.build(dataclasses.replace(base, slots=K), V), model.build(dataclasses.replace(base, **other), V)
    params = parameters(first.init)
    own = jax.eval_shape(second.init, jax.random.key(0))["decoder"]["attention"]
    equal = params | {"decoder": params["decoder"] | {"attention": params["decoder"]["attention"] if own else {}}}
    logits = [jax.jit(m.forced)(p, make_batch()).logits_BxTxV for m, p in ((first, params), (second, equal))]
    row, reference = ("slots=1", "attention=summary, whole model") if K == 1 else ("slots=S", "attention=additive, whole model")
    evidence(row, reference, *logits, rtol=0, atol=1e-6)
    assert np.ptp(logits[0], axis=0).max() > 1e-3
