"""Ways to run a cell over time. A row of `TABLE` is a `types.Loop`.

    plain   `jax.lax.scan` as one would write it: what the others are tested against
    scan    ours: inputs projected block by block, weight gradients formed after the loop, a linear recurrence as a tree
    cudnn   NVIDIA's LSTM in one call, on its GPUs

    auto    cudnn where it is there and has what the config asks for, elsewhere scan

cuDNN's calls for several seeds follow each other, and each waits until the device is idle, while scan computes all seeds at once: which
is faster for how many seeds has not been measured on a card, so that `auto` is not the default.
"""

import jax
import jax.numpy as jnp

from attention_jax.config import ModelConfig, choose
from attention_jax.encoders import cudnn
from attention_jax.layers import recurrence, transition
from attention_jax.system.errors import ConfigError
from attention_jax.types import Encoder, Loop

AUTO, FASTEST, DEFAULT = "auto", "cudnn", "scan"
"""What stands for the fastest row where that lacks nothing, and for the default elsewhere."""

TABLE = {
    "plain": Loop(recurrence.plain),
    "scan": Loop(recurrence.run),
    "cudnn": Loop(cudnn.run, cudnn.lacking, for_any=False, vectorises=False, precisions=("highest", "tf32")),
}


def check(config: ModelConfig, encoder: Encoder | None = None) -> None:
    """Raises `ConfigError` for a loop that is unknown, or that cannot run the config's cell or this encoder."""
    name = choose("model.loop", config.loop, (AUTO, *TABLE))
    if name == AUTO:
        return
    if encoder and not encoder.recurs:
        why = "" if TABLE[name].for_any else f"is for recurrences, and model.encoder={config.encoder} has none"
    else:
        why = TABLE[name].lacking(config, transition.build(config, 1, 1).is_lstm)
    if why:
        raise ConfigError(f"model.loop={name} {why}")


def chosen(config: ModelConfig, dtype: jax.typing.DTypeLike = jnp.float32) -> str:
    """Returns the name of the row of `TABLE` for this config and inputs of this type; resolves `auto` by backend and precision."""
    if config.loop != AUTO:
        return config.loop
    lacks = dtype != jnp.float32 or TABLE[FASTEST].lacking(config, transition.build(config, 1, 1).is_lstm)
    return DEFAULT if lacks else FASTEST
