"""The bootstrap against plain loops over drawn seeds, blocks and lines, and its intervals under planted truths."""

import random as plain

import numpy as np
import pytest
from scipy import stats

from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import blocks, truths
from attention_jax.statistics.text.blocks import Estimate, Sums
from attention_jax.statistics.text.truths import LENGTHS, Scatter
from attention_jax.statistics.text.truths import rising as attention
from attention_jax.system.errors import DataError


def fixed(words):
    """The same of an arm whose gap grows."""
    return attention(words) + 0.15 + 0.1 * (words / 25 - 1)


def drawn(captions: int, seeds: int, number: int, scatter: Scatter = truths.PLAIN) -> list[Sentences]:
    """Of a fixed and of an attention arm."""
    random = np.random.default_rng(number)
    return truths.sentences(truths.corpus(captions, random, scatter), [fixed, attention], tuple(range(seeds)), random, scatter)


STATISTICS = {"gap": blocks.gap, "widening": blocks.widening, "ratio": blocks.ratio}


def slow_losses(arm: Sentences, rows, chosen_blocks, block: int) -> list[float]:
    """Nats per token of both halves by loops over lines; `rows` and `chosen_blocks` may repeat."""
    lines = {number: [] for number in range(int(arm.first_N.max()) // block + 1)}
    for i, first in enumerate(arm.first_N):
        lines[first // block].append(i)
    nll, tokens = [0.0, 0.0], [0, 0]
    for number in chosen_blocks:
        for i in lines[number]:
            words = arm.length_N[i]
            half = 0 if words <= LENGTHS[1] else 1 if words <= LENGTHS[3] else None
            for r in rows if half is not None else ():
                nll[half] += float(arm.nll_RxN[r, i])
                tokens[half] += int(arm.tokens_N[i])
    return [n / t for n, t in zip(nll, tokens, strict=True)]


def slow_statistics(arms: list[Sentences], rows, chosen_blocks, block: int) -> dict[str, float]:
    """Gap, widening and ratio."""
    (fixed_short, fixed_long), (short, long) = (slow_losses(arm, rows, chosen_blocks, block) for arm in arms)
    widened = (fixed_long - long) - (fixed_short - short)
    return {"gap": fixed_long - long, "widening": widened, "ratio": np.log(fixed_long / long) - np.log(fixed_short / short)}


def test_a_draw_is_that_of_loops_over_its_seeds_blocks_and_lines():
    arms, block = drawn(90, 3, 0), 4
    sums = [blocks.by_block(arm, LENGTHS, block) for arm in arms]
    times_ExR, times_ExK = blocks.draws(3, 23)
    assert (times_ExR.sum(1) == 3).all() and (times_ExK.sum(1) == 23).all()
    for e in range(20):
        rows, chosen = (np.repeat(np.arange(len(times)), times.astype(int)) for times in (times_ExR[e], times_ExK[e]))
        slow = slow_statistics(arms, rows, chosen, block)
        losses = [blocks.losses(of_arm, times_ExR[e : e + 1], times_ExK[e : e + 1])[0] for of_arm in sums]
        for name, statistic in STATISTICS.items():
            assert statistic(*losses) == pytest.approx(slow[name], rel=1e-9, abs=1e-12)


def test_an_estimate_is_that_of_a_bootstrap_of_its_own_draws_in_loops():
    arms, block, R, K = drawn(84, 3, 1), 4, 3, 21
    own, loops = plain.Random(5), {"seeds": [], "blocks": [], "both": []}
    whole = range(R), range(K)
    for _ in range(600):
        rows, chosen = own.choices(whole[0], k=R), own.choices(whole[1], k=K)
        for part, pick in (("seeds", (rows, whole[1])), ("blocks", (whole[0], chosen)), ("both", (rows, chosen))):
            loops[part].append(slow_statistics(arms, *pick, block))
    sums = [blocks.by_block(arm, LENGTHS, block) for arm in arms]
    for name, statistic in STATISTICS.items():
        found = blocks.estimate(statistic, *sums)
        variance = {part: np.var([each[name] for each in of_part]) for part, of_part in loops.items()}
        assert (found.R, found.K) == (R, K) and found.value == pytest.approx(slow_statistics(arms, *whole, block)[name], rel=1e-6)
        assert found.of_seeds == pytest.approx(variance["seeds"] * R / (R - 1), rel=0.2)
        assert found.of_blocks == pytest.approx(variance["blocks"] * K / (K - 1), rel=0.2)
        total = found.of_seeds * (R - 1) / R + found.of_blocks * (K - 1) / K + found.of_both
        assert total == pytest.approx(max(variance["both"], variance["seeds"] + variance["blocks"]), rel=0.2)


def test_arms_share_what_is_drawn():
    """A handicap that is the same everywhere has no scatter at all, whatever seeds and captions do."""
    scattered = Scatter(captions=1.0, seeds=0.3, slopes=0.2)
    _, ours = drawn(600, 4, 2, scattered)
    behind = ours._replace(nll_RxN=ours.nll_RxN + 0.25 * ours.tokens_N[None])
    sums, more, times = (blocks.by_block(arm, LENGTHS) for arm in (ours, behind, ours._replace(nll_RxN=1.4 * ours.nll_RxN)))
    gap, widening = (blocks.estimate(statistic, more, sums) for statistic in (blocks.gap, blocks.widening))
    assert (gap.value, gap.error) == pytest.approx((0.25, 0), abs=1e-6)
    assert (widening.value, widening.error) == pytest.approx((0, 0), abs=1e-6)
    ratio = blocks.estimate(blocks.ratio, times, sums)
    assert (ratio.value, ratio.error) == pytest.approx((0, 0), abs=1e-6)
    assert blocks.estimate(blocks.gap, times, sums).error > 0.01


@pytest.mark.parametrize(
    ("seeds", "scatter"),
    [(8, truths.PLAIN), (4, truths.PLAIN), (8, Scatter(seeds=0.1, slopes=0.05)), (8, Scatter(captions=1.2, arms=0.6, seeds=0.005))],
    ids=["8 seeds", "4 seeds", "seeds that scatter", "captions that scatter"],
)
def test_intervals_cover_what_was_planted(seeds, scatter):
    truth = [truths.true(mu) for mu in (fixed, attention)]
    covered = dict.fromkeys(STATISTICS, 0)
    for number in range(100):
        sums = [blocks.by_block(arm, LENGTHS) for arm in drawn(500, seeds, number, scatter)]
        for name, statistic in STATISTICS.items():
            interval = blocks.estimate(statistic, *sums).interval()
            covered[name] += interval.low <= statistic(*truth) <= interval.high
    assert min(covered.values()) >= 90, covered


def test_intervals_and_p_are_students_and_agree():
    found = Estimate(0.3, 0.004, 0.0, 0.0, 8, 60)
    assert found.freedom == pytest.approx(7)
    np.testing.assert_allclose(found.interval(0.9)[1:3], stats.t.interval(0.9, 7, 0.3, 0.004**0.5))
    assert found.p(0.1) == pytest.approx(stats.t.sf(0.2 / 0.004**0.5, 7))
    balanced = Estimate(0.3, 0.002, 0.002, 0.0, 8, 60)
    assert balanced.freedom == pytest.approx(0.004**2 / (0.002**2 / 7 + 0.002**2 / 59))
    for threshold in (0.1, 0.16, 0.17, 0.3, 0.4):
        assert (balanced.p(threshold) < 0.025) == (balanced.interval().low > threshold)
    more = balanced.with_seeds(32)
    assert more.error == pytest.approx((0.002 / 4 + 0.002) ** 0.5) and more.interval().n == 32
    certain = Estimate(0.3, 0.0, 0.0, 0.0, 8, 60)
    assert certain.interval()[:3] == (0.3, 0.3, 0.3) and [certain.p(x) for x in (0.2, 0.3, 0.4)] == [0, 0.5, 1]


def test_a_joined_line_is_in_the_block_of_its_first_caption():
    first_N, joined_N = np.array([0, 1, 2, 3, 0, 2, 0]), np.array([1, 1, 1, 1, 2, 2, 3])
    length_N, tokens_N, nll_1xN = np.array([5, 15, 25, 35, 20, 60, 40]), np.arange(1, 8), np.arange(7.0)[None]
    sums = blocks.by_block(Sentences((0,), nll_1xN, tokens_N, length_N, first_N, joined_N), LENGTHS, 2)
    assert sums.tokens_Kx2.tolist() == [[1 + 2 + 5, 7], [0, 3 + 4]]  # 60 words are beyond what is trained
    assert sums.nll_RxKx2.tolist() == [[[0 + 1 + 4, 6], [0, 2 + 3]]]
    middle = blocks.by_block(Sentences((0,), nll_1xN, tokens_N, length_N, first_N, joined_N), (10, 20, 40), 2)
    assert middle.tokens_Kx2.tolist() == [[1, 7], [0, 3 + 4]]  # of three buckets the middle one is in no half
    assert blocks.fewest(sums) == 1


def test_seeds_of_several_runs_are_put_together_in_order():
    _, ours = drawn(400, 4, 3)
    sums = blocks.by_block(ours, LENGTHS)
    parts = [Sums(tuple(rows), sums.nll_RxKx2[rows], sums.tokens_Kx2) for rows in ([1, 3], [0, 2])]
    found = blocks.together(parts)
    assert found.seeds == (0, 1, 2, 3) and np.array_equal(found.nll_RxKx2, sums.nll_RxKx2)


def test_what_cannot_be_compared_is_refused():
    theirs, ours = (blocks.by_block(arm, LENGTHS) for arm in drawn(400, 4, 4))
    for other, why in (
        (ours._replace(seeds=(0, 1, 2, 9)), "needs the same seeds"),
        (ours._replace(tokens_Kx2=ours.tokens_Kx2 + 1), "losses of different test sentences cannot be compared"),
    ):
        with pytest.raises(DataError, match=why):
            blocks.estimate(blocks.gap, theirs, other)
    few = [blocks.by_block(arm, LENGTHS, 64) for arm in drawn(400, 4, 4)]
    with pytest.raises(DataError, match="a half of the trained buckets has sentences in 7 blocks; 20 are needed"):
        blocks.estimate(blocks.gap, *few)
    alone = blocks.estimate(blocks.gap, *(Sums((0,), arm.nll_RxKx2[:1], arm.tokens_Kx2) for arm in (theirs, ours)))
    assert np.isnan(alone.interval()[1:3]).all() and alone.interval().n == 1 and np.isnan(alone.p(0.0))
