"""Stage: per-example scores and decoded sentences → numbers for rows.

Sums come first and one division last: padding and batch size change no number.
An output is right where its text is that of a reference. The error rate is edits, those to the nearest reference, per symbol of the first
reference, so that no output can choose by what it is divided. BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacreBLEU's corpus
scores (Post 2018).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import edits
from attention_jax.system.errors import DataError
from attention_jax.types import Counted
from attention_jax.types.citations import cites


def averages(counted: Counted, chosen_B: np.ndarray) -> dict[str, float | int]:
    """Returns exact match, token accuracy and loss (nats per target token, EOS included) of the chosen examples, and their counts.

    loss = Σ nll / Σ tokens, token_accuracy = Σ correct / Σ tokens, exact_match = Σ exact / examples; `exact`, `symbols` (tokens that are
    no EOS) and `symbol_errors` are counts. `chosen_B` is a mask or an index array. Raises `DataError` where it chooses no example.
    """
    counts = (counted.nll_B, counted.tokens_B, counted.correct_B, counted.exact_B, counted.symbols_B, counted.symbol_errors_B)
    parts = [np.asarray(count, np.float64)[chosen_B] for count in counts]
    examples = len(parts[0])
    if examples == 0:
        raise DataError("no example to average over: check the evaluated lengths and buckets")
    nll, tokens, correct, exact, symbols, errors = (float(part.sum()) for part in parts)
    shares = {"exact_match": exact / examples, "token_accuracy": correct / tokens, "loss": nll / tokens}
    return {"examples": examples, **shares, "exact": round(exact), "symbols": round(symbols), "symbol_errors": round(errors)}


def by_bucket(length_N: Sequence[int] | np.ndarray, edges: Sequence[int]) -> dict[int, np.ndarray]:
    """Returns {upper edge: indices of the examples with previous edge < words ≤ edge}, ascending, without empty buckets.

    Examples above the last edge form one more bucket, which is open: labelled by the first length that it may hold, last edge + 1.
    """
    bucket_N = np.searchsorted(np.asarray(edges), np.asarray(length_N), side="left")
    labels = (*edges, edges[-1] + 1)
    return {int(labels[bucket]): np.flatnonzero(bucket_N == bucket) for bucket in np.unique(bucket_N)}


class Edits(NamedTuple):
    """Edit distances between outputs and targets, by example, and how many symbols each target has."""

    edits_B: np.ndarray
    symbols_B: np.ndarray

    def averages(self, chosen: np.ndarray) -> dict[str, float | int]:
        """Returns the error rate of the chosen examples, edits per symbol of the targets, and its counts."""
        made, symbols = int(self.edits_B[chosen].sum()), int(self.symbols_B[chosen].sum())
        return {"error_rate": made / max(symbols, 1), "edits": made, "reference_symbols": symbols}


def edits_of(outputs: Sequence[Sequence[Hashable]], targets: Sequence[Sequence[Hashable]]) -> Edits:
    """Returns the edit distance of outputs[i] and targets[i] for each i."""
    return Edits(edits.distances(outputs, targets), np.array([len(target) for target in targets], np.int32))


class Judged(NamedTuple):
    """Outputs beside their references, by seed and sentence; edits and symbols are None where no error rate is asked for."""

    exact_RxN: np.ndarray  # 1 where the text of an output is that of a reference, white space collapsed
    edits_RxN: np.ndarray | None = None  # edit distance to the nearest reference, in symbols
    symbols_N: np.ndarray | None = None  # of the first reference

    def of(self, replica: int, chosen: np.ndarray) -> dict[str, float | int]:
        """Returns the numbers of a row: of one seed, and of the sentences whose indices these are."""
        exact = int(self.exact_RxN[replica, chosen].sum())
        found: dict[str, float | int] = {"exact_match": exact / len(chosen), "exact": exact}
        if self.edits_RxN is None or self.symbols_N is None:
            return found
        return found | Edits(self.edits_RxN[replica], self.symbols_N).averages(chosen)


def judge(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]], cut: Callable[[str], Sequence[Hashable]] | None = None
) -> Judged:
    """Compares the outputs of each seed with the references of each sentence, one or several; `cut` cuts a text into symbols.

    Without `cut` there is no error rate. Raises `DataError` for other numbers of sentences, and for one without references.
    """
    for of_seed in hypotheses:
        _check_pairs(of_seed, references)
    wanted = [[reference.split() for reference in of_one] for of_one in references]
    is_exact = [[text.split() in of_one for text, of_one in zip(of_seed, wanted, strict=True)] for of_seed in hypotheses]
    exact_RxN = np.array(is_exact, np.int32)
    if cut is None:
        return Judged(exact_RxN)
    place_M = np.repeat(np.arange(len(references)), [len(of_one) for of_one in references])
    symbols = [cut(reference) for of_one in references for reference in of_one]
    first_N = np.searchsorted(place_M, np.arange(len(references)))
    symbols_N = np.array([len(symbols[first]) for first in first_N], np.int32)
    edits_RxN = []
    for of_seed in hypotheses:
        written = [cut(text) for text in of_seed]
        edits_RxN.append(np.minimum.reduceat(edits.distances([written[place] for place in place_M], symbols), first_N))
    return Judged(exact_RxN, np.array(edits_RxN, np.int32), symbols_N)


@cites("papineni2002", "popovic2015", "post2018")
def translation(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Returns `corpus_scores` of one reference for each hypothesis. Raises `DataError` as that does."""
    return corpus_scores(hypotheses, [[reference] for reference in references])


