"""A finished run, to use: two lines from Python, no flags.

    from attention_jax import trained
    print(trained.load("runs/bottleneck/additive-gru-h16-d8-u400").decode(["3 1 4 1 5"])[0].text)

    batching       lines → batches, and the programs that take them
    stored         all seeds of a run, from its folder
    exported       the same from one file, and to it
    translation    what it writes for the test sets of its corpus, greedy and by a beam, with scores
    linked         weights of the words of given pairs, and links

`decode_n_best(["3 1 4 1 5"], SearchConfig("beam", n_best=3))` gives the three best outputs of each line, with their scores.

Text goes in as the user writes it. Synthetic tasks read and write symbols by number, separated by spaces; the symbols of a task
are 0 … symbols-1, and the keys of `recall` and `cued_recall` and the background of `spot`, whose fields are read row by row, follow them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attention_jax.config import Config, SearchConfig, check
from attention_jax.data import signals, sources, tasks
from attention_jax.data.corpora import words
from attention_jax.data.corpora.buckets import given_tokens
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.corpora.vocabulary import shown
from attention_jax.model import ensembles, search
from attention_jax.running import spelling
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.trained import batching, exported, stored
from attention_jax.trained.stored import Stored
from attention_jax.training import parallel
from attention_jax.types import EOS, FIRST_SYMBOL, UNK, Batch, Model
from attention_jax.types.sizes import VocabularySizes


class Known(NamedTuple):
    """What the decoder knew at each of T steps: the norm of its state (NaN where that is not known), and the K likeliest tokens."""

    norm_T: np.ndarray
    likely: list[list[str]]  # of each step, likeliest first
    probability_TxK: np.ndarray


class Decoded(NamedTuple):
    """One output. Weights are zero for a mechanism that attends to nothing; tokens include EOS where there is one.

    `score` is what outputs are ranked by: log p in nats, with penalties where a beam search has them. `known` is there where it was asked
    for.
    """

    text: str
    source_tokens: list[str]
    output_tokens: list[str]
    weights_TxS: np.ndarray
    score: float = 0.0
    image_YxX: np.ndarray | None = None  # of which source tokens are patches, row by row
    known: Known | None = None


class Trained(NamedTuple):
    """A trained model, ready to decode: a config, its vocabularies (None for synthetic tasks), and the parameters of one seed."""

    config: Config
    vocabularies: Vocabularies | None
    model: Model
    params: dict
    seed: int
    ensemble: tuple[int, ...] = ()  # the seeds of an ensemble, whose parameters then have an axis R; else none
    folder: Path | None = None  # of the run; None where it was read from one file

    @property
    def sizes(self) -> VocabularySizes:
        """How many tokens the source has, and the target; for a synthetic task, its symbols and the special tokens."""
        if own := sources.own_sizes(self.config):
            return own
        assert self.vocabularies is not None  # what has no fixed sizes has learned some
        return sources.sizes_of(self.config, self.vocabularies)

    def __repr__(self) -> str:
        """Names the run, without its parameters."""
        count = sum(x.size for x in jax.tree.leaves(self.params))
        whose = f"seeds {stored.spelled(self.ensemble)}" if self.ensemble else f"seed {self.seed}"
        return f"<{self.config.experiment}/{self.config.run}, {whose}: {count:,} parameters>"

    @property
    def _is_signal(self) -> bool:
        """True where a line names a file."""
        return self.config.data.task in signals.TABLE

    @property
    def spatial(self) -> bool:
        """True where inputs are the places of a square field or an image, so that looks can be drawn over it."""
        return tasks.is_field(self.config.data) or signals.is_image(self.config)

    def decode(self, lines: Sequence[str], settings: SearchConfig | None = None) -> list[Decoded]:
        """Decodes lines: the best output of each, in order; an empty line gives an empty output.

        With `text.given` a line is a source, a tab, and the words that the output begins with, up to that word or without it.

        `settings` are those of the search; None: `config.search`. Raises `DataError` for a symbol that the task does not have, and
        `ConfigError` for settings that cannot be.
        """
        return [outputs[0] for outputs in self.decode_n_best(lines, settings)]

    def decode_n_best(self, lines: Sequence[str], settings: SearchConfig | None = None) -> list[list[Decoded]]:
        """Decodes lines: the `settings.n_best` best outputs of each, best first; fewer where there are no more. Otherwise as `decode`."""
        return list(self.decode_each(lines, settings))

    def decode_each(
        self,
        lines: Sequence[str],
        settings: SearchConfig | None = None,
        beat: Callable[[int], object] = lambda count: None,
        examine: bool = False,
    ) -> Iterator[list[Decoded]]:
        """Yields what `decode_n_best` returns line by line; `beat(count)` is called with how many lines were just decoded.

        With `examine` each output has what the decoder knew at each step, `Decoded.known`; the outputs are the same. All lines are read
        before the first. Lines of equal lengths are decoded together, few lines at first and at last many: the first outputs come soon, and
        a long file takes no longer.
        """
        settings = check(settings or self.config.search)
        lines, given = self._parted(lines)
        encoded = [self._encode(line, number) for number, line in enumerate(lines, start=1)]
        mesh = parallel.data_mesh(
            jax.devices()[:1] if sum(len(tokens) > 1 for tokens in encoded) <= batching.rows(0, settings) else jax.devices()
        )
        params = jax.device_put(self.params, NamedSharding(mesh, PartitionSpec()))
        for block in batching.blocks(len(encoded)):
            outputs = {i: [Decoded("", [], [], np.zeros((0, 0)))] for i in block}
            order = sorted((i for i in block if len(encoded[i]) > 1), key=lambda i: len(encoded[i]))
            beat(len(block) - len(order))
            for _, group in groupby(order, lambda i: (self._padded if self._is_signal else self._positions)(len(encoded[i]))):
                for chosen in batching.batches(list(group), lambda i: len(encoded[i]), settings, mesh.size):
                    found = self._decode_batch(mesh, params, chosen, encoded, lines, settings, given, examine)
                    outputs |= zip(chosen, found, strict=True)
                    beat(len(chosen))
            yield from outputs.values()

    def losses(self, lines: Sequence[str], targets: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Computes (nll_N, tokens_N) of a target for each line, teacher-forced: nats summed over its tokens, and their number, with EOS.

        Σ nll / Σ tokens is the loss of rows. Nothing is cut, where evaluation cuts at `text.cut`. Raises `DataError` for a symbol that the
        task does not have, and `ConfigError` for a task whose outputs are padded (`data.padded_output`).
        """
        sources, _, batches = self._forced_batches(lines, targets)
        nll_N, tokens_N = np.zeros(len(sources)), np.zeros(len(sources), int)
        forced = batching.forced_nats(self.model, self.config.training.precision)
        for chosen, batch in batches:
            nll_N[chosen] = forced(self.params, batch)[: len(chosen)]
            tokens_N[chosen] = np.sum(batch.target_mask_BxT, 1)[: len(chosen)]
        return nll_N, tokens_N

    def attended(self, lines: Sequence[str], targets: Sequence[str]) -> list[Decoded]:
        """Returns how the model attends to each line while it is fed a given target: its weights, teacher-forced.

        Row t of the weights is of the step that predicts token t, whatever `model.timing` is. `text` is the target, `score` its
        log-probability in nats. Tokens are spelled as the texts are, unknown ones included. Nothing is cut. Raises as `losses` does.
        """
        sources, encoded, batches = self._forced_batches(lines, targets)
        found, attend = {}, batching.attended_weights(self.model, self.config.training.precision)
        for chosen, batch in batches:
            nll_B, weights_BxTxS = jax.device_get(attend(self.params, batch))
            for row, i in enumerate(chosen):
                tokens = self._spelled(lines[i], sources[i], 0), self._spelled(targets[i], encoded[i], 1)
                found[i] = Decoded(targets[i], *tokens, weights_BxTxS[row, : len(encoded[i]), : len(sources[i])], -float(nll_B[row]))
        return [found[i] for i in range(len(sources))]

    def _spelled(self, text: str, tokens: Sequence[int], side: int) -> list[str]:
        """Spells the tokens of a text, EOS last: pieces of the text itself, where there is a vocabulary."""
        if self.vocabularies is None:
            return spelling.spelled(tokens, None)
        return [*map(shown, self.vocabularies[side].spelled(text)), *spelling.spelled(tokens[-1:], None)]

    def _forced_batches(
        self, lines: Sequence[str], targets: Sequence[str]
    ) -> tuple[list[list[int]], list[list[int]], Iterator[tuple[list[int], Batch]]]:
        """Returns tokens of lines, tokens of targets, and batches of both: (numbers of lines, Batch); further rows repeat the last."""
        if len(lines) != len(targets):
            raise DataError(f"{len(targets)} targets for {len(lines)} lines: there must be one each")
        sides = [self._encode(line, number) for number, line in enumerate(lines, 1)], self.encode_targets(targets)
        if nothing := [number for number, tokens in enumerate(sides[0], 1) if not len(tokens)]:
            raise DataError(f"input line {nothing[0]} is empty: {self.config.data.task} needs a source to say what a target costs")

        def shape(i: int) -> tuple[int, int]:
            return self._padded(len(sides[0][i])), -(-len(sides[1][i]) // batching.MULTIPLE) * batching.MULTIPLE

        def batches() -> Iterator[tuple[list[int], Batch]]:
            for padded, group in groupby(sorted(range(len(lines)), key=shape), shape):
                members, B = list(group), batching.ROWS if max(padded) <= batching.LONG else 1
                for first in range(0, len(members), B):
                    chosen = members[first : first + B]
                    rows_B = chosen + chosen[-1:] * (B - len(chosen))
                    source, (target_BxT, real_BxT) = (
                        batching.stacked([side[i] for i in rows_B], size) for side, size in zip(sides, padded, strict=True)
                    )
                    yield chosen, batching.paired(source, (target_BxT, real_BxT & self._scored([targets[i] for i in rows_B], padded[1])))

        return *sides, batches()

    def _scored(self, targets: Sequence[str], T: int) -> np.ndarray:
        """Returns a mask BxT, False at the tokens that `text.given` gives."""
        if self.vocabularies is None or not (word := self.config.text.given):
            return np.ones((len(targets), T), bool)
        given_B = [given_tokens(target, word, self.vocabularies.target) for target in targets]
        return np.arange(T)[None, :] >= np.array(given_B)[:, None]

    def encode_targets(self, targets: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of targets, EOS included. Raises as `losses` does."""
        if self.config.data.padded_output:
            raise ConfigError("data.padded_output=True: outputs of this run have no end, so that a text is no whole target")
        if self.vocabularies is not None:
            return [[*self.vocabularies.target.encode(target), EOS] for target in targets]
        known = {str(symbol): symbol + FIRST_SYMBOL for symbol in range(self.sizes.target - FIRST_SYMBOL)}
        for number, target in enumerate(targets, start=1):
            if unknown := [word for word in words.split(target) if word not in known]:
                what = f"is no symbol of {self.config.data.task}; valid: 0 to {len(known) - 1}"
                raise DataError(f"reference line {number}: {unknown[0][:40]!r} {what}")
        return [[*(known[word] for word in words.split(target)), EOS] for target in targets]

    def _encode(self, line: str, number: int) -> Any:
        """Returns the tokens of a line, or features_SxF of the file that it names; none of an empty line."""
        if self._is_signal:
            return signals.features(self.config, line.strip(), f"input line {number}") if line.strip() else []
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

    def _parted(self, lines: Sequence[str]) -> tuple[Sequence[str], list[list[int]]]:
        """Returns sources, and the tokens of what is given of each output; none where `text.given` is empty, or a task's."""
        word = self.config.text.given
        if self.vocabularies is None or not word:
            return lines, []
        sources, given = [], []
        for number, line in enumerate(lines, start=1):
            source, _, first = line.partition("\t")
            if words.split(source) and not words.split(first):
                raise DataError(
                    f"input line {number}: {line[:40]!r} gives no words of the output; a line is: source, tab, words (text.given={word})"
                )
            sources.append(source)
            given.append(self.vocabularies.target.encode(f"{words.parted(first, word)[0]} {word}"))
        return sources, given

    def _decode_batch(
        self,
        mesh: Mesh,
        params,
        chosen: list[int],
        encoded: list,
        lines: Sequence[str],
        settings: SearchConfig,
        given: list[list[int]],
        examine: bool,
    ):
        """The outputs of lines that may have equally many positions; draws depend on the number of a line."""
        S = self._padded(max(len(encoded[i]) for i in chosen))
        B = batching.rows(S, settings) * mesh.size
        example_B = np.array(chosen + chosen[-1:] * (B - len(chosen)))  # the last line fills the batch, and does not outlast it
        source_BxS, mask_BxS = batching.stacked([encoded[i] for i in example_B], S)
        stop, products = not self.config.data.padded_output, self.config.training.precision
        first: tuple = ()
        if given:
            most = -(-max(len(given[i]) for i in example_B) // batching.MULTIPLE) * batching.MULTIPLE
            tokens_BxG, is_given_BxG = batching.stacked([given[i] for i in example_B], most)
            first = tokens_BxG, is_given_BxG.sum(1).astype(np.int32)
        positions = self._positions(S) + (first[0].shape[1] if first else 0)
        find = batching.searching(self.model, mesh, positions, settings, stop, products, bool(first), examine)
        found, known = jax.device_get(find(params, source_BxS, mask_BxS, example_B, *first))
        for row, i in enumerate(chosen):
            kept = np.flatnonzero(found.scores_BxN[row] > -np.inf)
            outputs = (found.tokens_BxNxT[row, kept], found.weights_BxNxTxS[row, kept], found.scores_BxN[row, kept])
            decoded = [self._decoded(lines[i], encoded[i], *output, settings) for output in zip(*outputs, strict=True)]
            yield (
                [each._replace(known=self._known(each, known, row, int(n))) for each, n in zip(decoded, kept, strict=True)]
                if examine
                else decoded
            )

    def _decoded(self, line: str, row: Any, tokens_T, weights_TxS, score, settings: SearchConfig) -> Decoded:
        T = min(len(row) - 1, len(tokens_T)) if self.config.data.padded_output else spelling.end(tokens_T, len(tokens_T))
        output, weights_TxS = tokens_T[:T].tolist(), weights_TxS[:T, : len(row)]
        of_source, of_target = self.vocabularies or (None, None)
        output_tokens, image_YxX = spelling.spelled(output, of_target), None
        source_tokens = spelling.numbered(row) if self._is_signal else spelling.spelled(row, of_source)
        if signals.is_image(self.config):
            image_YxX = spelling.image(row, signals.rows_of(self.config))
        named = self._named(line, output, weights_TxS) if settings.replace_unknown else {}
        for t, part in named.items():
            output_tokens[t] = part if self.vocabularies is None else shown(part)
        symbols = output_tokens[:-1] if output and output[-1] == EOS else output_tokens
        text = " ".join(symbols) if self.vocabularies is None else self.vocabularies.target.decode(output, named)
        text = words.behind(text, self.config.text.given) if self.vocabularies is not None else text
        return Decoded(text, source_tokens, output_tokens, weights_TxS, float(score), image_YxX)

    def _known(self, decoded: Decoded, known: search.Known, row: int, n: int) -> Known:
        """What was known at each step of output n of a row of the batch."""
        T, vocabulary = len(decoded.output_tokens), self.vocabularies and self.vocabularies.target
        norm_T, likely_TxK, log_p_TxK = (np.asarray(x)[row, n, :T] for x in (known.norm_BxT, known.likely_BxTxK, known.log_p_BxTxK))
        return Known(norm_T, [spelling.spelled(likely_K, vocabulary) for likely_K in likely_TxK], np.exp(log_p_TxK))

    def _named(self, line: str, output: list[int], weights_TxS) -> dict[int, str]:
        """{t: part of the line that was looked at} of unknown tokens: those that even the source's vocabulary cannot spell."""
        parts = words.split(line) if self.vocabularies is None else self.vocabularies.source.spelled(line)
        unknown = [t for t, token in enumerate(output) if token == UNK or token >= self.sizes.target]
        return {t: parts[int(weights_TxS[t, : len(parts)].argmax())] for t in unknown if weights_TxS[t, : len(parts)].any()}

    def _padded(self, length: int) -> int:
        """S of a source of so many tokens; the places of an image are not padded, since its rows would not stay rows."""
        if signals.is_image(self.config):
            return length
        return self._places() or -(-max(length, 1) // batching.MULTIPLE) * batching.MULTIPLE

    def _positions(self, length: int) -> int:
        """The longest output of an input of so many tokens, EOS included in both."""
        if self._is_signal:
            return signals.longest_output(self.config)
        S = self._padded(length)
        return S if self.vocabularies is None else max(self.config.text.cut, S)

    def _places(self) -> int:
        """Positions of a source where all have equally many, a field and no EOS; 0 where sources are sequences."""
        if self.vocabularies is not None:
            return 0
        positions = tasks.build(self.config.data).source_positions
        return positions(1) if positions(1) == positions(2) else 0


ENSEMBLE, BEST = "ensemble", "best"
"""What a seed may be besides a number."""


def load(directory: str | Path, seed: int | str | None = None, data_dir: Path | None = None, cache_dir: Path | None = None) -> Trained:
    """Loads the run in a folder, or in a file that `export` has written, with the parameters that its results are of.

    `seed` is one of its seeds; None the first; "best" the one with the lowest loss on the validation split, for which a corpus is read
    from `data_dir`; "ensemble" all of them: a token's probability is then the mean of theirs (`model.ensembles`).
    Raises `RunError` for what is no run or has no checkpoint, for no such seed, and where settings or vocabularies are not those that
    the run was trained with; `DataError` for a damaged file.
    """
    return chosen(read(directory), seed, data_dir, cache_dir)


def read(path: str | Path) -> Stored:
    """Reads all seeds of a run from its folder, or from a file that `export` has written. Raises as `load` does."""
    path = Path(path)
    return exported.read(path) if path.is_file() else stored.from_folder(path)


def chosen(found: Stored, seed: int | str | None = None, data_dir: Path | None = None, cache_dir: Path | None = None) -> Trained:
    """Returns a seed of what `read` has read, or an ensemble; `seed` is as in `load`."""
    if seed == ENSEMBLE and found.seeds[1:]:
        return Trained(found.config, found.vocabularies, ensembles.ensemble(found.run.model), found.params, found.seeds[0], found.seeds)
    if seed == BEST:
        seed = found.seeds[int(np.argmin(found.validation_loss(data_dir, cache_dir)))]
    number = found.seeds[0] if seed is None or seed == ENSEMBLE else seed
    if isinstance(number, str):
        raise RunError(f"{found.path} has no seed {number!r}; valid: {stored.spelled(found.seeds)}, {BEST}, {ENSEMBLE}")
    folder = found.path if found.path.is_dir() else None
    return Trained(found.config, found.vocabularies, found.run.model, found.of(number), number, folder=folder)


def export(path: str | Path, found: Stored, seeds: Sequence[int] | None = None) -> None:
    """Writes a run as one file, weights, vocabularies and settings; `seeds` are some of its seeds, None all. Replaces the file whole.

    `load` reads it back bit for bit; `docs/using.md` has a reader in NumPy. Raises `RunError` for a seed that the run does not have.
    """
    exported.write(Path(path), found, tuple(seeds or found.seeds))
