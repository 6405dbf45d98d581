"""Errors that a user reads: each is one line that says what is wrong, where, and what is valid. Imports nothing of ours."""

import re

LONGEST_MESSAGE = 6000  # characters; the list of all settings has about half as many


class OneLine(Exception):
    """An error whose text is one line that a terminal can show, whatever data are quoted in it: control characters are spelled out
    (a newline as \\n), and the middle of a text of more than `LONGEST_MESSAGE` characters is left out.
    """

    def __str__(self) -> str:
        text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in super().__str__())
        half = LONGEST_MESSAGE // 2
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:half]} […] {text[-half:]}"


ILLEGIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def legible(text: str) -> str:
    """The text for a page or a picture: � for control characters (tab and newline aside), for those that turn the direction of what
    follows, for halves of surrogate pairs and for what is no character.
    """
    return ILLEGIBLE.sub("�", text)


class ConfigError(OneLine, ValueError):
    """A setting that cannot be: the message says which, why, and what is valid. The command line prints it and stops."""


class DataError(OneLine, ValueError):
    """Data that is missing, damaged or not what it should be: the message names file, line and remedy."""


class RunError(OneLine, RuntimeError):
    """A run that cannot go on (foreign workdir, NaN loss): the message names what and where."""


class StorageError(RunError):
    """A disk that refuses (full, read-only, gone): the run itself is sound, and the same command goes on once there is room."""


class Stopped(RunError):
    """A signal arrived or the time is up: the run is saved, and the same command goes on."""
