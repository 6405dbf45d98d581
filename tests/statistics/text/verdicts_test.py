"""The verdict on text: planted truths and how often it is right, conditions against plain loops over rows, and what it asks for."""

import math
import random
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.statistics import verdicts as on_strings
from attention_jax.statistics.text import ladder, observations, truths, verdicts
from attention_jax.statistics.text.truths import GRID, LADDER, Scatter, Truth, experiment, falling
from attention_jax.statistics.text.truths import rising as attention
from attention_jax.statistics.text.truths import unseen as blind
from attention_jax.system.errors import DataError

CAPTIONS = 400
COMPARISON = truths.comparison(8)


def bottleneck(words):
    """A gap that grows from 0."""
    return attention(words) * (1 + 0.2 * np.maximum(words / 25 - 0.6, 0))


def of(*fixed, against=attention) -> Truth:
    """The fixed arm's loss at every rung, or one for all of them."""
    return Truth("", "", "", against, fixed * (3 // len(fixed)), blind)


EQUAL, GROWING = of(attention), of(bottleneck)
TIMES, PLUS = of(lambda words: 1.4 * attention(words)), of(lambda words: falling(words) + 0.3, against=falling)
SLOWER = of(bottleneck, bottleneck, attention)
CALM = Scatter(arms=0.05, seeds=0.01, slopes=0.01)


def found(truth: Truth, number: int = 0, scatter: Scatter = CALM, seeds: int = 8, block: int = 8) -> on_strings.Verdict:
    """The verdict on one data set."""
    rows, kept = experiment(truth, seeds, CAPTIONS, np.random.default_rng(number), scatter)
    return verdicts.verdict(rows, kept, replace(COMPARISON, seeds=seeds), block)


@pytest.mark.long
@pytest.mark.once
@pytest.mark.parametrize(("truth", "draws"), [(EQUAL, 40), (TIMES, 100), (PLUS, 100)], ids=["equal", "times 1.4", "plus 0.3"])
def test_no_handicap_is_called_a_bottleneck(truth, draws):
    values = Counter(found(truth, number, truths.PLAIN).value for number in range(draws))
    assert values["bottleneck"] <= 0.05 * draws, values


@pytest.mark.long
@pytest.mark.once
def test_a_growing_gap_is_called_one():
    values = Counter(found(GROWING, number, truths.PLAIN).value for number in range(40))
    assert values["bottleneck"] >= 0.8 * 40, values


def test_values_of_planted_truths():
    assert (calm := found(GROWING)).value == "bottleneck" and calm.k == 4 and calm.unit == 100 and calm.detail == "levelling off"
    assert (calm.short, calm.long) == ((10, 20), (30, 40)) and not calm.needs and not calm.failed
    assert [condition.name for condition in calm.rungs[-1].conditions] == ["gap", "widening", "ratio", "rates", "placebo"]
    assert calm.p == max(condition.p for condition in calm.rungs[-1].conditions[:3]) < 0.025
    assert found(EQUAL).value == "no bottleneck"
    assert (slower := found(SLOWER)).value == "slower to train" and slower.k == 4 and str(slower) == "slower to train: caught up at 4 ×"
    assert (times := found(TIMES)).failed == ("ratio",) and times.rungs[-1].conditions[1].met
    assert "widening" in (plus := found(PLUS)).failed and plus.rungs[-1].gap.met
    closing = found(of(*(lambda w, more=more: bottleneck(w) + more for more in (0.3, 0.2, 0.1))))
    assert str(closing) == "bottleneck up to 4 ×, still closing" and closing.progress.mean == pytest.approx(0.1, abs=0.03)


def test_sees_the_rows_by_their_fields():
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(1), CALM)
    first = verdicts.verdict(rows, kept, COMPARISON, 8)
    random.Random(0).shuffle(rows)
    foreign = [
        {"attention": "none", "budget": 100},
        {"attention": "fixed", "budget": 77},
        {"attention": "fixed", "budget": 100, "blind": True},
    ]
    unnamed = [
        {name: value for name, value in row.items() if (name, value) not in (("role", "reported"), ("blind", False))} for row in rows
    ]
    free = [row | {"mode": "free", "loss": None} for row in rows if "length" in row]
    unseen = [row | {"length": 50, "seen": False} for row in rows if row.get("length") == 40]
    unseen += [row | {"open": True, "loss": 9.0} for row in rows if row.get("length") == 40]
    further = [row | {"role": "further", "test": test, "loss": 9.0} for test in "bc" for row in rows if row.get("role") == "reported"]
    assert verdicts.verdict(foreign + unnamed + free + unseen + further, kept | {"other": None}, COMPARISON, 8) == first


def slow_long(rows, **fields) -> dict[int, float]:
    """{seed: nats per token on the long half} by a filter of rows."""
    sums = {}
    for row in rows:
        if row.get("length") in (30, 40) and all(row[name] == value for name, value in fields.items()):
            tokens = row["symbols"] + row["examples"]
            nll, all_tokens = sums.get(row["seed"], (0.0, 0))
            sums[row["seed"]] = (nll + row["loss"] * tokens, all_tokens + tokens)
    return {seed: nll / tokens for seed, (nll, tokens) in sorted(sums.items())}


def test_conditions_are_those_of_plain_loops():
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(2))
    verdict = verdicts.verdict(rows, kept, COMPARISON, 8)
    seen = observations.read(rows, kept, COMPARISON, 8)
    best = ladder.climb(seen, COMPARISON).best
    curves = {
        (arm, budget): {
            rate: slow_long(rows, attention=arm, blind=False, budget=budget, role="selection", learning_rate=rate) for rate in GRID
        }
        for arm, budget in (("attention", best), ("fixed", 100), ("fixed", 200), ("fixed", 400))
    }
    means = {place: {rate: np.mean(list(of_seed.values())) for rate, of_seed in curve.items()} for place, curve in curves.items()}
    choices = ladder.climb(seen, COMPARISON).choices
    own = choices["attention", best].rate
    beside = [GRID[i] for i in (GRID.index(own) - 1, GRID.index(own) + 1)]
    ours = slow_long(rows, attention="attention", blind=False, budget=best, role="reported")
    control = slow_long(rows, attention="attention", blind=True, budget=best, role="reported")
    assert verdict.learned.interval.mean == pytest.approx(np.mean([control[s] - ours[s] for s in ours]), rel=1e-5)
    for rung in verdict.rungs:
        theirs = slow_long(rows, attention="fixed", budget=rung.budget, role="reported")
        gap, _, _, c, d = rung.conditions
        assert gap.interval.mean == pytest.approx(np.mean([theirs[s] - ours[s] for s in ours]), rel=1e-5) and gap.interval.n == 8
        fixed = means["fixed", rung.budget]
        assert c.interval.mean == pytest.approx(min(fixed.values()) - means["attention", best][own], rel=1e-5)
        assert fixed[c.rate] == min(fixed.values())
        chosen = fixed[choices["fixed", rung.budget].rate]
        assert d.interval.mean == pytest.approx(min(chosen - means["attention", best][rate] for rate in beside), rel=1e-5)


