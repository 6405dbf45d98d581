"""Archives as nobody publishes them: bombs, links, names that lead away, sizes that lie. One clear line each, and nothing on disk."""

import bz2
import gzip
import io
import re
import struct
import warnings
import zipfile

import pytest

from attention_jax.data.corpora import archives
from attention_jax.system.errors import DataError

TEXT = b"one two three\n" * 100


def zipped(members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Of (path or ZipInfo, content) pairs."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # duplicate names
        for path, content in members:
            archive.writestr(path, content)
    return file.getvalue()


def member(path: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path)
    info.external_attr = mode << 16
    return info


def everything(path: str) -> bool:
    return True


def refused(data: bytes, what: str, wanted=everything) -> None:
    with pytest.raises(DataError, match=rf"^a\.zip[^\n]*{what}[^\n]*$"):
        archives.unzip(data, "a.zip", wanted)


def test_gunzip_and_its_damages():
    data = gzip.compress(TEXT)
    assert archives.gunzip(data, "a.gz") == TEXT and archives.gunzip(gzip.compress(b""), "a.gz") == b""
    flipped = bytearray(data)
    flipped[-6] ^= 1  # of the checksum
    for damaged, what in (
        (data[:-3], "is truncated"),
        (data[:5], "is truncated"),
        (b"", "is truncated"),
        (bytes(flipped), "is damaged or no gzip file"),
        (b"no gzip at all", "is damaged or no gzip file"),
        (data + b"x", "goes on for 1 bytes behind its end"),
        (data + data, "goes on for"),
    ):
        with pytest.raises(DataError, match=rf"^a\.gz {what}[^\n]*$"):
            archives.gunzip(damaged, "a.gz")


def test_unzip_takes_what_is_wanted_in_order():
    data = zipped([("b.txt", TEXT), ("../../c.md", b"three"), ("folder/a.txt", b""), (member("link.md", 0o120777), b"/etc/passwd")])
    assert list(archives.unzip(data, "a.zip", lambda path: path.endswith(".txt")).items()) == [("b.txt", TEXT), ("folder/a.txt", b"")]
    assert archives.unzip(zipped([("a", TEXT)], zipfile.ZIP_STORED), "a.zip", everything) == {"a": TEXT}


def test_a_damaged_zip_is_refused():
    data = zipped([("a.txt", TEXT)])
    flipped = bytearray(data)
    flipped[45] ^= 0xFF  # within the member
    for damaged in (data[:-30], bytes(flipped), b"no zip at all", b"", data[:-22] + b"PK\5\6" + b"\xff" * 18):
        refused(damaged, "is truncated, damaged or no zip file")


def test_a_member_far_outside_is_damage():
    data = zipped([("a.txt", TEXT)])
    entry, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)  # where it begins, as zip64 has it
    far = bytearray(data[entry:end] + extra)
    far[30:32], far[42:46] = struct.pack("<H", len(extra)), b"\xff" * 4
    ending = data[end : end + 12] + struct.pack("<I", len(far)) + data[end + 16 :]
    refused(data[:entry] + far + ending, "is truncated, damaged or no zip file")


@pytest.mark.parametrize("path", ["/etc/passwd", "../a", "a/../../b", "..", "a\\..\\b", "C:/a", "C:a"])
def test_names_that_lead_away_are_refused(path):
    refused(zipped([("a.txt", b""), (path, b"")]), f"{re.escape(repr(path))} is no path within the archive")


def test_a_member_without_a_name_is_refused():
    data = zipped([("a", TEXT)])
    entry = data.index(b"PK\1\2")
    nameless = data[entry : entry + 28] + b"\0\0" + data[entry + 30 : entry + 46]
    refused(data[:entry] + nameless + data[entry + 47 : -10] + struct.pack("<I", 46) + data[-6:], "'' is no path within the archive")


@pytest.mark.parametrize("mode", [0o120777, 0o060644, 0o020644, 0o010644, 0o140644, 0o040755])
def test_what_is_no_plain_file_is_refused(mode):
    refused(zipped([(member("a.txt", mode), b"/etc/passwd")]), "'a.txt' is no plain file")


def test_a_folder_is_no_file():
    refused(zipped([("a.txt/", b"")]), "'a.txt/' is no plain file")


def test_a_name_that_occurs_twice_is_refused():
    refused(zipped([("a.txt", b"one"), ("b.txt", b""), ("a.txt", b"two")]), "has two members 'a.txt'")


def test_encrypted_members_are_refused():
    data = bytearray(zipped([("a.txt", TEXT)]))
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + at] |= 1
    refused(bytes(data), "'a.txt' is encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(method):
    refused(zipped([("a.txt", TEXT)], method), f"'a.txt' is packed by method {method}; valid: 0, 8")


def test_too_many_members_are_refused_before_they_are_listed(monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 20)
    names = [(f"{i}.txt", b"") for i in range(21)]
    assert len(archives.unzip(zipped(names[:20]), "a.zip", everything)) == 20
    data = zipped(names)
    monkeypatch.setattr(archives.zipfile, "ZipFile", None)
    refused(data, "has 21 members, more than 20")


def test_content_out_of_all_proportion_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS", 1000)
    bomb = b"0" * 1_000_000
    with pytest.raises(DataError, match=r"^a\.gz unpacks to more than .* 100 times its size"):
        archives.gunzip(gzip.compress(bomb), "a.gz")
    refused(zipped([("a", bomb)]), "unpacks to more than .* 100 times its size")
    refused(zipped([(f"{i}", bomb[:20_000]) for i in range(20)]), "unpacks to more than")


def test_content_above_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 1000)
    plenty = bytes(range(250)) * 3
    assert archives.gunzip(gzip.compress(plenty), "a.gz") == plenty
    for size, what in ((1001, "unpacks to more than"), (100_000, "has 0 MiB, more than 0")):
        content = b"".join(struct.pack("<I", i * 2654435761 % 2**32) for i in range(size // 4 + 1))[:size]
        packed = gzip.compress(content) if size > 2000 else gzip.compress(b"0" * size)
        with pytest.raises(DataError, match=rf"^a\.gz {what}"):
            archives.gunzip(packed, "a.gz")
    refused(zipped([("a", b"0" * 600), ("b", b"0" * 600)]), "unpacks to more than")


@pytest.mark.parametrize("said", [0, 5, len(TEXT) - 1, len(TEXT) + 1, 2**32 - 2])
def test_a_size_that_lies_is_found_out(said):
    """The directory's size is what Python reads up to, whatever the member holds."""
    data = bytearray(zipped([("a.txt", TEXT)]))
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", said)
    refused(bytes(data), "")


def test_entries_that_all_point_at_one_member_are_refused():
    """How a small archive claims to hold a large one many times."""
    data = zipped([("a.txt", b"0" * 50_000)])
    begins, ends = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, end = data[begins:ends], bytearray(data[ends:])
    end[8:12] = struct.pack("<HH", 100, 100)
    end[12:16] = struct.pack("<I", 100 * len(entry))
    refused(data[:begins] + 100 * entry + bytes(end), "has two members")


def test_nothing_inside_is_unpacked_again():
    inner = zipped([("b.txt", TEXT)])
    assert archives.unzip(zipped([("a.zip", inner)]), "a.zip", everything) == {"a.zip": inner}
    packed = bz2.compress(TEXT)
    assert archives.gunzip(gzip.compress(packed), "a.gz") == packed
