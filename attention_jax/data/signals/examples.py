"""Examples of real-valued sources: the records that rows of signals make, and arrays → `Batch`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attention_jax.data.corpora.pairs import Pairs
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.types import PAD, Batch
from attention_jax.types.sizes import VocabularySizes

Read = Callable[[bytes, str], np.ndarray]
"""(bytes of a file, where it is) → features_SxF. Raises `DataError` for what it cannot read."""


class Examples(NamedTuple):
    """N examples, padded. A box is top, left, bottom, right in places, rows and columns of the source; −1 where a token has none.

    A source without rows of its own, as of times, is one row.
    """

    source_NxSxF: np.ndarray
    mask_NxS: np.ndarray
    target_NxT: np.ndarray  # EOS included
    box_NxTx4: np.ndarray
    length_N: np.ndarray
    rows: int = 1

    @property
    def gold_NxT(self) -> np.ndarray:
        """The place in the middle of each box, −1 without one."""
        columns = self.source_NxSxF.shape[1] // self.rows
        middle_NxTx2 = np.floor((self.box_NxTx4[..., :2] + self.box_NxTx4[..., 2:]) / 2).astype(np.int32)
        return np.where(self.box_NxTx4[..., 2] > 0, middle_NxTx2[..., 0] * columns + middle_NxTx2[..., 1], -1)


class Drawn(NamedTuple):
    """A row of drawn signals, of a config.

    load(data_dir, cache_dir) → {split: data of it} for train, validation and test;
    draw(rng, data, count_N, longest, extent) → `Examples`, the nth of length count_N[n] ≤ longest, on a source of this extent;
    tests: {test split: its name and its extent}, the one of verdicts first, whose extent is that of training; data of a further one are
    those of its own name, where `load` has any, else those of test.
    """

    features: int  # F
    words: tuple[str, ...]  # of targets, without the special tokens
    load: Callable[[Path | None, Path], Mapping[str, Any]]
    draw: Callable[[np.random.Generator, Any, np.ndarray, int, int], Examples]
    positions: Callable[[int], int]  # length → target positions, EOS included
    tests: Mapping[str, tuple[str, int]]
    rows: int  # of a source; what `model.rows` must be
    places: int  # S of a training source
    read: Read  # a file such as its sources: an image of a canvas, a recorded string


class Signal(NamedTuple):
    """A signal that is open: its files are read. What is not here of a `Source` follows from its being a signal."""

    sizes: VocabularySizes  # F and V
    vocabularies: Vocabularies  # of targets
    train: Callable[[Sequence[int], int], Batch]  # (seeds, step) → a training batch with leading R
    evaluation: Callable[[str, Sequence[int]], Iterator[Batch]]
    lengths: tuple[int, ...]
    longest: int
    longest_output: int
    fingerprint: str
    tests: Mapping[str, str]
    rows: int
    texts: Callable[[str], Pairs] | None = None  # of files


def batch(examples: Sequence[Examples], number_B: np.ndarray, boxes: bool = False, dark: bool = False) -> Batch:
    """Stacks the examples of R seeds to a batch with leading R; `boxes` has their boxes, too, which training does not ask for.

    `dark`: every source is zeros, so that a control trains on the same targets.
    """
    source, mask, target, box, length = (np.stack([of_seed[i] for of_seed in examples]) for i in range(5))
    return Batch(
        source_BxS=np.zeros_like(source) if dark else source,
        source_mask_BxS=mask,
        target_BxT=target,
        target_mask_BxT=target != PAD,
        gold_BxT=np.stack([of_seed.gold_NxT for of_seed in examples]),
        length_B=length.astype(np.int32),
        example_B=np.broadcast_to(number_B.astype(np.int32), length.shape),
        box_BxTx4=box.astype(np.float32) if boxes else None,
    )
