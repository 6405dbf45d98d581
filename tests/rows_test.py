"""A row is known by its row: under another name it is accepted and refused with the same settings, and is the same program.

Every row of every table of `claims.TABLES` is registered a second time. A row that is added to a table is tested here without an edit.
"""

import re

import jax
import pytest

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig, override_all
from attention_jax.data import corpora, signals, sources, tasks
from attention_jax.model import readout
from attention_jax.running.resolved import resolve
from attention_jax.sweeps import claims, provenance, sweep
from attention_jax.system.errors import ConfigError
from experiments import bottleneck
from tests.built import built

OTHER = "another_"  # what the other name begins with
BASE = Config(
    model=ModelConfig(hidden_size=4, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(2, 3), eval_examples=2),
    training=TrainingConfig(seeds=1, updates=2, batch_size=2),
)
ROWS = [(setting, name, table) for setting, tables in claims.TABLES.items() for table in tables for name in table]
EVERY = pytest.mark.parametrize(("setting", "name", "table"), ROWS, ids=lambda x: x if isinstance(x, str) else "")
COMPLETIONS = ("", *"model.decoder_size=8 model.layers=2 model.attention=gaussian model.timing=after data.task=spot".split())
"""What a row may need besides to be part of a model."""

PROBES = (
    "",
    "model.heads=2",
    "model.heads=3",
    "model.slots=2",
    "model.copy=true",
    "model.transition=2",
    "model.vector_size=3",
    "model.vector_size=3 model.vector_bits=4",
    "model.start=zero",
    "model.start=backward",
    "model.attention=none",
    "model.decoder_size=8",
    "model.attention=dot model.decoder_size=8",
    "model.attention=location",
    "model.attention=gaussian model.normaliser=exponential",
    "model.normaliser=sparsemax",
    "model.normaliser=monotonic",
    "model.window=local_m",
    "model.window=local_p",
    "model.estimator=gumbel",
    "model.estimator=marginal",
    "model.estimator=marginal model.timing=after",
    "model.estimator=marginal model.timing=after model.window=local_p",
    "model.estimator=variational model.timing=after model.feeding=true",
    "model.encoder=image data.task=spot",
    "model.encoder=image data.task=spot model.slots=2",
    "model.encoder=gnmt",
    "model.encoder=gnmt model.layers=2",
    "model.cell=lstm model.loop=cudnn",
    "model.loop=auto",
    "training.precision=bf16",
    "training.coverage=0.5",
    "training.guided=0.5",
    "data.padded_output=true",
    "data.held_out=8",
    "data.source_entropy=1.0",
    "text.alignment_file=links training.guided=0.5",
)
"""Settings that some rows go with and others do not."""


@pytest.fixture
def renamed(monkeypatch):
    """Registers a row of a table a second time; → its other name."""

    def register(table, name):
        monkeypatch.setitem(table, OTHER + name, table[name])
        return OTHER + name

    return register


def with_row(setting: str, name: str, probe: str) -> Config:
    """BASE with the settings of the probe, and the row."""
    return override_all(BASE, [*probe.split(), f"{setting}={name}"])


def outcome(config: Config):
    """What crosses from encoder to decoder, the readout's width and the vocabulary; or what was said against the settings."""
    try:
        resolve(config)
        vocabulary = sources.own_sizes(config)
        return model.state_size(config.model), readout.build(config.model, 4, 4).size, vocabulary, tasks.is_field(config.data)
    except ConfigError as error:
        return re.sub(rf", {OTHER}\w+", "", str(error)).replace(OTHER, "")


@EVERY
def test_the_same_settings_are_accepted_and_refused(setting, name, table, renamed):
    probes = [probe for probe in PROBES if f"{setting}=" not in probe]
    before = [outcome(with_row(setting, name, probe)) for probe in probes]
    other = renamed(table, name)
    for probe, said in zip(probes, before, strict=True):
        assert outcome(with_row(setting, other, probe)) == said, probe


def completed(setting: str, name: str) -> str:
    """The first of `COMPLETIONS` with which the row is part of a model here."""
    return next((probe for probe in COMPLETIONS if isinstance(outcome(with_row(setting, name, probe)), tuple)), "none")


def program(config: Config) -> str:
    """An update, its data included, as JAX traces it: the same text is the same numbers."""
    source = sources.synthetic(config)
    jax.clear_caches()  # what was traced before is printed under other letters
    state = jax.eval_shape(lambda: training.init(*built(config), 0, 1e-3))
    update = jax.make_jaxpr(lambda state, key: training.train_step(state, source.sample(key, 0), *built(config)))
    return re.sub(r"0x[0-9a-f]+", "", str(update(state, jax.random.key(0))))


@pytest.mark.long
@EVERY
def test_it_is_the_same_program(setting, name, table, renamed):
    if any(table is of_files for of_files in (corpora.TABLE, signals.DRAWN, signals.OWN)):
        assert (
            table[renamed(table, name)] is table[name]
        )  # its text or its files are read the same way whatever it is called: see the test of pairs
        return
    probe = completed(setting, name)
    if probe == "none":
        assert (setting, name) == ("model.loop", "cudnn"), "nothing else may need a machine of its own"
        return
    own = program(with_row(setting, name, probe))
    assert program(with_row(setting, renamed(table, name), probe)) == own


def test_probes_tell_rows_apart():
    """Most of them are refused with some rows and accepted with others."""
    both = []
    for probe in PROBES:
        told = {isinstance(outcome(with_row(setting, name, probe)), str) for setting, name, _ in ROWS if f"{setting}=" not in probe}
        both.append(told == {True, False})
    assert sum(both) > len(PROBES) / 2


def test_a_fixed_vector_by_another_name_is_one_in_sweeps_too(renamed):
    other = renamed(claims.TABLES["model.attention"][0], "summary")
    changes = ["model.normaliser=sparsemax", "training.coverage=1"]
    for arm in ("summary", other):
        runs = sweep.plan(bottleneck, "tiny", changes, arms=[arm, "additive"])
        assert len([run for run in runs if run.config.model.attention == arm]) == bottleneck.LADDERS["tiny"][1]
        assert {run.config.model.normaliser for run in runs} == {"softmax", "sparsemax"}


def test_a_field_by_another_name_is_drawn_over_and_weights_without_a_sum_have_none(renamed):
    assert tasks.is_field(with_row("data.task", renamed(tasks.TABLE, "spot"), "").data)
    other = renamed(claims.TABLES["model.normaliser"][0], "exponential")
    config = with_row("model.normaliser", other, "model.attention=gaussian")
    run = sweep.placed([config], "runs")[0]
    row = run.fields | {"run": "", "alignment_mass": 3.5} | dict.fromkeys(provenance.MEASURED, 1)
    provenance.check([row], [run])
