"""Settings: frozen dataclasses, strict overrides, JSON both ways.

Every field has a default, its rule (see `rules`) and a line that says what it is; what fields may not be together stands below them, in
`contradictions`. `check` holds a record against both, and every function that takes a record calls it: a value, a name or a type that
does not fit raises `ConfigError` with the valid ones. Rows of tables (tasks, cells, mechanisms) are looked up where the table is.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import operator
import typing
import weakref
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from attention_jax.config import formats, rules
from attention_jax.config.model import ModelConfig
from attention_jax.config.rules import PARTS, SIZE, number, numbers, word
from attention_jax.config.signal import SignalConfig
from attention_jax.config.text import TextConfig
from attention_jax.system.errors import ConfigError

PILOT_SEED = 2_000_000_000
"""Seeds from here on belong to the trials that choose a learning rate, those below to runs."""

METHODS = "greedy sample beam"
"""Words of search.method."""


@dataclass(frozen=True)
class DataConfig:
    """Settings of what is learned, at which lengths, and at which lengths it is evaluated."""

    task: str = "copy"  # row of tasks.TABLE (copy, reverse, sort, echo, recall, cued_recall, spot) or of corpora.TABLE (multi30k, …)
    symbols: int = number(8, least=1, most=SIZE)  # payload alphabet of a synthetic task
    shortest: int = number(1, least=1, most=SIZE)  # training lengths, payload tokens, both ends included
    longest: int = number(16, least=1, most=SIZE)
    eval_lengths: tuple[int, ...] = numbers(
        (1, 2, 4, 8, 12, 16, 20, 24, 28, 32), least=1, most=SIZE, ascending=True
    )  # lengths to evaluate at; for text: upper edges of buckets, in what text.lengths counts
    eval_examples: int = number(128, least=1, most=SIZE)  # examples per evaluated length and seed
    held_out: int = number(
        0, least=0, most=SIZE
    )  # k: one source in k is never trained on, and alone is tested on; 0: all are drawn for both
    curriculum: int = number(0, least=0)  # updates over which the longest training length grows from shortest to longest; 0: no curriculum
    outputs: int = number(
        2, least=1, most=SIZE
    )  # echo: how many of the inputs are repeated; recall, cued_recall: how many keys are asked for
    source_entropy: float = number(
        0.0, least=0
    )  # copy, reverse, sort, echo: bits a symbol, of a Markov chain over the symbols (data/tasks/chain.py); 0: symbols are independent
    padded_output: bool = False  # echo: targets zero-padded to the input's length, no EOS (the Keras tutorial's convention)

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        grown = self.longest - self.shortest
        return [
            (self.held_out == 1, "data.held_out=1 leaves nothing to train on: set 0, or 2 and more"),
            (grown < 0, f"data.shortest={self.shortest} is above data.longest={self.longest}"),
            (
                grown * self.curriculum > rules.LARGEST,
                f"data.curriculum={self.curriculum} is impossible: with these lengths it must be at most {rules.LARGEST // max(grown, 1)}",
            ),
            (
                self.source_entropy > math.log2(self.symbols),
                f"data.source_entropy={self.source_entropy} is impossible: data.symbols={self.symbols} have at most "
                f"{math.log2(self.symbols):.4g} bits each",
            ),
        ]


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of budget, optimizer and seeds."""

    seeds: int = number(8, least=1, most=SIZE)  # R, trained together as a batch axis
    seeds_at_once: int = number(0, least=0, most=SIZE)  # of them, in one operation of an accelerator; 0: all. Fewer may fit its cache
    first_seed: int = number(0, least=0)  # seeds are first_seed … first_seed + seeds - 1
    updates: int = number(2000, least=1)  # budget
    batch_size: int = number(32, least=1, most=SIZE)  # B, per seed
    optimizer: str = word("adam", "adam adadelta sgd")  # adadelta: Bahdanau 2015
    learning_rates: tuple[float, ...] = numbers((1e-3,), most=3.4e38, above=0)  # several: chosen per run from its rate curve, see rates.py
    pilot_updates: int = number(0, least=0)  # updates of each candidate's trial; 0: the whole budget, which a verdict needs
    pilot_seeds: int = number(4, least=1, most=PARTS)  # selection seeds of each candidate, none of them a seed of the run
    schedule: str = word("constant", "constant linear cosine inverse_sqrt luong")  # luong: halved repeatedly in the last third
    warmup: int = number(50, least=0)  # updates of linear warm-up, any schedule
    precision: str = word("highest", "highest tf32 bf16")  # of products of float32, see precision.py; sums are in float32 always
    nudge: int = number(0, least=-1000, most=1000)  # units in the last place by which parameters start off: rounding is a replicate
    clip: float = number(1.0, least=0)  # global gradient norm; 0: none
    smoothing: float = number(0.0, least=0, below=1)  # label smoothing
    sampling: str = word("forced", "forced scheduled free")  # decoder inputs in training: the target's, some of them, the model's own
    sampling_decay: str = word("linear", "linear exponential inverse_sigmoid")  # scheduled: how the share of true inputs falls
    sampling_rate: float = number(0.25, least=0, most=1)  # scheduled: the share of true inputs at the end of the budget
    coverage: float = number(0.0, least=0)  # weight of the coverage loss Σ min(α, Σ past α) (See 2017)
    doubly_stochastic: float = number(0.0, least=0)  # weight of Σ_s (1 - Σ_t α_ts)² (Xu 2015)
    guided: float = number(0.0, least=0)  # weight of -log α at the gold source position (Chen 2016)
    checkpoint_every: int = number(500, least=1)  # updates between checkpoints
    chunk: int = number(200, least=1)  # most updates in one device call, which is kept to a few seconds; signals are answered between calls
    evaluate: str = word("last", "last best")  # which parameters are evaluated; best: on validation loss, at every checkpoint

    @property
    def all_seeds(self) -> list[int]:
        """The seeds of a run, in order of the axis R."""
        return list(range(self.first_seed, self.first_seed + self.seeds))

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        never = self.sampling == "scheduled" and self.sampling_rate == 0 and self.sampling_decay != "linear"
        rates = len(self.learning_rates)
        return [
            rules.too_many(PARTS, "training.pilot_seeds", self.pilot_seeds, "the number of training.learning_rates", rates),
            (
                self.first_seed + self.seeds > PILOT_SEED,
                f"training.first_seed={self.first_seed} is too large: seeds must stay below {PILOT_SEED}",
            ),
            (
                never,
                f"training.sampling_rate=0 is never reached by training.sampling_decay={self.sampling_decay}: raise it or use linear",
            ),
        ]


