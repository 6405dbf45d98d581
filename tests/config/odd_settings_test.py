"""Settings drawn at random, possible and odd ones, and those found by hand: refused in one line, or a model that says finite things."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax import config as configs
from attention_jax import model, training
from attention_jax.config import Config, ModelConfig, TrainingConfig
from attention_jax.model import search
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types import Batch, Model
from tests.config.settings_test import DEFAULTS, ROWS, E, H, V, changed

TABLES = {path.removeprefix("model."): tuple(table) for path, (table, *_) in ROWS.items() if path.startswith("model.")} | {
    "loop": ("auto", "plain", "scan")
}
SMALL = {"hidden_size": H, "embedding_size": E, "attention_size": H}
SOURCE_BxS = jnp.array([[4, 5, 6, 4, 5, 6, 4, 5, 2], [4, 5, 6, 2, 0, 0, 0, 0, 0]])
TARGET_BxT = jnp.array([[4, 5, 2], [4, 2, 0]])
BATCH = Batch(
    source_BxS=SOURCE_BxS,
    source_mask_BxS=SOURCE_BxS > 0,
    target_BxT=TARGET_BxT,
    target_mask_BxT=TARGET_BxT > 0,
    gold_BxT=jnp.full(TARGET_BxT.shape, -1),
    length_B=jnp.array([8, 3]),
    example_B=jnp.arange(2),
)


def possible(f: dataclasses.Field):
    """A strategy for what a setting may be in a small model."""
    rule = f.metadata.get("rule")
    if f.type is bool:
        return st.booleans()
    if f.type is str:
        return st.sampled_from(TABLES.get(f.name) or rule.valid)
    if f.type is int:
        return st.integers(max(rule.least, 1), 6)
    return st.floats(rule.least, min(rule.least + 3, rule.below or rule.most), exclude_max=True, allow_subnormal=False)


FIELDS = {f.name: f for f in dataclasses.fields(ModelConfig)}
CHOSEN = st.lists(st.sampled_from(sorted(FIELDS)), max_size=9, unique=True)
POSSIBLE = CHOSEN.flatmap(lambda names: st.fixed_dictionaries({name: possible(FIELDS[name]) for name in names}))
ODD = st.sampled_from([-1, 0, 0.5, 2.0, 2**40, 1e30, 1e-30, math.nan, True, None, "", "no", (1,)])
WILD = st.dictionaries(st.sampled_from(sorted(FIELDS)), ODD, max_size=1)


@pytest.mark.long
@settings(max_examples=10)
@given(POSSIBLE, WILD | st.just({}))
def test_a_model_is_refused_in_one_line_or_says_finite_things(changes, wild):
    try:
        built = model.build(ModelConfig(**SMALL | changes | wild), V)
    except ConfigError as error:
        assert "\n" not in str(error) and str(error)
        return
    outputs = jax.jit(lambda key: built.forced(built.init(key), BATCH))(jax.random.key(0))
    assert np.isfinite(outputs.logits_BxTxV).all() and outputs.logits_BxTxV.shape == (*TARGET_BxT.shape, V)


@given(st.sampled_from(sorted(set(DEFAULTS) - {"model.loop"})), ODD)
def test_an_odd_value_is_refused_in_one_line_or_can_be_written_down(path, value):
    """Of every kind of record: nothing but a `ConfigError` comes of it, and what passes goes to JSON and back."""
    config = changed(path, value)
    try:
        configs.validate(config)
    except ConfigError as error:
        assert "\n" not in str(error) and path.rpartition(".")[2] in str(error)
        return
    assert configs.from_json(configs.to_json(config)) == config


ISSUE = {
    "model.build": [
        *({"timing": "befor"}, {"decoder": "gmnt"}, {"pooling": "men"}, {"baseline": "avrage"}, {"tied": "ouput"}, {"start": "bridgee"}),
        *({"dropout": 1.5}, {"score_temperature": -1.0}, {"score_temperature": 0.0}, {"mixing": 3.0}),
        *({"heads": 2.0}, {"feedback": "no"}, {"hidden_size": "64"}, {"noise": math.nan}, {"fertility": math.inf}),
    ],
    "training.train_step": [{"sampling": "schedled"}, {"optimizer": "adm"}, {"schedule": "cosin"}, {"smoothing": 1.5}],
    "search.decode": [
        *({"top_k": -1}, {"length_penalty": -2.0}, {"top_p": 1.5}, {"min_length": 9, "max_length": 8}),
        {"method": "beam", "n_best": 6},
    ],
}
ISSUE["Trained.decode"] = ISSUE["search.decode"]
RECORDS = {"model.build": "model", "training.train_step": "training", "search.decode": "search", "Trained.decode": "search"}


@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, cases in ISSUE.items() for changes in cases], ids=str)
def test_what_built_another_experiment_is_refused(name, changes):
    """Found by hand, in calls with everything else as it should be."""
    record = dataclasses.replace(getattr(Config(), RECORDS[name]), **changes)
    tiny = ModelConfig(hidden_size=H, embedding_size=E)
    built = model.build(tiny, V)
    calls = {
        "model.build": lambda: model.build(record, V),
        "training.train_step": lambda: training.train_step(*state_and_batch(built), built, record),
        "search.decode": lambda: search.decode(built, built.init(jax.random.key(0)), SOURCE_BxS, SOURCE_BxS > 0, 3, record),
        "Trained.decode": lambda: Trained(Config(model=tiny), None, built, built.init(jax.random.key(0)), 0).decode(["1 2"], record),
    }
    with pytest.raises(ConfigError, match="|".join(changes)):
        calls[name]()


def state_and_batch(model: Model):
    """The state and the batch of an update."""
    return training.init(model, TrainingConfig(), 0, 1e-3), BATCH
