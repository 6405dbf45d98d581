import hashlib
import zipfile
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import sick
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import DataError

CONFIG = Config(data=replace(Config().data, task="sick"), text=TextConfig(languages="en-en", given="=>"))
HEADER = "\t".join(sick.HEADER)
PARTS = {
    "train": [
        "1\tA dog runs\tAn animal moves\t4\tENTAILMENT",
        "2\tA dog runs\tA Cat  sits\t2\tNEUTRAL",
        "3\tNo dog\tA dog\t3\tCONTRADICTION",
    ],
    "validation": ["5\tA man\tA boy\t3\tNEUTRAL", "6\tA dog runs\tA cat sits\t2\tNEUTRAL"],
    "test": ["7\ta dog\tno dog\t3\tNEUTRAL", "8\tTwo men\tMen\t5\tENTAILMENT", "9\tMen\tTwo men\t5\tENTAILMENT"],
}

ALL = [*PARTS["train"], *PARTS["validation"], *PARTS["test"]]


@pytest.fixture
def published(monkeypatch):
    """The digests and sizes of the small files above stand for the publisher's."""
    content = {split: "".join(f"{line}\n" for line in lines).encode() for split, lines in PARTS.items()}
    monkeypatch.setattr(sick, "SHA256", {split: hashlib.sha256(each).hexdigest() for split, each in content.items()})
    monkeypatch.setattr(sick, "SIZES", {split: len(lines) for split, lines in PARTS.items()})


def one_file(folder, parts: dict[str, list[str]], ends: str = "\n") -> None:
    (folder / "sick").mkdir(parents=True, exist_ok=True)
    lines = [HEADER, *(line for of_split in parts.values() for line in of_split)]
    (folder / "sick" / "SICK.txt").write_bytes(ends.join(lines).encode())


def three_archives(folder) -> None:
    folder.mkdir(exist_ok=True)
    for split, lines in PARTS.items():
        with zipfile.ZipFile(folder / sick.ARCHIVES[split], "w") as archive:
            archive.writestr("readme.txt", "terms")
            archive.writestr(sick.MEMBERS[split], "\r\n".join([HEADER, *lines, ""]))


@pytest.mark.parametrize("shape", ["one file", "three archives"])
def test_pairs_of_a_later_split_are_left_out_in_either_order(tmp_path, published, caplog, shape):
    raw = tmp_path / "raw"
    (one_file(raw, PARTS) if shape == "one file" else three_archives(raw))
    splits = load(CONFIG, raw, tmp_path / "cache")
    assert splits["test"].targets == ["no dog => NEUTRAL", "men => ENTAILMENT", "two men => ENTAILMENT"]  # as it was published
    assert splits["train"].sources == ["a dog runs"] and splits["train"].targets == ["an animal moves => ENTAILMENT"]
    assert splits["validation"].targets == ["a boy => NEUTRAL", "a cat sits => NEUTRAL"]
    assert splits["test"].accepted == [["NEUTRAL"], ["ENTAILMENT"], ["ENTAILMENT"]]
    assert "CC BY-NC-SA 3.0" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"SICK\.txt, line 1: the columns are '', and those of SICK are pair_ID"),
        ("a\tb\n1\t2\n", r"line 1: the columns are 'a\\tb'"),
        (
            f"{HEADER}\n1\tA dog",
            r"SICK\.txt, train pairs \(1 of 3 pairs\) has other content than expected .* get it from https://alt\.qcri",
        ),
        ("\n".join([HEADER, *ALL, "10\tx\ty\t1\tNEUTRAL"]), r"SICK\.txt has 9 pairs, and SICK has 8"),
    ],
)
def test_another_file(tmp_path, published, content, message):
    (tmp_path / "SICK.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        load(CONFIG, tmp_path, tmp_path / "cache")


def test_missing_and_damaged_archives(tmp_path, published):
    raw = tmp_path / "raw"
    three_archives(raw)
    (raw / "sick_trial.zip").rename(raw / "other.zip")
    with pytest.raises(DataError, match=r"sick_trial\.zip is missing; get it from https://alt\.qcri\.org.*--data_dir"):
        load(CONFIG, raw, tmp_path / "cache")
    with zipfile.ZipFile(raw / "sick_trial.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(DataError, match=r"sick_trial\.zip has no SICK_trial\.txt in it"):
        load(CONFIG, raw, tmp_path / "cache")


def test_the_published_pairs(tmp_path, data_dir):
    splits = load(CONFIG, data_dir, tmp_path)
    assert {name: len(split.sources) for name, split in splits.items()} == {"train": 4378, "validation": 491, "test": 4927}
    labels = [label for (label,) in splits["test"].accepted]
    assert {label: labels.count(label) for label in sick.LABELS} == {"NEUTRAL": 2793, "ENTAILMENT": 1414, "CONTRADICTION": 720}
    pairs = {
        name: {frozenset((source, target.split(" => ")[0])) for source, target in zip(split.sources, split.targets, strict=True)}
        for name, split in splits.items()
    }
    assert not pairs["train"] & pairs["test"] and not pairs["train"] & pairs["validation"] and not pairs["validation"] & pairs["test"]
    sentences = {name: set().union(*of_split) for name, of_split in pairs.items()}
    assert len(sentences["test"]) == 5007 and len(sentences["test"] & sentences["train"]) == 3705  # which docs/data.md says
