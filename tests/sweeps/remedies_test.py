"""What would decide a verdict: minutes by the rows of an arm, and a command where a flag makes the runs."""

from types import SimpleNamespace

import pytest

from attention_jax.config import Config, TrainingConfig
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import remedies

COMMAND = "python -m experiments.run --experiment=pretend"
CONFIGS = [Config(training=TrainingConfig(seeds=2, updates=updates)) for updates in (2, 4)]
ROWS = [
    {"run": f"{arm}-{budget}", "attention": "summary", "blind": arm == "blind", "seed": seed, "seconds": seconds, "budget": budget}
    for seed in (0, 1)
    for arm, budget, seconds in (("see", 100, 30.0), ("see", 50, 29.0), ("blind", 100, 60.0))
]


def test_a_need_has_a_command():
    needs = {
        Need("summary", 8, "selection", 4, (), ""): f"{COMMAND} --doublings=1",
        Need("summary", 4, "reported", 3, (0.1,), ""): f"{COMMAND} --seeds=0-4 --workdir=runs/5_seeds",
        Need("additive", 4, "selection", 4, (0.1,), ""): "",
    }
    assert {need: remedies.remedy(COMMAND, CONFIGS, need) for need in needs} == needs
    longer, more = list(needs)[:2]
    assert remedies.remedy(f"{COMMAND} --doublings=2 --arms=none", CONFIGS, longer) == f"{COMMAND} --arms=none --doublings=3"
    assert remedies.remedy(f"{COMMAND} --seeds=8 --workdir=x", CONFIGS, more) == f"{COMMAND} --seeds=0-4 --workdir=runs/5_seeds"


def test_a_budget_that_another_arm_alone_has_is_a_next_one():
    assert remedies.remedy(COMMAND, CONFIGS, Need("additive", 4, "selection", 4, (0.1,), ""), {2}) == f"{COMMAND} --doublings=1"


def test_a_need_has_minutes():
    assert remedies.minutes(ROWS, Need("summary", 400, "reported", 4, (0.1,), "")) == pytest.approx(4 * 400 * 30 / 200 / 60)
    assert remedies.minutes(ROWS, Need("blind", 400, "reported", 4, (0.1,), "")) == pytest.approx(4 * 400 * 60 / 200 / 60)
    hard = [row | {"attention": "general", "normaliser": "softmax", "estimator": "marginal", "blind": False} for row in ROWS[:1]]
    assert remedies.minutes(hard, Need("marginal", 400, "selection", 4, (0.1,), "")) > 0


def test_an_arm_is_found_under_the_name_that_its_claim_gives_it():
    names = remedies.names_of(SimpleNamespace(arm=lambda row: "dark" if row["blind"] else "slow"))
    needs = (Need("slow", 200, "selection", 4, (0.1,), "why"), Need("dark", 100, "reported", 1, (0.1,), "why"))
    assert [remedies.minutes(ROWS, need, names) for need in needs] == pytest.approx([4 * 200 * 30 / 200 / 60, 100 * 60 / 200 / 60])
    text = remedies.text(Verdict("inconclusive", "", needs=needs), ROWS, CONFIGS, COMMAND, names)
    assert "nan" not in text and f"{COMMAND} --doublings=1" in text and f"{COMMAND} --seeds=0-2" in text
