"""A task or a corpus → batches for training, validation and test, with one interface for both.

Training batches are a function of (seed, step) and of nothing else, so that arms of a comparison see the same data in the
same order and a resumed run goes on where it stopped. A task makes them on the device, inside the training loop; a corpus
hands them over from the host, read ahead of the step that needs them. Every batch has a leading axis R, one entry per seed.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.config import Config, DataConfig, choose, validate
from attention_jax.data import corpora, tasks
from attention_jax.data.corpora import buckets, pairs, vocabularies
from attention_jax.data.corpora.pairs import Pairs
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.tasks import held_out
from attention_jax.layers import keys
from attention_jax.layers.keys import OfSeed
from attention_jax.system import files
from attention_jax.system.errors import ConfigError
from attention_jax.types import Batch, Task, sizes
from attention_jax.types.sizes import VocabularySizes

VALIDATION_EXAMPLES = 256  # of a task: at least so many, in batches of data.eval_examples, the shape of a test batch
AHEAD = 2  # batches of a corpus that are read before they are asked for
logger = logging.getLogger(__name__)


class Reader:
    """Reads training batches of a corpus; a thread reads those of the next `AHEAD` steps while the device computes.

    `waited`: seconds spent waiting for batches so far.
    """

    def __init__(self, read: Callable):
        self.read, self.waited = read, 0.0
        self.thread = ThreadPoolExecutor(1, "batches")
        self.ahead: dict[tuple, Future] = {}

    def __call__(self, seeds: Sequence[int], step: int) -> Batch:
        """Returns the batch of update `step`, whether it was read ahead or not."""
        began = time.monotonic()
        wanted = [(tuple(seeds), later) for later in range(step, step + AHEAD + 1)]
        self.ahead = {key: self.ahead[key] if key in self.ahead else self.thread.submit(self.read, *key) for key in wanted}
        batch = self.ahead[wanted[0]].result()
        self.waited += time.monotonic() - began
        return batch


class Source(NamedTuple):
    """Batches of a task or a corpus. One of `sample` and `read` is None: data are made on the device, or read on the host."""

    sizes: VocabularySizes
    vocabularies: Vocabularies | None  # of a corpus
    texts: Callable | None  # split → Pairs, of a corpus
    sample: Callable | None  # (one seed's key, step, share, shares) → that share of the Batch, by default all of it; jittable
    read: Reader | None  # (seeds, step) → Batch with leading R, on the host
    evaluation: Callable  # (split, seeds) → iterator of Batch with leading R; example_B is -1 in rows that are only padding
    lengths: tuple[int, ...]  # evaluated lengths in payload tokens or source words, ascending; for a corpus upper edges
    longest: int  # longest trained length, payload tokens or source words
    stop: bool  # outputs end with EOS
    longest_output: int  # positions that free-running decoding may fill, EOS included; 0: as many as the padded target
    fingerprint: str = ""  # of a corpus and its vocabularies: sha256 of all that is read
    tests: Mapping[str, str] = MappingProxyType({"test": "test"})  # {test split: its name}, the one of verdicts first


def own_sizes(config: Config) -> VocabularySizes | None:
    """Returns the sizes of a task's vocabulary; None of a corpus, whose vocabularies have as many tokens as its text gives.

    Raises `ConfigError` for an unknown `data.task` or invalid settings.
    """
    validate(config)
    return sizes.both(tasks.build(config.data).vocabulary_size) if _is_task(config.data) else None


def most_sizes(config: Config) -> VocabularySizes:
    """Returns the sizes of a task's vocabulary, or the most that a corpus may have. Raises `ConfigError` as `own_sizes` does."""
    return own_sizes(config) or sizes.both(config.text.vocabulary_size)


def _is_task(data: DataConfig) -> bool:
    """True for a task, False for a corpus. Raises `ConfigError` if it is neither, or a corpus with settings of tasks alone."""
    if choose("data.task", data.task, [*tasks.TABLE, *corpora.TABLE]) in tasks.TABLE:
        return True
    tasks.check_own(data)
    return False


def build(config: Config, directory: Path | None = None, data_dir: Path | None = None, cache_dir: Path | None = None) -> Source:
    """Builds the source of `config.data.task`. A corpus is read from `data_dir` or downloaded, and its vocabulary kept in `directory`.

    Raises `ConfigError` for invalid settings, and as `corpora.pairs.load` does.
    """
    validate(config)
    if _is_task(config.data):
        return synthetic(config)
    return text(config, directory, data_dir, cache_dir)


