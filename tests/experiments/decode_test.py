"""A trained run from the command line: its outputs, other searches, and one line for whatever cannot be decoded."""
# ruff: noqa: F401, F811 - fixtures of other files are asked for by their names

import html
import io
import sys
from pathlib import Path

import pytest
from jax.errors import JaxRuntimeError

from attention_jax import trained
from attention_jax.config import SearchConfig
from attention_jax.report import decoding
from attention_jax.trained import batching
from tests.experiments.command import call
from tests.experiments.run_test import workdir

pytestmark = pytest.mark.long


def test_decode(workdir, tmp_path, capsys, monkeypatch):
    (tmp_path / "input.txt").write_bytes("\ufeff0 1 2\r\n\n2 1\n".encode())
    decode = f"--decode={workdir}/bottleneck/additive-gru-h6-d0-u4"
    assert call(decode, f"--input={tmp_path}/input.txt") == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3 and printed.splitlines()[1] == ""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"0 1 2\n\n2 1")))
    assert call(decode) == 0
    assert capsys.readouterr().out == printed
    for suffix, start in (("html", b"<!doctype html>"), ("png", b"\x89PNG")):
        assert call(decode, f"--input={tmp_path}/input.txt", f"--alignments={tmp_path}/out.{suffix}") == 0
        assert (tmp_path / f"out.{suffix}").read_bytes()[: len(start)].lower() == start.lower()
        assert capsys.readouterr() == (printed, f"alignments: {tmp_path}/out.{suffix}\n")


def test_decoding_shows_what_it_has(workdir, tmp_path, capsys, monkeypatch):
    (tmp_path / "input.txt").write_text("0 1\n\n2 1 0\n1 0\n2\n")
    decode = [f"--decode={workdir}/bottleneck/additive-gru-h6-d0-u4", f"--input={tmp_path}/input.txt", "--set=search.method=sample"]
    assert call(*decode) == 0
    whole, shown = capsys.readouterr().out, []
    monkeypatch.setattr(batching, "BLOCK", 2)
    asked = decoding.Asked([f"{tmp_path}/input.txt"], assignments=["search.method=sample"])
    decoding.use(Path(decode[0].partition("=")[2]), asked, shown.append, shown.append)
    assert len(shown) == 5 and "\n".join(shown) + "\n" == whole


def test_decode_with_another_search(workdir, tmp_path, capsys):
    (tmp_path / "input.txt").write_text("0 1 2\n\n2 1\n")
    decode = [f"--decode={workdir}/bottleneck/additive-gru-h6-d0-u4", f"--input={tmp_path}/input.txt"]
    beam = [*decode, "--set=search.method=beam", "--set=search.length_penalty=0.6"]
    assert call(*beam, "--set=search.n_best=3", f"--alignments={tmp_path}/out.html") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [number for number, _, _ in rows] == ["1"] * 3 + ["2"] + ["3"] * 3
    run_ = trained.load(workdir / "bottleneck" / "additive-gru-h6-d0-u4")
    found = run_.decode_n_best(["0 1 2", "", "2 1"], SearchConfig("beam", n_best=3, length_penalty=0.6))
    assert rows == [[str(i), f"{output.score:.4f}", output.text] for i, best in enumerate(found, start=1) for output in best]
    page = html.unescape((tmp_path / "out.html").read_text())
    assert page.count("score ") == 6 and f"score {found[2][1].score:.4f}: {found[2][1].text}" in page  # nothing of the empty line
    assert call(*beam) == 0
    assert capsys.readouterr().out.splitlines() == [best[0].text for best in found]


def test_decode_of_what_cannot_be(refuses, workdir, tmp_path, monkeypatch):
    decode = f"--decode={workdir}/bottleneck/additive-gru-h6-d0-u4"
    (tmp_path / "input.txt").write_text("0 1\n")
    for setting, message in {
        "model.hidden_size=9": "--set model.hidden_size=9: a trained run stays as it is; with --decode only search.* can be set",
        "search.beam=3": "unknown setting 'search.beam'; did you mean search.beam_size",
        "search.method=bean": "search.method='bean' is unknown (did you mean 'beam'?); valid: greedy, sample, beam",
        "search.top_p=2": "search.top_p=2.0 is impossible",
        "search.n_best=3": "search.n_best=3 needs search.method=beam",
        "search": "--set search: a trained run stays as it is",
    }.items():
        assert message in refuses(decode, f"--input={tmp_path}/input.txt", f"--set={setting}")
    (tmp_path / "latin.txt").write_bytes(b"0 1\n\xe9\n")
    (tmp_path / "wrong.txt").write_bytes("0 1\n2 0 1\u20281 9\n".encode())
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf0\n\n\xe9\n")
    assert "latin.txt, line 2: not UTF-8" in refuses(decode, f"--input={tmp_path}/latin.txt")
    assert "marked.txt, line 3: not UTF-8" in refuses(decode, f"--input={tmp_path}/marked.txt")
    assert "input line 2: '9' is no symbol of copy; valid: 0 to 2" in refuses(decode, f"--input={tmp_path}/wrong.txt")
    assert "absent.txt cannot be read: No such file" in refuses(decode, f"--input={tmp_path}/absent.txt")
    assert "is no run: it has no config.json" in refuses(f"--decode={tmp_path}")
    assert "bottleneck is no run: it holds runs: additive-gru-h6-d0-u4, " in refuses(f"--decode={workdir}/bottleneck")
    (tmp_path / "many.txt").write_text("0 1\n\n" * 13)
    monkeypatch.setattr(trained.Trained, "decode_each", None)
    said = refuses(decode, f"--input={tmp_path}/many.txt", f"--alignments={tmp_path}/out.png")
    assert f"--alignments={tmp_path}/out.png: up to 13 outputs do not fit; give 12 or fewer, or a .html" in said


def test_decode_that_needs_too_much_memory(refuses, workdir, tmp_path, monkeypatch):
    def exhausted(*arguments):
        yield from ()
        raise JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 160000000000 bytes.")

    monkeypatch.setattr(trained.Trained, "decode_each", exhausted)
    (tmp_path / "input.txt").write_text("0 1\n0 1 2\n")
    said = refuses(f"--decode={workdir}/bottleneck/additive-gru-h6-d0-u4", f"--input={tmp_path}/input.txt", status=1)
    assert "out of memory: shorten the longest line (3 words), or lower search.beam_size=" in said
