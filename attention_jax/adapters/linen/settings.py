"""Settings of `ModelConfig` as the fields of a module, so that a new setting is a field without a line here."""

import dataclasses

from flax import linen as nn

from attention_jax.config import AttentionConfig, EncoderConfig, ModelConfig, check

ATTENTION = tuple(field.name for field in dataclasses.fields(AttentionConfig))
ENCODER = (*(field.name for field in dataclasses.fields(EncoderConfig) if field.name != "embedding_size"), "dropout")
"""E is read off the inputs."""


def module_of(name: str, settings: tuple[str, ...]) -> type[nn.Module]:
    """A module class with these settings as fields, in order, with their types and defaults."""
    chosen = [field for field in dataclasses.fields(ModelConfig) if field.name in settings]
    body = {"__annotations__": {field.name: field.type for field in chosen}, "__module__": __name__}
    return type(name, (nn.Module,), body | {field.name: field.default for field in chosen})


def config_of(module: nn.Module, settings: tuple[str, ...], timing: str = "before", start: str = "bridge") -> ModelConfig:
    """The config of a module's fields; raises `ConfigError` for values that cannot be."""
    return check(ModelConfig(**{name: getattr(module, name) for name in settings}, timing=timing, start=start))
