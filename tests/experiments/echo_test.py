"""The claim's verdict, tables and figures on rows whose truth is planted, and what its presets hold equal."""

from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import validate
from attention_jax.data import sources
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import agreement, sweep
from attention_jax.sweeps.agreement import Side
from experiments import echo
from experiments.echo import Place

EXAMPLES = 1_000
SHARED = {"task": "echo", "cell": "lstm", "hidden_size": 150, "vector_size": 0, "state_size": 150, "parameters": 398_604, "seconds": 50.0}

TUTORIAL = {("summary", "constant", 1, 5_000): 0.231, ("additive", "constant", 1, 5_000): 0.957}
LONGER = {("summary", "constant", 1, 20_000): 0.948, ("summary", "constant", 32, 5_000): 0.998}
TUNED = {("summary", "cosine", 1, 5_000): 0.6, ("additive", "cosine", 1, 5_000): 0.99}


def rows(truths: dict, seeds: int = 10, scatter: float = 0.1, random: int = 0) -> list[dict]:
    """What a sweep leaves where seeds scatter by so many logits around these shares; the tuned runs have a rate curve."""
    generator, found = np.random.default_rng(random), []
    for place, truth in truths.items():
        arm, schedule, batch, budget = place
        rate = 1e-3 if schedule == "constant" else 2e-3
        own = SHARED | {"attention": arm, "schedule": schedule, "batch_size": batch, "budget": budget, "learning_rate": rate}
        own |= {"run": f"{arm}-lstm-h150-{schedule}-b{batch}-u{budget}", "length": 5, "seen": True, "examples": EXAMPLES}
        for seed in range(seeds):
            logit = np.log(truth / (1 - truth)) + scatter * generator.standard_normal()
            exact = int(generator.binomial(EXAMPLES, 1 / (1 + np.exp(-logit))))
            reported = own | {"role": "reported", "seed": seed, "exact": exact, "exact_match": exact / EXAMPLES}
            found += [reported | {"mode": "free"}, reported | {"mode": "forced", "exact": EXAMPLES, "exact_match": 1.0}]
        for each in echo.TUNED["learning_rates"] if schedule == "cosine" else ():
            for seed in range(4):
                trial = own | {"role": "selection", "learning_rate": each, "seed": 2_000_000_000 + seed, "grown": False}
                found.append({name: trial[name] for name in trial if name not in ("length", "seen", "examples")} | {"validation_loss": 1.0})
                found[-1]["validation_loss"] += abs(np.log2(each / 2e-3)) + 0.01 * seed
    return found


def test_the_published_numbers_are_those_of_the_tutorial():
    means = {arm: np.mean(shares) for arm, shares in echo.PUBLISHED.items()}
    assert means == {"summary": pytest.approx(0.231), "additive": pytest.approx(0.957)}
    assert all(len(shares) == 10 for shares in echo.PUBLISHED.values())


def test_a_gap_that_training_closes_is_reproduced_and_slower_to_train():
    data = rows(TUTORIAL | LONGER | TUNED)
    score = echo.score(data)
    assert score.verdict.value == "reproduced, slower to train"
    runs, published, gaps, curves = score.tables
    assert [line[:4] for line in runs.rows] == [
        ("summary", "constant", "1", "5,000"),
        ("additive", "constant", "1", "5,000"),
        ("summary", "constant", "1", "20,000"),
        ("summary", "constant", "32", "5,000"),
        ("summary", "cosine", "1", "5,000"),
        ("additive", "cosine", "1", "5,000"),
    ]
    assert [(line[0], line[-1]) for line in published.rows] == [("summary", "yes"), ("additive", "yes")]
    assert [line[:3] for line in gaps.rows] == [("constant", "1", "5,000"), ("cosine", "1", "5,000")]
    assert [line[:2] for line in curves.rows] == [("summary", "5,000"), ("additive", "5,000")]
    assert all(sum(cell.endswith("*") for cell in line) == 1 for line in curves.rows)
    assert score.budget == "with 10 seeds, at 5,000, 20,000 updates, each budget a run of its own"


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows(TUTORIAL)
    ours = [row["exact_match"] for row in data if row["attention"] == "summary" and row["mode"] == "free"]
    runs, published, gaps = echo.score(data).tables
    assert runs.rows[0][7].startswith(f"{np.mean(ours):.3f} [") and runs.rows[0][9] == f"{min(ours):.3f} to {max(ours):.3f}"
    assert published.rows[0][1].startswith("0.231 [") and published.rows[0][4].startswith(f"{np.mean(ours) - 0.231:.3f} [")
    assert float(gaps.rows[0][4].split(" ")[0]) == pytest.approx(0.957 - np.mean(ours), abs=0.03)


@pytest.mark.parametrize(
    ("truths", "value"),
    [
        (TUTORIAL, "reproduced"),
        (TUTORIAL | dict.fromkeys(LONGER, 0.5), "reproduced, the gap stands"),
        (TUTORIAL | {place: p for place, p in LONGER.items() if place[2] == 32}, "reproduced, slower to train"),
        (TUTORIAL | LONGER | {("summary", "constant", 1, 5_000): 0.6}, "reproduced in part, slower to train"),
        (TUTORIAL | LONGER | {("summary", "constant", 1, 5_000): 0.96}, "reproduced in part, no gap"),
        (dict.fromkeys(TUTORIAL, 0.6), "not reproduced, no gap"),
    ],
)
def test_verdicts_of_planted_truths(truths, value):
    assert echo.verdict(rows(truths)).value == value