def test_an_arm_that_is_as_blind_has_learned_nothing():
    for number in range(10):
        never = found(of(blind, against=blind), number)
        assert never.value == "inconclusive" and never.failed in (("learned",), ("missing",))
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(3), CALM)
    swapped = [row | {"loss": 9.0} if row.get("length") and row["blind"] else row for row in rows if row.get("role") == "selection"]
    reported = [row for row in rows if row["role"] == "reported"]
    for budget in LADDER[:2]:  # the reported control is as good as attention
        kept[f"blind-{budget}"] = kept[f"attention-{budget}"]
        for row in reported:
            if row["blind"] and row["budget"] == budget:
                (like,) = [r for r in reported if r is not row and not r["blind"] and r["attention"] == "attention" and same_place(r, row)]
                row["loss"] = like["loss"]
    late = verdicts.verdict(swapped + reported, kept, COMPARISON, 8)
    assert late.failed == ("learned",) and not late.learned.met and late.learned.interval.mean == 0
    assert {(need.arm, need.role) for need in late.needs} == {("attention", "selection"), ("blind", "selection")}


OWN = replace(COMPARISON, attending=LADDER[:2])


def test_rungs_beyond_attention_s_own_are_the_fixed_arm_s_alone():
    """Attention learns at its last rung: the fixed arm has one more, and nobody asks for attention there."""
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(8), CALM)
    late = [
        row | {"loss": 9.0} if row["role"] == "selection" and row["attention"] == "attention" and row["budget"] == 100 else row
        for row in rows
    ]
    late = [row | {"loss": 9.0} if row.get("blind") and "length" in row and row["role"] == "selection" else row for row in late]
    assert verdicts.verdict(late, kept, COMPARISON, 8).failed == ("missing",)
    found = verdicts.verdict(late, kept, OWN, 8)
    assert (found.value, found.unit, found.k) == ("bottleneck", 200, 2)


