"""The verdict on rows whose least budgets are planted, bounds, missing curves, and what the presets are."""

import math

import numpy as np
import pytest
from scipy import special, stats

from attention_jax.report import report
from attention_jax.sweeps import sweep
from attention_jax.system.errors import DataError
from experiments import trainability
from tests.experiments import planted

LENGTHS, N, SEEDS = (4, 6, 8, 12, 16), 512, 4


def rows(least: dict, rungs: int = 4, best: float = 0.016, scatter: float = 0.05, only: dict | None = None, d: int = 16) -> list[dict]:
    """What a sweep leaves: {arm: a function from L to U*}; ladders surround U*, or are those of `only`: {(arm, L): budgets}."""
    random, found = np.random.default_rng(1), []
    for arm, of_length in least.items():
        for length in LENGTHS:
            true = of_length(length) * math.exp(scatter * random.standard_normal())
            first = 50 * 2 ** math.floor(math.log2(of_length(length) / 50) - 1)
            for budget in (only or {}).get((arm, length), [first * 2**rung for rung in range(rungs)]):
                run = {"run": f"{arm}-l{length}-u{budget}", "attention": arm, "longest": length, "budget": budget, "task": "copy"}
                run |= {"cell": "gru", "hidden_size": 16, "vector_size": d, "state_size": d, "parameters": 9}
                p = special.expit(special.logit(0.95) + 2.7 * math.log(budget / true))
                for seed in range(SEEDS):
                    place = run | {"role": "reported", "seed": seed, "learning_rate": 0.016, "length": length, "seen": True}
                    place |= {"examples": N, "symbols": N * length, "symbol_errors": 0, "seconds": 0.01 + 0.001 * length * budget}
                    found.append(place | {"mode": "free", "exact": int(random.binomial(N, p))})
                    found.append(place | {"mode": "forced", "exact": N})
                found += planted.curve(run, best)
    return found


def power(c, b):
    return lambda length: c * length**b


@pytest.mark.parametrize(
    ("vector", "attention", "word"),
    [
        (power(10, 3), power(60, 1), "the vector's budget grows faster"),
        (power(60, 1), power(10, 3), "attention's budget grows faster"),
        (power(60, 1.5), power(30, 1.5), "they grow alike"),
        (lambda length: 100 * 2 ** (length / 2), power(100, 0.5), "the vector's budget grows faster"),
    ],
)
def test_planted_laws(vector, attention, word):
    score = trainability.score(rows({"summary": vector, "additive": attention}))
    assert score.verdict.value == word and score.verdict.reason and "L^" in score.verdict.detail


def test_an_exponential_is_told_by_its_scatter():
    table = trainability.laws_table(trainability.read(rows({"summary": lambda x: 100 * 2 ** (x / 2), "additive": power(60, 1)})))
    of = {line[0].split()[0]: line for line in table.rows}
    assert float(of["summary"][3]) > 2 * float(of["summary"][6]) and of["summary"][5].startswith("0.5")
    assert float(of["additive"][3]) < float(of["additive"][6])


def test_a_warmup_is_a_floor_that_laws_are_read_without():
    """Budgets of 50 updates of warm-up and 10 · L behind it grow as L, though U* seems to grow more slowly."""
    data = [row | {"warmup": 50} for row in rows({"summary": power(10, 3), "additive": lambda x: 50 + 10 * x}, rungs=9)]
    found = trainability.read(data)
    (line,) = [line for line in trainability.laws_table(found).rows if line[0].startswith("additive")]
    assert float(line[2].split()[0]) < 0.7 and float(line[4].split()[0]) == pytest.approx(1, abs=0.12)
    behind, least = found[1].behind_warmup, found[1].least
    assert all(behind[length].length == pytest.approx(least[length].length - 50) for length in LENGTHS)
    attending, fixed = (float(each[4].split()[0]) for each in trainability.laws_table(found).rows[::-1])
    assert float(trainability.differences_table(found).rows[0][2].split()[0]) == pytest.approx(fixed - attending, abs=0.02)
    lower = trainability.read([row | {"warmup": 10_000_000} for row in data])[0].behind_warmup
    assert {each.bound for each in lower.values()} == {"below"}  # a floor that is above U* leaves nothing


