import io
import re
import sys
from itertools import groupby

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.data.corpora import subwords
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import BOS, EOS, PAD, UNK

LINES = [f"der {a} {b} läuft über die {c}" for a in ("alte", "junge", "große") for b in ("Hund", "Mann") for c in ("Straße", "Brücke")]
LINES += [f"the {a} {b} runs across the {c}" for a in ("old", "young", "tall") for b in ("dog", "man") for c in ("street", "bridge")]
MODEL = subwords.train(LINES, 80)
VOCABULARY = subwords.from_bytes(MODEL)
ALPHABET = "".join(sorted(set("".join(LINES)) - {" "}))


def test_every_line_survives_and_is_shorter_than_its_characters():
    for line in LINES:
        ids = VOCABULARY.encode(line)
        assert VOCABULARY.decode(ids) == line and len(ids) < len(line)
        assert not {PAD, BOS, EOS, UNK} & set(ids) and max(ids) < VOCABULARY.size <= 80
        assert "".join(VOCABULARY.pieces(ids)) == "▁" + line.replace(" ", "▁")


@given(st.lists(st.text(ALPHABET, min_size=1, max_size=6), max_size=6))
def test_unseen_words_of_known_characters_survive(words):
    assert VOCABULARY.decode(VOCABULARY.encode(" ".join(words))) == " ".join(words)


@given(st.text(max_size=20))
def test_any_text_encodes_to_ids_in_range(text):
    ids = VOCABULARY.encode(text)
    assert all(UNK <= token < VOCABULARY.size for token in ids)
    assert (UNK in ids) == bool(set("".join(text.split())) - set(ALPHABET))


@given(st.lists(st.integers(0, VOCABULARY.size - 1), max_size=12))
def test_ids_decode_as_sentencepiece_says(ids):
    """White space around and between aside: it may write several spaces, and one in front of an unknown."""
    assert VOCABULARY.decode(ids) == " ".join(VOCABULARY.model.decode(ids[: ids.index(EOS)] if EOS in ids else ids).split())


@given(st.lists(st.integers(0, VOCABULARY.size - 1), max_size=12))
def test_decoding_stops_at_eos_and_drops_pad_and_bos(ids):
    kept = [token for token in ids[: ids.index(EOS)] if token not in (PAD, BOS)] if EOS in ids else [t for t in ids if t not in (PAD, BOS)]
    assert VOCABULARY.decode(ids) == VOCABULARY.decode(kept)
    assert len(VOCABULARY.pieces(ids)) == len(kept)


def test_ids_that_no_subword_has_are_unknown():
    token = VOCABULARY.encode("Hund")[0]
    assert VOCABULARY.decode([token, VOCABULARY.size, 10**6]) == VOCABULARY.decode([token, UNK, UNK])
    assert VOCABULARY.pieces([VOCABULARY.size]) == VOCABULARY.pieces([UNK])


def test_the_same_lines_give_the_same_model():
    assert subwords.train(iter(LINES), 80) == MODEL


def test_special_ids_and_no_normalisation():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert [VOCABULARY.model.id_to_piece(i) for i in range(4)] == ["<pad>", "<s>", "</s>", "<unk>"]
    wide = subwords.from_bytes(subwords.train(["½ … ﬁ Å Å"], 100))
    assert wide.decode(wide.encode("½ … ﬁ Å Å")) == "½ … ﬁ Å Å"


def plainly(lines: list[str], vocabulary_size: int) -> sentencepiece.SentencePieceProcessor:
    """What sentencepiece makes of lines as they are: the vocabularies of earlier versions."""
    model, ids = io.BytesIO(), {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS, "unk_id": UNK}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=vocabulary_size, model_type="unigram", hard_vocab_limit=False,
        character_coverage=1.0, normalization_rule_name="identity", byte_fallback=False, max_sentence_length=1 << 20, num_threads=1,
        minloglevel=2, **ids,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_text_without_what_is_reserved_gives_the_model_that_it_always_gave():
    for lines in (LINES, ["½ … ﬁ Å Å", "a < b > c </ s", "x\u200b\ufeff\U0010fffe"]):
        model = plainly(lines, 80)
        assert subwords.train(lines, 80) == model.serialized_model_proto()
        assert subwords.train([line.replace(" ", "\xa0 ") for line in lines], 80) == model.serialized_model_proto()


