"""Scores → weights, most of them exactly zero: normalisers between the softmax and the simplex projection.

    α-entmax(e) = argmax_p Σ_j p_j e_j + H_α(p)      H_α Tsallis' entropy, p on the simplex       Peters 2019, §3
    Jacobian   diag(s) - s sᵀ / Σ_k s_k              s_j = p_j^{2-α} where p_j > 0, else 0

    sparsemax   p_j = [1 + e_j - t]₊                          Σ_j p_j = 1    α = 2      Martins & Astudillo 2016, algorithm 1
    entmax15    p_j = [1 + (e_j - t) / 2]₊²                   Σ_j p_j = 1    α = 1.5    Peters 2019, §3
    entmax      p_j = [1 + (α-1)(e_j - t)]₊^{1/(α-1)}         Σ_j p_j = 1               Blondel 2019, algorithm 1

t is the number for which the weights sum to 1: exact after one sort for the first two, by bisection for other α. α → 1 is softmax.
The Jacobian is the equation above, not the derivative of the algorithm; forward-mode differentiation is not defined. Sums are
taken in float32 at least.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.normalisers import plain, softmax
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError
from attention_jax.types import Normaliser
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Weigh

LEAST_ALPHA, MOST_ALPHA = 1, 3


@cites("martins2016")
def sparsemax_row(config: ModelConfig) -> Normaliser:
    """Makes the row of sparsemax, the Euclidean projection of the scores onto the simplex.

    Use it where weights are to be exactly zero at most positions, so that what was read can be listed: it is sparser than entmax15.
    """
    return plain(sparsemax)


@cites("peters2019")
def entmax15_row(config: ModelConfig) -> Normaliser:
    """Makes the row of 1.5-entmax, half-way between softmax and sparsemax.

    Use it where weights may be exactly zero and sparsemax is too sharp.
    """
    return plain(entmax15)


@cites("peters2019", "blondel2019")
def entmax_row(config: ModelConfig) -> Normaliser:
    """Makes the row of α-entmax, α = `config.alpha` in [1, 3]. Below, no weight would be zero; above, float32 loses small weights.

    Use it to choose how sparse weights are. It takes longer than softmax, entmax15 and sparsemax, which are solved in closed form.
    """
    return plain(entmax(config.alpha))


def entmax(alpha: float) -> Weigh:
    """Returns α-entmax, (scores_xS, mask_xS) → weights_xS, for α in [1, 3]; 1, 1.5 and 2 are solved in closed form.

    A weight next to the threshold is within ε^{1/(α-1)} for rounding ε of scores: 3e-4 in float32 at α = 3, 7 % at α = 10. Raises
    `ConfigError` for other α.
    """
    if not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise ConfigError(f"alpha={alpha} is impossible: it must be in [{LEAST_ALPHA}, {MOST_ALPHA}] (1 is softmax, 2 is sparsemax)")
    closed = {1.0: softmax, 1.5: entmax15, 2.0: sparsemax}
    return closed[alpha] if alpha in closed else exact(lambda scores_xS, mask_xS: bisected(scores_xS, mask_xS, alpha), alpha)


def exact(solve: Weigh, alpha: float):
    """Gives `solve` the Jacobian of α-entmax and the dtype of its scores; `solve` sees scores of at most 0, the largest being 0."""

    @jax.custom_vjp
    def weigh(scores_xS, mask_xS):
        e_xS = scores_xS.astype(jnp.promote_types(scores_xS.dtype, jnp.float32))
        top_x1 = jnp.max(e_xS, axis=-1, keepdims=True, where=mask_xS, initial=-1e30)
        p_xS = jnp.where(mask_xS, solve(jnp.where(mask_xS, e_xS - top_x1, 0), mask_xS), 0)
        total_x1 = p_xS.sum(-1, keepdims=True)  # 1, up to what rounding of the threshold adds over many places
        return (p_xS / jnp.where(total_x1 > 0, total_x1, 1)).astype(scores_xS.dtype)

    def forward(scores_xS, mask_xS):
        p_xS = weigh(scores_xS, mask_xS)
        return p_xS, p_xS

    def backward(p_xS, gradient_xS):
        p32_xS, g_xS = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (p_xS, gradient_xS))
        support_xS = p32_xS > 0
        s_xS = jnp.where(support_xS, jnp.where(support_xS, p32_xS, 1) ** (2 - alpha), 0)
        # α > 2: s grows without bound as p → 0. A constant added to g changes nothing; this one leaves no large terms to cancel.
        g_xS = g_xS - jnp.take_along_axis(g_xS, jnp.argmax(s_xS, axis=-1, keepdims=True), axis=-1)
        total_x1 = s_xS.sum(-1, keepdims=True)
        mean_x1 = (s_xS * g_xS).sum(-1, keepdims=True) / jnp.where(total_x1 > 0, total_x1, 1)
        return (s_xS * (g_xS - mean_x1)).astype(p_xS.dtype), None

    weigh.defvjp(forward, backward)
    return weigh


def project(e_xS: Array, mask_xS: Array):
    """Solves sparsemax: p_j = [z_j - τ]₊ with τ = (Σ_{k ≤ K} z_(k) - 1) / K.

    K is the last k, in descending order of scores, with 1 + k z_(k) > Σ_{j ≤ k} z_(j).
    """
    z_xS = raised(e_xS, mask_xS)
    sorted_xS = jnp.sort(z_xS, axis=-1, descending=True)
    sums_xS = jnp.cumsum(sorted_xS, axis=-1)
    last_x1 = jnp.sum(1 + ranks(z_xS) * sorted_xS > sums_xS, axis=-1, keepdims=True, dtype=jnp.int32) - 1
    τ_x1 = (jnp.take_along_axis(sums_xS, last_x1, axis=-1) - 1) / (last_x1 + 1)
    return jnp.maximum(z_xS - jnp.maximum(τ_x1, 0), 0)


def project15(e_xS: Array, mask_xS: Array):
    """Solves 1.5-entmax: p_j = [z_j - τ]₊².

    The k largest scores have mean μ_k and Σ (z - μ_k)² = v_k; τ_k = μ_k - √((1 - v_k) / k), and τ is the last τ_k ≤ z_(k).
    """
    z_xS = raised(e_xS / 2, mask_xS)
    sorted_xS = jnp.sort(z_xS, axis=-1, descending=True)
    rank_xS = ranks(z_xS)
    μ_xS = jnp.cumsum(sorted_xS, axis=-1) / rank_xS
    v_xS = jnp.cumsum(sorted_xS**2, axis=-1) - rank_xS * μ_xS**2
    τ_xS = jnp.maximum(μ_xS - jnp.sqrt(jnp.maximum((1 - v_xS) / rank_xS, 0)), 0)
    last_x1 = jnp.sum(τ_xS <= sorted_xS, axis=-1, keepdims=True, dtype=jnp.int32) - 1
    return jnp.maximum(z_xS - jnp.take_along_axis(τ_xS, last_x1, axis=-1), 0) ** 2


def bisected(e_xS: Array, mask_xS: Array, alpha: float):
    """Solves α-entmax by bisection: p_j = exp(log[1 + (α-1)(e_j - t)]₊ / (α-1)), 0 ≤ t ≤ (1 - n^{1-α}) / (α-1), n positions.

    Accurate as α → 1, too.
    """
    n_x1 = jnp.maximum(mask_xS.sum(-1, keepdims=True, dtype=jnp.int32), 1).astype(e_xS.dtype)
    high_x1 = -jnp.expm1((1 - alpha) * jnp.log(n_x1)) / (alpha - 1)

    def weights(t_x1):
        return jnp.exp(jnp.log1p(jnp.maximum((alpha - 1) * (e_xS - t_x1), -1)) / (alpha - 1))

    def halve(_, bracket):
        low_x1, high_x1 = bracket
        middle_x1 = (low_x1 + high_x1) / 2
        heavy_x1 = weights(middle_x1).sum(-1, keepdims=True, where=mask_xS) > 1
        return jnp.where(heavy_x1, middle_x1, low_x1), jnp.where(heavy_x1, high_x1, middle_x1)

    digits = jnp.finfo(e_xS.dtype).nmant + 6
    low_x1, high_x1 = jax.lax.fori_loop(0, digits, halve, (jnp.zeros_like(high_x1), high_x1))
    return weights((low_x1 + high_x1) / 2)


def raised(z_xS: Array, mask_xS: Array):
    """Computes [1 + z]₊: the largest score is at 1, the threshold in [0, 1), masked positions and scores too low for a weight at 0."""
    return jnp.where(mask_xS, jnp.maximum(1 + z_xS, 0), 0)


def ranks(z_xS: Array):
    """Returns 1, 2, … along the last axis, with as many axes as `z_xS`."""
    return jax.lax.broadcasted_iota(z_xS.dtype, (1,) * (z_xS.ndim - 1) + z_xS.shape[-1:], z_xS.ndim - 1) + 1


sparsemax = exact(project, 2.0)
entmax15 = exact(project15, 1.5)
