"""What is on disk survives kills, a second writer and a changed mind; what is damaged is named by file and line."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import config as settings
from attention_jax.config import formats
from attention_jax.running import results
from attention_jax.system.errors import DataError, RunError

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ROWS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4)
CONFIG = settings.to_json(settings.Config(run="additive"))
HERE = {"jax": "1", "device_kind": "cpu"}


def row(**changes):
    return {"run": "additive", "seed": 0, "length": 4, "mode": "free", "budget": 10, "exact_match": 0.5} | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


@given(ROWS, ROWS)
def test_rows_come_back_as_they_were(first, second):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.jsonl"
        results.append(path, first)
        results.append(path, second)
        assert results.read(path) == first + second


@given(st.data())
def test_a_kill_at_any_byte_loses_whole_lines_at_the_end_only(data):
    rows = [row(seed=seed, note="größer") for seed in range(3)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.jsonl"
        results.append(path, rows)
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        assert results.read(path) == rows[:whole]
        assert path.read_bytes() == content[:cut]  # reading repairs nothing: someone may be writing
        results.append(path, rows[whole:])
        assert results.read(path) == rows
        assert path.read_bytes() == content


def test_an_unreadable_last_line_is_dropped_and_said(path, caplog):
    path.write_bytes(json.dumps(row()).encode() + b"\n" + b"\0" * 20 + b"\n")
    assert results.read(path) == [row()]
    with caplog.at_level(logging.WARNING):
        results.append(path, [row(seed=1)])
    assert "not completely written" in caplog.text
    assert results.read(path) == [row(), row(seed=1)]


@pytest.mark.parametrize("damage", [b"{", b"", b"[1]", b'{"loss": NaN}', b"\xff", b"{} {}"])
def test_damage_in_the_middle_is_named(path, damage):
    path.write_bytes(b"{}\n" + damage + b"\n{}\n")
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2 is damaged") as error:
        results.read(path)
    assert "\n" not in str(error.value)


def test_no_file_is_said(path):
    with pytest.raises(DataError, match=r"rows\.jsonl: No such file"):
        results.read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_whole(path, value):
    results.append(path, [row()])
    with pytest.raises(RunError, match=r"loss not finite.*'seed': 2"):
        results.append(path, [row(seed=1), row(seed=2, loss=value)])
    with pytest.raises(RunError):
        results.write_json(path.with_name("a.json"), {"deep": [value]})
    assert results.read(path) == [row()]
    assert os.listdir(path.parent) == ["rows.jsonl"]


def test_merge_keeps_order_and_refuses_repeats(tmp_path):
    one, two, three = (tmp_path / f"{name}.jsonl" for name in ("one", "two", "three"))
    results.append(one, [row(), row(mode="forced"), row(budget=20)])
    results.append(two, [row(run="summary")])
    assert results.merge([two, one]) == [row(run="summary"), row(), row(mode="forced"), row(budget=20)]
    results.append(two, [row(mode="forced", exact_match=0.7)])
    with pytest.raises(DataError, match=r"two\.jsonl, line 2 repeats .*one\.jsonl, line 2 \(run=additive, seed=0, length=4, mode=forced"):
        results.merge([one, two])
    results.append(one, [{"run": "additive"}])
    with pytest.raises(DataError, match=r"one\.jsonl, line 4 has no seed, length, mode, budget"):
        results.merge([one])
    results.append(three, [row(seed=True, length="4")])
    with pytest.raises(DataError, match=r"three\.jsonl, line 1 has no seed, length$"):
        results.merge([three])


def test_what_killed_writers_left_is_removed(tmp_path):
    for name in (".config.json.123", ".rows.jsonl.4", ".lock", "config.json", ".vocabulary.model"):
        (tmp_path / name).write_text("x")
    results.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".vocabulary.model", "config.json"]


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "a.json"
    results.write_json(file, {"a": 1})
    assert results.read_json(file) == {"a": 1}

    def replace(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.os, "replace", replace)
    with pytest.raises(RunError, match=r"cannot write .*a\.json: No space left on device"):
        results.write_json(file, {"a": 2})
    assert results.read_json(file) == {"a": 1}
    assert os.listdir(file.parent) == ["a.json"]


def test_a_full_disk_is_said_and_repaired(path, monkeypatch):
    results.append(path, [row()])
    whole = os.write
    monkeypatch.setattr(results.os, "write", lambda file, data: whole(file, data[:10]))
    with pytest.raises(RunError, match=r"cannot write .*rows\.jsonl: disk full"):
        results.append(path, [row(seed=1)])
    monkeypatch.undo()
    results.append(path, [row(seed=2)])
    assert results.read(path) == [row(), row(seed=2)]


def test_a_damaged_mark_of_the_only_checksum_is_damage(tmp_path):
    path = tmp_path / "rows.jsonl"
    results.append(path, [row()])
    path.write_bytes(path.read_bytes().replace(b'"crc32": ', b'"crc32" :'))
    with pytest.raises(DataError, match=r"line 1 is damaged: it has no checksum"):
        results.read(path)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 1%s}' % (b"0" * 400), b'{"a": 1%s}' % (b"0" * 5000)])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    for act in (lambda: results.read_json(tmp_path / "config.json"), lambda: results.claim_directory(tmp_path, CONFIG, HERE)):
        with pytest.raises(RunError, match=r"config\.json is damaged"):
            act()
    with pytest.raises(RunError, match=r"none\.json: No such file"):
        results.read_json(tmp_path / "none.json")


def test_a_directory_is_claimed_once(tmp_path, caplog):
    directory = tmp_path / "runs" / "additive"
    results.claim_directory(directory, CONFIG, HERE)
    written = (directory / "config.json").read_bytes()
    assert json.loads(written) == {"format": formats.FORMAT, "config": CONFIG, "environment": HERE}
    assert settings.from_json(results.read_json(directory / "config.json")["config"]) == settings.Config(run="additive")
    results.claim_directory(directory, CONFIG, HERE)
    assert caplog.text == ""
    results.claim_directory(directory, CONFIG, HERE | {"jax": "2"})
    assert 'jax is "1" there, "2" here' in caplog.text
    assert (directory / "config.json").read_bytes() == written


def test_tuples_are_the_lists_they_become(tmp_path):
    results.claim_directory(tmp_path, {"lengths": (1, 2)}, {})
    results.claim_directory(tmp_path, {"lengths": (1, 2)}, {})
    with pytest.raises(RunError, match=r"lengths is \[1, 2\] there, \[1, 3\] here"):
        results.claim_directory(tmp_path, {"lengths": (1, 3)}, {})


def test_a_foreign_directory_names_what_differs(tmp_path):
    results.claim_directory(tmp_path, CONFIG, HERE)
    other = settings.override_all(settings.Config(run="additive"), ["training.updates=9", "model.cell=lstm"])
    with pytest.raises(RunError) as error:
        results.claim_directory(tmp_path, settings.to_json(other), HERE)
    for part in (str(tmp_path), 'model.cell is "gru" there, "lstm" here', "training.updates is 2000 there, 9 here", "--workdir"):
        assert part in str(error.value)
    with pytest.raises(RunError, match='match is "state" there, absent here'):
        results.claim_directory(tmp_path, {name: value for name, value in CONFIG.items() if name != "match"}, HERE)
    with pytest.raises(RunError, match="and 3 more"):
        results.claim_directory(tmp_path, CONFIG | {f"new{i}": i for i in range(8)}, HERE)


def test_a_directory_with_rows_or_a_config_of_unknown_origin_is_refused(tmp_path):
    results.append(tmp_path / "rows.jsonl", [row()])
    with pytest.raises(RunError, match=r"rows but no config\.json"):
        results.claim_directory(tmp_path, CONFIG, HERE)
    results.write_json(tmp_path / "config.json", {"learning_rate": 1})
    with pytest.raises(RunError, match="not a run's"):
        results.claim_directory(tmp_path, CONFIG, HERE)


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "run"
    acts = (
        lambda: results.claim_directory(directory, CONFIG, HERE),
        lambda: results.append(directory / "rows.jsonl", [row()]),
    )
    for act in acts:
        with pytest.raises(RunError, match=f"cannot write {directory}.*Not a directory.*--workdir"):
            act()


def test_environment_is_known_or_said_to_be_unknown(monkeypatch):
    found = results.environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["jax"] == results.jax.__version__ and found["device_count"] == results.jax.device_count()
    assert found["git_commit"] == "unknown" or len(found["git_commit"].removesuffix("-dirty")) == 40

    def refuse(*arguments, **options):
        raise results.importlib.metadata.PackageNotFoundError

    def no_device():
        raise RuntimeError("no backend")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(results.importlib.metadata, "version", refuse)
    monkeypatch.setattr(results.jax, "devices", no_device)
    assert set(results.environment()) == set(found)
    assert {results.environment()[name] for name in ("jax", "device_kind", "git_commit")} == {"unknown"}


def test_a_copy_that_git_does_not_track_has_no_commit(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert results._git_commit(tmp_path) == "unknown"
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    subprocess.run(["git", "-C", str(tmp_path), *who, "commit", "-q", "-m", "x"], check=True)
    clean = results._git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "__init__.py").write_text("changed")
    assert results._git_commit(tmp_path) == f"{clean}-dirty"
