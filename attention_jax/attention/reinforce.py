"""Hard attention by drawing: one position a step, and the score function for its gradient (REINFORCE; Xu 2015, §4.1).

    reinforce    extra_t = -(R_t - b_t) log α_t(z_t) - λ H[α_t] (+ ½ (b_t - R_t)² - ½ R_t²)                Xu 2015, §4.1
                 z_t ~ α_t        c_t = h_{z_t}        R_t = Σ_{t' ≥ t} log p(y_t')

R and b are constant, except for b in the last two terms. This is taken over real target positions, so that Σ nll + Σ extra has as its
expected gradient that of -E_z[Σ_t log p(y_t | z_{≤t})] - λ E_z[Σ_t H[α_t]], whatever b is, as long as it does not know z_t (of the
entropy's gradient only what does not pass through earlier draws is kept, as in the paper). E_z[log p] is a lower bound of log E_z[p], the
likelihood that `marginal` maximises. The value of extra is no likelihood; its gradient is what counts. The baselines b_t, by
config.baseline:

    none      0
    average   the moving average of log p per token over past updates × real target positions from t on
    learned   v tanh(W q_t + a) + c of the query, trained by the two last terms: squared error, less a constant that makes it 0 where
              nothing is drawn. The decoder does not learn from it

Xu's mixing: with probability config.mixing an example takes the expected context Σ_s α_ts h_s at all of its steps instead. Nothing is drawn
for it, log α(z), H and b are 0, and its objective is that of `soft`; the batch's is a mixture of the two.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention import estimators
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import predictions
from attention_jax.layers.affine import affine, dense
from attention_jax.types import DrawTerms, Estimator
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


@cites("xu2015")
def reinforce(config: ModelConfig, sizes: Sizes) -> Estimator:
    """Makes the estimator that draws one position a step.

    config.baseline, config.entropy_bonus (λ, per nat) and config.mixing in [0, 1] as above.

    Use it for one position a step where later steps depend on what was drawn, which marginal refuses, and the gradient has to be
    unbiased. On copying it took eight times the updates of soft, and it did not learn recall.
    """
    learned = config.baseline == "learned"

    def init(key):
        if not learned:
            return {}
        hidden_key, output_key = jax.random.split(key)
        return {"hidden": dense(hidden_key, sizes.query, sizes.score), "output": dense(output_key, sizes.score, 1)}

    def initial(mask_BxS, keys_B):
        """Which examples take the expected context."""
        if keys_B is None:
            return jnp.zeros(mask_BxS.shape[0], bool)
        return jax.vmap(lambda key: jax.random.bernoulli(key, jnp.float32(config.mixing)))(keys_B)

    def draw(params, expected_B, α_BxTxS, query_BxTxH, keys_BxT):
        if keys_BxT is None:
            return estimators.largest(α_BxTxS), estimators.nothing_drawn(α_BxTxS)
        hard_BxTxS = estimators.one_hot_largest(*estimators.noisy_log(α_BxTxS, keys_BxT), α_BxTxS.dtype)
        log_BxTxS = estimators.log_weights(α_BxTxS)[0].astype(α_BxTxS.dtype)
        baseline_BxT = jnp.zeros(α_BxTxS.shape[:2], α_BxTxS.dtype)
        if learned:
            hidden_BxTxA = jnp.tanh(affine(params["hidden"], jax.lax.stop_gradient(query_BxTxH)))
            baseline_BxT = affine(params["output"], hidden_BxTxA)[:, :, 0].astype(α_BxTxS.dtype)
        terms = DrawTerms((hard_BxTxS * log_BxTxS).sum(2), -(α_BxTxS * log_BxTxS).sum(2), baseline_BxT)
        drawn_BxT = hard_BxTxS.any(2) & ~expected_B[:, None]
        used_BxTxS = jnp.where(expected_B[:, None, None], α_BxTxS, hard_BxTxS)
        return used_BxTxS, jax.tree.map(lambda x_BxT: jnp.where(drawn_BxT, x_BxT, 0), terms)

    def predict(params, emit, values, attended, query_BxTxH, goal):
        prediction, extra_BxT = estimators.from_context(params, emit, values, attended, query_BxTxH, goal)
        if goal is None:
            return prediction, extra_BxT
        nll_BxT, _ = predictions.judged(prediction, goal.target_BxT, goal.mask_BxT)
        reward_BxT = from_here(-nll_BxT)
        terms = attended.terms
        baseline_BxT = terms.baseline
        if config.baseline == "average":
            baseline_BxT = goal.average * from_here(goal.mask_BxT.astype(reward_BxT.dtype))
        extra_BxT = -jax.lax.stop_gradient(reward_BxT - baseline_BxT) * terms.log_draw - config.entropy_bonus * terms.entropy
        if learned:
            extra_BxT += 0.5 * terms.baseline**2 - reward_BxT * terms.baseline
        return prediction, jnp.where(goal.mask_BxT, extra_BxT, 0).astype(attended.context_BxTxC.dtype)

    return Estimator(draw, predict, init, initial, knows_places=True, is_hard=True)


def from_here(x_BxT: Array):
    """Computes Σ_{t' ≥ t} x_t' along the last axis."""
    return jnp.cumsum(x_BxT[:, ::-1], axis=1)[:, ::-1]