@dataclass(frozen=True)
class SearchConfig:
    """Settings of decoding, where the model's own outputs are its inputs."""

    method: str = word("greedy", METHODS)
    beam_size: int = number(5, least=1, most=SIZE)  # beam: hypotheses kept
    n_best: int = number(1, least=1, most=SIZE)  # beam: outputs per input, best first
    length_penalty: float = number(0.0, least=0, most=5)  # beam: α of Wu 2016, eq. 14; above, what it divides by is no float32
    coverage_penalty: float = number(0.0, least=0)  # beam: β of Wu 2016, eq. 14
    temperature: float = number(1.0, above=0)  # sample: logits are divided by it
    top_k: int = number(0, least=0)  # sample: only the k likeliest tokens; 0: all
    top_p: float = number(1.0, most=1, above=0)  # sample: the smallest set of tokens with at least this probability (Holtzman 2020)
    min_length: int = number(0, least=0, most=SIZE)  # no EOS before so many tokens
    max_length: int = number(0, least=0, most=SIZE)  # longest output, EOS included; 0: as long as the data need
    replace_unknown: bool = False  # an unknown output word becomes the source word with the largest weight (Luong 2015)
    draw_seed: int = number(0, least=0)  # sample
    backward_window: int = number(-1, least=-1, most=SIZE)  # places before the last attended one that a step may attend to; -1: all
    forward_window: int = number(-1, least=-1, most=SIZE)  # the same, after it

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        K, N, least, most = self.beam_size, self.n_best, self.min_length, self.max_length
        return [
            (K < N, f"search.n_best={N} is above search.beam_size={K}"),
            (N > 1 and self.method != "beam", f"search.n_best={N} needs search.method=beam: {self.method} finds one output"),
            (0 < most < least, f"search.min_length={least} is above search.max_length={most}"),
        ]


@dataclass(frozen=True)
class Config:
    """Settings of a run: hashable, so that it is a static argument of compiled functions."""

    experiment: str = ""  # the claim this run belongs to
    run: str = ""  # name a person can read, unique within the experiment
    match: str = word("state", "state parameters")  # of arms: the same widths, or totals within 2 % (the decoder's width is moved)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    signal: SignalConfig = field(default_factory=SignalConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings of several sections that needs no table."""
        return [
            (
                self.text.given != "" and self.training.sampling != "forced",
                f"training.sampling={self.training.sampling} replaces target tokens that text.given={self.text.given} gives: set forced",
            )
        ]


Record = typing.TypeVar("Record", bound=Config | ModelConfig | DataConfig | TextConfig | SignalConfig | TrainingConfig | SearchConfig)


def leaves(config: Any) -> dict[str, Any]:
    """Maps the dotted path of every setting to its value, in order of declaration."""
    paths = _paths(type(config))
    return dict(zip(paths, operator.attrgetter(*paths)(config), strict=True))


