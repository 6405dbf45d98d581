"""copy: the target is the source. The plainest test of memory: nothing to compute, everything to keep.

position   0   1   2   3
source     f   a   c   EOS
           |   |   |   |
target     f   a   c   EOS
gold       0   1   2   3
"""

import jax
import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, Task


def task(data: DataConfig) -> Task:
    """Copies `length` symbols, drawn uniformly and independently from `data.symbols`."""
    vocabulary_size = FIRST_SYMBOL + data.symbols

    def sample(key, length, S, T):
        position_S, position_T = jnp.arange(S, dtype=jnp.int32), jnp.arange(T, dtype=jnp.int32)
        symbol_S = jax.random.randint(key, (S,), FIRST_SYMBOL, vocabulary_size, jnp.int32)  # threefry: a longer draw only appends
        source_S = jnp.where(position_S < length, symbol_S, jnp.where(position_S == length, EOS, PAD))
        gold_T = jnp.where(position_T <= length, position_T, -1)
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, length + 1, target_T, length + 1, gold_T

    return Task(vocabulary_size, lambda length: length + 1, lambda length: length + 1, sample, lambda length: data.symbols**length, list)
