"""--check_data: what a corpus holds, as it is trained on, and everything wrong with its files."""

import re
from dataclasses import replace

import pytest

from attention_jax.config import Config, DataConfig, TextConfig
from attention_jax.report import corpora
from attention_jax.system.errors import ConfigError, DataError

TRAIN = [(f"der Hund {i}", f"the dog {i}") for i in range(40)] + [("ein sehr langer Satz mit vielen Worten", "a long one")]
TEST = [("der Hund 3", "the dog 3"), ("der Hund 4", "a hound"), ("die Katze", "the cat"), ("a b c d e f g", "h")]


@pytest.fixture
def config(tmp_path, tfds):
    for name, rows in (("train", TRAIN), ("dev", TEST[2:3]), ("test", TEST)):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in rows))
    text = TextConfig(
        source_file=str(tmp_path / "train.tsv"), validation_source=str(tmp_path / "dev.tsv"), test_sources=(str(tmp_path / "test.tsv"),),
        unit="word", vocabularies="separate", vocabulary_size=8, buckets=(4, 6), cut=6,
    )  # fmt: skip
    return Config(data=DataConfig(task="parallel_text"), text=text)


def shown(config: Config, tmp_path) -> str:
    said = []
    corpora.check([config, replace(config, run="other")], None, tmp_path / "cache", said.append)
    return "\n".join(said)


def test_it_says_what_there_is(config, tmp_path):
    page = re.sub(" +", " ", shown(config, tmp_path))
    place, train = tmp_path / "test.tsv", tmp_path / "train.tsv"
    for line in (
        f"{train} 41 {train.stat().st_size:,} 0",
        "train 41 41", "validation 1 1", "test.tsv 4 4",  # files, splits
        "train source 4 4 8 8", "test.tsv source 4 8 8 8", "train target 4 4 4 4",  # lengths
        "source 8 8", "target 8 8",  # most: 4 special, 4 words
        "validation 100.00% 50.00%",  # die Katze; the cat
    ):  # fmt: skip
        assert f"\n{line}" in f"\n{page}", line
    assert f"Longer than the last of text.buckets=(4, 6): left out of training (1)\n {tmp_path / 'train.tsv'}, line 41\n" in page
    assert f"Longer than text.cut=6 in test.tsv: cut there (1)\n {place}, line 4" in page
    assert f"too (2)\n {place}, line 1 = {tmp_path / 'train.tsv'}, line 4, with its target\n {place}, line 2 = {tmp_path}" in page
    assert page.count(f"{tmp_path / 'train.tsv'}, line 1\n ▁der ▁Hund ▁0\n ▁the ▁dog ▁0") == 1  # each corpus once
    assert len(re.findall(r"^ .*, line \d+\n ▁der", page, re.MULTILINE)) == 10


def test_everything_wrong_is_listed_at_once(config, tmp_path):
    (tmp_path / "train.tsv").write_bytes(b"\xef\xbb\xbfa\tb\r\n" + b"a b\n" * 12)
    (tmp_path / "test.tsv").write_bytes(b"a\t\n")
    said = []
    with pytest.raises(DataError, match=r"^13 lines or files are wrong, as listed above"):
        corpora.check([config], None, tmp_path / "cache", said.append)
    text = "\n".join(said)
    assert "byte order mark" in text and "1 lines end with a carriage return" in text
    assert f"{tmp_path / 'train.tsv'}, line 11 has no tab" in text and "line 12 has no tab" not in text and "… and 2 more" in text
    assert f"{tmp_path / 'test.tsv'}, line 1 has an empty column 2" in text and "Splits" not in text


def test_a_task_has_no_text(tmp_path):
    with pytest.raises(ConfigError, match=r"--check_data looks at files, and data\.task=copy is drawn"):
        shown(Config(), tmp_path)
