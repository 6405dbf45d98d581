"""Pairs → ids → padded batches of a few shapes: one compilation for each bucket, and no state.

A bucket is a padded size S = T; an example goes to the smallest one that holds its source and its target, EOS included. Which
bucket comes at a step depends on the step alone, so that all seeds of a run share its shape; which examples fill it depends on
(seed, epoch, bucket). An epoch is ⌈examples / B⌉ batches of every bucket in a random order; a bucket's last batch is filled up from
the start of its permutation, so every example is seen at least once an epoch. Stopping and resuming needs the step, nothing else.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from attention_jax.data.corpora import links, words
from attention_jax.data.corpora.links import Link
from attention_jax.data.corpora.pairs import Pairs
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.corpora.vocabulary import Vocabulary, shown
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import EOS, PAD, Batch

SCHEDULE = -1  # stands where a bucket's number does, in the key of the order of buckets


class Encoded(NamedTuple):
    """A split in ids: source i is source_ids[start : start + length], EOS included; `length_N` are lengths as in `Pairs`."""

    source_ids: np.ndarray
    source_start_N: np.ndarray
    source_length_N: np.ndarray
    target_ids: np.ndarray
    target_start_N: np.ndarray
    target_length_N: np.ndarray
    length_N: np.ndarray
    members: tuple[np.ndarray, ...]  # examples of each bucket; the longer ones are in none
    given_N: np.ndarray | None = None  # how many of the target's first tokens are given (text.given); None: none
    gold: np.ndarray | None = None  # for each of target_ids the source position that another aligner links it to, or -1


def encode(pairs: Pairs, vocabularies: Vocabularies, buckets: Sequence[int], given: str = "") -> Encoded:
    """Encodes a split into ids and buckets, and its word links, where it has any, into gold alignments (see corpora/links.py).

    Targets up to the word `given` are given. Raises `DataError` for a target without that word, or with none behind it.
    """
    source_ids, source_start_N, source_length_N = _flatten(pairs.sources, vocabularies.source)
    target_ids, target_start_N, target_length_N = _flatten(pairs.targets, vocabularies.target)
    members = _members(source_length_N, target_length_N, buckets)
    gold = None
    if pairs.links is not None:
        examples = zip(pairs.sources, pairs.targets, pairs.links, strict=True)
        gold = np.concatenate([_gold(*example, vocabularies) for example in examples])
    sides = source_ids, source_start_N, source_length_N, target_ids, target_start_N, target_length_N
    given_N = np.array([given_tokens(text, given, vocabularies.target) for text in pairs.targets], np.int32) if given else None
    return Encoded(*sides, pairs.length_N, members, given_N, gold)


def fingerprint(splits: dict[str, Encoded]) -> str:
    """Returns the sha256 of all sentences of all splits in ids: it differs for another corpus or another vocabulary."""
    digest = hashlib.sha256()
    for name, split in splits.items():
        for part in (name.encode(), split.source_ids, split.source_length_N, split.target_ids, split.target_length_N):
            digest.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part)  # pyright: ignore[reportArgumentType]  # arrays are buffers
    return digest.hexdigest()


def dropped(encoded: Encoded) -> int:
    """Counts the examples that are too long for every bucket, and so left out of training."""
    return len(encoded.length_N) - sum(map(len, encoded.members))


def truncated(encoded: Encoded, cut: int) -> int:
    """Counts the examples that evaluation truncates, because source or target is longer than `cut`."""
    return int(np.sum(np.maximum(encoded.source_length_N, encoded.target_length_N) > cut))


def batches_per_epoch(encoded: Encoded, batch_size: int) -> int:
    """Returns the steps of an epoch. Raises `ConfigError` where no example fits a bucket."""
    count = sum(-(-len(members) // batch_size) for members in encoded.members)
    if not count:
        shortest = np.maximum(encoded.source_length_N, encoded.target_length_N).min()
        raise ConfigError(f"text.buckets: no training example fits the longest bucket; the shortest example has {shortest} tokens")
    return count


def train_batch(encoded: Encoded, buckets: Sequence[int], batch_size: int, seeds: Sequence[int], step: int) -> Batch:
    """Returns the batch of update `step` (from 0) for every seed, along a leading axis R: a pure function of its arguments."""
    epoch, slot = divmod(step, batches_per_epoch(encoded, batch_size))
    counts = [-(-len(members) // batch_size) for members in encoded.members]
    bucket_of_slot = np.repeat(np.arange(len(buckets)), counts)
    order = _permutation(len(bucket_of_slot), 0, epoch, SCHEDULE)
    bucket = int(bucket_of_slot[order[slot]])
    first = (int(order[slot]) - sum(counts[:bucket])) * batch_size
    members = encoded.members[bucket]
    places = np.arange(first, first + batch_size) % len(members)
    index_RxB = np.stack([members[_permutation(len(members), seed, epoch, bucket)[places]] for seed in seeds])
    batch = _gather(encoded, index_RxB.reshape(-1), buckets[bucket])
    example_RxB = np.tile(np.arange(batch_size, dtype=np.int32), (len(seeds), 1))
    return jax.tree.map(lambda x: x.reshape(*index_RxB.shape, *x.shape[1:]), batch).replace(example_B=example_RxB)


def eval_batches(encoded: Encoded, buckets: Sequence[int], batch_size: int, cut: int) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yields (batch, index_B) until every example came once; rows that fill up the last batch have index -1 and are masked.

    No shape is longer than `cut`: what is longer loses its end, EOS stays (`truncated` counts them).
    """
    sizes = sorted({min(size, cut) for size in buckets} | {cut})
    lengths = np.minimum(encoded.source_length_N, cut), np.minimum(encoded.target_length_N, cut)
    for size, members in zip(sizes, _members(*lengths, sizes), strict=True):
        for first in range(0, len(members), batch_size):
            chosen = members[first : first + batch_size]
            index_B = np.full(batch_size, -1, np.int32)
            index_B[: len(chosen)] = chosen
            yield _gather(encoded, index_B, size), index_B


