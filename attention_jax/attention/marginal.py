"""Hard attention by enumeration: one position a step, and every position is tried (Wu 2018; Deng 2018). Nothing is drawn.

    p(y_t) = Σ_s α_ts p(y_t | h_s)        p(y_t | h_s) = softmax(emit(h_s))

    marginal      Σ nll = -Σ_t log p(y_t) = -Σ_t log Σ_s α_ts p(y_t | h_s),  extra = 0                      Wu 2018; Deng 2018
    variational   Σ nll + Σ extra = -Σ_t ELBO_t,  ELBO_t = Σ_s q_ts log p(y_t | h_s) - KL(q_t ‖ α_t)        Deng 2018, §3
                  q_ts = softmax_s(v · tanh(W [s_t; y_t] + U h_s)),  s_t the query, y_t embedded, over the places where α_ts is not zero

Both predict with the mixture, in training as in evaluation, so nll is exact in both, and extra_t = -ELBO_t - nll_t = KL(q_t ‖ p(z_t | y))
≥ 0 is what variational loses. Where nothing but y_t depends on z_t, the posterior α_ts p(y_t | h_s) / p(y_t) is a function of s_t, y_t and
the memory, which are what q is given: a q that is flexible enough reaches it, no later token is needed, and the bound is tight.

One step's sum is the exact likelihood only where past positions do not reach the decoder state, that is where the context enters the
readout alone (timing = after, no input feeding, one head, no copying); combinations.py refuses the rest. Places are tried one after the
other: memory is O(B·T·V), not O(B·T·S·V), in the backward pass too; time is 2 readouts per position forward, and one more backward.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention import estimators, normalisers, scores
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.types import Attended, Emit, Estimator, Targets, logits_of
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


@cites("wu2018", "deng2018")
def marginal(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator of log Σ_s α_ts p(y_t | h_s), exactly.

    Use it for one position a step and the exact likelihood: it learned recall in 400 updates, which reinforce did not in 1,600, and copying
    and reversing in a fifth of reinforce's.
    """

    def predict(params, emit, values, attended, query_BxTxH, goal):
        logits_BxTxV, _ = mixture(emit, values[1], attended.weights_BxTxS, target(attended, goal))
        return logits_BxTxV, jnp.zeros(logits_BxTxV.shape[:2], logits_BxTxV.dtype)

    return estimators.soft(config, sizes)._replace(predict=predict, is_hard=True, enumerates=True)


