"""Settings of `ModelConfig` as fields of a Linen module, written out for editors and type checkers.

Names, types and defaults are those of the config, in its order; a test holds them to it.
"""

import dataclasses

from flax import linen as nn

from attention_jax.config import ModelConfig, check


class AttentionSettings(nn.Module):
    """The settings of a mechanism, as fields of a module; see `config.ModelConfig`."""

    attention: str = "additive"
    attention_size: int = 0
    heads: int = 1
    slots: int = 0
    vector_size: int = 0
    vector_bits: int = 0
    pooling: str = "ends"
    normaliser: str = "softmax"
    score_temperature: float = 1.0
    alpha: float = 1.25
    window: str = "all"
    window_size: int = 3
    estimator: str = "soft"
    baseline: str = "average"
    entropy_bonus: float = 0.0
    mixing: float = 0.0
    gumbel_temperature: float = 1.0
    location_size: int = 64
    filters: int = 8
    filter_width: int = 7
    mixtures: int = 5
    fertility: float = 0.0
    noise: float = 1.0
    chunk_size: int = 3


class EncoderSettings(nn.Module):
    """The settings of an encoder, but for the width of its inputs."""

    encoder: str = "recurrent"
    cell: str = "gru"
    loop: str = "scan"
    transition: int = 1
    hidden_size: int = 64
    direction: str = "both"
    layers: int = 1
    residual: bool = False
    kernel: int = 3
    stride: int = 1
    convolutions: int = 1
    rows: int = 0
    coordinates: bool = False
    dropout: float = 0.0


def _names(settings: type[nn.Module]) -> tuple[str, ...]:
    names = {field.name for field in dataclasses.fields(ModelConfig)}
    return tuple(field.name for field in dataclasses.fields(settings) if field.name in names)


ATTENTION, ENCODER = _names(AttentionSettings), _names(EncoderSettings)
"""Names of the fields above."""


def config_of(module: nn.Module, settings: tuple[str, ...], timing: str = "before", start: str = "bridge") -> ModelConfig:
    """Returns the config of a module's fields. Raises `ConfigError` for invalid values."""
    return check(ModelConfig(**{name: getattr(module, name) for name in settings}, timing=timing, start=start))
