"""Scores with a state: they depend on the weights of earlier steps. A row is `row(config, sizes) → Score`.

    location_aware   e_ij = v · tanh(W q_i + U h_j + V f_ij + b)        f_i = F * α_{i-1}            Chorowski 2015, eq. 8 and 9
    coverage         e_ij = v · tanh(W q_i + U h_j + V C_{i-1,j})       C_ij = C_{i-1,j} + α_ij/Φ_j  Tu 2016, §3
    gaussian         e_ij = log Σ_k α_ik exp(-β_ik (κ_ik - j)²)         κ_i = κ_{i-1} + exp(κ̂_i)      Graves 2013, eq. 46 to 51

`score` of a step reads the state that `observe` of the step before it returned, so these rows take one query at a time (T = 1). The first
two carry weights, which are zero at padding; the third carries no weights, only the position of its window. Those that read nothing of
the memory's content but where they were are in `location_relative.py`.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.blockwise import through_tanh
from attention_jax.attention.scores import new_additive, projected
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.layers.affine import glorot
from attention_jax.types import Score
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array

LARGEST = 10.0
"""Outputs that are exponentiated are cut to ±LARGEST, so that products of e^LARGEST, squared distances and looks stay finite."""


@cites("chorowski2015")
def location_aware(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the additive score that also reads the previous step's weights around each position, through config.filters filters.

    f_ijk = Σ_r F_rk α_{i-1, j+r}, |r| ≤ (config.filter_width - 1)/2, with zeros beyond both ends: as convolutions of nets go, F is not
    mirrored. α_0 is 1 at the first real position, as in the authors' code; the paper does not say.

    Use it where outputs keep the order of the source at a pace that varies, as speech does, and measure it: here it did not copy ten times
    the trained lengths, and did so where decoding kept it in a window.
    """
    half = config.filter_width // 2

    def init(key):
        additive_key, filters_key, features_key = jax.random.split(key, 3)
        return new_additive(additive_key, sizes) | {
            "filters": glorot(filters_key, (config.filter_width, config.filters)),
            "features": glorot(features_key, (config.filters, sizes.score)),
            "bias": jnp.zeros(sizes.score, jnp.float32),
        }

    def project(params, memory_BxSxM, mask_BxS):
        return projected(params, memory_BxSxM, mask_BxS) + params["bias"][None, None, :]

    def initial(keys_BxSxA, mask_BxS):
        return masks.first_alone(mask_BxS).astype(keys_BxSxA.dtype)

    def score(params, keys_BxSxA, last_BxS, query_Bx1xH):
        seen_BxSxA = neighbours(last_BxS, half, half) @ params["filters"] @ params["features"]
        return through_tanh(params["v"], keys_BxSxA + seen_BxSxA, query_Bx1xH @ params["query"])

    def observe(params, keys_BxSxA, last_BxS, query_BxH, weights_BxS):
        return weights_BxS.astype(last_BxS.dtype)

    return Score(init, project, score, initial, observe, knows_places=True)


