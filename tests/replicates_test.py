"""Replicates: what they vary, what a row of one says, the flip rate; a failed one ends the command."""

import sys

import pytest

from attention_jax.system.errors import RunError
from benchmarks import replicates


def row(name: str, verdict: str = "bottleneck", k: float | None = 16.0) -> dict:
    made = {"python": "3.11.7", "jax": "0.10.2", "device_count": 2, "seconds": 70}
    return {"replicate": name, "verdict": verdict, "detail": "still closing" * (verdict == "bottleneck"), "k": k, "gap": 0.9} | made


def test_there_are_twenty_kinds_of_rounding_devices_and_seeds():
    found = replicates.replicates()
    names = [each.name for each in found]
    assert len(names) == len(set(names)) == 20
    assert {"plain", "ulp 1", "ulp -3", "devices 1", "devices 4", "tf32", "seeds 100", "seeds 1000"} <= set(names)
    assert len({(each.flags, each.devices) for each in found}) == 20


def test_the_flip_rate_counts_what_most_do_not_say():
    rows = [row(f"ulp {i}") for i in range(18)] + [row("a", "inconclusive", None), row("b", k=8.0)]
    page = replicates.page(rows)
    assert '2 of 20 replicates say something else than "bottleneck" up to 16 ×: flip rate 0.10 [0.01, 0.32]' in page
    assert page.count("\n") >= 22
    assert "0 of 1 replicates" in replicates.page(rows[:1])


def test_a_replicate_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(replicates.subprocess, "run", lambda *a, **k: type("Done", (), {"returncode": 1, "stderr": "x\nerror: why"}))
    with pytest.raises(RunError, match="replicate 'ulp 1' failed: error: why"):
        replicates.run(replicates.Replicate("ulp 1"), tmp_path)


def test_what_is_on_file_is_not_run_again(monkeypatch, tmp_path, capsys):
    out, made = tmp_path / "folder" / "rows.jsonl", []
    monkeypatch.setattr(replicates, "run", lambda each, workdir: made.append(each.name) or row(each.name))
    for _ in range(2):
        assert replicates.main([f"--out={out}", "--only=ulp"]) == 0
    assert made == ["ulp 1", "ulp 2", "ulp 3", "ulp -1", "ulp -2", "ulp -3"]
    assert "0 of 6 replicates" in capsys.readouterr().out


def test_other_interpreters(capsys):
    assert [each.name for each in replicates.replicates([sys.executable])[20:]] == [f"environment {replicates.environment(sys.executable)}"]
    for pythons, message in (("/no/such", "cannot be run: No such file"), (f"{sys.executable},{sys.executable}", "the same versions")):
        assert replicates.main([f"--pythons={pythons}", "--only=nothing", "--out=/nowhere/rows.jsonl"]) == 2
        assert message in capsys.readouterr().err