@cache
def _paths(kind: type) -> tuple[str, ...]:
    nested = ((f.name, _paths(f.type) if dataclasses.is_dataclass(f.type) else ()) for f in dataclasses.fields(kind))
    return tuple(path for name, below in nested for path in ([f"{name}.{each}" for each in below] or [name]))


def override(config: Config, path: str, value: object) -> Config:
    """Copies a config with one setting changed; `value` may be text ("0.1", "1,2,4", "true") or of the field's type.

    Raises `ConfigError` for an unknown path or a value that does not fit.
    """
    if path not in leaves(config):
        raise ConfigError(f"unknown setting {path!r}; {_suggest(path)}")
    section, _, name = path.rpartition(".")
    record = getattr(config, section) if section else config
    record = dataclasses.replace(record, **{name: rules.parse(path, value, typing.get_type_hints(type(record))[name])})
    return dataclasses.replace(config, **{section: record}) if section else record


def override_all(config: Config, assignments: typing.Iterable[str]) -> Config:
    """Applies settings, given as texts "section.name=value", in order. Raises `ConfigError` as `override` does."""
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} is not of the form path=value, e.g. --set model.hidden_size=64")
        config = override(config, path.strip(), value.strip())
    return config


def to_json(config: Config) -> dict:
    """Converts a config to nested plain dicts; tuples become lists."""

    def plain(value: Any) -> Any:
        if type(value) in PREFIXES:
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return [plain(each) for each in value] if isinstance(value, tuple) else value

    return plain(config)


def fingerprint(config: Config) -> str:
    """Returns the sha256 of all settings: equal for equal configs, whatever version wrote them.

    A setting newer than `formats.FORMAT` 1 counts only where it is not at the value that `formats.AS_IT_WAS` says.
    """
    return hashlib.sha256(json.dumps(formats.without_new(to_json(config)), sort_keys=True).encode()).hexdigest()


def from_json(nested: dict, kind: Any = Config, prefix: str = "") -> Any:
    """Inverts `to_json`; a setting newer than the file gets its value of `formats.AS_IT_WAS`.

    Raises `ConfigError` for unknown, missing or mistyped keys.
    """
    if not isinstance(nested, dict):
        raise ConfigError(f"{kind.__name__} must be an object, not {nested!r}")
    hints = typing.get_type_hints(kind)
    nested = {name: formats.AS_IT_WAS[prefix + name] for name in hints if prefix + name in formats.AS_IT_WAS} | nested
    if wrong := set(nested) ^ set(hints):
        raise ConfigError(f"{kind.__name__}: unknown or missing settings {sorted(wrong)}")
    values = {}
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            values[name] = from_json(nested[name], hint, f"{prefix}{name}.")
        else:
            value = nested[name]
            values[name] = rules.parse(name, tuple(value) if isinstance(value, list) else value, hint)
    return kind(**values)


def check(record: Record) -> Record:
    """Returns the record, of any kind. Raises `ConfigError` where a setting breaks the rule of its field, or several a rule between them.

    A record that has passed is not checked again. Another that is equal to it is, since equals need not be alike: 2 is equal to 2.0.
    """
    if _passed.get(id(record)) is record:
        return record
    prefix = PREFIXES[type(record)]
    for f in dataclasses.fields(record):
        path, value, rule = prefix + f.name, getattr(record, f.name), f.metadata.get("rule")
        if f.type in PREFIXES:
            if type(value) is not f.type:
                raise ConfigError(f"{path}={value!r} does not fit: it must be a {getattr(f.type, '__name__', f.type)}")
            check(value)
            continue
        rules.fit(path, value, f.type)
        if isinstance(rule, rules.Words):
            choose(path, value, rule.valid)
        elif isinstance(rule, rules.Bounds):
            rules.bound(path, value, rule)
    for broken, why in record.contradictions():
        if broken:
            raise ConfigError(why)
    _passed[id(record)] = record
    return record


_passed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


PREFIXES = {f.type: f"{f.name}." for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)} | {Config: ""}
"""{kind of record: what the paths of its settings begin with}."""


def validate(config: Config) -> Config:
    """Runs `check` on a whole config: returns it, or raises `ConfigError`."""
    return check(config)


def choose(path: str, value: str, valid: typing.Iterable[str]) -> str:
    """Returns `value` if it is one of `valid`. Raises `ConfigError`, which lists them, if not."""
    valid = list(valid)
    if value not in valid:
        close = difflib.get_close_matches(str(value), valid, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"{path}={value!r} is unknown{hint}; valid: {', '.join(valid)}")
    return value


def _suggest(path: str) -> str:
    valid = list(leaves(Config()))
    close = difflib.get_close_matches(path, valid, n=3, cutoff=0.5)
    return (f"did you mean {', '.join(close)}? " if close else "") + f"valid: {', '.join(valid)}"
