"""A task, a corpus or a signal → batches for training, validation and test, with one interface for all.

Training batches are a function of (seed, step) and of nothing else, so that arms of a comparison see the same data in the
same order and a resumed run goes on where it stopped. A task makes them on the device, inside the training loop; corpora and signals
hand them over from the host, read ahead of the step that needs them. Every batch has a leading axis R, one entry per seed.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.config import Config, DataConfig, TextConfig, choose, validate
from attention_jax.data import corpora, signals, tasks
from attention_jax.data.corpora import buckets, pairs, vocabularies
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.signals.examples import Signal
from attention_jax.data.tasks import held_out
from attention_jax.layers import keys
from attention_jax.layers.keys import OfSeed
from attention_jax.system import files
from attention_jax.system.errors import ConfigError
from attention_jax.types import Batch, Task, sizes
from attention_jax.types.sizes import VocabularySizes

VALIDATION_EXAMPLES = 256  # of a task: at least so many, in batches of data.eval_examples, the shape of a test batch
AHEAD = 2  # batches of a corpus or a signal that are read before they are asked for
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
    """Batches of a task, a corpus or a signal. One of `sample` and `read` is None: data are made on the device, or read on the host."""

    sizes: VocabularySizes
    vocabularies: Vocabularies | None  # of a corpus or a signal; a signal has those of its targets
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
    rows: int = 0  # of places in a source that is an image; 0: it is none
    cache: Path | None = None  # of a corpus: the folder for what takes long to make


def own_sizes(config: Config) -> VocabularySizes | None:
    """Returns the sizes of what a task or a drawn signal reads and writes; None of others, which have what their files give.

    A signal reads F numbers at each position, and F stands in the place of a vocabulary's size.
    Raises `ConfigError` for an unknown `data.task` or invalid settings.
    """
    validate(config)
    if _table(config.data) is tasks.TABLE:
        return sizes.both(tasks.build(config.data).vocabulary_size)
    return signals.own_sizes(config) if config.data.task in signals.TABLE else None


def most_sizes(config: Config) -> VocabularySizes:
    """Returns the sizes of `own_sizes`, or the most that files may give. Raises `ConfigError` as `own_sizes` does."""
    return own_sizes(config) or sizes.both(config.text.vocabulary_size)


def sizes_of(config: Config, found: Vocabularies) -> VocabularySizes:
    """Returns the sizes of a model that reads and writes these vocabularies; of a signal F stands in the place of the source's."""
    return signals.sizes_of(config, found) if config.data.task in signals.TABLE else found.sizes


def is_drawn(data: DataConfig) -> bool:
    """Returns whether examples are drawn, at every length that is asked for: those of a task, and of some signals."""
    return data.task in tasks.TABLE or signals.is_drawn(data)


def check_texts(data: DataConfig, needed: str) -> None:
    """Raises `ConfigError`, which says what is needed, for what is drawn: it has no texts."""
    if is_drawn(data):
        raise ConfigError(f"data.task={data.task} has no {needed}")


def judged_by(config: Config) -> tuple[str, ...]:
    """Returns the numbers of rows that say, beside exact match, how right outputs are; none of what is drawn.

    Targets in characters or words have an error rate: BLEU is 0 where no output has four words. Targets in subwords have BLEU.
    """
    if is_drawn(config.data):
        return ()
    if config.data.task not in corpora.TABLE:
        return ("error_rate",)
    return ("bleu" if config.text.units[1] == "subword" else "error_rate", "chrf")


def _table(data: DataConfig) -> Mapping[str, Any]:
    """Returns the table that has `data.task`. Raises `ConfigError` if none has, and for settings of tasks alone with anything else."""
    every = (tasks.TABLE, corpora.TABLE, signals.TABLE)
    choose("data.task", data.task, [name for table in every for name in table])
    if data.task not in tasks.TABLE:
        tasks.check_own(data)
    return next(table for table in every if data.task in table)


def build(config: Config, directory: Path | None = None, data_dir: Path | None = None, cache_dir: Path | None = None) -> Source:
    """Builds the source of `config.data.task`. Files are read from `data_dir` or downloaded, and vocabularies kept in `directory`.

    Raises `ConfigError` for invalid settings, and as `corpora.pairs.load` does.
    """
    validate(config)
    table = _table(config.data)
    if table is tasks.TABLE:
        return synthetic(config)
    if table is corpora.TABLE:
        return text(config, directory, data_dir, cache_dir)
    return signal(config, directory, data_dir, cache_dir)


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
    """Lists the lengths at which what is drawn is tested, ascending: those with sources enough that are held out."""
    if data.task not in tasks.TABLE:
        return data.eval_lengths
    task = tasks.build(data)
    return tuple(length for length in data.eval_lengths if held_out.is_tested(task, data.held_out, length))


