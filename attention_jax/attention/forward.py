"""Forward attention: scores → weights over the alignments that stay or move on by one position a step. Zhang, Ling & Dai 2018,
arXiv 1807.06736.

    forward         α_i(j) ∝ (α_{i-1}(j) + α_{i-1}(j-1)) y_i(j)                              Zhang 2018, algorithm 1
    forward_agent   α_i(j) ∝ ((1 - u_{i-1}) α_{i-1}(j) + u_{i-1} α_{i-1}(j-1)) y_i(j)        Zhang 2018, algorithm 2
                    u_i = σ(Σ_j α_i(j) a_ij)

y_i is the softmax of the scores, whose sum cancels. α_0 is the first real position and u_0 = ½. The weights are a distribution: from the
last position there is nowhere to go, and weight stays there. Training and evaluation do the same; nothing is drawn.

The authors' transition agent is a small network of context, query and last output. A normaliser is given scores alone, so ours reads second
scores a_ij, which are scores of query and memory like the first, and takes their mean under α_i.

The state is log α_i, in float32, and a product is a sum: what rounds to 0 at one step is not out of reach at the next. One step at a time
(T = 1).
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.scores import NOWHERE
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.types import Normaliser
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array


@cites("zhang2018")
def forward_row(config: ModelConfig) -> Normaliser:
    """Makes the row that weighs staying and moving on alike.

    Use it where outputs keep the order of the source, no position is passed over, and weights are to be soft in evaluation, too, as in
    speech synthesis (Zhang 2018). Its copies failed from twice the trained lengths on here; those of forward_agent did not.
    """

    def normalise(params, log_α_BxS, scores, mask_Bx1xS, keys_Bx1):
        log_α_BxS = advance(log_α_BxS, log_α_BxS, scores[0], mask_Bx1xS)
        return weights(log_α_BxS, mask_Bx1xS).astype(scores[0].dtype), log_α_BxS

    return Normaliser(normalise, initial=first_place, knows_places=True, moves=True)


@cites("zhang2018")
def forward_agent_row(config: ModelConfig) -> Normaliser:
    """Makes the row with a transition agent, which says how likely a step is to move on: the mean of second scores.

    Use it as forward, where the pace changes: some positions last for many steps, others for one. At ten times the trained lengths
    0.93 of its copies were right here.

    Unlike the paper's, whose transition agent is a small network of context, query and last output, this one is a mean of second scores
    a_ij of query and memory: a normaliser is given scores alone.
    """

    def initial(mask_BxS):
        return first_place(mask_BxS), jnp.zeros(mask_BxS.shape[0], jnp.float32)

    def normalise(params, state, scores, mask_Bx1xS, keys_Bx1):
        log_α_BxS, logit_B = state
        stay_B, go_B = jax.nn.log_sigmoid(-logit_B), jax.nn.log_sigmoid(logit_B)
        log_α_BxS = advance(log_α_BxS + stay_B[:, None], log_α_BxS + go_B[:, None], scores[0], mask_Bx1xS)
        weights_Bx1xS = weights(log_α_BxS, mask_Bx1xS)
        a_Bx1xS = jnp.where(mask_Bx1xS, scores[1].astype(weights_Bx1xS.dtype), 0)
        return weights_Bx1xS.astype(scores[0].dtype), (log_α_BxS, (weights_Bx1xS * a_Bx1xS).sum((1, 2)))

    return Normaliser(normalise, initial=initial, scores=2, knows_places=True, moves=True)


def first_place(mask_BxS: Array) -> jax.Array:
    """Returns log α_0: 0 at the first real position, `NOWHERE` elsewhere."""
    return jnp.where(masks.first_alone(mask_BxS), 0, NOWHERE).astype(jnp.float32)


def advance(stay_BxS: Array, go_BxS: Array, scores_Bx1xS: Array, mask_Bx1xS: Array) -> jax.Array:
    """Computes log α_i of the log-probabilities of staying at each position and of leaving it; `NOWHERE` at padding."""
    mask_BxS = mask_Bx1xS.squeeze(1)
    come_BxS = jnp.pad(go_BxS[:, :-1], ((0, 0), (1, 0)), constant_values=NOWHERE)
    e_BxS = jnp.where(mask_BxS, scores_Bx1xS.squeeze(1).astype(stay_BxS.dtype), 0)
    reached_BxS = jnp.where(mask_BxS, jnp.logaddexp(stay_BxS, come_BxS) + e_BxS, NOWHERE)
    return jnp.where(mask_BxS, jax.nn.log_softmax(reached_BxS, axis=1), NOWHERE)


def weights(log_α_BxS: Array, mask_Bx1xS: Array) -> jax.Array:
    """Returns α_i of the one query; exactly 0 at padding."""
    return jnp.where(mask_Bx1xS, jnp.exp(log_α_BxS)[:, None], 0)
