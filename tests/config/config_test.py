"""Settings: every leaf can be set by text, JSON goes both ways, and what cannot be is refused with the valid choices."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.config import Config, choose, from_json, leaves, override, override_all, to_json, validate
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import ConfigError

LEAVES = leaves(Config())
TEXTS = {
    bool: {"true": True, "False": False},
    int: {"7": 7, "11": 11},
    float: {"0.25": 0.25, "3e-4": 3e-4},
    str: {"some text": "some text", "a=b,c": "a=b,c"},
    int | tuple: {"1,2,3": (1, 2, 3), "5": (5,)},
    float | tuple: {"1, 0.5": (1.0, 0.5), "2": (2.0,)},
    str | tuple: {"a.de,b.de": ("a.de", "b.de"), "a b.de": ("a b.de",)},
}
"""Per type two texts and what they mean, so that at least one differs from the default."""

VALUES = {
    bool: st.booleans(),
    int: st.integers(-(10**9), 10**9),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=8),
}


def kind_of(default) -> type:
    """The type of a setting, or of each of several; those that are none by default are names."""
    return type(next(iter(default), "")) if isinstance(default, tuple) else type(default)


def value_of(path: str):
    """A strategy for values of the type of the setting at `path`."""
    default = LEAVES[path]
    one = VALUES[kind_of(default)]
    return st.lists(one, max_size=4).map(tuple) if isinstance(default, tuple) else one


def changes():
    return st.dictionaries(st.sampled_from(sorted(LEAVES)), st.none(), max_size=6).flatmap(
        lambda chosen: st.fixed_dictionaries({path: value_of(path) for path in chosen})
    )


def test_defaults_are_valid_and_hashable():
    assert validate(Config()) == Config()
    assert hash(Config()) == hash(Config())
    assert Config() != override(Config(), "model.hidden_size", 65)


def test_no_two_settings_share_a_name():
    names = [path.rpartition(".")[2] for path in LEAVES]
    assert len(names) == len(set(names))
    assert "hidden_size" in names and "experiment" in names


@pytest.mark.parametrize("path", LEAVES)
def test_every_setting_can_be_set_by_text(path):
    default = LEAVES[path]
    kind = kind_of(default) | tuple if isinstance(default, tuple) else kind_of(default)
    for text, value in TEXTS[kind].items():
        changed = leaves(override_all(Config(), [f" {path} = {text} "]))
        assert changed == LEAVES | {path: value}
        assert repr(changed[path]) == repr(value)


def test_no_names_can_be_set_by_text():
    named = override(Config(), "text.test_sources", "a,b")
    assert override(named, "text.test_sources", "") == Config()


@given(changes())
def test_json_round_trip(changed):
    config = Config()
    for path, value in changed.items():
        config = override(config, path, value)
    assert leaves(config) == LEAVES | changed
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_later_overrides_win():
    config = override_all(Config(), ["model.hidden_size=8", "model.hidden_size=16", "experiment=a=b"])
    assert (config.model.hidden_size, config.experiment) == (16, "a=b")


@pytest.mark.parametrize("path", ["model.hiden_size", "hidden_size", "model", "model.", "", "training.model.hidden_size"])
def test_unknown_settings_are_refused_with_the_valid_ones(path):
    with pytest.raises(ConfigError, match="unknown setting") as error:
        override(Config(), path, "8")
    assert all(valid in str(error.value) for valid in LEAVES)
    assert "\n" not in str(error.value)


def test_a_close_miss_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"did you mean .*model\.hidden_size"):
        override(Config(), "model.hiden_size", "8")


@pytest.mark.parametrize(
    "path, value",
    [
        ("model.hidden_size", "1.5"),
        ("model.hidden_size", "many"),
        ("model.hidden_size", ""),
        ("model.hidden_size", True),
        ("model.hidden_size", 8.0),
        ("model.hidden_size", None),
        ("model.hidden_size", [8]),
        ("model.residual", "yes"),
        ("model.residual", "1"),
        ("model.residual", 1),
        ("model.dropout", "nan"),
        ("model.dropout", "inf"),
        ("model.dropout", float("nan")),
        ("model.dropout", False),
        ("model.dropout", "half"),
        ("model.cell", 3),
        ("model.cell", None),
        ("data.eval_lengths", "1,,2"),
        ("data.eval_lengths", "1,2.5"),
        ("data.eval_lengths", ""),
        ("data.eval_lengths", "(1, 2)"),
        ("training.learning_rates", "1e-3,fast"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(path, value):
    with pytest.raises(ConfigError, match=f"{path}=.* must be"):
        override(Config(), path, value)


def test_a_value_json_cannot_hold_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"model\.hidden_size"):
        override(Config(), "model.hidden_size", {8})


def test_an_assignment_without_equals_is_refused():
    with pytest.raises(ConfigError, match="path=value"):
        override_all(Config(), ["model.hidden_size"])


@pytest.mark.parametrize("section", [None, "model", "training"])
def test_json_with_missing_or_unknown_keys_is_refused(section):
    for spoil in (lambda record: record.pop(next(iter(record))), lambda record: record.update(typo=1)):
        nested = to_json(Config())
        spoil(nested[section] if section else nested)
        with pytest.raises(ConfigError, match="unknown or missing settings"):
            from_json(nested)


@pytest.mark.parametrize("nested", [None, [], 3, "text", to_json(Config()) | {"model": 3}])
def test_json_that_is_no_object_is_refused(nested):
    with pytest.raises(ConfigError, match="must be an object"):
        from_json(nested)


def test_mistyped_json_is_refused():
    nested = to_json(Config())
    nested["model"]["hidden_size"] = "a lot"
    with pytest.raises(ConfigError, match="hidden_size='a lot' does not fit"):
        from_json(nested)


AT_LEAST_ONE = (
    "model.hidden_size model.embedding_size model.layers model.heads model.filters model.filter_width model.mixtures model.chunk_size "
    "model.transition model.kernel model.stride model.convolutions model.decoder_layers model.location_size "
    "data.symbols data.shortest data.longest data.eval_examples data.outputs "
    "text.vocabulary_size text.join_min text.join_max text.cut training.seeds training.updates training.batch_size "
    "training.pilot_seeds training.checkpoint_every training.chunk search.beam_size search.n_best "
    "signal.height signal.patch signal.smallest signal.largest signal.mels signal.stacked"
).split()
AT_LEAST_ZERO = (
    "model.attention_size model.decoder_size model.slots model.vector_size model.vector_bits model.window_size model.entropy_bonus "
    "model.fertility model.noise data.held_out data.curriculum text.max_words training.first_seed training.seeds_at_once "
    "training.pilot_updates training.warmup training.clip training.coverage training.doubly_stochastic training.guided "
    "search.length_penalty search.coverage_penalty data.source_entropy search.top_k search.min_length search.max_length "
    "search.draw_seed model.rows signal.clutter signal.features signal.silence"
).split()
ABOVE_ZERO = ("model.score_temperature", "model.gumbel_temperature", "search.temperature", "search.top_p")
IMPOSSIBLE = [
    *((path, value) for path in AT_LEAST_ONE for value in (0, -1)),
    *((path, -1) for path in AT_LEAST_ZERO),
    *((path, value) for path in ABOVE_ZERO for value in (0.0, -0.5)),
    *((path, value) for path in ("model.mixing", "training.sampling_rate") for value in (-0.1, 1.1)),
    *((path, value) for path in ("model.dropout", "training.smoothing") for value in (-0.1, 1.0, 2.0)),
    *((path, value) for path in ("data.eval_lengths", "text.buckets", "signal.widths") for value in ((), (0, 1), (-1,), (2, 1), (1, 1))),
    *(("training.learning_rates", value) for value in ((), (0.0,), (-1e-3, 1e-3))),
    *(("training.nudge", value) for value in (-1001, 1001)),
    *((path, -2) for path in ("search.backward_window", "search.forward_window")),
    *((path, "sideways") for path in ("match", "model.direction", "model.start", "model.timing", "model.decoder", "model.pooling")),
    *((path, "sometimes") for path in ("training.optimizer", "training.schedule", "training.evaluate")),
    *((path, "rarely") for path in ("model.baseline", "model.context_gate", "model.tied", "search.method")),
    *((path, "often") for path in ("training.sampling", "training.sampling_decay")),
    ("data.shortest", 17),
    ("signal.rate", 7999),
    ("text.join_min", 2),
    ("model.alpha", 0.5),
    ("model.filter_width", 4),
    ("search.n_best", 6),
    ("search.top_p", 1.5),
]


@pytest.mark.parametrize("path, value", IMPOSSIBLE, ids=lambda x: str(x))
def test_impossible_values_are_refused_by_name(path, value):
    with pytest.raises(ConfigError) as error:
        validate(override(Config(), path, value))
    assert path in str(error.value) and str(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_number_has_a_bound():
    bounded = {path for path, _ in IMPOSSIBLE}
    numbers = {path for path, value in LEAVES.items() if kind_of(value) in (int, float)}
    assert numbers <= bounded


@pytest.mark.parametrize("path", AT_LEAST_ZERO)
def test_zero_is_possible_where_it_means_none(path):
    assert leaves(validate(override(Config(), path, 0)))[path] == 0


def test_a_backward_start_needs_a_backward_state():
    config = override_all(Config(), ["model.start=backward", "model.direction=forward"])
    with pytest.raises(ConfigError, match=r"model\.direction to both or reversed"):
        validate(config)
    for direction in ("both", "reversed"):
        assert validate(override(config, "model.direction", direction)).model.direction == direction


def test_choose_lists_the_valid_and_the_close():
    assert choose("model.cell", "gru", {"gru": 1, "lstm": 2}) == "gru"
    with pytest.raises(ConfigError, match=r"model\.cell='gruu' is unknown \(did you mean 'gru'\?\); valid: gru, lstm"):
        choose("model.cell", "gruu", {"gru": 1, "lstm": 2})


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.hidden_size = 3


@pytest.mark.parametrize("path", ["training.coverage", "training.doubly_stochastic", "training.guided"])
@pytest.mark.parametrize("attention", ["none", "summary"])
def test_what_is_not_looked_at_cannot_be_regularised(path, attention):
    with pytest.raises(ConfigError, match=f"{path}=0.5 weighs where a mechanism looks, and that of model.attention"):
        resolve(override_all(Config(), [f"{path}=0.5", f"model.attention={attention}"]))


def test_a_search_cannot_be_forced_to_be_longer_than_it_may():
    with pytest.raises(ConfigError, match=r"search\.min_length=9 is above search\.max_length=8"):
        validate(override_all(Config(), ["search.min_length=9", "search.max_length=8"]))


def test_only_a_beam_has_several_outputs():
    with pytest.raises(ConfigError, match=r"search\.n_best=3 needs search\.method=beam: greedy finds one output"):
        validate(override(Config(), "search.n_best", 3))
    assert validate(override_all(Config(), ["search.n_best=3", "search.method=beam"])).search.n_best == 3


def test_a_decay_that_never_ends_is_refused():
    asked = ["training.sampling=scheduled", "training.sampling_rate=0"]
    assert validate(override_all(Config(), asked)).training.sampling_rate == 0
    with pytest.raises(ConfigError, match=r"sampling_rate=0 is never reached by training\.sampling_decay=exponential"):
        validate(override_all(Config(), [*asked, "training.sampling_decay=exponential"]))
