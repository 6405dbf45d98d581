"""The claim's verdict, tables and figures on rows whose truth is planted, and what its presets hold equal."""

from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import validate
from attention_jax.statistics import lengths, positions
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import agreement, sweep
from attention_jax.sweeps.agreement import Side
from experiments import reversal
from experiments.reversal import FORWARD, REVERSED
from tests.experiments import planted

LENGTHS = (3, 4, 5, 6, 8, 10, 12, 14, 16)
BUDGETS = (400, 800, 1600, 3200)
GRID = reversal.TINY.training.learning_rates
EXAMPLES = 512
SHARED = {"task": "copy", "cell": "gru", "hidden_size": 16, "vector_size": 8, "state_size": 8, "parameters": 6_932, "seconds": 9.0}


def linear(at_400: float, slope: float = 1.5, stops: int = 3200):
    """L50 that grows by `slope` with every doubling of the budget, until it stops."""
    return lambda budget: at_400 + slope * np.log2(min(budget, stops) / 400)


def rows(truths: dict, layers: int = 1, seeds: int = 8, scatter: float = 0.2, best: float = GRID[2]) -> list[dict]:
    """What a sweep leaves where {(arm, direction): L50 by budget} is the truth; seeds scatter by so many symbols."""
    random, found = np.random.default_rng(7), []
    for (arm, direction), l50 in truths.items():
        for budget in BUDGETS if arm != "additive" else BUDGETS[:2]:
            run = f"{arm}-{direction}-gru-h16-d8-l{layers}-u{budget}"
            own = SHARED | {"run": run, "attention": arm, "direction": direction, "layers": layers, "budget": budget}
            found += planted.curve(own, best, GRID, random)
            for seed in range(seeds):
                middle = l50(budget) + scatter * random.standard_normal()
                found += [own | {"role": "reported", "seed": seed, "learning_rate": best} | row for row in of_seed(middle, random)]
    return found


def of_seed(l50: float, random: np.random.Generator) -> list[dict]:
    """Rows of one seed: exact match falls to ½ at l50."""
    found = []
    for length in LENGTHS:
        p = 1 / (1 + np.exp(-8 * (np.log(l50) - np.log(length))))
        exact, wrong = int(random.binomial(EXAMPLES, p)), int(random.binomial(EXAMPLES * length, (1 - p ** (1 / length)) / 2))
        place = {"length": length, "seen": True, "examples": EXAMPLES, "symbols": EXAMPLES * length}
        for mode, errors in (("free", 2 * wrong), ("forced", wrong)):
            found.append(place | {"mode": mode, "exact": exact, "exact_match": exact / EXAMPLES, "symbol_errors": errors})
    return found


ATTENTION = {("additive", direction): linear(60.0, 0.0) for direction in (FORWARD, REVERSED)}
"""Every trained length is right, in both directions."""


def pair(forward, backward, arm: str = "summary") -> dict:
    """Two truths of an arm."""
    return {(arm, FORWARD): forward, (arm, REVERSED): backward}


@pytest.mark.parametrize(
    ("truths", "value"),
    [
        (pair(linear(4), linear(5.5)), "reversal moves the budget"),
        (pair(linear(5, 0.0), linear(7, 0.0)), "reversal moves L50"),
        (pair(linear(4, stops=1600), linear(7, 0.5)), "reversal moves L50"),
        (pair(linear(4), linear(4)), "no gain"),
        (pair(linear(6), linear(4.5)), "reversal hurts"),
        (pair(linear(4, 1.5), lambda budget: max(6.5, linear(4, 1.5)(budget))), "reversal moves the budget"),
    ],
)
def test_verdicts_of_planted_truths(truths, value):
    score = reversal.score(rows(truths | ATTENTION))
    assert score.verdict.value == f"{value}, none with attention"
    assert score.tables[-1].rows[0][:2] == ("gru h16 d8 layers 1, summary", value)


