"""Settings: frozen dataclasses, strict overrides, JSON both ways.

Every field has a default and a line that says what it is. A name or a type that does not fit raises `ConfigError`
with the valid ones. Names of tasks, cells, mechanisms are checked against their tables when the model is built.
"""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field

from attention_jax.types import ConfigError

PILOT_SEED = 2_000_000_000
"""Seeds from here on belong to the pilots that choose a learning rate, those below to runs."""


@dataclass(frozen=True)
class ModelConfig:
    """Encoder, attention = score × normaliser × window × estimator, decoder."""

    attention: str = "additive"  # row of attention.TABLE: the fixed vectors none and summary, or a score
    attention_size: int = 0  # A, width of the scores that have one (additive, concat, …); 0: hidden_size
    heads: int = 1  # N mechanisms side by side, each over M / N columns of its own
    slots: int = 0  # the memory is reduced to K segments of the source; 0: every position is kept
    pooling: str = "ends"  # a slot is: ends (the states at the segment's ends), mean (over the segment)
    normaliser: str = "softmax"  # row of attention.NORMALISERS
    score_temperature: float = 1.0  # scores are divided by it before they are normalised
    alpha: float = 1.25  # entmax: 1 is softmax, 1.5 entmax15, 2 sparsemax
    window: str = "all"  # row of attention.WINDOWS: all, local_m, local_p (Luong 2015)
    window_size: int = 3  # D: a local window spans p - D … p + D
    estimator: str = "soft"  # row of attention.ESTIMATORS: soft, reinforce, gumbel, straight_through, marginal, variational
    baseline: str = "average"  # reinforce: none, average (moving, over updates), learned (of the query)
    entropy_bonus: float = 0.0  # reinforce: λ of + λ H[α] in the objective
    mixing: float = 0.0  # reinforce: share of examples that train on the expected context instead of a drawn one (Xu 2015: 0.5)
    gumbel_temperature: float = 1.0  # gumbel, straight_through: τ of the relaxed draw
    location_size: int = 64  # location: longest source it can score
    filters: int = 8  # location_aware: features of the previous weights
    filter_width: int = 7  # location_aware: places each feature sees, an odd number
    mixtures: int = 5  # gaussian: components of the window
    fertility: float = 0.0  # coverage: N, the most target tokens a source position may account for; 0: one, without a fertility model
    noise: float = 1.0  # monotonic, mocha: standard deviation of the noise on the scores in training
    chunk_size: int = 3  # mocha: places in a chunk
    encoder: str = "recurrent"  # row of encoders.TABLE
    cell: str = "gru"  # row of encoders.cells.TABLE
    loop: str = "scan"  # how recurrent encoders run: scan, or cudnn (LSTM on an NVIDIA GPU)
    transition: int = 1  # cells in sequence within one position, the first of them with the input (Pascanu 2014)
    hidden_size: int = 64  # encoder state per direction and layer
    embedding_size: int = 32  # E
    direction: str = "both"  # forward, reversed (Sutskever 2014: the source is read right to left), both
    layers: int = 1  # encoder layers
    residual: bool = False  # add a layer's input to its output, from the second layer on
    kernel: int = 3  # convolutional, image: places a filter sees, per axis
    stride: int = 1  # convolutional, image: places a filter moves, per axis
    convolutions: int = 1  # convolutional, image: layers of filters
    decoder: str = "stacked"  # stacked (the top layer asks), gnmt (the bottom layer asks, all layers get the context)
    decoder_layers: int = 1
    decoder_size: int = 0  # H; 0: hidden_size
    start: str = "bridge"  # s_0: zero, bridge (tanh of a projection of the final state), backward (of the first backward state)
    timing: str = "before"  # query: before (s_{i-1}, Bahdanau), after the update (s_i, Luong), between two cells (Nematus)
    feeding: bool = False  # input feeding: the readout of step i-1 is an input of step i (Luong 2015)
    feedback: bool = True  # the previous output token is the decoder's input; False: the decoder gets a constant instead
    readout: str = "tanh"  # row of readout.TABLE: tanh, maxout (Bahdanau 2015)
    context_gate: str = "none"  # Tu 2017: none, source, target, both
    copy: bool = False  # pointer-generator: outputs may copy a source token by its attention weight (See 2017)
    tied: str = "none"  # tied embeddings: none, output (logits use the target embedding), all (and the source embedding is the same)
    dropout: float = 0.0  # on embeddings, between layers and before the logits


