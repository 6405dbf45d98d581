"""Means of a score over test sentences, and differences between arms, with the bootstrap of `blocks` over seeds and blocks of sentences.

A score is one number a sentence and seed, of which more is better: 1 for a right label, the F of ROUGE for a headline. Sentences weigh
alike. All arms that are compared have the same seeds and sentences; what no seed changes, as a baseline, is the same for each (`constant`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import BLOCK, Estimate, Sums
from attention_jax.system.errors import DataError


def summed(values_N: Sequence[float] | np.ndarray, block: int = BLOCK) -> list[float]:
    """Sums the scores of the sentences of a test set by block of `block` consecutive ones; the last block may have fewer."""
    values_N = np.asarray(values_N, float)
    return np.add.reduceat(values_N, np.arange(0, len(values_N), block)).tolist()


def spelled(sums_K: Sequence[float]) -> str:
    """Returns sums by block as one text, as a row holds them: numbers of 6 digits, with spaces between."""
    return " ".join(f"{value:.6g}" for value in sums_K)


def read(text: str) -> list[float]:
    """Returns the sums of a row's text. Raises `DataError` for anything else."""
    try:
        return [float(number) for number in text.split()]
    except (ValueError, AttributeError):
        raise DataError(f"{text!r:.60} are no sums by block: numbers with spaces between") from None


def of_blocks(of_seed: Mapping[int, Sequence[float]], sentences: int, block: int = BLOCK) -> Sums:
    """Returns the sums of an arm from those of each seed, as `summed` makes them. Raises `DataError` for other numbers of blocks."""
    counts_K = np.asarray(summed(np.ones(sentences), block))
    if wrong := [seed for seed, sums in of_seed.items() if len(sums) != len(counts_K)]:
        raise DataError(f"{sentences} sentences are {len(counts_K)} blocks of {block}, and seed {wrong[0]} has {len(of_seed[wrong[0]])}")
    seeds = tuple(sorted(of_seed))
    return Sums(seeds, np.array([of_seed[seed] for seed in seeds], float)[..., None], counts_K[:, None])


def of_sentences(seeds: Sequence[int], values_RxN: np.ndarray, block: int = BLOCK) -> Sums:
    """Returns the sums of an arm from the scores of each seed at each sentence."""
    of_seed = dict(zip(seeds, values_RxN, strict=True))
    return of_blocks({seed: summed(values_N, block) for seed, values_N in of_seed.items()}, values_RxN.shape[1], block)


def constant(sums_K: Sequence[float], like: Sums) -> Sums:
    """Returns the sums of what no seed changes, for the seeds and sentences of an arm."""
    return Sums(like.seeds, np.broadcast_to(np.asarray(sums_K, float)[None, :, None], like.nll_RxKx2.shape), like.tokens_Kx2)


def mean(arm: Sums) -> Estimate:
    """Estimates the mean score of an arm. Raises `DataError` for fewer than `blocks.FEWEST` blocks."""
    return blocks.estimate(lambda mean_x1: mean_x1[..., 0], arm)


def gained(arm: Sums, reference: Sums) -> Estimate:
    """Estimates arm − reference, paired by seed and block. Raises `DataError` as `mean` does, and for other seeds or sentences."""
    return blocks.estimate(lambda ours_x1, theirs_x1: ours_x1[..., 0] - theirs_x1[..., 0], arm, reference)
