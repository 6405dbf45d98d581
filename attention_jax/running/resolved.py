"""What follows from a config and its vocabularies, found once at the start of a run and handed down."""

from pathlib import Path

from attention_jax import model, training
from attention_jax.config import Config, formats, validate
from attention_jax.data import sources
from attention_jax.data.corpora import vocabularies
from attention_jax.encoders import loops
from attention_jax.model.search import window
from attention_jax.running import results
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.training.compiled import Resolved
from attention_jax.types import sizes
from attention_jax.types.sizes import VocabularySizes


def resolve(config: Config, vocabulary: VocabularySizes | None = None) -> Resolved:
    """Returns the config with the sizes of its vocabularies, model, seeds and devices; nothing is read or written.

    `vocabulary` are the sizes that a corpus gives, `Source.sizes`; None: those of a task. Raises `ConfigError` for names, sizes and
    combinations that cannot be, and for a corpus without sizes.
    """
    found = vocabulary or sources.own_sizes(config)
    if found is None:
        raise ConfigError(f"data.task={config.data.task} has as many tokens as its text gives: resolve it with the sizes of its source")
    return _resolved(config, found)


def check(config: Config) -> None:
    """Raises `ConfigError` as `resolve` does, before a corpus is read: in place of its sizes stand the most that it may have."""
    _resolved(config, sources.most_sizes(config))


def _resolved(config: Config, vocabulary: VocabularySizes) -> Resolved:
    sources.check(validate(config))
    loop = loops.TABLE.get(config.model.loop)  # auto is none: it takes what goes
    if loop and config.training.precision not in loop.precisions:
        others, own = " or ".join(loop.precisions), f"training.precision={config.training.precision}"
        raise ConfigError(f"{own} is none that model.loop={config.model.loop} has for float32: set {others}")
    built = model.build(config.model, vocabulary)
    training.checked(built, config.training)
    window.limited(built, config.search)
    return Resolved(config, vocabulary, built)


def sizes_of_run(directory: str | Path, config: Config, found: VocabularySizes) -> VocabularySizes:
    """Returns the sizes of the model in a run's directory: those `found` of its vocabularies, or what an older format asked for.

    Raises `RunError` where the directory has no readable config.json.
    """
    is_older = sources.own_sizes(config) is None and formats.has_asked_size(results.stored(directory))
    return sizes.both(config.text.vocabulary_size) if is_older else found


def stored_sizes(directory: str | Path, config: Config) -> VocabularySizes | None:
    """Returns the sizes of a task's model, or of that of a run on text; None where the run has no vocabularies that can be read."""
    if own := sources.own_sizes(config):
        return own
    try:
        return sizes_of_run(directory, config, sources.sizes_of(config, vocabularies.read(config.text, directory)))
    except (DataError, RunError):
        return None
