"""What the command line tells every benchmark."""

from pathlib import Path
from typing import NamedTuple


class Options(NamedTuple):
    """`run(options)` of a benchmark yields its rows."""

    seconds: float = 6.0  # of measuring per comparison
    sizes: tuple[tuple[int, ...], ...] = ()  # instead of a benchmark's own SIZES, in the order of its LETTERS
    whole: bool = False  # sweep: the whole budget
    data_dir: Path | None = None  # pipeline: raw files of multi30k; None: lines are made up
