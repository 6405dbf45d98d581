"""Two files of rows, made up: what counts as moved, what as noise, and what is said of machines, lacking rows and damage."""

import json
from pathlib import Path

import pytest

from benchmarks import compare, rows, stored
from benchmarks.rows import Row
from tests.benchmarks_test import command

MACHINE = {"device": "AMD EPYC (family 25, model 17)", "cores": 2, "versions": {"jax": "0.10.2", "torch": "2.13.0"}, "environment": {}}
PEAK = 400e9


def samples(middle: float, spread: float = 0.0) -> rows.Sample:
    """With quartiles so far to both sides, as a share."""
    return rows.Sample(middle, (middle * (1 - spread), middle * (1 + spread)), 9)


def row(what: str = "step", ours: float = 1.0, theirs: float | None = 2.0, spread: float = 0.0, peak: float = PEAK, **more) -> dict:
    """A row as a file has it. Ours reaches half of the peak in one second."""
    given = {"unit": "s", "flop": PEAK / 2 if peak else None, "peak": peak or None, "peer": "" if theirs is None else "them"} | more
    machine = MACHINE | {name: given.pop(name) for name in MACHINE if name in given}
    made = Row("training", what, "H=64", samples(ours, spread), theirs=None if theirs is None else samples(theirs), **given)
    return json.loads(json.dumps(made.measured() | machine))


def moved(before: list[dict], now: list[dict]) -> dict[str, str]:
    """{quantity: whether for the better} of what moved."""
    return {one.which[3]: "better" if one.better else "worse" for one in compare.moved(before, now)}


def test_the_same_rows_did_not_move():
    assert compare.report([row()], [row()]).endswith("Nothing moved beyond noise.")


def test_what_moves_by_a_fifth_did_not_move_and_by_a_quarter_it_did():
    assert moved([row()], [row(ours=1.19)]) == {}
    assert moved([row()], [row(ours=1.25)]) == {"ratio to them": "worse", "share of the peak": "worse"}
    assert moved([row()], [row(ours=0.8)]) == {"ratio to them": "better", "share of the peak": "better"}
    assert moved([row()], [row(theirs=2.6)]) == {"ratio to them": "better"}


def test_samples_that_scatter_make_noise_of_it():
    """Half of the quartiles' distance is 30 %: a change by 40 % is less than 20 % and that."""
    assert moved([row(spread=0.3)], [row(ours=1.4)]) == {}
    assert set(moved([row(spread=0.3)], [row(ours=1.6)])) == {"ratio to them", "share of the peak"}


def test_both_runs_twice_as_slow_is_no_change_of_ratio():
    slow = row(ours=2.0, theirs=4.0, peak=PEAK / 2)
    assert moved([row()], [slow]) == {}


def test_times_without_a_peer_are_compared_on_the_same_machine_only():
    alone = {"theirs": None, "peak": 0.0}
    peaks = [row(what="layer")], [row(what="layer", ours=2.0, theirs=4.0, peak=PEAK / 2)]
    assert moved([row(**alone)], [row(ours=2.0, **alone)]) == {"ours": "worse"}
    assert moved([row(**alone)], [row(ours=2.0, **alone, device="another")]) == {}
    assert moved([row(**alone)], [row(ours=2.0, **alone, cores=4)]) == {}
    assert moved([row(**alone), *peaks[0]], [row(ours=2.0, **alone), *peaks[1]]) == {}, "the same name, and half of the peak"


@pytest.mark.parametrize(
    "unit, before, now, found",
    [
        ("programs", 3, 4, {"ours": "worse"}),
        ("programs", 3, 3, {}),
        ("% efficient", 90.0, 89.9, {"ours": "worse"}),
        ("% of the time", 0.4, 1.3, {}),
        ("% of the time", 0.4, 1.5, {"ours": "worse"}),
        ("as exponent", 0.9, 0.98, {}),
        ("as exponent", 0.9, 0.7, {"ours": "better"}),
        ("MB", 100.0, 150.0, {"ours": "worse"}),
        ("GFLOP/s", 100.0, 150.0, {"ours": "better"}),
    ],
)
def test_every_unit_has_its_own_noise(unit, before, now, found):
    """Counts have none, shares of the time and exponents have points."""
    alone = {"theirs": None, "peak": 0.0, "unit": unit}
    assert moved([row(ours=before, **alone)], [row(ours=now, **alone)]) == found


def test_every_unit_of_the_stored_rows_is_known():
    units = {row["unit"] for row in stored.read(Path(__file__).parent.parent / "docs" / "performance" / "rows.jsonl")}
    assert units <= {*compare.OF_THE_MACHINE, *compare.POINTS, *compare.EXACT, "MB"}


