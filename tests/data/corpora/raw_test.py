import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora import raw
from attention_jax.system.errors import DataError


def identity(data: bytes, where: str) -> bytes:
    return data


def test_a_folder_holds_the_file_below_the_corpus_or_directly(tmp_path):
    place = raw.Place(tmp_path, tmp_path / "downloads")
    (tmp_path / "a.txt").write_bytes(b"direct")
    assert raw.obtain(place, "corpus", "a.txt", "https://x", identity) == b"direct"
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_bytes(b"below")
    assert raw.obtain(place, "corpus", "a.txt", "https://x", identity) == b"below"


def test_a_missing_file_names_itself_the_address_and_the_flag(tmp_path):
    with pytest.raises(DataError, match=r"corpus/a\.txt is missing; .*https://x\.org/a\.txt.*--data_dir"):
        raw.obtain(raw.Place(tmp_path, tmp_path), "corpus", "a.txt", "https://x.org/a.txt", identity)


def test_lines_tolerate_a_byte_order_mark_crlf_and_odd_spaces():
    data = "\ufeffein  Satz\r\nzwei\u2028Teile\u00a0hier \r\nletzter".encode()
    assert raw.lines(data, "a.de") == ["ein Satz", "zwei Teile hier", "letzter"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.de is empty"),
        (b"\n", r"a\.de is empty"),
        (b"one\n\nthree\n", r"a\.de, line 2 is empty"),
        (b"one\n \t\r\nthree", r"a\.de, line 2 is empty"),
        (b"one\n\n", r"a\.de, line 2 is empty"),
        ("eins\nzwei f\u00fcr".encode("latin-1"), r"a\.de, line 2, byte 7: not UTF-8"),
        (b"\xef\xbb\xbfone\nt\xffo", r"a\.de, line 2, byte 2: not UTF-8"),
        ("one".encode("utf-16"), r"a\.de, line 1, byte 1: not UTF-8"),
        ("one\ntwo".encode("utf-16-le"), r"a\.de, line 1: holds a NUL"),
    ],
)
def test_lines_refuse(data, message):
    with pytest.raises(DataError, match=rf"^{message}[^\n]*$"):
        raw.lines(data, "a.de")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\tb\nc\n", r"a\.tsv, line 2 has no tab"),
        (b"a\tb\n\nc\td", r"a\.tsv, line 2 is empty"),
        (b"a\tb\n\td", r"a\.tsv, line 2 has an empty column 1"),
        (b"a\tb\nc\t \tx", r"a\.tsv, line 2 has an empty column 2"),
        (b"", r"a\.tsv, line 1 is empty"),
    ],
)
def test_columns_refuse(data, message):
    with pytest.raises(DataError, match=rf"^{message}; a line is"):
        raw.columns(data, "a.tsv")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\t\ufeff"), min_size=1, max_size=8).filter(str.strip)


@given(st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_columns_read_what_was_written(rows, newline, final):
    data = newline.join("\t".join(row) for row in rows) + newline * final
    expected = [tuple(re.sub(r"\s+", " ", cell).strip() for cell in row[:2]) for row in rows]
    assert raw.columns(data.encode(), "a.tsv") == expected


@given(st.binary(max_size=30))
def test_any_bytes_give_pairs_or_a_data_error(data):
    try:
        pairs = raw.columns(data, "a.tsv")
    except DataError as error:
        assert str(error).startswith("a.tsv, line ") and "\n" not in str(error)
    else:
        assert len(pairs) == data.removesuffix(b"\n").count(b"\n") + 1 and all(map(all, pairs))


def test_align_says_which_line_has_no_partner():
    assert raw.align(["a", "b"], ["c", "d"], "x.de", "x.en") == [("a", "c"), ("b", "d")]
    with pytest.raises(DataError, match=r"x\.de has 1 lines, x\.en has 3: line 2 of x\.en has no partner"):
        raw.align(["a"], ["b", "c", "d"], "x.de", "x.en")
