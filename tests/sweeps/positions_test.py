"""What is counted at each position, against outputs decoded as text, and what probes are fitted to and tested on."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.tasks import held_out
from attention_jax.statistics import probes
from attention_jax.sweeps import positions
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained

CONFIG = Config(
    model=ModelConfig(attention="summary", hidden_size=8, embedding_size=8, vector_size=5),
    data=DataConfig(task="copy", symbols=8, longest=5, held_out=8, eval_lengths=(3, 5, 6), eval_examples=40),
    training=TrainingConfig(seeds=1, batch_size=4, learning_rates=(0.01,)),
)


def untrained(config: Config = CONFIG) -> tuple[Trained, sources.Source]:
    """A model as it is drawn, its parameters larger, so that its outputs are not all alike."""
    built = model.build(config.model, sources.own_sizes(config))
    params = jax.tree.map(lambda x: 3 * x, training.init(built, config.training, 3, 1.0).params)
    return Trained(config, None, built, params, 3), sources.build(config)


@pytest.fixture(scope="module")
def measured():
    run, source = untrained()
    batches = {int(batch.length_B[0, 0]): jax.tree.map(lambda x: x[0], batch) for batch in source.evaluation("test", [3])}
    return run, batches, by_length(positions.wrong_and_read(run, source))


def by_length(rows: list[dict]) -> dict[int, dict]:
    """{length: {field: numbers by position}}."""
    found = {}
    for length in dict.fromkeys(row["length"] for row in rows):
        own = [row for row in rows if row["length"] == length]
        found[length] = {name: [row[name] for row in own] for name in own[0]}
        assert found[length]["position"] == list(range(1, length + 1))
        assert all(type(value) in (int, float) for row in own for value in row.values())  # as rows on file are
    return found


@pytest.mark.long
def test_wrong_symbols_of_free_running_are_those_of_decoded_text(measured):
    run, batches, rows = measured
    assert list(rows) == [3, 5]  # trained ones
    for length, row in rows.items():
        lines = [" ".join(str(x - 4) for x in source[:length]) for source in np.asarray(batches[length].source_BxS).tolist()]
        moved, absent = np.zeros(length, int), np.zeros(length, int)
        wrong = moved.copy()
        for line, decoded in zip(lines, run.decode(lines), strict=True):
            output = [*decoded.text.split(), *["nothing"] * length][:length]
            for t, (is_there, should_be) in enumerate(zip(output, line.split(), strict=True)):
                wrong[t] += is_there != should_be
                moved[t] += is_there != should_be and is_there in line.split()
                absent[t] += is_there.isdigit() and is_there not in line.split()
        assert (row["free"], row["moved"], row["absent"], row["examples"]) == (
            wrong.tolist(),
            moved.tolist(),
            absent.tolist(),
            [40] * length,
        )


@pytest.mark.long
def test_counts_add_up_to_those_of_the_evaluation(measured):
    run, batches, rows = measured
    for length, row in rows.items():
        forced, free = (function(run.params, batches[length], run.model)[0] for function in (training.eval_forced, training.eval_free))
        assert sum(row["forced"]) == int(forced.symbol_errors_B.sum()) and sum(row["free"]) == int(free.symbol_errors_B.sum())


@pytest.mark.long
def test_probes_are_fitted_to_sources_that_may_be_trained_on_and_tested_on_others(measured, monkeypatch):
    run, batches, rows = measured
    seen = []

    def fit(vector_NxD, label_NxT, classes):
        seen.append((vector_NxD, np.asarray(label_NxT)))
        return probes.fit(vector_NxD, label_NxT, classes)

    monkeypatch.setattr(positions, "fit", fit)
    again = positions.wrong_and_read(run, sources.build(CONFIG))
    assert by_length(again) == rows
    for (vector_NxD, label_NxT), (length, row) in zip(seen, rows.items(), strict=True):
        assert vector_NxD.shape == (positions.STRINGS, 5) and label_NxT.shape == (positions.STRINGS, 2 * length)
        strings = {tuple(symbols) for symbols in label_NxT[:, :length].tolist()}
        tested = np.asarray(batches[length].source_BxS)
        assert strings.isdisjoint({tuple(symbols) for symbols in (tested[:, :length] - 4).tolist()})
        assert all(int(held_out.hashed(source)) % 8 == 0 for source in tested)
        assert row["strings"] == [positions.STRINGS] * length
        assert sum(row["probe"]) > 1.5 * 40 * length / 8 > 0.5 * sum(row["control"])  # luck is an eighth


def test_what_cannot_be_measured_is_refused():
    run, source = untrained()
    with pytest.raises(ConfigError, match=r"data\.task=sort: positions of source and output"):
        positions.wrong_and_read(run._replace(config=replace(CONFIG, data=replace(CONFIG.data, task="sort"))), source)
    with pytest.raises(ConfigError, match=r"data\.task=recall: positions are compared in copy, reverse, sort"):
        positions.wrong(run._replace(config=replace(CONFIG, data=replace(CONFIG.data, task="recall"))), source)
    with pytest.raises(ConfigError, match=r"data\.task=multi30k: positions are compared in"):
        positions.wrong(run._replace(config=replace(CONFIG, data=replace(CONFIG.data, task="multi30k"))), source)
