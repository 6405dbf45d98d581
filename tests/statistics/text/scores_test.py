import numpy as np
import pytest

from attention_jax.statistics.text import scores
from attention_jax.system.errors import DataError

R, N = 8, 800


def drawn(seed: int, means_R: np.ndarray, easy_N: np.ndarray) -> np.ndarray:
    """Right labels of R seeds at N sentences: easier sentences are right more often for every seed."""
    return np.random.default_rng(seed).random((R, N)) < np.clip(means_R[:, None] + easy_N[None], 0, 1)


def test_sums_by_block_are_those_of_the_sentences():
    values_N = np.arange(40.0)
    sums = scores.summed(values_N, 16)
    assert sums == [values_N[:16].sum(), values_N[16:32].sum(), values_N[32:].sum()]
    arm = scores.of_blocks({1: sums, 0: [0.0, 1.0, 2.0]}, 40, 16)
    assert arm.seeds == (0, 1) and arm.tokens_Kx2[:, 0].tolist() == [16, 16, 8] and arm.nll_RxKx2[1, :, 0].tolist() == sums
    assert scores.read(scores.spelled(sums)) == sums
    for text in ("1 2 x", [1.0]):
        with pytest.raises(DataError, match="are no sums by block"):
            scores.read(text)
    with pytest.raises(DataError, match="40 sentences are 3 blocks of 16, and seed 1 has 2"):
        scores.of_blocks({1: sums[:2]}, 40, 16)


def test_a_mean_is_covered_by_its_interval_as_often_as_it_says():
    hits, difference_hits, easy_N = 0, 0, np.random.default_rng(0).normal(0, 0.1, N)
    draws = 60
    for seed in range(draws):
        random = np.random.default_rng(1000 + seed)
        shift_N = np.random.default_rng(seed).permutation(easy_N)
        ours, theirs = (drawn(2 * seed + i, mean + random.normal(0, 0.02, R), shift_N) for i, mean in enumerate((0.7, 0.6)))
        arms = [scores.of_sentences(range(R), values) for values in (ours, theirs)]
        hits += scores.mean(arms[0]).interval().low <= 0.7 <= scores.mean(arms[0]).interval().high
        gained = scores.gained(*arms).interval()
        difference_hits += gained.low <= 0.1 <= gained.high
        assert gained.mean == pytest.approx(ours.mean() - theirs.mean())
    assert hits >= 0.88 * draws and difference_hits >= 0.88 * draws


def test_what_no_seed_changes_has_the_scatter_of_sentences_alone():
    values_RxN = drawn(0, np.full(R, 0.6), np.zeros(N))
    arm = scores.of_sentences(range(R), values_RxN)
    same = scores.constant(scores.summed(values_RxN[0]), arm)
    assert scores.mean(same).of_seeds == pytest.approx(0) and scores.mean(same).value == pytest.approx(values_RxN[0].mean())
    assert scores.gained(arm, same).value == pytest.approx(values_RxN.mean() - values_RxN[0].mean())


def test_other_seeds_other_sentences_and_too_few_are_refused():
    arm = scores.of_sentences(range(R), np.ones((R, N)))
    for other, message in (
        (scores.of_sentences(range(1, R + 1), np.ones((R, N))), "the same seeds"),
        (scores.of_sentences(range(R), np.ones((R, N - 1))), "different test sentences"),
    ):
        with pytest.raises(DataError, match=message):
            scores.gained(arm, other)
    with pytest.raises(DataError, match="20 are needed"):
        scores.mean(scores.of_sentences(range(R), np.ones((R, 100))))
