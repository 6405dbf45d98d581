"""The dictionary's lines become words, each in one split, with all of its pronunciations; whatever is no such line is refused."""

import hashlib
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import cmudict
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import ConfigError, DataError

CONFIG = Config(data=replace(Config().data, task="cmudict"), text=TextConfig(languages="en-phones", lengths="characters"))
SPECIAL = """\
a AH0
a(2) EY1
a.d. EY2 D IY1
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
aaron EH1 R AH0 N
aaron(2) EH2 R AH1 N
"""
LINES = SPECIAL + "".join(f"b{'a' * (i % 7)}{chr(97 + i % 26)}{chr(97 + i // 26)} B AA{i % 3} T\n" for i in range(400))


def write(folder, monkeypatch, text: str, known: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "cmudict.dict").write_text(text)
    if known:
        monkeypatch.setattr(cmudict, "SHA256", hashlib.sha256(text.encode()).hexdigest())


def words_of(splits) -> dict[str, list[str]]:
    """{word: its references} of all splits."""
    return {word: references for pairs in splits.values() for word, references in zip(pairs.sources, pairs.references, strict=True)}


def test_a_word_is_in_one_split_with_all_its_pronunciations(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, LINES)
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    entries = {line.split(" ")[0].partition("(")[0] for line in LINES.splitlines()}
    assert sum(len(pairs.sources) for pairs in splits.values()) == len(entries) == len(words_of(splits))
    for name, pairs in splits.items():
        for word in pairs.sources:
            slot = int(hashlib.md5(word.encode()).hexdigest(), 16) % 100
            assert name == ("test" if slot < 5 else "validation" if slot < 7 else "train")
        assert pairs.length_N.tolist() == list(map(len, pairs.sources))
        assert pairs.targets == [references[0] for references in pairs.accepted]
    found = words_of(splits)
    assert found["a"] == ["AH", "EY"] and found["a.d."] == ["EY D IY"] and found["aalborg"] == ["AO L B AO R G", "AA L B AO R G"]
    assert found["aaron"] == ["EH R AH N"]  # both are the same without stress


def test_stress_can_be_kept(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, LINES)
    stressed = load(replace(CONFIG, text=replace(CONFIG.text, languages="en-stressed")), tmp_path / "raw", tmp_path / "cache")
    assert words_of(stressed)["aaron"] == ["EH1 R AH0 N", "EH2 R AH1 N"]


def test_several_references_cannot_be_joined_and_languages_are_two(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, LINES)
    with pytest.raises(ConfigError, match=r"text\.join_max=2 is impossible: sources of this corpus have several references"):
        load(replace(CONFIG, text=replace(CONFIG.text, join_max=2)), tmp_path / "raw", tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"text\.languages='de-en' is unknown.*en-phones, en-stressed"):
        load(replace(CONFIG, text=TextConfig()), tmp_path / "raw", tmp_path / "cache")


@pytest.mark.parametrize("line", ["word", "Word W ER1 D", "word  W ER1 D", "word W er D", "wo rd W", "word(x) W", ""])
def test_lines_that_are_no_entries(tmp_path, monkeypatch, line):
    write(tmp_path / "raw", monkeypatch, f"a AH0\n{line}\nb B IY1\n")
    with pytest.raises(DataError, match=r"cmudict\.dict, line 2: .* is no entry; a line is: word, space, phones"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


def test_missing_changed_and_truncated_files(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "other").write_text("x")
    with pytest.raises(
        DataError, match=r"cmudict\.dict is missing; get it from https://raw\.githubusercontent\.com/cmusphinx/.*--data_dir"
    ):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    write(tmp_path / "raw", monkeypatch, LINES[:-1], known=False)
    with pytest.raises(DataError, match=r"cmudict\.dict has other content than expected \(sha256 \w+, expected 81917843\w+\); get it from"):
        load(CONFIG, tmp_path / "raw", tmp_path / "cache")


@pytest.mark.long
def test_the_published_file(tmp_path, data_dir):
    splits = load(CONFIG, data_dir, tmp_path)
    assert {name: len(pairs.sources) for name, pairs in splits.items()} == {"train": 117162, "validation": 2580, "test": 6310}
    sets = [set(pairs.sources) for pairs in splits.values()]
    assert len(set.union(*sets)) == sum(map(len, sets)) == 126052  # no word is in two splits, and none is lost
    assert len({phone for pairs in splits.values() for target in pairs.targets for phone in target.split()}) == 39
    spoken: dict[str, list[str]] = {}
    for line in (data_dir / "cmudict" / "cmudict.dict").read_text().splitlines():
        word, _, phones = line.partition("#")[0].strip().partition(" ")
        spoken.setdefault(word.partition("(")[0], []).append("".join(c for c in phones if not c.isdigit()))
    assert words_of({name: pairs._replace(references=pairs.accepted) for name, pairs in splits.items()}) == {
        word: list(dict.fromkeys(found)) for word, found in spoken.items()
    }
