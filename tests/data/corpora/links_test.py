import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora import links, subwords, words
from attention_jax.system.errors import DataError

LINKS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)))


def test_sure_and_possible():
    found = links.read("\ufeff0-0 1-2\r\n\n 3?1  3p1\t0-1".encode(), "a.txt")
    assert found == [({(0, 0), (1, 2)}, {(0, 0), (1, 2)}), (set(), set()), ({(0, 1)}, {(3, 1), (0, 1)})]
    assert links.read(b"", "a.txt") == [] and links.read(b"\n", "a.txt") == [(set(), set())]


@given(st.lists(LINKS, min_size=1, max_size=4))
def test_text_is_read_back(sets):
    data = "".join(links.text(found) + "\n" for found in [{(0, 0)}, *sets]).encode()
    assert [found.sure for found in links.read(data, "a.txt")] == [{(0, 0)}, *sets]


@given(st.lists(LINKS, min_size=1, max_size=4))
def test_words_counted_from_1_are_refused(sets):
    data = "".join(links.text((i + 1, j + 1) for i, j in found) + "\n" for found in sets).encode()
    if not any(sets):
        assert [found.possible for found in links.read(data, "a.txt")] == sets
        return
    with pytest.raises(DataError, match=r"^a\.txt: no link names a word 0, .* counted from 1; subtract 1 from both numbers of every link$"):
        links.read(data, "a.txt")


@pytest.mark.parametrize("data", [b"0-1", b"1-0", b"1-1\n2-2\n0?5", b"3p0 2-2"])
def test_one_word_0_on_either_side_is_enough(data):
    assert links.read(data, "a.txt")


@pytest.mark.parametrize("word", ["0", "0-", "-1", "1--2", "0-1-2", "a-b", "0:1", "0 - 1", "١-٢", "0-" + "9" * 5000, "0-1:0.5", "<0-1>"])
def test_what_is_no_link_is_named_with_its_line(word):
    with pytest.raises(DataError, match=r"^a\.txt, line 3: '.{1,40}' is no link; valid: 0-0 \(sure\), 0\?0 or 0p0 \(possible\)"):
        links.read(f"0-0\n\n1-1 {word}\n".encode(), "a.txt")


def test_links_are_between_words_that_exist():
    (found,) = links.read(b"0-0 2?1", "a.txt")
    assert links.check(found, "a b c", "x y", "a.txt, line 1") is found
    with pytest.raises(DataError, match=r"^a\.txt, line 1: a link names source word 2, but the source has 2 words, 0 to 1$"):
        links.check(found, "a b", "x y", "a.txt, line 1")
    with pytest.raises(DataError, match=r"^a\.txt, line 1: a link names target word 1, but the target has 1 words, 0 to 0$"):
        links.check(found, "a b c", "x", "a.txt, line 1")


def test_joining_counts_words_on():
    found = links.joined([("a b", "x y z", {(1, 2)}), ("c", "u", set()), ("d e", "v w", {(0, 0), (1, 1)})])
    assert sorted(found) == [(1, 2), (3, 4), (4, 5)]


def test_gold_is_the_first_piece_of_the_first_linked_word():
    source, target = ["▁ein", "▁klein", "es", "▁Haus"], ["▁a", "▁hou", "se", "▁s", "mall"]
    gold = links.gold([(2, 1), (1, 2), (0, 2)], source, target)
    assert gold.tolist() == [-1, 3, 3, 0, 0, 4] and gold.dtype == np.int32
    assert links.gold([], source, target).tolist() == [-1] * 5 + [4]


@given(st.data())
def test_gold_against_a_loop(data):
    source_sizes, target_sizes = (data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)) for _ in range(2))
    pieces = [[["▁a", "b", "c"][i] for size in sizes for i in range(size)] for sizes in (source_sizes, target_sizes)]
    linked = data.draw(st.sets(st.tuples(st.integers(0, len(source_sizes) - 1), st.integers(0, len(target_sizes) - 1))))
    wanted = []
    for word, size in enumerate(target_sizes):
        sources = [i for i, j in linked if j == word]
        wanted += [sum(source_sizes[: min(sources)]) if sources else -1] * size
    assert links.gold(linked, *pieces).tolist() == [*wanted, sum(source_sizes)]


LINES = ["der kleine Hund läuft", "ein kleiner Hund", "die Hunde laufen weit"]
VOCABULARIES = [subwords.from_bytes(subwords.train(lines, 60)) for lines in (LINES, [*LINES, "▁ a▁b ▅ <s> \0 \U0010ffff0"])]
ANY = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("Hundei ▁▅\0\U0010ffff0123\xa0\t⏎☃")), max_size=20)


def test_words_of_real_pieces():
    for vocabulary in VOCABULARIES:
        for line in [*LINES, "xy Hund z", "läufst"]:
            word_S = links.word_of_piece(vocabulary.pieces(vocabulary.encode(line)))
            assert np.unique(word_S).tolist() == list(range(len(line.split()))) and (np.diff(word_S) >= 0).all()
    assert links.word_of_piece([]).tolist() == []


@given(ANY)
def test_subwords_have_the_words_of_any_text(text):
    """A ▁ of the text begins no word, known or not; nor does white space of other kinds add or hide one."""
    for vocabulary in VOCABULARIES:
        word_S = links.word_of_piece(vocabulary.pieces(vocabulary.encode(text)))
        assert np.unique(word_S).tolist() == list(range(len(words.split(text))))
        letters = [
            "".join(part for part, of in zip(vocabulary.spelled(text), word_S, strict=True) if of == word) for word in np.unique(word_S)
        ]
        assert letters == [f" {word}" for word in words.split(text)]
