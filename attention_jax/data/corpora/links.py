"""Links between words, as aligners write them: Pharaoh lines → sets of links → a gold source position for every target subword.

    0-0 1-2 2?1       source word 0 goes with target word 0, 1 with 2; 2 possibly with 1

A line per sentence pair; words are counted from 0, the source word comes first. `-` is a sure link, `?` or `p` a possible one
(Och & Ney 2003); a line without links is empty. fast_align (Dyer 2013) and eflomal (Östling & Tiedemann 2016) write sure links only.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.data.corpora import raw, words
from attention_jax.system.errors import DataError

LINK = re.compile(r"([0-9]{1,9})([-?p])([0-9]{1,9})")

Link = tuple[int, int]
"""(source word, target word), both from 0."""


class Links(NamedTuple):
    """Word links of one sentence pair. Every sure link is a possible one: S ⊆ P."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def read(data: bytes, where: str) -> list[Links]:
    """Reads the links of each line. Raises `DataError` with file and line for anything else, and for a file that counts from 1."""
    lines = raw.text(data, where).removesuffix("\n").split("\n") if data else []
    found = [parse(line, f"{where}, line {number}") for number, line in enumerate(lines, start=1)]
    linked = {word for of_pair in found for link in of_pair.possible for word in link}
    if linked and 0 not in linked:
        raise DataError(f"{where}: no link names a word 0, so its words are counted from 1; subtract 1 from both numbers of every link")
    return found


def parse(line: str, where: str) -> Links:
    """Parses the links of one line; sure ones are possible, too."""
    sure, possible = set(), set()
    for word in words.split(line):
        match = LINK.fullmatch(word)
        if match is None:
            raise DataError(f"{where}: {word[:40]!r} is no link; valid: 0-0 (sure), 0?0 or 0p0 (possible), source first, counted from 0")
        source, kind, target = match.groups()
        (sure if kind == "-" else possible).add((int(source), int(target)))
    return Links(frozenset(sure), frozenset(sure | possible))


def text(links: Iterable[Link]) -> str:
    """Formats sure links as the line that `parse` reads."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def spelled(links: Links) -> str:
    """Formats sure and possible links as the line that `parse` reads."""
    return " ".join(f"{source}{'-' if (source, target) in links.sure else '?'}{target}" for source, target in sorted(links.possible))


def check(links: Links, source: str, target: str, where: str) -> Links:
    """Returns `links`. Raises `DataError` where a link is to a word that the sentences do not have."""
    for side, sentence, last in (("source", source, 0), ("target", target, 1)):
        count = len(words.split(sentence))
        if (highest := max((link[last] for link in links.possible), default=-1)) >= count:
            raise DataError(f"{where}: a link names {side} word {highest}, but the {side} has {count} words, 0 to {count - 1}")
    return links


def joined(sentences: Iterable[tuple[str, str, Iterable[Link]]]) -> list[Link]:
    """Joins the links of (source, target, links) that form one example, shifted by the words before them."""
    found, before = [], (0, 0)
    for source, target, links in sentences:
        found += [(before[0] + i, before[1] + j) for i, j in links]
        before = before[0] + len(words.split(source)), before[1] + len(words.split(target))
    return found


def word_of_piece(pieces: Sequence[str]) -> np.ndarray:
    """Returns the number of each subword's word; a word begins with ▁, or is the first."""
    starts = [piece.startswith(words.SPACE) or first for first, piece in zip([True] + [False] * len(pieces), pieces, strict=False)]
    return np.cumsum(np.array(starts, np.int32), dtype=np.int32) - 1


def gold(links: Iterable[Link], source_pieces: Sequence[str], target_pieces: Sequence[str]) -> np.ndarray:
    """Returns the gold position of every target subword, EOS included: the first subword of the first source word linked to its word.

    -1 where its word has no link; the target's EOS goes with the source's, which follows `source_pieces`.
    """
    source_of_word = {}
    for source, target in sorted(links, reverse=True):
        source_of_word[target] = source  # the first of several comes last
    first_of_word = np.unique(word_of_piece(source_pieces), return_index=True)[1]
    positions = [first_of_word[source_of_word[word]] if word in source_of_word else -1 for word in word_of_piece(target_pieces).tolist()]
    return np.array([*positions, len(source_pieces)], np.int32)
