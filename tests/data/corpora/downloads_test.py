"""Downloads from a server on this machine that breaks off, lies, drips, falls silent and leads elsewhere."""

import contextlib
import hashlib
import http.server
import os
import threading
from dataclasses import dataclass, field

import pytest

from attention_jax.data.corpora import downloads, raw
from attention_jax.system.errors import DataError

CONTENT = bytes(range(256)) * 400
ETAG = '"one"'


@dataclass
class Page:
    """What the server says to a GET, and what it does instead."""

    body: bytes = CONTENT
    headers: dict = field(default_factory=lambda: {"ETag": ETAG})
    status: int = 200
    length: int | None = None  # None: the truth; -1: not said
    ranges: bool = True
    sends: int | None = None  # bytes before it breaks off
    drip: bool = False  # a byte at a time, until the test is over
    range_says: str | None = None


@pytest.fixture
def server(monkeypatch):
    """(address, pages by path, headers of the requests so far)."""
    pages, asked, over = {}, [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            page = pages.get(self.path)
            if page is None:
                return self.send_error(404)
            if page.drip is None:  # not a word
                return over.wait(20)
            body, status = page.body, page.status
            begin = int(self.headers["Range"][6:-1]) if page.ranges and "Range" in self.headers else 0
            if begin and self.headers["If-Range"] not in (None, *page.headers.values()):
                begin = 0
            if begin >= len(body) > 0:
                return self.send_error(416)
            self.send_response(206 if begin else status)
            if begin:
                self.send_header("Content-Range", page.range_says or f"bytes {begin}-{len(body) - 1}/{len(body)}")
                body = body[begin:]
            if page.length != -1:
                self.send_header("Content-Length", str(len(body) if page.length is None else page.length))
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for byte in body if page.drip else ():
                self.wfile.write(bytes([byte]))
                if over.wait(0.05):
                    return
            self.wfile.write(body[: page.sends])

        def log_message(self, *arguments):
            pass

        def handle(self):
            with contextlib.suppress(OSError):  # the other side left
                super().handle()

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/a", pages, asked
        over.set()
        running.shutdown()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "corpus" / "a.part"


def broken_off(server, part, sends=50_000):
    address, pages, asked = server
    pages["/a"] = Page(sends=sends)
    with pytest.raises(downloads.FAILURES, match=f"broke off after {sends} of {len(CONTENT)} bytes"):
        downloads.fetch(address, part)
    pages["/a"].sends = None
    asked.clear()


def test_a_whole_file(server, part):
    address, pages, _ = server
    pages["/a"] = Page()
    assert downloads.fetch(address, part) == CONTENT
    pages["/a"] = Page(headers={}, length=-1, body=b"short")  # no size, no version
    part.unlink()
    assert downloads.fetch(address, part) == b"short"
    assert not part.exists()  # it cannot be resumed
    pages["/a"] = Page(body=b"")
    assert downloads.fetch(address, part) == b""


@pytest.mark.parametrize("validator", [{"ETag": ETAG}, {"ETag": 'W/"weak"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_it_goes_on_where_it_broke_off(server, part, validator):
    address, pages, asked = server
    pages["/a"] = Page(headers=validator, sends=50_000)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="broke off after"):
            downloads.fetch(address, part)
    pages["/a"].sends = None
    assert downloads.fetch(address, part) == CONTENT
    assert [request.get("Range") for request in asked] == [None, "bytes=50000-", "bytes=100000-"]
    assert asked[2]["If-Range"] == list(validator.values())[-1]


def test_a_server_without_ranges_begins_anew(server, part):
    broken_off(server, part)
    address, pages, asked = server
    pages["/a"].ranges = False
    assert downloads.fetch(address, part) == CONTENT
    assert len(asked) == 1


def test_a_file_that_changed_begins_anew(server, part):
    broken_off(server, part)
    address, pages, asked = server
    pages["/a"] = Page(body=b"two" * 50_000, headers={"ETag": '"two"'})
    assert downloads.fetch(address, part) == b"two" * 50_000
    assert len(asked) == 1


@pytest.mark.parametrize("said", ["bytes 0-102399/102400", "bytes 50001-102399/102400", "nonsense", "bytes 50000-1/" + "9" * 5000])
def test_a_part_that_was_not_asked_for_begins_anew(server, part, said):
    broken_off(server, part)
    address, pages, asked = server
    pages["/a"].range_says = said
    assert downloads.fetch(address, part) == CONTENT
    assert [request.get("Range") for request in asked] == ["bytes=50000-", None]


def test_a_server_that_ignores_which_file_begins_anew(server, part):
    broken_off(server, part)
    address, pages, _ = server

    class Any(dict):
        def values(self):
            return [ETAG]

    pages["/a"] = Page(body=b"two" * 50_000, headers=Any(ETag='"two"'))
    assert downloads.fetch(address, part) == b"two" * 50_000


def test_a_part_that_is_complete_begins_anew(server, part):
    """As a kill between the last byte and the verification leaves it: the server has nothing behind it."""
    address, pages, asked = server
    pages["/a"] = Page()
    downloads.fetch(address, part)
    assert downloads.fetch(address, part) == CONTENT
    assert [request.get("Range") for request in asked] == [None, f"bytes={len(CONTENT)}-", None]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\n1234",
        b"[]\n1234",
        b'{"address": 1, "validator": 2}\n1234',
        b"[" * 100_000 + b"\n1",
        b'{"address": "http://other/a", "validator": "\\"one\\""}\n1234',
        b'{"address": "ADDRESS", "validator": "\\"one\\"\\r\\nX-Evil: 1"}\n1234',
        b'{"address": "ADDRESS", "validator": 7}\n1234',
        b'{"address": "ADDRESS"}\n1234',
    ],
)
def test_a_part_of_something_else_is_not_used(server, part, content):
    address, pages, asked = server
    pages["/a"] = Page()
    part.parent.mkdir()
    part.write_bytes(content.replace(b"ADDRESS", address.encode()))
    assert downloads.fetch(address, part) == CONTENT
    assert [request.get("Range") for request in asked] == [None] and "X-Evil" not in asked[0]


def test_a_part_that_another_process_fills_is_left_alone(server, part):
    address, pages, _ = server
    pages["/a"] = Page()
    with downloads._held(part) as theirs:
        theirs.write(b"theirs")
        theirs.flush()
        assert downloads.fetch(address, part) == CONTENT
        assert part.read_bytes() == b"theirs" and os.listdir(part.parent) == ["a.part"]


def test_a_file_above_the_limit_is_refused_before_and_while_it_comes(server, part, monkeypatch):
    monkeypatch.setattr(downloads, "LARGEST", 1 << 16)
    address, pages, _ = server
    for page in (Page(), Page(length=-1), Page(headers={}, length=-1), Page(length=10**14), Page(length=int("9" * 15))):
        pages["/a"] = page
        with pytest.raises(ValueError, match="larger than 0 MiB"):
            downloads.fetch(address, part)
        assert not part.exists()


@pytest.mark.parametrize("page", [Page(drip=True), Page(drip=None), Page(drip=True, headers={}, length=-1)])
def test_a_server_that_drips_or_falls_silent_is_given_up(server, part, monkeypatch, page):
    monkeypatch.setattr(downloads, "STALL", 0.4)
    address, pages, _ = server
    pages["/a"] = page
    with pytest.raises(TimeoutError, match=r"(bytes came in 0 s|timed out)"):
        downloads.fetch(address, part)


def test_a_slow_server_that_goes_on_is_waited_for(server, part, monkeypatch):
    monkeypatch.setattr(downloads, "STALL", 5.0)
    monkeypatch.setattr(downloads, "LEAST", 1)
    monkeypatch.setattr(downloads, "PIECE", 1)
    address, pages, _ = server
    pages["/a"] = Page(body=b"slow", drip=True)
    assert downloads.fetch(address, part)[:4] == b"slow"


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,a", "gopher://127.0.0.1/"])
def test_only_http_is_spoken(server, part, scheme):
    address, pages, _ = server
    pages["/a"] = Page(status=302, headers={"Location": scheme}, body=b"")
    for asked in (address, scheme):
        with pytest.raises(downloads.FAILURES, match=r"not allowed|unknown url type|HTTP Error 302"):
            downloads.fetch(asked, part)


def test_a_redirection_is_followed_and_a_circle_left(server, part):
    address, pages, _ = server
    pages["/b"] = Page()
    pages["/a"] = Page(status=301, headers={"Location": "/b"}, body=b"")
    assert downloads.fetch(address, part) == CONTENT
    pages["/a"] = Page(status=302, headers={"Location": "/a"}, body=b"")
    part.unlink()
    with pytest.raises(downloads.FAILURES, match="infinite loop"):
        downloads.fetch(address, part)


# through raw.obtain: what a user sees


def checked(data: bytes, where: str) -> bytes:
    return raw.verify(data, hashlib.sha256(CONTENT).hexdigest(), where, "get it again")


def obtain(server, tmp_path):
    return raw.obtain(raw.Place(None, tmp_path), "corpus", "a.txt", server[0], checked)


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_kept_once(tmp_path, server):
    server[1]["/a"] = Page()
    assert obtain(server, tmp_path) == CONTENT
    server[1].clear()
    assert obtain(server, tmp_path) == CONTENT
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("page", [Page(body=b"<html>moved</html>"), Page(length=10), Page(body=CONTENT + b"0"), Page(body=b"", status=204)])
def test_a_download_that_is_not_what_it_should_be_is_not_kept(tmp_path, server, page):
    server[1]["/a"] = page
    with pytest.raises(DataError, match="other content than expected"):
        obtain(server, tmp_path)
    assert files(tmp_path) == []


def test_an_interrupted_download_says_so_and_goes_on(tmp_path, server):
    server[1]["/a"] = Page(sends=50_000)
    with pytest.raises(DataError, match=r"broke off after 50000 of 102400 bytes\); the next attempt goes on where this one broke off"):
        obtain(server, tmp_path)
    assert files(tmp_path) == ["a.txt.part"]
    server[1]["/a"].sends = None
    assert obtain(server, tmp_path) == CONTENT
    assert server[2][-1]["Range"] == "bytes=50000-" and files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("page", [None, Page(status=500), Page(status=503), Page(sends=5, headers={})])
def test_a_download_that_fails_names_address_file_and_flag(tmp_path, server, page):
    if page:
        server[1]["/a"] = page
    with pytest.raises(DataError, match=rf"^corpus: {server[0]} cannot be downloaded \([^\n]* its name a\.txt, [^\n]*--data_dir$"):
        obtain(server, tmp_path)
    assert files(tmp_path) == []


def test_offline_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    for address in ("http://127.0.0.1:9/a", "http://no-such-host.invalid/a", "http://[/a", "http://127.0.0.1:99999/a"):
        with pytest.raises(DataError, match=r"^corpus: http://[^\n]* cannot be downloaded \([^\n]*--data_dir$"):
            raw.obtain(raw.Place(None, tmp_path), "corpus", "a.txt", address, checked)
    assert files(tmp_path) == []
