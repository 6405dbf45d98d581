"""Real positions first, for mechanisms that know positions by number or by their neighbours: padding may stand anywhere in a source.

    memory, mask     moved to the front once per source, in `prepare`
    weights          moved back after each step, and to the front again for `predict`

Mechanisms that read nothing of a position but its vector are left as they are.
"""

from attention_jax.layers import masks
from attention_jax.types import Attended, Attention


def real_first(attention: Attention) -> Attention:
    """Wraps a mechanism: it sees sources with real positions moved to the front; weights are put back where the positions stand."""

    def prepare(params, memory_BxSxM, mask_BxS):
        rank_BxS, order_BxS = masks.rank(mask_BxS), masks.order(mask_BxS)
        return attention.prepare(params, masks.moved(memory_BxSxM, order_BxS), masks.moved(mask_BxS, order_BxS)), rank_BxS, order_BxS

    def initial(prepared, keys_B=None):
        return attention.initial(prepared[0], keys_B)

    def attend(params, prepared, state, query_BxH, keys_B=None):
        inner, rank_BxS, _ = prepared
        context_BxC, weights_BxS, state, terms = attention.attend(params, inner, state, query_BxH, keys_B)
        return context_BxC, masks.moved(weights_BxS, rank_BxS), state, terms

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        inner, rank_BxS, _ = prepared
        attended = attention.block(params, inner, state, query_BxTxH, keys_BxT)  # pyright: ignore[reportOptionalCall]  # left out below where there is none
        return attended.replace(weights_BxTxS=masks.moved(attended.weights_BxTxS, rank_BxS, axis=2))

    def predict(params, prepared, emit, attended: Attended, query_BxTxH, goal=None):
        inner, _, order_BxS = prepared
        first = attended.replace(weights_BxTxS=masks.moved(attended.weights_BxTxS, order_BxS, axis=2))
        return attention.predict(params, inner, emit, first, query_BxTxH, goal)

    return attention._replace(prepare=prepare, initial=initial, attend=attend, predict=predict, block=block if attention.block else None)
