"""Steps of a declared order under planted losses, and sums of a whole test set against loops over its lines."""

import numpy as np
import pytest

from attention_jax.statistics import intervals, rates
from attention_jax.statistics.text import blocks, order, truths
from attention_jax.system.errors import DataError

GRID = (0.004, 0.008, 0.016, 0.032, 0.064)
CONTROL = {0.016: dict.fromkeys(range(4), 9.0)}


def arms(losses, off=0.1, number=0, seeds=8):
    """Arms that lose so many nats a token; their validation loss is that, and `off` more for each doubling from the middle rate."""
    random = np.random.default_rng(number)
    corpus = truths.corpus(1000, random)
    kept = truths.sentences(
        corpus, [lambda w, x=x: x + 0 * w for x in losses], tuple(range(seeds)), random, truths.Scatter(arms=0.1, seeds=0.01)
    )
    found = []
    for i, (loss, sentences) in enumerate(zip(losses, kept, strict=True)):
        curve = {rate: {s: loss + off * abs(np.log2(rate / 0.016)) + 0.001 * s for s in range(4)} for rate in GRID}
        found.append(order.Arm(f"arm{i}", blocks.whole(sentences), curve, rates.choose(curve, GRID)))
    return found, kept


def test_sums_of_a_whole_test_set_are_those_of_loops():
    (arm,), (sentences,) = arms([2.0])
    for k in range(arm.sums.tokens_Kx2.shape[0]):
        lines = [i for i, first in enumerate(sentences.first_N) if first // blocks.BLOCK == k]
        for half in (blocks.SHORT, blocks.LONG):
            assert arm.sums.tokens_Kx2[k, half] == sum(int(sentences.tokens_N[i]) for i in lines)
            assert arm.sums.nll_RxKx2[2, k, half] == pytest.approx(sum(float(sentences.nll_RxN[2, i]) for i in lines))
    loss = float(sentences.nll_RxN[3].sum(dtype=np.float64) / sentences.tokens_N.sum())
    assert order.losses(arm.sums)[3] == pytest.approx(loss)


@pytest.mark.parametrize(
    ("losses", "values"),
    [
        ([2.6, 2.4, 2.0], ["holds", "holds"]),
        ([2.4, 2.4, 2.0], ["alike", "holds"]),
        ([2.4, 2.6, 2.0], ["alike", "holds"]),  # the other way round
        ([2.4, 2.0, 2.0], ["holds", "alike"]),
    ],
)
def test_planted_orders(losses, values):
    (first, second, third), _ = arms(losses)
    found = order.steps([(first, second), (second, third)], CONTROL)
    assert [step.value for step in found] == values
    raw = {step.name: step.gap.p(0.0) for step in found}
    assert {step.name: step.p for step in found} == intervals.holm(raw)
    assert found[0].name == "arm0 < arm1"


def test_a_better_arm_that_loses_more_one_rate_off_leaves_a_step_open():
    (worse, better), _ = arms([2.4, 2.2], off=0.5)
    (step,) = order.steps([(worse, better)], CONTROL)
    assert step.value == "open" and step.failed == ("placebo",) and step.conditions[2].rate in (0.008, 0.032)


def test_a_worse_arm_at_a_wrong_rate_leaves_a_step_open():
    (worse, better), _ = arms([2.6, 2.2])
    curve = worse.curve | {0.004: dict.fromkeys(range(4), 2.1)}
    (step,) = order.steps([(worse._replace(curve=curve), better)], CONTROL)
    assert step.value == "open" and step.failed == ("rates",) and step.conditions[1].rate == 0.004


def test_diverged_rates_count_for_nothing():
    (worse, better), _ = arms([2.6, 2.2])
    curve = better.curve | {0.032: dict.fromkeys(range(4), np.inf)}
    choice = rates.choose(curve, GRID)
    (step,) = order.steps([(worse, better._replace(curve=curve, choice=choice))], CONTROL)
    assert step.value == "holds" and step.conditions[2].rate == 0.008


@pytest.mark.parametrize(("control", "value"), [(3.0, "holds"), (3.2, "open")])
def test_a_neighbour_at_which_nothing_is_learned_counts_for_nothing(control, value):
    """The better arm loses 3.1 one rate up: as much as the control at its best, or less."""
    (worse, better), _ = arms([2.6, 2.2])
    curve = better.curve | {0.032: dict.fromkeys(range(4), 3.1)}
    choice = rates.choose(curve, GRID)
    of_control = {0.016: dict.fromkeys(range(4), control), 0.032: dict.fromkeys(range(4), 4.0)}
    (step,) = order.steps([(worse, better._replace(curve=curve, choice=choice))], of_control)
    assert step.value == value


def test_learned_is_better_than_the_control():
    (blind, arm, poor), _ = arms([3.0, 2.2, 2.98])
    assert order.learned(blind.sums, arm).met and not order.learned(blind.sums, poor).met


def test_arms_need_the_same_seeds():
    (worse, better), _ = arms([2.6, 2.2])
    fewer = better._replace(sums=better.sums._replace(seeds=tuple(range(1, 9))))
    with pytest.raises(DataError, match="same seeds"):
        order.steps([(worse, fewer)], CONTROL)
