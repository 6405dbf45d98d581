import io
import re

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.corpora import subwords
from attention_jax.types import BOS, EOS, PAD, UNK, ConfigError, DataError

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
    if set("".join(text.split())) - set(ALPHABET) - {"▁"}:
        assert UNK in ids


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


@pytest.mark.parametrize("lines", [[], ["", " "]])
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
