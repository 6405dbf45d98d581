"""Streams of random numbers, by name: where the key of every draw comes from. No other file numbers a stream.

A stream is a number that is folded into the key above it. What there are many of (layers, positions, examples, heads) is numbered by a
second fold, below its stream: numbers are never added up, so that no two draws can meet however many layers there are.

    a seed        PARAMETERS                            split by the `init` of each part
                  UPDATES, step                         an update
                  TRAINING_DATA, step                   the lengths of a batch; its examples, each below its number
                  TEST_DATA, example                    the same at every length, up to its end
                  TEST_DATA, length, example            with data.held_out
                  VALIDATION_DATA, example
                  OUTPUTS, example, position            a token of `search.sampling`; the seed is `search.draw_seed`
                  PROBED, length, example               a source that a probe is fitted to
                  CONTROL, length                       the labels of a probe's control task
    an update     example                               an example of the batch
                  SAMPLED_INPUTS, example, position     a token of `search.scheduled`, split into coin and token
    an example    POSITIONS, position                   an attention step; of several heads each has its number below it
                  SOURCE_EMBEDDINGS, TARGET_EMBEDDINGS, READOUT               what is dropped
                  START                                 what a mechanism draws once for an example; heads as above
                  LAYERS, layer                         what is dropped below an encoder's layer; two of a layer of self-attention
                  FILTERS, layer                        what is dropped below a layer of filters
    a step        NOISE, DRAW                           of the normaliser, of the estimator

The same numbers are drawn again on purpose: runs with the same seed share parameters' and data's streams, whatever else differs, and so
do the trials of a seed; their seeds are none of a run's (`config.PILOT_SEED`). Corpora draw from NumPy, by (seed, epoch, bucket).
"""

from enum import IntEnum, unique
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from attention_jax.types.signatures import Array, Key


@unique
class OfSeed(IntEnum):
    """Numbers the streams below the key of a seed."""

    PARAMETERS = 0
    UPDATES = 1
    TRAINING_DATA = 2
    TEST_DATA = 3
    VALIDATION_DATA = 4
    OUTPUTS = 5
    PROBED = 6
    CONTROL = 7


@unique
class OfUpdate(IntEnum):
    """Numbers the streams below the key of an update, above those of its examples: training.batch_size is at most `config.rules.SIZE`."""

    SAMPLED_INPUTS = 1_000_000_000


@unique
class OfExample(IntEnum):
    """Numbers the streams below the key of an example of an update."""

    POSITIONS = 0
    SOURCE_EMBEDDINGS = 1
    TARGET_EMBEDDINGS = 2
    READOUT = 3
    START = 4
    LAYERS = 5
    FILTERS = 6


@unique
class OfLook(IntEnum):
    """Numbers the streams below the key of one attention step."""

    NOISE = 0
    DRAW = 1


Keys = TypeVar("Keys", bound=Key | None)


def fold(keys: Keys, *places: Array | int) -> Keys:
    """Folds `places`, streams or numbers, into each of `keys` (of any shape), one after the other; None stays None: nothing is drawn."""
    if keys is None:
        return keys
    below: Any = keys
    for place in places:
        below = jax.vmap(lambda key, place=place: jax.random.fold_in(key, place))(below.reshape(-1)).reshape(below.shape)
    return below


def each(keys: Key, numbers_N: Array):
    """Folds each of the numbers into each of `keys`: the result has one axis more, the last. Takes legacy uint32 keys too."""
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)
    one = jax.vmap(jax.random.fold_in, (None, 0))
    for _ in range(keys.ndim):
        one = jax.vmap(one, (0, None))
    return one(keys, numbers_N)
