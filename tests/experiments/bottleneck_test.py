"""The claim's verdict, tables and figures on rows whose truth is planted, and what its presets hold equal."""

from dataclasses import replace

import numpy as np
import pytest

from attention_jax import model
from attention_jax.report import standings
from attention_jax.report.standings import Group
from attention_jax.statistics import truths, verdicts
from attention_jax.sweeps import sweep
from experiments import bottleneck

TRUTHS = {truth.name: truth for truth in truths.truths()}
SHARED = {"cell": "gru", "hidden_size": 16, "task": "copy", "state_size": 8, "parameters": 6_932, "seconds": 2.0}
GRID = truths.comparison(8).rates


def rows(name: str, d: int = 8, seeds: int = 8, arms: dict | None = None) -> list[dict]:
    """What a sweep leaves where this truth holds."""
    arms = arms or {"fixed": "summary", "attention": "additive"}
    found = []
    for row in truths.rows(TRUTHS[name], seeds, np.random.default_rng(3)):
        if row["attention"] in arms:
            arm = arms[row["attention"]]
            found.append(row | SHARED | {"attention": arm, "vector_size": d, "run": arm, "grown": row["learning_rate"] not in GRID})
    return sorted(found, key=lambda row: row["attention"], reverse=True)


def test_a_planted_bottleneck_is_found_and_shown():
    data = rows("holds 4 to 5")
    score = bottleneck.score(data)
    assert score.verdict.value == "bottleneck" and score.verdict.k == 4
    assert score.verdict == verdicts.verdict(data, standings.declared(data, "summary", "additive"))
    exact, arms, curves, conditions, found = score.tables
    assert exact.header == ("length", "examples", "trained", "summary, 100", "summary, 400", "additive, 200")
    assert [line[:3] for line in exact.rows] == [(str(length), "512", "yes") for length in truths.LENGTHS]
    assert [line[:2] for line in arms.rows] == [
        ("summary", "100"),
        ("summary", "200"),
        ("summary", "400"),
        ("additive", "100"),
        ("additive", "200"),
    ]
    assert [line[:2] for line in curves.rows] == [line[:2] for line in arms.rows]
    assert all(sum(cell.endswith("*") for cell in line) == 1 for line in curves.rows)
    assert {line[1] for line in conditions.rows} == {"learned", "gap", "memory", "rates", "placebo"}
    assert [line[:3] for line in found.rows] == [("gru h16 d8", "summary", str(score.verdict))]
    assert score.budget.startswith("with 8 seeds, summary at 100, 200, 400 updates and additive at 100, 200 updates")


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows("holds 4 to 5")
    exact, arms, curves, _, _ = bottleneck.score(data).tables
    of = [row for row in data if (row["attention"], row["budget"], row.get("mode"), row["role"]) == ("summary", 400, "free", "reported")]
    logits = [np.log((row["exact"] + 0.5) / (row["examples"] - row["exact"] + 0.5)) for row in of if row["length"] == 8]
    assert len(logits) == 8 and exact.rows[4][4].startswith(f"{1 / (1 + np.exp(-np.mean(logits))):.2f} [")
    (rate,) = {row["learning_rate"] for row in of}
    assert dict(zip(arms.header, arms.rows[2], strict=True))["rate"] == f"{rate:g}"
    losses = [
        row["validation_loss"]
        for row in data
        if "validation_loss" in row and (row["attention"], row["budget"], row["learning_rate"]) == ("summary", 400, rate)
    ]
    assert len(losses) == 4 and curves.rows[2][curves.header.index(f"{rate:g}")].startswith(f"{np.exp(np.mean(np.log(losses))):.2g} (")


def with_wrong(data: list[dict], wrong: dict[int, float]) -> list[dict]:
    """The rows with a share of wrong symbols by length, in which seeds differ by a hundredth."""
    forced = [row for row in data if (row["role"], row.get("mode"), row.get("length")) == ("reported", "forced", 16)]
    made = []
    for row in forced:
        for length, share in wrong.items():
            errors = round(row["symbols"] * (share + 0.01 * (row["seed"] % 2)))
            made.append(row | {"length": length, "seen": length <= 16, "symbol_errors": errors})
    keep = [row for row in data if (row["role"], row.get("mode")) != ("reported", "forced") or row["length"] not in wrong]
    return [*keep, *made]