def check_long(data: DataConfig, least: int, have: str) -> None:
    """Raises `ConfigError` where no trained length that is tested is so long; it says what such lengths have."""
    if not any(least <= length <= data.longest for length in tested_lengths(data)):
        raise ConfigError(f"none of data.eval_lengths={data.eval_lengths} is tested, trained, and {least} or more, which has {have}")


def trained_lengths(config: Config) -> tuple[int, ...]:
    """Lists the tested lengths that are trained on, ascending; of texts those up to text.max_words."""
    data = config.data
    if not is_drawn(data):
        return tuple(length for length in data.eval_lengths if length <= (config.text.max_words or length))
    return tuple(length for length in tested_lengths(data) if data.shortest <= length <= data.longest)


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


def signal(config: Config, directory: Path | None, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """Builds the source of a signal, whose batches are made on the host."""
    cache = cache_dir or files.CACHE

    def learn(texts: Sequence[str]) -> Vocabularies:
        return _vocabularies(replace(config.text, vocabularies="shared"), texts, (), directory, cache)

    found = signals.opened(config, learn, data_dir, cache)
    shared = {name: getattr(found, name) for name in Source._fields if name in Signal._fields}
    return Source(sample=None, read=Reader(found.train), stop=True, **shared)


def text(config: Config, directory: Path | None, data_dir: Path | None, cache_dir: Path | None) -> Source:
    """Builds the source of a corpus: tokens in a few padded sizes; vocabularies are learned once and stored in the directory."""
    corpus = pairs.opened(config, data_dir, cache_dir or files.CACHE)
    splits = corpus.splits
    vocabulary = _vocabularies(config.text, splits["train"].sources, splits["train"].targets, directory, cache_dir or files.CACHE)
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
        cache=cache_dir or files.CACHE,
    )


def unlinked(config: Config) -> Config:
    """Returns the config without the links of an aligner of ours, for those who look at a text, or time updates.

    The links take minutes to make. They change neither the text nor its vocabularies, and hardly what an update takes.
    """
    if config.text.aligner == "none":
        return config
    return replace(config, text=replace(config.text, aligner="none"), training=replace(config.training, guided=0.0))


def _vocabularies(
    text: TextConfig, sources: Sequence[str], targets: Sequence[str], directory: Path | None, cache_dir: Path
) -> Vocabularies:
    """Reads the vocabularies that the directory of a run holds, or learns them and stores them there."""
    if directory is not None and all(file.exists() for file in vocabularies.paths(text, directory)):
        return vocabularies.read(text, directory)
    learned = vocabularies.learn(sources, targets, text, cache_dir)
    if directory is not None:
        vocabularies.write(learned, text, directory)
    return learned


def learned_sizes(config: Config, data_dir: Path | None = None, cache_dir: Path | None = None) -> VocabularySizes:
    """Returns the sizes of `own_sizes`, or of those that files give, which are read. Raises as `build` does."""
    if own := own_sizes(config):
        return own
    cache = cache_dir or files.CACHE
    if config.data.task in signals.TABLE:
        return signal(config, None, data_dir, cache).sizes
    train = pairs.load(unlinked(config), data_dir, cache)["train"]
    return _vocabularies(config.text, train.sources, train.targets, None, cache).sizes


def _report(encoded: dict, config: Config) -> None:
    if left_out := buckets.dropped(encoded["train"]):
        logger.warning("%d training examples are longer than the last of text.buckets=%s and left out", left_out, config.text.buckets)
    if config.text.lengths == "words" and (encoded["test"].length_N == 1).all():
        logger.warning("every test source is one word, so that all rows have one length; text.lengths=characters counts characters")
    for split in list(encoded)[1:]:
        if cut := buckets.truncated(encoded[split], config.text.cut):
            logger.warning("%d %s examples are longer than text.cut=%d tokens and cut there", cut, split, config.text.cut)


def check(config: Config) -> None:
    """Raises `ConfigError` for lengths and word links that do not fit the task, the corpus or the buckets, and for a model that does not
    fit the signal."""
    table = _table(config.data)
    if table is tasks.TABLE:
        _check_tested(config.data)
    elif table is corpora.TABLE:
        _check_text(config)
    else:
        signals.check(config)


def _check_text(config: Config) -> None:
    longest = config.text.buckets[-1]
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
