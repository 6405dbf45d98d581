"""Scores that compare no content: where a step attends follows from where the last one did, and from the query. A row is
`row(config, sizes) → Score`.

    gmm_v2                e_ij = log Σ_k w_ik / √(2π σ_ik²) exp(-(j - μ_ik)² / (2 σ_ik²))        Battenberg 2019, §2.2
                          μ_i = μ_{i-1} + softplus(Δ̂_i)    σ_i = softplus(σ̂_i)    w_i = softmax(ŵ_i)    Battenberg 2019, table 1, V2
    dynamic_convolution   e_ij = v · tanh(U f_ij + T g_ij + b) + p_ij                            Battenberg 2019, eq. 7 to 9
                          f_i = F * α_{i-1}    g_i = G(s_i) * α_{i-1}    p_i = log(P * α_{i-1})

Battenberg 2019 is arXiv 1910.10288. s_i is the query. Both read one query at a time (T = 1). As convolutions of nets go, F and G are not
mirrored; P is, since it says how far a step moves on.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.attention.sizes import Sizes
from attention_jax.attention.stateful_scores import LARGEST, log_sum, neighbours, numbered
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.layers.affine import glorot
from attention_jax.types import Score
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params

STEP, WIDTH = 1.0, 10.0
"""Δ and σ of gmm_v2 that the biases start at: the paper's "b" variants, GMMv2b."""

PRIOR_TAPS, PRIOR_ALPHA, PRIOR_BETA = 11, 0.1, 0.9
"""P of dynamic_convolution: Beta-binomial over steps of 0 … 10 positions, whose mean is 10 · 0.1 / (0.1 + 0.9) = 1."""

PRIOR_FLOOR = 1e-6
"""Least P * α of which the log is taken, so that no position is out of reach; as in public implementations."""


def inverse_softplus(x: float) -> float:
    """Computes log(eˣ - 1)."""
    return math.log(math.expm1(x))


def new_network(key: Key, sizes: Sizes, outputs: int, names: tuple[str, str, str]) -> Params:
    """Draws the parameters of x = V tanh(W s + b): W, b and V, by these names; b is zero and A = sizes.score wide."""
    query_key, output_key = jax.random.split(key)
    arrays = glorot(query_key, (sizes.query, sizes.score)), jnp.zeros(sizes.score, jnp.float32), glorot(output_key, (sizes.score, outputs))
    return dict(zip(names, arrays, strict=True))


