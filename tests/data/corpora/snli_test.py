import json
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import snli
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import DataError

CONFIG = Config(data=replace(Config().data, task="snli"), text=TextConfig(languages="en-en", given="=>"))
ROWS = {
    "train": [
        ("neutral", "A man's dog runs.", "It is old."),
        ("-", "Nobody agrees.", "Do they?"),
        ("entailment", "Two men sit.", "Men sit."),
    ],
    "dev": [("contradiction", "A girl stands.", "A girl sits.")],
    "test": [("neutral", "Two men sit.", "Men wait."), ("contradiction", "Men sit.", "Two men sit.")],
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(snli, "SIZES", {split: len(ROWS[part]) for split, part in snli.PARTS.items()})


def write(folder, ending: str, parts=ROWS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        if ending == "jsonl":
            lines = [
                json.dumps({"annotator_labels": [], "gold_label": a, "sentence1": b, "sentence2": c, "pairID": "1"}) for a, b, c in rows
            ]
        else:
            lines = ["gold_label\tsentence1_parse\tsentence1\tsentence2\tpairID", *(f"{a}\t(x)\t{b}\t{c}\t1" for a, b, c in rows)]
        (folder / f"snli_1.0_{part}.{ending}").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("ending", ["jsonl", "txt"])
def test_published_files_of_either_kind(tmp_path, ending):
    write(tmp_path / "raw" / "snli" / "snli_1.0", ending)
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    assert splits["train"].sources == ["a man's dog runs ."]  # without the pair that nobody agreed on, and that of test, turned
    assert splits["train"].targets == ["it is old . => NEUTRAL"]
    assert splits["validation"].accepted == [["CONTRADICTION"]]
    assert splits["test"].targets == ["men wait . => NEUTRAL", "two men sit . => CONTRADICTION"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"snli_1\.0_train\.jsonl, line 1 is no JSON object with texts gold_label, sentence1, sentence2"),
        ('{"gold_label": "neutral", "sentence1": 1, "sentence2": "x"}', "line 1 is no JSON object with texts"),
        ('{"gold_label": "maybe", "sentence1": "y", "sentence2": "x"}', "line 1: the label 'maybe' is none of neutral"),
        ('{"gold_label": "neutral", "sentence1": " ", "sentence2": "x"}', "line 1: a sentence is empty"),
        ('{"gold_label": "neutral", "sentence1": "y", "sentence2": "x"}', r"has 1 pairs, and SNLI 1\.0 has 3 there"),
        ("x" * (snli.LONGEST + 1), "line 1 has more than 1024 KiB"),
    ],
)
def test_files_that_are_not_as_published(tmp_path, content, message):
    write(tmp_path, "jsonl")
    (tmp_path / "snli_1.0_train.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        load(CONFIG, tmp_path, tmp_path / "cache")


def test_columns_and_missing_files(tmp_path):
    write(tmp_path, "txt")
    (tmp_path / "snli_1.0_train.txt").write_text("gold_label\tsentence1\n")
    with pytest.raises(DataError, match="line 1 is no header of SNLI: it lacks sentence2"):
        load(CONFIG, tmp_path, tmp_path / "cache")
    (tmp_path / "snli_1.0_train.txt").write_text("gold_label\tsentence1\tsentence2\nneutral\tx\n")
    with pytest.raises(DataError, match="line 2 has 2 columns, fewer than its header"):
        load(CONFIG, tmp_path, tmp_path / "cache")
    for folder in (tmp_path / "cache", None):
        with pytest.raises(DataError, match=r"snli_1\.0_test\.jsonl is missing|snli_1\.0_train\.jsonl is missing.*--data_dir"):
            (tmp_path / "cache").mkdir(exist_ok=True)
            (tmp_path / "cache" / "a").touch()
            load(CONFIG, folder, tmp_path / "cache")
