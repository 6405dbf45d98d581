"""Simulates data sets under planted truths and judges each by a public verdict: a letter a data set, and bounds on their shares."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from attention_jax.statistics import truths, verdicts
from attention_jax.statistics.text import truths as text_truths
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import DataError

SEEDS = (8, 4, 16)  # the first is what targets are for
DRAWS = 2000
BLOCK = 250
CODES = {
    "B": "bottleneck, levelling off",
    "C": "bottleneck, still closing",
    "S": "slower to train",
    "N": "no bottleneck",
    "0": "missing, or an edge",
    "1": "not learned",
    "2": "short lengths",
    "3": "sentences",
    "a": "a. gap",
    "b": "b. memory",
    "w": "b. widening",
    "r": "b. ratio",
    "c": "c. rates",
    "d": "d. placebo",
}
"""What a draw came to, a letter each; from "0" on, what made it inconclusive."""

CAUSES = {"missing": "0", "learned": "1", "short": "2", "sentences": "3", "gap": "a", "memory": "b", "widening": "w", "ratio": "r"} | {
    "rates": "c",
    "placebo": "d",
}
"""The letter of what failed first, by the name that a verdict has for it."""

INCONCLUSIVE = "".join(CAUSES.values())


class Target(NamedTuple):
    """A bound on the share of draws with these codes, at 8 seeds: at least, or at most, `bound`."""

    truth: str
    codes: str
    sense: str  # ≥ or ≤
    bound: float

    def met(self, share: float) -> bool:
        """Returns whether a share keeps the bound."""
        return share >= self.bound if self.sense == "≥" else share <= self.bound


class Suite(NamedTuple):
    """The planted truths of one verdict, each with a name, a kind and a description."""

    table: str  # of its rows
    truths: Callable[[], Mapping]  # by name
    verdict: Callable[..., Verdict]  # of (truth, seeds, random): of one data set
    effects: tuple[Target, ...]  # what is asked for besides: nulls are hardly ever called a bottleneck

    @property
    def targets(self) -> list[Target]:
        """The bounds that the protocol demands."""
        codes = {"null": "BC", "level": "B"}
        nulls = [Target(truth.name, codes[truth.kind], "≤", 0.05) for truth in self.truths().values() if truth.kind in codes]
        return [*nulls, *self.effects]

    def draw(self, truth: Any, seeds: int, first: int, draws: int) -> str:
        """Returns the codes of draws `first`, `first` + 1, …."""
        keys = ([zlib.crc32(truth.name.encode()), seeds, number] for number in range(first, first + draws))
        return "".join(code(self.verdict(truth, seeds, np.random.default_rng(key))) for key in keys)

    def open_blocks(self, rows: Iterable[dict], draws: int) -> list[tuple[str, str, int, int, int]]:
        """Returns the arguments of `block` for draws that are not on file, up to `draws` a cell; cells of 8 seeds first."""
        there: dict[tuple[str, int], int] = {}
        for row in rows:
            if row["table"] == self.table:
                key = (row["truth"], row["seeds"])
                there[key] = max(there.get(key, 0), row["first"] + len(row["codes"]))
        found = []
        for seeds in SEEDS:
            for name in self.truths():
                begin = there.get((name, seeds), 0)
                found += [(self.table, name, seeds, first, min(BLOCK, draws - first)) for first in range(begin, draws, BLOCK)]
        return sorted(found, key=lambda each: (each[2] != SEEDS[0], each[3] // BLOCK))

    def stale(self, rows: Iterable[dict], draws: int = 2) -> list[str]:
        """Returns the cells whose first draws have other codes today: the rule or the generator has changed."""
        planted = self.truths()
        first = [row for row in rows if row["table"] == self.table and row["first"] == 0]
        return [
            f"{row['truth']}, {row['seeds']} seeds"
            for row in first
            if row["truth"] not in planted or self.draw(planted[row["truth"]], row["seeds"], 0, draws) != row["codes"][:draws]
        ]

    def tally(self, rows: Iterable[dict]) -> dict[tuple[str, int], str]:
        """Returns {(truth, seeds): codes of all draws in order}. Raises `DataError` for blocks that overlap or leave a gap."""
        blocks = sorted((row for row in rows if row["table"] == self.table), key=lambda row: (row["truth"], row["seeds"], row["first"]))
        found: dict[tuple[str, int], str] = {}
        for row in blocks:
            key = (row["truth"], row["seeds"])
            if row["first"] != len(found.get(key, "")):
                raise DataError(f"draws of {key} do not follow each other at {row['first']}")
            found[key] = found.get(key, "") + row["codes"]
        return found


def code(verdict: Verdict) -> str:
    """Returns the letter of a verdict in `CODES`."""
    if verdict.value == "bottleneck":
        return "B" if verdict.detail == "levelling off" else "C"
    return {"slower to train": "S", "no bottleneck": "N"}.get(verdict.value) or CAUSES[verdict.failed[0]]


def share(codes: str, of: str) -> float:
    """Returns the share of draws with one of the codes `of`."""
    return sum(map(codes.count, of)) / len(codes)


@cache
def _on_strings() -> Mapping:
    return {truth.name: truth for truth in truths.truths()}


@cache
def _on_text() -> Mapping:
    return {truth.name: truth for truth in text_truths.truths()}


def _verdict_on_strings(truth: truths.Truth, seeds: int, random: np.random.Generator) -> Verdict:
    return verdicts.verdict(truths.rows(truth, seeds, random), truths.comparison(seeds))


def _verdict_on_text(truth: text_truths.Truth, seeds: int, random: np.random.Generator) -> Verdict:
    return text_verdicts.verdict(*text_truths.experiment(truth, seeds, text_truths.CAPTIONS, random), text_truths.comparison(seeds))


STRINGS = Suite(
    "verdicts",
    _on_strings,
    _verdict_on_strings,
    (
        Target("gap 0.27", "BC", "≥", 0.6),
        Target("gap 0.4", "BC", "≥", 0.95),
        Target("holds 4 to 5", "BC", "≥", 0.95),
        Target("equal", "N", "≥", 0.4),
        Target("equal, 0.9", "N", "≥", 0.4),
        Target("equal, calm", "N", "≥", 0.95),
        Target("untrained", INCONCLUSIVE, "≥", 1.0),
    ),
)
TEXT = Suite("text", _on_text, _verdict_on_text, (Target("untrained", INCONCLUSIVE, "≥", 1.0),))
SUITES = {suite.table: suite for suite in (STRINGS, TEXT)}


def block(table: str, name: str, seeds: int, first: int, draws: int) -> dict:
    """Simulates consecutive draws of a cell, and returns them as a row."""
    suite = SUITES[table]
    return {"table": table, "truth": name, "seeds": seeds, "first": first, "codes": suite.draw(suite.truths()[name], seeds, first, draws)}
