"""One rule, held against the characters that Unicode calls white space, wherever text is read."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.config import TextConfig
from attention_jax.data.corpora import links, pairs, po, raw, subwords, words
from attention_jax.system.errors import DataError

WHITE = sorted(
    {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.bidirectional(c) in ("WS", "B", "S") or unicodedata.category(c) == "Zs"}
)
"""By the database of characters, not by `str`."""
VOCABULARY = subwords.from_bytes(subwords.train(["Ça va ?", "10 000 francs !", "va !"], 60))


def test_white_space_is_what_unicode_says():
    assert {"\t", "\n", " ", "\x85", "\xa0", "\u2007", "\u202f", "\u3000"} <= set(WHITE) and len(WHITE) == 29
    for character in WHITE:
        assert words.split(f"{character}a{character}{character}b{character}") == ["a", "b"]
        assert words.collapsed(f"{character}a{character} b") == "a b" and words.collapsed(character) == ""
    for character in "\u200b\ufeff\u2581\u180e\0":
        assert words.split(f"a{character}b") == [f"a{character}b"]


@pytest.mark.parametrize("space", [c for c in WHITE if c not in "\n"], ids=ascii)
def test_every_reader_counts_the_same_words(space):
    """Training text, lines to decode, lengths and links: « Ça va ? » has three words, however they are set apart."""
    line, expected = f"Ça{space}va{space}?", "Ça va ?"
    assert raw.lines(line.encode(), "a") == [expected] and raw.lines(line.encode(), "a") == [po.prose(line)]
    if space != "\t":
        assert raw.columns(f"{line}\t{line}".encode(), "a") == [(expected, expected)]
    assert VOCABULARY.encode(line) == VOCABULARY.encode(expected) and VOCABULARY.encode(space) == []
    assert VOCABULARY.decode(VOCABULARY.encode(line)) == expected
    assert subwords.train([line], 60) == subwords.train([expected], 60)
    joined = pairs.join([(line, line)], TextConfig(), "train")
    assert joined.length_N.tolist() == [3] and links.joined([(line, line, ()), ("a", "b", [(0, 0)])]) == [(3, 3)]
    assert links.word_of_piece(VOCABULARY.pieces(VOCABULARY.encode(line))).max() == 2
    with pytest.raises(DataError, match="the source has 3 words, 0 to 2"):
        links.check(links.parse("0-0 3-0", "a"), line, line, "a, line 1")


@given(st.text(st.sampled_from(["a", "é", " ", "\t", "\xa0", "\u3000", "\x1c"])))
def test_disputed_words_are_where_plain_splitting_differs(text):
    plain = re.findall(r"[^ \t]+", text)
    assert words.disputed(text) == [word for word in plain if len(re.findall("[aé]+", word)) != 1]
    if not words.disputed(text):
        assert len(plain) == len(words.split(text))
