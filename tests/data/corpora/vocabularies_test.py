"""Tokens of each unit, of one vocabulary or two: what goes in comes back, every token occurs in training, what it lacks is unknown."""

import string
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.config import TextConfig, check
from attention_jax.data.corpora import subwords, symbols, vocabularies
from attention_jax.data.corpora.vocabularies import UNITS
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import BOS, EOS, FIRST_SYMBOL, PAD, UNK

WORD = st.text(st.sampled_from([*string.ascii_lowercase, *"äß文▁<>/\U0010ffff"]), min_size=1, max_size=8)
LINES = st.lists(st.lists(WORD, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=12)
UNIT = st.sampled_from(sorted(UNITS))
MOST = 400


def learned(unit: str, lines: list[str], most: int = MOST):
    return UNITS[unit].from_bytes(UNITS[unit].learn(lines, most))


@settings(max_examples=60)
@given(UNIT, LINES)
def test_training_lines_come_back_and_every_token_is_one_of_theirs(unit, lines):
    vocabulary = learned(unit, lines)
    encoded = [vocabulary.encode(line) for line in lines]
    used = {token for ids in encoded for token in ids}
    assert used == set(range(FIRST_SYMBOL, vocabulary.size))  # no dead row, and nothing unknown
    for line, ids in zip(lines, encoded, strict=True):
        assert vocabulary.decode(ids) == line and not {PAD, BOS, EOS, UNK} & set(ids)
        assert vocabulary.decode([*ids, EOS, FIRST_SYMBOL]) == line
        assert "".join(vocabulary.spelled(line)).strip() == line and len(vocabulary.spelled(line)) == len(ids)
        assert len(vocabulary.pieces(ids)) == len(ids)
    again = UNITS[unit].from_bytes(vocabulary.stored())
    assert (again.texts, again.stored()) == (vocabulary.texts, vocabulary.stored())


@settings(max_examples=60)
@given(UNIT, LINES, LINES)
def test_what_training_has_not_seen_is_unknown_and_can_be_named(unit, lines, others):
    vocabulary = learned(unit, lines)
    known = {"word": set(" ".join(lines).split()), "character": set("".join(lines))}.get(unit)
    for line in others:
        ids = vocabulary.encode(line)
        assert all(UNK <= token < vocabulary.size for token in ids)
        if known is not None:
            cut = line.split() if unit == "word" else line
            assert [token == UNK for token in ids] == [symbol not in known for symbol in cut]
        assert (vocabulary.decode(ids) == line) == (UNK not in ids) or "⁇" in line
        assert vocabulary.decode(ids, dict(enumerate(vocabulary.spelled(line)))) == line


@given(LINES, st.integers(FIRST_SYMBOL + 1, 12))
def test_the_most_frequent_symbols_are_kept(lines, most):
    for unit, cut in (("word", str.split), ("character", list)):
        counted = Counter(symbol for line in lines for symbol in cut(line))
        vocabulary = learned(unit, lines, most)
        kept = [counted[vocabulary.texts[token].removeprefix(" " * (unit == "word"))] for token in range(FIRST_SYMBOL, vocabulary.size)]
        assert kept == sorted(counted.values(), reverse=True)[: most - FIRST_SYMBOL]


def test_units_cut_as_they_say():
    line = "the old  dog."
    assert learned("word", [line]).pieces(learned("word", [line]).encode(line)) == ["▁the", "▁old", "▁dog."]
    assert learned("character", [line]).pieces(learned("character", [line]).encode("dog the")) == [*"dog", "▁", *"the"]
    assert learned("word", ["a <unk> b"]).decode(learned("word", ["a <unk> b"]).encode("<unk> c")) == "<unk> ⁇"


def test_sentencepiece_learns_no_piece_in_vain():
    """Of a corpus of one character it learns the pieces ▁ and x, and what was asked for beside was dead."""
    lines = ["x", "x x"]
    assert learned("subword", lines, 200).size == FIRST_SYMBOL + 2
    whole = subwords.from_bytes(subwords.train(["abcabd abcabd", "abc abd"], 60))
    small = learned("subword", ["abcabd abcabd", "abc abd"], 60)
    assert small.size < whole.size
    assert [small.pieces(small.encode(line)) for line in ("abcabd", "abc")] == [
        whole.pieces(whole.encode(line)) for line in ("abcabd", "abc")
    ]
    used = subwords.train(lines, FIRST_SYMBOL + 2)
    assert subwords.trimmed(used, lines) == used  # nothing to delete: the same bytes


def test_shared_and_separate(tmp_path):
    sources, targets = ["ein Hund", "ein Mann"], ["a dog", "a man sees a dog"]
    for unit, suffix in (("subword", "model"), ("character", "txt"), ("word", "txt")):
        text = TextConfig(unit=unit, vocabulary_size=60)
        shared = vocabularies.learn(sources, targets, text)
        assert shared.source is shared.target and shared.sizes == (shared.source.size, shared.source.size)
        assert shared.target.decode(shared.source.encode("a Hund")) == "a Hund" or unit == "subword"
        separate = vocabularies.learn(sources, targets, replace(text, vocabularies="separate"))
        assert separate.source is not separate.target
        assert separate.target.decode(separate.target.encode(targets[1])) == targets[1]
        assert UNK in separate.target.encode("Hund") and UNK in separate.source.encode("dog")
        for name, found in (("shared", shared), ("separate", separate)):
            directory, own = tmp_path / f"{unit}-{name}", replace(text, vocabularies=name)
            directory.mkdir()
            vocabularies.write(found, own, directory)
            names = {"shared": [f"vocabulary.{suffix}"], "separate": [f"source.{suffix}", f"target.{suffix}"]}[name]
            assert sorted(path.name for path in directory.iterdir()) == names and set(names) <= set(vocabularies.FILES)
            again = vocabularies.read(own, directory)
            assert (again.sizes, again.fingerprint()) == (found.sizes, found.fingerprint())
            assert (again.source is again.target) == (name == "shared")
        assert shared.fingerprint() != separate.fingerprint()


def test_equal_texts_are_learned_once(tmp_path, monkeypatch):
    lines, text = ["ein Hund", "ein Mann"], TextConfig(vocabulary_size=60)
    first = vocabularies.learn(lines, lines, text, tmp_path)
    monkeypatch.setattr(subwords, "train", None)
    assert vocabularies.learn(lines, lines, text, tmp_path).fingerprint() == first.fingerprint()
    with pytest.raises(TypeError):
        vocabularies.learn(lines, lines[::-1], text, tmp_path)


@pytest.mark.parametrize("unit", symbols.CUTS)
def test_symbols_that_cannot_be_learned(unit):
    with pytest.raises(ConfigError, match=rf"text\.vocabulary_size=4 is too small: 4 special tokens and a {unit} need at least 5"):
        symbols.learn(unit, ["a"], 4)
    with pytest.raises(DataError, match=f"no text to learn {unit}s from"):
        symbols.learn(unit, ["", " "], 9)
    with pytest.raises(DataError, match=r"half a surrogate pair, .*, which is no text"):
        symbols.learn(unit, ["a \ud83d"], 9)


@pytest.mark.parametrize("stored", [b"", b"\xff", b"<pad>\n<s>\n", b"<pad>\n<s>\n</s>\n<unk>\n", b"<pad>\n<s>\n</s>\n<unk>\na", b"x" * 40])
@pytest.mark.parametrize("unit", symbols.CUTS)
def test_a_damaged_vocabulary(unit, stored):
    with pytest.raises(DataError, match="the stored vocabulary is damaged"):
        symbols.from_bytes(unit, stored)
    with pytest.raises(DataError, match=r"a line of it is no (word|character)"):
        symbols.from_bytes(unit, "".join(f"{token}\n" for token in (*symbols.HEAD, "a", "a")).encode())


def test_targets_may_be_in_another_unit(tmp_path):
    """Letters to phones: each side has a file and tokens of its own."""
    text = TextConfig(unit="character", target_unit="word", vocabularies="separate", vocabulary_size=60)
    found = vocabularies.learn(["cat", "chat"], ["K AE T", "CH AE T"], text, tmp_path)
    assert found.source.pieces(found.source.encode("chat")) == [*"chat"]
    assert found.target.pieces(found.target.encode("CH AE T")) == ["▁CH", "▁AE", "▁T"]
    assert found.target.symbols is not None and list(found.target.symbols(" K  AE T ")) == ["K", "AE", "T"]
    assert found.source.symbols is not None and list(found.source.symbols("a  b")) == ["a", " ", "b"]
    vocabularies.write(found, text, tmp_path)
    assert vocabularies.read(text, tmp_path).fingerprint() == found.fingerprint()
    assert [path.name for path in vocabularies.paths(replace(text, target_unit="subword"), "")] == ["source.txt", "target.model"]
    assert vocabularies.from_bytes(text, [each.stored() for each in found.each]).sizes == found.sizes
    with pytest.raises(ConfigError, match=r"text\.target_unit=word needs text\.vocabularies=separate: sources are in characters"):
        check(replace(text, vocabularies="shared"))
