"""Stage: per-example scores and decoded sentences → numbers for rows.

Sums come first and one division last, so a batch's padding and its cut into batches never weigh in.
BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacreBLEU's corpus scores (Post 2018). Both are functions of
counts that add over sentences, so a bootstrap resamples rows of `sentence_statistics` and never tokenizes twice.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from attention_jax.types import DataError, Scores

CHARACTERS = CHRF.CHAR_ORDER  # chrF: n-grams of 1 to 6 characters
WORDS = 4  # BLEU: n-grams of 1 to 4 words


def averages(scores: Scores, chosen_B: np.ndarray) -> dict[str, float | int]:
    """Examples, exact match, token accuracy and loss (nats per target token, EOS included) of the chosen examples.

    loss = Σ nll / Σ tokens, token_accuracy = Σ correct / Σ tokens, exact_match = Σ exact / examples;
    `chosen_B` is a mask or an index array; choosing no example raises `DataError`.
    """
    arrays = (scores.nll_B, scores.tokens_B, scores.correct_B, scores.exact_B)
    parts = [np.asarray(array, np.float64)[chosen_B] for array in arrays]
    examples = len(parts[0])
    if examples == 0:
        raise DataError("no example to average over: check the evaluated lengths and buckets")
    nll, tokens, correct, exact = (float(part.sum()) for part in parts)
    return {"examples": examples, "exact_match": exact / examples, "token_accuracy": correct / tokens, "loss": nll / tokens}


def by_length(scores: Scores, length_B: np.ndarray) -> dict[int, dict[str, float | int]]:
    """{length in payload tokens: `averages` of the examples of that length}, shortest first."""
    length_B = np.asarray(length_B)
    return {int(length): averages(scores, length_B == length) for length in np.unique(length_B)}


def by_bucket(words_N: Sequence[int], edges: Sequence[int]) -> dict[int, np.ndarray]:
    """{upper edge: indices of the examples with previous edge < words ≤ edge}, ascending; empty buckets are left out.

    Examples above the last edge form one more bucket, labelled by the longest of them.
    """
    words_N = np.asarray(words_N)
    if len(words_N) and (longest := int(words_N.max())) > edges[-1]:
        edges = (*edges, longest)
    bucket_N = np.searchsorted(np.asarray(edges), words_N, side="left")
    return {int(edges[bucket]): np.flatnonzero(bucket_N == bucket) for bucket in np.unique(bucket_N)}


def translation(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Corpus BLEU and chrF in 0…100 with their signatures, by sacreBLEU's defaults (13a tokens, case kept)."""
    _check_pairs(hypotheses, references)
    bleu, chrf = BLEU(), CHRF()
    return {
        "bleu": bleu.corpus_score(list(hypotheses), [list(references)]).score,
        "chrf": chrf.corpus_score(list(hypotheses), [list(references)]).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def sentence_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Counts_NxK whose sum over sentences is all that corpus BLEU and chrF depend on.

    K = 28 columns: for BLEU lengths (hypothesis, reference), matches and totals of 1…4 words; then for chrF
    (hypothesis, reference, match) of 1…6 characters. Feed sums to `bleu_from_statistics` and `chrf_from_statistics`.
    """
    _check_pairs(hypotheses, references)
    bleu = BLEU(effective_order=True)  # asks for no warning about single sentences; the counts are the same
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        counts = bleu.sentence_score(hypothesis, [reference])
        rows.append([counts.sys_len, counts.ref_len, *counts.counts, *counts.totals, *_character_counts(hypothesis, reference)])
    return np.array(rows, np.int64)


def bleu_from_statistics(sum_K: np.ndarray) -> float:
    """BLEU = exp(min(0, 1 − r/h)) · (Π_n matches_n / totals_n)^¼ · 100, smoothed as sacreBLEU's default does (exp)."""
    lengths, matches, totals = np.split(np.asarray(sum_K)[: 2 + 2 * WORDS], (2, 2 + WORDS))
    return BLEU.compute_bleu(matches.tolist(), totals.tolist(), int(lengths[0]), int(lengths[1]), smooth_method="exp").score


def chrf_from_statistics(sum_K: np.ndarray) -> float:
    """chrF = 5PR / (4P + R) · 100, P and R averaged over the n-gram orders that both sides have (Popović 2015, β = 2)."""
    counts_Nx3 = np.asarray(sum_K)[2 + 2 * WORDS :].reshape(CHARACTERS, 3)
    hypothesis_N, reference_N, match_N = counts_Nx3[(counts_Nx3[:, 0] > 0) & (counts_Nx3[:, 1] > 0)].T
    if match_N.sum() == 0:
        return 0.0
    precision, recall = np.mean(match_N / hypothesis_N), np.mean(match_N / reference_N)
    return float(100 * 5 * precision * recall / (4 * precision + recall))


def _character_counts(hypothesis: str, reference: str) -> list[int]:
    """(hypothesis, reference, match) per order; whitespace is removed, and an order that the reference lacks counts for nobody."""
    texts = ["".join(text.split()) for text in (hypothesis, reference)]
    counts = []
    for order in range(1, CHARACTERS + 1):
        grams, wanted = (Counter(text[i : i + order] for i in range(len(text) - order + 1)) for text in texts)
        counts += [grams.total() if wanted else 0, wanted.total(), (grams & wanted).total()]
    return counts


def _check_pairs(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: there must be one each")
    if not hypotheses:
        raise DataError("no sentence to score: the evaluation set (or this bucket of it) is empty")