def test_attention_that_learns_at_none_of_its_own_rungs_needs_twice_the_last():
    never, kept = experiment(of(blind, against=blind), 8, CAPTIONS, np.random.default_rng(0), CALM)
    found = verdicts.verdict(never, kept, OWN, 8)
    assert found.failed == ("learned",) and "not learned at any rung" in found.reason
    assert {(need.arm, need.budget, need.role) for need in found.needs} == {("attention", 400, "selection"), ("blind", 400, "selection")}


def test_the_best_of_all_of_attention_s_own_rungs_counts():
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(9), CALM)
    third = [
        row | {"budget": 400, "run": row["run"].replace("200", "400")}
        for row in rows
        if (row["budget"], row["attention"]) == (200, "attention")
    ]
    third = [row | {"validation_loss": row["validation_loss"] / 2} if "validation_loss" in row else row for row in third]
    seen = observations.read(rows + third, kept | {f"{arm}-400": kept[f"{arm}-200"] for arm in ("attention", "blind")}, COMPARISON, 8)
    assert ladder.climb(seen, COMPARISON).best < 400
    assert ladder.climb(seen, replace(COMPARISON, attending=LADDER)).best == 400


def same_place(a: dict, b: dict) -> bool:
    """Whether rows are of the same budget, seed and length."""
    return all(a[name] == b[name] for name in ("budget", "seed", "length"))


def test_what_is_missing_is_named():
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(4), CALM)

    def without(**fields):
        return [row for row in rows if not all(row.get(name) == value for name, value in fields.items())]

    lost = {name: each for name, each in kept.items() if name != "fixed-200"}
    for verdict, arm, budget, role, why in (
        (verdicts.verdict(without(blind=True), kept, COMPARISON, 8), "blind", 100, "selection", "the rate curve lacks these rates"),
        (verdicts.verdict(rows, lost, COMPARISON, 8), "fixed", 200, "reported", "8 seeds, or the sentences of their runs, are missing"),
        (verdicts.verdict(without(seed=3, budget=400), kept, COMPARISON, 8), "fixed", 400, "reported", "1 seeds, or the sentences"),
        (
            verdicts.verdict(without(budget=400, learning_rate=GRID[1], seed=1000, length=30), kept, COMPARISON, 8),
            "fixed",
            400,
            "selection",
            "lacks these rates, seeds there or their losses by length",
        ),
        (
            verdicts.verdict(without(learning_rate=GRID[4]), kept, replace(COMPARISON, rates=(*GRID[:4], 0.016)), 8),
            "attention",
            100,
            "selection",
            "lacks",
        ),
    ):
        assert verdict.value == "inconclusive" and verdict.failed == ("missing",)
        assert any((need.arm, need.budget, need.role) == (arm, budget, role) and why in need.why for need in verdict.needs), verdict.needs
    few = verdicts.verdict(rows, kept, replace(COMPARISON, seeds=12), 8)
    assert {need.seeds for need in few.needs} == {4} and len(few.needs) == 5


