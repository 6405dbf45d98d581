"""Every setting has a rule, and every function that takes settings holds them against it: a typo builds no other experiment."""

import dataclasses
import math
from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from attention_jax import attention, encoders, model, training
from attention_jax import config as configs
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TrainingConfig, leaves, rules
from attention_jax.data import sources, tasks
from attention_jax.data.corpora import pairs
from attention_jax.data.signals import captions, digits, own_files, spoken_digits
from attention_jax.encoders import loops
from attention_jax.layers import cells, transition
from attention_jax.model import decoder, readout, search
from attention_jax.model.search import beam, sampling
from attention_jax.running import loop
from attention_jax.running.resolved import check, resolve
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.training import losses, scheduled
from tests.config.config_test import IMPOSSIBLE

V, E, H, M = 7, 3, 4, 6
MODEL = model.build(ModelConfig(), V)
SIZES, MECHANISM = Sizes(M, H, H), attention.build(ModelConfig(), Sizes(M, H, H))
DEFAULTS = leaves(Config())

AT_MOST = {
    3: "model.alpha",
    5: "search.length_penalty",
    16: "model.vector_bits",
    1000: "model.heads model.layers model.decoder_layers model.transition model.convolutions training.nudge "
    "training.pilot_seeds text.join_min text.join_max signal.clutter signal.mels signal.stacked signal.silence",
    1 << 20: (
        "model.hidden_size model.embedding_size model.attention_size model.decoder_size model.slots model.vector_size model.window_size "
        "model.location_size model.filters model.filter_width model.mixtures model.chunk_size model.kernel model.stride "
        "data.symbols data.shortest data.longest data.eval_lengths data.eval_examples data.held_out data.outputs "
        "text.vocabulary_size text.buckets text.cut text.max_words model.rows "
        "signal.height signal.widths signal.patch signal.smallest signal.largest signal.features "
        "training.seeds training.batch_size search.beam_size search.n_best search.min_length search.max_length "
        "search.backward_window search.forward_window"
    ),
    48000: "signal.rate",
    3.4e38: "training.learning_rates",
}
"""{largest value: settings}; others end at 2³¹ - 1, if not below."""

TYPOS = {
    "match": "sate",
    "text.unit": "charcter",
    "text.target_unit": "samme",
    "text.vocabularies": "sepparate",
    "text.lengths": "wrods",
    "text.aligner": "ibm2",
    "model.pooling": "men",
    "model.baseline": "avrage",
    "model.direction": "bot",
    "model.decoder": "gmnt",
    "model.start": "bridgee",
    "model.timing": "befor",
    "model.context_gate": "non",
    "model.tied": "ouput",
    "training.optimizer": "adm",
    "training.schedule": "cosin",
    "training.sampling": "schedled",
    "training.sampling_decay": "exponental",
    "training.evaluate": "bst",
    "training.precision": "higest",
    "search.method": "bean",
}
"""Settings that are one of a few words, and what nearly is."""

ROWS = {
    "model.attention": (attention.TABLE, "aditive", ("attention.build", "model.build")),
    "model.normaliser": (attention.NORMALISERS, "sofmax", ("attention.build", "model.build")),
    "model.window": (attention.WINDOWS, "al", ("attention.build", "model.build")),
    "model.estimator": (attention.ESTIMATORS, "sof", ("attention.build", "model.build")),
    "model.encoder": (encoders.TABLE, "recurent", ("encoders.build", "model.build", "model.state_size")),
    "model.loop": (loops.TABLE, "scn", ("encoders.build", "model.build", "model.state_size")),
    "model.cell": (cells.TABLE, "gruu", ("transition.build", "encoders.build", "decoder.build", "model.build")),
    "model.decoder_cell": (cells.TABLE, "gruu", ("decoder.build", "model.build")),
    "model.readout": (readout.TABLE, "tahn", ("readout.build", "decoder.build", "model.build")),
    "data.task": (tasks.TABLE, "copi", ("tasks.build", "sources.build", "sources.own_sizes", "resolve", "check", "sweep.plan")),
    "signal.order": (digits.ORDERS, "lefft", ("digits.task",)),
}
"""Rows of tables: {setting: (its table, what is nearly a row of it, where it is looked up)}."""

ANY = {
    "experiment": "a name",
    "run": "a name",
    "text.source_file": "a path, opened by the corpus",
    "text.target_file": "a path, opened by the corpus",
    "text.validation_source": "a path, opened by the corpus",
    "text.validation_target": "a path, opened by the corpus",
    "text.test_sources": "paths, opened by the corpus",
    "text.test_targets": "paths, opened by the corpus",
    "text.test_links": "paths, opened by the corpus",
    "text.alignment_file": "a path, opened by the corpus",
    "text.languages": "one of the corpus's own, looked up by its builder",
    "text.given": "a word of the targets",
    "signal.folder": "a path, opened with its files",
}
"""Texts that may be anything, and why."""