def test_the_report_says_what_moved_by_how_much_and_who():
    text = compare.report([row(), row(what="quiet")], [row(ours=2.0), row(what="quiet")])
    assert "Rows in both: 2." in text and "The same machine: AMD EPYC (family 25, model 17), 2 cores, 400 GFLOP/s" in text
    assert "Moved beyond noise: 0 for the better, 2 for the worse." in text
    ratio, share = text.splitlines()[-2:]
    assert ratio.split("  ")[0] == "training" and "ratio to them" in ratio and "100%" in ratio and ratio.endswith("WORSE")
    assert "1 s → 2 s" in ratio and "2 s → 2 s" in ratio and "share of the peak" in share
    assert "quiet" not in text


def test_a_share_that_stands_beside_every_peer_counts_once():
    before, now = ([row(ours=ours, peer=peer) for peer in ("one", "other")] for ours in (1.0, 2.0))
    assert len(compare.moved(before, now)) == 3


def test_another_machine_and_other_versions_are_said():
    there = row(device="AMD EPYC (family 25, model 1)", peak=205e9)
    text = compare.report([there], [row(versions={"jax": "0.11.0", "torch": "2.13.0"})])
    assert "Another machine: AMD EPYC (family 25, model 1), 2 cores, 205 GFLOP/s stored; AMD EPYC (family 25, model 17)" in text
    assert "times are not compared" in text and "Other versions: jax 0.10.2 stored, 0.11.0 now." in text and "torch" not in text


def test_rows_of_one_side_are_named():
    text = compare.report([row(), *(row(what=f"old {n}") for n in range(7))], [row(), row(what="new")])
    assert "Stored, and not measured now: 7 (training, old 0, H=64, them; " in text and "old 5" not in text
    assert "Measured now, and not stored: 1 (training, new, H=64, them)." in text
    assert compare.report([row()], [row(what="new")]) == "Nothing to compare: no row is in both."


def test_of_a_row_that_is_there_twice_the_last_counts():
    assert compare.report([row()], [row(ours=9.0), row()]).endswith("Nothing moved beyond noise.")


def written(file: Path, *made: dict) -> Path:
    """A file of these rows."""
    file.write_text("".join(json.dumps(one) + "\n" for one in made))
    return file


@pytest.mark.long
def test_the_command_compares_two_files(tmp_path):
    before, now = written(tmp_path / "before.jsonl", row()), written(tmp_path / "now.jsonl", row(ours=2.0))
    said = command("benchmarks.compare", str(before), str(now))
    assert said.returncode == 0 and "Moved beyond noise: 0 for the better, 2 for the worse." in said.stdout
    assert command("benchmarks.compare", str(before)).returncode == 2


@pytest.mark.parametrize(
    "content, says",
    [
        (json.dumps(row()) + "\n" + json.dumps(row())[:70], "line 2 is no JSON, or torn"),
        ("[1]\n", "line 1 is no row of a benchmark: it is no object"),
        ('{"name": "training"}\n', "line 1 is no row of a benchmark: what is missing"),
        (json.dumps(row() | {"ours": float("nan")}), "line 1 is no row of a benchmark: ours is nan"),
        (json.dumps(row() | {"ratio": "2"}), "line 1 is no row of a benchmark: ratio is '2'"),
        (json.dumps(row() | {"theirs_quartiles": None}), "line 1 is no row of a benchmark: theirs_quartiles is None"),
        (json.dumps(row() | {"versions": []}), "line 1 is no row of a benchmark: versions is []"),
        (b"\xff\xfe", "it is not text"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, capsys, content, says):
    file, good = tmp_path / "rows.jsonl", written(tmp_path / "good.jsonl", row())
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert compare.main([str(good), str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"error: {file}") and says in said.err and len(said.err.splitlines()) == 1


def test_lines_are_counted_from_the_beginning_of_the_file(tmp_path):
    file = written(tmp_path / "rows.jsonl", row(), row())
    start = file.stat().st_size
    file.write_text(file.read_text() + json.dumps(row()) + "\n{")
    with pytest.raises(stored.DataError, match="line 4 is no JSON"):
        stored.read(file, start)
    assert len(stored.read(written(file, row(), row(), row()), start)) == 1


def test_targets_are_read_back_as_they_were_written():
    targets = (rows.Target("ratio", "≥", 2.2), rows.Target("memory_mb", "≤", 4096.0))
    assert stored.targets(row(targets=targets)["target"]) == targets and stored.targets("") == ()
