"""Where a vector breaks: which symbols of a string go first, what stands in their place, and what a probe still reads

Claim. A vector that is too small for a string does not lose it evenly. Which positions go first, those that were read first or last? Are
wrong symbols the string's own at other places (order), or foreign to it (identity)? And does the vector still hold what the decoder gets
wrong?

Source. The lecture notes' sentence that a fixed vector has forgotten the first part of a long input; Hewitt & Liang 2019 for the probe.
Expected. "the middle symbols go first, a line reads no more than the decoder says" of tiny and of small.
    python -m experiments.run --experiment=anatomy --preset=small --choose_rates

Arms. `summary`, the vector as start and as context of every step, is what the verdict is of. `additive`, attention with the same start,
stands beside: its errors say what of the pattern is the task's, its vector what is kept where nothing has to be. Encoders read forward,
and in both directions, where the vector is made of the last state of each.

Data. Copy of 16 symbols, so that output t is input t and symbols absent from a string are many. One source in 8 is never trained on, and
alone tested on, 512 examples a length. Only trained lengths are tested; they reach beyond L*, the mean over seeds of the length at which
half of the outputs are right.

Measured, of every seed, trained length from 3 on, and position: wrong symbols teacher-forced, which errors before do not touch, and free
running. Of the latter, those that the source has elsewhere and those that it has not; and how many it would not have, were wrong symbols
drawn evenly (`statistics.positions`): order is 1 for shuffled sources, 0 for random strings. A linear probe of the vector, one for each
length and position, fitted to 2,048 strings of those that may be trained on, penalty 1, 200 accelerated steps of Newton's kind; right
symbols on the held-out strings of the other counts. Its control task has random labels of pairs of symbols, to be memorised alone
(`statistics.probes`, after Hewitt & Liang 2019). A linear probe is a lower bound of what the vector holds.

Rates. Per arm, direction, size and budget: each rate of the grid, 4 selection seeds that are never reported, the whole budget.
    python -m experiments.run --experiment=anatomy --choose_rates --keep_rates=experiments/curves/anatomy.jsonl

Verdict, fixed before the runs: of `summary` reading forward, at its largest budget and the tested length nearest to L*. Thirds are the
first and last ⌊l/3⌋ positions and those between. Their shares of wrong symbols, teacher-forced, are compared in pairs by seed, Student's
two-sided test at 0.05, corrected for the three pairs (Holm).
  the first (middle, last) symbols go first      its third is above both others
  all but the first (middle, last) … go first    its third is below both others, which cannot be told apart
  no order                                       all three 95 % intervals lie within 0.05 of 0
  inconclusive                                   else; or L* is a bound; or attention's exact match at that length has not a lower bound
                                                 of 0.5; or a run, a seed (8), a measurement or a rate curve is missing or ends at an edge
and, after a comma, of the probe's right symbols less the decoder's, by third, paired by seed, corrected for the three thirds (Holm):
  the vector knows more than the decoder says    at least 0.05 and above 0 in a third in which selectivity, probe − control, has a lower
                                                 bound above 0
  a line reads no more than the decoder says     every interval ends below 0.05
  the probe is undecided                         else
The "at least 0.05" is younger than the runs of tiny: before it, their 0.01 [0.00, 0.02] in the first third was "more".

Presets. tiny: H = 16, d = 8, lengths 1 to 12, 800 and 3,200 updates, 8 seeds. small: H = 32, d = 8 in both directions and d = 16, lengths
1 to 16, 1,600 and 6,400. full: H = 256, d = 32, lengths 1 to 50, for an accelerator. On 2 quiet CPU cores an update of 8 seeds takes 9 ms
in tiny and 30 ms in small, a third more in both directions; each arm and direction compiles for half a minute, and a seed is probed in two
seconds. So tiny trains for 3 minutes and takes 7 with kept rate curves, 15 where they are measured; small takes 25, and 75.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data.sources import Source
from attention_jax.report import findings as said
from attention_jax.report import positions, scoring, standings, tables
from attention_jax.report.figures import ladders
from attention_jax.report.figures import positions as drawing
from attention_jax.report.figures.positions import Line
from attention_jax.report.findings import Finding
from attention_jax.report.positions import Counts
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals
from attention_jax.statistics import positions as rules
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import LEARNED, Need
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import positions as measured
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
PAPERS = ("hewitt2019",)
ARMS = ("summary", "additive")
GROUP = ("cell", "hidden_size", "vector_size", "direction")
FIELDS = ("model.direction", "data.symbols")
SEEDS = 8
"""The fewest that a verdict needs."""
MORE, NO_MORE, UNDECIDED = (
    "the vector knows more than the decoder says",
    "a line reads no more than the decoder says",
    "the probe is undecided",
)

TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16, vector_size=8),
    data=DataConfig(
        task="copy", symbols=16, shortest=1, longest=12, held_out=8, eval_lengths=(3, 4, 5, 6, 7, 8, 9, 10, 12), eval_examples=512
    ),
    training=TrainingConfig(
        seeds=8, batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600
    ),
)
SMALL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=32, embedding_size=32),
    data=replace(TINY.data, longest=16, eval_lengths=(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16)),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, embedding_size=64),
    data=replace(TINY.data, longest=50, eval_lengths=(3, 4, 6, 8, 10, 12, 15, 18, 21, 24, 27, 30, 35, 40, 45, 50)),
    training=replace(TINY.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)


class Preset(NamedTuple):
    """Places are (d, direction), the claim's own first."""

    base: Config
    places: tuple[tuple[int, str], ...]
    budgets: tuple[int, ...]


