"""A tutorial's proof of attention, measured again: two symbols to repeat, at its budget, at a longer one, and with a tuned rate

Claim. "How to Develop an Encoder-Decoder Model with Attention in Keras" (machinelearningmastery.com) repeats the first 2 of 5 symbols out
of 50, and reports 23.1 % of outputs entirely right without attention and 95.7 % with it, over 10 repeats of 100 samples each. Is that a
fixed vector that is full? 2 symbols of 50 are 11.3 bits, and the vector has 150 numbers. Or is it one that is slower to train?

Source. That tutorial; its repeats are in `PUBLISHED`.
Expected. "not reproduced, slower to train" of small.
    python -m experiments.run --experiment=echo --preset=small --choose_rates

The tutorial's protocol: 5,000 updates of one fresh example each, Adam at the Keras default of 0.001, neither decayed nor tuned, no
clipping, 150 units, outputs as long as inputs, filled up with zeros. It is the one experiment here whose rate is not tuned: the rate is
part of what is reproduced. `summary` is its RepeatVector, whose decoder is not told what it has said. `additive` is its AttentionDecoder:
additive scores, the previous state as query, the previous output as input. Encoders read forward; decoders start from zero.

Where ours differs. Their symbols are one-hot, ours embedded in 50 numbers. Ours has a tanh layer between decoder and softmax, which reads
the context as well. Their AttentionDecoder is a gated recurrent unit, starts from a projection of the encoder's first state, reads outputs
off the previous state, and is fed its own probabilities in training; ours is an LSTM and is fed the true symbol. Their 0 is padding and a
symbol, ours padding alone. Our source ends in EOS. Adam's ε is 1e-8 here, 1e-7 in Keras.

Nearer to theirs: both arms once more with `model.readout=linear`, so that logits are linear in state and context, as in their Dense layer.
What is embedded, fed and ended otherwise stays so. These two stand beside, and are no part of the verdict, which is older.

Then, without attention: 4 times the updates, and the same updates of 32 examples each, all else the tutorial's. And both arms by the
protocol of the other experiments: cosine schedule, warm-up, clipping, the rate chosen from a rate curve on 4 selection seeds that are never
reported. These two say how much of the gap is the rate. Tested sources are not held out of training: 5,000 of 50⁵ have been seen.

Verdict, fixed before the runs. An arm is reproduced if the published mean lies in the 95 % interval of a new draw of 10 repeats of 100
samples (`intervals.prediction`), or the interval of the difference of means contains 0 (`intervals.welch`, unpaired).
  reproduced         both arms; "in part" if one, "not reproduced" if none
  slower to train    at the tutorial's budget `additive` leads by more than 0.1, lower bound, and at 4 times the updates or at 32 examples
                     the typical seed of `summary` has a lower bound above 0.9
  the gap stands     it leads so, and neither of the two reaches 0.9
  no gap             it does not lead so
  inconclusive       an arm at the tutorial's budget is missing, or there are fewer than 8 seeds

Presets. tiny: both arms at the tutorial's budget, 10 seeds; 3 minutes. small: all of it; 22 minutes. full: the same with 50 seeds; 100
minutes. Minutes are on 2 CPU cores, estimated from updates timed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report import findings as said
from attention_jax.report import scoring, standings, tables
from attention_jax.report.figures import ladders, repeats
from attention_jax.report.figures.repeats import Repeats
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError

PRESETS = ("tiny", "small", "full")
PAPERS = ("welch1947", "satterthwaite1946", "zou2008")
ARMS = ("summary", "additive")
GROUP = ("schedule", "batch_size", "readout")
FIELDS = ("training.batch_size", "model.readout")

UPDATES, LONGER, LARGER = 5_000, 4, 32
PUBLISHED = {
    "summary": (0.20, 0.23, 0.23, 0.18, 0.28, 0.29, 0.23, 0.26, 0.21, 0.20),
    "additive": (0.98, 0.91, 0.94, 0.93, 0.96, 0.99, 0.97, 0.94, 0.99, 0.96),
}
"""{arm: share of outputs that are entirely right, of each repeat}."""
SAMPLES = 100
"""Outputs behind each of them."""
SEEDS = 8
"""The fewest that a verdict needs."""
GAP, LEARNED = 0.1, 0.9

TUTORIAL = Config(
    model=ModelConfig(cell="lstm", hidden_size=150, embedding_size=50, direction="forward", start="zero"),
    data=DataConfig(task="echo", symbols=50, shortest=5, longest=5, outputs=2, padded_output=True, eval_lengths=(5,), eval_examples=1_000),
    training=TrainingConfig(
        seeds=10,
        updates=UPDATES,
        batch_size=1,
        schedule="constant",
        learning_rates=(1e-3,),
        warmup=0,
        clip=0.0,
        checkpoint_every=2_500,
    ),
)
READOUT, THEIRS = "tanh", "linear"
"""What lies between decoder and softmax: in most of our runs, and in the tutorial's."""
TUNED = {"schedule": "cosine", "learning_rates": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), "warmup": 50, "clip": 1.0}


