"""Options of the command line that every benchmark gets."""

from pathlib import Path
from typing import NamedTuple

from attention_jax.system.errors import ConfigError
from attention_jax.types import FIRST_SYMBOL


class Options(NamedTuple):
    """Options of a benchmark's `run(options)`, which yields its rows."""

    seconds: float = 6.0  # of measuring per comparison
    sizes: tuple[tuple[int, ...], ...] = ()  # instead of a benchmark's own SIZES, in the order of its LETTERS
    whole: bool = False  # sweep: the whole budget
    data_dir: Path | None = None  # pipeline: raw files of multi30k; None: lines are made up


def check_vocabulary(V: int) -> None:
    """Raises `ConfigError` where only special tokens fit."""
    if V <= FIRST_SYMBOL:
        raise ConfigError(f"V={V}: at least {FIRST_SYMBOL + 1}, {FIRST_SYMBOL} special tokens and a word")
