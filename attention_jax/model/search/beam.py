"""Beam search: K outputs side by side, the best of what they can become kept at every position.

    score(Y) = log p(Y) / lp(Y) + cp(Y)                       (Wu 2016, eq. 14)
    lp(Y) = ((5 + |Y|) / 6)^α                                 α = `length_penalty`; |Y| counts EOS
    cp(Y) = β Σ_s log min(Σ_t weights_ts, 1)                  β = `coverage_penalty`; over real source positions

At each position the K continuations with the largest log p are chosen among the K·V there are; one that says EOS leaves the beam with
its score, and the N = `n_best` best of these are kept. The search goes on until none of a row's live outputs can enter them: log p only
falls, cp ≤ 0, and lp is largest at the last position, so no continuation of Y scores above log p(Y) / lp(positions). The loop ends
when every row has; what a row does beyond its own end changes nothing of it. Outputs that the last position cuts off fill the places
that ended ones leave free, after them. K = 1 is greedy decoding, K = V^T finds the best output there is.
"""

import jax
import jax.numpy as jnp
from flax import struct

from attention_jax.config import SearchConfig, check
from attention_jax.model.search import likeliest
from attention_jax.model.search.following import exact, in_any, log_probabilities, without_end
from attention_jax.types import BOS, EOS, PAD, Found, Model
from attention_jax.types.signatures import Array, Params

UNSEEN = 1e-10  # least coverage of a source position in cp: what was never looked at costs 23 β, not everything


@struct.dataclass
class Ends:
    """Where outputs end: each is read back from the slot it had at its last position. Two axes, rows and outputs."""

    score: Array  # -inf: there is none
    log_p: Array
    last: Array  # position of the last token
    slot: Array


@struct.dataclass
class Trace:
    """What each slot said at each position, where it looked, and the slot it came from. Axes T, B, K."""

    token: jax.Array
    weights: jax.Array  # and S
    parent: jax.Array


def beam(
    model: Model, params: Params, source_BxS: Array, mask_BxS: Array, positions: int, settings: SearchConfig, stop: bool = True
) -> Found:
    """The N best outputs, at most T = `positions` long. `stop=False` never ends an output; see `greedy`.

    Raises `ConfigError` for settings that cannot be.
    """
    check(settings)
    (B, S), K, N, T = source_BxS.shape, settings.beam_size, settings.n_best, positions
    prepared, state = model.start(params, source_BxS, mask_BxS)
    state = jax.tree.map(lambda x: jnp.repeat(x[:, None], K, axis=1), state)
    step = jax.vmap(model.step, in_axes=(None, None, 1, 1), out_axes=1)  # what is prepared serves all K outputs as it is
    start_BxK = jnp.full((B, K), BOS, jnp.int32)
    logits, weights, _ = jax.eval_shape(step, params, prepared, state, start_BxK)

    def ends(log_p_BxK, covered_BxKxS, length):
        """Of outputs that have so many tokens now."""
        score_BxK = penalised(log_p_BxK, length, covered_BxKxS, mask_BxS[:, None, :], settings)
        slot_BxK = jnp.broadcast_to(jnp.arange(K, dtype=jnp.int32), (B, K))
        return Ends(score_BxK, log_p_BxK, jnp.full((B, K), length - 1, jnp.int32), slot_BxK)

    def promising(loop):
        i, *_, log_p_BxK, _, ended, _ = loop
        bound_B = log_p_BxK.max(1) / length_penalty(T, settings.length_penalty)
        return (i < T) & in_any(ended.score[:, -1] < bound_B)

    def body(loop):
        i, state, token_BxK, log_p_BxK, covered_BxKxS, ended, trace = loop
        logits_BxKxV, weights_BxKxS, state = step(params, prepared, state, token_BxK)
        V = logits_BxKxV.shape[2]
        next_BxKxV = without_end(log_probabilities(logits_BxKxV), i, settings.min_length, stop)
        total_BxKxV = log_p_BxK[:, :, None] + next_BxKxV
        log_p_BxK, chosen_BxK = likeliest.largest(total_BxKxV.reshape(B, K * V), K)
        parent_BxK, token_BxK = chosen_BxK // V, chosen_BxK % V
        weights_BxKxS = taken(weights_BxKxS, parent_BxK)
        covered_BxKxS = taken(covered_BxKxS, parent_BxK) + weights_BxKxS
        trace = jax.tree.map(lambda kept, new: kept.at[i].set(new), trace, Trace(token_BxK, weights_BxKxS, parent_BxK))
        ends_BxK = stop & (token_BxK == EOS)
        ended = best(joined(ended, ends(jnp.where(ends_BxK, log_p_BxK, -jnp.inf), covered_BxKxS, i + 1)), N)
        log_p_BxK = jnp.where(ends_BxK, -jnp.inf, log_p_BxK)
        state = jax.tree.map(lambda x: taken(x, parent_BxK), state)
        return i + 1, state, token_BxK, log_p_BxK, covered_BxKxS, ended, trace

    nothing_BxN, first_BxN = jnp.full((B, N), -jnp.inf, exact(logits.dtype)), jnp.zeros((B, N), jnp.int32)
    one_BxK = jnp.full((B, K), -jnp.inf, exact(logits.dtype)).at[:, 0].set(0)  # one output is live, the empty one
    covered_BxKxS = jnp.zeros((B, K, S), exact(weights.dtype))
    ended = Ends(nothing_BxN, nothing_BxN, first_BxN, first_BxN)
    said = jnp.full((T, B, K), PAD, jnp.int32)
    trace = Trace(said, jnp.zeros((T, B, K, S), weights.dtype), said)
    loop = jax.lax.while_loop(promising, body, (jnp.int32(0), state, start_BxK, one_BxK, covered_BxKxS, ended, trace))
    i, _, _, log_p_BxK, covered_BxKxS, ended, trace = loop
    return read_back(trace, filled(ended, best(ends(log_p_BxK, covered_BxKxS, i), N)))


