"""Rate curves: which trials are still to be made, what they leave, what is kept for other runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.config import PILOT_SEED, Config, DataConfig, TrainingConfig
from attention_jax.running import results, selection
from attention_jax.running.selection import Trials
from attention_jax.system.errors import DataError, RunError

A, B = PILOT_SEED, PILOT_SEED + 1
GRID = (0.1, 0.2, 0.4)


def config(seeds=2, pilot_seeds=2, rates=GRID, **more) -> Config:
    return Config(
        data=DataConfig(longest=4, eval_lengths=(2, 4, 8)),
        training=TrainingConfig(seeds=seeds, pilot_seeds=pilot_seeds, learning_rates=rates, updates=10, **more),
    )


def outcomes(exact: int) -> list[dict]:
    return [{"mode": "free", "length": length, "seen": True, "examples": 8, "exact": exact} for length in (2, 4)]


def curve(of: Config, losses: dict) -> list[dict]:
    """{rate: loss of every seed} as rows."""
    seeds = range(A, A + of.training.pilot_seeds)
    trials = Trials(*map(list, zip(*((seed, rate) for rate in losses for seed in seeds), strict=True)))
    nll_R = [loss * (1 + 0.01 * i) for loss in losses.values() for i in range(len(seeds))]
    return selection.rows(of, {"attention": "dot"}, trials, nll_R, [outcomes(3)] * len(nll_R))


def test_trials_come_in_groups_of_as_many_as_the_run_has_seeds():
    def groups(**settings):
        return [(group.seeds, group.rates) for group in selection.wanted(config(**settings), [])]

    assert groups(seeds=4, rates=(0.1, 0.2)) == [([A, B, A, B], [0.1, 0.1, 0.2, 0.2])]
    assert groups(seeds=2, pilot_seeds=1) == [([A, A], [0.1, 0.2]), ([A, A], [0.4, 0.4])]
    assert groups(seeds=1, rates=(0.1,)) == [([A], [0.1]), ([B], [0.1])]
    assert groups(seeds=3, pilot_seeds=1, rates=(0.1, 0.2)) == [([A, A, A], [0.1, 0.2, 0.2])]


@given(st.sets(st.tuples(st.sampled_from((A, B)), st.sampled_from(GRID))), st.integers(1, 5))
def test_what_is_there_is_not_made_again(there, seeds):
    rows = [{"seed": seed, "learning_rate": rate, "validation_loss": 1.0 + (rate != 0.2)} for seed, rate in there]
    groups = selection.wanted(config(seeds=seeds), rows)
    found = [pair for group in groups for pair in zip(group.seeds, group.rates, strict=True)]
    assert set(found) == {(seed, rate) for seed in (A, B) for rate in GRID} - there
    assert all(len(group.seeds) == seeds for group in groups) and len({group.folder for group in groups}) == len(groups)


def test_a_grid_grows_until_the_best_rate_is_inside():
    losses = dict(zip(GRID, (3.0, 2.0, 1.0), strict=True))
    for more, loss in ((0.8, 0.5), (1.6, 0.7)):
        (group,) = selection.wanted(config(), curve(config(), losses))
        assert group.rates == [more, more] and group.seeds == [A, B]
        losses[more] = loss
    rows = curve(config(), losses)
    assert selection.wanted(config(), rows) == [] and selection.choice(config(), rows).rate == 0.8
    assert {row["learning_rate"] for row in rows if row["grown"]} == {0.8, 1.6}
    half = [row for row in rows if (row["learning_rate"], row["seed"]) != (1.6, B)]
    assert [(group.seeds, group.rates) for group in selection.wanted(config(), half)] == [([B, B], [1.6, 1.6])]


def test_rows_of_trials(tmp_path):
    of = config(seeds=3, pilot_seeds=1, rates=(0.1, 0.2))
    (group,) = selection.wanted(of, [])
    rows = selection.rows(of, {"attention": "dot"}, group, [1.5, np.inf, np.inf], [outcomes(8), outcomes(0), outcomes(0)])
    assert [row.get("length") for row in rows] == [2, 4, None] * 2  # the third replica only filled the group
    assert [row["validation_loss"] for row in rows if "validation_loss" in row] == [1.5, None]
    assert all((row["role"], row["budget"], row["attention"], row["seed"]) == ("selection", 10, "dot", A) for row in rows)
    assert selection.losses(rows) == {0.1: {A: 1.5}, 0.2: {A: np.inf}}
    short = replace(of, training=replace(of.training, pilot_updates=3))
    assert {row["budget"] for row in selection.rows(short, {}, group, [1.0] * 3, [[]] * 3)} == {3}
    selection.keep(tmp_path, rows)
    file = tmp_path / selection.FILE
    file.write_bytes(file.read_bytes()[:-20])  # torn by a kill: the last trial is made again, its other rows are there
    assert [group.rates for group in selection.wanted(of, selection.read(tmp_path))] == [[0.2] * 3]
    selection.keep(tmp_path, rows)
    assert selection.read(tmp_path) == rows


def test_a_kept_curve_fits_runs_of_the_same_settings_alone():
    of = config()
    rows = curve(of, dict(zip(GRID, (3.0, 1.0, 2.0), strict=True)))
    kept = selection.shipped(rows, of)
    assert selection.adopted(kept, of, {"attention": "dot"}) == [row | {"kept": True} for row in rows]
    more_seeds = config(seeds=7, first_seed=100, checkpoint_every=3, chunk=5)
    assert selection.adopted(kept, replace(more_seeds, run="other"), {"attention": "dot"}) == [row | {"kept": True} for row in rows]
    others = [
        config(rates=(*GRID, 0.8)),
        config(schedule="cosine"),
        config(precision="tf32"),
        replace(of, data=replace(of.data, symbols=3)),
    ]
    others.append(config(evaluate="best", checkpoint_every=3))
    assert not any(selection.adopted(kept, other, {}) for other in others)
    best = [selection.fingerprint(config(evaluate="best", checkpoint_every=every)) for every in (3, 5)]
    assert len(set(best)) == 2, "there a checkpoint decides which parameters are tested"
    assert len(kept) == 6 and kept[0]["tested"] == {"length": [2, 4], "seen": True, "mode": "free", "examples": 8, "exact": 3}


def test_a_curve_is_laid_where_no_trials_are(tmp_path):
    of = config()
    kept = selection.shipped(curve(of, dict(zip(GRID, (3.0, 1.0, 2.0), strict=True))), of)
    selection.adopt(tmp_path, kept, of, {"run": "a"})
    whole = selection.read(tmp_path)
    assert len(whole) == 18 and {row["run"] for row in whole} == {"a"}
    file = tmp_path / selection.FILE
    for torn in (0, 100, len(file.read_bytes()) // 2):
        data = file.read_bytes()
        file.write_bytes(data[:torn])
        selection.adopt(tmp_path, kept, of, {"run": "a"})
        assert selection.read(tmp_path) == whole
    own = [row for row in whole if row["learning_rate"] == 0.1]
    file.write_bytes(results.lines({name: x for name, x in row.items() if name != "kept"} for row in own))
    selection.adopt(tmp_path, kept, of, {"run": "a"})
    assert len(selection.read(tmp_path)) == len(own), "its own trials have begun"


def test_files_of_kept_curves(tmp_path):
    file, of = tmp_path / "curves.jsonl", config()
    assert selection.kept(file) == []
    one = selection.shipped(curve(of, dict(zip(GRID, (3.0, 1.0, 2.0), strict=True))), of)
    other = [row | {"curve": "other"} for row in one]
    selection.replace_kept(file, one)
    selection.replace_kept(file, other)
    selection.replace_kept(file, [row | {"seed": 1} for row in one])
    rows = selection.kept(file)
    assert len(rows) == 12 and {(row["curve"], row["seed"] == 1) for row in rows} == {(one[0]["curve"], True), ("other", False)}
    results.append(tmp_path / "rows.jsonl", [{"run": "a"}])
    with pytest.raises(DataError, match="is no file of kept rate curves"):
        selection.kept(tmp_path / "rows.jsonl")


def test_the_rate_of_a_directory(tmp_path):
    of = config()
    with pytest.raises(DataError, match=r"rates\.jsonl lacks trials"):
        selection.rate(of, tmp_path, selection.read(tmp_path))
    selection.keep(tmp_path, curve(of, dict(zip(GRID, (3.0, 1.0, 2.0), strict=True))))
    assert selection.rate(of, tmp_path, selection.read(tmp_path)) == 0.2


@pytest.mark.parametrize(
    "pilot",
    [
        {"chosen": 0.2, "validation_loss": {"0.1": 1.0, "0.2": 2.0, "0.4": None}},
        {"chosen": 0.1, "validation_loss": {"0.1": 1.0, "0.2": 2.0}},
        {"chosen": 0.1, "validation_loss": 1.0},
        {"validation_loss": {"0.1": None, "0.2": None, "0.4": None}},
    ],
)
def test_a_choice_that_its_losses_do_not_make_is_refused(tmp_path, pilot):
    assert selection.earlier(tmp_path, config()) is None
    results.write_json(tmp_path / "pilot.json", pilot)
    with pytest.raises(RunError, match=r"pilot\.json is not a pilot of training\.learning_rates="):
        selection.earlier(tmp_path, config())
    results.write_json(tmp_path / "pilot.json", {"chosen": 0.1, "validation_loss": {"0.1": 1.0, "0.2": 2.0, "0.4": None}})
    assert selection.earlier(tmp_path, config()) == 0.1