RESERVED = "▁▅\0\U0010ffff"
NAMES = ["<s>", "</s>", "<pad>", "<unk>"]
MIXED = st.one_of(st.characters(codec="utf-8"), st.sampled_from([*RESERVED, *"0123 \t\xa0\u3000<>/s", *NAMES, "⁇"]))
ANY = st.lists(MIXED, max_size=20).map("".join)


@settings(max_examples=200)
@given(st.lists(ANY, min_size=1, max_size=3).filter(lambda lines: "".join(lines).split()), ANY)
def test_decoding_gives_back_what_was_encoded_over_all_of_unicode(lines, other):
    """Of seen characters all come back; of others each run within a word is one UNK, and one ⁇."""
    vocabulary = subwords.from_bytes(subwords.train(lines, 400))
    seen = set("".join(lines))
    for text in (*lines, other):
        ids, expected = vocabulary.encode(text), " ".join(text.split())
        runs = sum(known == "0" for word in text.split() for known, _ in groupby("01"[c in seen] for c in word))
        assert ids.count(UNK) == runs and not {PAD, BOS, EOS} & set(ids)
        assert vocabulary.decode(ids).replace(" ", "").count("⁇") == runs + sum(text.count(c) for c in {"⁇"} & seen)
        assert vocabulary.decode(ids) == expected or runs
        assert "".join(vocabulary.spelled(text)) == " " * bool(expected) + expected and len(vocabulary.spelled(text)) == len(ids)
        assert vocabulary.decode(ids, dict(enumerate(vocabulary.spelled(text)))) == expected
    assert all(vocabulary.encode(line).count(UNK) == 0 for line in lines)


@pytest.mark.long
def test_every_character_survives_alone():
    """All of the basic plane; of the others, where characters are alike to sentencepiece, one in 29 and both ends."""
    places = sorted(
        {*range(0x10000), *range(0x10000, 0x110000, 29), *(0x10000 * i - k for i in range(2, 18) for k in (1, 2, 65535, 65536))}
    )
    characters = [c for c in map(chr, places) if not "\ud800" <= c <= "\udfff" and c.split() == [c]]
    lines = [" ".join(characters[i : i + 50]) for i in range(0, len(characters), 50)]
    vocabulary = subwords.from_bytes(subwords.train(lines, len(characters) + 5))
    assert vocabulary.size == len(characters) + 5 > 90_000
    assert [vocabulary.decode(vocabulary.encode(line)) for line in lines] == lines


def test_the_least_size_counts_what_is_reserved_once():
    line = f"a▁b ▅▅ <s> \xa0{RESERVED} \t"
    least = len(set("ab▁▅<s>\0\U0010ffff")) + 1 + 4
    with pytest.raises(ConfigError, match=f"{least - 4} different characters and 4 special tokens need at least {least}$"):
        subwords.train([line], least - 1)
    vocabulary = subwords.from_bytes(subwords.train([line], least))
    assert vocabulary.size == least and vocabulary.decode(vocabulary.encode(line)) == f"a▁b ▅▅ <s> {RESERVED}"


def test_pieces_show_a_character_of_the_text_apart_from_a_space():
    vocabulary = subwords.from_bytes(subwords.train(["x▁y z▅ <unk>"], 60))
    assert vocabulary.pieces(vocabulary.encode("x▁y ▅")) == ["▁", "x", r"\u2581", "y", "▁", "▅"]
    assert vocabulary.pieces(vocabulary.encode("x☃▁")) == ["▁", "x", "<unk>", r"\u2581"]
    assert vocabulary.spelled("x☃☃▁ ☃") == [" ", "x", "☃☃", "▁", " ", "☃"]
    assert VOCABULARY.spelled("▁▅☃") == [" ", "▁▅☃"] and VOCABULARY.pieces(VOCABULARY.encode("a▁▅☃\0a")) == ["▁a", "<unk>", "a"]


def test_vocabularies_of_earlier_versions():
    """What they were trained on is encoded as it was, `<` and U+10FFFF too. Only a ▁, which they took for a space, is unknown."""
    lines = [*LINES, "a < b", "<s> x<y \U0010ffff0 \U0010ffff1"]
    old = plainly(lines, 100)
    vocabulary = subwords.from_bytes(old.serialized_model_proto())
    for line in [*lines, "b <s> <", "\U0010ffff1 0", "☃ <", "der▅ alte\0"]:
        assert vocabulary.encode(line) == old.encode(line)
        assert vocabulary.decode(vocabulary.encode(line)) == " ".join(old.decode(old.encode(line)).split())
    assert vocabulary.decode(vocabulary.encode("der▁alte")) == "der ⁇ alte"