TABLE = {
    "tiny": Preset(TINY, ((8, "forward"), (8, "both")), (800, 3_200)),
    "small": Preset(SMALL, ((8, "forward"), (8, "both"), (16, "forward")), (1_600, 6_400)),
    "full": Preset(FULL, ((32, "forward"), (32, "both"), (64, "forward")), (8_000, 32_000)),
}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every size, direction, arm and budget."""
    base, places, budgets = TABLE[preset]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm, vector_size=d, direction=direction),
            training=replace(base.training, updates=budget),
        )
        for d, direction in places
        for arm in arms
        for budget in budgets
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as summary-forward-gru-h16-d8-u3200."""
    model = config.model
    return f"{model.attention}-{model.direction}-{model.cell}-h{model.hidden_size}-d{model.vector_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for data whose target is not its source, and a model without a vector."""
    measured.check_read(config)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row per trained length and position: wrong symbols, and what a probe reads of the vector."""
    return measured.wrong_and_read(trained, source)


class Place(NamedTuple):
    """What was measured in a group at one length: counts of each arm at its largest budget, and L* of the fixed one as text."""

    group: Group
    primary: str
    length: int
    l50: str
    counts: dict[str, Counts]


class Probed(NamedTuple):
    """A third: right symbols of the probe, less those of its control task, and less the decoder's; p of the latter, corrected."""

    probe: Interval
    control: Interval
    selectivity: Interval
    beyond: Interval
    p: float


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of every group, and the verdict of the first."""
    found = scoring.groups(rows, GROUP, fixed_vectors())
    shown: list[Table] = []
    for group in found:
        shown += [scoring.by_length(group), scoring.by_budget(group)]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
    near = [place for group in found if (place := at(group))]
    for place in near:
        fields = {"forced": "wrong", "free": "wrong, free", "probe": "probe", "control": "control"}
        shown.append(positions.positions_table(place.group.name, list(place.counts.values()), fields))
    every = [(place.group.name, counts) for place in near for counts in place.counts.values()]
    every += [(group.name, counts) for group in found if (place := at(group, beyond=True)) for counts in place.counts.values()]
    if every := list({(group, each.arm, each.length): (group, each) for group, each in every}.values()):
        shown += [positions.thirds_table(every, field, what) for field, what in WRONG.items()]
        shown += [positions.order_table(every), probed_table(every)]
    verdicts = {group.name: judge(group) for group in found}
    lines = [(name, each.value, tables.p_text(each.p), each.reason) for name, each in verdicts.items()]
    shown.append(Table("Verdicts of each group; p is the largest of the differences that the first part rests on", HEADER, lines))
    return Score(next(iter(verdicts.values())), shown, scoring.budget_text(found[0]))


WRONG = {"forced": "Wrong symbols, true ones before them,", "free": "Wrong symbols, free running,"}
HEADER = ("group", "verdict", "p", "why")


def at(group: Group, beyond: bool = False) -> Place | None:
    """Returns what was measured at the length nearest to L* of the first fixed arm, or at the longest; None where nothing was."""
    if not group.fixed:
        return None
    primary = group.fixed[0]
    last = {arm: group.budgets(arm)[-1] for arm in group.arms}
    length, l50 = positions.nearest(group, primary, last[primary])
    length = max(group.trained) if beyond else length
    counts = {arm: each for arm in group.arms if length and (each := positions.read(group.rows, arm, last[arm], length))}
    return Place(group, primary, length, l50, counts) if length and primary in counts else None


def judge(group: Group) -> Verdict:
    """Judges a group by the rule above."""
    if not (group.fixed and group.attention):
        return Verdict("inconclusive", "the rule wants a fixed vector and attention, and the rows do not have both", failed=("missing",))
    needs = lacking(group)
    if needs:
        return Verdict("inconclusive", f"missing: {needs[0].why}", failed=("missing",), needs=needs)
    primary, place = group.fixed[0], at(group)
    budget = group.budgets(primary)[-1]
    if place is None:
        l50 = positions.nearest(group, primary, budget)[1]
        return Verdict("inconclusive", f"L* of {primary} at {budget:,} updates is {l50}, or nothing was measured there", failed=("bounds",))
    if absent := [arm for arm in (primary, group.attention) if not is_measured(group, place, arm)]:
        return Verdict("inconclusive", f"{absent[0]} is not measured for every seed at length {place.length}", failed=("missing",))
    learned = standings.pooled(group.tested(group.attention, group.budgets(group.attention)[-1]), [place.length])
    if learned.low < LEARNED:
        why = f"{group.attention} has exact match {tables.interval_text(learned)} at length {place.length}"
        return Verdict("inconclusive", f"{why}: errors may be the task's", failed=("learned",))
    return worded(place)


def is_measured(group: Group, place: Place, arm: str) -> bool:
    """Returns whether every reported seed of an arm was measured."""
    return arm in place.counts and place.counts[arm].seeds == group.tested(arm, place.counts[arm].budget).seeds


def lacking(group: Group) -> tuple[Need, ...]:
    """Returns what the fixed arm and attention lack at their largest budgets: seeds, or rate curves within their grids."""
    found = []
    for arm in (group.fixed[0], group.attention or ""):
        budget = group.budgets(arm)[-1]
        seeds = len(group.tested(arm, budget).seeds)
        if seeds < SEEDS:
            found.append(
                Need(arm, budget, "reported", SEEDS - seeds, (), f"{arm} at {budget:,} updates has {seeds} seeds, needed are {SEEDS}")
            )
        if need := scoring.lacking(group.rows, arm, budget):
            found.append(need._replace(why=f"{arm} at {budget:,} updates: {need.why}"))
    return tuple(found)


def worded(place: Place) -> Verdict:
    """Returns the words and the numbers of a place where nothing is missing."""
    counts = place.counts[place.primary]
    shares = {third: list(of_seeds.values()) for third, of_seeds in counts.by_third("forced").items()}
    found = rules.contrasts(shares)
    word = rules.goes_first(found)
    read = probed(counts)
    wrong = ", ".join(f"{third} {tables.interval_text(intervals.student(shares[third]))}" for third in rules.THIRDS)
    beyond = ", ".join(f"{third} {tables.interval_text(each.beyond)}" for third, each in read.items())
    reason = f"L* is {place.l50}; at length {place.length} the shares of wrong symbols are {wrong}; probe − decoder {beyond}"
    if word is None:
        open_pairs = ", ".join(" and ".join(pair) for pair, each in found.items() if each.p > rules.LEVEL)
        return Verdict("inconclusive", f"{reason}; not told apart: {open_pairs or 'no third stands out'}", failed=("order",))
    p = 1.0 if word == "no order" else max(each.p for pair, each in found.items() if rests_on(word, pair))
    return Verdict(f"{word}, {knows(read)}", reason, p=p)


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows of the first group say of first and last symbols, at the length nearest to L* and at the longest."""
    group, made = scoring.groups(rows, GROUP, fixed_vectors())[0], []
    for beyond, where in ((False, "of which half are right"), (True, "the longest trained")):
        if place := at(group, beyond):
            wrong = place.counts[place.primary].by_third("forced")
            number = f"wrong symbols, true ones before them, first − last third of {place.length} symbols, {where}"
            difference = [wrong["first"][seed] - wrong["last"][seed] for seed in wrong["first"]]
            claim = "Once it has read a long input, a fixed vector has forgotten the first part"
            made.append(said.of_seeds(claim, "lecture notes", number, difference))
    return made