class Place(NamedTuple):
    """What tells runs apart."""

    arm: str
    schedule: str
    batch_size: int
    budget: int
    readout: str = READOUT

    def __str__(self):
        examples = "1 example" if self.batch_size == 1 else f"{self.batch_size} examples"
        rate = "0.001" if self.schedule == "constant" else f"tuned rate, {self.schedule}"
        return f"{self.named}, {self.budget:,} updates of {examples}, {rate}"

    @property
    def named(self) -> str:
        """The arm, and its readout where that is another than most have."""
        return self.arm if self.readout == READOUT else f"{self.arm}, {self.readout} readout"


class Reproduction(NamedTuple):
    """A published mean beside ours; `named`: the arm, with what it has of its own."""

    named: str
    published: Interval
    ours: Interval
    expected: Interval  # of a new draw of as many repeats and samples as were published
    difference: Interval  # ours − published

    @property
    def holds(self) -> bool:
        """True where the published mean lies in the interval of a new draw, or the difference's interval contains 0."""
        return self.expected.low <= self.published.mean <= self.expected.high or self.difference.low <= 0 <= self.difference.high

    def __str__(self):
        word = "reproduced" if self.holds else f"not reproduced, ours {'higher' if self.difference.mean > 0 else 'lower'}"
        return f"{self.named} {word}: {tables.interval_text(self.ours, 3)}, published {self.published.mean:.3f}"


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns the tutorial's runs; beyond tiny also vectors that are trained longer, tuned rates, and linear readouts."""
    found = [_config(arm) for arm in arms]
    if preset != "tiny":
        for arm in (arm for arm in arms if arm in fixed_vectors()):
            found += [_config(arm, updates=LONGER * UPDATES), _config(arm, batch_size=LARGER)]
        found += [_config(arm, **TUNED) for arm in arms]
        found += [replace(each, model=replace(each.model, readout=THEIRS)) for each in found[: len(arms)]]
    return [replace(each, training=replace(each.training, seeds=50)) for each in found] if preset == "full" else found


def _config(arm: str, **training: Any) -> Config:
    model = replace(TUTORIAL.model, attention=arm, feedback=arm not in fixed_vectors())
    return replace(TUTORIAL, model=model, training=replace(TUTORIAL.training, **training))


def check(config: Config) -> None:
    """Raises `ConfigError` for several lengths: a repeat is one share."""
    if len(config.data.eval_lengths) != 1:
        raise ConfigError(f"data.eval_lengths={config.data.eval_lengths}: a repeat is tested at one length, that of the tutorial")


