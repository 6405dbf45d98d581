"""Arms of equal size: with match=parameters the decoder's width is moved, so that arms have as many parameters as their largest."""

from collections.abc import Callable

from attention_jax import config as settings
from attention_jax import model
from attention_jax.config import Config
from attention_jax.running.resolved import resolve
from attention_jax.types.sizes import VocabularySizes

LOOKING = (
    "model.heads model.slots model.pooling model.normaliser model.window model.estimator model.copy "
    "training.coverage training.doubly_stochastic training.guided search.backward_window search.forward_window"
).split()
"""Settings of how a mechanism attends: they have no meaning for the fixed-vector arms of a sweep, which keep their own."""

LINKS = ("text.alignment_file", "text.aligner", "training.guided")
"""Settings of word links, which have no meaning where the source is not seen."""

SizesOf = Callable[[Config], VocabularySizes]
"""Says how many tokens the vocabularies of a config have."""


def match(configs: list[Config], sizes_of: SizesOf | None = None) -> list[Config]:
    """Matches sizes: with match=parameters, runs that differ only in mechanism and budget get as many parameters as their largest.

    `sizes_of` as in `plan`; without it corpora are refused with `ConfigError`.
    """
    tokens: dict[tuple, VocabularySizes] = {}

    def sizes(config):
        place = config.data, config.text
        if place not in tokens:
            tokens[place] = (sizes_of or (lambda config: resolve(config).sizes))(config)
        return tokens[place]

    def size(config):
        return model.parameters(config.model, sizes(config))

    def group(config):
        for path in ("model.attention", "run", "training.updates", "text.blind", *LOOKING, *LINKS):
            config = settings.override(config, path, settings.leaves(Config())[path])
        return config

    matched = []
    for config in configs:
        if config.match == "parameters":
            reference = max((other for other in configs if group(other) == group(config)), key=size)
            largest = size(config) == size(reference)
            config = config if largest else model.match_parameters(config, reference, sizes(config))
        matched.append(config)
    return matched