def rests_on(word: str, pair: tuple[str, str]) -> bool:
    """Returns whether a word speaks of a pair of thirds: that third is one of the two."""
    return any(f" {third} symbols" in word for third in pair)


def probed(counts: Counts) -> dict[str, Probed]:
    """Returns what the probe reads of each third."""
    probe, control, wrong = (counts.by_third(field) for field in ("probe", "control", "forced"))
    beyond = {third: {seed: share - (1 - wrong[third][seed]) for seed, share in probe[third].items()} for third in rules.THIRDS}
    p = intervals.holm({third: intervals.student_p(list(of_seeds.values())) for third, of_seeds in beyond.items()})
    return {
        third: Probed(
            intervals.student(list(probe[third].values())),
            intervals.student(list(control[third].values())),
            intervals.paired(probe[third], control[third]),
            intervals.student(list(beyond[third].values())),
            p[third],
        )
        for third in rules.THIRDS
    }


def knows(read: Mapping[str, Probed]) -> str:
    """Returns the words for what the probe reads beside what the decoder says."""
    if any(each.beyond.mean >= rules.CLOSE and each.p <= rules.LEVEL and each.selectivity.low > 0 for each in read.values()):
        return MORE
    return NO_MORE if all(each.beyond.high < rules.CLOSE for each in read.values()) else UNDECIDED