def name(config: Config) -> str:
    """Returns a run's name, such as summary-lstm-h150-constant-b1-u5000; -linear of such a readout."""
    model, training = config.model, config.training
    readout = f"-{model.readout}" * (model.readout != READOUT)
    return f"{model.attention}-{model.cell}-h{model.hidden_size}-{training.schedule}-b{training.batch_size}-u{training.updates}{readout}"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns exact match of every run, published means beside ours, gaps, rate curves, and the verdict."""
    found = _placed(rows)
    shown = [_runs_table(found), _published_table(reproductions(found)), _gaps_table(found)]
    for group, of_group in tables.grouped([row for rows in found.values() for row in rows], GROUP).items():
        if curves := scoring.rate_curves(of_group, group):
            shown.append(curves)
    budgets = sorted({place.budget for place in found})
    seeds = len({row["seed"] for row in standings.reported(rows)})
    budget = f"with {seeds} seeds, at {', '.join(f'{each:,}' for each in budgets)} updates, each budget a run of its own"
    return Score(verdict(rows), [table for table in shown if table.rows], budget)


def verdict(rows: Sequence[dict]) -> Verdict:
    """Judges the rows by the rule above."""
    found, first = _placed(rows), {arm: Place(arm, "constant", 1, UPDATES) for arm in ARMS}
    if missing := [str(place) for place in first.values() if place not in found]:
        return Verdict("inconclusive", f"missing: {'; '.join(missing)}", failed=("missing",))
    seeds = min(len(shares(found[place])) for place in first.values())
    if seeds < SEEDS:
        why = f"{seeds} seeds; a verdict needs {SEEDS}"
        needs = tuple(Need(arm, UPDATES, "reported", SEEDS - seeds, (), why) for arm in ARMS)
        return Verdict("inconclusive", why, failed=("missing",), needs=needs)
    both = reproductions(found, (READOUT,))
    share = sum(each.holds for each in both)
    reproduced = {0: "not reproduced", 1: "reproduced in part", 2: "reproduced"}[share]
    gap = intervals.difference(*(_typical(found[first[arm]]) for arm in reversed(ARMS)))
    said = f"{ARMS[1]} − {ARMS[0]} at the tutorial's budget {tables.interval_text(gap, 3)}"
    longer = (Place(ARMS[0], "constant", 1, LONGER * UPDATES), Place(ARMS[0], "constant", LARGER, UPDATES))
    reached = {place: _typical(found[place]) for place in longer if place in found}
    reason = "; ".join([*map(str, both), said, *(f"{place}: {tables.interval_text(each, 3)}" for place, each in reached.items())])
    if not gap.low > GAP:
        training = "no gap"
    elif any(each.low > LEARNED for each in reached.values()):
        training = "slower to train"
    else:
        training = "the gap stands" if len(reached) == len(longer) else ""
    if not training:
        reason += "; longer training is not run: preset small"
    return Verdict(", ".join(filter(None, (reproduced, training))), reason)


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of the tutorial: of its gap, and of what is left of it where the vector is trained longer, or both well."""
    found, first, tuned = _placed(rows), Place(ARMS[1], "constant", 1, UPDATES), Place(ARMS[1], "cosine", 1, UPDATES)
    tutorial, ours, gap = "machinelearningmastery.com", "asked here of machinelearningmastery.com", "The gap between attention and a vector"
    pairs = {
        "With attention two of five symbols are repeated better after 5,000 updates of one example": (first, first._replace(arm=ARMS[0])),
        f"{gap} stays where the vector has {LONGER} times the updates": (first, first._replace(arm=ARMS[0], budget=LONGER * UPDATES)),
        f"{gap} stays where the vector has {LARGER} examples an update": (first, first._replace(arm=ARMS[0], batch_size=LARGER)),
        f"{gap} stays where rates are tuned": (tuned, tuned._replace(arm=ARMS[0])),
    }
    made = []
    for claim, pair in pairs.items():
        if all(place in found for place in pair):
            sides = [intervals.typical(*_counts(found[place])) for place in pair]
            number, source = f"exact match, {pair[0]} − {pair[1]}", ours if claim.startswith(gap) else tutorial
            made.append(said.of_interval(claim, source, number, partial(intervals.typical_difference, *sides), GAP))
    return made


def reproductions(found: Mapping[Place, list[dict]], readouts: Sequence[str] = (READOUT, THEIRS)) -> list[Reproduction]:
    """Returns the published arms beside those of `found` that ran as the tutorial's, by each of the readouts."""
    made = []
    for place in (Place(arm, "constant", 1, UPDATES, readout) for readout in readouts for arm in PUBLISHED):
        published = PUBLISHED[place.arm]
        if rows := found.get(place):
            ours = shares(rows)
            expected = intervals.prediction(ours, rows[0]["examples"], len(published), SAMPLES)
            theirs = intervals.student(published)
            made.append(Reproduction(place.named, theirs, _mean(rows), expected, intervals.welch(ours, published)))
    return made


def shares(rows: Sequence[Mapping]) -> list[float]:
    """Returns exact match of every reported seed of a run, in order of seeds."""
    return [row["exact_match"] for row in sorted(_free(rows), key=lambda row: row["seed"])]


