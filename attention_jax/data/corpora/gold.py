"""Word links made by hand, of test sentences: a file in one of two formats → sure and possible links of each pair, counted from 0.

    1-1 2p3 3-2       a line per pair (Pharaoh): - is sure, ? or p possible; words are counted from 0, or throughout from 1
    7 1 1 S           a line per link (shared task of NAACL 2003): number of the pair, source word, target word, S or P, all from 1;
    7 2 3 P 0.8       without a letter it is sure; a confidence may follow, and is ignored; word 0 is no word: such a link is left out

A file of the first format counts from 0 if a link names a word 0. It counts from 1 if none does, and a link names the last of n words by n.
Where neither is so nothing tells, and the file is refused.
"""

import re
from collections.abc import Sequence

from attention_jax.data.corpora import links, raw, words
from attention_jax.data.corpora.links import Link, Links
from attention_jax.system.errors import DataError

ROW = re.compile(r"0*([0-9]{1,9}) 0*([0-9]{1,9}) 0*([0-9]{1,9})(?: ([SP])(?: \S+)?)?")


def read(data: bytes, where: str, pairs: Sequence[tuple[str, str]]) -> list[Links]:
    """Reads the links of each of these pairs of sentences. Raises `DataError` with file and line for anything else."""
    lines = raw.text(data, where).removesuffix("\n").split("\n")
    first = next((words.split(line)[0] for line in lines if words.split(line)), "")
    if first.isdecimal():
        return _of_rows(lines, where, pairs)
    if len(lines) != len(pairs):
        raise DataError(f"{where} has {len(lines)} lines of links for {len(pairs)} pairs of sentences: there must be one each")
    found = [links.parse(line, f"{where}, line {number}") for number, line in enumerate(lines, start=1)]
    every = enumerate(zip(_from_0(found, where, pairs), pairs, strict=True), start=1)
    return [links.check(each, *pair, f"{where}, line {number}") for number, (each, pair) in every]


def _from_0(found: Sequence[Links], where: str, pairs: Sequence[tuple[str, str]]) -> list[Links]:
    """Returns links counted from 0. Raises `DataError` where nothing tells from what they are counted."""
    if not any(each.possible for each in found) or any(0 in link for each in found for link in each.possible):
        return list(found)
    lasts = [tuple(len(words.split(side)) for side in pair) for pair in pairs]
    if not any(link[side] == last[side] for each, last in zip(found, lasts, strict=True) for link in each.possible for side in (0, 1)):
        raise DataError(f"{where}: no link names a word 0, and none a last word by its number: count words from 0, in every link")
    return [Links(*(frozenset((i - 1, j - 1) for i, j in side) for side in each)) for each in found]


def _of_rows(lines: Sequence[str], where: str, pairs: Sequence[tuple[str, str]]) -> list[Links]:
    """Reads lines of a link each."""
    sure: list[set[Link]] = [set() for _ in pairs]
    possible: list[set[Link]] = [set() for _ in pairs]
    for number, line in enumerate(lines, start=1):
        if not words.split(line):
            continue
        at = f"{where}, line {number}"
        match = ROW.fullmatch(words.collapsed(line))
        if match is None:
            raise DataError(f"{at}: {line[:40]!r} is no link; valid: pair, source word, target word, S or P, such as: 7 2 3 P")
        pair, source, target = (int(match[group]) for group in (1, 2, 3))
        if not 1 <= pair <= len(pairs):
            raise DataError(f"{at} names pair {pair}, and there are {len(pairs)}, from 1")
        if source and target:
            link = (source - 1, target - 1)
            links.check(Links(frozenset(), frozenset({link})), *pairs[pair - 1], at)
            (possible if match[4] == "P" else sure)[pair - 1].add(link)
    return [Links(frozenset(s), frozenset(s | p)) for s, p in zip(sure, possible, strict=True)]
