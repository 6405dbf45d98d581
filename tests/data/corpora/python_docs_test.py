import hashlib
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import archives, python_docs
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import ConfigError, DataError

CONFIG = Config(data=replace(Config().data, task="python_docs"), text=TextConfig(languages="en-es"))


def catalogue(*pairs: tuple[str, str]) -> bytes:
    entries = [f'msgid "{en}"\nmsgstr "{es}"\n' for en, es in (("", "Language: es\\n"), *pairs)]
    return "\n".join(entries).encode()


def write(folder, monkeypatch, files: dict[str, bytes], top: str = "") -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "python-docs-es.zip", "w") as archive:
        archive.writestr(f"{top}README.md", "read me")
        for path, content in files.items():
            archive.writestr(top + path, content)
    monkeypatch.setattr(python_docs, "SHA256", hashlib.sha256(archives.listing(files)).hexdigest())


def slot(path: str) -> int:
    return int(hashlib.md5(path.encode()).hexdigest(), 16) % 100


FILES = {f"library/m{i}.po": catalogue((f"The module ``m{i}`` is good.", f"El módulo ``m{i}`` es bueno.")) for i in range(60)}
REPEATED = {
    "a.po": catalogue(
        ("Not a short :class:`sentence`.", "No es una :class:`frase` corta."),
        ("Too short", "Muy corto por cierto, ¿no?"),
        ("Equal in both languages here", "Equal in both languages here"),
        ("1 2 3 4", "4 5 6 7"),
    ),
    "b.po": catalogue(
        ("Not a short *sentence*.", "Otra traducción de lo mismo."), ("Only in the second file.", "Sólo en el segundo archivo.")
    ),
}


@pytest.mark.parametrize("top", ["", "python-docs-es-91f4ccc0baa8/"])
def test_splits_by_path_within_the_archive_however_it_is_packed(tmp_path, monkeypatch, top):
    write(tmp_path / "raw", monkeypatch, FILES, top)
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    for name, pairs in splits.items():
        for source, target in zip(pairs.sources, pairs.targets, strict=True):
            module = source.split()[2]
            assert (source, target) == (f"The module {module} is good.", f"El módulo {module} es bueno.")
            assert name == ("test" if slot(f"library/{module}.po") < 12 else "validation" if slot(f"library/{module}.po") < 18 else "train")
    assert sum(len(pairs.sources) for pairs in splits.values()) == len(FILES)


def test_cleaning_and_repetitions(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, FILES | REPEATED)
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    found = [pair for pairs in splits.values() for pair in zip(pairs.sources, pairs.targets, strict=True) if "module" not in pair[0]]
    assert sorted(found) == [
        ("Not a short sentence.", "No es una frase corta."),
        ("Only in the second file.", "Sólo en el segundo archivo."),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'msgid "a"\nmsgstr "b\n', r"bad\.po, line 2: "),
        (catalogue(("one", "señal")).decode().encode("latin-1"), r"bad\.po, line 5, byte 11: not UTF-8"),
    ],
)
def test_a_bad_catalogue_is_named(tmp_path, monkeypatch, content, message):
    write(tmp_path / "raw", monkeypatch, {"bad.po": content})
    with pytest.raises(DataError, match=message):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


def test_a_split_that_stays_empty(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, REPEATED)
    with pytest.raises(DataError, match=r"python_docs: no pair is left for the (train|validation|test) split"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


def test_other_content_a_missing_file_and_other_languages(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, FILES)
    monkeypatch.setattr(python_docs, "SHA256", "0" * 64)
    with pytest.raises(
        DataError, match=r"python-docs-es\.zip \(60 \.po files\) has other content.*https://github\.com/python/python-docs-es"
    ):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    (tmp_path / "raw" / "python-docs-es.zip").rename(tmp_path / "raw" / "other.zip")
    with pytest.raises(DataError, match=r"python-docs-es\.zip is missing; .*https://github\.com/python/python-docs-es.*--data_dir"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    with pytest.raises(ConfigError, match="valid: en-es"):
        load(replace(CONFIG, text=TextConfig()), tmp_path / "raw", tmp_path / "cache")


@pytest.mark.long
def test_the_published_file(tmp_path, data_dir):
    splits = load(CONFIG, data_dir, tmp_path)
    assert {name: len(pairs.sources) for name, pairs in splits.items()} == {"train": 31823, "validation": 4062, "test": 3623}
    expected = [933, 862, 615, 437, 278, 174, 125, 185]  # the data's README, counted with its own cleaning
    found = Counter(np.minimum((splits["test"].length_N - 1) // 10, 7).tolist())
    assert all(abs(found[i] - expected[i]) <= 0.015 * expected[i] for i in range(8)), found
    sources = [set(pairs.sources) for pairs in splits.values()]
    assert not any(a & b for i, a in enumerate(sources) for b in sources[:i])
    assert sum("``" in source or ":`" in source for pairs in splits.values() for source in pairs.sources) == 0
