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
from attention_jax.data.tasks import chain
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, Task


def task(data: DataConfig) -> Task:
    """Copies `length` symbols of `data.symbols`: drawn uniformly and independently, or a chain of `data.source_entropy` bits a symbol."""
    vocabulary_size, bits = FIRST_SYMBOL + data.symbols, data.source_entropy
    share = chain.share_of(bits, data.symbols) if bits else 1.0

    def symbols(key, S):
        if bits:
            return FIRST_SYMBOL + chain.draw(key, S, data.symbols, share)
        return jax.random.randint(key, (S,), FIRST_SYMBOL, vocabulary_size, jnp.int32)  # threefry: a longer draw only appends

    def sample(key, length, S, T):
        position_S, position_T = jnp.arange(S, dtype=jnp.int32), jnp.arange(T, dtype=jnp.int32)
        symbol_S = symbols(key, S)
        source_S = jnp.where(position_S < length, symbol_S, jnp.where(position_S == length, EOS, PAD))
        gold_T = jnp.where(position_T <= length, position_T, -1)
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, length + 1, target_T, length + 1, gold_T

    def sources(length):
        return chain.strings(length, data.symbols, bits) if bits else data.symbols**length

    return Task(vocabulary_size, lambda length: length + 1, lambda length: length + 1, sample, sources, list, chains=True)