@cites("battenberg2020")
def gmm_v2(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes a mixture of K = config.mixtures normal densities whose means only move forward: GMMv2b of Battenberg 2019.

    (ŵ, Δ̂, σ̂) = V tanh(W s_i + b) + c, A = sizes.score numbers wide inside. c starts where Δ = 1 and σ = 10. Positions count from 1 and
    μ_0 = 0. σ̂ is kept above -10, so that 1/σ stays finite. The paper's weights are the densities themselves, which sum to about 1 while
    the bells are wide and inside the source, and to less at its ends. The score is their log: normaliser=softmax, the default, makes a
    distribution of them over the source, as every other score's, so that a mean beyond the end attends to the last positions;
    normaliser=exponential gives the paper's own weights. Positions and μ are kept in float32 at least.

    Use it to follow Battenberg 2019, who made it for long speech; its window only moves on. Its copies were right at twice the trained
    lengths here, and failed at ten times. Of spoken digits it made 16 % errors there, location_aware 87 %.

    Unlike the paper's, which are the densities themselves, its weights are their softmax by default; `normaliser=exponential` gives the
    paper's.
    """
    K = config.mixtures
    start = np.repeat(np.array([0.0, inverse_softplus(STEP), inverse_softplus(WIDTH)], np.float32), K)

    def init(key):
        return new_network(key, sizes, 3 * K, ("query", "query_bias", "output")) | {"bias": jnp.asarray(start)}

    def project(params, memory_BxSxM, mask_BxS):
        return numbered(mask_BxS, memory_BxSxM.dtype)

    def initial(place_BxS, mask_BxS):
        return jnp.zeros((mask_BxS.shape[0], K), place_BxS.dtype)

    def read(params, μ_BxK, query_BxH):
        hidden_BxA = jnp.tanh(query_BxH @ params["query"] + params["query_bias"][None, :])
        raw_Bx3K = hidden_BxA @ params["output"] + params["bias"][None, :]
        weight_BxK, step_BxK, width_BxK = jnp.split(raw_Bx3K.astype(μ_BxK.dtype), 3, axis=1)
        σ_BxK = jax.nn.softplus(jnp.maximum(width_BxK, -LARGEST))
        return jax.nn.log_softmax(weight_BxK, axis=1), σ_BxK, μ_BxK + jax.nn.softplus(step_BxK)

    def score(params, place_BxS, μ_BxK, query_Bx1xH):
        log_w_BxKx1, σ_BxKx1, μ_BxKx1 = (x_BxK[:, :, None] for x_BxK in read(params, μ_BxK, query_Bx1xH[:, 0]))
        log_Z_BxKx1 = jnp.log(σ_BxKx1) + math.log(2 * math.pi) / 2
        log_bell_BxKxS = log_w_BxKx1 - log_Z_BxKx1 - ((place_BxS[:, None, :] - μ_BxKx1) / σ_BxKx1) ** 2 / 2
        return log_sum(log_bell_BxKxS).astype(query_Bx1xH.dtype)[:, None, :]

    def observe(params, place_BxS, μ_BxK, query_BxH, weights_BxS):
        return read(params, μ_BxK, query_BxH)[2]

    return Score(init, project, score, initial, observe, knows_places=True, is_window=True)


@cites("battenberg2020")
def dynamic_convolution(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes Dynamic Convolution Attention: additive scores of the last weights around each position, through filters that the query makes.

    config.filters static and as many dynamic filters, config.filter_width wide; G(s_i) = V_G tanh(W_G s_i + b_G). The prior P lets a step
    stay or move on by up to 10 positions, 1 on average. α_0 is 1 at the first real position. There is no content term: the paper drops it.

    Use it to follow Battenberg 2019 where each output needs the next stretch of the source, as in speech synthesis. Its copies
    were right at ten times the trained lengths here, with every seed.
    """
    half, W, F, A = config.filter_width // 2, config.filter_width, config.filters, sizes.score

    def init(key):
        static_key, features_key, network_key, dynamic_key, v_key = jax.random.split(key, 5)
        return new_network(network_key, sizes, W * F, ("query", "query_bias", "dynamic_filters")) | {
            "filters": glorot(static_key, (W, F)),
            "features": glorot(features_key, (F, A)),
            "dynamic_features": glorot(dynamic_key, (F, A)),
            "bias": jnp.zeros(A, jnp.float32),
            "v": glorot(v_key, (A, 1)),
        }

    def project(params, memory_BxSxM, mask_BxS):
        return masks.first_alone(mask_BxS).astype(memory_BxSxM.dtype)

    def initial(first_BxS, mask_BxS):
        return first_BxS

    def score(params, first_BxS, last_BxS, query_Bx1xH):
        around_BxSxW = neighbours(last_BxS, half, half)
        hidden_BxA = jnp.tanh(query_Bx1xH[:, 0] @ params["query"] + params["query_bias"][None, :])
        filters_BxWxF = (hidden_BxA @ params["dynamic_filters"]).reshape(-1, W, F)
        static_BxSxA = around_BxSxW @ params["filters"] @ params["features"]
        dynamic_BxSxA = around_BxSxW @ filters_BxWxF @ params["dynamic_features"]
        hidden_BxSxA = jnp.tanh(static_BxSxA + dynamic_BxSxA + params["bias"][None, None, :])
        return ((hidden_BxSxA @ params["v"])[:, :, 0] + log_prior(last_BxS))[:, None, :]

    def observe(params, first_BxS, last_BxS, query_BxH, weights_BxS):
        return weights_BxS.astype(last_BxS.dtype)

    return Score(init, project, score, initial, observe, knows_places=True)


def log_prior(last_BxS: Array) -> jax.Array:
    """Computes p_j = log Σ_r P_r α_{j-r}, at least log 10⁻⁶."""
    taps_R = jnp.asarray(beta_binomial(PRIOR_TAPS - 1, PRIOR_ALPHA, PRIOR_BETA)[::-1], last_BxS.dtype)
    return jnp.log(jnp.maximum(neighbours(last_BxS, PRIOR_TAPS - 1, 0) @ taps_R, PRIOR_FLOOR))


def beta_binomial(n: int, α: float, β: float) -> np.ndarray:
    """Computes the probabilities of 0 … n successes in n trials of a chance that is Beta(α, β): C(n, r) B(r + α, n - r + β) / B(α, β)."""

    def log_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    return np.array([math.comb(n, r) * math.exp(log_beta(r + α, n - r + β) - log_beta(α, β)) for r in range(n + 1)])
