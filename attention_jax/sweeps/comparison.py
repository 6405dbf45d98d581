"""Two folders of results compared: their rows, their verdicts, a figure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from attention_jax.report import figures
from attention_jax.sweeps import agreement, archive
from attention_jax.system.errors import ConfigError


class Comparison(NamedTuple):
    """What a comparison found: its outcome, a row of `agreement.EXIT`, and the text that says so."""

    outcome: str
    text: str


def between(one: str, other: str, claim_of: Callable[[str], ModuleType], stem: Path) -> Comparison:
    """Compares two folders of results of one experiment, and draws what differs to files in the folder `stem`.

    `claim_of` finds the claim of an experiment by name. Raises `ConfigError` for folders of different experiments.
    """
    archives = [archive.read(folder) for folder in (one, other)]
    if len({found.experiment for found in archives}) > 1:
        raise ConfigError(f"--compare={one} is of {archives[0].experiment}, --with={other} of {archives[1].experiment}")
    claim = claim_of(archives[0].experiment)
    sides = [
        agreement.Side(name, named(found.rows, claim), found.stored, claim.score(found.all_rows, found.sentences).verdict)
        for name, found in zip((one, other), archives, strict=True)
    ]
    found = agreement.between(sides[0], sides[1], (*agreement.GROUP, *getattr(claim, "GROUP", ())), getattr(claim, "VALUE", "exact_match"))
    drawn = agreement.figures(found).items()
    paths = [path for name, figure in drawn for path in figures.save(figure, stem / name)]
    return Comparison(found.outcome, "\n".join([agreement.text(found), *(f"  {path}" for path in paths)]))


def named(rows: Sequence[dict], claim: ModuleType) -> list[dict]:
    """Returns rows under the arms that their claim names by `arm`; as they are, where it has none."""
    arm = getattr(claim, "arm", lambda row: row["attention"])
    return [row | {"attention": arm(row)} for row in rows]
