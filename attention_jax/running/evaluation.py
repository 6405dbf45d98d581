"""Parameters of all seeds → rows: free-running and teacher-forced, padded to a few shapes, seen and unseen lengths apart."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from attention_jax import training
from attention_jax.config import SearchConfig
from attention_jax.data.corpora import words
from attention_jax.data.sources import Source
from attention_jax.layers import precision
from attention_jax.running import grids, replays
from attention_jax.running.replays import Kept, SeedsExample
from attention_jax.running.spelling import end, image, numbered, spelled
from attention_jax.statistics import alignments, metrics
from attention_jax.statistics.hypotheses import EACH, Written
from attention_jax.statistics.metrics import Judged
from attention_jax.statistics.sentences import Sentences
from attention_jax.training import parallel
from attention_jax.training.compiled import Resolved
from attention_jax.types import Batch, Model
from attention_jax.types.signatures import Array, Params

MODES = ("free", "forced")
EXAMPLE_TOKENS = 14  # the decoded example kept for the heat map has about so many source positions


class Functions(NamedTuple):
    """Compiled evaluation of R seeds; parameters, batches and results have the leading axis R.

    forced(params, batch) → (Counted, Looked);  free(params, batch) → (Counted, tokens_BxT, weights_TxS of the first example).
    """

    forced: Callable
    free: Callable


@lru_cache(maxsize=4)
def functions_of(
    model: Model, stop: bool, longest: int, settings: SearchConfig, products: str, devices: Mesh, is_given: bool = False
) -> Functions:
    """Compiles the functions of a model, once for all runs of a process that ask for the same; `products` is `training.precision`."""

    def forced(params, batch):
        counted, _, weights_BxTxS = training.eval_forced(params, batch, model)
        return counted, alignments.sums(weights_BxTxS, batch)

    def free(params, batch):
        counted, tokens_BxT, weights_BxTxS = training.eval_free(params, batch, model, stop, longest, settings, is_given)
        return counted, tokens_BxT, weights_BxTxS[0]

    functions = (precision.applied(function, products) for function in (forced, free))
    return Functions(*(parallel.side_by_side(parallel.over_seeds(function), devices) for function in functions))


class Tested(NamedTuple):
    """Results of R seeds on the test split, and on further test sets where there are any: then each row has the name of its own."""

    rows: list[dict]  # one per seed, length and mode
    example: dict  # one decoded example of the first seed
    sentences: Sentences | None  # losses of every sentence; of a corpus
    further: list[dict]  # rows of further test sets
    written: dict[str, Written]  # what was written, by the name of the test set; of a corpus or a signal
    examples: list[SeedsExample]  # of a few lengths, step by step


class Outputs(NamedTuple):
    """What all seeds wrote for the sentences of a test set, and how right it is."""

    written: Written
    judged: Judged


class Shown(NamedTuple):
    """A decoded example of the first seed, to be drawn, and how far it is from what is best to draw."""

    off: tuple
    source_S: np.ndarray
    output_T: np.ndarray
    target_T: np.ndarray
    weights_TxS: np.ndarray


class Evaluator:
    """Evaluation of one config's model; every function takes parameters with the leading axis R. `beat` is called after each batch.

    `cut` cuts a target into the symbols of its error rate; None where there is none: of a task, and of subwords.
    """

    def __init__(self, run: Resolved, source: Source, beat: Callable[[], None] = lambda: None):
        self.run, self.config, self.source, self.beat = run, run.config, source, beat
        self.cut = None if source.vocabularies is None else source.vocabularies.target.symbols

    def functions(self, R: int) -> Functions:
        """Returns the functions compiled for R seeds."""
        source, devices = self.source, self.run.mesh_of(R)
        settings = self.run.model, source.stop, source.longest_output, self.config.search
        return functions_of(*settings, self.config.training.precision, devices, bool(self.given))

    @property
    def given(self) -> str:
        """The word that ends what is given of a target; empty where nothing is, as of a task."""
        return "" if self.source.texts is None else self.config.text.given

    def validation_loss(self, params: Params, seeds: list[int]) -> np.ndarray:
        """Computes the mean nats per target token on the validation split, teacher-forced: loss_R."""
        nll_R, tokens_R = np.zeros(len(seeds)), np.zeros(len(seeds))
        for batch in self.source.evaluation("validation", seeds):
            counted, _ = parallel.fetch(self.functions(len(seeds)).forced(params, jax.device_get(batch)))
            self.beat()
            nll_R, tokens_R = nll_R + counted.nll_B.sum(1), tokens_R + counted.tokens_B.sum(1)
        return nll_R / np.maximum(tokens_R, 1)

    def tested(self, params: Params, seeds: list[int]) -> Tested:
        """Evaluates the test split and further test sets, teacher-forced and free running."""
        (first, name), *others = self.source.tests.items()
        found, example, kept = self._tested(params, seeds, MODES, first)
        assert example is not None  # a test split has examples
        outputs = self._outputs(found["free"], seeds, first)
        rows = self._rows(found, seeds, first, outputs, {"test": name} if others else {})
        further, written = [], self._written(found["free"], seeds, outputs, name)
        for split, name in others:
            found_there, *_ = self._tested(params, seeds, MODES, split)
            there = self._outputs(found_there["free"], seeds, split)
            further += self._rows(found_there, seeds, split, there, {"test": name})
            written |= self._written(found_there["free"], seeds, there, name)
        sentences = self._sentences(found["forced"], seeds, outputs)
        return Tested(rows, self._spell(example), sentences, further, written, self._replayed(params, seeds, kept.values()))

    def watched(self, params: Params, seeds: list[int]) -> list[SeedsExample]:
        """Replays the target of one validation example of each seed."""
        batch = next(iter(self.source.evaluation("validation", seeds)))
        return self._replayed(params, seeds, [replays.nearest(jax.device_get(batch), EXAMPLE_TOKENS)])

    def _replayed(self, params: Params, seeds: list[int], kept: Iterable[Kept]) -> list[SeedsExample]:
        found = replays.replayed(self.run, self.source, params, seeds, kept)
        self.beat()
        return found

    def _rows(self, found: dict[str, list], seeds: list[int], split: str, outputs: Outputs | None, named: dict[str, str]) -> list[dict]:
        """The rows of a test set: by mode, seed and length."""
        each = [(mode, replica, seed) for mode in found for replica, seed in enumerate(seeds)]
        return [
            {"seed": seed, "mode": mode, **named, **row}
            for mode, replica, seed in each
            for row in self._rows_of_seed(found[mode], replica, mode, split, outputs)
        ]

    def trials(self, params: Params, seeds: list[int]) -> list[list[dict]]:
        """Evaluates the test split for trials, one by one: a row per trained length, with exact outputs of a task or the loss on text.

        Trials of several rates have the same seeds. Where text has an error rate, rows of free running with its counts follow; all rows
        have the same fields, null where it has none.
        """
        modes, values = ("free",), ("exact",)
        if self.source.texts is not None:
            modes, values = ("forced",), ("loss", "symbols")
            if self.cut:
                modes, values = ("forced", "free"), (*values, "error_rate", "edits", "reference_symbols")
        found, *_ = self._tested(params, seeds, modes, "test")
        outputs = self._outputs(found["free"], seeds, "test") if "free" in modes else None
        names = ("length", "seen", "examples", *values)
        return [
            [
                {"mode": mode, **{name: row.get(name) for name in names}}
                for mode in found
                for row in self._rows_of_seed(found[mode], replica, mode, "test", outputs)
                if row["seen"]
            ]
            for replica in range(len(seeds))
        ]

    def _tested(self, params, seeds: list[int], modes: Sequence[str], split: str) -> tuple[dict[str, list], Shown | None, dict[int, Kept]]:
        """A test split by mode, batch by batch; source, output, target and weights of one example of free running; those to be replayed."""
        found, example, kept = {mode: [] for mode in modes}, None, {}
        functions = self.functions(len(seeds))
        for batch in map(jax.device_get, self.source.evaluation(split, seeds)):
            outputs = parallel.fetch({mode: getattr(functions, mode)(params, batch) for mode in modes})
            self.beat()
            if "forced" in modes:
                found["forced"].append((outputs["forced"], None, batch.length_B, batch.example_B))
            if "free" in modes:
                counted, tokens_RxBxT, weights_RxTxS = outputs["free"]
                of_words = self._edits(tokens_RxBxT, batch.target_BxT)
                said = tokens_RxBxT, batch.target_BxT
                found["free"].append(((counted, of_words), said, batch.length_B, batch.example_B))  # gold is of the target alone
                example = closer(example, batch, tokens_RxBxT[0, 0], weights_RxTxS[0], self.source.rows, self.source.longest)
                replays.keep(kept, batch, tokens_RxBxT, self.source.lengths, grids.of(self.config.model, self.source.rows))
        return found, example, kept

    def _edits(self, tokens_RxBxT: Array, target_RxBxT: Array) -> metrics.Edits | None:
        """Edits between outputs and targets of a drawn signal, token by token; None of a task, and of a corpus, whose texts are judged."""
        if self.source.vocabularies is None or self.source.texts is not None:
            return None
        pairs = zip(tokens_RxBxT, target_RxBxT, strict=True)
        made = [metrics.edits_of([symbols(t) for t in one], [symbols(t) for t in other]) for one, other in pairs]
        return jax.tree.map(lambda *of_seeds: np.stack(of_seeds), *made)

    def _sentences(self, forced: list, seeds: list[int], outputs: Outputs | None) -> Sentences | None:
        """Those of a corpus, in its order; all seeds are tested on the same."""
        if self.source.texts is None or outputs is None:
            return None
        texts = self.source.texts("test")
        example_N = np.concatenate([np.asarray(example_RxB)[0] for *_, example_RxB in forced])
        order = np.argsort(example_N, kind="stable")[np.sum(example_N < 0) :]
        nll_RxN, tokens_RxN = (
            np.concatenate([np.asarray(getattr(counted, name)) for (counted, _), *_ in forced], 1)[:, order]
            for name in ("nll_B", "tokens_B")
        )
        return Sentences(tuple(seeds), nll_RxN, tokens_RxN[0], texts.length_N, texts.first_N, texts.joined_N, *outputs.judged)

    def _written(self, free: list, seeds: list[int], outputs: Outputs | None, name: str) -> dict[str, Written]:
        """{test set: what was written for it}: outputs for texts, or for a drawn signal, of which each seed has its own examples."""
        if outputs is not None:
            return {name: outputs.written}
        if self.source.vocabularies is None:
            return {}
        target = self.source.vocabularies.target
        sources, references, hypotheses = [], [], []
        for _, pair, length_RxB, example_RxB in free:
            for seed, tokens_BxT, target_BxT, length_B, example_B in zip(seeds, *pair, length_RxB, example_RxB, strict=True):
                numbers = zip(np.asarray(length_B).tolist(), np.asarray(example_B).tolist(), strict=True)
                sources += [f"seed {seed}, length {length}, example {example}" for length, example in numbers]
                references += [[_text(spelled(symbols(target_T), target))] for target_T in target_BxT]
                hypotheses += [_text(spelled(symbols(tokens_T), target)) for tokens_T in tokens_BxT]
        return {name: Written((EACH,), sources, references, [hypotheses])}

    def _outputs(self, free: list, seeds: list[int], split: str) -> Outputs | None:
        """The best output of every seed for each sentence of a test set, in the order of the corpus; None of a task."""
        if self.source.vocabularies is None or self.source.texts is None:
            return None
        texts, target = self.source.texts(split), self.source.vocabularies.target
        hypotheses = [[""] * len(texts.sources) for _ in seeds]
        for _, (tokens_RxBxT, _), _, example_RxB in free:
            for tokens_BxT, example_B, of_seed in zip(np.asarray(tokens_RxBxT), np.asarray(example_RxB), hypotheses, strict=True):
                for tokens_T, example in zip(tokens_BxT, example_B, strict=True):
                    if example >= 0:
                        of_seed[example] = words.behind(target.decode(tokens_T), self.given)
        written = Written(tuple(seeds), texts.sources, texts.accepted, hypotheses)
        return Outputs(written, metrics.judge(hypotheses, texts.accepted, self.cut))

    def _rows_of_seed(self, found: list, replica: int, mode: str, split: str, outputs: Outputs | None) -> list[dict]:
        sums, _, lengths, examples = zip(*found, strict=True)
        real = [np.asarray(numbers)[replica] >= 0 for numbers in examples]

        def joined(*batches):
            return np.concatenate([np.asarray(batch)[replica][keep] for batch, keep in zip(batches, real, strict=True)])

        counted, beside = jax.tree.map(joined, *sums)
        length_B = joined(*lengths)
        example_B = joined(*examples)  # of a corpus: the number of the sentence
        if self.source.texts is None:
            chosen = {int(length): length_B == length for length in np.unique(length_B)}
        else:
            chosen = metrics.by_bucket(length_B, self.source.lengths)
        rows = []
        for length, of_length in chosen.items():
            row: dict[str, Any] = {"length": length}
            longest = length
            if length > self.source.lengths[-1]:  # only files have such a bucket: it holds whatever is longer
                row, longest = row | {"open": True}, int(length_B[of_length].max())
            row["seen"] = self.config.data.shortest <= longest <= self.source.longest
            row |= metrics.averages(counted, of_length)
            if mode == "free":
                row["loss"] = None  # a loss needs the true tokens before each position
            row |= _beside(beside, of_length)
            if mode == "free" and outputs is not None and self.source.texts is not None:
                references, hypotheses = self.source.texts(split).accepted, outputs.written.hypotheses[replica]
                row |= outputs.judged.of(replica, example_B[of_length])
                chosen_texts = [(hypotheses[i], references[i][0]) for i in map(int, example_B[of_length])]
                row |= metrics.translation(*map(list, zip(*chosen_texts, strict=True)))
            rows.append(row)
        return rows

    def _spell(self, example: Shown) -> dict:
        """The example as text: {source, output, target, weights (or null where the mechanism looks at nothing)}."""
        _, source, output, target, weights_TxS = example
        of_source, of_target = self.source.vocabularies or (None, None)
        looked = bool(weights_TxS.any())
        weights = [[round(float(w), 4) for w in row] for row in weights_TxS] if looked else None
        is_image = self.source.rows > 1
        shown: dict[str, Any] = {"source": spelled(source, of_source) if source.ndim == 1 else numbered(source)}
        shown |= {"image": image(np.asarray(source), self.source.rows).tolist()} if is_image else {}
        return shown | {"output": spelled(output, of_target), "target": spelled(target, of_target), "weights": weights}


def _beside(beside: Any, chosen: np.ndarray) -> dict[str, Any]:
    """Returns the fields of a row that are of edits, or of looks; nothing where there are neither."""
    if beside is None:
        return {}
    return beside.averages(chosen) if isinstance(beside, metrics.Edits) else alignments.averages(beside, chosen)


def _text(each: Sequence[str]) -> str:
    """Returns the words as a line, without the mark that a vocabulary writes before a word."""
    return " ".join(word.removeprefix(words.SPACE) for word in each)


def symbols(tokens_T: Array) -> list[int]:
    """Returns the tokens before the first EOS, or before padding where there is none."""
    tokens = np.asarray(tokens_T)
    return tokens[: end(tokens, len(tokens) + 1) - 1].tolist()


def closer(
    shown: Shown | None, batch: Batch, tokens_T: np.ndarray, weights_TxS: np.ndarray, rows: int = 0, longest: int | None = None
) -> Shown | None:
    """Returns the first seed's first example, if its source is nearer to EXAMPLE_TOKENS than that of the one that is `shown`.

    Where sources are equally near, as they all are on a field, and of images, those of lengths up to `longest`, the trained ones, come
    first, and then targets decide.
    """
    source_S, target_T = (np.asarray(x)[0, 0] for x in (batch.source_BxS, batch.target_BxT))
    real_S, wanted = grids.real(np.asarray(batch.source_mask_BxS)[0, 0], rows), _end(np.asarray(batch.target_mask_BxT)[0, 0])
    untrained = longest is not None and int(np.asarray(batch.length_B)[0, 0]) > longest
    off = 0 if rows > 1 else abs(len(real_S) - EXAMPLE_TOKENS), untrained, abs(wanted - EXAMPLE_TOKENS)
    if not len(real_S) or (shown is not None and shown.off <= off):
        return shown
    T = end(tokens_T, wanted)
    return Shown(off, source_S[real_S], tokens_T[:T], target_T[:wanted], weights_TxS[:T][:, real_S])


def _end(mask_T: np.ndarray) -> int:
    """Returns how many positions there are up to the last one that a mask holds."""
    return int(np.flatnonzero(mask_T)[-1]) + 1 if mask_T.any() else 0