def penalised(log_p: Array, length: Array | int, covered_xS: Array, mask_xS: Array, settings: SearchConfig):
    """log p / lp + cp (Wu 2016, eq. 14). `covered_xS` are the weights added over all positions so far."""
    covered_xS = jnp.clip(covered_xS.astype(log_p.dtype), UNSEEN, 1)
    coverage = jnp.where(mask_xS, jnp.log(covered_xS), 0).sum(-1)
    return log_p / length_penalty(length, settings.length_penalty) + settings.coverage_penalty * coverage


def length_penalty(length: Array | int, α: float):
    """lp = ((5 + |Y|) / 6)^α."""
    return ((5 + length) / 6) ** α


def taken(x_BxKx: Array, index_BxN: Array):
    """x[b, index[b, n]], whatever axes follow the second."""
    return jnp.take_along_axis(x_BxKx, index_BxN.reshape(*index_BxN.shape, *(1,) * (x_BxKx.ndim - 2)), axis=1)


def joined(first: Ends, second: Ends) -> Ends:
    """The outputs of both."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), first, second)


def best(ends: Ends, N: int) -> Ends:
    """The N best by score, best first; of equals the first."""
    order_BxN = jax.lax.top_k(ends.score, N)[1]
    return jax.tree.map(lambda x: taken(x, order_BxN), ends)


def filled(ended: Ends, cut: Ends) -> Ends:
    """The outputs that ended, and in the places they leave free those that were cut off; N of each come in, N go out."""
    n_Bx1 = (ended.score > -jnp.inf).sum(1, dtype=jnp.int32)[:, None]
    N = ended.score.shape[1]
    place_1xN = jnp.arange(N, dtype=jnp.int32)[None, :]
    index_BxN = jnp.where(place_1xN < n_Bx1, place_1xN, N + place_1xN - n_Bx1)
    return jax.tree.map(lambda x: taken(x, index_BxN), joined(ended, cut))


def read_back(trace: Trace, ends: Ends) -> Found:
    """From the last token of each output to its first, by parents."""
    exists_BxN = ends.score > -jnp.inf

    def body(slot_BxN, x):
        t, step = x
        inside_BxN = exists_BxN & (t <= ends.last)
        token_BxN = jnp.where(inside_BxN, taken(step.token, slot_BxN), PAD)
        weights_BxNxS = jnp.where(inside_BxN[:, :, None], taken(step.weights, slot_BxN), 0)
        return jnp.where(inside_BxN, taken(step.parent, slot_BxN), slot_BxN), (token_BxN, weights_BxNxS)

    T = trace.token.shape[0]
    _, (tokens_TxBxN, weights_TxBxNxS) = jax.lax.scan(body, ends.slot, (jnp.arange(T, dtype=jnp.int32), trace), reverse=True)
    return Found(jnp.moveaxis(tokens_TxBxN, 0, 2), jnp.moveaxis(weights_TxBxNxS, 0, 2), ends.score, ends.log_p)
