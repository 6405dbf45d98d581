"""What one setting may be: a field of a record says it where it stands, a value is held against it.

    heads: int = number(1, least=1, most=1000)          a number within bounds; ints are whole, floats finite
    buckets: tuple[int, ...] = numbers((32, 64))        one or more of them
    timing: str = word("before", "before after")        one of a few words

A plain default is a setting that may be anything of its type: true or false, a name, a path, the row of a table, which is looked up
there (`config.choose`). Types are strict: 1.5 and 2.0 are no int, 1 is no bool; an int will do for a float.
"""

import dataclasses
import json
import types
from typing import Any, NamedTuple

from attention_jax.system.errors import ConfigError

LARGEST = 2**31 - 1  # of numbers that have no other bound: what an int32 holds
KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


class Bounds(NamedTuple):
    """Where numbers may lie; None: no such bound."""

    least: float | None
    most: float
    above: float | None
    below: float | None
    ascending: bool = False  # of several numbers: each is larger than the one before it

    def objection(self, value: float) -> str:
        """What the number is not; empty where nothing is wrong with it."""
        if self.least is not None and value < self.least:
            return f"at least {self.least}"
        if self.above is not None and value <= self.above:
            return f"above {self.above}"
        if self.below is not None and value >= self.below:
            return f"below {self.below}"
        return f"at most {self.most}" if value > self.most else ""


class Words(NamedTuple):
    """The valid ones."""

    valid: tuple[str, ...]


def number(
    default: float, least: float | None = None, most: float = LARGEST, above: float | None = None, below: float | None = None
) -> Any:
    """A field that is a number: least ≤ value ≤ most, above < value < below."""
    return _ruled(default, Bounds(least, most, above, below))


def numbers(default: tuple, least: float | None = None, most: float = LARGEST, above: float | None = None, ascending: bool = False) -> Any:
    """A field that is one or more numbers, each within the bounds."""
    return _ruled(default, Bounds(least, most, above, None, ascending))


def word(default: str, valid: str) -> Any:
    """A field that is one of the words of `valid`, which spaces separate."""
    return _ruled(default, Words(tuple(valid.split())))


def _ruled(default, rule: Bounds | Words) -> Any:
    return dataclasses.field(default=default, metadata={"rule": rule})


def fit(path: str, value: object, hint: Any) -> None:
    """Raises `ConfigError` where the value is not of the type that the field is annotated with."""
    if isinstance(hint, types.GenericAlias):  # tuple[int, ...] or tuple[float, ...]
        kind = hint.__args__[0]
        if not isinstance(value, tuple) or not all(_fits(part, kind) for part in value):
            raise ConfigError(f"{path}={value!r} does not fit: it must be a tuple, each of it {KINDS[kind]}")
    elif not _fits(value, hint):
        raise ConfigError(f"{path}={value!r} does not fit: it must be {KINDS[hint]}")


def _fits(value: object, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and abs(value) < float("inf")
    return isinstance(value, kind)


def bound(path: str, value: float | tuple[float, ...], bounds: Bounds) -> None:
    """Raises `ConfigError` for a number, or numbers, that are not within the bounds."""
    if not isinstance(value, tuple):
        if objection := bounds.objection(value):
            raise ConfigError(f"{path}={value} is impossible: it must be {objection}")
        return
    if not value:
        raise ConfigError(f"{path}={value} is impossible: it needs one or more values")
    if objection := next(filter(None, map(bounds.objection, value)), ""):
        raise ConfigError(f"{path}={value} is impossible: each must be {objection}")
    if bounds.ascending and tuple(sorted(set(value))) != value:
        raise ConfigError(f"{path}={value} must be strictly ascending")


def parse(path: str, value: object, hint: Any) -> object:
    """Text or JSON value → the field's type, strictly: 1.5 is no int, "yes" is no bool."""
    if isinstance(hint, types.GenericAlias):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, tuple | list):
            parts = (parts,)
        return tuple(parse(path, part, hint.__args__[0]) for part in parts)
    try:
        text = value.strip() if isinstance(value, str) else json.dumps(value) if isinstance(value, int | float) else ""
        if hint is str and isinstance(value, str):
            return value
        if hint is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if hint is int:
            return int(text)
        if hint is float and abs(float(text)) < float("inf"):
            return float(text)
    except (ValueError, TypeError):
        pass
    raise ConfigError(f"{path}={value!r} does not fit: it must be {KINDS[hint]}")
