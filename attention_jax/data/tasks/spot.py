"""spot: symbols on a square field of background, read row by row: a task of positions in two dimensions.

    field      .  .  f  .        side = ⌈√(4 · longest)⌉, here 4
               .  a  .  .        background . is a symbol of its own
               .  .  .  c
               .  .  .  .        source = the rows one behind the other: . . f . . a . . . . . c . . . .

    target     f  a  c  EOS      the symbols from left to right, from top to bottom
    gold       2  5  11 -1       their places, row · side + column; the source has no EOS to copy

`length` counts symbols; the field is the same for all lengths: at most about a quarter of it is covered, by the longest length that
is trained or evaluated. A synthetic stand-in for what spatial attention is asked to do in captioning (Xu 2015).
"""

from math import comb, isqrt

import jax
import jax.numpy as jnp

from attention_jax.config import DataConfig
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, Task


def task(data: DataConfig) -> Task:
    """Reads `length` symbols off distinct places, drawn uniformly without replacement, then EOS; symbols are uniform and independent."""
    side = isqrt(4 * max(data.longest, *data.eval_lengths) - 1) + 1
    places, background = side**2, FIRST_SYMBOL + data.symbols

    def sample(key, length, S, T):
        key_of_places, key_of_symbols = jax.random.split(key)
        covered_P = jax.random.permutation(key_of_places, jnp.arange(places, dtype=jnp.int32)) < length
        symbol_P = jax.random.randint(key_of_symbols, (places,), FIRST_SYMBOL, background, jnp.int32)
        source_P = jnp.where(covered_P, symbol_P, background)
        reading_P = jnp.argsort(~covered_P, stable=True).astype(jnp.int32)  # covered places first, both kinds in reading order
        position_T = jnp.arange(T, dtype=jnp.int32)
        gold_T = jnp.where(position_T < length, reading_P[position_T], -1)
        target_T = jnp.where(gold_T >= 0, source_P[gold_T], jnp.where(position_T == length, EOS, PAD))
        return jnp.pad(source_P, (0, S - places), constant_values=PAD), places, target_T, length + 1, gold_T

    def sources(length):
        return comb(places, length) * data.symbols**length

    def solve(source):
        return [*(token for token in source if token != background), EOS]

    return Task(background + 1, lambda length: places, lambda length: length + 1, sample, sources, solve, ends=False, is_field=True)
