"""Stage: per-example scores and decoded sentences → numbers for rows.

Sums come first and one division last: padding and batch size change no number.
BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacreBLEU's corpus scores (Post 2018).
"""

from collections.abc import Sequence

import numpy as np

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


def by_bucket(words_N: Sequence[int] | np.ndarray, edges: Sequence[int]) -> dict[int, np.ndarray]:
    """Returns {upper edge: indices of the examples with previous edge < words ≤ edge}, ascending, without empty buckets.

    Examples above the last edge form one more bucket, which is open: labelled by the first length that it may hold, last edge + 1.
    """
    bucket_N = np.searchsorted(np.asarray(edges), np.asarray(words_N), side="left")
    labels = (*edges, edges[-1] + 1)
    return {int(labels[bucket]): np.flatnonzero(bucket_N == bucket) for bucket in np.unique(bucket_N)}


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
    bleu, chrf, columns = BLEU(), CHRF(), [list(column) for column in zip(*references, strict=True)]
    return {
        "bleu": bleu.corpus_score(list(hypotheses), columns).score,
        "chrf": chrf.corpus_score(list(hypotheses), columns).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def _check_pairs(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: there must be one each")
    if not hypotheses:
        raise DataError("no sentence to score: the evaluation set (or this bucket of it) is empty")
    if len(numbers := {len(each) for each in references}) > 1 or 0 in numbers:
        raise DataError(f"hypotheses have {min(numbers)} to {max(numbers)} references: all must have equally many, and one at least")
