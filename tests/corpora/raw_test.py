import gzip
import hashlib
import http.server
import io
import re
import threading
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.corpora import raw
from attention_jax.types import DataError


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    return file.getvalue()


def identity(data: bytes, where: str) -> bytes:
    return data


@pytest.fixture
def server(monkeypatch):
    """(address, {path: (body, claimed length)}) of a web server on this machine."""
    pages = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in pages:
                self.send_error(404)
                return
            body, length = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", pages
        running.shutdown()


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


def test_a_download_is_kept_once(tmp_path, server):
    address, pages = server
    pages["/a.txt"] = (b"content", 7)
    place = raw.Place(None, tmp_path)
    assert raw.obtain(place, "corpus", "a.txt", f"{address}/a.txt", identity) == b"content"
    pages.clear()
    assert raw.obtain(place, "corpus", "a.txt", f"{address}/a.txt", identity) == b"content"
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["a.txt"]


def test_a_download_that_is_not_what_it_should_be_is_not_kept(tmp_path, server):
    address, pages = server
    pages["/a.txt"] = (b"<html>moved</html>", 18)

    def picky(data, where):
        return raw.verify(data, hashlib.sha256(b"content").hexdigest(), where, "get it again")

    with pytest.raises(DataError, match="other content than expected"):
        raw.obtain(raw.Place(None, tmp_path), "corpus", "a.txt", f"{address}/a.txt", picky)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("page", ["/short", "/absent"])
def test_a_download_that_fails_names_address_file_and_flag(tmp_path, server, page):
    address, pages = server
    pages["/short"] = (b"conte", 7)
    with pytest.raises(DataError, match=rf"corpus: {address}{page} cannot be downloaded .*a\.txt.*--data_dir"):
        raw.obtain(raw.Place(None, tmp_path), "corpus", "a.txt", address + page, identity)
    assert not list(tmp_path.rglob("*"))


def test_gunzip_and_its_damages():
    data = gzip.compress(b"one\ntwo\n")
    assert raw.gunzip(data, "a.gz") == b"one\ntwo\n"
    for damaged in (data[:-3], data[:5], data[:-8] + b"12345678", b"no gzip at all"):
        with pytest.raises(DataError, match=r"^a\.gz is truncated or no gzip file"):
            raw.gunzip(damaged, "a.gz")


def test_unzip_and_its_damages():
    data = zipped({"a.txt": b"one" * 100, "../../b.txt": b"two", "c.md": b"three"})
    assert raw.unzip(data, "a.zip", lambda path: path.endswith(".txt")) == {"a.txt": b"one" * 100, "../../b.txt": b"two"}
    flipped = bytearray(data)
    flipped[40] ^= 0xFF  # within the first member
    for damaged in (data[:-30], bytes(flipped), b"no zip at all", b""):
        with pytest.raises(DataError, match=r"^a\.zip is truncated, damaged or no zip file"):
            raw.unzip(damaged, "a.zip", lambda path: True)


def test_bombs_are_refused(monkeypatch):
    monkeypatch.setattr(raw, "LARGEST", 1000)
    for unpack in (
        lambda: raw.gunzip(gzip.compress(b"0" * 1001), "a.gz"),
        lambda: raw.unzip(zipped({"a": b"0" * 600, "b": b"0" * 600}), "a.zip", lambda path: True),
    ):
        with pytest.raises(DataError, match="unpacks to more than"):
            unpack()


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
