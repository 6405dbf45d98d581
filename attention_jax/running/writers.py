"""Where losses and results go besides rows: TensorBoard and Weights & Biases, each where its package is installed.

    --writers=tensorboard        event files in <run>/events             pip install tensorboardX
    --writers=wandb              a run of Weights & Biases, <run>/wandb  pip install wandb
    --writers=tensorboard,wandb  both

A writer of one's own is a line here: `TABLE["mine"] = open`, a function of a `Place` that returns a `Writer`. Rows and verdicts need none,
and none of them keeps a run from training.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from attention_jax.config import Config, choose
from attention_jax.running import tensorboard, weights_and_biases


class Place(NamedTuple):
    """What a writer is opened for: a run, its directory, and the first update that is written; what was written from it on is replaced."""

    config: Config
    directory: Path
    first_update: int


class Writer(Protocol):
    """Writes numbers by name. Neither method raises anything for a disk or a network that refuses: that is warned about, once."""

    def add(self, update: int, numbers: Mapping[str, float]) -> None:
        """Writes the numbers of an update."""
        ...

    def close(self) -> None:
        """Ends the writing."""
        ...


TABLE: dict[str, Callable[[Place], Writer]] = {
    "tensorboard": lambda place: tensorboard.Losses(place.directory / "events", place.first_update),
    "wandb": lambda place: weights_and_biases.Losses(place.config, place.directory),
}
"""{name for --writers: function that opens the writer}; it raises `ConfigError` where its package is missing."""


class Writers:
    """Several writers as one."""

    def __init__(self, names: Sequence[str], place: Place):
        self.opened: list[Writer] = []
        try:
            for name in names:
                self.opened.append(TABLE[choose("--writers", name, TABLE)](place))
        except BaseException:
            self.close()
            raise

    def add(self, update: int, numbers: Mapping[str, float]) -> None:
        """Writes numbers of an update to all."""
        for writer in self.opened:
            writer.add(update, numbers)

    def close(self) -> None:
        """Closes all."""
        for writer in self.opened:
            writer.close()


NUMBERS = {"free": ("exact_match", "bleu", "chrf"), "forced": ("loss",)}
"""{mode: what writers get of its rows}; BLEU and chrF are those of text."""


def of_rows(rows: Sequence[Mapping]) -> dict[str, float]:
    """Returns what writers get of results by length, each the mean over seeds; of a further test set under its name."""
    found: dict[str, list[float]] = {}
    for row in rows:
        where = f"{row['test']}/" if row.get("role") == "further" else ""
        for name in NUMBERS[row["mode"]]:
            if row.get(name) is not None:
                found.setdefault(f"{where}{name}/length_{row['length']}", []).append(row[name])
    return {name: sum(values) / len(values) for name, values in found.items()}