def claim(config: Config) -> ModuleType:
    """A claim of that one run."""
    module = ModuleType("experiments.claim")
    module.sweep, module.name = lambda preset, arms: [config], lambda config: "run"
    module.PRESETS, module.ARMS = ("tiny",), ()
    return module


def run_of(config: Config) -> Trained:
    """A run as loaded, its model left out."""
    return Trained(config, None, None, {}, 0)


ENTRIES = {
    "model": {
        "model.build": lambda c: model.build(c, V),
        "model.parameters": lambda c: model.parameters(c, V),
        "model.state_size": model.state_size,
        "attention.build": lambda c: attention.build(c, SIZES),
        "encoders.build": lambda c: encoders.build(c, E),
        "transition.build": lambda c: transition.build(c, E, H),
        "decoder.build": lambda c: decoder.build(c, MECHANISM, M, M),
        "readout.build": lambda c: readout.build(c, H, M),
    },
    "data": {"tasks.build": tasks.build},
    "signal": {"own_files.images": own_files.images, "own_files.frames": own_files.frames, "own_files.speech": own_files.speech},
    "text": {"pairs.join": lambda c: pairs.join([("a", "b")], c, "train")},
    "training": {
        "training.optimizer": training.optimizer,
        "training.init": lambda c: training.init(MODEL, c, 0, 1e-3),
        "training.gradients": lambda c: training.gradients(None, None, MODEL, c),
        "training.train_step": lambda c: training.train_step(None, None, MODEL, c),
        "training.schedule": lambda c: training.schedule(c, 0),
        "scheduled.share": lambda c: scheduled.share(c, 0),
        "losses.sums": lambda c: losses.sums(None, None, c),
    },
    "search": {
        "search.decode": lambda c: search.decode(None, None, None, None, 3, c),
        "search.over": lambda c: search.over(None, None, 3, c),
        "beam.beam": lambda c: beam.beam(None, 3, c),
        "sampling.sample": lambda c: sampling.sample(None, 3, None, c),
        "Trained.decode": lambda c: run_of(Config()).decode(["1 2"], c),
        "Trained.decode_n_best": lambda c: run_of(Config()).decode_n_best(["1 2"], c),
    },
    "": {
        "config.validate": configs.validate,
        "resolve": resolve,
        "digits.task": digits.task,
        "captions.task": captions.task,
        "spoken_digits.row": spoken_digits.row,
        "sources.build": sources.build,
        "sources.own_sizes": sources.own_sizes,
        "check": check,
        "pairs.load": lambda c: pairs.load(c, None, None),
        "sweep.plan": lambda c: sweep.plan(claim(c), "tiny"),
        "loop.run": lambda c: loop.run(c, "nowhere", {}),
    },
}
"""{kind of record: {function: a call of it}}; those of a whole config under ""."""


def changed(path: str, value) -> Config:
    """The defaults with one value that `override` would not take."""
    section, _, name = path.rpartition(".")
    if not section:
        return dataclasses.replace(Config(), **{name: value})
    return dataclasses.replace(Config(), **{section: dataclasses.replace(getattr(Config(), section), **{name: value})})


def refusals(path: str, value):
    """(function, what it said) of every one that takes this setting; raises whatever is no `ConfigError`."""
    section, config = path.rpartition(".")[0], changed(path, value)
    calls = [(name, call, config) for name, call in ENTRIES[""].items()]
    calls += [(name, call, getattr(config, section)) for name, call in ENTRIES.get(section, {}).items() if section]
    for name, call, record in calls:
        with pytest.raises(ConfigError) as error:
            call(record)
        yield name, str(error.value)


def fields():
    """{dotted path: field} of every setting."""
    every = [(prefix, f) for kind, prefix in configs.PREFIXES.items() for f in dataclasses.fields(kind)]
    return {prefix + f.name: f for prefix, f in every if f.type not in configs.PREFIXES}


def test_every_setting_has_a_rule_or_a_reason():
    assert fields().keys() == DEFAULTS.keys()
    for path, f in fields().items():
        free = f.type is bool or path in ANY or path in ROWS
        assert free != ("rule" in f.metadata), path
        assert (path in TYPOS) == isinstance(f.metadata.get("rule"), rules.Words), path


@pytest.mark.parametrize("path", TYPOS)
def test_a_typo_is_refused_wherever_the_word_is_read(path):
    for name, said in refusals(path, TYPOS[path]):
        assert f"{path}='{TYPOS[path]}' is unknown (did you mean" in said, name


