"""Formats that runs are stored in, by number, and what completes the runs of older ones.

    1    nothing in a run's directory has a number; its parameters may have arrays of size 0
    2    `config.json` and the records of checkpoints say "format": 2; no array is empty
    3    a run on text has as many embeddings and logits as its vocabularies have tokens; before, as `text.vocabulary_size` asked for

A run of any older format is listed, loaded, gone on with and concluded like one of today. The number goes up with whatever an older
version would misread; a setting that is new needs a line in `AS_IT_WAS` and no number.
"""

from collections.abc import Mapping

from attention_jax.system.errors import RunError

FORMAT = 3
"""What is written today."""

AS_IT_WAS = {
    "model.vector_size": 0,
    "training.precision": "highest",
    "data.held_out": 0,
    "training.nudge": 0,
    "training.seeds_at_once": 0,
    "text.blind": False,
    "search.backward_window": -1,
    "search.forward_window": -1,
    "model.decoder_cell": "",
    "model.vector_bits": 0,
    "data.source_entropy": 0.0,
    "text.validation_source": "",
    "text.validation_target": "",
    "text.test_sources": [],
    "text.test_targets": [],
    "text.unit": "subword",
    "text.vocabularies": "shared",
    "text.target_unit": "same",
    "text.lengths": "words",
    "text.given": "",
    "text.test_links": [],
    "text.aligner": "none",
    "text.swapped": False,
    "model.rows": 0,
    "model.coordinates": False,
    "signal.height": 64,
    "signal.widths": [256],
    "signal.patch": 4,
    "signal.smallest": 18,
    "signal.largest": 25,
    "signal.clutter": 16,
    "signal.order": "left",
    "signal.folder": "",
    "signal.features": 0,
    "signal.dark": False,
    "signal.rate": 8000,
    "signal.mels": 24,
    "signal.stacked": 4,
    "signal.silence": 20,
    "signal": {},
}
"""{setting that did not always exist: what runs did before it}, a section behind its settings. A stored config that lacks it means this,
and at this value it leaves a config's fingerprint as it was."""


ADDED = ("optimizer", "schedule", "warmup", "clip", "fingerprint", "slots", *(path.rpartition(".")[2] for path in AS_IT_WAS))
"""Fields of a row that rows of older versions lack; `slots` are those of `capacity`."""


def without_new(nested: dict) -> dict:
    """Deletes from the nested settings of a config those newer than format 1 that are at the value of `AS_IT_WAS`; returns them."""
    for path, value in AS_IT_WAS.items():
        section, _, name = path.rpartition(".")
        record = nested[section] if section else nested
        if name in record and record[name] == value:
            del record[name]
    return nested


FINGERPRINTED = "text.blind"
"""A stored config that has this setting is of a version all of whose rows say the fingerprint of their run's settings."""


def is_fingerprinted(stored: Mapping) -> bool:
    """Returns whether every row of a run with these settings, as they are on file, has a fingerprint."""
    part, _, name = FINGERPRINTED.partition(".")
    return isinstance(stored.get(part), Mapping) and name in stored[part]


def has_asked_size(stored: Mapping) -> bool:
    """Returns whether a run on text, by its `config.json`, has as many embeddings as `text.vocabulary_size` says, used or not."""
    return stored.get("format", 1) < 3


def completed(row: dict, fields: Mapping) -> dict:
    """Returns the row of a run with these fields, those added that did not exist when it was written."""
    added = {name: value for name, value in fields.items() if name in ADDED and name not in row}
    return added | row if added else row


def check(content: dict, where: object) -> None:
    """Raises `RunError` where `content`, the JSON object of a file or a record, is of a newer format than ours."""
    found = content.get("format", 1)
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise RunError(
            f"{where} was written by a newer version: its format is {found!r}, and this one reads 1 to {FORMAT}; use that version"
        )
