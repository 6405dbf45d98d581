"""Synthetic data: a key and a length → a padded `Batch`, all of it on the device.

A task is one function `task(data: DataConfig) -> Task`. What a `Task` promises:

    vocabulary_size          PAD 0, BOS 1, EOS 2, UNK 3 (never drawn), symbols from `FIRST_SYMBOL` on
    source_positions(length) Python int → S that holds a payload of `length` tokens, EOS included where the task has one
    target_positions(length) Python int → T, EOS included where the task has one
    sample(key, length, S, T) → source_S, source_count, target_T, target_count, gold_T
    sources(length)          number of different sources of that length; of a chain (chain.py), of equally likely ones with its entropy
    solve(source)            the list of a source's tokens, EOS included → the list of its target's, by plain Python that draws nothing
    ends, is_field, pads, chains   properties of a task, see `types.Task`

`sample` makes one example. `length` is the payload (traced, so that one compilation serves all lengths), S and T the
padded sizes, at least as large as the two functions above say. Counts are real positions; behind them all is PAD.
`gold_T` is the source position that target position t copies, so `target_T` equals `source_S[gold_T]` where it is ≥ 0;
the target's EOS copies the source's, if it has one; -1 marks padding and positions that copy nothing. An example depends on key and
length, never on S, T or its neighbours: padding and sharding do not change a draw.
"""

import jax
import jax.numpy as jnp

from attention_jax.config import DataConfig, check, choose
from attention_jax.data.tasks import copy, echo, recall, reverse, sort, spot
from attention_jax.layers import keys
from attention_jax.system.errors import ConfigError
from attention_jax.types import Batch, Task

TABLE = {
    "copy": copy.task,
    "reverse": reverse.task,
    "sort": sort.task,
    "echo": echo.task,
    "recall": recall.task,
    "cued_recall": recall.cued_task,
    "spot": spot.task,
}


def build(data: DataConfig) -> Task:
    """Builds the task that `data.task` names. Raises `ConfigError` for an unknown name or invalid settings."""
    check(data)
    task = TABLE[choose("data.task", data.task, TABLE)](data)
    check_own(data, task.pads, task.chains)
    return task


def check_own(data: DataConfig, pads: bool = False, chains: bool = False) -> None:
    """Raises `ConfigError` for settings of tasks that pad, or draw a chain of symbols, where this task or corpus does not."""
    for path, value, own, has in (
        ("padded_output", data.padded_output, pads, lambda task: task.pads),
        ("source_entropy", data.source_entropy, chains, lambda task: task.chains),
    ):
        if value and not own:
            valid = ", ".join(repr(name) for name, row in TABLE.items() if has(row(data)))
            raise ConfigError(f"data.{path}={value} belongs to data.task={valid}, not to {data.task!r}")


def is_field(data: DataConfig) -> bool:
    """Returns whether inputs of a task are the places of a square field; False for a corpus."""
    return data.task in TABLE and build(data).is_field


def batch(task: Task, key: jax.Array, length_B: jax.Array, example_B: jax.Array, S: int, T: int) -> Batch:
    """Samples an example per entry of `length_B`, from key and example number alone; masks cover counts, not non-PAD tokens."""
    keys_B = keys.each(key, example_B)
    source_BxS, source_count_B, target_BxT, target_count_B, gold_BxT = jax.vmap(task.sample, (0, 0, None, None))(keys_B, length_B, S, T)
    return Batch(
        source_BxS=source_BxS,
        source_mask_BxS=jnp.arange(S, dtype=jnp.int32)[None, :] < source_count_B[:, None],
        target_BxT=target_BxT,
        target_mask_BxT=jnp.arange(T, dtype=jnp.int32)[None, :] < target_count_B[:, None],
        gold_BxT=gold_BxT,
        length_B=length_B,
        example_B=example_B,
    )


def training_lengths(key: jax.Array, data: DataConfig, step: jax.Array, batch_size: int) -> jax.Array:
    """Draws the payload lengths of a batch, uniform in shortest … longest; `key` is this step's own.

    longest(step) = shortest + ⌊(longest − shortest) · min(step, curriculum) / curriculum⌋ with a curriculum, else longest.
    """
    longest = data.longest
    if data.curriculum:
        longest = data.shortest + (data.longest - data.shortest) * jnp.minimum(step, data.curriculum) // data.curriculum
    return jax.random.randint(key, (batch_size,), data.shortest, longest + 1, jnp.int32)