@pytest.mark.parametrize("path", ROWS)
def test_what_is_no_row_of_a_table_is_refused_where_it_is_looked_up(path):
    _, typo, names = ROWS[path]
    config = changed(path, typo)
    for name in names:
        section = next(section for section, calls in ENTRIES.items() if name in calls)
        with pytest.raises(ConfigError, match=rf"{path}='{typo}' is unknown \(did you mean"):
            ENTRIES[section][name](getattr(config, section) if section else config)


def outside(path: str) -> list:
    """Values of the right type that the setting may not have; those of `IMPOSSIBLE`, and one above the largest."""
    low = [value for own, value in IMPOSSIBLE if own == path]
    most = next((most for most, paths in AT_MOST.items() if path in paths.split()), 2**31 - 1)
    default, above = DEFAULTS[path], most + 1 if most < 2**53 else 2 * most
    if isinstance(default, tuple):
        return [*low, (*default, above)]
    return [*low, above] if isinstance(default, int | float) else low


NUMBERS = [path for path, f in fields().items() if isinstance(f.metadata.get("rule"), rules.Bounds)]


@pytest.mark.parametrize("path", NUMBERS)
def test_a_number_out_of_bounds_is_refused_wherever_it_is_read(path):
    assert len(outside(path)) >= 2
    for value in outside(path):
        for name, said in refusals(path, value):
            assert f"{path}={value}" in said and "\n" not in said, name


WRONG = {
    bool: ("no", 1, 0.0, None, np.bool_(True)),
    int: (2.0, "64", True, None, math.nan, math.inf, [2], np.float32(2)),
    float: ("0.5", True, None, math.nan, math.inf, -math.inf, 1j, [0.5]),
    str: (3, None, True, b"adam", ["adam"]),
    tuple: ("1,2", None, (None,), (math.nan,), (True,)),
}
"""Values that a record made in Python can have, and of which each looks nearly right."""


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_value_of_another_type_is_refused_wherever_it_is_read(path):
    default = DEFAULTS[path]
    wrong = WRONG[type(default)]
    if isinstance(default, tuple):
        wrong = (list(default), *default[:1], *wrong)
    for value in wrong:
        for name, said in refusals(path, value):
            assert said.startswith(f"{path}={value!r} does not fit: it must be "), name


def test_a_section_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"^training=SearchConfig.* does not fit: it must be a TrainingConfig"):
        configs.validate(Config(training=SearchConfig()))


def test_an_int_will_do_for_a_float_and_equal_records_are_told_apart():
    assert configs.check(TrainingConfig(clip=0)).clip == 0
    configs.check(ModelConfig(heads=2))
    model.build(ModelConfig(heads=2), V)
    for holds in (configs.check, lambda c: model.build(c, V)):
        with pytest.raises(ConfigError, match=r"model\.heads=2\.0 does not fit: it must be a whole number"):
            holds(ModelConfig(heads=2.0))


TOGETHER = {
    r"model\.filter_width=4 is impossible: it must be odd": {"model.filter_width": 4},
    r"model\.layers=40 is impossible with model\.transition=26": {"model.layers": 40, "model.transition": 26},
    r"model\.decoder_layers=26 is impossible with model\.transition=40: their product must be at most 1000": {
        "model.decoder_layers": 26,
        "model.transition": 40,
    },
    r"training\.pilot_seeds=501 is impossible with the number of training\.learning_rates=2": {
        "training.pilot_seeds": 501,
        "training.learning_rates": (0.1, 0.2),
    },
    r"model\.start=backward needs a backward state": {"model.start": "backward", "model.direction": "forward"},
    r"model\.vector_size=3 leaves a vector of it": {"model.start": "backward", "model.vector_size": 3},
    r"model\.vector_bits=4 rounds the numbers of model\.vector_size, and there are none": {"model.vector_bits": 4},
    r"data\.shortest=9 is above data\.longest=8": {"data.shortest": 9, "data.longest": 8},
    r"data\.held_out=1 leaves nothing to train on": {"data.held_out": 1},
    r"data\.curriculum=1000000000 is impossible": {"data.curriculum": 10**9},
    r"data\.source_entropy=3\.5 is impossible: data\.symbols=8 have at most 3 bits each": {"data.source_entropy": 3.5},
    r"text\.given='=>' must be one word, of pairs that are neither joined": {"text.given": "=>", "text.join_max": 2},
    r"training\.sampling=free replaces target tokens that text\.given=x gives": {"text.given": "x", "training.sampling": "free"},
    r"text\.blind=True leaves no words to link: leave": {"text.blind": True, "text.alignment_file": "links"},
    r"text\.blind=True leaves no words to link: set": {"text.blind": True, "text.aligner": "hmm"},
    r"text\.aligner=ibm1 makes the links that text\.alignment_file holds": {"text.aligner": "ibm1", "text.alignment_file": "links"},
    r"text\.test_links has 1 files, text\.test_sources 2": {"text.test_sources": "a,b", "text.test_links": "c"},
    r"text\.validation_target=b has no text\.validation_source": {"text.validation_target": "b"},
    r"text\.test_targets has 1 files, text\.test_sources 2": {"text.test_sources": "a,b", "text.test_targets": "c"},
    r"text\.target_unit=word needs text\.vocabularies=separate: sources are in subwords": {"text.target_unit": "word"},
    r"text\.join_min=3 is above text\.join_max=2": {"text.join_min": 3, "text.join_max": 2},
    r"signal\.smallest=26 is above signal\.largest=25": {"signal.smallest": 26},
    r"signal\.largest=65 does not fit signal\.height=64": {"signal.largest": 65},
    r"signal\.patch=5 must divide signal\.height=64 and all of signal\.widths=\(256,\)": {"signal.patch": 5},
    r"training\.first_seed=1999999999 is too large": {"training.first_seed": 1_999_999_999},
    r"sampling_rate=0 is never reached by training\.sampling_decay=exponential": {
        "training.sampling": "scheduled",
        "training.sampling_rate": 0,
        "training.sampling_decay": "exponential",
    },
    r"search\.n_best=6 is above search\.beam_size=5": {"search.method": "beam", "search.n_best": 6},
    r"search\.n_best=2 needs search\.method=beam": {"search.n_best": 2},
    r"search\.min_length=9 is above search\.max_length=8": {"search.min_length": 9, "search.max_length": 8},
}
"""{what is said: settings that may not be together}."""


