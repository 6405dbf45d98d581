"""How a run is written down, by number, and what makes the runs of older numbers whole.

    1    nothing in a run's directory has a number; its parameters may have arrays of size 0
    2    `config.json` and the records of checkpoints say "format": 2; no array is empty

A run of any older format is listed, loaded, gone on with and concluded like one of today. The number goes up with whatever an older
version would misread; a setting that is new needs a line in `AS_IT_WAS` and no number.
"""

from collections.abc import Mapping

from attention_jax.system.errors import RunError

FORMAT = 2
"""What is written today."""

AS_IT_WAS = {
    "model.vector_size": 0,
    "training.precision": "highest",
    "data.held_out": 0,
    "training.nudge": 0,
    "training.seeds_at_once": 0,
    "text.blind": False,
}
"""{setting that did not always exist: what runs did before it}. A stored config that lacks it means this, and at this value it leaves a
config's fingerprint as it was."""


ADDED = ("optimizer", "schedule", "warmup", "clip", "fingerprint", *(path.rpartition(".")[2] for path in AS_IT_WAS))
"""Fields of a row that rows of older versions lack."""


def completed(row: dict, fields: Mapping) -> dict:
    """A row of the run that has these fields, with those that did not exist when it was written."""
    return {name: value for name, value in fields.items() if name in ADDED} | row


def check(content: dict, where: object) -> None:
    """Raises `RunError` where `content`, the JSON object of a file or a record, is of a newer format than ours."""
    found = content.get("format", 1)
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise RunError(
            f"{where} was written by a newer version: its format is {found!r}, and this one reads 1 to {FORMAT}; use that version"
        )