@pytest.mark.parametrize(
    ("wrong", "rise"), [({12: 0.1, 16: 0.2, 20: 0.5}, 0.2), ({12: 0.1, 16: 0.3, 20: 0.4}, -0.1), ({16: 0.2, 21: 0.5}, None)]
)
def test_what_is_lost_beyond_trained_lengths(wrong, rise):
    data = with_wrong(rows("holds 4 to 5"), wrong)
    found = bottleneck.beyond(Group("g", data, ["summary"]), "summary")
    if rise is None:
        assert found is None and not [table for table in bottleneck.score(rows("holds 4 to 5")).tables if "Beyond" in table.title]
        return
    assert found.lengths == (12, 16, 20) and np.mean(found.rise_R) == pytest.approx(rise, abs=1e-3)
    (line, _) = bottleneck.score(data).tables[-1].rows
    assert line[:2] == ("gru h16 d8", "summary") and line[-1].startswith(f"{np.mean(found.rise_R):.3f} [")
    finding = bottleneck.findings(data)[-1]
    assert finding.interval.mean == pytest.approx(rise, abs=1e-3)
    assert finding.number.endswith("their rise from length 16 to 20 − that from 12 to 16")


@pytest.mark.parametrize(("name", "value"), [("equal, ceiling", "no bottleneck"), ("untrained", "inconclusive")])
def test_verdicts_of_planted_nulls(name, value):
    assert bottleneck.score(rows(name)).verdict.value == value


def test_the_first_group_is_the_claims_own():
    verdict = bottleneck.score(rows("holds 4 to 5") + rows("equal, ceiling", d=32)).verdict
    assert verdict.value == "bottleneck"
    assert bottleneck.score(rows("equal, ceiling", d=32) + rows("holds 4 to 5")).verdict.value == "no bottleneck"


@pytest.mark.parametrize("arms", [{"fixed": "summary"}, {"attention": "additive"}, {"attention": "summary"}])
def test_without_both_arms_there_is_no_verdict(arms):
    data = rows("equal, ceiling", arms=arms)
    assert bottleneck.score(data).verdict == verdicts.NOTHING_TO_COMPARE
    assert list(bottleneck.figures(data)) == ["vector_and_budget_gru_h16", "rates_gru_h16_d8"]


def test_rows_without_curves_or_seeds_say_what_is_missing():
    data = [row for row in rows("equal, ceiling") if row["role"] == "reported"]
    verdict = bottleneck.score(data).verdict
    assert verdict.failed == ("missing",) and {need.role for need in verdict.needs} == {"selection"}
    few = bottleneck.score(rows("equal, ceiling", seeds=4)).verdict
    assert few.failed == ("missing",) and {(need.role, need.seeds) for need in few.needs} == {("reported", 4)}
    odd = [row | {"budget": 300} if row["budget"] == 400 else row for row in rows("equal, ceiling")]
    assert "every budget is twice the one before" in bottleneck.score(odd).verdict.reason


def test_one_picture_of_all_sizes_and_rate_curves_of_each():
    data = rows("holds 4 to 5", d=32) + rows("equal, ceiling", d=8)
    drawn = bottleneck.figures(data)
    assert list(drawn) == ["vector_and_budget_gru_h16", "rates_gru_h16_d32", "rates_gru_h16_d8"]
    left, right = drawn["vector_and_budget_gru_h16"].axes
    assert [line.get_label() for line in left.lines[:3]] == ["summary, d = 8", "summary, d = 32", "additive"]
    assert [line.get_xdata().tolist() for line in right.lines if len(line.get_xdata()) == 3] == [[100, 200, 400]] * 2


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 9), ("verdict", 11), ("small", 44), ("full", 44)])
def test_only_mechanism_and_budget_differ_within_a_group(preset, runs):
    configs = bottleneck.sweep(preset)
    assert len(configs) == runs and configs[0].training.schedule == "cosine" and configs[0].training.pilot_updates == 0
    groups = {}
    for config in configs:
        alike = replace(config, model=replace(config.model, attention=""), training=replace(config.training, updates=1))
        groups.setdefault(alike, {}).setdefault(config.model.attention, []).append(config.training.updates)
    for found in groups.values():
        ladder = found["summary"]
        assert ladder == [ladder[0] * 2**rung for rung in range(len(ladder))]
        assert found["additive"] == ladder[:3]
    assert bottleneck.name(configs[0]) == f"summary-gru-h{configs[0].model.hidden_size}-d{configs[0].model.vector_size}-u{ladder[0]}"
    assert all(max(config.data.eval_lengths) >= 2 * config.data.longest for config in configs)


def test_the_laptops_runs_are_part_of_the_larger_presets():
    tiny, verdict, small = (set(bottleneck.sweep(preset)) for preset in ("tiny", "verdict", "small"))
    assert tiny < verdict < small


@pytest.mark.long
def test_arms_can_be_matched_by_parameters():
    totals = [run.fields["parameters"] for run in sweep.plan(bottleneck, "full", ["match=parameters", "model.vector_size=16"])]
    assert max(totals) / min(totals) < 1.04
    assert all(abs(total / model.parameters(bottleneck.FULL.model, 12) - 1) <= 0.02 for total in totals)