def blinded(batch: Batch) -> Batch:
    """Replaces every source by EOS alone; shapes, targets and order stay, so that a control trains on the same batches."""
    is_end_xS = (np.arange(batch.source_BxS.shape[-1]) == 0) & batch.source_mask_BxS[..., :1]
    source_xS = np.where(is_end_xS, EOS, PAD).astype(np.int32)
    return batch.replace(source_BxS=source_xS, source_mask_BxS=is_end_xS, gold_BxT=np.full_like(batch.gold_BxT, -1))


def _gather(encoded: Encoded, index_B: np.ndarray, size: int) -> Batch:
    """Gathers examples, padded or truncated to `size`; index -1 gives an empty row."""
    source_BxS, source_mask_BxS = _pad(encoded.source_ids, encoded.source_start_N, encoded.source_length_N, index_B, size)
    target_BxT, target_mask_BxT = _pad(encoded.target_ids, encoded.target_start_N, encoded.target_length_N, index_B, size)
    gold_BxT = _pad_gold(encoded, index_B, source_mask_BxS, target_mask_BxT)
    if encoded.given_N is not None:
        target_mask_BxT = target_mask_BxT & (np.arange(size)[None, :] >= encoded.given_N[index_B][:, None])
    return Batch(
        source_BxS=source_BxS,
        source_mask_BxS=source_mask_BxS,
        target_BxT=target_BxT,
        target_mask_BxT=target_mask_BxT,
        gold_BxT=gold_BxT,
        length_B=np.where(index_B < 0, 0, encoded.length_N[index_B]).astype(np.int32),
        example_B=np.arange(len(index_B), dtype=np.int32),
    )


def _pad(ids: np.ndarray, start_N: np.ndarray, length_N: np.ndarray, index_B: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    length_Bx1 = np.where(index_B < 0, 0, np.minimum(length_N[index_B], size))[:, None]
    position_1xS = np.arange(size)[None, :]
    mask_BxS = position_1xS < length_Bx1
    place_BxS = np.where(mask_BxS, start_N[index_B][:, None] + position_1xS, 0)
    last_BxS = position_1xS == length_Bx1 - 1  # EOS already, but where the end is cut off
    return np.where(last_BxS, EOS, np.where(mask_BxS, ids[place_BxS], PAD)).astype(np.int32), mask_BxS


def _pad_gold(encoded: Encoded, index_B: np.ndarray, source_mask_BxS: np.ndarray, target_mask_BxT: np.ndarray) -> np.ndarray:
    """Pads gold positions, without those that truncation removed; the target's last position, EOS, goes with the source's last."""
    if encoded.gold is None:
        return np.full(target_mask_BxT.shape, -1, np.int32)
    position_1xT = np.arange(target_mask_BxT.shape[1])[None, :]
    place_BxT = np.where(target_mask_BxT, encoded.target_start_N[index_B][:, None] + position_1xT, 0)
    end_Bx1 = source_mask_BxS.sum(1)[:, None] - 1
    is_last_BxT = position_1xT == target_mask_BxT.sum(1)[:, None] - 1
    gold_BxT = np.where(target_mask_BxT & (encoded.gold[place_BxT] < end_Bx1), encoded.gold[place_BxT], -1)
    return np.where(is_last_BxT, end_Bx1, gold_BxT).astype(np.int32)


def _gold(source: str, target: str, linked: list[Link], vocabularies: Vocabularies) -> np.ndarray:
    sides = zip((source, target), vocabularies, strict=True)
    pieces = [[shown(part) for part in vocabulary.spelled(text)] for text, vocabulary in sides]  # an unknown word is one, too
    for text, of_text in zip((source, target), pieces, strict=True):
        if len(words.split(text)) != links.word_of_piece(of_text).max(initial=-1) + 1:
            raise DataError(f"links need to know where words begin, and the tokens of {text[:60]!r} do not tell: {of_text[:9]}")
    return links.gold(linked, *pieces)


def given_tokens(target: str, given: str, vocabulary: Vocabulary) -> int:
    """Returns how many of a target's tokens are given, up to the word `given`. Raises `DataError` as `encode` does."""
    first, found, rest = words.parted(target, given)
    if not found or not rest:
        raise DataError(f"text.given={given}: a target has {'nothing behind' if found else 'no'} such word: {target[:60]!r}")
    head, tail = vocabulary.encode(f"{first} {found}"), vocabulary.encode(rest)
    if [*head, *tail] != vocabulary.encode(target):
        raise DataError(f"text.given={given} is no token of its own in {target[:60]!r}: choose another word, or another text.unit")
    return len(head)


def _flatten(texts: list[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sentences = [np.array([*vocabulary.encode(text), EOS], np.int32) for text in texts]
    length_N = np.array([len(sentence) for sentence in sentences])
    return np.concatenate(sentences), np.cumsum(length_N) - length_N, length_N


def _members(source_length_N: np.ndarray, target_length_N: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    bucket_N = np.searchsorted(np.asarray(sizes), np.maximum(source_length_N, target_length_N))
    return tuple(np.flatnonzero(bucket_N == bucket).astype(np.int32) for bucket in range(len(sizes)))


@functools.lru_cache(maxsize=256)
def _permutation(size: int, seed: int, epoch: int, bucket: int) -> np.ndarray:
    """Returns the permutation of an epoch, cached while it lasts; read-only, since all callers share it."""
    order = np.random.default_rng((seed, epoch, bucket + 1)).permutation(size).astype(np.int32)
    order.flags.writeable = False
    return order
