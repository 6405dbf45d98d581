"""reverse: the source of `copy`, last symbol first. Last in, first out.

position   0   1   2   3
source     f   a   c   EOS
           `.  |  .'   |
             `.|.'     |
             .'|`.     |
           .'  |  `.   |
target     c   a   f   EOS
gold       2   1   0   3
"""

import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.data.tasks import copy
from attention_jax.types import EOS, PAD, Task


def task(data: DataConfig) -> Task:
    """Reverses the payload and ends with EOS; same key, same source as `copy`."""
    copied = copy.task(data)

    def sample(key, length, S, T):
        source_S, source_count, *_ = copied.sample(key, length, S, T)
        position_T = jnp.arange(T, dtype=jnp.int32)
        gold_T = jnp.where(position_T < length, length - 1 - position_T, jnp.where(position_T == length, length, -1))
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, source_count, target_T, length + 1, gold_T

    return copied._replace(sample=sample, solve=lambda source: [*source[-2::-1], EOS])
