"""What a sweep will take: which runs, how many programs, how many trials; minutes are updates times their pace."""

from dataclasses import replace

import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.running import loop
from attention_jax.sweeps import forecast, sweep
from attention_jax.training import compiled
from tests.data.sources_test import text_config

BASE = Config(
    experiment="pretend",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4),
    training=TrainingConfig(seeds=2, updates=60, batch_size=4, learning_rates=(1e-2,), chunk=4),
)


def of(arm: str, updates: int, **more) -> Config:
    training = replace(BASE.training, updates=updates, **more)
    return replace(BASE, run=f"{arm}-{updates}", model=replace(BASE.model, attention=arm), training=training)


def test_runs_programs_trials_and_minutes(tmp_path, monkeypatch):
    rates = {"learning_rates": (1e-2, 2e-2, 4e-2), "pilot_seeds": 2}
    configs = [of("summary", 60), of("summary", 120), of("additive", 60, **rates), of("none", 6)]
    runs = sweep.placed(configs, tmp_path)
    loop.run(configs[3], runs[3].directory, runs[3].fields)
    paced = []
    monkeypatch.setattr(forecast, "pace", lambda config, *folders: paced.append(config) or (30.0, 0.5))
    table = forecast.table(runs, [])
    assert len(paced) == 3  # budgets share a program
    by_run = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert [by_run[config.run]["program"] for config in configs] == ["1", "1", "2", "3"]
    assert [by_run[config.run]["learning rate"] for config in configs] == ["known", "known", "3 groups of trials", "finished"]
    assert [by_run[config.run]["minutes"] for config in configs] == ["0.5", "1.0", "2.0", "0.0"]
    assert by_run["compiling"]["minutes"] == "1.5" and by_run["in all"]["minutes"] == "5.0"


def test_a_pace_is_measured_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(forecast, "SECONDS", 0.05)
    calls, before = [], compiled.advance

    def advance(config, source):
        inner = before(config, source)
        return lambda states, seeds, step, updates: calls.append((step, updates)) or inner(states, seeds, step, updates)

    monkeypatch.setattr(compiled, "advance", advance)
    compiling, each = forecast.pace(BASE)
    assert compiling > 0 and each > 0
    assert calls[0] == (0, 1) and all(updates <= BASE.training.chunk for _, updates in calls)
    assert [step for step, _ in calls[1:]] == [sum(updates for _, updates in calls[1:i]) for i in range(1, len(calls))]


def test_text_is_compiled_at_every_size_before_it_is_timed(tmp_path, monkeypatch):
    """At 3 s of compilation a size and 0.1 s an update, updates were said to take 1 s."""
    config = text_config(tmp_path)
    config = replace(config, text=replace(config.text, buckets=(12, 24)))
    source = sources.build(config)
    seen = {source.read.read([0], step).source_BxS.shape for step in range(forecast.BATCHES)}
    assert len(seen) == 2
    clock = {"now": 0.0, "compiled": set()}

    def advance(config, source):
        def update(states, seeds, step, updates):
            for i in range(step, step + updates):
                shape = source.read.read([0], i).source_BxS.shape
                clock["now"] += 0.1 if shape in clock["compiled"] else 3.0
                clock["compiled"].add(shape)
            return states, None

        return update

    monkeypatch.setattr(compiled, "advance", advance)
    monkeypatch.setattr(forecast.time, "monotonic", lambda: clock["now"])
    compiling, each = forecast.pace(config)
    assert compiling == pytest.approx(3.0 * len(seen)) and each == pytest.approx(0.1)


@pytest.mark.parametrize("learning_rates", [(1e-2,), (1e-2, 2e-2)])
def test_a_given_rate_needs_no_trials(tmp_path, learning_rates):
    config = of("summary", 60, learning_rates=learning_rates, pilot_seeds=3)
    assert forecast.trials(config, tmp_path, []) == (0 if len(learning_rates) == 1 else 3)
