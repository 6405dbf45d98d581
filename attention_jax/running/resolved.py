"""What follows from a config alone, found once at the start of a run and handed down."""

from attention_jax import model, training
from attention_jax.config import Config, validate
from attention_jax.data import sources
from attention_jax.encoders import loops
from attention_jax.model.search import window
from attention_jax.system.errors import ConfigError
from attention_jax.training.compiled import Resolved


def resolve(config: Config) -> Resolved:
    """Returns the config with its vocabulary size, model, seeds and devices; nothing is read or written.

    Raises `ConfigError` for names, sizes and combinations that cannot be.
    """
    V = sources.vocabulary_size(validate(config))
    sources.check(config)
    loop = loops.TABLE.get(config.model.loop)  # auto is none: it takes what goes
    if loop and config.training.precision not in loop.precisions:
        others, own = " or ".join(loop.precisions), f"training.precision={config.training.precision}"
        raise ConfigError(f"{own} is none that model.loop={config.model.loop} has for float32: set {others}")
    built = model.build(config.model, V)
    training.checked(built, config.training)
    window.limited(built, config.search)
    return Resolved(config, V, built)
