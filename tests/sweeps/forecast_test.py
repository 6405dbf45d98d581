"""What a sweep will take: which runs, how many programs, how many trials; minutes are updates times their pace."""

from dataclasses import replace

import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import aligners, sources
from attention_jax.data.signals import fsdd, spoken_digits
from attention_jax.report import corpora
from attention_jax.running import loop
from attention_jax.sweeps import forecast, sweep
from attention_jax.sweeps.forecast import Pace
from attention_jax.training import compiled
from tests.data.signals.conftest import small_fsdd  # noqa: F401  # a fixture
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


@pytest.fixture
def paced(monkeypatch):
    """Takes half a second for an update of any program, and half a minute to compile it; notes which configs were timed."""
    configs = []

    def pace(config, *folders, evaluates):
        configs.append(config)
        return Pace(30.0, 0.5, *((10.0, 0.25) if evaluates else ()))

    monkeypatch.setattr(forecast, "pace", pace)
    monkeypatch.setattr(forecast, "WITHIN", 1e9)  # seconds of a busy machine decide nothing
    return configs


@pytest.mark.long
def test_runs_programs_trials_and_minutes(tmp_path, paced):
    rates = {"learning_rates": (1e-2, 2e-2, 4e-2), "pilot_seeds": 2}
    configs = [of("summary", 60), of("summary", 120), of("additive", 60, **rates), of("none", 6)]
    runs = sweep.placed(configs, tmp_path)
    loop.run(configs[3], runs[3].directory, runs[3].fields)
    said = []
    found = forecast.forecast(runs, [], say=said.append)
    assert len(paced) == len(said) == 2 and found.timed == [1, 0]  # budgets share a program, and nothing is left of the third
    table = forecast.table(found)
    by_run = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert [by_run[config.run]["program"] for config in configs] == ["1", "1", "2", "3"]
    assert [by_run[config.run]["pace"] for config in configs[:3]] == ["timed"] * 3
    assert [by_run[config.run]["learning rate"] for config in configs] == ["known", "known", "3 groups of trials", "finished"]
    test, validation, shapes = forecast.tested(configs[0])
    assert (test, shapes) == (4 * (8 + 8 + 10), 2) and validation == sources.VALIDATION_EXAMPLES * 8
    position = 0.25 * 0.5 / (4 * 8)
    expected = [1 + 0.1 + n * 0.5 + test * position for n in (60, 120)]
    trial = 1 + 0.1 + 30 + (test + validation) * position / 2
    expected += [expected[0] + 3 * trial, 0]
    assert [line.seconds for line in found.lines] == pytest.approx(expected)
    assert sum(found.compiling) == 2 * (45 + 2 * 10) and found.seconds == pytest.approx(sum(expected) + 130)
    assert [found.seconds_of(line) for line in found.lines] == pytest.approx([expected[0] + 65, expected[1] + 65, expected[2] + 65, 0])


@pytest.mark.long
def test_few_programs_are_timed_and_the_others_scaled_from_the_most_similar(tmp_path, paced, monkeypatch):
    monkeypatch.setattr(forecast, "WITHIN", 0.0)
    longer = replace(of("summary", 60), run="longer", data=replace(BASE.data, longest=7))
    runs = sweep.placed([longer, of("summary", 60), of("additive", 60)], tmp_path)
    found = forecast.forecast(runs, [])
    assert len(paced) == 1 and found.timed == [0] and found.nearest == [0, 0, 0]
    assert found.lines[0].update == 0.5 and 0.2 < found.lines[1].update < 0.4  # of half the steps
    monkeypatch.setattr(forecast, "WITHIN", 60.0)
    ticks = iter(range(0, 1000, 15))
    monkeypatch.setattr(forecast.time, "monotonic", lambda: next(ticks))
    found = forecast.forecast(runs, [])
    assert found.timed == [0, 2] and found.nearest == [0, 0, 2]  # what differs most from the first comes next
    assert "2 of 3 programs were timed here" in forecast.table(found).title


