"""Greedy decoding: the likeliest token, one position after the other."""

from attention_jax.model.search import top_k
from attention_jax.model.search.one_output import SPECIAL, Special, follow
from attention_jax.model.search.steps import Steps


def greedy(steps: Steps, positions: int, stop: bool = True, min_length: int = 0, special: Special = SPECIAL):
    """Decodes y_i = argmax p(y | y_<i): (tokens_BxT, weights_BxTxS, log p_B in nats), T = `positions`; see `follow`."""

    def choose(i, logits_BxV):
        return top_k.largest(logits_BxV, 1)[1][:, 0]

    return follow(steps, positions, choose, stop, min_length, special)
