"""echo: the target is the first `data.outputs` symbols (2 here); the rest of the source is distance.

    position                0   1   2   3   4   5
    source                  f   a   c   b   e   EOS
                            |   |
    target                  f   a   EOS               gold   0   1   5
    target, padded_output   f   a   0   0   0         gold   0   1  -1  -1  -1

A payload shorter than `data.outputs` is repeated whole. The second convention is that of a widely read Keras tutorial
(machinelearningmastery.com/encoder-decoder-attention-sequence-to-sequence-prediction-keras: 50 symbols, 5 in, 2 out):
the target is as long as the payload and has no EOS. Its zeros are real positions that are scored; they are the token
PAD, whereas in the tutorial 0 is one of the symbols too. The source keeps its EOS, which the tutorial's has not.
"""

import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.data.tasks import copy
from attention_jax.types import EOS, PAD, Task


def task(data: DataConfig) -> Task:
    """Repeats the first `data.outputs` symbols, then EOS, or zeros if `data.padded_output`; same key, same source as `copy`."""
    copied = copy.task(data)

    def target_positions(length):
        return length if data.padded_output else min(data.outputs, length) + 1

    def sample(key, length, S, T):
        source_S, source_count, *_ = copied.sample(key, length, S, T)
        position_T, repeated = jnp.arange(T, dtype=jnp.int32), jnp.minimum(data.outputs, length)
        gold_T = jnp.where(position_T < repeated, position_T, -1)
        if not data.padded_output:
            gold_T = jnp.where(position_T == repeated, length, gold_T)
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, source_count, target_T, length if data.padded_output else repeated + 1, gold_T

    def solve(source):
        payload = source[:-1]
        repeated = payload[: data.outputs]
        return repeated + [PAD] * (len(payload) - len(repeated)) if data.padded_output else [*repeated, EOS]

    return copied._replace(target_positions=target_positions, sample=sample, solve=solve, pads=True)
