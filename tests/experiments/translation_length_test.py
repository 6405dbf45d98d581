"""The claim's verdict and tables on rows whose answer is known, and what its presets hold equal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attention_jax.report import findings as said
from attention_jax.running import selection
from attention_jax.statistics import verdicts
from attention_jax.statistics.text import truths
from attention_jax.statistics.text.truths import Truth
from attention_jax.sweeps import archive, sweep
from experiments import translation_length

ARMS = ("summary", "additive")
RESULTS = Path(__file__).resolve().parent.parent.parent / "docs" / "results"


SHARED = {"task": "multi30k", "state_size": 128, "parameters": 400_000, "step": 0}


def constant(words):
    """Nats per token of attention."""
    return 2.0 + 0 * words


GROWING = Truth("", "", "", constant, (lambda w: 2.2 + 0.02 * w,) * 3, truths.unseen)
EQUAL = Truth("", "", "", constant, (constant,) * 3, truths.unseen)


def sweep_of(truth: Truth, cap: int | None = None, arms=("fixed", "attention")) -> tuple[list[dict], dict]:
    """Rows and sentences of a sweep in which this truth holds; forced and free, with a bucket beyond the trained ones."""
    names = {"fixed": "summary", "attention": "additive"}
    made, kept = truths.experiment(truth, 8, 1000, np.random.default_rng(5))
    rows = []
    for row in made:
        if row["attention"] not in arms:
            continue
        more = {"attention": names[row["attention"]], "grown": False, "run": f"{row['run']}-{cap}"} | ({"max_words": cap} if cap else {})
        rows.append(SHARED | row | more)
        if row["role"] == "reported":
            quality = {"loss": None, "chrf": 30 - row["length"] / 10, "bleu": 9.0, "bleu_signature": "of BLEU", "chrf_signature": "of chrF"}
            rows.append(rows[-1] | quality | {"mode": "free"})
            if row["length"] == truths.LENGTHS[-1]:
                rows += [each | {"length": 41, "open": True, "seen": False, "examples": 2} for each in rows[-2:]]
    return rows, {f"{name}-{cap}": found for name, found in kept.items()}


@pytest.fixture(scope="module")
def growing():
    return sweep_of(GROWING)


def test_verdict_and_tables_where_the_gap_grows(growing):
    rows, sentences = growing
    score = translation_length.score(rows, sentences)
    assert score.verdict.value == "bottleneck" and score.verdict.k == 4
    full, small, chrf, bleu, arms, rates, conditions, verdicts, signatures = score.tables
    assert full.header == ("length", "examples", "trained", *ARMS, "blind", "summary − additive", "blind − additive")
    assert [cells[0] for cells in full.rows] == ["10", "20", "30", "40", "41 and more"]
    assert "200 updates" in full.title and "100 updates" in small.title  # the fixed vector alone has 400
    assert chrf.rows[0][3] == "29.0 [29.0, 29.0]" and bleu.rows[0][3] == "9.0 [9.0, 9.0]"
    assert [cells[0] for cells in arms.rows] == [*ARMS, "blind"]
    assert [cells[:2] for cells in rates.rows] == [
        *(("summary", f"{b}") for b in (100, 200, 400)),
        *((arm, f"{b}") for arm in ("additive", "blind") for b in (100, 200)),
    ]
    assert all(sum(cell.endswith("*") for cell in cells) == 1 for cells in rates.rows)
    assert {line[1] for line in conditions.rows} == {"learned", "gap", "widening", "ratio", "rates", "placebo"}
    assert verdicts.rows == [("multi30k", str(score.verdict), verdicts.rows[0][2], "")]
    assert signatures.rows == [("of BLEU",), ("of chrF",)]


def test_verdict_where_nothing_is_forgotten():
    assert translation_length.score(*sweep_of(EQUAL)).verdict.value == "no bottleneck"


def test_an_open_bucket_is_in_no_half_where_it_was_trained_on(growing):
    """Without text.max_words all lengths are trained on; trials have a row of the open bucket then, which does not say that it is open."""
    rows, sentences = growing
    seen = [row | {"seen": True} if row.get("open") else row for row in rows]
    trials = [row | {"length": 41} for row in rows if row["role"] == "selection" and row.get("length") == truths.LENGTHS[-1]]
    assert translation_length.score(seen + trials, sentences).verdict == translation_length.score(rows, sentences).verdict


def test_caps_are_judged_apart():
    both = [sweep_of(truth, cap) for truth, cap in ((GROWING, 50), (EQUAL, 30))]
    verdict = translation_length.score(both[0][0] + both[1][0], both[0][1] | both[1][1]).verdict
    assert verdict.value == "inconclusive"
    assert "up to 50 words: bottleneck" in verdict.reason and "up to 30 words: no bottleneck" in verdict.reason


def test_what_is_missing_is_said(growing):
    rows, sentences = growing
    alone, _ = sweep_of(GROWING, arms=("fixed",))
    assert translation_length.score(alone, sentences).verdict == verdicts.NOTHING_TO_COMPARE
    assert translation_length.score(rows, {}).verdict.failed == ("missing",)
    few = [row for row in rows if row.get("length") not in (10, 20)]
    assert "four or more" in translation_length.score(few, sentences).verdict.reason


def test_of_one_budget_a_table_is_shown_once(growing):
    rows, sentences = growing
    alone = [row for row in rows if row["budget"] == 100]
    score = translation_length.score(alone, sentences)
    titles = [table.title for table in score.tables]
    assert len(set(titles)) == len(titles) and "Loss, nats per target token, multi30k, 100 updates" in titles
    assert score.budget.endswith("seeds, at 100 updates")


def test_the_last_bucket_is_open_in_figures(growing):
    drawn = translation_length.figures(growing[0])
    for figure in (drawn[f"{value}_multi30k"] for value in ("loss", "chrf", "bleu")):
        names = [label.get_text().split("\n")[0] for label in figure.axes[0].get_xticklabels()]
        assert names == ["10", "20", "30", "40", "41+"]


@pytest.mark.long
def test_four_figures_for_each_cap(growing):
    rows = [row | {"max_words": cap} for row in growing[0] for cap in (30, 50)]
    drawn = translation_length.figures(rows)
    of_caps = [f"{value}_multi30k_up_to_{cap}_words" for cap in (30, 50) for value in ("loss", "chrf", "bleu", "rates")]
    assert list(drawn) == [*of_caps, "figure_2_multi30k"]


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 6), ("small", 14), ("full", 28)])
def test_only_mechanism_budget_and_source_differ_under_one_cap(preset, runs):
    configs = translation_length.sweep(preset)
    assert len(configs) == runs and len({translation_length.name(config) for config in configs}) == runs
    groups = {}
    for config in configs:
        alike = replace(
            config,
            model=replace(config.model, attention=""),
            text=replace(config.text, blind=False),
            training=replace(config.training, updates=1),
        )
        groups.setdefault(alike, []).append((config.model.attention, config.text.blind, config.training.updates))
    for found in groups.values():
        half, full, *further = sorted({updates for *_, updates in found})
        assert full == 2 * half and further == [2 * full] * (preset != "tiny")
        arms = (("summary", False, (half, full, *further)), ("additive", False, (half, full)), ("additive", True, (half, full)))
        assert found == [(arm, blind, updates) for arm, blind, budgets in arms for updates in budgets]
    assert translation_length.name(configs[0]).startswith(f"summary-gru-h{configs[0].model.hidden_size}-w{configs[0].text.max_words}-u")
    assert all(config.training.schedule == "cosine" and config.training.pilot_updates == 0 for config in configs)


def test_word_links_are_for_those_who_see():
    asked = ["data.task=parallel_text", "text.source_file=a", "text.target_file=b", "text.alignment_file=c", "training.guided=0.5"]
    for run in sweep.plan(translation_length, assignments=asked, arms=["additive"]):
        links = run.config.text.alignment_file, run.config.training.guided
        assert links == (("", 0.0) if run.config.text.blind else ("c", 0.5))


def test_runs_that_are_on_file_keep_their_names_and_settings():
    stored = archive.read(RESULTS / "translation_length")
    planned = {run.config.run: run.config for run in sweep.plan(translation_length, "tiny")}
    assert planned == {config.run: config for config in stored.configs()}
    kept = {row["curve"] for row in selection.kept(RESULTS.parent.parent / "experiments" / "curves" / "translation_length.jsonl")}
    assert {selection.fingerprint(config) for config in planned.values()} <= kept


BUCKETS = (10, 20, 30, 40, 50, 60, 61)


def figure_2(levels: dict[str, tuple[float, ...]]) -> list[dict]:
    """Free rows of four models on file: {model: BLEU by bucket}, eight seeds, ten sentences each."""
    random, rows = np.random.default_rng(0), []
    for model, bleu in levels.items():
        kind, cap = model.split("-")
        for seed in range(8):
            place = SHARED | {"attention": {"search": "additive", "encdec": "summary"}[kind], "max_words": int(cap), "seed": seed}
            for length, level in zip(BUCKETS, bleu, strict=True):
                row = place | {"length": length, "seen": length <= int(cap), "mode": "free", "budget": 800, "examples": 10, "loss": None}
                rows.append(row | {"bleu": level + 0.1 * random.normal(), "open": length == 61, "role": "reported"})
    return rows


PUBLISHED = {
    "search-50": (24, 27, 28, 27, 27, 26, 26),
    "search-30": (22, 25, 22, 16, 11, 8, 6),
    "encdec-50": (20, 22, 18, 13, 10, 7, 5),
    "encdec-30": (18, 20, 12, 7, 4, 2, 1),
}
ALL = (0, 1, 2)


@pytest.mark.parametrize(
    ("changed", "true"),
    [
        ({}, ALL),
        ({"search-30": (20, 22, 18, 9, 6, 3, 1)}, (1, 2)),
        ({"search-50": (44, 42, 28, 17, 14, 15, 15)}, (0, 2)),
        ({"search-50": (24, 27, 28, 27, 27, 24, 22)}, (0, 1)),
    ],
)
def test_facts_of_figure_2(changed, true):
    rows = figure_2(PUBLISHED | changed)
    words = [word for _, _, word in said.together(translation_length.shape("multi30k", rows))]
    assert words == ["holds" if i in true else "does not hold" for i in ALL]
    table = translation_length.shape_table("multi30k", rows)
    assert [line[-1] for line in table.rows] == words and [line[2] for line in table.rows] == ["0", "0", "-2"]


def test_facts_of_figure_2_are_at_the_budget_that_all_have():
    """The fixed vector's next budget, at which it knows all, changes no fact."""
    rows = figure_2(PUBLISHED)
    more = [row | {"budget": 1600, "bleu": 90.0} for row in rows if row["attention"] == "summary"]
    assert translation_length.shape("multi30k", rows + more) == translation_length.shape("multi30k", rows)


def test_figure_2_has_four_named_lines():
    rows = figure_2(PUBLISHED)
    drawn = translation_length.figure_2("multi30k", translation_length._models(rows))
    assert {text.get_text() for text in drawn.axes[0].texts} >= set(PUBLISHED)
    assert translation_length.shape("multi30k", [row for row in rows if row["max_words"] == 50]) == []
