"""Counts against one example at a time, the share of order on mixtures whose truth is planted, and the words of every pattern of thirds."""

import numpy as np
import pytest
from scipy import stats

from attention_jax.statistics import positions
from attention_jax.system.errors import DataError
from attention_jax.types import EOS, FIRST_SYMBOL, PAD

V = 16


def drawn(B: int, T: int, seed: int = 0) -> np.ndarray:
    return FIRST_SYMBOL + np.random.default_rng(seed).integers(0, V, (B, T))


def test_counts_are_those_of_one_output_at_a_time():
    right_BxT, output_BxT = drawn(50, 7), drawn(50, 7, 1)
    output_BxT[:20, 5], output_BxT[:20, 6], output_BxT[30:, 2] = EOS, PAD, right_BxT[30:, 2]
    found = positions.tally(output_BxT, right_BxT, V)
    for t in range(7):
        counts = dict.fromkeys(found._fields, 0.0)
        for output, right in zip(output_BxT[:, t].tolist(), right_BxT.tolist(), strict=True):
            if output == right[t]:
                continue
            counts["wrong_T"] += 1
            if output < FIRST_SYMBOL:
                continue
            counts["moved_T" if output in right else "absent_T"] += 1
            others = [symbol for symbol in range(FIRST_SYMBOL, FIRST_SYMBOL + V) if symbol != right[t]]
            counts["absent_by_chance_T"] += np.mean([symbol not in right for symbol in others])
        for field, count in counts.items():
            assert getattr(found, field)[t] == pytest.approx(count)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_order_is_the_share_of_shuffled_symbols_in_a_mixture_with_random_ones(share):
    random, right_BxT = np.random.default_rng(2), drawn(20_000, 6)
    shuffled_BxT = random.permuted(right_BxT, axis=1)
    other_BxT = FIRST_SYMBOL + (right_BxT - FIRST_SYMBOL + random.integers(1, V, right_BxT.shape)) % V  # even over wrong symbols
    found = positions.tally(np.where(random.random(right_BxT.shape) < share, shuffled_BxT, other_BxT), right_BxT, V)
    wrong_if_shuffled = (shuffled_BxT != right_BxT).mean()
    of_wrong = share * wrong_if_shuffled / (share * wrong_if_shuffled + 1 - share)
    assert positions.order(found.absent_T.sum(), found.absent_by_chance_T.sum()) == pytest.approx(of_wrong, abs=0.02)
    assert np.isnan(positions.order(0, 0))


@pytest.mark.parametrize(("length", "sizes"), [(3, (1, 1, 1)), (7, (2, 3, 2)), (8, (2, 4, 2)), (12, (4, 4, 4))])
def test_thirds_are_all_positions_in_order(length, sizes):
    found = [list(range(length))[each] for each in positions.thirds(length).values()]
    assert [t for third in found for t in third] == list(range(length)) and tuple(map(len, found)) == sizes
    with pytest.raises(DataError, match="2 positions have no thirds"):
        positions.thirds(2)


@pytest.mark.parametrize(
    ("means", "word"),
    [
        ((0.6, 0.3, 0.3), "the first symbols go first"),
        ((0.3, 0.6, 0.4), "the middle symbols go first"),
        ((0.2, 0.4, 0.6), "the last symbols go first"),
        ((0.2, 0.6, 0.6), "all but the first symbols go first"),
        ((0.6, 0.2, 0.6), "all but the middle symbols go first"),
        ((0.6, 0.6, 0.2), "all but the last symbols go first"),
        ((0.4, 0.4, 0.4), "no order"),
        ((0.3, 0.36, 0.43), None),
    ],
)
def test_words_of_planted_patterns(means, word):
    """Seeds scatter by 0.01 about a level of their own, which pairs them; in the last case by 0.15, so that nothing is told apart."""
    random = np.random.default_rng(3)
    scatter, level_R = 0.15 if word is None else 0.01, 0.1 * random.normal(size=8)
    shares = {third: mean + level_R + scatter * random.normal(size=8) for third, mean in zip(positions.THIRDS, means, strict=True)}
    assert positions.goes_first(positions.contrasts(shares)) == word


def test_equal_thirds_are_called_anything_else_rarely():
    random, words = np.random.default_rng(4), []
    for _ in range(400):
        shares = {third: 0.4 + 0.1 * random.normal(size=8) for third in positions.THIRDS}
        words.append(positions.goes_first(positions.contrasts(shares)))
    assert np.mean([word not in (None, "no order") for word in words]) < 0.05


def test_p_of_contrasts_are_corrected_for_all_three_and_one_seed_decides_nothing():
    shares = {"first": [0.5, 0.6, 0.55, 0.61], "middle": [0.1, 0.2, 0.16, 0.12], "last": [0.1, 0.24, 0.15, 0.2]}
    found = positions.contrasts(shares)
    p = {pair: stats.ttest_rel(shares[pair[0]], shares[pair[1]]).pvalue for pair in positions.PAIRS}
    ranked = sorted(p, key=p.__getitem__)
    corrected = np.minimum(1, np.maximum.accumulate([(3 - rank) * p[pair] for rank, pair in enumerate(ranked)]))
    assert [found[pair].p for pair in ranked] == pytest.approx(list(corrected))
    assert found["first", "middle"].difference.mean == pytest.approx(0.42)
    alone = positions.contrasts({"first": [0.5], "middle": [0.5], "last": [0.5]})
    assert positions.goes_first(alone) is None and all(each.p == 1 for each in alone.values())
