"""The claim's verdict, tables and findings on rows whose answer is known; and the whole of it on files of Gigaword's format."""

import numpy as np
import pytest

from attention_jax.running import results
from attention_jax.statistics import rouge, verdicts
from attention_jax.statistics.text import scores, truths
from attention_jax.statistics.text.truths import Truth
from experiments import headlines
from tests.experiments.command import call

NAMES = {"fixed": "summary", "attention": "additive"}
SHARED = {"task": "reuters", "cell": "gru", "hidden_size": 64, "state_size": 128, "parameters": 400_000, "step": 0, "seconds": 1.0}
STORIES = 640


def constant(words):
    """Nats per token of attention."""
    return 2.0 + 0 * words


GROWING = Truth("", "", "", constant, (lambda w: 2.2 + 0.02 * w,) * 3, truths.unseen)
EQUAL = Truth("", "", "", constant, (constant,) * 3, truths.unseen)
WRITTEN = {"summary": 0.3, "additive": 0.4, "copy": 0.5, "blind": 0.2}


def sweep_of(truth: Truth, arms=("fixed", "attention")) -> tuple[list[dict], dict]:
    """Rows and sentences of a sweep in which this truth holds of losses, and `WRITTEN` of ROUGE-1."""
    made, sentences = truths.experiment(truth, 8, 1000, np.random.default_rng(5))
    rows = [SHARED | {"blind": False, "copy": False, "grown": False} | row for row in made if row["attention"] in arms]
    rows = [row | {"attention": NAMES[row["attention"]]} for row in rows]
    rows += [row | {"mode": "free", "loss": None} for row in rows if row.get("role") == "reported"]
    return rows, sentences


def measured(rows: list[dict]) -> list[dict]:
    """What the claim measures of each run and seed besides, and of runs that copy."""
    random, found = np.random.default_rng(0), []
    places = {(row["run"], row["seed"]): row for row in rows if row.get("role", "reported") == "reported"}
    for row in places.values():
        for copies in (False, True) if row["attention"] == "additive" and not row["blind"] else (False,):
            arm = "blind" if row["blind"] else "copy" if copies else row["attention"]
            f_N = np.clip(random.normal(WRITTEN[arm], 0.2, STORIES), 0, 1)
            of_each = {"sums": f_N, "lead": np.full(STORIES, 0.35), "unigram": np.full(STORIES, 0.1)}
            own = {name: scores.spelled(scores.summed(values_N)) for name, values_N in of_each.items()}
            for kind in rouge.NAMES:
                found.append({**row, "copy": copies, "role": "measured", "rouge": kind, "stories": STORIES, **own})
    return found


def test_verdict_tables_and_findings_where_the_gap_grows():
    rows, sentences = sweep_of(GROWING)
    rows += measured(rows)
    score = headlines.score(rows, sentences)
    assert score.verdict.value == "bottleneck" and score.verdict.k == 4
    first, _, _, losses, arms, rates, conditions, _ = score.tables
    assert first.title.startswith("ROUGE1, F, over all test stories, reuters gru h64")
    assert "200 updates" in losses.title  # the fixed vector alone has 400
    found = {cells[0]: cells[3] for cells in first.rows}
    assert found["lead"].startswith("0.350") and found["unigram"].startswith("0.100") and found["copy"][:4] in ("0.49", "0.50")
    assert losses.header[3:6] == ("summary", "additive", "blind") and [cells[0] for cells in arms.rows] == ["summary", "additive", "blind"]
    assert len(rates.rows) == 7 and {line[1] for line in conditions.rows} == {"learned", "gap", "widening", "ratio", "rates", "placebo"}
    made = {finding.number: finding for finding in headlines.findings(rows, sentences)}
    assert [number.split(", ")[1] for number in made] == ["additive − blind", "additive − summary", "copy − additive"]
    assert [round(finding.interval.mean, 1) for finding in made.values()] == [0.2, 0.1, 0.1]
    assert set(headlines.figures(rows)) == {"loss_reuters_gru_h64", "rates_reuters_gru_h64"}


