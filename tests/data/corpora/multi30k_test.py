import gzip
import hashlib
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import multi30k
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import ConfigError, DataError

CONFIG = Config(data=replace(Config().data, task="multi30k"))
TEXT = {
    f"{stem}.{language}": f"{language} {stem} 1\n{language} {stem} 2\n" for stem in multi30k.FILES.values() for language in ("de", "en")
}


def write(folder, monkeypatch, text: dict[str, bytes]) -> None:
    """Small files in place of the publisher's, and their hashes in place of his."""
    folder.mkdir(exist_ok=True)
    for name, content in text.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(multi30k, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in text.items()})


@pytest.fixture
def raw(tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    write(folder, monkeypatch, {name: text.encode() for name, text in TEXT.items()})
    return folder


def test_splits_by_file_in_either_direction(tmp_path, raw):
    splits = load(CONFIG, raw, tmp_path / "cache")
    assert list(splits) == ["train", "validation", "test"]
    assert splits["validation"].sources == ["de val 1", "de val 2"]
    assert splits["test"].targets == ["en test_2016_flickr 1", "en test_2016_flickr 2"]
    other = load(replace(CONFIG, text=TextConfig(languages="en-de")), raw, tmp_path / "cache")
    assert other["validation"].targets == ["de val 1", "de val 2"]


def test_a_build_is_made_once(tmp_path, raw):
    first = load(CONFIG, raw, tmp_path / "cache")
    for path in raw.iterdir():
        path.unlink()
    assert load(CONFIG, None, tmp_path / "cache")["train"].sources == first["train"].sources


def test_unknown_languages(tmp_path, raw):
    with pytest.raises(ConfigError, match=r"text\.languages='de-cs' is unknown.*de-en"):
        load(replace(CONFIG, text=TextConfig(languages="de-cs")), raw, tmp_path / "cache")


def test_missing_truncated_and_changed_files(tmp_path, raw):
    path = raw / "val.en.gz"
    data = path.read_bytes()
    for damaged, message in (
        (data[:-4], r"val\.en\.gz is truncated"),
        (
            gzip.compress(b"en val 1\nen val 3\n", mtime=0),
            r"val\.en\.gz has other content than expected .*https://raw\.githubusercontent\.com/",
        ),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            load(CONFIG, raw, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=r"val\.en\.gz is missing; .*https://raw\.githubusercontent\.com/.*--data_dir"):
        load(CONFIG, raw, tmp_path / "cache")
    path.write_bytes(data)
    assert load(CONFIG, raw, tmp_path / "cache")["validation"].targets == ["en val 1", "en val 2"]  # nothing half-built is left


def test_a_folder_that_is_none(tmp_path, raw):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "absent", tmp_path / "empty", raw / "val.en.gz"):
        with pytest.raises(DataError, match=r"--data_dir=.* is no folder, or an empty one"):
            load(CONFIG, folder, tmp_path / "cache")


def test_a_cache_that_cannot_be_written(tmp_path, raw):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="multi30k cannot be built in"):
        load(CONFIG, raw, tmp_path / "file")


def test_a_damaged_build_says_what_to_delete(tmp_path, raw):
    load(CONFIG, raw, tmp_path / "cache")
    (shard,) = (tmp_path / "cache").rglob("*-validation.array_record*")
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(DataError, match="is damaged: delete that folder"):
        load(CONFIG, raw, tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"splits": 1}', b'{"fileFormat": "tfrecord"}'])
def test_a_damaged_description_of_a_build_says_what_to_delete(tmp_path, raw, content):
    load(CONFIG, raw, tmp_path / "cache")
    (info,) = (tmp_path / "cache").rglob("dataset_info.json")
    info.write_bytes(content)
    with pytest.raises(DataError, match=r"the build in .*cache/multi30k.* is damaged: delete that folder"):
        load(CONFIG, raw, tmp_path / "cache")


def test_two_processes_that_build_at_once(tmp_path, raw, monkeypatch):
    """The other one finishes while this one is still reading."""
    cache, read = tmp_path / "cache", multi30k.Multi30k.read
    first = []

    def slow(self, place):
        monkeypatch.setattr(multi30k.Multi30k, "read", read)
        first.append(load(CONFIG, raw, cache))
        return read(self, place)

    monkeypatch.setattr(multi30k.Multi30k, "read", slow)
    second = load(CONFIG, raw, cache)
    assert first[0]["train"].sources == second["train"].sources == ["de train 1", "de train 2"]
    assert not list(cache.rglob("*incomplete*"))


def test_what_a_killed_build_leaves_is_not_read(tmp_path, raw):
    half = tmp_path / "cache" / "multi30k" / "de-en" / "1.0.0.incompleteABC"
    half.mkdir(parents=True)
    (half / "multi30k-train.array_record-00000-of-00001").write_bytes(b"half")
    assert load(CONFIG, raw, tmp_path / "cache")["train"].sources == ["de train 1", "de train 2"]


def test_unequal_line_counts(tmp_path, monkeypatch):
    text = {name: content.encode() for name, content in TEXT.items()}
    write(tmp_path / "raw", monkeypatch, text | {"val.en": b"only one\n"})
    with pytest.raises(DataError, match=r"val\.de has 2 lines, val\.en has 1: line 2 of val\.de has no partner"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


@pytest.mark.long
@pytest.mark.parametrize("languages", ["de-en", "fr-en"])
def test_the_published_files(tmp_path, data_dir, languages):
    splits = load(replace(CONFIG, text=TextConfig(languages=languages)), data_dir, tmp_path)
    assert {name: len(pairs.sources) for name, pairs in splits.items()} == {"train": 29000, "validation": 1014, "test": 1000}
    assert splits["test"].targets[0] == "A man in an orange hat starring at something."
    for name, stem in multi30k.FILES.items():
        for texts, language in zip((splits[name].sources, splits[name].targets), languages.split("-"), strict=True):
            words = gzip.decompress((data_dir / "multi30k" / f"{stem}.{language}.gz").read_bytes()).decode().split()
            assert " ".join(texts).split() == words
