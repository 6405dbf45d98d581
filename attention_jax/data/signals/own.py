"""Batches of a user's own images or frames: a finite list, in an order that is a pure function of (seed, epoch).

All sources are padded to one size, that of the longest, and all targets; what is padded is masked. An epoch is the training split once in
a random order, and its last batch is filled up from the order's start.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from attention_jax.config import Config
from attention_jax.data.corpora.pairs import Pairs
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.signals import examples
from attention_jax.data.signals.examples import Examples, Signal
from attention_jax.data.signals.own_files import Folder, Item
from attention_jax.system.errors import DataError
from attention_jax.types import EOS, PAD, Batch
from attention_jax.types.sizes import VocabularySizes

Learn = Callable[[Sequence[str]], Vocabularies]
"""Texts of training → the run's vocabularies: those that it has stored, where there are any."""


def opened(config: Config, rows: int, found: Folder, learn: Learn) -> Signal:
    """Opens a folder that was scanned. Raises `DataError` for the first thing that is wrong with it."""
    if found.faults:
        more = f"; {len(found.faults) - 1:,} more things are wrong, --check_data lists them" * (len(found.faults) > 1)
        raise DataError(f"{found.faults[0]}{more}")
    vocabulary = learn([item.text for item in found.splits["train"]])
    arrays = {split: padded(items, found, vocabulary, rows, config.text.cut) for split, items in found.splits.items()}
    longest = trained_to(arrays["train"].length_N, config.data.eval_lengths)
    shortest = int(arrays["test"].length_N.min())
    if edge_of(shortest, config.data.eval_lengths) > longest:
        file = found.path / "test.tsv"
        raise DataError(f"{file}: every text is longer than those of train.tsv, {shortest} tokens or more; some must be of trained lengths")
    tests = {split: split for split in found.splits if split not in ("train", "validation")}
    return Signal(
        sizes=VocabularySizes(arrays["train"].source_NxSxF.shape[2], vocabulary.target.size),
        vocabularies=vocabulary,
        train=partial(train_batch, arrays["train"], config),
        evaluation=partial(eval_batches, arrays, config),
        lengths=config.data.eval_lengths,
        longest=longest,
        longest_output=config.text.cut,
        fingerprint=fingerprint(found),
        tests=tests,
        rows=rows,
        texts=partial(texts, found, arrays),
    )


def trained_to(length_N: np.ndarray, edges: Sequence[int]) -> int:
    """Returns the longest trained length: the upper edge of the bucket of the longest training text, or its own length beyond the last."""
    return edge_of(int(length_N.max()), edges)


def edge_of(length: int, edges: Sequence[int]) -> int:
    """Returns the upper edge of the bucket of a length; the length itself where it lies beyond the last."""
    return next((edge for edge in edges if edge >= length), length)


def fingerprint(found: Folder) -> str:
    """Returns the sha256 of all that is read: names, texts and content."""
    digest = hashlib.sha256()
    for split, items in found.splits.items():
        for item in items:
            digest.update("\0".join((split, item.name, item.text, item.content, "")).encode())
    return digest.hexdigest()


def texts(found: Folder, arrays: dict[str, Examples], split: str) -> Pairs:
    """Returns names and texts of a split, with lengths in target tokens."""
    items, number_N = found.splits[split], np.arange(len(found.splits[split]), dtype=np.int32)
    return Pairs([item.name for item in items], [item.text for item in items], arrays[split].length_N, number_N, np.ones_like(number_N))


def padded(items: Sequence[Item], found: Folder, vocabulary: Vocabularies, rows: int, cut: int) -> Examples:
    """Pads a split to the size of the folder's longest source and target; a target longer than `cut` loses its end."""
    every = [item for of_split in found.splits.values() for item in of_split]
    columns = max(len(item.features_SxF) for item in every) // rows
    target = [[*vocabulary.target.encode(item.text)[: cut - 1], EOS] for item in items]
    T = min(cut, 1 + max(len(vocabulary.target.encode(item.text)) for item in every))
    N, F = len(items), items[0].features_SxF.shape[1]
    source_NxYxXxF, mask_NxYxX = np.zeros((N, rows, columns, F), np.float32), np.zeros((N, rows, columns), bool)
    target_NxT = np.full((N, T), PAD, np.int32)
    for n, item in enumerate(items):
        own_YxXxF = item.features_SxF.reshape(rows, -1, F)
        source_NxYxXxF[n, :, : own_YxXxF.shape[1]] = own_YxXxF
        mask_NxYxX[n, :, : own_YxXxF.shape[1]] = True
        target_NxT[n, : len(target[n])] = target[n]
    length_N = np.array([len(tokens) - 1 for tokens in target], np.int32)
    shape = (N, rows * columns)
    return Examples(
        source_NxYxXxF.reshape(*shape, F), mask_NxYxX.reshape(shape), target_NxT, np.full((N, T, 4), -1, np.float32), length_N, rows
    )


def train_batch(split: Examples, config: Config, seeds: Sequence[int], step: int) -> Batch:
    """Returns the batch of update `step` for every seed, along a leading axis R."""
    N, B = len(split.length_N), config.training.batch_size
    epoch, slot = divmod(step, -(-N // B))
    places_B = np.arange(slot * B, (slot + 1) * B) % N
    chosen = [taken(split, np.random.default_rng((seed, epoch)).permutation(N)[places_B]) for seed in seeds]
    return examples.batch(chosen, np.arange(B), dark=config.signal.dark)


def eval_batches(arrays: dict[str, Examples], config: Config, split: str, seeds: Sequence[int]) -> Iterator[Batch]:
    """Yields a split in order, the same for every seed; rows that fill up the last batch are numbered −1 and masked."""
    of_split, B = arrays[split], config.training.batch_size
    for first in range(0, len(of_split.length_N), B):
        number_B = np.arange(first, first + B)
        real_B = number_B < len(of_split.length_N)
        chosen = taken(of_split, np.where(real_B, number_B, 0))
        source_NxSxF, target_NxT = (np.where(real_B.reshape(-1, *[1] * (x.ndim - 1)), x, 0) for x in (chosen[0], chosen.target_NxT))
        chosen = chosen._replace(
            source_NxSxF=source_NxSxF, mask_NxS=chosen.mask_NxS & real_B[:, None], target_NxT=target_NxT, length_N=chosen.length_N * real_B
        )
        yield examples.batch([chosen] * len(seeds), np.where(real_B, number_B, -1), dark=config.signal.dark)


def taken(split: Examples, index_B: np.ndarray) -> Examples:
    """Returns the examples of these numbers."""
    return split._replace(**{name: getattr(split, name)[index_B] for name in Examples._fields if name != "rows"})