def test_verdicts_where_nothing_is_forgotten_and_where_something_is_missing():
    rows, sentences = sweep_of(GROWING)
    assert headlines.score(*sweep_of(EQUAL)).verdict.value == "no bottleneck"
    assert headlines.score(sweep_of(GROWING, arms=("fixed",))[0], sentences).verdict == verdicts.NOTHING_TO_COMPARE
    assert headlines.score(rows, {}).verdict.failed == ("missing",)


def test_attention_that_learns_at_none_of_its_budgets_is_said_to():
    """The fixed vector alone has a next one, which is no rung that attention lacks."""
    never = headlines.score(*sweep_of(Truth("", "", "", truths.unseen, (truths.unseen,) * 3, truths.unseen))).verdict
    assert never.failed == ("learned",) and {(need.budget, need.role) for need in never.needs} == {(400, "selection")}


@pytest.mark.parametrize("preset", headlines.PRESETS)
def test_arms_have_the_same_budgets_and_the_control_is_of_attention_alone(preset):
    of_arm = {}
    for config in headlines.sweep(preset):
        of_arm.setdefault(headlines.name(config).split("-gru")[0], []).append(config.training.updates)
    assert list(of_arm) == ["summary", "additive", *["copy"] * (preset != "tiny"), "blind-additive"]
    assert not any(config.text.max_words for config in headlines.sweep(preset))  # rates are chosen by losses of trained lengths
    next_one = of_arm["summary"].pop()  # the fixed vector has one beyond what attention has
    assert len({tuple(budgets) for budgets in of_arm.values()}) == 1 and next_one == 2 * of_arm["summary"][-1]


def test_baselines_are_as_long_as_a_training_headline():
    pytest.importorskip("rouge_score", reason="rouge-score is not installed: pip install -e .")
    found = headlines.baseline_scores(("gm sells gm", "ibm sells"), ("gm sells shares of gm", "ibm"), ("gm sells", "x"))
    np.testing.assert_allclose(found["lead"]["rouge1"], [1, 0])  # two words: "gm sells", "ibm"
    np.testing.assert_allclose(found["unigram"]["rouge2"], [1, 0])  # "gm sells", the most frequent ones


SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 data.task=parallel_text data.eval_lengths=3,4,5 training.seeds=2 training.updates=4 "
    "training.batch_size=8 training.learning_rates=0.01 training.warmup=1 training.chunk=2 training.checkpoint_every=4 text.unit=word "
    "text.max_words=0 text.buckets=12 text.cut=12 text.source_file=train.article.txt text.target_file=train.title.txt "
    "text.validation_source=valid.article.filter.txt text.validation_target=valid.title.filter.txt "
    "text.test_sources=test.article.txt text.test_targets=test.title.txt"
).split()


@pytest.mark.long
def test_files_of_gigawords_format(tmp_path, tfds):
    pytest.importorskip("rouge_score", reason="rouge-score is not installed: pip install -e .")
    firms = "acme apex atlas".split()
    for part, ending, count in (("train", "", 40), ("valid", ".filter", 8), ("test", "", 24)):
        (tmp_path / f"{part}.article{ending}.txt").write_text("".join(f"{firms[i % 3]} said it sold unk {part} .\n" for i in range(count)))
        (tmp_path / f"{part}.title{ending}.txt").write_text("".join(f"{firms[i % 3]} sells unk\n" for i in range(count)))
    command = ["--experiment=headlines", "--arms=summary,copy", *(f"--set={setting}" for setting in SETTINGS)]
    folders = [f"--workdir={tmp_path / 'runs'}", f"--data_dir={tmp_path}", f"--cache_dir={tmp_path / 'cache'}"]
    assert call(*command, *folders) == 0
    for arm in ("summary", "copy"):
        rows = results.read(tmp_path / "runs" / "headlines" / f"{arm}-gru-h6-u4" / "measured.jsonl")
        assert [(row["seed"], row["rouge"]) for row in rows] == [(seed, kind) for seed in (0, 1) for kind in rouge.NAMES]
        assert all(row["stories"] == 24 and len(scores.read(row["sums"])) == 2 for row in rows)
        assert sum(scores.read(rows[0]["lead"])) == pytest.approx(24 * 1 / 3)  # "acme said it" of "acme sells unk"
