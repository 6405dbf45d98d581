"""Learning rates of a run: trials on seeds of their own, whole budgets, kept curves, rates that diverge."""
# ruff: noqa: F401, F811 - fixtures of another file are asked for by their names

from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax import training
from attention_jax.config import PILOT_SEED
from attention_jax.data import sources
from attention_jax.running import evaluation, loop, results, selection
from attention_jax.running.resolved import resolve
from attention_jax.statistics import rates
from attention_jax.system.errors import RunError
from attention_jax.training import compiled, parallel
from tests.running.loop_test import FIELDS, ONE_RATE, TINY, make_evaluator, paces, untimed, whole


@pytest.mark.long
def test_the_rate_is_what_the_curve_speaks_for(whole):
    curve = selection.read(whole)
    losses = selection.losses(curve)
    assert {1e-2, 2e-2} < set(losses) and all(set(of_seed) == {PILOT_SEED} for of_seed in losses.values())
    assert len(losses) <= 2 + rates.GROWTH and not (whole / "trials").exists()
    assert {row["learning_rate"] for row in results.read(whole / "rows.jsonl")} == {min(losses, key=lambda rate: losses[rate][PILOT_SEED])}
    for row in curve:
        assert (row["role"], row["budget"], row["attention"]) == ("selection", 2, "additive")
        assert row["grown"] == (row["learning_rate"] not in TINY.training.learning_rates)
    tested = [row for row in curve if "length" in row]
    assert len({(row["learning_rate"], row["seed"], row["length"]) for row in tested}) == len(tested), "a trial has its own rows"
    assert {row["length"] for row in tested} == {1, 2} and all(0 <= row["exact"] <= row["examples"] == 4 for row in tested)


@pytest.mark.long
def test_trials_run_the_whole_budget_on_their_own_schedule(tmp_path):
    """One seed, one rate: what a trial of that seed says is what a run of it has on its validation data."""
    config = replace(ONE_RATE, training=replace(ONE_RATE.training, schedule="cosine", pilot_updates=0, seeds=1))
    three = replace(config, training=replace(config.training, learning_rates=(5e-3, 1e-2, 2e-2)))
    loop.run(three, tmp_path, FIELDS)
    curve = selection.read(tmp_path)
    assert {row["budget"] for row in curve} == {6}
    source = sources.build(config)
    states = compiled.start(resolve(config), [PILOT_SEED], [1e-2]).states
    states, _ = compiled.advance(resolve(config), source)(states, [PILOT_SEED], 0, 4)
    states, _ = compiled.advance(resolve(config), source)(states, [PILOT_SEED], 4, 2)
    expected = evaluation.Evaluator(resolve(config), source).validation_loss(states.params, [PILOT_SEED])
    assert selection.losses(curve)[1e-2][PILOT_SEED] == pytest.approx(float(expected[0]), rel=1e-6)


@pytest.mark.long
def test_budgets_share_a_program_and_end_their_own_schedules(tmp_path):
    """A run of 3 updates is no half of a run of 6: its rate is annealed to its own end."""
    cosine = replace(ONE_RATE, training=replace(ONE_RATE.training, schedule="cosine"))
    short = replace(cosine, training=replace(cosine.training, updates=3))
    ends = {}
    for config in (cosine, short):
        source = sources.build(config)
        states = compiled.start(resolve(config), [0, 1], [1e-2] * 2).states
        states, _ = compiled.advance(resolve(config), source)(states, [0, 1], 0, 3)
        ends[config.training.updates] = jax.device_get(states.params)
        by_hand = training.schedule(config.training, 2)
        assert float(by_hand) == pytest.approx(0.5 * (1 + np.cos(np.pi * 2 / config.training.updates)), rel=1e-5)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ends[6], ends[3])
    assert max(jax.tree.leaves(moved)) > 1e-4
    assert compiled.shared(cosine.training) == compiled.shared(short.training)


@pytest.mark.long
def test_a_kept_curve_stands_in_the_place_of_trials(tmp_path, whole, monkeypatch):
    kept = selection.shipped(selection.read(whole), TINY)
    rows = loop.run(TINY, tmp_path / "kept", FIELDS, curves=kept)
    assert untimed(rows) == untimed(results.read(whole / "rows.jsonl"))
    assert all(row["kept"] for row in selection.read(tmp_path / "kept"))
    seen, before = [], compiled.advance
    monkeypatch.setattr(compiled, "advance", lambda config, source: seen.append(config) or before(config, source))
    other = replace(TINY, training=replace(TINY.training, batch_size=5))  # no curve is kept for it
    loop.run(other, tmp_path / "other", FIELDS, curves=kept)
    assert len(seen) > 1 and not any("kept" in row for row in selection.read(tmp_path / "other"))


@pytest.mark.long
def test_trials_pass_over_rates_that_diverge(tmp_path, monkeypatch):
    class Evaluator(make_evaluator):
        def validation_loss(self, params, seeds):
            return np.array(next(losses))

    monkeypatch.setattr(evaluation, "Evaluator", Evaluator)
    losses = iter([[np.nan, 2.0], [3.0, 3.0]])
    assert {row["learning_rate"] for row in loop.run(TINY, tmp_path / "one", FIELDS)} == {2e-2}
    found = [row["validation_loss"] for row in selection.read(tmp_path / "one") if "validation_loss" in row]
    assert found == [None, 2.0, 3.0]
    ruined = iter([[True, True], [False, True]])  # the second trial's parameters are, its best ones of before are not
    losses = iter([[1.0, 2.0], [0.5, 0.5], [3.0, 3.0]])
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "finite", lambda params: np.array(next(ruined, [True, True])))
        loop.run(TINY, tmp_path / "ruined", FIELDS)
    found = [row["validation_loss"] for row in selection.read(tmp_path / "ruined") if "validation_loss" in row]
    assert found[:3] == [1.0, 2.0, None]
    losses = iter([[np.nan, np.inf]])
    with pytest.raises(RunError, match=r"not finite at any of training\.learning_rates=\(0\.01, 0\.02\)"):
        loop.run(TINY, tmp_path / "none", FIELDS)


def test_what_an_earlier_version_chose_stands(tmp_path):
    loop.run(ONE_RATE, tmp_path / "given", FIELDS)
    pilot = {"chosen": 1e-2, "validation_loss": {"0.01": 1.0, "0.02": 2.0}, "updates": 2}
    (tmp_path / "old").mkdir()
    results.write_json(tmp_path / "old" / "pilot.json", pilot)
    found, given = (untimed(rows) for rows in (loop.run(TINY, tmp_path / "old", FIELDS), results.read(tmp_path / "given" / "rows.jsonl")))
    assert [row | {"fingerprint": ""} for row in found] == [row | {"fingerprint": ""} for row in given]
    assert not (tmp_path / "old" / selection.FILE).exists()
