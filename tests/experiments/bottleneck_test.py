"""The claim's verdict and tables on rows whose answer is known, and what its presets hold equal."""

from dataclasses import replace

import pytest

from attention_jax import model, statistics, sweep
from experiments import bottleneck

ARMS = ("none", "summary", "additive")


def rows(exact, cells=("gru",), arms=ARMS) -> list[dict]:
    """What a sweep leaves at lengths 1 to 8 (trained to 6), three seeds, where `exact(arm, length, budget, cell)` is the exact match."""
    out = []
    for cell in cells:
        for arm in arms:
            for budget in (400, 800):
                for seed in range(3):
                    for length in range(1, 9):
                        value = exact(arm, length, budget, cell) - seed / 1000
                        shared = {
                            "run": f"{arm}-{cell}-h64",
                            "attention": arm,
                            "cell": cell,
                            "hidden_size": 64,
                            "task": "copy",
                            "state_size": 128,
                            "parameters": 50_000,
                            "seed": seed,
                            "length": length,
                            "seen": length <= 6,
                            "examples": 128,
                            "budget": budget,
                            "step": budget,
                            "learning_rate": 0.002,
                            "exact_match": value,
                            "token_accuracy": value,
                        }
                        out += [shared | {"mode": "free", "loss": None}, shared | {"mode": "forced", "loss": 1 - value}]
    return out


def forgets(arm, length, budget, cell):
    return 0.99 if arm == "additive" else 1 - length / 10 * (1.2 if budget == 400 else 1)


def keeps(arm, length, budget, cell):
    return 0.99


def test_verdict_and_tables_where_the_vector_forgets():
    data = rows(forgets)
    score = bottleneck.score(data)
    assert score.verdict == statistics.bottleneck_verdict(data, "summary", "additive", 800)
    assert score.verdict.value == "bottleneck"
    assert score.budget == "at this budget: 800 updates, 3 seeds (400 updates beside it)"
    full, half, _, arms, verdicts = score.tables
    assert full.header == ("length", "examples", "trained", *ARMS, "none − additive", "summary − additive") and len(full.rows) == 8
    assert full.rows[4][4].startswith("0.50 [") and half.rows[4][4].startswith("0.40 [")
    assert [cells[1:3] for cells in full.rows] == [("128", "yes")] * 6 + [("128", "no")] * 2
    assert [cells[0] for cells in arms.rows] == list(ARMS)
    summary = dict(zip(arms.header, arms.rows[1], strict=True))
    assert summary["L50 (800)"].startswith("5.0 [") and summary["L50 (400)"].startswith("4.2 [")
    assert dict(zip(arms.header, arms.rows[2], strict=True))["L50 (800)"] == ">= 8.0"
    assert [cells[:4] for cells in verdicts.rows] == [("gru h64", a, b, "bottleneck") for a in ("none", "summary") for b in ("800", "400")]


def test_verdict_where_nothing_is_forgotten():
    assert bottleneck.score(rows(keeps)).verdict.value == "no bottleneck"


def test_groups_that_differ_are_inconclusive():
    verdict = bottleneck.score(rows(lambda *a: (forgets if a[3] == "gru" else keeps)(*a), cells=("gru", "lstm"))).verdict
    assert verdict.value == "inconclusive"
    assert "gru h64: bottleneck" in verdict.reason and "lstm h64: no bottleneck" in verdict.reason


@pytest.mark.parametrize("arms", [("none", "summary"), ("additive",), ("none", "additive")])
def test_without_both_arms_there_is_no_verdict(arms):
    score = bottleneck.score(rows(forgets, arms=arms))
    assert score.verdict.value == "inconclusive" and "do not have both" in score.verdict.reason


def test_a_figure_for_each_group():
    assert list(bottleneck.figures(rows(forgets, cells=("gru", "lstm")))) == ["exact_match_gru_h64", "exact_match_lstm_h64"]


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 3), ("full", 18)])
def test_only_the_mechanism_differs_within_a_group(preset, runs):
    configs = bottleneck.sweep(preset)
    assert len(configs) == runs
    groups = {}
    for config in configs:
        groups.setdefault(replace(config, model=replace(config.model, attention="")), []).append(config.model.attention)
    assert all(arms == list(ARMS) for arms in groups.values())
    assert bottleneck.name(configs[0]) == "none-gru-h64"
    assert all(max(config.data.eval_lengths) >= 2 * config.data.longest for config in configs)


def test_arms_can_be_matched_by_parameters():
    totals = [run.fields["parameters"] for run in sweep.plan(bottleneck, "tiny", ["match=parameters"])]
    assert len(totals) == 3 and max(totals) / min(totals) < 1.04
    assert all(abs(total / model.parameters(bottleneck.TINY.model, 12) - 1) <= 0.02 for total in totals)