@cites("tu2016")
def coverage(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the additive score that also reads how much of each position has been used up: Tu's linguistic coverage.

    C_0 = 0. With N = config.fertility > 0, position j may account for Φ_j = N σ(u · h_j) target tokens; with 0, for Φ_j = 1. The argument
    of σ is kept above -10, so that 1/Φ stays finite.

    Use it where outputs say some of the source twice and leave out other parts, which translations did in Tu 2016. What it gains has not
    been measured here.
    """
    N = config.fertility

    def init(key):
        additive_key, coverage_key, fertility_key = jax.random.split(key, 3)
        params = new_additive(additive_key, sizes) | {"coverage": glorot(coverage_key, (1, sizes.score))}
        return params | ({"fertility": glorot(fertility_key, (sizes.memory, 1))} if N else {})

    def project(params, memory_BxSxM, mask_BxS):
        keys_BxSxA = projected(params, memory_BxSxM, mask_BxS)
        if not N:
            return keys_BxSxA, jnp.ones(mask_BxS.shape, keys_BxSxA.dtype)
        Φ_BxS = N * jax.nn.sigmoid(jnp.maximum(memory_BxSxM @ params["fertility"], -LARGEST))[:, :, 0]
        return keys_BxSxA, 1 / Φ_BxS

    def initial(keys, mask_BxS):
        return jnp.zeros(mask_BxS.shape, keys[0].dtype)

    def score(params, keys, covered_BxS, query_Bx1xH):
        keys_BxSxA, _ = keys
        return through_tanh(params["v"], keys_BxSxA + covered_BxS[:, :, None] * params["coverage"][None], query_Bx1xH @ params["query"])

    def observe(params, keys, covered_BxS, query_BxH, weights_BxS):
        _, share_BxS = keys
        return covered_BxS + (weights_BxS * share_BxS).astype(covered_BxS.dtype)

    return Score(init, project, score, initial, observe)


def neighbours(x_BxS: Array, before: int, after: int) -> jax.Array:
    """Returns the numbers at positions j - before … j + after of every position j, along a last axis; zeros beyond both ends."""
    padded_BxP = jnp.pad(x_BxS, ((0, 0), (before, after)))
    return jnp.stack([padded_BxP[:, r : r + x_BxS.shape[1]] for r in range(before + after + 1)], axis=2)


def numbered(mask_BxS: Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Returns the number of every position, counted from 1, in float32 at least, since bfloat16 counts to 256."""
    place_S = jnp.arange(1, mask_BxS.shape[1] + 1, dtype=jnp.promote_types(dtype, jnp.float32))
    return jnp.broadcast_to(place_S[None, :], mask_BxS.shape)


def log_sum(log_x_BxKxS: jax.Array) -> jax.Array:
    """Computes log Σ_K x; value and gradients are finite also where the compiler forms the terms twice and rounds them in two ways.

    Terms of -10¹⁴ differ then by millions from their own maximum; the share of the largest is at most 1, and the sum of shares at least.
    """
    largest_Bx1xS = jax.lax.stop_gradient(log_x_BxKxS.max(1, keepdims=True))
    below_BxKxS = log_x_BxKxS - largest_Bx1xS
    sum_BxS = jnp.exp(jnp.where(below_BxKxS > 0, 0, below_BxKxS)).sum(1)
    return jnp.log(jnp.where(sum_BxS < 1, 1, sum_BxS)) + largest_Bx1xS[:, 0]


@cites("graves2013")
def gaussian(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes Graves' window: a mixture of K = config.mixtures bells that only move forward, whatever the memory holds.

    (α̂, β̂, κ̂) = W q + b, each exponentiated after it is cut to ±10. Positions count from 1 and κ_0 = 0, so that b = 0 starts with a
    window that reaches position i at step i. The score is the log of his φ: normaliser=exponential is his window, whose weights may have
    any sum, and normaliser=softmax the window normalised. Positions and κ are kept in float32 at least, since bfloat16 counts to 256.

    Use it where each output needs the next stretch of the source, whatever stands there, as pen strokes need letters in Graves 2013. It
    cannot go back, nor look content up.
    """
    K = config.mixtures

    def init(key):
        return {"query": glorot(key, (sizes.query, 3 * K)), "bias": jnp.zeros(3 * K, jnp.float32)}

    def project(params, memory_BxSxM, mask_BxS):
        return numbered(mask_BxS, memory_BxSxM.dtype)

    def initial(place_BxS, mask_BxS):
        return jnp.zeros((mask_BxS.shape[0], K), place_BxS.dtype)

    def read(params, κ_BxK, query_BxH):
        raw_Bx3K = query_BxH @ params["query"] + params["bias"][None, :]
        log_α_BxK, log_β_BxK, log_step_BxK = jnp.split(jnp.clip(raw_Bx3K, -LARGEST, LARGEST).astype(κ_BxK.dtype), 3, axis=1)
        return log_α_BxK, jnp.exp(log_β_BxK), κ_BxK + jnp.exp(log_step_BxK)

    def score(params, place_BxS, κ_BxK, query_Bx1xH):
        log_α_BxKx1, β_BxKx1, κ_BxKx1 = (x_BxK[:, :, None] for x_BxK in read(params, κ_BxK, query_Bx1xH[:, 0]))
        log_bell_BxKxS = log_α_BxKx1 - β_BxKx1 * (κ_BxKx1 - place_BxS[:, None, :]) ** 2
        log_φ_BxS = log_sum(log_bell_BxKxS)
        return log_φ_BxS.astype(query_Bx1xH.dtype)[:, None, :]

    def observe(params, place_BxS, κ_BxK, query_BxH, weights_BxS):
        return read(params, κ_BxK, query_BxH)[2]

    return Score(init, project, score, initial, observe, knows_places=True, is_window=True)
