"""Tokens → text as people read it, and where an output ends; places of a signal → their numbers, and its image."""

from collections.abc import Iterable
from math import isqrt

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


def numbered(source_SxF: Array) -> list[str]:
    """Numbers the positions of a source that has no tokens."""
    return list(map(str, range(len(source_SxF))))


def image(source_SxF: np.ndarray, rows: int) -> np.ndarray:
    """Returns the image_YxX, bytes from black to white, whose square patches, row by row, are the places of a source."""
    patch, darkest = isqrt(source_SxF.shape[1]), source_SxF.min()
    shares_SxF = (source_SxF - darkest) / max(float(source_SxF.max() - darkest), 1e-9)
    cut = np.rint(255 * shares_SxF).astype(np.uint8).reshape(rows, -1, patch, patch)
    return cut.transpose(0, 2, 1, 3).reshape(rows * patch, -1)
