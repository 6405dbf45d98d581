"""Estimators: a distribution over positions → the weights of the context, and the objective to train it by.

A row is `row(config, sizes) → Estimator`. Memory vectors h_s, step t's distribution α_t over positions and its position z_t ~ α_t go in;
used_t comes out, c_t = Σ_s used_ts h_s, and Σ nll + Σ extra is minimised. Over the target positions t of an example that sum is:

    soft              -Σ_t log p(y_t | c_t),  used = α                                                        Bahdanau 2015
    gumbel            -Σ_t E_g log p(y_t | c_t),  used = softmax((log α + g) / τ),  g ~ Gumbel(0, 1)          Jang 2017, Maddison 2017
    straight_through  -Σ_t E_z log p(y_t | h_{z_t}) in value, z = arg max (log α + g); the gradient is gumbel's  Jang 2017, §2.2
    reinforce         -Σ_t E_z log p(y_t | h_{z_t}) ≥ -log Σ_z α(z) p(y | z), unbiased gradient: reinforce.py       Xu 2015
    marginal          -Σ_t log Σ_s α_ts p(y_t | h_s), exact: marginal.py                                    Wu 2018, Deng 2018
    variational       -Σ_t ELBO_t, exact: marginal.py                                                       Deng 2018

As gradients of E_z log p those of gumbel and straight_through are biased: gumbel's is unbiased for its own objective, which reads contexts
between the memory vectors, and its bias vanishes as τ → 0 while its variance grows; that of straight_through, which takes the slope of log
p at the drawn position for its whole change, stays unless log p is linear in c. Tests measure both. Without keys (evaluation) gumbel,
straight_through and reinforce take the arg max, the others change nothing.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention import normalisers
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended, DrawTerms, Emit, Estimator, Targets
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params, Tree

FLOOR = 1e-30
"""Places with a smaller weight are never drawn or read, so that log α and its gradient are finite."""


def soft(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator whose context is the expected memory vector; nothing is drawn.

    Use it first: nothing is drawn, and the gradient is exact. On copying, reversing and sorting hard ones were no more accurate, with
    budget enough; marginal learned recall in fewer updates.

    No paper of its own: it is what Bahdanau 2015 does with every score.
    """
    return Estimator(lambda params, state, α_BxTxS, query_BxTxH, keys_BxT: (α_BxTxS, nothing_drawn(α_BxTxS)), from_context)


@cites("jang2017", "maddison2017")
def gumbel(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator of the relaxed draw softmax((log α + g) / τ), τ = config.gumbel_temperature > 0 (Jang 2017, eq. 2).

    Use it for one position a step in evaluation, with a gradient of low variance; it is biased, less so as τ falls. It took one to
    two times the updates of soft.
    """

    def draw(params, state, α_BxTxS, query_BxTxH, keys_BxT):
        if keys_BxT is None:
            return largest(α_BxTxS), nothing_drawn(α_BxTxS)
        relaxed_BxTxS, _ = relaxed_draw(α_BxTxS, keys_BxT, config.gumbel_temperature)
        return relaxed_BxTxS, nothing_drawn(α_BxTxS)

    return Estimator(draw, from_context, knows_places=True, is_hard=True)


@cites("jang2017")
def straight_through(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator that draws hard going forward and relaxed going backward (Jang 2017, §2.2).

    Use it for one position a step, in training as well, without the noise of reinforce. On copying it took twice the updates of soft.
    """

    def draw(params, state, α_BxTxS, query_BxTxH, keys_BxT):
        if keys_BxT is None:
            return largest(α_BxTxS), nothing_drawn(α_BxTxS)
        relaxed_BxTxS, hard_BxTxS = relaxed_draw(α_BxTxS, keys_BxT, config.gumbel_temperature)
        return hard_BxTxS + (relaxed_BxTxS - jax.lax.stop_gradient(relaxed_BxTxS)), nothing_drawn(α_BxTxS)

    return Estimator(draw, from_context, knows_places=True, is_hard=True)


def relaxed_draw(α_BxTxS: Array, keys_BxT: Key, temperature: float):
    """Draws (softmax((log α + g) / τ), one-hot arg max of log α + g): one draw, relaxed and hard; zeros where α is zero."""
    noisy_BxTxS, possible_BxTxS = noisy_log(α_BxTxS, keys_BxT)
    relaxed_BxTxS = normalisers.softmax(noisy_BxTxS / temperature, possible_BxTxS)
    return relaxed_BxTxS.astype(α_BxTxS.dtype), one_hot_largest(noisy_BxTxS, possible_BxTxS, α_BxTxS.dtype)


def noisy_log(α_BxTxS: Array, keys_BxT: Key):
    """Returns (log α + g, mask of possible positions), in float32 at least: the arg max over those is a draw from α (Gumbel-max).

    Position s has the same noise whatever S is, since JAX's random bits depend on key and position only.
    """
    log_BxTxS, possible_BxTxS = log_weights(α_BxTxS)
    S, dtype = α_BxTxS.shape[2], log_BxTxS.dtype
    return log_BxTxS + jax.vmap(jax.vmap(lambda key: jax.random.gumbel(key, (S,), dtype)))(keys_BxT), possible_BxTxS


def log_weights(α_xS: Array):
    """Returns (log α, mask of α above the floor), in float32 at least; log α is 0, with zero gradient, below the floor."""
    possible_xS = α_xS > FLOOR
    exact_xS = α_xS.astype(jnp.promote_types(α_xS.dtype, jnp.float32))
    return jnp.log(jnp.where(possible_xS, exact_xS, 1)), possible_xS


def largest(α_xS: Array):
    """Returns the one-hot arg max of the weights, the first of equals; a row of zeros stays one."""
    return one_hot_largest(α_xS, α_xS > 0, α_xS.dtype)


def one_hot_largest(scores_xS: Array, possible_xS: Array, dtype: jax.typing.DTypeLike):
    """Returns the one-hot arg max over possible positions; zeros where there is none."""
    best_x = jnp.argmax(jnp.where(possible_xS, scores_xS, -jnp.inf), axis=-1)
    return jax.nn.one_hot(best_x, scores_xS.shape[-1], dtype=dtype) * possible_xS.astype(dtype)


def nothing_drawn(weights_xS: Array) -> DrawTerms:
    """Returns terms of zeros, one for each attention step."""
    zeros = jnp.zeros(weights_xS.shape[:-1], weights_xS.dtype)
    return DrawTerms(zeros, zeros, zeros)


def from_context(params: Params, emit: Emit, values: Tree, attended: Attended, query_BxTxH: Array, goal: Targets | None):
    """Returns the prediction of each context, and no further loss."""
    context_BxTxC = attended.context_BxTxC
    return emit(context_BxTxC), jnp.zeros(context_BxTxC.shape[:2], context_BxTxC.dtype)


def log_likelihood(logits_BxTxV: Array, target_BxT: Array):
    """Computes log p(target) in nats per position, in float32 at least."""
    log_p_BxTxV = jax.nn.log_softmax(logits_BxTxV.astype(jnp.promote_types(logits_BxTxV.dtype, jnp.float32)))
    return jnp.take_along_axis(log_p_BxTxV, target_BxT[:, :, None], axis=2)[:, :, 0]
