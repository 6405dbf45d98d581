"""A finished run, to use: two lines from Python, no flags.

    from attention_jax import trained
    print(trained.load("runs/bottleneck/additive-gru-h64").decode(["3 1 4 1 5"])[0].text)

Text goes in as the user writes it. Synthetic tasks read and write symbols by number, separated by spaces; the symbols of
a task are 0 … symbols-1, and the keys of `recall` follow them.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from attention_jax import checkpoint, evaluation, loop, results, search, sources, training
from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.corpora import subwords
from attention_jax.types import EOS, FIRST_SYMBOL, PAD, ConfigError, DataError, Model, RunError

ROWS, MULTIPLE = 32, 16  # decoding pads batches to so many rows, and lengths to multiples of so many positions
LONG = 256  # inputs of more positions are decoded one by one: weights take rows × positions² floats


class Decoded(NamedTuple):
    """One output; weights_TxS are zero for a mechanism that looks at nothing. Tokens include EOS where there is one."""

    text: str
    source_tokens: list[str]
    output_tokens: list[str]
    weights_TxS: np.ndarray


class Trained(NamedTuple):
    """A config, its vocabulary (None for synthetic tasks), and the parameters of one seed."""

    config: Config
    vocabulary: subwords.Vocabulary | None
    model: Model
    params: dict
    seed: int

    def decode(self, lines: Sequence[str]) -> list[Decoded]:
        """Greedy outputs, one per line, in order; an empty line gives an empty output. A symbol that does not exist raises `DataError`."""
        encoded = [self._encode(line, number) for number, line in enumerate(lines, start=1)]
        order = sorted((i for i, tokens in enumerate(encoded) if len(tokens) > 1), key=lambda i: len(encoded[i]))
        outputs = [Decoded("", [], [], np.zeros((0, 0)))] * len(encoded)
        short = [i for i in order if len(encoded[i]) <= LONG]
        groups = [short[first : first + ROWS] for first in range(0, len(short), ROWS)] + [[i] for i in order[len(short) :]]
        for chosen in groups:
            for i, decoded in zip(chosen, self._decode_batch([encoded[i] for i in chosen]), strict=True):
                outputs[i] = decoded
        return outputs

    def _encode(self, line: str, number: int) -> list[int]:
        if self.vocabulary is not None:
            return [*self.vocabulary.encode(line), EOS]
        symbols = sources.vocabulary_size(self.config) - FIRST_SYMBOL
        known = {str(symbol): symbol + FIRST_SYMBOL for symbol in range(symbols)}
        if unknown := [word for word in line.split() if word not in known]:
            raise DataError(f"input line {number}: {unknown[0][:40]!r} is no symbol of {self.config.data.task}; valid: 0 to {symbols - 1}")
        return [*(known[word] for word in line.split()), EOS]

    def _decode_batch(self, rows: list[list[int]]) -> list[Decoded]:
        S = -(-max(map(len, rows)) // MULTIPLE) * MULTIPLE
        B = ROWS if S <= LONG else len(rows)
        source_BxS = np.full((B, S), PAD, np.int32)
        for i, row in enumerate(rows):
            source_BxS[i, : len(row)] = row
        length_B = np.array([len(row) for row in rows] + [0] * (B - len(rows)))
        stop = not self.config.data.padded_output
        mask_BxS = np.arange(S)[None, :] < length_B[:, None]
        tokens_BxT, weights_BxTxS = _greedy(self.model, self._positions(S), stop)(self.params, source_BxS, mask_BxS)
        decoded = []
        for row, tokens_T, weights_TxS in zip(rows, np.asarray(tokens_BxT), np.asarray(weights_BxTxS), strict=False):
            T = evaluation.end(tokens_T, self._positions(len(row))) if stop else len(row) - 1
            output = tokens_T[: min(T, self._positions(len(row)))].tolist()  # whatever else is in the batch
            source_tokens, output_tokens = (evaluation.spelled(t, self.vocabulary) for t in (row, output))
            symbols = output_tokens[:-1] if output and output[-1] == EOS else output_tokens
            text = self.vocabulary.decode(output) if self.vocabulary else " ".join(symbols)
            decoded.append(Decoded(text, source_tokens, output_tokens, weights_TxS[: len(output), : len(row)]))
        return decoded

    def _positions(self, length: int) -> int:
        """The longest output of an input of so many tokens, EOS included in both."""
        S = -(-length // MULTIPLE) * MULTIPLE
        return S if self.vocabulary is None else max(self.config.text.cut, S)


@cache
def _greedy(model: Model, positions: int, stop: bool):
    return jax.jit(partial(search.greedy, model, positions=positions, stop=stop))


def load(directory: str | Path, seed: int | None = None) -> Trained:
    """The run in `directory`, with the parameters its rows were made with; `seed`: one of its seeds, the first by default.

    Raises `RunError` where there is no run, no checkpoint or no such seed.
    """
    directory = Path(directory)
    file = directory / "config.json"
    if not file.exists():
        raise RunError(f"{directory} is no run: it has no config.json; a run is a folder such as runs/bottleneck/additive-gru-h64")
    try:
        config = settings.from_json(results.read_json(file)["config"])
    except (ConfigError, KeyError) as error:
        raise RunError(f"{file} is not of this version: {error}; train the run again, with its command and another --workdir") from None
    seeds = loop.seeds(config)
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise RunError(f"{directory} has no seed {seed}; valid: {seeds[0]} to {seeds[-1]}")
    like = jax.eval_shape(lambda: loop.start(config, seeds, [0.0] * len(seeds)))
    found = checkpoint.restore(directory / "checkpoint", like)
    if found is None:
        raise RunError(f"{directory} has no checkpoint yet: train it first, the same command as for its rows")
    _, progress, _ = found
    params = progress.best_params if config.training.evaluate == "best" else progress.states.params
    vocabulary = directory / "vocabulary.model"
    return Trained(
        config,
        subwords.from_bytes(vocabulary.read_bytes()) if vocabulary.exists() else None,
        training.build(config.model, sources.vocabulary_size(config)),
        jax.tree.map(lambda x: x[seeds.index(seed)], params),
        seed,
    )
