"""Where along a sequence errors fall, what wrong symbols are, and which third of the positions goes first.

Outputs of one length l are compared with what they should be, position by position. A wrong output is one of three:

    moved     a symbol that the source has, at another position: an error of order
    absent    a symbol that the source does not have: an error of identity
    neither   no symbol at all, as where an output ends early

Few symbols are absent by luck. Were a wrong symbol drawn evenly from the V − 1 others, it would be absent with probability
(V − distinct) / (V − 1), `distinct` being how many different symbols the source has. A shuffled source has no absent symbol. Between the
two lies

    order = 1 − absent / absent by chance

which is 1 where all wrong symbols are the source's, and 0 where they are random. It is the share of order in a mixture of the two.

Thirds: the first and the last ⌊l/3⌋ positions, and those between them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.system.errors import DataError
from attention_jax.types import FIRST_SYMBOL
from attention_jax.types.signatures import Array

THIRDS = ("first", "middle", "last")
PAIRS = (("first", "middle"), ("last", "middle"), ("first", "last"))
LEVEL, CLOSE = 0.05, 0.05
"""Of a corrected p; a smaller difference of shares is none."""


class Tally(NamedTuple):
    """Counts over examples at each position."""

    wrong_T: np.ndarray
    moved_T: np.ndarray
    absent_T: np.ndarray
    absent_by_chance_T: np.ndarray  # expected, for as many wrong symbols


def tally(output_BxT: Array, right_BxT: Array, symbols: int) -> Tally:
    """Counts wrong outputs and what they are; `right_BxT` are symbols, as many as the source has, of an alphabet of V = `symbols`."""
    output_BxT, right_BxT = np.asarray(output_BxT), np.asarray(right_BxT)
    wrong_BxT = output_BxT != right_BxT
    is_symbol_BxT = wrong_BxT & (output_BxT >= FIRST_SYMBOL)
    there_BxT = (output_BxT[:, :, None] == right_BxT[:, None]).any(2)
    ordered_BxT = np.sort(right_BxT, 1)
    distinct_B = 1 + (ordered_BxT[:, 1:] != ordered_BxT[:, :-1]).sum(1)
    chance_B = (symbols - distinct_B) / (symbols - 1)
    counted = wrong_BxT, is_symbol_BxT & there_BxT, is_symbol_BxT & ~there_BxT, np.where(is_symbol_BxT, chance_B[:, None], 0.0)
    return Tally(*(each_BxT.sum(0) for each_BxT in counted))


def thirds(length: int) -> dict[str, slice]:
    """Returns the positions of each third. Raises `DataError` for fewer than three positions."""
    if length < len(THIRDS):
        raise DataError(f"{length} positions have no thirds")
    n = length // 3
    return dict(zip(THIRDS, (slice(0, n), slice(n, length - n), slice(length - n, length)), strict=True))


def order(absent: float, by_chance: float) -> float:
    """Returns 1 − absent / absent by chance; nan where nothing could be absent."""
    return 1 - absent / by_chance if by_chance else float("nan")


class Contrast(NamedTuple):
    """The difference of two thirds, paired by seed, and its two-sided p, corrected for all three (Holm)."""

    difference: Interval
    p: float


def contrasts(shares: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Contrast]:
    """Returns the contrast of each of `PAIRS`, from {third: shares by seed}, seeds being in one order."""
    differences = {pair: np.subtract(shares[pair[0]], shares[pair[1]]) for pair in PAIRS}
    p = intervals.holm({" ".join(pair): intervals.student_p(each) for pair, each in differences.items()})
    return {pair: Contrast(intervals.student(each), p[" ".join(pair)]) for pair, each in differences.items()}


def goes_first(found: Mapping[tuple[str, str], Contrast]) -> str | None:
    """Returns what contrasts of error shares say; None where they leave it open.

    "the last symbols go first": its share is above both others, each p ≤ 0.05. "all but the last go first": it is below both others, which
    cannot be told apart. "no order": all three intervals lie within 0.05 of 0.
    """
    if all(max(abs(each.difference.low), abs(each.difference.high)) < CLOSE for each in found.values()):  # false for nan
        return "no order"
    above = set()
    for (a, b), each in found.items():
        if each.p <= LEVEL:
            above.add((a, b) if each.difference.mean > 0 else (b, a))
    for third in THIRDS:
        others = [other for other in THIRDS if other != third]
        if all((third, other) in above for other in others):
            return f"the {third} symbols go first"
        if all((other, third) in above for other in others) and len(above) == 2:
            return f"all but the {third} symbols go first"
    return None