def test_a_setting_of_too_many_values_is_refused_and_the_message_does_not_hold_them():
    with pytest.raises(ConfigError, match=r"^data\.eval_lengths has 1001 values, which is impossible: at most 1000$"):
        configs.check(DataConfig(eval_lengths=tuple(range(1, 1002))))


def section_of(settings: dict) -> str:
    """The record that holds them all; "" for several."""
    sections = {path.rpartition(".")[0] for path in settings}
    return sections.pop() if len(sections) == 1 else ""


@pytest.mark.parametrize("said", TOGETHER)
def test_settings_that_contradict_each_other_are_refused_wherever_they_are_read(said):
    section, config = section_of(TOGETHER[said]), Config()
    for path, value in TOGETHER[said].items():
        config = configs.override(config, path, value)
    calls = [(call, config) for call in ENTRIES[""].values()]
    calls += [(call, getattr(config, section)) for call in ENTRIES[section].values()] if section else []
    for call, record in calls:
        with pytest.raises(ConfigError, match=said):
            call(record)


def test_every_rule_between_settings_is_broken_above():
    rules_of = {section: len((getattr(Config(), section) if section else Config()).contradictions()) for section in ENTRIES}
    assert Counter(rules_of) == Counter(map(section_of, TOGETHER.values()))


LOOKING = r"=0\.5 weighs where a mechanism looks, and that of model\.attention looks nowhere"
TRAINS = ("resolve", "sweep.plan", "loop.run")
READS = ("sources.build", "sources.own_sizes", "resolve", "check", "sweep.plan", "loop.run")
WITH_ROWS = {
    rf"training\.coverage{LOOKING}": ({"training.coverage": 0.5, "model.attention": "none"}, TRAINS),
    rf"training\.doubly_stochastic{LOOKING}": ({"training.doubly_stochastic": 0.5, "model.attention": "none"}, TRAINS),
    rf"training\.guided{LOOKING}": ({"training.guided": 0.5, "model.attention": "none"}, TRAINS),
    "search.forward_window limit where attention looks, and attention=none looks nothing up": (
        {"search.forward_window": 3, "model.attention": "none"},
        TRAINS,
    ),
    r"training\.precision=bf16 is none that model\.loop=cudnn has": ({"training.precision": "bf16", "model.loop": "cudnn"}, TRAINS),
    r"data\.padded_output=True belongs to data\.task='echo', not to 'copy'": ({"data.padded_output": True}, READS),
    r"data\.source_entropy=1\.0 belongs to data\.task='copy', 'reverse', 'sort', 'echo', not to 'recall'": (
        {"data.source_entropy": 1.0, "data.task": "recall"},
        READS,
    ),
    r"data\.source_entropy=1\.0 belongs to .*, not to 'tatoeba'": ({"data.source_entropy": 1.0, "data.task": "tatoeba"}, READS),
    r"belongs to data\.task='echo', not to 'tatoeba'": ({"data.padded_output": True, "data.task": "tatoeba"}, READS),
}
"""{what is said: (settings that rows of tables contradict, where those are read)}."""


@pytest.mark.parametrize("said", WITH_ROWS)
def test_settings_that_rows_contradict_are_refused_where_rows_are_read(said):
    settings, names = WITH_ROWS[said]
    config = Config()
    for path, value in settings.items():
        config = configs.override(config, path, value)
    for name in names:
        with pytest.raises(ConfigError, match=said):
            ENTRIES[""][name](config)