@cites("deng2018")
def variational(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator of the evidence lower bound under a learned posterior q, its expectation by enumeration.

    Use it to learn a posterior over positions, which has seen the output, beside the attention. Else marginal: its likelihood is no
    bound, its updates take less time, and on recall it needed 400 of them where this took 400 to more than 1,600.
    """
    posterior = scores.additive(config, sizes._replace(query=sizes.query + sizes.embedding))

    def predict(params, emit, values, attended, query_BxTxH, goal):
        _, memory_BxSxM, mask_BxS = values
        logits_BxTxV, log_p_BxTxS = mixture(emit, memory_BxSxM, attended.weights_BxTxS, target(attended, goal))
        if goal is None:
            return logits_BxTxV, jnp.zeros(logits_BxTxV.shape[:2], logits_BxTxV.dtype)
        log_α_BxTxS, possible_BxTxS = estimators.log_weights(attended.weights_BxTxS)
        asked_BxTxI = jnp.concatenate([query_BxTxH, goal.embedded_BxTxE], axis=2)
        e_BxTxS = posterior.score(params, posterior.project(params, memory_BxSxM, mask_BxS), (), asked_BxTxI)
        q_BxTxS = normalisers.softmax(e_BxTxS.astype(log_p_BxTxS.dtype), possible_BxTxS)
        log_q_BxTxS, _ = estimators.log_weights(q_BxTxS)
        elbo_BxT = (q_BxTxS * (log_p_BxTxS + log_α_BxTxS - log_q_BxTxS)).sum(2)
        extra_BxT = estimators.log_likelihood(logits_BxTxV, goal.target_BxT) - elbo_BxT
        real_BxT = goal.mask_BxT & possible_BxTxS.any(2)
        return logits_BxTxV, jnp.where(real_BxT, extra_BxT, 0).astype(logits_BxTxV.dtype)

    return estimators.soft(config, sizes)._replace(init=posterior.init, predict=predict, is_hard=True, enumerates=True)


def target(attended: Attended, goal: Targets | None):
    """Returns the goal's target; without a goal arbitrary tokens, whose likelihood nobody reads."""
    return jnp.zeros(attended.weights_BxTxS.shape[:2], jnp.int32) if goal is None else goal.target_BxT


def mixture(emit: Emit, memory_BxSxM: Array, α_BxTxS: Array, target_BxT: Array):
    """Computes (log Σ_s α_ts p(v | h_s) for every v, log p(target | h_s) for every s).

    The first has the dtype of the memory, the second is float32 at least. Logits are 0 where a step has no position, and the second is 0
    where α is. Scans the positions twice, since log Σ exp wants the largest term first: carried along with the sum, it would be kept once
    per position for the backward pass.
    """
    (B, T), M = α_BxTxS.shape[:2], memory_BxSxM.shape[2]
    possible_BxTxS = α_BxTxS > estimators.FLOOR
    places = (memory_BxSxM.swapaxes(0, 1), jnp.moveaxis(α_BxTxS, 2, 0), jnp.moveaxis(possible_BxTxS, 2, 0))

    def read(memory_BxM):
        logits_BxTxV = logits_of(emit(jnp.broadcast_to(memory_BxM[:, None, :], (B, T, M))))
        return jax.nn.log_softmax(logits_BxTxV.astype(jnp.promote_types(logits_BxTxV.dtype, jnp.float32)))

    def highest(top_BxTxV, place):
        memory_BxM, _, possible_BxT = place
        log_p_BxTxV = jax.lax.stop_gradient(read(memory_BxM))
        return jnp.where(possible_BxT[:, :, None], jnp.maximum(top_BxTxV, log_p_BxTxV), top_BxTxV), None

    @jax.checkpoint
    def share(top_BxTxV, place):
        memory_BxM, α_BxT, possible_BxT = place
        log_p_BxTxV = read(memory_BxM)
        over_BxTxV = jnp.where(possible_BxT[:, :, None], log_p_BxTxV - top_BxTxV, 0)
        share_BxTxV = jnp.where(possible_BxT, α_BxT, 0).astype(log_p_BxTxV.dtype)[:, :, None] * jnp.exp(over_BxTxV)
        chosen_BxT = jnp.take_along_axis(log_p_BxTxV, target_BxT[:, :, None], axis=2)[:, :, 0]
        return share_BxTxV, jnp.where(possible_BxT, chosen_BxT, 0)

    def add(total_BxTxV, place):
        share_BxTxV, chosen_BxT = share(top_BxTxV, place)
        return total_BxTxV + share_BxTxV, chosen_BxT

    shape = jax.eval_shape(read, memory_BxSxM[:, 0])
    any_BxTx1 = possible_BxTxS.any(2, keepdims=True)
    top_BxTxV, _ = jax.lax.scan(highest, jnp.full(shape.shape, -jnp.inf, shape.dtype), places)
    top_BxTxV = jnp.where(any_BxTx1, top_BxTxV, 0)
    total_BxTxV, log_p_SxBxT = jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), places)
    log_mixture_BxTxV = jnp.where(any_BxTx1, top_BxTxV + jnp.log(jnp.where(any_BxTx1, total_BxTxV, 1)), 0)
    return log_mixture_BxTxV.astype(memory_BxSxM.dtype), jnp.moveaxis(log_p_SxBxT, 0, 2)
