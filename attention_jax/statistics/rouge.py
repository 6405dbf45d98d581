"""ROUGE of short summaries by sentence: F of ROUGE-1, -2 and -L (Lin 2004), by the package rouge-score, a port of Lin's own program.

Texts are compared in lower case, as letters and digits only; no stems, one reference.
"""

from collections.abc import Sequence

import numpy as np

from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types.citations import cites

NAMES = ("rouge1", "rouge2", "rougeL")
"""One word in common, two consecutive words, the longest common subsequence."""


@cites("lin2004")
def scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns {name: F of every sentence, from 0 to 1}; 0 of an empty hypothesis.

    Raises `DataError` for other numbers of references, and `ConfigError` where rouge-score is not installed.
    """
    try:
        from rouge_score import rouge_scorer  # for headlines alone
    except ImportError as error:
        raise ConfigError(f"ROUGE needs rouge-score: pip install rouge-score ({error})") from None
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: there must be one each")
    scorer = rouge_scorer.RougeScorer(NAMES, use_stemmer=False)
    found = [scorer.score(reference, hypothesis) for hypothesis, reference in zip(hypotheses, references, strict=True)]
    return {name: np.array([each[name].fmeasure for each in found]) for name in NAMES}
