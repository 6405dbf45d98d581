"""The claim's verdict and tables on rows whose answer is known, and what its presets hold equal."""

from dataclasses import replace

import pytest

from attention_jax import statistics
from experiments import translation_length

ARMS = ("summary", "additive")


def rows(loss, caps=(40,), arms=ARMS) -> list[dict]:
    """What a sweep leaves in buckets to 60 words, three seeds, where `loss(arm, length, cap)` is in nats."""
    out = []
    for cap in caps:
        for arm in arms:
            for budget in (1200, 2400):
                for seed in range(3):
                    for length in (10, 20, 30, 40, 50, 60):
                        shared = {
                            "run": f"{arm}-gru-h96-w{cap}", "attention": arm, "task": "multi30k", "state_size": 192, "parameters": 400_000,
                            "seed": seed, "length": length, "seen": length <= cap, "examples": 70 - length,
                            "budget": budget, "step": budget, "learning_rate": 0.002,
                        }  # fmt: skip
                        shared |= {"max_words": cap} if len(caps) > 1 else {}
                        quality = {
                            "loss": None,
                            "chrf": 30 - length / 10,
                            "bleu": 9.0,
                            "bleu_signature": "of BLEU",
                            "chrf_signature": "of chrF",
                        }
                        out += [
                            shared | {"mode": "free"} | quality,
                            shared | {"mode": "forced", "loss": loss(arm, length, cap) + seed / 1000},
                        ]
    return out


def forgets(arm, length, cap):
    return 3 + (length / 100 if arm == "summary" else 0)


def keeps(arm, length, cap):
    return 3.0


def test_verdict_and_tables_where_the_vector_forgets():
    data = rows(forgets)
    score = translation_length.score(data)
    assert score.verdict == statistics.length_loss_verdict(data, "summary", "additive", 2400)
    assert score.verdict.value == "bottleneck"
    full, _, chrf, bleu, arms, verdicts, signatures = score.tables
    assert (
        full.header == ("length", "examples", "trained", *ARMS, "summary − additive")
        and [cells[0] for cells in full.rows] == "10 20 30 40 50 60".split()
    )
    assert full.rows[2][5] == "0.300 [0.300, 0.300]" and full.rows[2][4].startswith("3.001 [")
    assert chrf.rows[0][3] == "29.0 [29.0, 29.0]" and bleu.rows[0][3] == "9.0 [9.0, 9.0]"
    assert [cells[0] for cells in arms.rows] == list(ARMS)
    assert [cells[1:3] for cells in verdicts.rows] == [("2400", "bottleneck"), ("1200", "bottleneck")]
    assert signatures.rows == [("of BLEU",), ("of chrF",)]


def test_verdict_where_nothing_is_forgotten():
    assert translation_length.score(rows(keeps)).verdict.value == "no bottleneck"


def test_caps_are_judged_apart():
    verdict = translation_length.score(rows(lambda *a: (forgets if a[2] == 50 else keeps)(*a), caps=(30, 50))).verdict
    assert verdict.value == "inconclusive"
    assert "up to 50 words: bottleneck" in verdict.reason and "up to 30 words: no bottleneck" in verdict.reason


def test_without_both_arms_there_is_no_verdict():
    assert translation_length.score(rows(forgets, arms=("summary",))).verdict.value == "inconclusive"


def test_the_last_bucket_is_open_in_tables_and_figures():
    data = [{**row, "length": 51, "open": True} if row["length"] == 60 else row for row in rows(forgets)]
    assert translation_length.score(data).tables[0].rows[-1][:3] == ("51 and more", "10", "no")
    for figure in translation_length.figures(data).values():
        axes = figure.axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == [f"{n}\n{70 - n}" for n in (10, 20, 30, 40, 50)] + ["51+\n10"]
        assert axes.get_xticks().tolist() == [10, 20, 30, 40, 50, 60]


def test_three_figures_for_each_cap():
    drawn = translation_length.figures(rows(forgets, caps=(30, 50)))
    assert list(drawn) == [f"{value}_multi30k_up_to_{cap}_words" for cap in (30, 50) for value in ("loss", "chrf", "bleu")]


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 4), ("full", 8)])
def test_only_the_mechanism_differs_under_one_cap(preset, runs):
    configs = translation_length.sweep(preset)
    assert len(configs) == runs
    groups = {}
    for config in configs:
        groups.setdefault(replace(config, model=replace(config.model, attention="")), []).append(config.model.attention)
    assert all(arms == list(ARMS) for arms in groups.values())
    assert {translation_length.name(config) for config in configs} >= {
        f"additive-gru-h{configs[0].model.hidden_size}-w{configs[0].text.max_words}-u{updates}"
        for updates in {config.training.updates for config in configs}
    }