@dataclass(frozen=True)
class DataConfig:
    """What is learned, at which lengths, and at which it is evaluated."""

    task: str = "copy"  # row of tasks.TABLE (copy, reverse, sort, echo, recall, spot) or of corpora.TABLE (multi30k, …)
    symbols: int = 8  # payload alphabet of a synthetic task
    shortest: int = 1  # training lengths, payload tokens, both ends included
    longest: int = 16
    eval_lengths: tuple[int, ...] = (
        1,
        2,
        4,
        8,
        12,
        16,
        20,
        24,
        28,
        32,
    )  # lengths to evaluate at; for text: upper edges of buckets in words
    eval_examples: int = 128  # examples per evaluated length and seed
    curriculum: int = 0  # updates over which the longest training length grows from shortest to longest; 0: no curriculum
    outputs: int = 2  # echo: how many of the inputs are repeated; recall: how many keys are asked for
    padded_output: bool = False  # echo: targets zero-padded to the input's length, no EOS (the Keras tutorial's convention)


@dataclass(frozen=True)
class TextConfig:
    """What only real text needs; ignored by synthetic tasks."""

    languages: str = "de-en"  # source-target, for corpora that offer several
    source_file: str = ""  # parallel_text: source lines, or one TSV with both columns
    target_file: str = ""  # parallel_text: target lines; empty when source_file is a TSV
    alignment_file: str = ""  # parallel_text: word links of each pair in Pharaoh format ("0-0 1-2"), for training.guided; empty: none
    vocabulary_size: int = 2000  # subwords, shared by both languages
    join_min: int = 1  # fewest and most consecutive pairs joined into one example (length without a change of domain)
    join_max: int = 1
    max_words: int = 0  # training cap in source words; longer examples are left out of training, never of evaluation; 0: none
    buckets: tuple[int, ...] = (32, 64, 96, 128)  # padded sizes in subwords, EOS included, source and target alike
    cut: int = 128  # longest decoded output and longest evaluated source, in subwords, EOS included


@dataclass(frozen=True)
class TrainingConfig:
    """Budget, optimizer, seeds."""

    seeds: int = 8  # R, trained together as a batch axis
    first_seed: int = 0  # seeds are first_seed … first_seed + seeds - 1
    updates: int = 2000  # budget
    batch_size: int = 32  # B, per seed
    optimizer: str = "adam"  # adam, adadelta (Bahdanau 2015), sgd
    learning_rates: tuple[float, ...] = (1e-3,)  # more than one: chosen per arm by validation loss after a pilot
    pilot_updates: int = 200  # updates of each candidate's pilot
    pilot_seeds: int = 2  # seeds of each candidate's pilot, none of them a seed of the run
    schedule: str = "constant"  # constant, linear, cosine, inverse_sqrt, luong (halved repeatedly in the last third)
    warmup: int = 50  # updates of linear warm-up, any schedule
    clip: float = 1.0  # global gradient norm; 0: none
    smoothing: float = 0.0  # label smoothing
    sampling: str = "forced"  # decoder inputs in training: forced (the target's), scheduled (Bengio 2015), free (the model's own)
    sampling_decay: str = "linear"  # scheduled: how the share of true inputs falls: linear, exponential, inverse_sigmoid
    sampling_rate: float = 0.25  # scheduled: the share of true inputs at the end of the budget
    coverage: float = 0.0  # weight of the coverage loss Σ min(α, Σ past α) (See 2017)
    doubly_stochastic: float = 0.0  # weight of Σ_s (1 - Σ_t α_ts)² (Xu 2015)
    guided: float = 0.0  # weight of -log α at the gold source position (Chen 2016)
    checkpoint_every: int = 500  # updates between checkpoints
    chunk: int = 200  # most updates in one device call, which is kept to a few seconds; signals are answered between calls
    evaluate: str = "last"  # which parameters are evaluated: last, or best (on validation loss, checked at every checkpoint)


