"""The verdict on rows whose truth is planted, and measurements against the same done one look at a time."""

from dataclasses import replace
from itertools import product

import jax
import numpy as np
import pytest
from scipy import stats

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.model import interventions
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from experiments import similarity
from tests.experiments import planted

BUDGETS, LENGTHS, SEEDS = (400, 800), (3, 4, 5, 6), 4


def rows(
    rho: dict[str, float], task: str = "copy", exact: int = 480, wrong: tuple = (10, 600, 20, 700), measured: bool = True
) -> list[dict]:
    """What a sweep leaves of one task: {arm: correlation}, and wrong symbols of 1,000, plain and under each change."""
    random, found = np.random.default_rng(0), []
    shared = {"task": task, "cell": "gru", "hidden_size": 16, "state_size": 32, "parameters": 9, "seconds": 2.0}
    for (arm, value), budget in product(rho.items(), BUDGETS):
        run = shared | {"attention": arm, "run": f"{arm}-{task}-u{budget}", "budget": budget}
        for seed in range(SEEDS):
            here = run | {"role": "reported", "seed": seed, "learning_rate": 0.02}
            for length in LENGTHS:
                place = here | {"length": length, "seen": True, "examples": 500, "exact": exact, "symbols": 500, "symbol_errors": 20}
                found += [place | {"mode": "free"}, place | {"mode": "forced"}]
                if measured and length > 3:
                    near = value + 0.01 * random.normal()
                    ours = {f"{which}_{at}": near / (1 + (at == "start")) for which in ("projected", "raw") for at in ("start", "end")}
                    ours |= {f"wrong_{change.replace(' ', '_')}": n for change, n in zip(similarity.CHANGED, wrong, strict=True)}
                    found.append(run | {"role": "measured", "seed": seed, "length": length, "symbols": 1000} | ours)
        found += planted.curve(run, 0.02, (0.005, 0.01, 0.02, 0.04, 0.08))
    return found


@pytest.mark.parametrize(
    ("rho", "word"),
    [
        ({"dot": 0.9, "cosine": 1.0}, "a similarity"),
        ({"dot": 0.1, "additive": -0.3}, "no similarity"),
        ({"dot": 0.9, "additive": 0.2}, "depends on the score"),
        ({"dot": 0.9, "additive": 0.5}, "inconclusive"),
        ({"dot": 0.9}, "inconclusive"),
    ],
)
def test_planted_truths(rho, word):
    verdict = similarity.score(rows(rho)).verdict
    assert str(verdict) == word and verdict.reason
    if len(rho) > 1:
        assert "costs more than another in 2 of 2, permuting costs in 2" in verdict.reason


def test_weights_that_do_not_matter_are_said_not_to():
    reason = similarity.score(rows({"dot": 0.9, "cosine": 1.0}, wrong=(10, 50, 20, 60))).verdict.reason
    assert "costs more than another in 0 of 2, permuting costs in 0" in reason


def test_the_tables_are_those_of_the_rows():
    data = rows({"dot": 0.9, "additive": 0.2})
    tables = {table.title.partition(",")[0]: table for table in similarity.score(data).tables}
    own = [row for row in data if row["role"] == "measured" and (row["attention"], row["budget"]) == ("dot", 800)]
    mean = np.mean([row["projected_end"] for row in own])
    line = tables["Rank correlation of weights with cosines of query and memory"].rows[0]
    assert line[0] == "dot" and line[1].startswith(f"{mean:.2f} [") and line[3].startswith(f"{mean / 2:.2f} [")
    line = tables["Symbols that are right"].rows[0]
    assert [cell.split(" ")[0] for cell in line] == ["dot", "0.99", "0.40", "0.98", "0.30", "0.58"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (rows({"dot": 0.9, "cosine": 1.0}, measured=False), "is not measured for every seed"),
        ([row for row in rows({"dot": 0.9, "cosine": 1.0}) if row["role"] != "selection"], "there is no rate curve"),
        ([row for row in rows({"dot": 0.9, "cosine": 1.0}) if (row["role"], row["seed"]) != ("measured", 2)], "not measured for every"),
        (rows({"dot": 0.9, "cosine": 1.0}, exact=100), "0 arms have learned"),
    ],
)
def test_what_is_missing_is_named(data, said):
    verdict = similarity.score(data).verdict
    assert verdict.value == "inconclusive" and said in verdict.reason and verdict.failed


