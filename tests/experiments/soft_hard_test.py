"""The verdict on rows whose truth is planted, noise of the gradient against a plain loop, and what the presets are."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.statistics import intervals
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types.signatures import Array
from experiments import soft_hard
from tests.experiments import planted

BUDGETS, LENGTHS, SEEDS = (100, 200, 400), (3, 4, 5, 6), 6
PERFECT, HALF, NOTHING = (0.97, 1.0, 1.0), (0.1, 0.3, 0.5), (0.0, 0.0, 0.0)


def rows(shares: dict[str, tuple], task: str = "copy", seeds: int = SEEDS, best: float = 0.02, measured: bool = True) -> list[dict]:
    """What a sweep leaves of one task: {arm: exact match on the long half at each budget}, which scatters by seed."""
    random, found = np.random.default_rng(0), []
    for arm, of_budget in shares.items():
        named = {"normaliser": "softmax", "estimator": "soft"} | soft_hard.settings(arm)
        shared = {"attention": "general", "task": task, "cell": "gru", "hidden_size": 16, "state_size": 32, "parameters": 9, "seconds": 2.0}
        for budget, share in zip(BUDGETS, of_budget, strict=True):
            run = shared | named | {"run": f"{arm}-{task}-u{budget}", "budget": budget}
            for seed in range(seeds):
                here = run | {"role": "reported", "seed": seed, "learning_rate": 0.02}
                for length in LENGTHS:
                    exact = int(np.clip(round(500 * share + (3 * random.normal() if 0 < share < 1 else 0)), 0, 500))
                    place = here | {"length": length, "seen": True, "examples": 500, "symbols": 500, "symbol_errors": 500 - exact}
                    looked = {"alignment_agreement": exact / 500, "alignment_entropy": 0.25}
                    found += [place | {"mode": "free", "exact": exact}, place | {"mode": "forced", "exact": exact} | looked]
                if measured:
                    found += [
                        run | {"role": "measured", "seed": seed, "parameters_of": at, "gradient_noise": noise, "entropy": 1.5}
                        for at, noise in (("start", 4.0), ("end", 2.0))
                    ]
            found += planted.curve(run, best, (0.005, 0.01, 0.02, 0.04, 0.08))
    return found


@pytest.mark.parametrize(
    ("tasks", "word"),
    [
        ([{"marginal": PERFECT, "reinforce": HALF}], "exact beats sampled"),
        ([{"marginal": HALF, "reinforce": PERFECT}], "sampled beats exact"),
        ([{"marginal": PERFECT, "reinforce": HALF}, {"marginal": HALF, "reinforce": PERFECT}], "depends on the task"),
        ([{"marginal": (0.4, 1.0, 1.0), "reinforce": (0.1, 0.4, 1.0)}], "exact learns faster"),
        ([{"marginal": (0.1, 0.4, 1.0), "reinforce": (0.4, 1.0, 1.0)}], "sampled learns faster"),
        ([{"marginal": PERFECT, "reinforce": PERFECT}], "no difference"),
        ([{"marginal": NOTHING, "reinforce": NOTHING}], "inconclusive"),
        ([{"marginal": PERFECT, "reinforce": HALF}, {"marginal": NOTHING, "reinforce": NOTHING}], "exact beats sampled"),
        ([{"marginal": PERFECT}], "inconclusive"),
    ],
)
def test_planted_truths(tasks, word):
    data = [row for task, shares in zip(("copy", "reverse"), tasks, strict=False) for row in rows(shares, task)]
    verdict = soft_hard.score(data).verdict
    assert str(verdict) == word and verdict.reason


def test_the_table_of_tasks_is_paired_and_corrected():
    shares = {"marginal": (0.3, 0.9, 0.95), "reinforce": (0.1, 0.5, 0.93)}
    data = rows(shares) + rows(shares, "reverse")
    score = soft_hard.score(data)
    table, by_task = score.tables[-1], score.tables[-2]
    assert by_task.rows == [("marginal", "> 400", "> 400"), ("reinforce", "> 400", "> 400")]
    assert [line[0] for line in table.rows] == ["copy gru h16 general", "reverse gru h16 general"]
    exact = {(row["estimator"], row["seed"]): 0 for row in data if row["role"] == "reported"}
    for row in data:
        if row["role"] == "reported" and (row["mode"], row["budget"], row["task"]) == ("free", 400, "copy") and row["length"] in (5, 6):
            exact[row["estimator"], row["seed"]] += row["exact"]
    d = [(exact["marginal", seed] - exact["reinforce", seed]) / 1000 for seed in range(SEEDS)]
    assert table.rows[0][1].startswith(f"{np.mean(d):.3f} [")
    both = [intervals.student_p(d)] * 2
    assert table.rows[0][2] == f"{2 * min(both):.2g}" and score.verdict.p == pytest.approx(min(1, 2 * min(both)), rel=1e-6)
    assert table.rows[0][3].endswith("(a rung is censored)")


def test_rungs_and_right_censoring():
    group, _ = soft_hard.groups(rows({"marginal": (0.2, 1.0, 1.0), "reinforce": HALF}))[0]
    assert set(soft_hard.rungs(group, "marginal").values()) == {1} and set(soft_hard.rungs(group, "reinforce").values()) == {3}
    lines = {line[0]: line for line in soft_hard.budgets(group).rows}
    assert lines["marginal"][1:3] == ("200", f"{SEEDS} of {SEEDS}") and lines["reinforce"][1:3] == ("> 400", f"0 of {SEEDS}")


def test_looks_and_costs_are_those_of_the_rows():
    group, measured = soft_hard.groups(rows({"soft": (0.1, 0.5, 0.75), "sparsemax": PERFECT}))[0]
    line = dict(zip(*soft_hard.by_arm(group, measured)[1:2], soft_hard.by_arm(group, measured).rows[0], strict=True))
    assert line["arm"] == "soft" and line["alignment error"].startswith("0.25 [") and line["entropy used"].startswith("0.25")
    assert line["entropy drawn from"].startswith("1.50") and line["noise at start"].startswith("4.00") and line["at end"].startswith("2.00")
    assert line["s / 1,000 updates"] == "5.0"
    bare = soft_hard.by_arm(*soft_hard.groups(rows({"soft": PERFECT}, measured=False))[0]).rows[0]
    assert bare[4:7] == ("–", "–", "–")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: [row for row in data if row["role"] != "selection"], "there is no rate curve"),
        (lambda data: [row for row in data if row["seed"] not in range(1, 9)], "two seeds or more"),
        (lambda data: [row for row in data if (row["estimator"], row["budget"]) != ("marginal", 400)], "different budgets"),
        (lambda data: rows({"marginal": PERFECT, "reinforce": HALF}, best=0.08), "lies at an edge"),
    ],
)
def test_what_is_missing_is_named(change, said):
    verdict = soft_hard.score(change(rows({"marginal": PERFECT, "reinforce": HALF}))).verdict
    assert verdict.value == "inconclusive" and said in verdict.reason and verdict.failed == ("missing",)


def test_arms_are_rows_of_two_tables_and_come_back_from_their_settings():
    for arm in soft_hard.CHOICES:
        named = {"normaliser": "softmax", "estimator": "soft"} | soft_hard.settings(arm)
        assert soft_hard.arm_of(**named) == ("soft" if arm == "softmax" else arm)
    assert soft_hard.arm_of("sparsemax", "gumbel") == "sparsemax_gumbel"


@pytest.mark.parametrize(("preset", "tasks", "arms"), [("tiny", 2, 4), ("small", 4, 9), ("full", 4, 9)])
def test_presets(preset, tasks, arms):
    runs = sweep.plan(soft_hard, preset)
    assert len(runs) == tasks * arms * soft_hard.LADDERS[preset][1]
    fields = [{"normaliser", "estimator", "task"} <= run.fields.keys() for run in runs]
    assert all(fields) and all(run.measure is soft_hard.measure for run in runs)
    assert len({replace(run.config, run="", data=replace(run.config.data, task="copy")) for run in runs}) == len(runs) // tasks


def test_arms_can_be_asked_for():
    runs = sweep.plan(soft_hard, "small", arms=["marginal", "mocha"])
    assert {run.config.run.split("-")[0] for run in runs} == {"marginal", "mocha"}
    with pytest.raises(ConfigError, match="--arms='additive' is unknown"):
        sweep.plan(soft_hard, "tiny", arms=["additive"])


@pytest.mark.long
def test_figures_are_drawn_for_every_task():
    shares = {"soft": PERFECT, "marginal": PERFECT, "reinforce": HALF}
    drawn = soft_hard.figures(rows(shares) + rows(shares, "reverse"))
    assert {name.split("_")[0] for name in drawn} == {"lengths", "budgets", "rates"} and len(drawn) == 6


CONFIG = Config(
    model=ModelConfig(attention="general", hidden_size=4, embedding_size=3, timing="after"),
    data=DataConfig(symbols=8, longest=4, held_out=8, eval_lengths=(3, 4), eval_examples=8),
    training=TrainingConfig(seeds=1, batch_size=4, learning_rates=(0.01,)),
)


def noise(estimator: str):
    """(noise, entropy) of an estimator at its start, and its gradients one by one."""
    config = replace(CONFIG, model=replace(CONFIG.model, estimator=estimator, baseline="average"))
    built = model.build(config.model, sources.own_sizes(config))
    state = training.init(built, config.training, 3, 1.0)
    batch = jax.tree.map(lambda x: x[0, :4], next(iter(sources.build(config).evaluation("validation", [3]))))
    return soft_hard.noise_of(built, config.training, 4)(state, batch), gradients(built, config.training, state, batch)


def gradients(built, config, state, batch) -> np.ndarray:
    """Four gradients with the settled baseline, by plain calls."""
    step = jax.jit(lambda state: training.gradients(state, batch, built, config))
    of_update = [state.replace(step=jnp.int32(n)) for n in range(4)]
    nll = [step(one)[1] for one in of_update]
    average = -np.float32(np.mean([float(sums.nll) / float(sums.tokens) for sums in nll]))
    found: list[Array] = []
    for one in of_update:
        grads, _ = step(one.replace(average=jnp.float32(average)))
        found.append(
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads["decoder"]["attention"]["score"])]).astype(np.float64)
        )
    return np.stack(found)


@pytest.mark.long
@pytest.mark.parametrize("estimator", ["reinforce", "soft"])
def test_noise_is_that_of_gradients_one_by_one(estimator):
    (found, entropy), grads_NxP = noise(estimator)
    mean_P = grads_NxP.mean(0)
    wanted = ((grads_NxP - mean_P) ** 2).sum() / 3 / (mean_P**2).sum()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-12)
    assert (float(found) == 0) == (estimator == "soft") and 0 < entropy <= np.log(5)


@pytest.mark.long
def test_measured_at_the_start_and_the_end():
    built = model.build(CONFIG.model, sources.own_sizes(CONFIG))
    params = jax.tree.map(lambda x: 2 * x, training.init(built, CONFIG.training, 0, 1.0).params)
    found = soft_hard.measure(Trained(CONFIG, None, built, params, 0), sources.build(CONFIG))
    assert [row["parameters_of"] for row in found] == ["start", "end"] and found[0]["entropy"] != found[1]["entropy"]