def probed_table(found: Sequence[tuple[str, Counts]]) -> Table:
    """Tabulates what the probe reads of each third, beside its control task and the decoder."""
    lines = []
    for group, counts in found:
        for third, each in probed(counts).items():
            cells = (tables.interval_text(interval) for interval in each[:4])
            lines.append((group, counts.arm, f"{counts.budget:,}", str(counts.length), third, *cells, tables.p_text(each.p)))
    header = ("group", "arm", "updates", "length", "third", "probe", "control", "selectivity", "probe − decoder", "p, by Holm")
    return Table("Right symbols that a linear probe reads from the vector of held-out strings, mean over seeds", header, lines)


def figures(rows: list[dict]) -> dict:
    """Draws, for each group, errors by position at L* with what the probe reads, exact match by length, and rate curves."""
    drawn = {}
    for group in scoring.groups(rows, GROUP, fixed_vectors()):
        stem = group.name.replace(" ", "_")
        if place := at(group):
            drawn[f"positions_{stem}"] = drawn_at(place)
        drawn[f"lengths_{stem}"] = scoring.lengths_drawn(group)
        if found := scoring.curves(group.rows):
            drawn[f"rates_{stem}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn


def drawn_at(place: Place):
    """Draws errors by position, and what the probe, its control task and the decoder get right there."""
    errors = [Line(arm, arm, counts.by_position("forced")) for arm, counts in place.counts.items()]
    read = [
        Line(f"{arm}, {what}", arm, counts.by_position(field), style)
        for arm, counts in place.counts.items()
        for field, what, style in (("probe", "probe", "solid"), ("control", "control", "dashed"))
    ]
    right = {t: (1 - each.mean, 1 - each.high, 1 - each.low) for t, each in place.counts[place.primary].by_position("forced").items()}
    read.append(Line(f"{place.primary}, decoder", place.primary, right, "dotted"))
    budgets = ", ".join(f"{arm} after {counts.budget:,} updates" for arm, counts in place.counts.items())
    examples = place.counts[place.primary].examples
    return drawing.errors_and_probes(
        errors,
        read,
        luck=1 / place.group.rows[0]["alphabet"],
        title=f"Where it breaks: length {place.length}, {place.group.name}",
        note=f"{budgets}; L* of {place.primary} is {place.l50}; typical seed and 95 % interval, {examples} examples",
    )
