"""Sizes of its surroundings that a mechanism needs to make parameters."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Holds sizes: memory vector M, decoder state H, score width A, embedding E.

    `directions` are those whose states make up the memory vector, in order.
    """

    memory: int
    query: int
    score: int
    directions: tuple[str, ...] = ("forward",)  # or ("mean",): places without an order, as in an image
    embedding: int = 0  # of a target token; only `variational` needs it