@pytest.mark.long
def test_nothing_is_timed_where_all_is_finished(tmp_path, paced):
    runs = sweep.placed([of("none", 6)], tmp_path)
    loop.run(runs[0].config, runs[0].directory, runs[0].fields)
    found = forecast.forecast(runs, [])
    assert paced == [] and found.seconds == 0 and forecast.table(found).rows[-1][-1] == "0.0"


def test_work_grows_with_what_makes_an_update_longer():
    base = forecast.work(BASE, 1000)
    for change in ({"data": replace(BASE.data, longest=6)}, {"training": replace(BASE.training, batch_size=64)}):
        assert forecast.work(replace(BASE, **change), 1000) > base
    assert forecast.work(BASE, 10_000) > base
    many = replace(BASE, training=replace(BASE.training, seeds=4))
    assert forecast.work(many, 1000) == pytest.approx(base * forecast.seeds_on_a_device(many) / forecast.seeds_on_a_device(BASE))


def test_a_large_model_is_timed_in_smaller_batches():
    large = replace(BASE, model=replace(BASE.model, hidden_size=512), training=replace(BASE.training, batch_size=128, seeds=8))
    large = replace(large, data=replace(BASE.data, longest=100))
    small = forecast.smaller(large)
    assert small.training.batch_size < 128 and small.data.eval_examples <= small.training.batch_size
    assert forecast.seeds_on_a_device(small) == 1 and forecast.smaller(BASE) is BASE


@pytest.mark.long
def test_a_pace_is_measured_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(forecast, "SECONDS", 0.05)
    calls, before = [], compiled.advance

    def advance(config, source):
        inner = before(config, source)
        return lambda states, seeds, step, updates: calls.append((step, updates)) or inner(states, seeds, step, updates)

    monkeypatch.setattr(compiled, "advance", advance)
    found = forecast.pace(BASE, evaluates=True)
    assert min(found) > 0
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
    found = forecast.pace(config)
    assert found.compiling == pytest.approx(3.0 * len(seen)) and found.update == pytest.approx(0.1)


def test_no_links_are_made_for_a_forecast_or_a_look_at_the_data(tmp_path, paced, monkeypatch):
    """An HMM on the 240,000 pairs of the Hansards kept a forecast waiting for minutes."""
    config = text_config(tmp_path)
    guided = replace(config, text=replace(config.text, aligner="hmm"), training=replace(config.training, guided=1.0), run="guided")
    monkeypatch.setattr(aligners, "train", lambda *_: pytest.fail("links were made"))
    runs = sweep.placed([config, guided], tmp_path / "runs")
    found = forecast.forecast(runs, [], cache_dir=tmp_path / "cache")
    assert [line.of for line in found.lines] == [0, 0] and len(paced) == 1  # an update of theirs takes as long
    assert found.lines[0].seconds == found.lines[1].seconds > 0
    assert sources.learned_sizes(guided, cache_dir=tmp_path / "cache") == sources.learned_sizes(config, cache_dir=tmp_path / "cache")
    shown = []
    corpora.check([config, guided], None, tmp_path / "cache", shown.append)
    assert len([text for text in shown if text.startswith("Splits of")]) == 1  # of one text


@pytest.mark.parametrize("learning_rates", [(1e-2,), (1e-2, 2e-2)])
def test_a_given_rate_needs_no_trials(tmp_path, learning_rates):
    config = of("summary", 60, learning_rates=learning_rates, pilot_seeds=3)
    assert forecast.trials(config, tmp_path, []) == (0 if len(learning_rates) == 1 else 3)


def test_a_signal_is_evaluated_on_all_of_its_test_sets(small_fsdd, tmp_path, monkeypatch):  # noqa: F811
    folder, sha256 = small_fsdd
    monkeypatch.setattr(fsdd, "SHA256", sha256)
    data = DataConfig(task="spoken_digits", longest=1, eval_lengths=(1, 3), eval_examples=128)
    config = Config(model=ModelConfig(encoder="pyramidal"), data=data)
    found = forecast.tested(config, folder, tmp_path)
    short, long = (spoken_digits.places(config.signal, length) + length + 1 for length in (1, 3))
    assert found == (2 * 128 * (short + long), 256 * short, 2)
