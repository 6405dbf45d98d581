"""Rules of one setting: a field of a record declares its rule, and values are checked against it.

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

PARTS, SIZE = 1000, 1 << 20
"""The most of what is made one by one, and of what is an array's axis: far above any use, so that a wrong number is no endless loop;
of what is made one by one in a loop within another the product counts (`too_many`)."""

LARGEST = 2**31 - 1  # of numbers that have no other bound: what an int32 holds
MOST_VALUES = 1000  # of a setting that is several
KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


class Bounds(NamedTuple):
    """Bounds a number, or each of several; None: no such bound."""

    least: float | None
    most: float
    above: float | None
    below: float | None
    ascending: bool = False  # of several numbers: each is larger than the one before it

    def objection(self, value: float) -> str:
        """Says what the number should be, as "at least 1"; empty where it is within the bounds."""
        if self.least is not None and value < self.least:
            return f"at least {self.least}"
        if self.above is not None and value <= self.above:
            return f"above {self.above}"
        if self.below is not None and value >= self.below:
            return f"below {self.below}"
        return f"at most {self.most}" if value > self.most else ""


class Words(NamedTuple):
    """Lists the valid words."""

    valid: tuple[str, ...]


def number(
    default: float, least: float | None = None, most: float = LARGEST, above: float | None = None, below: float | None = None
) -> Any:
    """Declares a field that is a number: least ≤ value ≤ most, above < value < below."""
    return _ruled(default, Bounds(least, most, above, below))


def numbers(default: tuple, least: float | None = None, most: float = LARGEST, above: float | None = None, ascending: bool = False) -> Any:
    """Declares a field that is one or more numbers, each within the bounds."""
    return _ruled(default, Bounds(least, most, above, None, ascending))


def word(default: str, valid: str) -> Any:
    """Declares a field that is one of the words of `valid`, which spaces separate."""
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
    """Raises `ConfigError` for a number, or numbers, out of bounds, and for no numbers."""
    if not isinstance(value, tuple):
        if objection := bounds.objection(value):
            raise ConfigError(f"{path}={value} is impossible: it must be {objection}")
        return
    if not value:
        raise ConfigError(f"{path}={value} is impossible: it needs one or more values")
    if len(value) > MOST_VALUES:
        raise ConfigError(f"{path} has {len(value)} values, which is impossible: at most {MOST_VALUES}")
    if objection := next(filter(None, map(bounds.objection, value)), ""):
        raise ConfigError(f"{path}={value} is impossible: each must be {objection}")
    if bounds.ascending and tuple(sorted(set(value))) != value:
        raise ConfigError(f"{path}={value} must be strictly ascending")


def too_many(most: int, path: str, value: int, other: str, factor: int) -> tuple[bool, str]:
    """Returns (whether more than `most` are asked for, what to say), where each setting may be large but not both."""
    return value * factor > most, f"{path}={value} is impossible with {other}={factor}: their product must be at most {most}"


def _text(value: object) -> str:
    if isinstance(value, int | float):
        return json.dumps(value)
    return value.strip() if isinstance(value, str) else ""


def parse(path: str, value: object, hint: Any) -> object:
    """Converts text or a JSON value to the field's type, strictly: 1.5 is no int, "yes" is no bool. Raises `ConfigError`."""
    if isinstance(hint, types.GenericAlias):
        return tuple(parse(path, part, hint.__args__[0]) for part in _parts(value, hint.__args__[0]))
    try:
        if hint is str and isinstance(value, str):
            return value
        text = _text(value)
        if hint is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if hint is int:
            return int(text)
        if hint is float and abs(float(text)) < float("inf"):
            return float(text)
    except (ValueError, TypeError):
        pass
    raise ConfigError(f"{path}={value!r} does not fit: it must be {KINDS[hint]}")


def _parts(value: object, kind: type) -> tuple | list:
    """Returns the parts of a value that is several: of a text what commas separate, and of an empty one no names."""
    if value == "" and kind is str:
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    return parts if isinstance(parts, tuple | list) else (parts,)