def synthetic(config: Config) -> Source:
    """Builds the source of a task; test and validation have random streams of their own.

    With `data.held_out` training and validation never contain a tested source, and lengths with few such sources are not tested.
    """
    data, task = config.data, task_of(config.data, tested=False)
    lengths = tested_lengths(data)

    def evaluation(split: str, seeds: Sequence[int]) -> Iterator[Batch]:
        number_B = np.arange(data.eval_examples, dtype=np.int32)
        if split == "validation":
            for first in range(0, VALIDATION_EXAMPLES, data.eval_examples):
                length_B = data.shortest + (first + number_B) % (data.longest - data.shortest + 1)
                yield _validation(len(seeds), data)(np.asarray(seeds, np.int32), length_B, first + number_B)
            return
        for length in lengths:
            size = data.longest if length <= data.longest else data.eval_lengths[-1]
            yield _test(len(seeds), data, size)(np.asarray(seeds, np.int32), np.int32(length), number_B)

    stop, sample = not data.padded_output, _sampler(data, config.training.batch_size)
    return Source(sizes.both(task.vocabulary_size), None, None, sample, None, evaluation, lengths, data.longest, stop, longest_output=0)


@lru_cache(maxsize=8)
def _sampler(data: DataConfig, batch_size: int) -> Callable:
    """Returns `Source.sample`, the same function for equal settings, so that runs share what is compiled with it."""
    task = task_of(data, tested=False)

    def sample(key, step, share=0, shares: int = 1) -> Batch:
        key = keys.fold(key, OfSeed.TRAINING_DATA, step)
        B = batch_size // shares
        length_B = jax.lax.dynamic_slice_in_dim(tasks.training_lengths(key, data, step, B * shares), share * B, B)
        return _make(task, data.longest, key, length_B, share * B + jnp.arange(B, dtype=jnp.int32))

    return sample


def tested_lengths(data: DataConfig) -> tuple[int, ...]:
    """Lists the lengths at which a task is tested, ascending: those with sources enough that are held out."""
    task = tasks.build(data)
    return tuple(length for length in data.eval_lengths if held_out.is_tested(task, data.held_out, length))


def task_of(data: DataConfig, tested: bool) -> Task:
    """Returns the task whose sources are tested, or with `tested=False` trained on; the same task without `data.held_out`."""
    task = tasks.build(data)
    return held_out.only(task, data.held_out, tested) if data.held_out else task


def _make(task: Task, longest: int, key, length_B, example_B) -> Batch:
    S, T = task.source_positions(longest), task.target_positions(longest)
    return tasks.batch(task, key, length_B, example_B, S, T)


@lru_cache(maxsize=8)
def _validation(R: int, data: DataConfig) -> Callable:
    """Returns (seeds_R, length_B, example_B) → examples; one compiled program for all arms."""
    task = task_of(data, tested=False)

    def draw(seed, length_B, example_B):
        return _make(task, data.longest, keys.fold(jax.random.key(seed), OfSeed.VALIDATION_DATA), length_B, example_B)

    return jax.jit(jax.vmap(draw, (0, None, None)))


@lru_cache(maxsize=8)
def _test(R: int, data: DataConfig, longest: int) -> Callable:
    """Returns (seeds_R, length, example_B) → examples of one length; one compiled program per padded size, for all arms.

    With `data.held_out` the length is folded into the key: examples of one length are no beginnings of those of another, as they were in
    runs before there was such a setting.
    """
    task = task_of(data, tested=True)

    def draw(seed, length, example_B):
        key = keys.fold(jax.random.key(seed), OfSeed.TEST_DATA, *[length] * bool(data.held_out))
        return _make(task, longest, key, jnp.full_like(example_B, length), example_B)

    return jax.jit(jax.vmap(draw, (0, None, None)))


