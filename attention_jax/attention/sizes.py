"""What a mechanism must know of its surroundings before it can make parameters."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Memory vector M, decoder state H, score width A, the directions whose states make up the memory vector, in order, and E."""

    memory: int
    query: int
    score: int
    directions: tuple[str, ...] = ("forward",)  # or ("mean",): places without an order, as in an image
    embedding: int = 0  # of a target token; only `variational` needs it