def test_a_gain_of_one_doubling_is_worth_twice_the_updates():
    found = reversal.contrast(reversal._groups(rows(pair(linear(4), linear(5.5))))[0], "summary")
    assert [each.budget for each in found.backward] == list(BUDGETS) and found.both == []
    for each in found.backward:
        assert each.gain.low < 1.5 < each.gain.high
    k, sign = found.backward[1].worth
    assert sign == "=" and k.low < 2 < k.high
    assert found.backward[-1].worth[1] == ">=" and found.backward[-1].growth.low < 1.5 < found.backward[-1].growth.high


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows(pair(linear(4), linear(5.5)) | {("summary", "both"): linear(6)} | ATTENTION)
    exact, arms, curves, gained, attention, verdicts = reversal.score(data).tables
    assert exact.header[3:5] == ("summary, forward, 400", "summary, forward, 3,200")
    assert [line[:2] for line in arms.rows][:5] == [
        *(("summary, forward", f"{budget:,}") for budget in BUDGETS),
        ("summary, reversed", "400"),
    ]
    assert len(curves.rows) == 3 * len(BUDGETS) + 2 * 2
    assert [line[2:4] for line in gained.rows] == [(each, f"{budget:,}") for each in ("reversed", "both") for budget in BUDGETS]
    of = {}
    for row in data:
        if (row["attention"], row["budget"], row.get("mode"), row["role"]) == ("summary", 1600, "free", "reported"):
            of.setdefault(row["direction"], {}).setdefault(row["seed"], []).append(row["exact"])
    totals = np.full((8, len(LENGTHS)), EXAMPLES)
    l50 = {each: lengths.critical(LENGTHS, np.array(list(found.values())), totals, 0.5) for each, found in of.items()}
    gain = np.mean([a.length - b.length for a, b in zip(l50["reversed"], l50["forward"], strict=True)])
    assert gained.rows[2][6].startswith(f"{gain:.2f} [")
    assert attention.rows[-1][:2] == ("gru h16 d8 layers 1", "additive") and attention.rows[-1][3] == "none with attention"
    assert [line[0] for line in verdicts.rows] == ["gru h16 d8 layers 1, summary"]


@pytest.mark.parametrize(
    ("forward", "backward", "word"),
    [(13, 15.5, "some with attention"), (60, 60, "none with attention"), (15, 13.5, "attention undecided"), (4, 4, "attention undecided")],
)
def test_what_attention_gains(forward, backward, word):
    truths = pair(linear(4), linear(4)) | pair(linear(forward, 0.0), linear(backward, 0.0), "additive")
    verdict = reversal.score(rows(truths)).verdict
    assert verdict.value == f"no gain, {word}"
    assert ("not learned" in verdict.reason) == (forward == 4)


def test_findings_are_of_the_gain_and_of_the_deepest():
    data = rows(pair(linear(4), linear(5.5)) | ATTENTION)
    (gain,) = reversal.findings(data)
    assert gain.word(gain.p) == "holds" and gain.interval.low < 1.5 < gain.interval.high
    assert gain.number.endswith("reversed − forward, gru h16 d8 layers 1, summary, 3,200 updates")
    _, deep = reversal.findings(data + rows(pair(linear(8, 0.0), linear(10, 0.0)), layers=4))
    assert deep.word(deep.p) == "does not hold" and (deep.bar, "layers 4, summary, reversed, 3,200 updates" in deep.number) == (0.9, True)
    _, deep = reversal.findings(data + rows(pair(linear(8, 0.0), linear(60, 0.0)), layers=4))
    assert deep.word(deep.p) == "holds"
    assert reversal.findings(rows({("summary", FORWARD): linear(4)})) == []


def measured(data: list[dict], third: str, less: float) -> list[dict]:
    """Wrong symbols by position of every reported seed and length: 30 % of them, reading backwards `less` in one third."""
    found = []
    for row in data:
        if (row["role"], row.get("mode")) == ("reported", "forced"):
            forced = np.full(row["length"], 0.3 * EXAMPLES + row["seed"])
            forced[positions.thirds(row["length"])[third]] -= less * EXAMPLES * (row["direction"] == REVERSED)
            found += [row | {"role": "measured", "position": t, "forced": count} for t, count in enumerate(forced.tolist(), start=1)]
    return found


@pytest.mark.long
@pytest.mark.parametrize("third", positions.THIRDS)
def test_where_the_gain_falls_is_shown_by_third(third):
    data = rows(pair(linear(4), linear(5.5)) | ATTENTION)
    score = reversal.score(data + measured(data, third, 0.1))
    assert score.verdict == reversal.score(data).verdict
    (table,) = [table for table in score.tables if table.title.startswith("Where the gain falls")]
    shares = ["-0.10 [-0.10, -0.10]" if each == third else "0.00 [0.00, 0.00]" for each in positions.THIRDS]
    assert table.rows == [("gru h16 d8 layers 1", "summary, reversed − summary, forward", "3,200", "8", *shares)]  # L50 of forward is 8.5
    assert not any(table.title.startswith("Where the gain falls") for table in reversal.score(data).tables)


def test_depths_and_arms_are_judged_apart_and_corrected_together():
    data = rows(pair(linear(4), linear(5.5)) | pair(linear(4), linear(4), "none") | ATTENTION)
    data += rows(pair(linear(6), linear(5)) | ATTENTION, layers=2)
    score = reversal.score(data)
    assert score.verdict.value == "reversal moves the budget, none with attention"
    assert [line[:2] for line in score.tables[-1].rows] == [
        ("gru h16 d8 layers 1, summary", "reversal moves the budget"),
        ("gru h16 d8 layers 1, none", "no gain"),
        ("gru h16 d8 layers 2, summary", "reversal hurts"),
    ]
    group = reversal._groups(data)[0]
    found = reversal.contrast(group, "summary")
    assert reversal.judge(found, 0.02).value == "reversal moves the budget" and reversal.judge(found, 0.03).failed == ("gain",)


