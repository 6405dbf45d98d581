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

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from attention_jax.config import SearchConfig, check
from attention_jax.model.search import top_k
from attention_jax.model.search.one_output import SPECIAL, Special, exact, in_any, log_probabilities, without_end
from attention_jax.model.search.steps import Steps
from attention_jax.types import Hypotheses
from attention_jax.types.signatures import Array, Tree

UNSEEN = 1e-10  # least coverage of a source position in cp: what was never looked at costs 23 β, not everything


@struct.dataclass
class Ends:
    """Outputs that ended, or were cut off: where each is to be read back from. Axes B and N (or K)."""

    score: Array  # -inf: there is none
    log_p: Array
    last: Array  # position of the last token
    slot: Array


@struct.dataclass
class Trace:
    """What each slot of the beam had at each position: token, weights, and which slot it continues. Axes T, B, K."""

    token: jax.Array
    weights: jax.Array  # and S
    parent: jax.Array


@struct.dataclass
class Loop:
    """The state of the search: K live outputs of each row, and the N best of those that ended."""

    i: Array  # the position
    state: Tree  # of the model; the second axis is K
    token_BxK: Array
    log_p_BxK: Array
    covered_BxKxS: Array  # weights, added over all positions so far
    ended: Ends
    trace: Trace


def beam(steps: Steps, positions: int, settings: SearchConfig, stop: bool = True, special: Special = SPECIAL) -> Hypotheses:
    """Finds the N = `settings.n_best` best outputs of each source, with at most T = `positions` tokens.

    With `stop=False` no output ends before T, as in `greedy`. Raises `ConfigError` for settings that cannot be.
    """
    check(settings)
    step = jax.vmap(steps.step, in_axes=1, out_axes=1)  # what a step closes over serves all K outputs as it is

    def promising(loop: Loop):
        bound_B = loop.log_p_BxK.max(1) / length_penalty(positions, settings.length_penalty)
        return (loop.i < positions) & in_any(loop.ended.score[:, -1] < bound_B)

    def body(loop: Loop):
        return moved(loop, step, steps.mask_BxS, settings, stop, special.eos)

    loop = jax.lax.while_loop(promising, body, first(steps, positions, settings, special))
    cut = ends(loop.log_p_BxK, loop.covered_BxKxS, loop.i, steps.mask_BxS, settings)
    return read_back(loop.trace, filled(loop.ended, best(cut, settings.n_best)), special.pad)


def first(steps: Steps, positions: int, settings: SearchConfig, special: Special) -> Loop:
    """Makes the state before the first position: the empty output is live, and none has ended."""
    K, N, T, (B, S) = settings.beam_size, settings.n_best, positions, steps.mask_BxS.shape
    logits, weights = steps.logits_BxV, steps.weights_BxS
    state = jax.tree.map(lambda x: jnp.repeat(x[:, None], K, axis=1), steps.state)
    start_BxK = jnp.full((B, K), special.bos, jnp.int32)
    nothing_BxN, first_BxN = jnp.full((B, N), -jnp.inf, exact(logits.dtype)), jnp.zeros((B, N), jnp.int32)
    one_BxK = jnp.full((B, K), -jnp.inf, exact(logits.dtype)).at[:, 0].set(0)
    covered_BxKxS = jnp.zeros((B, K, S), exact(weights.dtype))
    ended = Ends(nothing_BxN, nothing_BxN, first_BxN, first_BxN)
    said = jnp.full((T, B, K), special.pad, jnp.int32)
    trace = Trace(said, jnp.zeros((T, B, K, S), weights.dtype), said)
    return Loop(jnp.int32(0), state, start_BxK, one_BxK, covered_BxKxS, ended, trace)


def moved(loop: Loop, step: Callable, mask_BxS: Array, settings: SearchConfig, stop: bool, eos: int) -> Loop:
    """Moves the search by one position. `step(state, token_BxK)` → (logits_BxKxV, weights_BxKxS, state)."""
    logits_BxKxV, weights_BxKxS, state = step(loop.state, loop.token_BxK)
    B, K, V = logits_BxKxV.shape
    next_BxKxV = without_end(log_probabilities(logits_BxKxV), loop.i, settings.min_length, stop, eos)
    total_BxKxV = loop.log_p_BxK[:, :, None] + next_BxKxV
    log_p_BxK, chosen_BxK = top_k.largest(total_BxKxV.reshape(B, K * V), K)
    parent_BxK, token_BxK = chosen_BxK // V, chosen_BxK % V
    weights_BxKxS = taken(weights_BxKxS, parent_BxK)
    covered_BxKxS = taken(loop.covered_BxKxS, parent_BxK) + weights_BxKxS
    trace = jax.tree.map(lambda kept, new: kept.at[loop.i].set(new), loop.trace, Trace(token_BxK, weights_BxKxS, parent_BxK))
    ends_BxK = stop & (token_BxK == eos)
    new = ends(jnp.where(ends_BxK, log_p_BxK, -jnp.inf), covered_BxKxS, loop.i + 1, mask_BxS, settings)
    ended = best(joined(loop.ended, new), settings.n_best)
    log_p_BxK = jnp.where(ends_BxK, -jnp.inf, log_p_BxK)
    state = jax.tree.map(lambda x: taken(x, parent_BxK), state)
    return Loop(loop.i + 1, state, token_BxK, log_p_BxK, covered_BxKxS, ended, trace)


