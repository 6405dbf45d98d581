"""How many tokens a model reads and writes."""

from typing import NamedTuple


class VocabularySizes(NamedTuple):
    """Sizes of the vocabularies of sources and of targets, special tokens included; equal where there is one vocabulary for both."""

    source: int
    target: int


def both(size: int) -> VocabularySizes:
    """Returns the sizes of one vocabulary for both sides."""
    return VocabularySizes(size, size)


def of(sizes: int | tuple[int, int]) -> VocabularySizes:
    """Returns sizes given as V, one vocabulary for both sides, or as (source, target)."""
    return VocabularySizes(*sizes) if isinstance(sizes, tuple) else both(sizes)