def test_what_is_missing_is_said():
    data = rows(pair(linear(4), linear(5.5)) | ATTENTION)
    forward = [row for row in data if row["direction"] == FORWARD]
    assert "summary, reversed at no budget" in reversal.score(forward).verdict.reason
    assert reversal.score([row for row in data if row["attention"] == "additive"]).verdict.reason.startswith("no fixed vector was run")
    few = reversal.score(rows(pair(linear(4), linear(5.5)), seeds=4)).verdict
    assert few.value == "inconclusive" and "needed are 8" in few.reason and "attention was not run" in few.reason
    untuned = reversal.score([row for row in data if row["role"] == "reported"]).verdict
    assert "no rate curve" in untuned.reason
    edge = reversal.score(rows(pair(linear(4), linear(5.5)), best=GRID[-1])).verdict
    assert edge.failed == ("missing",) and "edge" in edge.reason
    bounds = reversal.score(rows(pair(linear(60, 0.0), linear(60, 0.0)))).verdict
    assert bounds.failed == ("bounds",)


def test_a_single_seed_and_budget_are_drawn_and_judged_inconclusive():
    """What a run of ten updates leaves."""
    data = [row for row in rows(pair(linear(4), linear(5.5)) | ATTENTION, seeds=1) if row["budget"] == 400 and row["role"] == "reported"]
    assert reversal.score(data).verdict.value == "inconclusive"
    assert list(reversal.figures(data)) == ["directions_gru_h16_d8_layers_1", "symbol_errors_gru_h16_d8_layers_1"]


@pytest.mark.long
def test_a_picture_of_directions_errors_and_rates_for_each_depth():
    data = rows(pair(linear(4), linear(5.5)) | ATTENTION) + rows(pair(linear(4), linear(5.5)), layers=4)
    drawn = reversal.figures(data)
    assert list(drawn) == [f"{kind}_gru_h16_d8_layers_{n}" for n in (1, 4) for kind in ("directions", "symbol_errors", "rates")]
    left, right = drawn["directions_gru_h16_d8_layers_1"].axes
    assert [line.get_label() for line in left.lines[:4]] == [
        f"{arm}, {each}" for arm in ("summary", "additive") for each in ("forward", "reversed")
    ]
    assert [line.get_xdata().tolist() for line in right.lines if len(line.get_xdata()) == 4] == [list(BUDGETS)] * 2
    errors = drawn["symbol_errors_gru_h16_d8_layers_1"].axes[0]
    wrong = [
        row["symbol_errors"] / row["symbols"] for row in data if row.get("mode") == "forced" and row["run"].startswith("summary-forward")
    ]
    shown = errors.lines[0].get_ydata()
    assert 0 < shown[-1] < max(wrong) * 1.01 and shown[0] < shown[-1]


def test_two_folders_are_compared_direction_by_direction():
    sides = [Side(name, rows(pair(linear(4), linear(5.5))), {}, Verdict("no gain", "")) for name in "ab"]
    found = agreement.between(*sides, (*agreement.GROUP, *reversal.GROUP))
    assert found.outcome == "same" and len(found.differences) == 2 * len(BUDGETS) * len(LENGTHS)
    assert {each.place.group for each in found.differences} == {f"copy gru h16 d8 layers 1 {each}" for each in (FORWARD, REVERSED)}


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 22), ("small", 75), ("full", 99)])
def test_presets_are_valid_and_their_runs_named_apart(preset, runs):
    configs = reversal.sweep(preset)
    assert len(configs) == runs == len({reversal.name(config) for config in configs})
    assert [reversal.name(validate(config)) for config in configs] == [run.config.run for run in sweep.plan(reversal, preset)]
    assert all(config.training.schedule == "cosine" and len(config.training.learning_rates) == 5 for config in configs)
    assert all(config.model.layers == config.model.decoder_layers for config in configs)
    groups = {}
    for config in configs:
        alike = replace(config, model=replace(config.model, direction=""))
        groups.setdefault(alike, []).append(config.model.direction)
    directions = list(reversal.EACH[:2] if preset == "tiny" else reversal.EACH)
    assert all(found == directions for found in groups.values())
    sizes = {
        replace(c, model=replace(c.model, direction="", attention="", layers=1, decoder_layers=1), training=reversal.TINY.training)
        for c in configs
    }
    assert len(sizes) == 1


def test_every_row_has_its_depth_and_direction():
    fields = [run.fields for run in sweep.plan(reversal, "tiny", ["model.direction=forward"])]
    assert {(each["layers"], each["direction"]) for each in fields} == {(1, FORWARD)}


def test_the_laptops_runs_are_part_of_the_larger_preset():
    assert set(reversal.sweep("tiny")) < set(reversal.sweep("small"))
