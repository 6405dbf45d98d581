"""Which examples of a sweep a page shows, under which names, and what stands beside what."""

import json
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report import explorer
from attention_jax.running import examples, finished, watching
from attention_jax.running.watching import Snapshot, Watched
from attention_jax.sweeps import explored
from attention_jax.system.errors import ConfigError, DataError

SIDES = ["3", "1", "⏎"], ["3", "1", "⏎"], ["3", "2", "⏎"]
LOOKS, BLIND = examples.of(SIDES, np.eye(3)), examples.of((*SIDES[:2], SIDES[1]), np.zeros((3, 3)))


def config(attention: str, updates: int = 100, **model) -> Config:
    training = TrainingConfig(updates=updates, seeds=2, first_seed=3)
    return Config(
        run=f"{attention}-u{updates}", model=ModelConfig(attention=attention, **model), data=DataConfig(longest=8), training=training
    )


def finished_runs(tmp_path, configs):
    runs = [(each, tmp_path / each.run) for each in configs]
    for each, directory in runs:
        example = BLIND if each.model.attention == "summary" else LOOKS
        examples.write(directory / examples.FILE, [(seed, length, example) for seed in (3, 4) for length in (4, 8, 16)])
    return runs


def test_budgets_share_an_arm_and_what_differs_names_it():
    arms = [config("summary"), config("summary", 200), config("additive")]
    assert explored.labels(arms) == ["summary", "summary", "additive"]
    sized = [config("summary", vector_size=4), config("summary", 200, vector_size=8), config("additive", vector_size=4)]
    assert explored.labels(sized) == ["summary, vector_size=4", "summary, vector_size=8", "additive, vector_size=4"]
    slower = [config("additive"), replace(config("additive", 300), training=TrainingConfig(updates=300, warmup=7))]
    assert explored.labels(slower) == ["additive (additive-u100)", "additive (additive-u300)"], "they differ in more than their budget"


def test_a_report_shows_arms_side_by_side(tmp_path):
    runs = finished_runs(tmp_path, [config("dot"), config("summary"), config("summary", 400), config("additive")])
    found = explored.of_runs(runs)
    assert found.panels == ["dot", "summary", "additive"] and found.shown == [1, 2], "a fixed vector, and what attends"
    assert [(facet.name, facet.values, facet.loose) for facet in found.facets] == [
        ("updates", ["100", "400"], True),
        ("seed", ["3", "4"], False),
        ("length", ["4", "8", "16"], False),
    ]
    assert [facet.start for facet in found.facets] == [1, 0, 1], "the largest budget, the first seed, the longest trained length"
    assert len(found.views) == 4 * 2 * 3 and [view.facets[1] for view in found.views] == [0] * 12 + [1] * 12, "first seeds first"
    notes = {view.panel: view.note for view in found.views}
    assert notes == {0: "1 of 3 wrong", 1: "all right", 2: "1 of 3 wrong"}
    assert json.loads(explorer.data(found))["panels"] == found.panels


def test_runs_of_before_have_nothing_to_show(tmp_path):
    runs = [(config("additive"), tmp_path / "a")]
    assert explored.of_runs(runs) is None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / examples.FILE).write_text("{}")
    with pytest.raises(DataError, match="holds no list of examples"):
        explored.of_runs(runs)


def test_the_page_of_a_training_names_runs_and_lacks_what_is_damaged(tmp_path):
    runs = [
        (each, tmp_path / each.run)
        for each in (config("summary"), config("summary", 200), config("additive"), config("dot"), config("general"))
    ]
    shown = Watched(100, [3, 4], 50, [(50, [1.0, 2.0])], [Snapshot(50, [BLIND, BLIND])])
    watching.write(runs[0][1] / watching.FILE, shown)
    watching.write(
        runs[1][1] / watching.FILE, shown._replace(updates=200, snapshots=[Snapshot(20, [BLIND] * 2), Snapshot(50, [BLIND] * 2)])
    )
    runs[2][1].mkdir()
    (runs[2][1] / watching.FILE).write_text("{")
    runs[3][1].mkdir()
    (runs[3][1] / finished.MARK).write_text("{}")  # finished, and nobody watched it
    explored.page(runs, tmp_path / "watch.html")()
    text = (tmp_path / "watch.html").read_text()
    for said in (
        "summary, 100 updates: 50 of 100",
        "summary, 200 updates: 50 of 200",
        "additive: 0 of 100",
        "general: 0 of 100",
        "none yet",
    ):
        assert said in text
    assert "dot:" not in text and 'id="refresh"' in text
    with pytest.raises(ConfigError, match=r"--watch=page\.txt must end in \.html"):
        explored.page(runs, tmp_path.relative_to(tmp_path) / "page.txt")


def test_the_page_of_runs_that_try_rates_says_so(tmp_path):
    runs = [(config(arm), tmp_path / arm) for arm in ("summary", "additive")]
    watching.write(runs[0][1] / watching.FILE, Watched(100, [3, 4], 0, [], [], [0.01, 0.02]))
    explored.page(runs, tmp_path / "watch.html")()
    text = (tmp_path / "watch.html").read_text()
    assert "summary: 0 of 100 updates. Learning rates are tried first: 0.01, 0.02." in text and "additive: 0 of 100 updates. Last" in text
    assert '<meta http-equiv="refresh" content="10">' in text and "<script" not in text and "<polyline" not in text
