"""Errors that a user reads: each is one line that says what is wrong, where, and what is valid. Imports nothing of ours."""

import re

LONGEST_MESSAGE = 6000  # characters; the list of all settings has about half as many


def one_line(text: str) -> str:
    """Returns the text as one line that a terminal can show: what is no printable character is spelled out, a newline as \\n."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class OneLine(Exception):
    """Shows an error as one line for a terminal, whatever data are quoted in it.

    Control characters are spelled out (a newline as \\n), and the middle of a text of more than `LONGEST_MESSAGE` characters is left out.
    """

    def __str__(self) -> str:
        text = one_line(super().__str__())
        half = LONGEST_MESSAGE // 2
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:half]} […] {text[-half:]}"


ILLEGIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def legible(text: str) -> str:
    """Replaces by � what a page or a picture cannot show.

    Control characters (tab and newline aside), marks that change the direction of text, halves of surrogate pairs, and code points that are
    no characters.
    """
    return ILLEGIBLE.sub("�", text)


def spelled(text: str) -> str:
    """Spells out for a terminal what `legible` replaces: a text keeps its lines and tabs, moves no cursor and clears no screen."""
    return ILLEGIBLE.sub(lambda found: ascii(found[0])[1:-1], text)


class ConfigError(OneLine, ValueError):
    """Refuses a setting: the message says which, why, and what is valid. The command line prints it and stops."""


class DataError(OneLine, ValueError):
    """Refuses data that are missing, damaged or of the wrong kind: the message names file, line and remedy."""


class RunError(OneLine, RuntimeError):
    """Ends a run that cannot go on (foreign workdir, NaN loss): the message names what and where."""


class StorageError(RunError):
    """Reports a file or directory that cannot be used now: its disk refuses (full, read-only, gone), or another process has it.

    Nothing is wrong with the run itself, and the same command goes on once that is over.
    """


class Stopped(RunError):
    """Reports that a signal arrived or the time is up: the run is saved, and the same command goes on."""