def test_a_rate_at_the_edge_and_rates_that_diverge():
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(5), CALM)

    def with_losses(change):
        return [row | {"validation_loss": change(row)} if "validation_loss" in row else row for row in rows]

    edge = verdicts.verdict(with_losses(lambda row: 9.0 - row["learning_rate"]), kept, COMPARISON, 8)
    assert edge.needs[0].rates == (0.032,) and "lies at an edge of the grid" in edge.needs[0].why
    none = verdicts.verdict(with_losses(lambda row: None), kept, COMPARISON, 8)
    assert none.needs[0].rates == (0.0005,) and none.needs[0].why == "every rate of the grid diverged"
    one = verdicts.verdict(
        with_losses(lambda row: row["validation_loss"] if row["learning_rate"] != GRID[3] else math.inf), kept, COMPARISON, 8
    )
    assert one.value == "bottleneck" and one.rungs[-1].conditions[4].rate == GRID[1]


def test_few_sentences_are_inconclusive_and_not_an_error():
    small = found(GROWING, block=64)
    assert small.failed == ("sentences",)
    assert small.reason == "a half of the trained buckets has sentences in 7 blocks of 64 captions, and 20 are needed"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows, kept: rows.append(rows[0]), "two (validation losses|forced rows) for .*: several runs are mixed"),
        (lambda rows, kept: rows.append(rows[-1]), "two (validation losses|forced rows) for .*: several runs are mixed"),
        (
            lambda rows, kept: rows.append({"attention": "fixed", "budget": 100}),
            "a row of 'fixed' or 'attention' has no field 'learning_rate'",
        ),
        (
            lambda rows, kept: kept.update({"fixed-200": kept["fixed-100"]}),
            "the sentences of run 'fixed-200' do not have the losses of its rows",
        ),
        (lambda rows, kept: rows.append(rows[0] | {"seed": 3}), r"seeds \[3\] chose a rate and are reported"),
    ],
    ids=["a loss twice", "a bucket twice", "no rate", "another run's", "a seed twice"],
)
def test_what_contradicts_itself_is_refused(change, why):
    rows, kept = experiment(GROWING, 8, CAPTIONS, np.random.default_rng(6), CALM)
    change(rows, kept)
    with pytest.raises(DataError, match=why):
        verdicts.verdict(rows, kept, COMPARISON, 8)


def test_asks_for_what_would_decide():
    rows, kept = experiment(of(lambda words: attention(words) + 0.06 * (words / 29)), 8, CAPTIONS, np.random.default_rng(7))
    near = verdicts.verdict(rows, kept, COMPARISON, 8)
    assert near.value == "inconclusive" and near.needs
    for need in near.needs:
        assert need.why and need.updates > 0 and need.arm in ("fixed", "attention", "blind")
    grown = [need for need in near.needs if need.role == "reported" and "more seeds" in need.why]
    assert all(need.seeds <= verdicts.MOST_SEEDS for need in grown)


def test_more_seeds_are_not_said_to_decide_what_is_far_from_close():
    near, far = (
        of(growing, against=attention)._replace(off=off) for growing, off in ((truths.growing(0.1), 0.13), (truths.growing(0.1), 0.5))
    )
    for truth, budgets in ((near, {"attention": 100, "fixed": 400}), (far, {"attention": 800, "blind": 800, "fixed": 800})):
        verdict = found(truth)
        assert verdict.failed == ("placebo",) and {need.arm: need.budget for need in verdict.needs} == budgets


def test_families_of_both_kinds_are_corrected_together():
    corrected = on_strings.together({"a": found(GROWING), "b": found(EQUAL)})
    assert corrected["a"].value == "bottleneck" and corrected["b"].value == "no bottleneck"
    assert on_strings.agree({"a": found(GROWING)}).value == "bottleneck"


def test_says_what_it_measured():
    """The words that a reader has to go by."""
    reason = found(GROWING).reason
    assert re.match(
        r"gap: fixed − attention in nats on sources of 21 to 40 words 0\.\d+ \[0\.\d+, 0\.\d+\], above 0\.05; widening: ", reason
    )