@dataclass(frozen=True)
class SearchConfig:
    """How outputs are found when the model runs freely."""

    method: str = "greedy"  # greedy, sample, beam
    beam_size: int = 5  # beam: hypotheses kept
    n_best: int = 1  # beam: outputs per input, best first
    length_penalty: float = 0.0  # beam: α of Wu 2016, eq. 14
    coverage_penalty: float = 0.0  # beam: β of Wu 2016, eq. 14
    temperature: float = 1.0  # sample: logits are divided by it
    top_k: int = 0  # sample: only the k likeliest tokens; 0: all
    top_p: float = 1.0  # sample: the smallest set of tokens with at least this probability (Holtzman 2020)
    min_length: int = 0  # no EOS before so many tokens
    max_length: int = 0  # longest output, EOS included; 0: as long as the data need
    replace_unknown: bool = False  # an unknown output word becomes the source word with the largest weight (Luong 2015)
    draw_seed: int = 0  # sample


@dataclass(frozen=True)
class Config:
    """A run: hashable, so that it is a static argument of compiled functions."""

    experiment: str = ""  # the claim this run belongs to
    run: str = ""  # name a person can read, unique within the experiment
    match: str = "state"  # arms are matched by: state (same widths), parameters (decoder width moved until totals agree within 2 %)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)


def leaves(config, prefix: str = "") -> dict[str, object]:
    """{dotted path: value} of every setting, in order of declaration."""
    out = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            out |= leaves(value, f"{prefix}{f.name}.")
        else:
            out[prefix + f.name] = value
    return out


def override(config: Config, path: str, value: object) -> Config:
    """A copy with one setting changed; `value` may be text ("0.1", "1,2,4", "true") or already of the field's type."""
    if path not in leaves(config):
        raise ConfigError(f"unknown setting {path!r}; {_suggest(path)}")
    section, _, name = path.rpartition(".")
    record = getattr(config, section) if section else config
    record = dataclasses.replace(record, **{name: _parse(path, value, typing.get_type_hints(type(record))[name])})
    return dataclasses.replace(config, **{section: record}) if section else record


def override_all(config: Config, assignments: typing.Iterable[str]) -> Config:
    """Applies `a.b=c` texts in order."""
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} is not of the form path=value, e.g. --set model.hidden_size=64")
        config = override(config, path.strip(), value.strip())
    return config


