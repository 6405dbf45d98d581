"""What a mechanism must know of its surroundings before it can make parameters."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Memory vector M, decoder state H, score width A, and the directions whose states make up the memory vector, in order."""

    memory: int
    query: int
    score: int
    directions: tuple[str, ...] = ("forward",)
