"""ROUGE of the package against the definition, by counting; texts of a few words."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

pytest.importorskip("rouge_score", reason="rouge-score is not installed: pip install -e .")

from attention_jax.statistics import rouge
from attention_jax.system.errors import DataError

PAIRS = [
    ("gm to cut output", "general motors to cut output"),
    ("the the the", "the cat"),
    ("", "anything at all"),
    ("a b c d e", "e d c b a"),
    ("U.S. sets tariffs", "u s sets new tariffs"),
    ("Same words", "same words"),
]


def f_of(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def counted(hypothesis: list[str], reference: list[str], n: int) -> float:
    grams = [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for words in (hypothesis, reference)]
    return f_of((grams[0] & grams[1]).total(), grams[0].total(), grams[1].total())


def longest(hypothesis: list[str], reference: list[str]) -> float:
    @cache
    def common(i: int, j: int) -> int:
        if i == len(hypothesis) or j == len(reference):
            return 0
        if hypothesis[i] == reference[j]:
            return 1 + common(i + 1, j + 1)
        return max(common(i + 1, j), common(i, j + 1))

    return f_of(common(0, 0), len(hypothesis), len(reference))


def test_every_kind_by_its_definition():
    found = rouge.scores(*zip(*PAIRS, strict=True))
    texts = [[text.lower().replace(".", " ").split() for text in pair] for pair in PAIRS]
    np.testing.assert_allclose(found["rouge1"], [counted(*pair, 1) for pair in texts])
    np.testing.assert_allclose(found["rouge2"], [counted(*pair, 2) for pair in texts])
    np.testing.assert_allclose(found["rougeL"], [longest(*pair) for pair in texts])


def test_numbers_have_to_agree():
    with pytest.raises(DataError, match="2 hypotheses for 1 references"):
        rouge.scores(["a", "b"], ["a"])
