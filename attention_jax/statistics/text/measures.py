"""What a verdict on text is about: the loss of every token, or the errors of what was written; which rows say it, and how much counts."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from attention_jax.statistics.sentences import Sentences
from attention_jax.system.errors import DataError


class Measure(NamedTuple):
    """A number per symbol, of which less is better. A row's `value` times its `symbols` is a sum over its sentences."""

    unit: str  # as conditions say it
    value: str  # field of a row
    mode: str  # of the rows that have it
    symbols: Callable[[Mapping], int]  # of a row: by how many its value is divided
    of: Callable[[Sentences], Sentences]  # puts the sums of each sentence and its symbols into nll_RxN and tokens_N
    learned: float  # attention has learned where it is better than the control by more than this
    margin: float  # a smaller difference between arms is none
    progress: float  # a smaller gain of a doubled budget is levelling off
    lengths: str = "words"  # what lengths count


def _errors(found: Sentences) -> Sentences:
    if found.edits_RxN is None or found.symbols_N is None:
        raise DataError("the sentences of a run have no error rate: its targets are in subwords, or an older version wrote them")
    return found._replace(nll_RxN=found.edits_RxN, tokens_N=found.symbols_N)


NATS = Measure("nats", "loss", "forced", lambda row: row["symbols"] + row["examples"], lambda found: found, 0.05, 0.05, 0.02)
"""Nats per target token, EOS included, teacher-forced."""

ERRORS = Measure("errors per symbol", "error_rate", "free", lambda row: row["reference_symbols"], _errors, 0.25, 0.02, 0.01)
"""Edits per symbol of the first reference, free running."""
