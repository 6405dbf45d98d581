"""recall: `length` key-value pairs, then `data.outputs` of the keys; the target is their values, in that order.

    position   0   1   2   3   4   5   6   7   8
    source     k7  b   k2  d   k5  b   k5  k7  EOS      length 3, 2 outputs
                   |               |           |
                   `---------------|---.       |        k5 → position 5, k7 → position 1
                                   |   |       |
    target                         b   b       EOS
    gold                           5   1       8
    target, cued_recall            k5  b   k7  b   EOS
    gold, cued_recall              6   5   7   1   8

cued_recall: each value stands behind its key, so that the decoder has just read the key when it answers.

Keys are drawn without replacement from their own alphabet, queries without replacement from the keys present, values
uniformly. Fewer pairs than `data.outputs`: every key is asked for. The vocabulary holds `data.symbols` values, then one
key for every pair of the longest length that is trained or evaluated, so it grows with `data.eval_lengths`.
This is multi-query associative recall (MQAR: Arora et al. 2023, "Zoology", arXiv:2312.04927) for an encoder-decoder. There a query
stands anywhere behind its pair, and is answered where it stands; here all stand behind the last pair, and are answered by the decoder.
cued_recall is nearer to it: a model of MQAR reads the key, too, at the step that answers. It is learned far sooner than recall.
"""

import itertools
import math

import jax
import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, Task
from attention_jax.types.citations import cites


@cites("arora2024zoology")
def task(data: DataConfig) -> Task:
    """Stores `length` values under keys and asks for `min(data.outputs, length)` of them; `length` counts pairs."""
    return _task(data, cued=False)


def cued_task(data: DataConfig) -> Task:
    """Stores and asks as `task` does; the target has every key that is asked for, and its value behind it."""
    return _task(data, cued=True)


def _task(data: DataConfig, cued: bool) -> Task:
    keys, tokens = max(data.longest, *data.eval_lengths), 2 if cued else 1  # tokens of an answer
    first_key = FIRST_SYMBOL + data.symbols

    def source_positions(length):
        return 2 * length + min(data.outputs, length) + 1

    def target_positions(length):
        return tokens * min(data.outputs, length) + 1

    def sample(key, length, S, T):
        key_of_keys, key_of_values, key_of_queries = jax.random.split(key, 3)
        place_K = jnp.arange(keys, dtype=jnp.int32)
        name_K = first_key + jax.random.permutation(key_of_keys, place_K)
        value_K = jax.random.randint(key_of_values, (keys,), FIRST_SYMBOL, first_key, jnp.int32)
        order_K = jnp.where(place_K < length, jax.random.uniform(key_of_queries, (keys,), jnp.float32), 1)  # uniform is below 1
        query_K = jnp.argsort(order_K).astype(jnp.int32)  # a random order of the pairs present, then the rest

        asked = jnp.minimum(data.outputs, length)
        position_S, position_T, end = jnp.arange(S, dtype=jnp.int32), jnp.arange(T, dtype=jnp.int32), 2 * length + asked
        pair_S = jnp.where(position_S % 2 == 0, name_K[position_S // 2], value_K[position_S // 2])
        query_S = name_K[query_K[position_S - 2 * length]]
        source_S = jnp.where(position_S < 2 * length, pair_S, jnp.where(position_S < end, query_S, PAD))
        source_S = jnp.where(position_S == end, EOS, source_S)
        answer_T, is_key_T = position_T // tokens, position_T % tokens < tokens - 1
        gold_T = jnp.where(is_key_T, 2 * length + answer_T, 2 * query_K[answer_T] + 1)
        gold_T = jnp.where(position_T < tokens * asked, gold_T, jnp.where(position_T == tokens * asked, end, -1))
        target_T = jnp.where(gold_T < 0, PAD, source_S[gold_T])
        return source_S, end + 1, target_T, tokens * asked + 1, gold_T

    def sources(length):
        return math.perm(keys, length) * data.symbols**length * math.perm(length, min(data.outputs, length))

    def solve(source):
        """Pairs run until a key comes a second time: the first query."""
        names = source[0:-1:2]
        pairs = next(n for n in range(1, len(source)) if source[2 * n] in names[:n])
        stored = dict(zip(names[:pairs], source[1 : 2 * pairs : 2], strict=True))
        answers = ([query, stored[query]][-tokens:] for query in source[2 * pairs : -1])
        return [*itertools.chain.from_iterable(answers), EOS]

    return Task(first_key + keys, source_positions, target_positions, sample, sources, solve)
