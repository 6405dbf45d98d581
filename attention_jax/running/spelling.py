"""Tokens → text as people read it, and where an output ends."""

from collections.abc import Iterable

import numpy as np

from attention_jax.data.corpora.vocabulary import SPECIAL, Vocabulary
from attention_jax.statistics import alignments
from attention_jax.types import BOS, EOS, FIRST_SYMBOL, PAD, UNK
from attention_jax.types.signatures import Array


def spelled(tokens: Iterable[int], vocabulary: Vocabulary | None) -> list[str]:
    """Spells tokens as people read them: those of a vocabulary, or the numbers of a task's symbols; EOS is ⏎, PAD ·, UNK <unk>."""
    special = {PAD: "·", EOS: alignments.ENDS[0], BOS: "⇤", UNK: SPECIAL["unk"]}
    tokens = [int(token) for token in tokens]
    return [special[t] if t in special else vocabulary.pieces([t])[0] if vocabulary else str(t - FIRST_SYMBOL) for t in tokens]


def end(tokens_T: Array, otherwise: int) -> int:
    """Counts the tokens of an output, its first EOS included; returns `otherwise` where it has no EOS."""
    ends = np.flatnonzero(np.asarray(tokens_T) == EOS)
    return int(ends[0]) + 1 if len(ends) else otherwise
