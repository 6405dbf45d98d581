"""Greedy decoding: the likeliest token, one position after the other."""

from attention_jax.model.search import likeliest
from attention_jax.model.search.following import follow
from attention_jax.types import Model
from attention_jax.types.signatures import Array, Params


def greedy(model: Model, params: Params, source_BxS: Array, mask_BxS: Array, positions: int, stop: bool = True, min_length: int = 0):
    """(tokens_BxT, weights_BxTxS, log_p_B): y_i = argmax p(y | y_<i), T = `positions`; see `follow`."""

    def choose(i, logits_BxV):
        return likeliest.largest(logits_BxV, 1)[1][:, 0]

    return follow(model, params, source_BxS, mask_BxS, positions, choose, stop, min_length)
