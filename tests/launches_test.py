"""Launches of an update on a GPU: counted rightly, and no more of them than are on file."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from attention_jax.running import results
from benchmarks import launches

ROOT = Path(__file__).resolve().parent.parent
ON_FILE = {row["program"]: row for row in results.read(ROOT / "docs" / "performance" / "launches.jsonl")}
PROGRAM = """\
%body.1 (p: (s32[], f32[2])) -> (s32[], f32[2]) {
  %p = (s32[], f32[2]{0}) parameter(0)
  %x = f32[2]{0} get-tuple-element(%p), index=1
  %s = ((f32[2]{0}), f32[2]{0}, u32[]) fusion-start(%x), kind=kLoop, calls=%fused
  %f = f32[2]{0} fusion-done(%s)
  ROOT %t = (s32[], f32[2]{0}) tuple(%i, /*index=1*/%f)
}

%often.2 (p: (s32[], f32[2])) -> (s32[], f32[2]) {
  %inner = (s32[], f32[2]{0}) while(%p), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %product = f32[2]{0} custom-call(%inner), custom_call_target="__cublas$gemm"
}

ENTRY %main.3 (a: f32[2]) -> f32[2] {
  %a = f32[2]{0} parameter(0)
  %known = (s32[], /*index=1*/f32[2]{0}) while(%a), condition=%c, body=%often.2, backend_config={"known_trip_count":{"n":"5"}}
  %unknown = (s32[], f32[2]{0}) while(%a), condition=%c, body=%body.1
  %called = f32[2]{0} call(%a), to_apply=%body.1
  ROOT %copy = f32[2]{0} copy(%a)
}
"""


def test_launches_are_counted_as_often_as_their_loops_run():
    assert launches.count(PROGRAM) == 5 * (3 + 1) + 1 + 1 + 1


def test_every_program_is_on_file():
    assert set(ON_FILE) == set(launches.NAMES), "python -m benchmarks.launches --out=docs/performance/launches.jsonl"


def test_attention_at_the_size_of_old_keeps_its_promise():
    assert ON_FILE["H=64 additive"]["launches"] <= 600


@pytest.mark.parametrize("name", ["H=64 additive", "H=64 none", "tiny summary"])
def test_an_update_has_no_more_launches_than_on_file(name, tmp_path):
    try:
        versions = {metadata.version(package) for package in ("jax", "jax-cuda13-plugin", "jax-cuda13-pjrt")}
    except metadata.PackageNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: make test-launches")
    if versions != {ON_FILE[name]["jax"]}:
        pytest.skip(f"on file is JAX {ON_FILE[name]['jax']}, here are {', '.join(versions)}")
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "benchmarks.launches", f"--only={name}", f"--out={out}"]
    done = subprocess.run(command, env=os.environ | {"XLA_FLAGS": ""}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["launches"] <= ON_FILE[name]["launches"]


@pytest.mark.parametrize(("flag", "said"), [("--only=H=63 none", "--only='H=63 none' is unknown (did you mean")])
def test_flags_that_do_not_fit_are_refused_in_one_line(flag, said, capsys):
    assert launches.main([flag]) == 2
    assert said in capsys.readouterr().err