def test_what_is_missing_is_said():
    alone = echo.score(rows({place: p for place, p in TUTORIAL.items() if place[0] == "summary"})).verdict
    assert alone.failed == ("missing",) and "additive, 5,000 updates of 1 example" in alone.reason
    assert echo.verdict(rows(TUTORIAL, seeds=4)).reason == "4 seeds; a verdict needs 8"
    assert "preset small" in echo.verdict(rows(TUTORIAL)).reason
    higher = echo.verdict(rows(TUTORIAL | {("additive", "constant", 1, 5_000): 0.9999}))
    assert higher.value == "reproduced in part" and "additive not reproduced, ours higher: 1.000 [" in higher.reason
    short = rows({(arm, "constant", 1, 10): p for arm, *_, p in ((*place, p) for place, p in TUTORIAL.items())})
    assert echo.verdict(short).failed == ("missing",)


def test_how_often_the_truth_is_reproduced():
    """Where both arms are the tutorial's own truth: the interval of a new draw has 95 %, and either of the two rules is enough."""
    found = [echo.verdict(rows(TUTORIAL, random=draw)).value for draw in range(200)]
    assert found.count("reproduced") >= 180


def test_every_row_has_its_batch_size():
    assert [run.fields["batch_size"] for run in sweep.plan(echo, "tiny")] == [1, 1]


def test_figures_show_every_seed_beside_the_published_repeats():
    data = rows(TUTORIAL | LONGER | TUNED)
    drawn = echo.figures(data)
    assert list(drawn) == ["repeats", "rates_cosine_batch_1"]
    axes = drawn["repeats"].axes[0]
    dots = [line.get_xdata().tolist() for line in axes.lines if len(line.get_xdata()) == 10]
    assert list(echo.PUBLISHED["summary"]) in dots and list(echo.PUBLISHED["additive"]) in dots and len(dots) == 6 + 2
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[2:4] == ["summary, 20,000 × 1", "summary, 5,000 × 32"] and labels[-1] == "additive, 5,000 × 1, tuned"


def test_two_folders_are_compared_run_by_run():
    sides = [Side(name, rows(TUTORIAL | LONGER | TUNED), {}, Verdict("reproduced", "")) for name in "ab"]
    found = agreement.between(*sides, (*agreement.GROUP, *echo.GROUP))
    assert found.outcome == "same" and len(found.differences) == 6
    assert {each.place.group for each in found.differences} == {
        "echo lstm h150 d0 constant batch 1",
        "echo lstm h150 d0 constant batch 32",
        "echo lstm h150 d0 cosine batch 1",
    }


def test_a_linear_readout_stands_beside_and_is_no_part_of_the_verdict():
    """Its rows are apart from the others', which lack the field where they are older than it."""
    data = rows(TUTORIAL | LONGER)
    nearer = [row | {"readout": "linear", "run": f"{row['run']}-linear"} for row in rows(TUTORIAL, random=1)]
    named = [row | {"readout": "tanh"} for row in data]
    score = echo.score(data + nearer)
    assert score.verdict == echo.score(data).verdict == echo.score(named + nearer).verdict
    runs, published, gaps = score.tables
    assert [line[0] for line in published.rows] == ["summary", "additive", "summary, linear readout", "additive, linear readout"]
    theirs = np.mean([row["exact_match"] for row in nearer if row["attention"] == "summary" and row["mode"] == "free"])
    assert published.rows[2][2].startswith(f"{theirs:.3f} [") and runs.rows[-2][7].startswith(f"{theirs:.3f} [")
    assert [line[3] for line in gaps.rows] == ["tanh", "linear"] and len(runs.rows) == 6
    assert echo.findings(data + nearer) == echo.findings(data)
    sides = [Side(name, each + nearer, {}, Verdict("reproduced", "")) for name, each in (("a", data), ("b", named))]
    found = agreement.between(*sides, (*agreement.GROUP, *echo.GROUP))
    assert found.outcome == "same" and len(found.differences) == 6


@pytest.mark.parametrize(("preset", "runs", "seeds"), [("tiny", 2, 10), ("small", 8, 10), ("full", 8, 50)])
def test_presets_are_valid_and_their_runs_named_apart(preset, runs, seeds):
    configs = echo.sweep(preset)
    assert len(configs) == runs == len({echo.name(config) for config in configs})
    assert {config.training.seeds for config in configs} == {seeds}
    planned = sweep.plan(echo, preset)
    assert [run.config.run for run in planned] == [echo.name(validate(config)) for config in configs]
    alike = {
        replace(config, model=replace(config.model, attention="", feedback=True, readout=""), training=echo.TUTORIAL.training)
        for config in configs
    }
    assert len(alike) == 1
    assert all(config.model.feedback == (config.model.attention == "additive") for config in configs)


def test_the_tutorials_runs_are_part_of_the_larger_preset():
    tiny, small = (set(echo.sweep(preset)) for preset in ("tiny", "small"))
    assert tiny < small
    assert {Place(c.model.attention, c.training.schedule, c.training.batch_size, c.training.updates) for c in small} == {
        Place(*place) for place in (*TUTORIAL, *LONGER, *TUNED)
    }


def test_examples_are_those_of_the_tutorial():
    """5 symbols of 50 in, the first 2 out, zeros to the length of the input, and no end."""
    source = sources.build(echo.sweep("tiny")[0])
    batch = next(source.evaluation("test", [0]))
    sources_BxS, targets_BxT = np.asarray(batch.source_BxS)[0], np.asarray(batch.target_BxT)[0]
    assert sources_BxS.shape[1] == 6 and targets_BxT.shape == (EXAMPLES, 5) and not source.stop
    np.testing.assert_array_equal(targets_BxT[:, :2], sources_BxS[:, :2])
    assert (targets_BxT[:, 2:] == 0).all() and np.asarray(batch.target_mask_BxT).all()
    assert source.sizes == (54, 54)
