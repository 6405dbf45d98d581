"""Ways to run a cell over time.

    plain   `jax.lax.scan` as one would write it: what the others are tested against
    scan    ours: inputs projected block by block, weight gradients formed after the loop, a linear recurrence as a tree
    cudnn   NVIDIA's LSTM in one call, on its GPUs

    auto    cudnn where it is there and has what the config asks for, elsewhere scan

cuDNN's calls for several seeds follow each other, and each waits until the device is idle, while scan computes all seeds at once: which
is faster for how many seeds has not been measured on a card, so that `auto` is not the default.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig, choose
from attention_jax.encoders import cudnn
from attention_jax.layers import recurrence

AUTO = "auto"


class Loop(NamedTuple):
    """run(cell, params, inputs_BxSxI, mask_BxS, reverse) → (h_BxSxH, last carry_BxF)."""

    run: Callable
    vectorises: bool  # whether it is one loop under `jax.vmap`, too


TABLE = {"plain": Loop(recurrence.plain, True), "scan": Loop(recurrence.run, True), "cudnn": Loop(cudnn.run, False)}

NAMES = (AUTO, *TABLE)
"""What model.loop may be."""


def check(config: ModelConfig) -> None:
    """Raises `ConfigError` for a loop that is unknown, or cuDNN's where that cannot run what the config asks for."""
    if choose("model.loop", config.loop, NAMES) == "cudnn":
        cudnn.check(config)


def chosen(config: ModelConfig, dtype: jax.typing.DTypeLike = jnp.float32) -> str:
    """The row of `TABLE` for this config and inputs of this type, on the backend and in the precision at hand: what `auto` means."""
    if config.loop != AUTO:
        return config.loop
    return "cudnn" if dtype == jnp.float32 and not cudnn.lacking(config) else "scan"