def corpus_scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
    """Returns corpus BLEU and chrF, 0 to 100, with their signatures, by sacreBLEU's defaults (13a tokens, case kept).

    `references` are one or several of each hypothesis, of all equally many. Raises `DataError` for other numbers, and for no sentence.
    """
    from sacrebleu.metrics.bleu import BLEU  # for text alone
    from sacrebleu.metrics.chrf import CHRF

    _check_pairs(hypotheses, references)
    if len(numbers := {len(each) for each in references}) > 1:
        raise DataError(f"hypotheses have {min(numbers)} to {max(numbers)} references: all must have equally many, and one at least")
    bleu, chrf, columns = BLEU(), CHRF(), [list(column) for column in zip(*references, strict=True)]
    return {
        "bleu": bleu.corpus_score(list(hypotheses), columns).score,
        "chrf": chrf.corpus_score(list(hypotheses), columns).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def uncased(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
    """Returns corpus BLEU of lowercased texts, 0 to 100, with its signature; all else as in `corpus_scores`."""
    from sacrebleu.metrics.bleu import BLEU  # for text alone

    _check_pairs(hypotheses, references)
    bleu = BLEU(lowercase=True)
    score = bleu.corpus_score(list(hypotheses), [list(column) for column in zip(*references, strict=True)]).score
    return {"bleu_uncased": score, "bleu_uncased_signature": str(bleu.get_signature())}


def perplexities(nll_N: np.ndarray, tokens_N: np.ndarray, targets: Sequence[str]) -> dict[str, float | int]:
    """Returns exp(Σ nll / Σ tokens) and exp(Σ nll / Σ words) of targets, and how many words they have; nll are nats with EOS.

    Words are those that BLEU counts (13a), and one more for the end of each target, as word models count it. A perplexity per word can be
    compared between vocabularies, one per token cannot. Raises `DataError` for other numbers of targets, and for no target.
    """
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a  # for text alone

    if not len(targets) == len(nll_N) == len(tokens_N) > 0:
        raise DataError(f"{len(nll_N)} losses and {len(tokens_N)} lengths for {len(targets)} targets: there must be one each")
    split = Tokenizer13a()
    words = sum(len(split(target).split()) + 1 for target in targets)
    nll = float(np.sum(nll_N, dtype=np.float64))
    per_token, per_word = (float(np.exp(nll / n)) for n in (int(np.sum(tokens_N)), words))
    return {"perplexity": per_token, "perplexity_of_words": per_word, "target_words": words}


def _check_pairs(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: there must be one each")
    if not hypotheses:
        raise DataError("no sentence to score: the evaluation set (or this bucket of it) is empty")
    if any(len(each) == 0 for each in references):
        raise DataError("a hypothesis has no reference: all must have equally many, and one at least")
