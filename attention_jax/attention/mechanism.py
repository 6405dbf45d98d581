"""Score × normaliser × window × estimator → one mechanism. Nothing here knows which rows it was given.

e_i = score(q_i, h) / temperature        α_i = factor_i · normaliser(e_i)        c_i = Σ_j used_ij h_j
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.layers import deferred
from attention_jax.layers.keys import OfLook, fold
from attention_jax.types import Attended, Attention, DrawTerms, Emit, Estimator, Logits, Normaliser, Score, Targets, Window
from attention_jax.types.signatures import Array, Key, Params, Tree

SCORE_NAMES = ("score", "second_score")


class Composed(NamedTuple):
    """The rows of a mechanism, and the temperature: the number > 0 that scores are divided by."""

    scores: dict[str, Score]  # by their names among the parameters
    normaliser: Normaliser
    window: Window
    estimator: Estimator
    temperature: float


def compose(
    scores: tuple[Score, ...], normaliser: Normaliser, window: Window, estimator: Estimator, temperature: float, memory_size: int
) -> Attention:
    """Makes one mechanism of these rows, with a context of C = `memory_size` columns.

    Parameters: {"score", "normaliser", "window", "estimator"}, and "second_score" where the normaliser takes two. T queries are attended as
    one block where no score, normaliser or window carries a state.
    """
    rows = Composed(dict(zip(SCORE_NAMES, scores, strict=False)), normaliser, window, estimator, temperature)
    weighing = (*scores, normaliser, window)
    return Attention(
        partial(init, rows),
        partial(prepare, rows),
        partial(initial, rows),
        partial(attend, rows),
        memory_size,
        partial(predict, rows),
        block=None if any(row.initial for row in weighing) else partial(block, rows),
        knows_places=any(row.knows_places for row in (*weighing, estimator)),
    )


def init(rows: Composed, key: Key) -> Params:
    """Draws the parameters of every row, by name."""
    named = rows.scores | {"normaliser": rows.normaliser, "window": rows.window, "estimator": rows.estimator}
    return {name: row.init(k) for k, (name, row) in zip(jax.random.split(key, len(named)), named.items(), strict=True)}


def prepare(rows: Composed, params: Params, memory_BxSxM: Array, mask_BxS: Array) -> Tree:
    """Projects a memory for every score, once per source: ({name: keys}, memory_BxSxM, mask_BxS)."""
    keys = {name: score.project(params[name], memory_BxSxM, mask_BxS) for name, score in rows.scores.items()}
    return keys, memory_BxSxM, mask_BxS


def initial(rows: Composed, prepared: Tree, keys_B: Key | None = None) -> Tree:
    """Returns the state before the first attention step: {name of the row: its state}, () for a row without one."""
    keys, _, mask_BxS = prepared
    state = {name: score.initial(keys[name], mask_BxS) if score.initial else () for name, score in rows.scores.items()}
    state["normaliser"] = rows.normaliser.initial(mask_BxS) if rows.normaliser.initial else ()
    state["window"] = rows.window.initial(mask_BxS) if rows.window.initial else ()
    state["estimator"] = rows.estimator.initial(mask_BxS, keys_B)
    return state


def look(
    rows: Composed, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None
) -> tuple[Attended, Array, Tree]:
    """Attends with T queries that share one state: (Attended, used_BxTxS, state), where context_t = Σ_s used_ts h_s.

    The attended weights are α, the distribution that the estimator drew from; without keys they are `used`. In the state that is returned,
    normaliser and window have moved on; `attend` moves the scores' states, which depend on `used`.
    """
    keys, memory_BxSxM, mask_BxS = prepared
    noise_BxT, draw_BxT = (fold(keys_BxT, stream) for stream in (OfLook.NOISE, OfLook.DRAW))
    inside_BxTxS, factor, window_state = rows.window.place(params["window"], state["window"], query_BxTxH, mask_BxS)
    e = tuple(score.score(params[name], keys[name], state[name], query_BxTxH) / rows.temperature for name, score in rows.scores.items())
    α_BxTxS, normaliser_state = rows.normaliser.normalise(params["normaliser"], state["normaliser"], e, inside_BxTxS, noise_BxT)
    α_BxTxS = α_BxTxS * factor
    used_BxTxS, terms = rows.estimator.draw(params["estimator"], state["estimator"], α_BxTxS, query_BxTxH, draw_BxT)
    attended = Attended(weigh(used_BxTxS, memory_BxSxM), used_BxTxS if keys_BxT is None else α_BxTxS, terms)
    return attended, used_BxTxS, state | {"normaliser": normaliser_state, "window": window_state}


def attend(
    rows: Composed, params: Params, prepared: Tree, state: Tree, query_BxH: Array, keys_B: Key | None = None
) -> tuple[Array, Array, Tree, DrawTerms]:
    """Attends once: (context_BxM, weights_BxS, state, terms_B)."""
    keys_Bx1 = None if keys_B is None else keys_B[:, None]
    attended, used_Bx1xS, new = look(rows, params, prepared, state, query_BxH[:, None], keys_Bx1)
    for name, score in rows.scores.items():
        if score.observe:
            new[name] = score.observe(params[name], prepared[0][name], state[name], query_BxH, used_Bx1xS[:, 0])
    if rows.window.observe:
        new["window"] = rows.window.observe(new["window"], used_Bx1xS[:, 0])
    context_BxC, weights_BxS, terms = jax.tree.map(lambda x: x[:, 0], (attended.context_BxTxC, attended.weights_BxTxS, attended.terms))
    return context_BxC, weights_BxS, new, terms


def block(rows: Composed, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None = None) -> Attended:
    """Attends with T queries at once; equals T times `attend`, for rows without a state."""
    return look(rows, params, prepared, state, query_BxTxH, keys_BxT)[0]


def predict(
    rows: Composed, params: Params, prepared: Tree, emit: Emit, attended: Attended, query_BxTxH: Array, goal: Targets | None = None
) -> tuple[Logits | Array, Array]:
    """Returns (prediction, extra_BxT), as the estimator makes them; see `types.Estimator`."""
    return rows.estimator.predict(params["estimator"], emit, prepared, attended, query_BxTxH, goal)


def weigh(weights_BxTxS: Array, memory_BxSxM: Array):
    """Computes the contexts c_t = Σ_s weights_ts h_s: context_BxTxM."""
    return jnp.einsum("bts,bsm->btm", weights_BxTxS, memory_BxSxM)


def look_at_all(
    attention: Attention, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None = None
) -> Attended:
    """Attends with T queries that are known beforehand: as one block where the mechanism has one, else one after the other in a scan.

    `attention` is a whole mechanism (`attention.build`), `prepared` and `state` are what its `prepare` and `initial` return.
    """
    if attention.block:
        return attention.block(params, prepared, state, query_BxTxH, keys_BxT)

    def body(state, inputs):
        query_BxH, keys_B = inputs
        context_BxC, weights_BxS, state, terms = attention.attend(params, prepared, state, query_BxH, keys_B)
        return state, (context_BxC, weights_BxS, terms)

    keys_TxB = None if keys_BxT is None else keys_BxT.T
    _, looks = deferred.scan(body, state, (query_BxTxH.swapaxes(0, 1), keys_TxB))
    return Attended(*jax.tree.map(lambda x: x.swapaxes(0, 1), looks))