@pytest.mark.parametrize(("preset", "tasks"), [("tiny", 1), ("small", 4), ("full", 4)])
def test_presets(preset, tasks):
    runs = sweep.plan(similarity, preset)
    assert len(runs) == tasks * len(similarity.ARMS) * 2 and all(run.measure is similarity.measure for run in runs)
    for run in runs:
        interventions.check(run.config.model)
        encoder, _ = model.parts(run.config.model)
        assert encoder.memory_size == run.config.model.decoder_size  # raw vectors are compared
    with pytest.raises(ConfigError, match="--arms='location' is unknown"):
        sweep.plan(similarity, preset, arms=["location"])


@pytest.mark.long
def test_figures_are_drawn_for_every_task():
    data = rows({"dot": 0.9, "cosine": 1.0}) + rows({"dot": 0.9, "cosine": 1.0}, "sort", measured=False)
    names = ["lengths_copy", "ranks_copy", "rates_copy", "lengths_sort", "rates_sort"]
    assert list(similarity.figures(data)) == [f"{name}_gru_h16" for name in names]


CONFIG = Config(
    model=ModelConfig(hidden_size=4, decoder_size=8, embedding_size=3, timing="after"),
    data=DataConfig(symbols=8, longest=5, held_out=8, eval_lengths=(3, 4, 5, 6), eval_examples=3),
    training=TrainingConfig(seeds=1, batch_size=4, learning_rates=(0.01,)),
)


def trained_model(arm: str) -> tuple[Trained, sources.Source]:
    config = replace(CONFIG, model=replace(CONFIG.model, attention=arm))
    built = model.build(config.model, sources.own_sizes(config))
    params = jax.tree.map(lambda x: 2 * x, training.init(built, config.training, 0, 1.0).params)
    return Trained(config, None, built, params, 0), sources.build(config)


def right_way(arm: str, params, query_H, vector_M) -> tuple[np.ndarray, np.ndarray]:
    """The query and the key that a score compares, written out."""
    p = jax.tree.map(np.asarray, params["decoder"]["attention"]["score"])
    of_query = {"additive": lambda: query_H @ p["query"], "cosine": lambda: query_H @ p["query"]}
    of_key = {"additive": lambda: vector_M @ p["memory"], "general": lambda: vector_M @ p["memory"]}
    return of_query.get(arm, lambda: query_H)(), of_key.get(arm, lambda: vector_M)()


@pytest.mark.long
@pytest.mark.parametrize("arm", ["additive", "general", "cosine"])
def test_ranks_are_those_of_single_looks(arm):
    run, source = trained_model(arm)
    found = similarity.measure(run, source)
    assert [row["length"] for row in found] == [4, 5]  # trained ones, from 4 on
    batch = next(jax.tree.map(lambda x: x[0], each) for each in source.evaluation("test", [0]) if each.length_B[0, 0] == 5)
    memory_BxSxM, query_BxTxH, attended = interventions.looks(model.stages(run.config.model, run.sizes), run.params, batch)
    rho: dict[str, list] = {"projected": [], "raw": []}
    for b, t in product(range(3), range(6)):
        looks = [(np.asarray(query_BxTxH[b, t]), np.asarray(memory_BxSxM[b, s])) for s in range(6)]
        for which, pairs in (("projected", [right_way(arm, run.params, *look) for look in looks]), ("raw", looks)):
            cosines = [q @ k / np.linalg.norm(q) / np.linalg.norm(k) for q, k in pairs]
            rho[which].append(stats.spearmanr(np.asarray(attended.weights_BxTxS[b, t, :6]), cosines).statistic)
    assert found[1]["projected_end"] == pytest.approx(np.mean(rho["projected"]), abs=0.02)  # ranks of what is nearly equal may swap
    assert found[1]["raw_end"] == pytest.approx(np.mean(rho["raw"]), abs=0.02)
    if arm == "cosine":
        assert found[1]["projected_end"] == pytest.approx(1, abs=0.02)
    assert found[1]["raw_start"] != found[1]["raw_end"]


@pytest.mark.long
def test_wrong_symbols_are_counted_under_every_change():
    run, source = trained_model("general")
    (row,) = [row for row in similarity.measure(run, source) if row["length"] == 4]
    batch = next(jax.tree.map(lambda x: x[0], each) for each in source.evaluation("test", [0]) if each.length_B[0, 0] == 4)
    assert row["symbols"] == 3 * 4
    built = model.build(run.config.model, run.sizes)
    changed = interventions.intervened(run.config.model, run.sizes, interventions.removed(interventions.most_attended))
    for name, each in (("plain", built), ("top_removed", changed)):
        logits_BxTxV = np.asarray(each.forced(run.params, batch, None).logits_BxTxV)
        wrong = (logits_BxTxV.argmax(2) != np.asarray(batch.target_BxT))[:, :4].sum()
        assert row[f"wrong_{name}"] == wrong
