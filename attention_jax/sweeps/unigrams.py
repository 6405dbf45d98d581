"""What needs no source: the most frequent symbol of the training texts, said as often as each test text has symbols, for a `measure`."""

from collections import Counter

from attention_jax.config import Config
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.statistics import metrics
from attention_jax.system.errors import ConfigError

UNIGRAM = "unigram"
SUBWORDS = "texts in subwords have no error rate: set text.unit to word or character"


def check(config: Config) -> None:
    """Raises `ConfigError` for settings under which targets have no symbols: those of a task, and texts in subwords."""
    sources.check_texts(config.data, "texts: set it to a corpus, or to files of your own")
    if config.text.units[1] == "subword":
        raise ConfigError(SUBWORDS)


def rows_of(source: Source) -> list[dict]:
    """Returns a row per test set and length: errors and exact match of the most frequent training symbol, the number of symbols known.

    Raises `ConfigError` for a source without texts, and for texts in subwords, which have no symbols.
    """
    if source.vocabularies is None or source.texts is None:
        raise ConfigError("the most frequent symbol is one of texts, and there are none")
    cut = source.vocabularies.target.symbols
    if cut is None:
        raise ConfigError(SUBWORDS)
    counted = Counter(symbol for text in source.texts("train").targets for symbol in cut(text))
    ((most, _),) = counted.most_common(1)
    found = []
    for split, name in source.tests.items():
        texts = source.texts(split)
        targets = [cut(text) for text in texts.targets]
        edits = metrics.edits_of([[most] * len(target) for target in targets], targets)
        for length, chosen in metrics.by_bucket(texts.length_N, source.lengths).items():
            place = {"baseline": UNIGRAM, "split": split, "test": name, "length": length, "examples": len(chosen)}
            found.append(place | edits.averages(chosen) | {"exact": int((edits.edits_B[chosen] == 0).sum())})
    return found
