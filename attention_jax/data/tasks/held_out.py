"""Held-out sources: one in k, by a hash of the source, is never trained on and alone tested on.

Short sources are few: training meets every string of 3 symbols out of 8 within a minute, and results on these show what a model has
seen, not what it can do. So a source belongs to the test set or to training by its hash alone, whatever the seed.

    hash(x) = mix(Σ_s x_s aˢ mod 2³²)        x is held out if hash(x) is a multiple of k

PAD is 0, so that the hash does not depend on the padded size; mix is the last step of MurmurHash3 (Appleby 2008). A source of the wrong
kind is drawn again, with the next key.
"""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.layers import keys
from attention_jax.types import Task
from attention_jax.types.signatures import Array

MULTIPLIER = 0x9E3779B1
"""a: odd, so that no symbol is lost at any position; 2³² over the golden ratio."""

ATTEMPTS = 1000
"""Draws of a source, at most: where all of a length are of the wrong kind, the last one is taken."""

FEWEST = 48
"""Held-out sources that a length must have to be tested on."""

COUNTED = 64
"""The longest length of which sources are counted: there are enough of it for any `share`, or there never are. Of a million symbols the
count has millions of digits."""


def hashed(source_S: Array):
    """Hashes the tokens of a source to 32 bits."""
    S = source_S.shape[0]
    powers_S = np.cumprod(np.full(S, MULTIPLIER, np.uint32), dtype=np.uint32)
    h = (source_S.astype(jnp.uint32) * powers_S).sum(dtype=jnp.uint32)
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def only(task: Task, share: int, held_out: bool) -> Task:
    """Restricts `task` to held-out sources, or to the others; one source in `share` ≥ 2 is held out."""

    def sample(key, length, S, T):
        def wrong(loop):
            attempt, example = loop
            return (attempt < ATTEMPTS) & ((hashed(example[0]) % share == 0) != held_out)

        def drawn(loop):
            attempt, _ = loop
            return attempt + 1, task.sample(keys.fold(key, attempt), length, S, T)

        return jax.lax.while_loop(wrong, drawn, drawn((jnp.int32(0), None)))[1]

    return task._replace(sample=sample)


def is_tested(task: Task, share: int, length: int) -> bool:
    """Returns whether enough sources of a length are held out, one in `share`, to test on; with `share` 0 every length is tested."""
    return share == 0 or task.sources(min(length, COUNTED)) >= FEWEST * share
