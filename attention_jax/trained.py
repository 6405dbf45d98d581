"""A finished run, to use: two lines from Python, no flags.

    from attention_jax import trained
    print(trained.load("runs/bottleneck/additive-gru-h16-d8-u400").decode(["3 1 4 1 5"])[0].text)

`decode_n_best(["3 1 4 1 5"], SearchConfig("beam", n_best=3))` gives the three best outputs of each line, with their scores.

Text goes in as the user writes it. Synthetic tasks read and write symbols by number, separated by spaces; the symbols of a task
are 0 … symbols-1, and the keys of `recall` and `cued_recall` and the background of `spot`, whose fields are read row by row, follow them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax import config as settings
from attention_jax.config import Config, SearchConfig, check
from attention_jax.data import corpora, tasks
from attention_jax.data.corpora import vocabularies, words
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.corpora.vocabulary import shown
from attention_jax.layers import precision
from attention_jax.model import search
from attention_jax.running import checkpoint, evaluation, results
from attention_jax.running.resolved import check as check_config
from attention_jax.running.resolved import resolve, sizes_of_run
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.training import compiled, parallel
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, UNK, Model, sizes
from attention_jax.types.sizes import VocabularySizes

ROWS, OUTPUTS = 64, 160  # of each device: inputs decoded at once, and outputs followed at once where an input has several
BLOCK = 1024  # lines after which those that are decoded are handed out
MULTIPLE = 16  # inputs are padded to multiples of so many positions
LONG = 256  # of inputs of more positions each device decodes one: weights take rows × positions² floats


class Decoded(NamedTuple):
    """One output. Weights are zero for a mechanism that attends to nothing; tokens include EOS where there is one.

    `score` is what outputs are ranked by: log p in nats, with penalties where a beam search has them.
    """

    text: str
    source_tokens: list[str]
    output_tokens: list[str]
    weights_TxS: np.ndarray
    score: float = 0.0


class Trained(NamedTuple):
    """A trained model, ready to decode: a config, its vocabularies (None for synthetic tasks), and the parameters of one seed."""

    config: Config
    vocabularies: Vocabularies | None
    model: Model
    params: dict
    seed: int

    @property
    def sizes(self) -> VocabularySizes:
        """How many tokens the source has, and the target; for a synthetic task, its symbols and the special tokens."""
        return sizes.both(tasks.build(self.config.data).vocabulary_size) if self.vocabularies is None else self.vocabularies.sizes

    def __repr__(self) -> str:
        """Names the run, without its parameters."""
        count = sum(x.size for x in jax.tree.leaves(self.params))
        return f"<{self.config.experiment}/{self.config.run}, seed {self.seed}: {count:,} parameters>"

    @property
    def spatial(self) -> bool:
        """True where inputs are the places of a square field, so that looks can be drawn over it."""
        return tasks.is_field(self.config.data)

    def decode(self, lines: Sequence[str], settings: SearchConfig | None = None) -> list[Decoded]:
        """Decodes lines: the best output of each, in order; an empty line gives an empty output.

        `settings` are those of the search; None: `config.search`. Raises `DataError` for a symbol that the task does not have, and
        `ConfigError` for settings that cannot be.
        """
        return [outputs[0] for outputs in self.decode_n_best(lines, settings)]

    def decode_n_best(self, lines: Sequence[str], settings: SearchConfig | None = None) -> list[list[Decoded]]:
        """Decodes lines: the `settings.n_best` best outputs of each, best first; fewer where there are no more. Otherwise as `decode`."""
        return list(self.decode_each(lines, settings))

    def decode_each(self, lines: Sequence[str], settings: SearchConfig | None = None) -> Iterator[list[Decoded]]:
        """Yields what `decode_n_best` returns line by line, once `BLOCK` lines are decoded; all lines are read before the first."""
        settings = check(settings or self.config.search)
        encoded = [self._encode(line, number) for number, line in enumerate(lines, start=1)]
        mesh = parallel.data_mesh(jax.devices()[:1] if sum(len(tokens) > 1 for tokens in encoded) <= rows(0, settings) else jax.devices())
        params = jax.device_put(self.params, NamedSharding(mesh, PartitionSpec()))
        for first in range(0, len(encoded), BLOCK):
            block = range(first, min(first + BLOCK, len(encoded)))
            outputs = {i: [Decoded("", [], [], np.zeros((0, 0)))] for i in block}
            order = sorted((i for i in block if len(encoded[i]) > 1), key=lambda i: len(encoded[i]))
            for _, group in groupby(order, lambda i: self._positions(len(encoded[i]))):
                for chosen in batches(list(group), lambda i: len(encoded[i]), settings, mesh.size):
                    outputs |= zip(chosen, self._decode_batch(mesh, params, chosen, encoded, lines, settings), strict=True)
            yield from outputs.values()

    def _encode(self, line: str, number: int) -> list[int]:
        if self.vocabularies is not None:
            if not line.isascii() and re.search("[\ud800-\udfff]", line):
                raise DataError(f"input line {number}: {line[:40]!r} has half a surrogate pair, which is no text")
            return [*self.vocabularies.source.encode(line), EOS]
        symbols = self.sizes.source - FIRST_SYMBOL
        known = {str(symbol): symbol + FIRST_SYMBOL for symbol in range(symbols)}
        if unknown := [word for word in words.split(line) if word not in known]:
            raise DataError(f"input line {number}: {unknown[0][:40]!r} is no symbol of {self.config.data.task}; valid: 0 to {symbols - 1}")
        tokens = [known[word] for word in words.split(line)]
        if not (places := self._places()):
            return [*tokens, EOS] if tasks.build(self.config.data).ends else tokens
        if len(tokens) not in (0, places):
            raise DataError(f"input line {number}: {self.config.data.task} reads a field of {places} symbols, not {len(tokens)}")
        return tokens

    def _decode_batch(self, mesh: Mesh, params, chosen: list[int], encoded: list[list[int]], lines: Sequence[str], settings: SearchConfig):
        """The outputs of lines that may have equally many positions; draws depend on the number of a line."""
        S = self._padded(max(len(encoded[i]) for i in chosen))
        B = rows(S, settings) * mesh.size
        example_B = np.array(chosen + chosen[-1:] * (B - len(chosen)))  # the last line fills the batch, and does not outlast it
        source_BxS, mask_BxS = np.full((B, S), PAD, np.int32), np.zeros((B, S), bool)
        for row, i in enumerate(example_B):
            source_BxS[row, : len(encoded[i])], mask_BxS[row, : len(encoded[i])] = encoded[i], True
        stop, products = not self.config.data.padded_output, self.config.training.precision
        find = _search(self.model, mesh, self._positions(S), settings, stop, products)
        found = jax.device_get(find(params, source_BxS, mask_BxS, example_B))
        for row, i in enumerate(chosen):
            kept = np.flatnonzero(found.scores_BxN[row] > -np.inf)
            outputs = (found.tokens_BxNxT[row, kept], found.weights_BxNxTxS[row, kept], found.scores_BxN[row, kept])
            yield [self._decoded(lines[i], encoded[i], *output, settings) for output in zip(*outputs, strict=True)]

    def _decoded(self, line: str, row: list[int], tokens_T, weights_TxS, score, settings: SearchConfig) -> Decoded:
        T = min(len(row) - 1, len(tokens_T)) if self.config.data.padded_output else evaluation.end(tokens_T, len(tokens_T))
        output, weights_TxS = tokens_T[:T].tolist(), weights_TxS[:T, : len(row)]
        sides = zip((row, output), self.vocabularies or (None, None), strict=True)
        source_tokens, output_tokens = (evaluation.spelled(tokens, vocabulary) for tokens, vocabulary in sides)
        named = self._named(line, output, weights_TxS) if settings.replace_unknown else {}
        for t, part in named.items():
            output_tokens[t] = part if self.vocabularies is None else shown(part)
        symbols = output_tokens[:-1] if output and output[-1] == EOS else output_tokens
        text = " ".join(symbols) if self.vocabularies is None else self.vocabularies.target.decode(output, named)
        return Decoded(text, source_tokens, output_tokens, weights_TxS, float(score))

    def _named(self, line: str, output: list[int], weights_TxS) -> dict[int, str]:
        """{t: part of the line that was looked at} of unknown tokens: those that even the source's vocabulary cannot spell."""
        parts = words.split(line) if self.vocabularies is None else self.vocabularies.source.spelled(line)
        unknown = [t for t, token in enumerate(output) if token == UNK or token >= self.sizes.target]
        return {t: parts[int(weights_TxS[t, : len(parts)].argmax())] for t in unknown if weights_TxS[t, : len(parts)].any()}

    def _padded(self, length: int) -> int:
        """S of a source of so many tokens."""
        return self._places() or -(-max(length, 1) // MULTIPLE) * MULTIPLE

    def _positions(self, length: int) -> int:
        """The longest output of an input of so many tokens, EOS included in both."""
        S = self._padded(length)
        return S if self.vocabularies is None else max(self.config.text.cut, S)

    def _places(self) -> int:
        """Positions of a source where all have equally many, a field and no EOS; 0 where sources are sequences."""
        if self.vocabularies is not None:
            return 0
        positions = tasks.build(self.config.data).source_positions
        return positions(1) if positions(1) == positions(2) else 0


def batches(order: list[int], length: Callable, settings: SearchConfig, devices: int) -> list[list[int]]:
    """Splits inputs, in ascending order of `length`, into batches of as many as fit on so many devices."""
    parts = [i for i in order if length(i) <= LONG], [i for i in order if length(i) > LONG]
    sizes = devices * rows(0, settings), devices
    return [part[first : first + size] for part, size in zip(parts, sizes, strict=True) for first in range(0, len(part), size)]


def rows(positions: int, settings: SearchConfig) -> int:
    """Returns how many inputs of so many positions a device decodes at once."""
    width = settings.beam_size if settings.method == "beam" else 1
    return max(1, min(ROWS, OUTPUTS // width)) if positions <= LONG else 1


def _vocabularies(config: Config, directory: Path) -> Vocabularies | None:
    if config.data.task not in corpora.TABLE:
        return None
    for file in vocabularies.paths(config.text, directory):
        if not file.is_file():
            raise RunError(f"{file} is missing: without it the run reads no text; bring it back, or train again in another --workdir")
    return vocabularies.read(config.text, directory)


@cache
def _search(model: Model, mesh: Mesh, positions: int, settings: SearchConfig, stop: bool, products: str):
    """Each device searches its share of a batch, and ends when that has ended."""
    whole, split = PartitionSpec(), PartitionSpec(parallel.AXIS)

    def find(params, source_BxS, mask_BxS, example_B):
        return search.decode(model, params, source_BxS, mask_BxS, positions, settings, stop, example_B)

    mapped = jax.shard_map(
        precision.applied(find, products),
        mesh=mesh,
        in_specs=(whole, split, split, split),
        out_specs=split,
        check_vma=False,  # the check refuses scans whose initial carry is a constant
    )
    return jax.jit(mapped, compiler_options=machine.compiler_options(mesh.size))


def load(directory: str | Path, seed: int | None = None) -> Trained:
    """Loads the run in `directory`, with the parameters that its results are of; `seed` is one of its seeds, None the first.

    Raises `RunError` for a directory without a run or a checkpoint, for no such seed, and where settings or vocabularies are not those that
    the run was trained with.
    """
    directory = Path(directory)
    file = directory / "config.json"
    if not file.exists():
        raise RunError(f"{directory} is no run: it has no config.json; a run is a folder such as runs/bottleneck/additive-gru-h16-d8-u400")
    try:
        config: Config = settings.from_json(results.stored(directory)["config"])
        check_config(config)
    except ConfigError as error:
        raise RunError(
            f"{file} is not of this version: {error}; train the run again, with its command and another --workdir, or load the file of its "
            "experiment first, if that has rows of its own: --experiment=path/to/file.py"
        ) from None
    seeds = config.training.all_seeds
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise RunError(f"{directory} has no seed {seed}; valid: {seeds[0]} to {seeds[-1]}")
    absent = f"{directory} has no checkpoint yet: train it first, the same command as for its rows"
    if not checkpoint.steps(directory / "checkpoint"):
        raise RunError(absent)
    vocabulary = _vocabularies(config, directory)
    own = {"config": settings.fingerprint(config), "vocabulary": vocabulary.fingerprint() if vocabulary else ""}
    files = {"config": [directory / "config.json"], "vocabulary": vocabularies.paths(config.text, directory)}
    extra = checkpoint.extra(directory / "checkpoint")
    for name, fingerprint in own.items():
        if extra.get(name, fingerprint) != fingerprint:
            wrong = " or ".join(map(str, files[name]))
            raise RunError(f"{wrong} is not what the run was trained with; bring back the right one, or choose another --workdir")
    run = resolve(config, sizes_of_run(directory, config, vocabulary.sizes) if vocabulary else None)
    found = checkpoint.restore(directory / "checkpoint", compiled.shapes(run))
    if found is None:
        raise RunError(absent)
    progress = found[1]
    params = progress.best_params if config.training.evaluate == "best" else progress.states.params
    return Trained(
        config,
        vocabulary,
        run.model,
        jax.tree.map(lambda x: x[seeds.index(seed)], params),
        seed,
    )
