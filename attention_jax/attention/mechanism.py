"""Score × normaliser × window × estimator → one mechanism. Nothing here knows which rows it was given.

e_i = score(q_i, h) / temperature        α_i = factor_i · normaliser(e_i)        c_i = Σ_j used_ij h_j
"""

import jax
import jax.numpy as jnp

from attention_jax.layers import deferred
from attention_jax.layers.keys import OfLook, fold
from attention_jax.types import Attention, Estimator, Looks, Normaliser, Score, Window
from attention_jax.types.signatures import Array, Key, Params, Tree

SCORE_NAMES = ("score", "second_score")


def compose(
    scores: tuple[Score, ...], normaliser: Normaliser, window: Window, estimator: Estimator, temperature: float, memory_size: int
) -> Attention:
    """The mechanism of these rows; parameters are {"score", "second_score" where there are two, "normaliser", "window", "estimator"}."""
    parts = dict(zip(SCORE_NAMES, scores, strict=False))

    def init(key):
        rows = parts | {"normaliser": normaliser, "window": window, "estimator": estimator}
        return {name: row.init(k) for k, (name, row) in zip(jax.random.split(key, len(rows)), rows.items(), strict=True)}

    def prepare(params, memory_BxSxM, mask_BxS):
        keys = {name: score.project(params[name], memory_BxSxM, mask_BxS) for name, score in parts.items()}
        return keys, memory_BxSxM, mask_BxS

    def initial(prepared, keys_B=None):
        keys, _, mask_BxS = prepared
        state = {name: score.initial(keys[name], mask_BxS) if score.initial else () for name, score in parts.items()}
        state["normaliser"] = normaliser.initial(mask_BxS) if normaliser.initial else ()
        state["window"] = window.initial(mask_BxS) if window.initial else ()
        state["estimator"] = estimator.initial(mask_BxS, keys_B)
        return state

    def look(params, prepared, state, query_BxTxH, keys_BxT):
        keys, memory_BxSxM, mask_BxS = prepared
        noise_BxT, draw_BxT = (fold(keys_BxT, stream) for stream in (OfLook.NOISE, OfLook.DRAW))
        inside_BxTxS, factor_BxTxS, window_state = window.place(params["window"], state["window"], query_BxTxH, mask_BxS)
        e = tuple(score.score(params[name], keys[name], state[name], query_BxTxH) / temperature for name, score in parts.items())
        α_BxTxS, normaliser_state = normaliser.normalise(params["normaliser"], state["normaliser"], e, inside_BxTxS, noise_BxT)
        α_BxTxS = α_BxTxS * factor_BxTxS
        used_BxTxS, terms = estimator.draw(params["estimator"], state["estimator"], α_BxTxS, query_BxTxH, draw_BxT)
        looks = Looks(weigh(used_BxTxS, memory_BxSxM), used_BxTxS if keys_BxT is None else α_BxTxS, terms)
        return looks, used_BxTxS, state | {"normaliser": normaliser_state, "window": window_state}

    def attend(params, prepared, state, query_BxH, keys_B=None):
        keys_Bx1 = None if keys_B is None else keys_B[:, None]
        looks, used_Bx1xS, new = look(params, prepared, state, query_BxH[:, None], keys_Bx1)
        for name, score in parts.items():
            if score.observe:
                new[name] = score.observe(params[name], prepared[0][name], state[name], query_BxH, used_Bx1xS[:, 0])
        context_BxC, weights_BxS, terms = jax.tree.map(lambda x: x[:, 0], (looks.context_BxTxC, looks.weights_BxTxS, looks.terms))
        return context_BxC, weights_BxS, new, terms

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        return look(params, prepared, state, query_BxTxH, keys_BxT)[0]

    def predict(params, prepared, emit, looks, query_BxTxH, goal=None):
        return estimator.predict(params["estimator"], emit, prepared, looks, query_BxTxH, goal)

    carried = any(row.initial for row in (*scores, normaliser, window))
    placed = any(row.knows_places for row in (*scores, normaliser, window, estimator))
    return Attention(init, prepare, initial, attend, memory_size, predict, None if carried else block, placed)


def weigh(weights_BxTxS: Array, memory_BxSxM: Array):
    """c_t = Σ_s w_ts h_s."""
    return jnp.einsum("bts,bsm->btm", weights_BxTxS, memory_BxSxM)


def look_at_all(
    attention: Attention, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None = None
) -> Looks:
    """The looks of T queries that are known beforehand: as a block where the mechanism has one, else one after the other."""
    if attention.block:
        return attention.block(params, prepared, state, query_BxTxH, keys_BxT)

    def body(state, inputs):
        query_BxH, keys_B = inputs
        context_BxC, weights_BxS, state, terms = attention.attend(params, prepared, state, query_BxH, keys_B)
        return state, Looks(context_BxC, weights_BxS, terms)

    keys_TxB = None if keys_BxT is None else keys_BxT.T
    _, looks = deferred.scan(body, state, (query_BxTxH.swapaxes(0, 1), keys_TxB))
    return jax.tree.map(lambda x: x.swapaxes(0, 1), looks)
