"""Whether a run is finished: by its mark, which spares reading its rows, or by rows that can only be its own."""

import json
import shutil
from dataclasses import replace

import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig, to_json
from attention_jax.running import finished, loop, results
from attention_jax.system.errors import DataError, RunError, StorageError

RUN = Config(
    experiment="bottleneck",
    run="tiny",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2), eval_examples=4),
    training=TrainingConfig(seeds=2, updates=4, batch_size=4, learning_rates=(1e-2,)),
)
OTHER = replace(RUN, training=replace(RUN.training, batch_size=8, optimizer="sgd"))


def rows(config: Config = RUN) -> list[dict]:
    own = {
        "experiment": config.experiment,
        "run": config.run,
        "fingerprint": finished.fingerprint(config),
        "budget": config.training.updates,
    }
    return [{**own, "seed": s, "length": n, "mode": m, "exact_match": 0.5} for m in ("free", "forced") for s in (0, 1) for n in (1, 2)]


@pytest.fixture
def folder(tmp_path):
    """A finished run's, without training."""
    results.claim_directory(tmp_path, to_json(RUN), {})
    results.write_json(tmp_path / finished.EXAMPLE, {})
    results.replace(tmp_path / finished.ROWS, rows())
    finished.mark(RUN, tmp_path)
    return tmp_path


@pytest.fixture
def parses(monkeypatch):
    """How often rows were parsed."""
    count, parse = [], results.parse
    monkeypatch.setattr(results, "parse", lambda *arguments: count.append(1) or parse(*arguments))
    return count


def test_a_mark_spares_reading_the_rows(folder, parses, monkeypatch):
    assert finished.is_finished(RUN, folder)
    monkeypatch.setattr(finished.files, "read_bytes", None)  # not even their bytes are read
    assert finished.is_finished(RUN, folder) and parses == []


def test_a_copy_of_a_run_is_not_parsed(folder, tmp_path_factory, parses):
    """Its rows have another time, and the same bytes."""
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("copied") / "run", copy_function=shutil.copyfile)
    assert finished.is_finished(RUN, copy) and parses == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"fingerprint": "0"}', b"[" * 100_000, b"\xff"])
def test_a_damaged_or_foreign_mark_says_nothing(folder, parses, damage):
    (folder / finished.MARK).write_bytes(damage)
    assert finished.is_finished(RUN, folder) and parses == [1]


def test_rows_that_changed_are_read(folder, parses):
    content = (folder / finished.ROWS).read_bytes()
    (folder / finished.ROWS).write_bytes(content.replace(b'"exact_match": 0.5', b'"exact_match": 0.7', 1))
    with pytest.raises(DataError, match="line 1 is damaged: its checksum is not that of its content"):
        finished.is_finished(RUN, folder)
    (folder / finished.ROWS).write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    assert not finished.is_finished(RUN, folder)


def test_without_an_example_it_is_not_finished(folder):
    (folder / finished.EXAMPLE).unlink()
    assert not finished.is_finished(RUN, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "other"}, "run is 'other', not 'tiny'"),
        ({"fingerprint": finished.fingerprint(OTHER)}, "its fingerprint is "),
        ({"seed": 7}, r"seed is 7, not in \[0, 1\]"),
        ({"budget": 3}, "budget is 3, not 4"),
        ({"mode": "beam"}, "mode is 'beam', not free or forced"),
        ({"length": 3}, "length is 3, not one of 1, 2"),
        ({"exact_match": 1.5}, "exact_match is 1.5, which is not in"),
        ({"examples": 10**400}, "too large"),
    ],
)
def test_rows_of_another_run_are_refused(folder, change, message):
    """By `is_finished`, by whoever concludes, and by the run itself: as damage of its directory."""
    results.replace(folder / finished.ROWS, [rows()[0] | change, *rows()[1:]])
    acts = {lambda: finished.is_finished(RUN, folder): DataError, lambda: finished.rows(RUN, folder): DataError}
    for act, kind in (acts | {lambda: loop.run(RUN, folder, {}): RunError}).items():
        with pytest.raises(kind, match=message) as error:
            act()
        assert "line 1" in str(error.value) and "\n" not in str(error.value)


def test_all_rows_of_another_run_are_refused(folder):
    results.replace(folder / finished.ROWS, rows(OTHER))
    with pytest.raises(RunError, match="its fingerprint is "):
        loop.run(RUN, folder, {})


def test_a_length_that_all_lack_is_missing(folder):
    results.replace(folder / finished.ROWS, [row for row in rows() if row["length"] == 1])
    assert not finished.is_finished(RUN, folder)


def test_rows_without_checksums_are_none_of_ours(folder):
    (folder / finished.ROWS).write_bytes(results.lines(rows(), checked=False).replace(b"0.5", b"0.7"))
    with pytest.raises(DataError, match="line 1 is damaged: it has no checksum"):
        finished.is_finished(RUN, folder)


def test_rows_without_fingerprints_are_those_of_older_versions(folder):
    """A stored config that lacks a setting says so; smaller budgets were tested then, too."""
    plain = [{name: value for name, value in row.items() if name != "fingerprint"} for row in rows()]
    results.replace(folder / finished.ROWS, [*(row | {"budget": 2} for row in plain), *plain])
    with pytest.raises(DataError, match="its fingerprint is None"):
        finished.is_finished(RUN, folder)
    stored = json.loads((folder / "config.json").read_bytes())
    del stored["config"]["text"]["blind"]
    results.write_json(folder / "config.json", stored)
    assert finished.is_finished(RUN, folder)


def test_a_file_that_cannot_be_read_is_not_damaged(folder, monkeypatch):
    def refuse(path, *limits):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(results, "read_bytes", refuse)
    (folder / finished.MARK).unlink()
    with pytest.raises(StorageError, match=r"cannot read rows from .*rows\.jsonl: Permission denied"):
        finished.is_finished(RUN, folder)
    with pytest.raises(RunError, match="Permission denied"):
        loop.run(RUN, folder, {})


def test_the_quick_parser_and_the_strict_one_agree(monkeypatch):
    odd = [*rows(), {"a": 'b": c', "größe": -1e-300, "none": None, "true": True}, {"list": [1, 2]}, {}]
    for lines in (odd, rows(), [{"x": 1}]):
        data = results.lines(lines)
        quick = results.parse(data, "file")
        monkeypatch.setattr(results, "_plain", lambda lines: None)
        assert quick == results.parse(data, "file") == lines
        monkeypatch.undo()


@pytest.mark.parametrize("body", [b'{"a": NaN', b'{"a": 1e999', b'{"a": -Infinity', b'{"a": 1, "a": 2', b'{"a": 1' + b"0" * 400])
def test_a_right_checksum_does_not_make_a_row(body):
    line = b'%b, "crc32": "%08x"}\n' % (body, results.zlib.crc32(body))
    with pytest.raises(DataError, match="line 1 is damaged"):
        results.parse(line + results.lines([{"x": 1}]), "file", ours=True)
