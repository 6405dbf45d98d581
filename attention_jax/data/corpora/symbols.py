"""Characters and words as tokens: lines of the training split → the most frequent of them → text to ids and back.

A word is what white space separates (`words.split`), with whatever stands at it: "end." and "end" are two. Of characters the space
between words is one. What training has not seen, or too seldom to be among the most frequent, is one UNK each.

A vocabulary is stored as text, UTF-8, a token a line in order of ids; the first four lines are the special tokens.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from attention_jax.data.corpora import words
from attention_jax.data.corpora.vocabulary import ADDS, SPECIAL, Vocabulary
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import FIRST_SYMBOL, UNK

HEAD = tuple(SPECIAL.values())


@dataclass(frozen=True)
class Symbols(Vocabulary):
    """A vocabulary of whole symbols; `cut` cuts a text into them, `joint` is what stands before each in a text."""

    ids: Mapping[str, int]
    cut: Callable[[str], Sequence[str]]
    joint: str

    @property
    def symbols(self) -> Callable[[str], Sequence[str]]:
        return self.cut

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(symbol, UNK) for symbol in self.cut(text)]

    def spelled(self, text: str) -> list[str]:
        return [self.joint + symbol for symbol in self.cut(text)]

    def stored(self) -> bytes:
        return "".join(f"{symbol}\n" for symbol in (*HEAD, *self.ids)).encode()


CUTS = {"character": (words.collapsed, ""), "word": (words.split, " ")}
"""{unit: (how a text is cut into symbols, what stands before each)}."""


def learn(unit: str, lines: Iterable[str], most: int) -> bytes:
    """Counts symbols, and returns the stored vocabulary of the most frequent, at most `most` with the special tokens; first come first.

    Raises `ConfigError` where `most` leaves none, and `DataError` where there is no text, or half a surrogate pair in it.
    """
    cut, _ = CUTS[unit]
    counted = Counter(symbol for line in lines for symbol in cut(line))
    if not counted:
        raise DataError(f"no text to learn {unit}s from: the training split has only empty lines")
    if most <= FIRST_SYMBOL:
        raise ConfigError(f"text.vocabulary_size={most} is too small: {FIRST_SYMBOL} special tokens and a {unit} need at least 5")
    try:
        return "".join(f"{symbol}\n" for symbol in (*HEAD, *(symbol for symbol, _ in counted.most_common(most - FIRST_SYMBOL)))).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the training split has half a surrogate pair, {error.object[error.start]!r}, which is no text") from None


def from_bytes(unit: str, stored: bytes) -> Symbols:
    """Returns the vocabulary that `learn` stored. Raises `DataError` for anything else."""
    try:
        lines = stored.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"the stored vocabulary is damaged: it is not UTF-8 ({error.reason})") from None
    head, symbols, (cut, joint) = tuple(lines[:FIRST_SYMBOL]), lines[FIRST_SYMBOL:-1], CUTS[unit]
    if head != HEAD or lines[-1] or not symbols:
        raise DataError(f"the stored vocabulary is damaged: it must begin with {', '.join(HEAD)}, a line each, and end with a whole line")
    ids = {symbol: FIRST_SYMBOL + i for i, symbol in enumerate(symbols)}
    if len(ids) < len(symbols) or any(len(cut(f"x{symbol}x")) != 1 + 2 * (not joint) for symbol in symbols):
        raise DataError(f"the stored vocabulary is damaged: a line of it is no {unit}, or occurs twice")
    return Symbols((*ADDS, *(joint + symbol for symbol in symbols)), ids, cut, joint)


learn_characters, learn_words = partial(learn, "character"), partial(learn, "word")
characters, whole_words = partial(from_bytes, "character"), partial(from_bytes, "word")