@pytest.mark.parametrize("long", ["ab " * 400_000, "ab" * 600_000, "▁" * 300_000], ids=["words", "word", "reserved"])
def test_no_line_is_too_long(long):
    vocabulary = subwords.from_bytes(subwords.train(["a b", f"{long}☃"], 60))
    assert UNK not in vocabulary.encode(f"ab {long[:50]} ☃")


def test_a_line_that_fits_is_not_cut(monkeypatch):
    monkeypatch.setattr(subwords, "LONGEST", len(LINES[0].encode()))
    monkeypatch.setattr(subwords, "PART", 9)
    assert list(subwords._escaped([LINES[0], LINES[0] + " x"], {})) == [LINES[0], "der alte", "Hund", "läuft", "über die", "Straße x"]
    assert list(subwords._escaped(["a-b" * 30, "▁ " * 20], str.maketrans(subwords.PAIRS)))[-1] == "\U0010ffff1 " * 4 + "\U0010ffff1"


def test_the_rarest_characters_of_a_long_text_are_learned(monkeypatch):
    """sentencepiece adds up shares in float32, so beyond some 10⁷ characters it has all before the last; here it stops at 98 %."""
    whole = sentencepiece.SentencePieceTrainer.train
    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", lambda **options: whole(**options | {"character_coverage": 0.98}))
    lines = ["abcdefgh ijkl" * 50, "x", "y", "z▁"]
    vocabulary = subwords.from_bytes(subwords.train(lines, 60))
    assert [vocabulary.decode(vocabulary.encode(line)) for line in lines] == lines


def test_a_tiny_corpus_gives_what_it_holds():
    tiny = subwords.from_bytes(subwords.train(["ab"], 2000))
    assert tiny.decode(tiny.encode("ba")) == "ba" and tiny.size < 12


def test_too_small_a_vocabulary_names_the_least_that_works():
    with pytest.raises(ConfigError, match=r"text\.vocabulary_size=10 is too small") as refusal:
        subwords.train(LINES, 10)
    least = int(re.search(r"at least (\d+)", str(refusal.value))[1])
    assert subwords.from_bytes(subwords.train(LINES, least)).size == least
    with pytest.raises(ConfigError):
        subwords.train(LINES, least - 1)


def test_what_is_no_text_or_cannot_be_learned_is_named(monkeypatch):
    with pytest.raises(DataError, match=r"half a surrogate pair, '\\ud83d', which is no text$"):
        subwords.train(["a", "b\ud83d"], 60)
    whole = sentencepiece.SentencePieceTrainer.train

    def without_x(sentence_iterator, required_chars="", **options):
        return whole(sentence_iterator=iter([line.replace("x", "") for line in sentence_iterator]), **options)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", without_x)
    with pytest.raises(DataError, match=r"sentencepiece does not learn 'x'; remove it from the text$"):
        subwords.train(["ab", "xy"], 60)


def test_without_the_protobuf_that_sentencepiece_asks_for_it_says_how_to_get_it(monkeypatch):
    monkeypatch.delattr(sentencepiece, "sentencepiece_model_pb2", raising=False)
    monkeypatch.setitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", None)
    with pytest.raises(ConfigError, match=r"subwords need protobuf .*: pip install --upgrade protobuf"):
        subwords.learn(LINES, 200)


@pytest.mark.parametrize("lines", [[], ["", " "], ["\xa0\u3000"]])
def test_no_text(lines):
    with pytest.raises(DataError, match="no text to learn subwords from"):
        subwords.train(lines, 100)


@pytest.mark.parametrize("model", [b"", b"xx", MODEL[:-5], MODEL[: len(MODEL) // 2], b"\0" * 100], ids=range(5))
def test_a_damaged_model(model):
    with pytest.raises(DataError, match="the stored vocabulary is damaged"):
        subwords.from_bytes(model)


def test_a_model_with_other_special_ids():
    other = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=other, vocab_size=36, minloglevel=2)
    with pytest.raises(DataError, match="has PAD, BOS, EOS, UNK at"):
        subwords.from_bytes(other.getvalue())


def test_it_is_silent(capfd):
    subwords.train(LINES, 80)
    assert capfd.readouterr() == ("", "")