def text(config: Config, directory: Path | None, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """Builds the source of a corpus: tokens in a few padded sizes; vocabularies are learned once and stored in the directory."""
    corpus = pairs.opened(config, data_dir, cache_dir or files.CACHE)
    splits = corpus.splits
    vocabulary = _vocabularies(config, splits["train"], directory, cache_dir or files.CACHE)
    edges = config.text.buckets
    encoded = {name: buckets.encode(split, vocabulary, edges, config.text.given) for name, split in splits.items()}
    _report(encoded, config)
    if any(split.given_N is not None and split.given_N.max() >= config.text.cut for split in encoded.values()):
        raise ConfigError(f"text.cut={config.text.cut} cuts a target before the word behind text.given={config.text.given}: raise it")
    seen = buckets.blinded if config.text.blind else lambda batch: batch

    def read(seeds: Sequence[int], step: int) -> Batch:
        return seen(buckets.train_batch(encoded["train"], edges, config.training.batch_size, seeds, step))

    def evaluation(split: str, seeds: Sequence[int]) -> Iterator[Batch]:
        for batch, example_B in buckets.eval_batches(encoded[split], edges, config.training.batch_size, config.text.cut):
            batch = seen(batch).replace(example_B=example_B)
            yield jax.tree.map(lambda x: np.broadcast_to(x, (len(seeds), *x.shape)), batch)

    without_cap = max(int(splits["train"].length_N.max()), config.data.eval_lengths[-1])  # then all is trained
    return Source(
        vocabulary.sizes,
        vocabulary,
        splits.__getitem__,
        None,
        Reader(read),
        evaluation,
        config.data.eval_lengths,
        config.text.max_words or without_cap,
        stop=True,
        longest_output=config.text.cut,
        fingerprint=buckets.fingerprint(encoded),
        tests=corpus.tests,
    )


def _vocabularies(config: Config, train: Pairs, directory: Path | None, cache_dir: Path) -> Vocabularies:
    """Reads the vocabularies that the directory of a run holds, or learns them and stores them there."""
    if directory is not None and all(file.exists() for file in vocabularies.paths(config.text, directory)):
        return vocabularies.read(config.text, directory)
    learned = vocabularies.learn(train.sources, train.targets, config.text, cache_dir)
    if directory is not None:
        vocabularies.write(learned, config.text, directory)
    return learned


def learned_sizes(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None) -> VocabularySizes:
    """Returns the sizes of a task's vocabulary, or of those that are learned of a corpus, which is read. Raises as `build` does."""
    if own := own_sizes(config):
        return own
    cache = cache_dir or files.CACHE
    return _vocabularies(config, pairs.load(config, data_dir, cache)["train"], None, cache).sizes


def _report(encoded: dict, config: Config) -> None:
    if left_out := buckets.dropped(encoded["train"]):
        logger.warning("%d training examples are longer than the last of text.buckets=%s and left out", left_out, config.text.buckets)
    if config.text.lengths == "words" and (encoded["test"].length_N == 1).all():
        logger.warning("every test source is one word, so that all rows have one length; text.lengths=characters counts characters")
    for split in list(encoded)[1:]:
        if cut := buckets.truncated(encoded[split], config.text.cut):
            logger.warning("%d %s examples are longer than text.cut=%d tokens and cut there", cut, split, config.text.cut)


def check(config: Config) -> None:
    """Raises `ConfigError` for lengths and word links that do not fit the task, the corpus or the buckets."""
    longest = config.text.buckets[-1]
    if _is_task(config.data):
        _check_tested(config.data)
        return
    if config.training.guided and not config.text.alignment_file and config.text.aligner == "none":
        raise ConfigError(
            f"training.guided={config.training.guided} needs word links, which {config.data.task} has not: give text.alignment_file with "
            "data.task=parallel_text, or text.aligner=hmm"
        )
    if config.text.vocabularies == "separate" and (why := config.model.one_vocabulary):
        raise ConfigError(f"text.vocabularies=separate is impossible: {why}; set text.vocabularies=shared")
    if config.text.cut < longest:
        raise ConfigError(f"text.cut={config.text.cut} is below the longest bucket, text.buckets={config.text.buckets}")
    if config.text.max_words >= longest:
        raise ConfigError(f"text.max_words={config.text.max_words} does not fit the longest bucket, {longest} tokens with EOS")


def _check_tested(data: DataConfig) -> None:
    task = tasks.build(data)
    if not any(held_out.is_tested(task, data.held_out, length) for length in data.eval_lengths):
        few = f"fewer than {held_out.FEWEST} sources to test on"
        raise ConfigError(
            f"data.held_out={data.held_out} leaves {few} at each of data.eval_lengths={data.eval_lengths}: give longer ones or more symbols"
        )
