"""Papers of rows and of statistics: the row's own function says which it comes from.

    @cites("luong2015")
    def general(config, sizes): …

A key is that of an entry in `attention_jax/report/papers.bib`; `report.citation` prints the entries of a config.
"""

from typing import Any, Protocol, TypeVar

Function = TypeVar("Function")


class Mark(Protocol):
    """Notes something on a function, and returns it."""

    def __call__(self, function: Function, /) -> Function: ...


def cites(*keys: str) -> Mark:
    """Returns a decorator that notes on a function the papers it comes from, by their keys; the function stays as it is."""

    def mark(function: Function) -> Function:
        vars(function)["papers"] = keys
        return function

    return mark


def papers_of(row: Any) -> tuple[str, ...]:
    """Returns the keys that a row names, () where it names none; of a row that is a tuple, those of its parts."""
    if isinstance(row, tuple):
        return tuple(key for part in row for key in papers_of(part))
    return getattr(row, "papers", ())
