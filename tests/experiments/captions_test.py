"""The verdict on where words look, on rows whose truth is planted, and what the presets are."""

import numpy as np
import pytest

from attention_jax.data.signals import captions as task
from attention_jax.sweeps import sweep
from experiments import captions
from tests.experiments import planted

BUDGETS, LENGTHS, SEEDS = {"summary": (100, 200, 400), "soft": (100, 200), "reinforce": (100, 200)}, (1, 2, 3, 4), 6


def rows(exact: float, pointing: dict[str, float], seeds: int = SEEDS, measured: int = SEEDS, scatter: float = 0.01) -> list[dict]:
    """What a sweep leaves: all arms as right as this, and what looks of each word class point at beyond chance, which is 0.05."""
    random, found = np.random.default_rng(0), []
    for arm, budgets in BUDGETS.items():
        named = {"attention": "additive", "estimator": "soft"} | captions.settings(arm)
        shared = named | {"task": "captions", "longest": 4, "cell": "gru", "hidden_size": 32, "vector_size": 32, "state_size": 32}
        for budget in budgets:
            run = shared | {"parameters": 9, "seconds": 2.0, "run": f"{arm}-u{budget}", "budget": budget}
            for seed in range(seeds):
                for length in LENGTHS:
                    place = run | {
                        "role": "reported",
                        "seed": seed,
                        "learning_rate": 0.016,
                        "length": length,
                        "seen": True,
                        "examples": 500,
                    }
                    place |= {"exact": round(500 * exact), "symbols": 500, "symbol_errors": 500 - round(500 * exact)}
                    found += [place | {"mode": mode} for mode in ("free", "forced")]
                    if arm == "summary" or seed >= measured:
                        continue
                    for kind in task.CLASSES:
                        looked = {"role": "measured", "seed": seed, "length": length, "words": kind, "count": 9, "places": 32}
                        value = 0.05 + 0.95 * (pointing[kind] + scatter * random.normal())
                        found.append(
                            run | looked | {"split": "test", "test": "a", "mass": 0.5, "chance": 0.05, "vectors": 2.0, "pointing": value}
                        )
            found += planted.curve(run, 0.016)
    return found


def looks(noun: float, function: float) -> dict[str, float]:
    """Pointing by word class, beyond chance."""
    return {"article": function, "size": noun, "noun": noun, "preposition": function}


@pytest.mark.parametrize(
    ("exact", "pointing", "word"),
    [
        (0.9, looks(0.8, 0.1), "nouns alone look"),
        (0.9, looks(0.8, 0.79), "all words look"),
        (0.9, looks(0.2, 0.1), "no word looks"),
        (0.9, looks(0.7, 0.55), "nouns look more"),
        (0.9, looks(0.2, 0.8), "words look early"),
        (0.9, looks(0.2, 0.5), "inconclusive"),
        (0.9, looks(0.6, 0.45), "nouns alone look"),
        (0.9, looks(0.55, 0.45), "inconclusive"),
        (0.2, looks(0.8, 0.1), "inconclusive"),
    ],
)
def test_the_verdict_is_the_planted_truth(exact, pointing, word):
    verdict = captions.score(rows(exact, pointing)).verdict
    assert verdict.value == word, verdict.reason
    assert verdict.failed == (() if word != "inconclusive" else ("learned",) if exact < 0.5 else ("looks",))


def test_what_is_missing_is_named():
    assert "not measured for every seed" in captions.score(rows(0.9, looks(0.8, 0.1), measured=3)).verdict.reason
    without_curves = [row for row in rows(0.9, looks(0.8, 0.1)) if row["role"] != "selection"]
    verdict = captions.score(without_curves).verdict
    assert verdict.value == "inconclusive" and verdict.needs and "rate curve" in verdict.reason


def test_a_curve_of_a_smaller_budget_does_not_stop_the_verdict_and_what_is_not_learned_says_what_to_run():
    of_last = [
        row for row in rows(0.9, looks(0.8, 0.1)) if (row["role"], row["attention"], row["budget"]) != ("selection", "additive", 100)
    ]
    assert captions.score(of_last).verdict.value == "nouns alone look"
    (need,) = captions.score(rows(0.2, looks(0.8, 0.1))).verdict.needs
    assert (need.arm, need.budget) == ("soft", 400)


def test_presets_have_the_lengths_that_the_vector_is_judged_by_but_for_tiny_which_says_so():
    from attention_jax.statistics.observations import Comparison
    from attention_jax.system.errors import ConfigError

    for preset in captions.PRESETS:
        data = captions.BASES[preset].data
        trained = tuple(length for length in data.eval_lengths if length <= data.longest)
        budgets = tuple(captions.LADDERS[preset][0] * 2**rung for rung in range(captions.LADDERS[preset][1]))
        rates = captions.BASES[preset].training.learning_rates
        if preset == "tiny":
            with pytest.raises(ConfigError, match="needed are four or more"):
                Comparison("summary", "soft", trained, budgets, rates)
            assert captions.__doc__ and "tiny has two, and so cannot judge what the vector loses" in captions.__doc__.replace("\n", " ")
        else:
            assert Comparison("summary", "soft", trained, budgets, rates).long


def test_other_test_sets_have_a_table_and_chance_is_that_of_canvases_alone():
    data = rows(0.9, looks(0.8, 0.1))
    wider = [row | {"role": "further", "test": "64x384"} for row in data if row["role"] == "reported"]
    found = {table.title.split(",")[0]: table for table in captions.score([row | {"test": "64x256"} for row in data] + wider).tables}
    assert found["Exact match by test set"].header == ("arm", "64x256", "64x384") and "Exact match without a source" in found
    own = [row | {"task": "own_images"} for row in data if row["role"] != "measured"]
    assert not any("without a source" in table.title for table in captions.score(own).tables)


def test_tables_findings_and_figures():
    found = rows(0.9, looks(0.8, 0.1))
    score = captions.score(found)
    (pointing,) = [table for table in score.tables if table.title.startswith("Where looks point")]
    assert [(row[0], row[1]) for row in pointing.rows] == [(arm, kind) for arm in ("soft", "reinforce") for kind in task.CLASSES]
    (chance,) = [table for table in score.tables if table.title.startswith("Exact match without a source")]
    assert chance.rows[1][:2] == ("2", "0.00083")  # (1 / 20)² / 3
    nouns, hard = captions.findings(found)
    assert nouns.interval.mean == pytest.approx(0.7, abs=0.02) and hard.interval.mean == 0
    assert captions.figures(found).keys() == {"lengths", "rates", *(f"pointing_{kind}" for kind in task.CLASSES)}


def test_presets():
    for preset in captions.PRESETS:
        arms = {run.config.run.split("-")[0] for run in sweep.plan(captions, preset)}
        assert arms == set(captions.ARMS) and all(run.config.training.seeds == 8 for run in sweep.plan(captions, preset))
