"""The vocabularies of a run: learned of the training split, one for both sides or one each, and stored with the run.

    subword     pieces that sentencepiece learns (subwords)      vocabulary.model, or source.model and target.model
    character   the most frequent characters (symbols)           vocabulary.txt, or source.txt and target.txt
    word        the most frequent words (symbols)                the same

`text.vocabulary_size` is the most that each may hold, special tokens included. How many there are is what the data give: every token but
the special ones occurs in the training split.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from attention_jax.config import TextConfig
from attention_jax.data.corpora import subwords, symbols
from attention_jax.data.corpora.vocabulary import Vocabulary
from attention_jax.system import files
from attention_jax.system.errors import DataError
from attention_jax.types.sizes import VocabularySizes


class Unit(NamedTuple):
    """What texts are cut into: learn(lines, most) → the stored vocabulary;  from_bytes(stored) → the vocabulary."""

    learn: Callable[[Sequence[str], int], bytes]
    from_bytes: Callable[[bytes], Vocabulary]
    suffix: str


UNITS = {
    "subword": Unit(subwords.learn, subwords.from_bytes, "model"),
    "character": Unit(symbols.learn_characters, symbols.characters, "txt"),
    "word": Unit(symbols.learn_words, symbols.whole_words, "txt"),
}
"""{value of text.unit, or of text.target_unit: its functions}."""


FILES = tuple(f"{name}.{suffix}" for name in ("vocabulary", "source", "target") for suffix in ("model", "txt"))
"""Where vocabularies may be, in a run's directory."""

RULES = 1
"""Goes up with whatever makes another vocabulary of the same lines."""


class Vocabularies(NamedTuple):
    """The vocabularies of sources and of targets: the same object where they share one."""

    source: Vocabulary
    target: Vocabulary

    @property
    def sizes(self) -> VocabularySizes:
        """How many tokens each has."""
        return VocabularySizes(self.source.size, self.target.size)

    @property
    def each(self) -> tuple[Vocabulary, ...]:
        """The different ones: one or two."""
        return (self.source,) if self.source is self.target else (self.source, self.target)

    def fingerprint(self) -> str:
        """Returns the sha256 of what is stored, in hexadecimal."""
        return hashlib.sha256(b"".join(vocabulary.stored() for vocabulary in self.each)).hexdigest()


def shared(vocabulary: Vocabulary) -> Vocabularies:
    """Returns one vocabulary for both sides."""
    return Vocabularies(vocabulary, vocabulary)


def fixed(words: Sequence[str]) -> Vocabularies:
    """Returns the vocabulary, for both sides, of words that are known beforehand, in this order."""
    return shared(symbols.whole_words("".join(f"{word}\n" for word in (*symbols.HEAD, *words)).encode()))


def paths(text: TextConfig, directory: str | Path) -> list[Path]:
    """Returns where the vocabularies of these settings are stored in a run's directory: one file, or those of source and target."""
    names = ("vocabulary",) if text.vocabularies == "shared" else ("source", "target")
    return [Path(directory) / f"{name}.{unit.suffix}" for name, unit in zip(names, units(text), strict=True)]


def units(text: TextConfig) -> tuple[Unit, ...]:
    """Returns the unit of each vocabulary: one, or those of sources and of targets."""
    return tuple(UNITS[name] for name in (text.units[:1] if text.vocabularies == "shared" else text.units))


def learn(sources: Sequence[str], targets: Sequence[str], text: TextConfig, cache_dir: Path | None = None) -> Vocabularies:
    """Learns vocabularies of the training split; equal texts give equal ones, which are learned once and kept in `cache_dir`.

    Raises `ConfigError` for too small a text.vocabulary_size, and `DataError` where there is no text.
    """
    groups = [[*sources, *targets]] if text.vocabularies == "shared" else [sources, targets]
    most = text.vocabulary_size
    return _of([_learned(lines, name, most, cache_dir) for lines, name in zip(groups, text.units, strict=False)])


def _learned(lines: Sequence[str], name: str, most: int, cache_dir: Path | None) -> Vocabulary:
    unit = UNITS[name]
    if cache_dir is None:
        return unit.from_bytes(unit.learn(lines, most))
    digest = hashlib.sha256(f"{RULES} {name} {most}".encode())
    for line in lines:
        digest.update(b"\n" + line.encode(errors="surrogatepass"))
    file = Path(cache_dir) / "vocabularies" / f"{digest.hexdigest()[:24]}.{unit.suffix}"
    if file.exists():
        return _read(file, unit)
    stored = unit.learn(lines, most)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(file, stored)
    return unit.from_bytes(stored)


def write(vocabularies: Vocabularies, text: TextConfig, directory: str | Path) -> None:
    """Stores the vocabularies in a run's directory."""
    for file, vocabulary in zip(paths(text, directory), vocabularies.each, strict=True):
        files.write_bytes(file, vocabulary.stored())


def read(text: TextConfig, directory: str | Path) -> Vocabularies:
    """Reads the vocabularies that a run stored. Raises `DataError` for a file that cannot be read, or holds none."""
    return _of([_read(file, unit) for file, unit in zip(paths(text, directory), units(text), strict=True)])


def from_bytes(text: TextConfig, stored: Sequence[bytes]) -> Vocabularies:
    """Returns the vocabularies whose files, those of `paths`, have this content. Raises `DataError` for anything else."""
    return _of([unit.from_bytes(content) for unit, content in zip(units(text), stored, strict=True)])


def _read(file: Path, unit: Unit) -> Vocabulary:
    try:
        return unit.from_bytes(files.read_bytes(file))
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot read {file}: {reason}; remove it, and it is learned again from the same text") from None


def _of(found: Sequence[Vocabulary]) -> Vocabularies:
    return Vocabularies(found[0], found[-1])
