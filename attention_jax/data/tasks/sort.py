"""sort: the source of `copy` in ascending order. The next position to attend to depends on content, not on position.

position   0   1   2   3   4
source     f   a   c   a   EOS        equal symbols keep their order (a stable sort),
                                      so the first a of the target is position 1
target     a   a   c   f   EOS
gold       1   3   2   0   4
"""

import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.data.tasks import copy
from attention_jax.types import EOS, PAD, Task


def task(data: DataConfig) -> Task:
    """Sorts the payload by token id and ends with EOS; same key, same source as `copy`."""
    copied = copy.task(data)

    def sample(key, length, S, T):
        source_S, source_count, *_ = copied.sample(key, length, S, T)
        position_S, position_T = jnp.arange(S, dtype=jnp.int32), jnp.arange(T, dtype=jnp.int32)
        rank_S = jnp.where(position_S < length, source_S, copied.vocabulary_size)  # EOS and padding stay last, in place
        order_S = jnp.argsort(rank_S, stable=True).astype(jnp.int32)
        gold_T = jnp.where(position_T <= length, order_S[position_T], -1)
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, source_count, target_T, length + 1, gold_T

    return copied._replace(sample=sample, solve=lambda source: [*sorted(source[:-1]), EOS])