def test_laws_that_scatter_are_inconclusive():
    data = rows({"summary": power(60, 1.4), "additive": power(60, 1.0)}, scatter=0.8, rungs=7)
    verdict = trainability.score(data).verdict
    assert verdict.value == "inconclusive" and verdict.failed == ("law",) and "more lengths" in verdict.needs[0].why


def test_exponents_and_their_difference_are_those_of_linregress():
    found = trainability.read(rows({"summary": power(10, 3), "additive": power(60, 1)}, scatter=0.2, rungs=5))
    assert all(least.is_exact for each in found for least in each.least.values())
    fits = [stats.linregress(np.log(LENGTHS), np.log([each.least[length].length for length in LENGTHS])) for each in found]
    lines = {line[0].split()[0]: line for line in trainability.laws_table(found).rows}
    for arm, fit in zip(("summary", "additive"), fits, strict=True):
        half = stats.t.ppf(0.975, 3) * fit.stderr
        assert lines[arm][2] == f"{fit.slope:.2f} [{fit.slope - half:.2f}, {fit.slope + half:.2f}]"
    line = trainability.differences_table(found).rows[0]
    assert line[1].startswith(f"{fits[0].slope - fits[1].slope:.2f} [")


def test_seconds_are_least_budgets_times_the_cheapest_update():
    found = trainability.read(rows({"summary": power(10, 3), "additive": power(60, 1)}))
    for each in found:
        for length, least in each.least.items():
            assert each.seconds[length] == pytest.approx(0.001 * length + 0.01 / each.ladder[length][-1])
            assert (
                each.times[length].length == pytest.approx(least.length * each.seconds[length]) and each.times[length].bound == least.bound
            )
    exponents = [float(line[7].split()[0]) - float(line[2].split()[0]) for line in trainability.laws_table(found).rows]
    assert exponents == pytest.approx([1, 1], abs=0.15)  # an update takes time in proportion to L


def test_the_finding_is_the_difference_of_exponents():
    data = rows({"summary": power(10, 3), "additive": power(60, 1)})
    (found,) = trainability.findings(data)
    assert found.interval.low <= 2 <= found.interval.high and found.word(found.p) == "holds"
    assert found.p == trainability.score(data).verdict.p
    assert trainability.findings([row for row in data if row["attention"] == "summary"]) == []


def test_a_bound_is_no_point_and_asks_for_a_longer_ladder():
    ladders = {("summary", length): [50, 100] for length in (12, 16)}
    data = rows({"summary": power(10, 3), "additive": power(60, 1)}, only=ladders)
    score = trainability.score(data)
    assert score.verdict.value == "inconclusive" and score.verdict.failed == ("missing",)
    assert "3 of 5 lengths have an exact U*" in score.verdict.reason and "L = 12: > 100" in score.verdict.reason
    assert {(need.arm, need.budget) for need in score.verdict.needs} == {("summary", 200)}
    table = next(table for table in score.tables if table.title.startswith("Least budgets") and "summary" in table.title)
    line = next(line for line in table.rows if line[0] == "16")
    assert line[2] == "> 100" and line[3] == "> 100, > 100, > 100, > 100"
    one = {("summary", 16): [50, 100]}
    assert trainability.score(rows({"summary": power(10, 3), "additive": power(60, 1)}, only=one)).verdict.value.startswith("the vector")