def ends(log_p_BxK: Array, covered_BxKxS: Array, length: Array, mask_BxS: Array, settings: SearchConfig) -> Ends:
    """Scores live outputs that have `length` tokens as if they ended here; -∞ where log p is -∞."""
    score_BxK = penalised(log_p_BxK, length, covered_BxKxS, mask_BxS[:, None, :], settings)
    slot_BxK = jnp.broadcast_to(jnp.arange(log_p_BxK.shape[1], dtype=jnp.int32), log_p_BxK.shape)
    return Ends(score_BxK, log_p_BxK, jnp.full(log_p_BxK.shape, length - 1, jnp.int32), slot_BxK)


def penalised(log_p: Array, length: Array | int, covered_xS: Array, mask_xS: Array, settings: SearchConfig):
    """Computes log p / lp + cp (Wu 2016, eq. 14). `covered_xS` are the weights, summed over all positions so far."""
    covered_xS = jnp.clip(covered_xS.astype(log_p.dtype), UNSEEN, 1)
    coverage = jnp.where(mask_xS, jnp.log(covered_xS), 0).sum(-1)
    return log_p / length_penalty(length, settings.length_penalty) + settings.coverage_penalty * coverage


def length_penalty(length: Array | int, α: float):
    """Computes lp = ((5 + |Y|) / 6)^α of |Y| = `length` tokens, EOS included (Wu 2016, eq. 14)."""
    return ((5 + length) / 6) ** α


def taken(x_BxKx: Array, index_BxN: Array):
    """Gathers x[b, index[b, n]] along the second axis; other axes may follow it."""
    return jnp.take_along_axis(x_BxKx, index_BxN.reshape(*index_BxN.shape, *(1,) * (x_BxKx.ndim - 2)), axis=1)


def joined(first: Ends, second: Ends) -> Ends:
    """Concatenates two sets of outputs along their second axis."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), first, second)


def best(ends: Ends, N: int) -> Ends:
    """Returns the N outputs with the highest scores, best first; of equal ones the first comes first."""
    order_BxN = jax.lax.top_k(ends.score, N)[1]
    return jax.tree.map(lambda x: taken(x, order_BxN), ends)


def filled(ended: Ends, cut: Ends) -> Ends:
    """Returns N outputs: those that ended, then as many of those that were cut off as there is room for; N of each come in."""
    n_Bx1 = (ended.score > -jnp.inf).sum(1, dtype=jnp.int32)[:, None]
    N = ended.score.shape[1]
    place_1xN = jnp.arange(N, dtype=jnp.int32)[None, :]
    index_BxN = jnp.where(place_1xN < n_Bx1, place_1xN, N + place_1xN - n_Bx1)
    return jax.tree.map(lambda x: taken(x, index_BxN), joined(ended, cut))


def read_back(trace: Trace, ends: Ends, pad: int) -> Hypotheses:
    """Reads outputs from their last token to their first, along parents, and returns them with their weights."""
    exists_BxN = ends.score > -jnp.inf

    def body(slot_BxN, x):
        t, step = x
        inside_BxN = exists_BxN & (t <= ends.last)
        token_BxN = jnp.where(inside_BxN, taken(step.token, slot_BxN), pad)
        weights_BxNxS = jnp.where(inside_BxN[:, :, None], taken(step.weights, slot_BxN), 0)
        return jnp.where(inside_BxN, taken(step.parent, slot_BxN), slot_BxN), (token_BxN, weights_BxNxS)

    T = trace.token.shape[0]
    _, (tokens_TxBxN, weights_TxBxNxS) = jax.lax.scan(body, ends.slot, (jnp.arange(T, dtype=jnp.int32), trace), reverse=True)
    return Hypotheses(jnp.moveaxis(tokens_TxBxN, 0, 2), jnp.moveaxis(weights_TxBxNxS, 0, 2), ends.score, ends.log_p)
