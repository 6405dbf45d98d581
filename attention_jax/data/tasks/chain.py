"""Symbols of a Markov chain, whose entropy rate is what `data.source_entropy` asks for: fewer bits a symbol with the same alphabet.

    x_0 uniform;   x_t = x_{t−1} + 1 mod V with probability 1 − ε, else uniform, over all V

Each symbol follows another with probability ε/V, the next one with 1 − ε more. Columns sum to 1 as rows do, so that every x_t is uniform,
and all rows are alike, so that a symbol has the same entropy whatever stands before it:

    h(ε) = −p log₂ p − (V − 1) (ε/V) log₂(ε/V),   p = 1 − ε + ε/V        rises from 0 at ε = 0 to log₂ V at ε = 1

A string of n symbols has log₂ V + (n − 1) h bits.
"""

import math

import jax
import jax.numpy as jnp

from attention_jax.types.signatures import Key


def draw(key: Key, S: int, V: int, share: float):
    """Draws S symbols from 0 … V − 1, each of them new with probability `share` (ε); a longer draw only appends."""
    key_of_coins, key_of_symbols = jax.random.split(key)
    place_S = jnp.arange(S, dtype=jnp.int32)
    is_new_S = (jax.random.uniform(key_of_coins, (S,), jnp.float32) < share) | (place_S == 0)
    last_S = jax.lax.cummax(jnp.where(is_new_S, place_S, 0))
    return (jax.random.randint(key_of_symbols, (S,), 0, V, jnp.int32)[last_S] + place_S - last_S) % V


def rate(share: float, V: int) -> float:
    """Computes h(ε), in bits a symbol."""
    rare = share / V
    return sum(-count * p * math.log2(p) for count, p in ((1, 1 - share + rare), (V - 1, rare)) if p > 0)


def share_of(bits: float, V: int) -> float:
    """Solves h(ε) = bits for ε by bisection, to the precision of a float; 0 < bits ≤ log₂ V."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rate(middle, V) < bits else (low, middle)
    return high


def strings(length: int, V: int, bits: float) -> int:
    """Counts the strings that a source of the same entropy has where all are equally likely: 2^(log₂ V + (length − 1) · bits).

    Rare strings do not count, of which a chain has as many as there are. No more than 2¹⁰⁰⁰, which is enough of anything.
    """
    return int(2 ** min(math.log2(V) + (length - 1) * bits, 1000.0))
