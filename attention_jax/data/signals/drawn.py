"""Batches of drawn signals: every example is a pure function of (seed, step), or of (seed, split, length) where it is evaluated.

Numbers are NumPy's, from generators of their own: (stream, seed, step or length).
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum, unique
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attention_jax.config import Config, DataConfig
from attention_jax.data.corpora import vocabularies
from attention_jax.data.signals import examples
from attention_jax.data.signals.examples import Drawn, Signal
from attention_jax.types import FIRST_SYMBOL, Batch
from attention_jax.types.sizes import VocabularySizes

VALIDATION_EXAMPLES = 256  # at least so many, of all trained lengths


@unique
class Stream(IntEnum):
    """Numbers the streams of drawn signals; further test splits count on from TEST."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2


def opened(row: Drawn, config: Config, data_dir: Path | None, cache_dir: Path) -> Signal:
    """Opens a drawn signal: reads the data of all splits."""
    data, longest = row.load(data_dir, cache_dir), config.data.longest
    return Signal(
        sizes=VocabularySizes(row.features, FIRST_SYMBOL + len(row.words)),
        vocabularies=vocabularies.fixed(row.words),
        train=partial(train_batch, row, data["train"], config),
        evaluation=partial(eval_batches, row, data, config),
        lengths=config.data.eval_lengths,
        longest=longest,
        longest_output=row.positions(max(longest, config.data.eval_lengths[-1])),
        fingerprint="",
        tests={split: name for split, (name, _) in row.tests.items()},
        rows=row.rows,
    )


def train_batch(row: Drawn, data: Any, config: Config, seeds: Sequence[int], step: int) -> Batch:
    """Draws the batch of update `step` for every seed, along a leading axis R."""
    B, extent, made = config.training.batch_size, next(iter(row.tests.values()))[1], []
    for seed in seeds:
        rng = np.random.default_rng((Stream.TRAINING, seed, step))
        made.append(row.draw(rng, data, lengths(rng, config.data, step, B), config.data.longest, extent))
    return examples.batch(made, np.arange(B), dark=config.signal.dark)


def lengths(rng: np.random.Generator, data: DataConfig, step: int, B: int) -> np.ndarray:
    """Draws the lengths of a batch, by the rule of `tasks.training_lengths`."""
    longest = data.longest
    if data.curriculum:
        longest = data.shortest + (data.longest - data.shortest) * min(step, data.curriculum) // data.curriculum
    return rng.integers(data.shortest, longest + 1, B)


def eval_batches(row: Drawn, data: Mapping[str, Any], config: Config, split: str, seeds: Sequence[int]) -> Iterator[Batch]:
    """Yields batches of `data.eval_examples`: of a test split one a length, of validation as many as make `VALIDATION_EXAMPLES`."""
    settings, number_B = config.data, np.arange(config.data.eval_examples)
    if split == "validation":
        extent = next(iter(row.tests.values()))[1]
        for first in range(0, VALIDATION_EXAMPLES, settings.eval_examples):
            length_B = settings.shortest + (first + number_B) % (settings.longest - settings.shortest + 1)
            yield _drawn(row, data["validation"], config, (Stream.VALIDATION, first), seeds, length_B, settings.longest, extent)
        return
    which = list(row.tests).index(split)
    for length in settings.eval_lengths:
        longest = settings.longest if length <= settings.longest else settings.eval_lengths[-1]
        place = (Stream.TEST + which, length)
        yield _drawn(row, data.get(split, data["test"]), config, place, seeds, np.full_like(number_B, length), longest, row.tests[split][1])


def _drawn(row: Drawn, data: Any, config: Config, place: tuple, seeds: Sequence[int], count_N, longest: int, extent: int) -> Batch:
    stream, number = place
    made = [row.draw(np.random.default_rng((stream, seed, number)), data, count_N, longest, extent) for seed in seeds]
    return examples.batch(made, np.arange(len(count_N)), boxes=True, dark=config.signal.dark)
