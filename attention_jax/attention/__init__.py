"""Memory → context. A mechanism is a row of `TABLE`: `row(sizes) → Attention`, four pure functions and a size.

    init(key) → params
    prepare(params, memory_BxSxM, mask_BxS) → prepared            once per source: projected keys, the fixed vector, …
    initial(prepared) → state                                     what the mechanism carries between steps; () where it carries nothing
    attend(params, prepared, state, query_BxH, keys_B)
        → (context_BxC, weights_BxS, state, extra_B)              one target step; C = context_size

`keys_B` hold one PRNG key per example, derived from (update, example, position), so that padding and sharding do not
change a draw; they are None when nothing may be drawn. `extra_B` are additive loss terms (zero for most rows).
Weights are zero where the mask is False, and a row without a single real position gets zero weights and a zero context.
The decoder cannot tell which mechanism it got: the fixed-vector arms are rows like the others.
"""

from attention_jax.attention import fixed, scores
from attention_jax.attention.sizes import Sizes
from attention_jax.config import choose
from attention_jax.types import Attention

TABLE = {
    "none": fixed.none,
    "summary": fixed.summary,
    "additive": scores.additive,
    "dot": scores.dot,
    "general": scores.general,
}


def build(name: str, sizes: Sizes) -> Attention:
    """The mechanism called `name`, for these sizes; raises `ConfigError` for an unknown name or sizes that do not fit."""
    return TABLE[choose("model.attention", name, TABLE)](sizes)
