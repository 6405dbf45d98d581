"""Every fault of a user's files, with its line; reading stops at the first of them."""

import bz2
import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora import faults
from attention_jax.data.corpora.own_files import File, Side
from attention_jax.system.errors import DataError

TAIL = {
    b"a\tb": [],
    b"": [" is empty"],
    b" \t ": [" is empty"],
    b"a b": [" has no tab between source and target"],
    b"\tb": [" has an empty column 1"],
    b"a\t ": [" has an empty column 2"],
    b"a\t\xffb": [", byte 3: not UTF-8 (invalid start byte)"],
    b"a\tb\0": [": holds a NUL character, so it is no UTF-8 text"],
    b"a\tb\tc": [],
    b"a\tb\rc\td": [": a carriage return without a newline ends no line here"],
}
"""{line of a TSV: what is wrong with it}."""


def side(tmp_path, *contents: bytes) -> Side:
    files = [File(tmp_path / name, content) for name, content in zip("ab", contents, strict=False)]
    return Side(files[0], files[1] if len(files) > 1 else None)


@given(st.lists(st.sampled_from(sorted(TAIL)), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_all_lines_that_are_wrong_are_listed(tmp_path_factory, lines, ended, marked):
    """And where there is none, reading takes the file."""
    path = tmp_path_factory.getbasetemp()
    content = faults.BOM * marked + (b"\r\n" if ended else b"\n").join([*lines, b""])
    given_side = side(path, content)
    (scan,) = faults.scanned(given_side)
    wrong = [f"{path / 'a'}, line {number}{what}" for number, line in enumerate(lines, start=1) for what in TAIL[line]]
    assert (scan.lines, scan.faults) == (len(lines), wrong)
    wide = [f"{path / 'a'}, line {number}" for number, line in enumerate(lines, start=1) if line.count(b"\t") > 1]
    firsts = [f"{path / 'a'}, line 1"] * (marked + ended) + wide[:1]
    assert [note.partition(":")[0] for note in scan.notes] == firsts
    if not wrong:
        assert given_side.rows() == [("a", "b")] * len(lines)
    elif not any(b"\rc" in line for line in lines):  # which is looked for where the file is opened
        with pytest.raises(DataError):
            given_side.rows()


def test_two_files_of_different_lengths(tmp_path):
    source, target = faults.scanned(side(tmp_path, b"a\n\nc\nd\n", b"x\ny\n"))
    assert source.faults == [
        f"{tmp_path / 'a'}, line 2 is empty",
        f"{tmp_path / 'a'}, line 3 has no partner: {tmp_path / 'b'} has 2 lines, this one 4",
    ]
    assert (target.faults, target.lines) == ([], 2)
    assert faults.scanned(side(tmp_path, b"", b"x\n"))[0].faults == [f"{tmp_path / 'a'} is empty"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"a\tb\n" * 99, mtime=0), "packed by gzip"),
        (bz2.compress(b"a\tb\n"), "packed by bzip2"),
        (lzma.compress(b"a\tb\n"), "packed by xz"),
        ("a\tb\n\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_of_another_kind_is_one_fault(tmp_path, content, words):
    for scan, *others in (faults.scanned(side(tmp_path, content)), faults.scanned(side(tmp_path, content, b"x\n"))):
        assert len(scan.faults) == 1 and words in scan.faults[0] and not any(other.faults for other in others)