def to_json(config: Config) -> dict:
    """Nested plain dict; tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def fingerprint(config: Config) -> str:
    """sha256 of all settings: the same for the same config, whatever wrote it down."""
    return hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode()).hexdigest()


def from_json(nested: dict, kind=Config):
    """The inverse of `to_json`; unknown, missing or mistyped keys raise."""
    if not isinstance(nested, dict):
        raise ConfigError(f"{kind.__name__} must be an object, not {nested!r}")
    hints = typing.get_type_hints(kind)
    if wrong := set(nested) ^ set(hints):
        raise ConfigError(f"{kind.__name__}: unknown or missing settings {sorted(wrong)}")
    values = {}
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            values[name] = from_json(nested[name], hint)
        else:
            value = nested[name]
            values[name] = _parse(name, tuple(value) if isinstance(value, list) else value, hint)
    return kind(**values)


CHOICES = {
    "match": ("state", "parameters"),
    "model.pooling": ("ends", "mean"),
    "model.baseline": ("none", "average", "learned"),
    "model.direction": ("forward", "reversed", "both"),
    "model.decoder": ("stacked", "gnmt"),
    "model.start": ("zero", "bridge", "backward"),
    "model.timing": ("before", "after", "between"),
    "model.context_gate": ("none", "source", "target", "both"),
    "model.tied": ("none", "output", "all"),
    "training.optimizer": ("adam", "adadelta", "sgd"),
    "training.schedule": ("constant", "linear", "cosine", "inverse_sqrt", "luong"),
    "training.evaluate": ("last", "best"),
    "training.sampling": ("forced", "scheduled", "free"),
    "training.sampling_decay": ("linear", "exponential", "inverse_sigmoid"),
    "search.method": ("greedy", "sample", "beam"),
}
"""Settings that are one of a few words, tables aside."""

LEAST = {
    1: (
        "model.heads model.alpha model.filters model.filter_width model.mixtures model.chunk_size model.transition model.hidden_size "
        "model.embedding_size model.layers model.kernel model.stride model.convolutions model.decoder_layers model.location_size "
        "data.symbols data.shortest data.longest data.eval_examples data.outputs text.vocabulary_size text.join_min text.join_max "
        "text.cut training.seeds training.updates training.batch_size training.pilot_updates training.pilot_seeds "
        "training.checkpoint_every training.chunk search.beam_size search.n_best"
    ).split(),
    0: (
        "model.attention_size model.slots model.window_size model.entropy_bonus model.fertility model.noise model.decoder_size "
        "data.curriculum text.max_words training.first_seed training.warmup training.clip training.coverage "
        "training.doubly_stochastic training.guided search.length_penalty search.coverage_penalty search.top_k search.min_length "
        "search.max_length search.draw_seed"
    ).split(),
}
"""{smallest value: settings}."""

MOST = {
    1000: "model.heads model.layers model.decoder_layers model.transition model.convolutions".split(),  # made one by one
    1 << 20: (
        "model.hidden_size model.embedding_size model.attention_size model.decoder_size model.slots model.window_size model.location_size "
        "model.filters model.filter_width model.mixtures model.chunk_size model.kernel model.stride "
        "data.symbols data.shortest data.longest data.eval_lengths data.eval_examples data.outputs "
        "text.vocabulary_size text.join_min text.join_max text.buckets text.cut "
        "training.seeds training.pilot_seeds training.batch_size search.beam_size search.n_best"
    ).split(),
}
"""{largest value: settings}: far above any use, so that a wrong number is an error and no endless loop; of other whole numbers 2³¹ - 1."""

FRACTIONS = ("model.dropout", "training.smoothing")
PROBABILITIES = ("model.mixing", "training.sampling_rate")
POSITIVE = ("model.score_temperature", "model.gumbel_temperature", "search.temperature", "search.top_p")


def validate(config: Config) -> Config:
    """Refuses impossible values; returns the config, so that it can be used in an expression."""
    values = leaves(config)
    for low, paths in LEAST.items():
        for path in paths:
            if values[path] < low:
                raise ConfigError(f"{path}={values[path]} is impossible: it must be at least {low}")
    most = {path: high for high, paths in MOST.items() for path in paths}
    for path, value in values.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and number > most.get(path, 2**31 - 1) for number in numbers):
            raise ConfigError(f"{path}={value} is impossible: it must be at most {most.get(path, 2**31 - 1)}")
    for path in FRACTIONS:
        if not 0 <= values[path] < 1:
            raise ConfigError(f"{path}={values[path]} is impossible: it must be in [0, 1)")
    for path in POSITIVE:
        if values[path] <= 0:
            raise ConfigError(f"{path}={values[path]} is impossible: it must be above 0")
    for path in PROBABILITIES:
        if not 0 <= values[path] <= 1:
            raise ConfigError(f"{path}={values[path]} is impossible: it must be in [0, 1]")
    for path in ("data.eval_lengths", "text.buckets", "training.learning_rates"):
        if not values[path] or min(values[path]) <= 0:
            raise ConfigError(f"{path}={values[path]} is impossible: it needs one or more values above 0")
        if path != "training.learning_rates" and tuple(sorted(set(values[path]))) != values[path]:
            raise ConfigError(f"{path}={values[path]} must be strictly ascending")
    for low, high in (("data.shortest", "data.longest"), ("text.join_min", "text.join_max")):
        if values[low] > values[high]:
            raise ConfigError(f"{low}={values[low]} is above {high}={values[high]}")
    for path, valid in CHOICES.items():
        choose(path, values[path], valid)
    if config.training.first_seed + config.training.seeds > PILOT_SEED:
        raise ConfigError(f"training.first_seed={config.training.first_seed} is too large: seeds must stay below {PILOT_SEED}")
    fixed = config.model.attention in ("none", "summary")
    for path in ("training.coverage", "training.doubly_stochastic", "training.guided"):
        if values[path] and fixed:
            raise ConfigError(f"{path}={values[path]} weighs where a mechanism looks, and attention={config.model.attention} looks nowhere")
    if config.model.filter_width % 2 == 0:
        raise ConfigError(f"model.filter_width={config.model.filter_width} is impossible: it must be odd")
    if config.search.n_best > config.search.beam_size:
        raise ConfigError(f"search.n_best={config.search.n_best} is above search.beam_size={config.search.beam_size}")
    if config.search.n_best > 1 and config.search.method != "beam":
        raise ConfigError(f"search.n_best={config.search.n_best} needs search.method=beam: {config.search.method} finds one output")
    if config.training.sampling == "scheduled" and config.training.sampling_rate == 0 and config.training.sampling_decay != "linear":
        raise ConfigError(
            f"training.sampling_rate=0 is never reached by training.sampling_decay={config.training.sampling_decay}: raise it or use linear"
        )
    if config.search.top_p > 1:
        raise ConfigError(f"search.top_p={config.search.top_p} is impossible: it must be in (0, 1]")
    if config.search.max_length and config.search.min_length > config.search.max_length:
        raise ConfigError(f"search.min_length={config.search.min_length} is above search.max_length={config.search.max_length}")
    if config.model.start == "backward" and config.model.direction == "forward":
        raise ConfigError("model.start=backward needs a backward state: set model.direction to both or reversed")
    return config


def choose(path: str, value: str, valid: typing.Iterable[str]) -> str:
    """`value`, if it is one of `valid`; else a `ConfigError` that lists them."""
    valid = list(valid)
    if value not in valid:
        close = difflib.get_close_matches(value, valid, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"{path}={value!r} is unknown{hint}; valid: {', '.join(valid)}")
    return value


def _suggest(path: str) -> str:
    valid = list(leaves(Config()))
    close = difflib.get_close_matches(path, valid, n=3, cutoff=0.5)
    return (f"did you mean {', '.join(close)}? " if close else "") + f"valid: {', '.join(valid)}"


def _parse(path: str, value: object, hint) -> object:
    """Text or JSON value → the field's type, strictly: 1.5 is no int, "yes" is no bool."""
    if isinstance(hint, types.GenericAlias):  # tuple[int, ...] or tuple[float, ...]
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, tuple | list):
            parts = (parts,)
        return tuple(_parse(path, part, hint.__args__[0]) for part in parts)
    valid = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[hint]
    try:
        text = value.strip() if isinstance(value, str) else json.dumps(value) if isinstance(value, int | float) else ""
        if hint is str and isinstance(value, str):
            return value
        if hint is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if hint is int:
            return int(text)
        if hint is float and abs(float(text)) < float("inf"):
            return float(text)
    except (ValueError, TypeError):
        pass
    raise ConfigError(f"{path}={value!r} does not fit: it must be {valid}")
