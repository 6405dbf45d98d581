"""The claim's verdict, tables and findings on rows whose answer is known; and the whole of it on files of SNLI's kind."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax import trained
from attention_jax.data.corpora import snli
from attention_jax.running import results
from attention_jax.statistics import verdicts
from attention_jax.statistics.text import scores, truths
from attention_jax.statistics.text.truths import Truth
from attention_jax.system.errors import DataError
from experiments import entailment
from tests.experiments.command import call

NAMES = {"fixed": "conditional", "attention": "word_by_word"}
SHARED = {"task": "sick", "cell": "gru", "hidden_size": 32, "state_size": 64, "parameters": 80_000, "step": 0, "seconds": 1.0}
SCALE = 0.1  # label errors for each nat of a truth


def constant(words):
    """Nats of attention."""
    return 2.0 + 0 * words


GROWING = Truth("", "", "", constant, (lambda w: 2.2 + 0.02 * w,) * 3, truths.unseen)
EQUAL = Truth("", "", "", constant, (constant,) * 3, truths.unseen)


def sweep_of(truth: Truth, arms=("fixed", "attention")) -> tuple[list[dict], dict]:
    """Rows and sentences of a sweep in which this truth holds of label errors."""
    made, kept = truths.experiment(truth, 8, 1000, np.random.default_rng(5))
    rows = []
    for row in made:
        if row["attention"] in arms:
            settings = {**entailment.SETTINGS[NAMES[row["attention"]]], "blind": row.get("blind", False)}
            own = SHARED | {"timing": "before", "feeding": False} | row | settings | {"grown": False}
            rows.append(own)
            if "length" in row:
                symbols = row["symbols"] + row["examples"]
                rows.append(own | {"mode": "free", "loss": None, "error_rate": SCALE * row["loss"], "reference_symbols": symbols})
    random = np.random.default_rng(0)
    found = {}
    for name, of_run in kept.items():
        errors_RxN = SCALE * of_run.nll_RxN
        right_RxN = random.random(errors_RxN.shape) > errors_RxN / of_run.tokens_N
        found[name] = of_run._replace(exact_RxN=right_RxN.astype(int), edits_RxN=errors_RxN, symbols_N=of_run.tokens_N)
    return rows, found


@pytest.fixture(scope="module")
def growing():
    return sweep_of(GROWING)


def measured(rows: list[dict], pairs: int) -> list[dict]:
    """What the claim measures of each run besides: a label that is right every second time."""
    places = {(row["run"], row["seed"]): row for row in rows if row.get("role", "reported") == "reported"}
    own = {"label": "NEUTRAL", "majority": scores.spelled(scores.summed(np.arange(pairs) % 2))}
    return [{**row, **own, "role": "measured", "mode": None, "length": None} for row in places.values()]


def test_verdict_tables_and_findings_where_the_gap_grows(growing):
    rows, sentences = growing
    rows = rows + measured(rows, len(next(iter(sentences.values())).tokens_N))
    score = entailment.score(rows, sentences)
    assert score.verdict.value == "bottleneck" and score.verdict.k == 4
    accuracy, errors, arms, rates, conditions, _ = score.tables
    assert accuracy.header == ("arm", "updates", "seeds", "score", "gained over conditional")
    assert [cells[0] for cells in accuracy.rows][-1] == "majority" and accuracy.rows[-1][3].startswith("0.500")
    assert {cells[0] for cells in accuracy.rows} == {"conditional", "word_by_word", "blind", "majority"}
    assert (
        errors.header[3:6] == ("conditional", "word_by_word", "blind") and "Label errors" in errors.title and "200 updates" in errors.title
    )
    assert [cells[0] for cells in arms.rows] == ["conditional", "word_by_word", "blind"] and len(rates.rows) == 7
    assert {line[1] for line in conditions.rows} == {"learned", "gap", "widening", "ratio", "rates", "placebo"}
    assert all("label errors" in line[2] for line in conditions.rows if line[1] in ("learned", "gap", "rates", "placebo"))
    found = {finding.number.split(",")[1]: finding for finding in entailment.findings(rows, sentences)}
    assert found[" word_by_word − conditional"].interval.low > 0.01
    premise = found[" word_by_word − blind"]
    assert premise.claim == "The premise adds to the hypothesis" and premise.word(0.001) == "holds"
    assert set(entailment.figures(rows)) == {"errors_sick_gru_h32", "rates_sick_gru_h32"}


def test_verdicts_where_nothing_is_forgotten_and_where_something_is_missing(growing):
    rows, sentences = growing
    assert entailment.score(*sweep_of(EQUAL)).verdict.value == "no bottleneck"
    alone, _ = sweep_of(GROWING, arms=("fixed",))
    assert entailment.score(alone, sentences).verdict == verdicts.NOTHING_TO_COMPARE
    assert entailment.score(rows, {}).verdict.failed == ("missing",)


def test_attention_that_learns_at_none_of_its_budgets_is_said_to():
    """The fixed vector alone has a next one, which is no rung that attention lacks."""
    never = entailment.score(*sweep_of(Truth("", "", "", truths.unseen, (truths.unseen,) * 3, truths.unseen))).verdict
    assert never.failed == ("learned",) and {(need.budget, need.role) for need in never.needs} == {(400, "selection")}


@pytest.mark.parametrize("preset", entailment.PRESETS)
def test_only_the_arm_the_source_and_the_budget_differ(preset):
    configs = entailment.sweep(preset)
    assert {config.training.evaluate for config in configs} == {"best"}  # these pairs are few, and read often
    assert len({json.dumps([config.training.learning_rates, config.text.cut, config.model.hidden_size]) for config in configs}) == 1
    blind = [config for config in configs if config.text.blind]
    assert {entailment.name(config).split("-")[1] for config in blind} == {"word_by_word"}
    of_arm = {}
    for config in configs:
        of_arm.setdefault(entailment.name(config).rpartition("-u")[0], []).append(config.training.updates)
    (fixed,) = [arm for arm in of_arm if arm.startswith("conditional")]
    next_one = of_arm[fixed].pop()  # the fixed vector has one beyond what attention has
    assert next_one == 2 * of_arm[fixed][-1]
    assert len({tuple(budgets) for budgets in of_arm.values()}) == 1 and len(of_arm) == (3 if preset == "tiny" else 4)


SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 data.task=snli data.eval_lengths=2,3,4 training.seeds=2 training.updates=4 "
    "training.batch_size=8 training.learning_rates=0.01 training.warmup=1 training.chunk=2 training.checkpoint_every=4 "
    "text.buckets=12 text.cut=12"
).split()
SUBJECTS = "dogs cats men girls".split()


def published(folder, rows: dict[str, list[tuple[str, str, str]]]) -> dict[str, int]:
    """Writes files of SNLI's kind; returns how many pairs each split has, for `snli.SIZES`."""
    for part, of_part in rows.items():
        lines = (json.dumps({"gold_label": a, "sentence1": b, "sentence2": c}) for a, b, c in of_part)
        (folder / f"snli_1.0_{part}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return {split: len(rows[part]) for split, part in snli.PARTS.items()}


@pytest.mark.long
def test_the_page_s_command_for_snli_takes_its_long_sentences(tmp_path, tfds, monkeypatch, capsys):
    """With premises beyond the last evaluated length, and a hypothesis of 60 words: as many as SNLI's longest has."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
    (written,) = re.findall(r"^(python -m experiments.run [^`]*--workdir=runs/snli [^`]*)", page, re.MULTILINE)
    labels = ("entailment", "neutral", "contradiction")

    def pairs(part: str, count: int) -> list[tuple[str, str, str]]:
        return [
            (labels[i % 3], " ".join([SUBJECTS[i % 4], *["very"] * (i % 40), part]), " ".join(["they", *["so"] * (i % 60)]))
            for i in range(count)
        ]

    sizes = published(tmp_path, {"train": pairs("train", 120), "dev": pairs("dev", 40), "test": pairs("test", 80)})
    monkeypatch.setattr(snli, "SIZES", sizes)
    small = "model.hidden_size=6 model.embedding_size=4 training.seeds=2 training.updates=4 training.batch_size=16 training.warmup=1"
    more = "training.chunk=2 training.learning_rates=0.01 training.checkpoint_every=4"
    folders = [f"--workdir={tmp_path / 'runs'}", f"--data_dir={tmp_path}", f"--cache_dir={tmp_path / 'cache'}"]
    assert call(*shlex.split(written.replace("\\\n", ""))[3:], *folders, *(f"--set={each}" for each in f"{small} {more}".split())) == 0
    assert "33 and more" in capsys.readouterr().out


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tfds):
    """A folder with files of SNLI's kind, and the runs on them."""
    folder = tmp_path_factory.mktemp("snli")
    labels = ("entailment", "neutral", "neutral")
    rows = {
        part: [(labels[i % 3], f"{SUBJECTS[i % 4]} run {part}", f"they {i}") for i in range(count)]
        for part, count in (("train", 60), ("dev", 12), ("test", 24))
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snli, "SIZES", published(folder, rows))
        command = ["--experiment=entailment", "--arms=conditional,word_by_word", *(f"--set={setting}" for setting in SETTINGS)]
        folders = [f"--workdir={folder / 'runs'}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
        assert call(*command, *folders) == 0
    return folder / "runs" / "entailment"


@pytest.mark.long
def test_a_whole_run_scores_labels_alone(finished):
    assert {path.name for path in finished.glob("*-u4")} == {
        f"{arm}-gru-h6-u4" for arm in ("conditional", "word_by_word", "blind-word_by_word")
    }
    for folder in finished.glob("*-u4"):
        rows = results.read(folder / "rows.jsonl")
        assert all(row["symbols"] == row["examples"] for row in rows if row["mode"] == "forced")  # a label each
        assert all(row["reference_symbols"] == row["examples"] for row in rows if row["mode"] == "free")
        assert {row["examples"] for row in rows} == {24}
        of_seeds = results.read(folder / "measured.jsonl")
        assert [(row["label"], sum(scores.read(row["majority"]))) for row in of_seeds] == [("NEUTRAL", 16.0)] * 2


@pytest.mark.long
def test_a_trained_model_reads_premise_tab_hypothesis(finished):
    model = trained.load(finished / "word_by_word-gru-h6-u4", 1)
    plain, ended, empty = model.decode(["dogs run test\tthey 3", "dogs run test\tthey 3 =>", ""])
    assert plain.text == ended.text and plain.output_tokens[:3] == ["▁they", "▁3", "▁=>"] and empty.text == ""
    assert plain.weights_TxS.shape[0] == len(plain.output_tokens)
    with pytest.raises(DataError, match=r"input line 2: 'cats run' gives no words of the output; a line is: source, tab, words"):
        model.decode(["dogs\tthey", "cats run"])
    nll_N, tokens_N = model.losses(["dogs run test"] * 2, ["they 3 => NEUTRAL", "they 3 => ENTAILMENT"])
    assert tokens_N.tolist() == [2, 2] and nll_N[0] != nll_N[1]