def figures(rows: list[dict]) -> dict:
    """Draws every seed of every run beside the published repeats, and the rate curves of the runs that have some."""
    found = _placed(rows)
    lines = []
    for place, of_place in found.items():
        theirs = PUBLISHED.get(place.arm, ()) if place[1:4] == ("constant", 1, UPDATES) else ()
        label = f"{place.named}, {place.budget:,} × {place.batch_size}{', tuned' if place.schedule == 'cosine' else ''}"
        lines.append(Repeats(label, place.arm, shares(of_place), _mean(of_place), theirs))
    drawn = {
        "repeats": repeats.repeats(lines, "The first 2 of 5 symbols: outputs that are entirely right", "exact match; updates × examples")
    }
    for group, of_group in tables.grouped([row for rows in found.values() for row in rows], GROUP).items():
        if curves := scoring.curves(of_group):
            drawn[f"rates_{group}".replace(" ", "_")] = ladders.rate_curves(curves, f"Rate curves, {group}")
    return drawn


def _placed(rows: Sequence[dict]) -> dict[Place, list[dict]]:
    """Groups rows by place, in order of appearance, selection seeds included."""
    found: dict[Place, list[dict]] = {}
    for row in rows:
        place = Place(row["attention"], row["schedule"], row["batch_size"], row["budget"], row.get("readout", READOUT))
        found.setdefault(place, []).append(row)
    return {place: of_place for place, of_place in found.items() if _free(of_place)}


def _free(rows: Sequence[Mapping]) -> list[Mapping]:
    return [row for row in rows if standings.is_reported(row) and row.get("mode") == "free"]


def _mean(rows: Sequence[Mapping]) -> Interval:
    """Returns the mean over seeds with Student's interval, which ends at 0 and 1."""
    found = intervals.student(shares(rows))
    return found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0)) if found.n > 1 else found


def _typical(rows: Sequence[Mapping]) -> Interval:
    return intervals.typical_seed(*_counts(rows))


def _counts(rows: Sequence[Mapping]) -> tuple[list[int], list[int]]:
    """Returns exact outputs and examples of every reported seed."""
    free = _free(rows)
    return [row["exact"] for row in free], [row["examples"] for row in free]


def _runs_table(found: Mapping[Place, list[dict]]) -> Table:
    lines = []
    for place, rows in found.items():
        ours, row = shares(rows), _free(rows)[0]
        numbers = (f"{place.batch_size}", f"{place.budget:,}", f"{row['learning_rate']:g}", f"{row['parameters']:,}", str(len(ours)))
        exact = (tables.interval_text(_mean(rows), 3), tables.interval_text(_typical(rows), 3), f"{min(ours):.3f} to {max(ours):.3f}")
        lines.append((place.named, place.schedule, *numbers, *exact, f"{row['seconds']:.0f}"))
    header = ("arm", "schedule", "examples", "updates", "rate", "parameters", "seeds", "mean", "typical seed", "seeds from, to", "seconds")
    return Table("Outputs that are entirely right, free running, on examples of their own; examples: of an update", header, lines)


def _published_table(found: Sequence[Reproduction]) -> Table:
    lines = []
    for each in found:
        numbers = (each.published, each.ours, each.expected, each.difference)
        lines.append((each.named, *(tables.interval_text(number, 3) for number in numbers), "yes" if each.holds else "no"))
    new = f"{len(PUBLISHED['summary'])} new repeats of {SAMPLES} samples"
    return Table("Published and ours", ("arm", "published", "ours", new, "ours − published", "reproduced"), lines)


def _gaps_table(found: Mapping[Place, list[dict]]) -> Table:
    lines = []
    for place, rows in found.items():
        fixed = place._replace(arm=ARMS[0])
        if place.arm == ARMS[1] and fixed in found:
            gap = intervals.difference(_typical(rows), _typical(found[fixed]))
            lines.append((place.schedule, f"{place.batch_size}", f"{place.budget:,}", place.readout, tables.interval_text(gap, 3)))
    return Table("Gap of typical seeds", ("schedule", "examples", "updates", "readout", f"{ARMS[1]} − {ARMS[0]}"), lines)