def test_a_ladder_that_begins_too_late_asks_for_an_earlier_one():
    ladders = {("additive", length): [51200, 102400] for length in LENGTHS[:2]}
    verdict = trainability.score(rows({"summary": power(10, 3), "additive": power(60, 1)}, only=ladders)).verdict
    assert {(need.arm, need.budget) for need in verdict.needs} == {("additive", 25600)} and "before the ladder" in verdict.needs[0].why


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: [row for row in data if row["role"] != "selection"], "there is no rate curve"),
        (lambda data: [row for row in data if row["attention"] == "summary"], "do not have both"),
        (lambda data: rows({"summary": power(10, 3), "additive": power(60, 1)}, best=0.064), "lies at an edge"),
    ],
)
def test_what_is_missing_is_named(change, said):
    verdict = trainability.score(change(rows({"summary": power(10, 3), "additive": power(60, 1)}))).verdict
    assert verdict.value == "inconclusive" and said in verdict.reason and verdict.failed == ("missing",)


def test_budgets_of_different_seeds_are_refused():
    data = rows({"summary": power(10, 3), "additive": power(60, 1)})
    budget = max(row["budget"] for row in data if row["longest"] == 8)
    kept = [row for row in data if not (row["longest"] == 8 and row["budget"] == budget and row["seed"] == 3)]
    with pytest.raises(DataError, match="L = 8: every budget needs the same seeds"):
        trainability.score(kept)


def test_curves_are_needed_at_the_rungs_that_decide_alone():
    data = rows({"summary": power(10, 3), "additive": power(60, 1)})
    found = trainability.read(data)
    decide = {(each.arm, length, budget) for each in found for length in LENGTHS for budget in each.deciding(length)}
    assert all(len(each.deciding(length)) == 2 for each in found for length in LENGTHS)
    kept = [row for row in data if row["role"] == "reported" or (row["attention"], row["longest"], row["budget"]) in decide]
    assert len(kept) < len(data) and trainability.score(kept).verdict.value.startswith("the vector")


def test_every_d_stands_beside_and_the_first_decides():
    data = rows({"summary": power(10, 3), "additive": power(60, 1)}) + rows({"summary": power(60, 1.02)}, d=8)
    score = trainability.score(data)
    assert score.verdict.value.startswith("the vector")
    table = next(table for table in score.tables if table.title.startswith("Exponents"))
    assert [line[0] for line in table.rows] == ["summary gru h16 d16", "summary gru h16 d8"]
    for each in score.tables:
        assert report.text_table(each.header, each.rows)


@pytest.mark.parametrize("preset", trainability.PRESETS)
def test_presets(preset):
    runs = sweep.plan(trainability, preset)
    base, fixed, attention = trainability.TABLE[preset]
    assert len(runs) == sum(len(rungs) for of_d in (*fixed.values(), attention) for rungs in of_d.values())
    for each in runs:
        assert each.config.data.eval_lengths == (each.config.data.longest,) and each.fields["longest"] == each.config.data.longest
        assert len(each.config.training.learning_rates) == 5 and each.config.training.seeds >= 4
    assert trainability.ladder(100, 4) == (100, 200, 400, 800) and trainability.ladder(50, 4, 2**0.5) == (50, 70, 100, 140)
    first = next(iter(fixed))
    assert {each.config.model.vector_size for each in runs if each.config.model.attention == "additive"} == {first}
    assert len(fixed[first]) >= 5 and set(attention) == set(fixed[first])


@pytest.mark.long
def test_figures():
    drawn = trainability.figures(rows({"summary": power(10, 3), "additive": power(60, 1)}, only={("summary", 16): [50, 100]}))
    axes = drawn["least_budgets"].axes
    assert [each.get_xscale() + each.get_yscale() for each in axes] == ["loglog"] * 2
    labels = [label.get_text() for each in axes for label in each.get_yticklabels(which="both")]
    assert any(labels) and not any("$" in label for label in labels)
    half = {line.get_xdata()[0] for line in axes[0].lines if line.get_fillstyle() == "top"}
    assert half == {16} and {text.get_text() for text in axes[0].texts} == {"summary gru h16 d16", "additive gru h16 d16"}
    assert sum(name.startswith("rates_") for name in drawn) == 10
