import hashlib
import io
import zipfile
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import tatoeba
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import ConfigError, DataError

CONFIG = Config(data=replace(Config().data, task="tatoeba"), text=TextConfig(languages="en-fr"))
ROWS = [(f"English {i // 2}.", f"Français {i}.") for i in range(400)]


def write(folder, monkeypatch, content: bytes, member: str = "fra.txt", known: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "fra-eng.zip", "w") as archive:
        archive.writestr("_about.txt", "terms")
        archive.writestr(member, content)
    if known:
        monkeypatch.setattr(tatoeba, "SHA256", hashlib.sha256(content).hexdigest())


def test_an_english_sentence_is_in_one_split(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, "".join(f"{en}\t{fr}\n" for en, fr in ROWS).encode())
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    pairs = {name: list(zip(split.sources, split.targets, strict=True)) for name, split in splits.items()}
    for name, rows in pairs.items():
        assert rows == [row for row in ROWS if row in rows], name
        for en, _ in rows:
            slot = int(hashlib.md5(en.encode()).hexdigest(), 16) % 100
            assert name == ("test" if slot < 2 else "validation" if slot < 4 else "train")
    assert sum(map(len, pairs.values())) == len(ROWS)
    turned = load(replace(CONFIG, text=TextConfig(languages="fr-en")), tmp_path / "raw", tmp_path / "cache")
    assert turned["test"].sources == splits["test"].targets and turned["test"].targets == splits["test"].sources


def test_a_french_sentence_is_in_one_split_too(tmp_path, monkeypatch):
    rows = [(f"English {i}.", f"Français {i % 40}.") for i in range(400)]
    write(tmp_path / "raw", monkeypatch, "".join(f"{en}\t{fr}\n" for en, fr in rows).encode())
    splits = load(replace(CONFIG, text=TextConfig(languages="fr-en")), tmp_path / "raw", tmp_path / "cache")
    train, validation, test = (set(splits[name].sources) for name in ("train", "validation", "test"))
    assert test and validation and train and not (test & train or test & validation or validation & train)
    of_test = [fr for en, fr in rows if int(hashlib.md5(en.encode()).hexdigest(), 16) % 100 < 2]
    assert splits["test"].sources == of_test  # it is as it was


def test_another_version_of_the_list(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, b"Go.\tVa !\tCC-BY 2.0 (France) Attribution: somebody\n", known=False)
    with pytest.raises(DataError, match=r"fra\.txt has other content than expected \(sha256 \w+, expected 2546838a\w+\).*parallel_text"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


def test_a_zip_without_the_list_a_broken_one_and_bad_lines(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    write(raw, monkeypatch, b"Go.\tVa !\n", member="deu.txt")
    with pytest.raises(DataError, match=r"fra-eng\.zip has no fra\.txt in it"):
        load(CONFIG, raw, tmp_path / "cache")
    write(raw, monkeypatch, b"Go.\tVa !\nRun!\n")
    with pytest.raises(DataError, match=r"fra\.txt, line 2 has no tab"):
        load(CONFIG, raw, tmp_path / "cache")
    write(raw, monkeypatch, "Go.\tVa !\nRun!\tDépêche\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"fra\.txt, line 2, byte 7: not UTF-8"):
        load(CONFIG, raw, tmp_path / "cache")
    (raw / "fra-eng.zip").write_bytes((raw / "fra-eng.zip").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"fra-eng\.zip is truncated"):
        load(CONFIG, raw, tmp_path / "cache")


def test_languages(tmp_path):
    with pytest.raises(ConfigError, match=r"valid: en-fr, fr-en"):
        load(replace(CONFIG, text=TextConfig()), tmp_path, tmp_path / "cache")


def test_the_published_file(data_dir):
    data = (data_dir / "tatoeba" / "fra-eng.zip").read_bytes()
    rows = tatoeba._read(data, "fra-eng.zip")
    assert (len(rows), len({english for english, _ in rows})) == (142787, 98659)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = archive.read("fra.txt").decode()
    assert " ".join(f"{en} {fr}" for en, fr in rows).split() == text.split()
