"""Reading the source backwards: what it gains without attention and with it, in symbols and in updates

Claim. Sutskever, Vinyals and Le (2014) fed the source to their encoder in reverse, and perplexity fell from 5.8 to 4.7: the first words of
both sides are then close. Is that more memory, or the same memory for fewer updates? And is anything left of it with attention, which
looks at all positions?

Source. Sutskever 2014, sections 3.3 and 3.4. His LSTM of four layers hands over 8,000 numbers and had no trouble with long sentences.
Nothing here is a test of that: at 8 numbers, of GRU, an encoder of two or four layers says what depth adds to a small vector.
Expected. "reversal moves the budget, none with attention" of tiny and small.
    python -m experiments.run --experiment=reversal --preset=tiny --choose_rates

Arms. `summary`, `none` and `additive` as in bottleneck, each with `model.direction` forward, reversed and both. The direction is what is
compared, within an arm: data, data order, start, decoder, budget and the size d of the vector are the same. "Both" has twice the encoder,
and hands over as many numbers. One layer; two and four in encoder and decoder alike, for the first fixed arm and for attention.

Data. As in bottleneck: copy of 8 symbols, one source in 8 is never trained on and alone tested on, only trained lengths are tested.
Where along the sequence the gain falls: wrong symbols of each position, teacher-forced, are counted behind the training. Shown is what
reading backwards changes in the first, middle and last third of positions, paired by seed, at K and the length nearest to L50 of forward.

Rates. Per arm, direction, depth and budget: each rate of the grid, 4 selection seeds that are never reported, the whole budget.

Verdict, fixed before the runs: of `summary` at one layer. gain = L50 reversed − L50 forward, paired by seed, Student's interval, at every
budget. K is the largest budget at which no seed's L50 is a bound. k is the multiple of the updates at which forward is as far as reversed
(`gains.worth`). The p of a gain is corrected for all fixed arms and depths (Holm).
  reversal moves L50            the gain at K lies above 0, and forward has stopped: its last doubling gained less than 0.5, upper bound
  reversal moves the budget     the gain at K lies above 0, and forward has not stopped; or it lay above 0 at a smaller budget, p corrected
                                for their number, and at K is within 0.5 of 0
  reversal hurts                the gain at K lies below 0
  no gain                       at K it is within 0.5 of 0, and it never lay above 0
  inconclusive                  else; or a run, a seed (8) or a rate curve is missing, or a best rate lies at an edge of its grid
and, after a comma, of attention at one layer, by exact match on the long half at its largest budget, reversed − forward, paired:
  none with attention           its interval is within 0.1 of 0
  some with attention           it lies above 0, and not within 0.1 of 0
  attention undecided           else; or in neither direction has the typical seed learned the long half, lower bound at least 0.5

Presets. tiny and small have H = 16, where d = 8 is what limits, and four layers take minutes. tiny: one layer, forward and reversed, 400
to 3,200 updates; 7 minutes with kept rate curves, 17 where they are measured. small: both directions, two and four layers, up to 6,400
updates; 150 minutes, most of them for rate curves. full: lengths 1 to 50, H = 256, d = 32, for an accelerator. Minutes: 2 CPU cores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data.sources import Source
from attention_jax.report import findings as said
from attention_jax.report import gained, positions, scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.figures.ladders import Line
from attention_jax.report.findings import Finding
from attention_jax.report.gained import Gain
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import PROGRESS, Verdict
from attention_jax.sweeps import positions as measured
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
PAPERS = ("sutskever2014",)
ARMS = ("summary", "none", "additive")
GROUP = ("cell", "hidden_size", "vector_size", "layers", "direction")
FIELDS = ("model.layers", "model.direction")

FORWARD, REVERSED, BOTH = "forward", "reversed", "both"
SUTSKEVER = "Sutskever, Vinyals, Le 2014"
SEEDS = 8
"""The fewest that a verdict needs."""
LEVEL = (1 - intervals.CONFIDENCE) / 2
"""One-sided, of a corrected p."""
NONE, LEARNED = 0.1, 0.5
"""Exact match on the long half: a smaller difference is none; the least that counts as learned."""

TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16, vector_size=8),
    data=DataConfig(
        task="copy", symbols=8, shortest=1, longest=16, held_out=8, eval_lengths=(3, 4, 5, 6, 8, 10, 12, 14, 16), eval_examples=512
    ),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=1600,
    ),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, embedding_size=64, vector_size=32),
    data=replace(TINY.data, longest=50, eval_lengths=(3, 4, 5, 6, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50)),
    training=replace(TINY.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)


class Preset(NamedTuple):
    """A ladder is its smallest budget, in updates, and how many rungs there are, each twice the one before."""

    base: Config
    directions: tuple[str, ...]
    ladders: Mapping[int, tuple[int, int]]  # {layers: the fixed arms' ladder}
    attention: tuple[int, int]


EACH = (FORWARD, REVERSED, BOTH)
TABLE = {
    "tiny": Preset(TINY, (FORWARD, REVERSED), {1: (400, 4)}, (200, 3)),
    "small": Preset(TINY, EACH, {1: (400, 5), 2: (800, 3), 4: (800, 3)}, (200, 3)),
    "full": Preset(FULL, EACH, {1: (1_000, 6), 2: (1_000, 6), 4: (1_000, 6)}, (1_000, 3)),
}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every depth, arm, direction and budget; deeper than one layer the first fixed arm alone stands for all."""
    base, directions, fixed_ladders, attention = TABLE[preset]
    fixed = [arm for arm in arms if arm in fixed_vectors()]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm, direction=direction, layers=layers, decoder_layers=layers),
            training=replace(base.training, updates=first * 2**rung),
        )
        for layers, ladder in fixed_ladders.items()
        for arm in arms
        if layers == 1 or arm not in fixed[1:]
        for first, rungs in [ladder if arm in fixed else attention]
        for direction in directions
        for rung in range(rungs)
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as summary-reversed-gru-h16-d8-l1-u800."""
    model = config.model
    sizes = f"{model.cell}-h{model.hidden_size}-d{model.vector_size}-l{model.layers}"
    return f"{model.attention}-{model.direction}-{sizes}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for data whose outputs are not the symbols of the source."""
    measured.check(config)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row per trained length and position: wrong symbols."""
    return measured.wrong(trained, source)


class Contrast(NamedTuple):
    """An arm at one depth: what reading backwards gains over forward at each budget, and what reading both ways does."""

    group: Group
    arm: str
    backward: list[Gain]
    both: list[Gain]

    @property
    def name(self) -> str:
        """Depth and arm."""
        return f"{self.group.name}, {self.arm}"

    @property
    def last(self) -> Gain | None:
        """The gain at K; None where L50 is a bound at every budget."""
        return next((each for each in reversed(self.backward) if each.gain.low == each.gain.low), None)


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of every depth (by length, by budget, rate curves), gains, verdicts, and the verdict of the first."""
    found, shown = _groups(rows), []
    for group in found:
        shown += [scoring.by_length(group), scoring.by_budget(group)]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
    contrasts = [contrast(group, arm) for group in found for arm in _bases(group) if arm in fixed_vectors()]
    shown += [table for table in (_gains_table(contrasts), _positions_table(contrasts), _attention_table(found)) if table.rows]
    adjusted = intervals.holm({each.name: min(last.p, 1 - last.p) for each in contrasts if (last := each.last)})
    verdicts = {each.name: judge(each, adjusted.get(each.name, 1.0)) for each in contrasts}
    lines = [(name, str(each), tables.p_text(each.p), each.reason) for name, each in verdicts.items()]
    title = "Verdicts; p of the gain at K, corrected for all of this table (Holm)"
    shown.append(Table(title, ("group, arm", "verdict", "p", "why"), lines))
    first = next(iter(verdicts.values()), Verdict("inconclusive", "no fixed vector was run", failed=("missing",)))
    return Score(_with_attention(first, found[0]), shown, _budget_text(found[0]))


def contrast(group: Group, arm: str) -> Contrast:
    """Returns what an arm gains at one depth."""
    return Contrast(group, arm, *(gained.over(group, _named(arm, each), _named(arm, FORWARD)) for each in (REVERSED, BOTH)))


def judge(found: Contrast, p: float) -> Verdict:
    """Judges a contrast by the rule above; `p` is that of its gain at K, two-sided halved and corrected."""
    if need := _lacking(found):
        return Verdict("inconclusive", f"missing: {need.why}", failed=("missing",), needs=(need,))
    if found.last is None:
        return Verdict("inconclusive", "at every budget L50 of a seed is a bound", failed=("bounds",))
    value = _value(found, found.last, p <= LEVEL)
    return Verdict(value, _reason(found, found.last), p=p, failed=("gain",) if value == "inconclusive" else ())


def _value(found: Contrast, last: Gain, sure: bool) -> str:
    """Returns the word for the gain at K, which is `sure` where its corrected p is small."""
    if last.gain.low > 0 and sure:
        stopped = last.growth is not None and last.growth.high < PROGRESS
        return "reversal moves L50" if stopped else "reversal moves the budget"
    if last.gain.high < 0 and sure:
        return "reversal hurts"
    if last.gain.low > -PROGRESS and last.gain.high < PROGRESS:
        return "reversal moves the budget" if _before(found, last) else "no gain"
    return "inconclusive"


def _before(found: Contrast, last: Gain) -> list[Gain]:
    """Returns the gains at smaller budgets than K that lie above 0, p corrected for their number (Bonferroni)."""
    smaller = [each for each in found.backward if each.budget < last.budget]
    return [each for each in smaller if each.gain.low > 0 and each.p * len(smaller) <= LEVEL]


def _reason(found: Contrast, last: Gain) -> str:
    """Returns the numbers of a verdict: the gain at K, its price at the largest budget that has one, and how fast forward grows."""
    parts = [f"at {last.budget:,} updates L50 reversed − forward {tables.interval_text(last.gain, 2)}"]
    parts += [f"at {each.budget:,} {tables.interval_text(each.gain, 2)}" for each in _before(found, last)[-1:]]
    parts += [f"k at {each.budget:,} {tables.multiple_text(*each.worth)}" for each in found.backward if each.worth[1] == "="][-1:]
    parts += [f"forward's last doubling {tables.interval_text(last.growth, 2)}"] if last.growth else []
    return ", ".join(parts)


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of Sutskever 2014: of a reversed source, and of the deepest reversed encoder-decoder and long inputs."""
    made, found = [], _groups(rows)
    shallow = contrast(found[0], _bases(found[0])[0])
    if shallow.last:
        number = f"symbols of L50, reversed − forward, {shallow.name}, {shallow.last.budget:,} updates"
        gain, p = shallow.last.gain, intervals.two_sided(shallow.last.p)
        made.append(Finding("A fixed vector reads the source better in reverse", SUTSKEVER, number, gain, p))
    deepest = max(found, key=lambda group: group.rows[0]["layers"])
    arm = _named(_bases(deepest)[0], REVERSED)
    if deepest is not found[0] and (budgets := deepest.budgets(arm)):
        right = [exact / examples for exact, examples in scoring.long_by_seed(deepest, arm, budgets[-1]).values()]
        size = f"{deepest.rows[0]['vector_size']:,} numbers (his had 8,000)"
        number = f"exact match on lengths {deepest.long[0]} to {deepest.long[-1]}, {deepest.name}, {arm}, {budgets[-1]:,} updates"
        claim = f"A deep encoder that reads in reverse has no difficulty with long inputs, at {size}"
        made.append(said.of_seeds(claim, f"after {SUTSKEVER}", number, right, 0.9))
    return made


def figures(rows: list[dict]) -> dict:
    """Draws, for each depth, exact match by length beside L50 by budget, symbol errors by length, and rate curves."""
    drawn = {}
    for group in _groups(rows):
        stem, ends = group.name.replace(" ", "_"), (min(group.trained), max(group.trained))
        lines = [_line(group, arm) for arm in group.arms]
        title = f"{group.rows[0]['task']}, {group.name}: outputs that are entirely right"
        drawn[f"directions_{stem}"] = ladders.lengths_and_budgets(lines, title=title, trained=ends, note=_note(group))
        drawn[f"symbol_errors_{stem}"] = curves.length_curves(
            {arm: standings.exact_match(group.tested(arm, group.budgets(arm)[-1], "forced")) for arm in group.arms},
            title=f"{group.name}: wrong symbols by length, true symbols before them",
            ylabel="share of symbols that are wrong",
            trained=ends,
            line_label=f"typical seed; {_note(group)}",
            percent=False,
        )
        if found := scoring.curves(group.rows):
            drawn[f"rates_{stem}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn


def _groups(rows: Sequence[dict]) -> list[Group]:
    """Groups rows by all but arm, direction and budget; within a group an arm is a mechanism and its direction."""
    found = []
    for group, of_group in tables.grouped(rows, GROUP[:-1]).items():
        named = [row | {"attention": _named(row["attention"], row["direction"])} for row in of_group]
        fixed = [_named(arm, direction) for arm in fixed_vectors() for direction in (FORWARD, REVERSED, BOTH)]
        found.append(Group(group, named, fixed))
    return found


def _named(arm: str, direction: str) -> str:
    return f"{arm}, {direction}"


def _bases(group: Group) -> list[str]:
    """Returns the mechanisms of a group, in order of appearance."""
    return list(dict.fromkeys(arm.partition(",")[0] for arm in group.arms))


def _lacking(found: Contrast) -> Need | None:
    """Returns what a verdict lacks: a run, a seed, a rate curve, or a best rate within its grid; None where there is all of it."""
    group, of_arm = found.group, [_named(found.arm, direction) for direction in (FORWARD, REVERSED)]
    budgets = {arm: group.budgets(arm) for arm in of_arm}
    if not budgets[of_arm[0]] or budgets[of_arm[0]] != budgets[of_arm[1]]:
        why = " and ".join(f"{arm} at {', '.join(map(str, each)) or 'no budget'}" for arm, each in budgets.items())
        return Need(found.arm, max((budget for each in budgets.values() for budget in each), default=0), "reported", SEEDS, (), why)
    for arm in of_arm:
        for budget in budgets[arm]:
            here = f"{arm} at {budget:,} updates"
            seeds = group.tested(arm, budget).seeds
            if len(seeds) < SEEDS or seeds != group.tested(of_arm[0], budget).seeds:
                why = f"{here} has seeds {seeds}; needed are {SEEDS}, the same in both directions"
                return Need(found.arm, budget, "reported", max(1, SEEDS - len(seeds)), (), why)
            if need := scoring.lacking(group.rows, arm, budget):
                return need._replace(arm=found.arm, why=f"{here}: {need.why}")
    return None


def _with_attention(first: Verdict, group: Group) -> Verdict:
    """Adds what attention gains; an inconclusive verdict keeps its word."""
    arm = next((arm for arm in _bases(group) if arm not in fixed_vectors()), None)
    budgets = _shared(group, arm) if arm else []
    found = _of_attention(group, arm, budgets[-1]) if arm and budgets else None
    if found is None:
        return first._replace(reason=f"{first.reason}; attention was not run in both directions")
    word, said = found
    value = first.value if first.value == "inconclusive" else f"{first.value}, {word}"
    return first._replace(value=value, reason=f"{first.reason}; {arm}: {said}")


def _shared(group: Group, arm: str) -> list[int]:
    """Returns the budgets of an arm, if it has the same ones in both directions."""
    forward, backward = (group.budgets(_named(arm, each)) for each in (FORWARD, REVERSED))
    return forward if forward == backward else []


def _of_attention(group: Group, arm: str, budget: int) -> tuple[str, str] | None:
    """Returns the words for what attention gains at a budget, and its numbers; None where a seed of a direction is missing."""
    tested = [group.tested(_named(arm, each), budget) for each in (FORWARD, REVERSED)]
    if tested[0].seeds != tested[1].seeds:
        return None
    long = [each.at(group.long) for each in tested]
    forward, backward = (dict(zip(each.seeds, each.count_RxL.sum(1) / each.total_RxL.sum(1), strict=True)) for each in long)
    gain = intervals.paired(backward, forward)
    said = f"exact match on {group.long[0]}–{group.long[-1]} at {budget:,} updates, reversed − forward, {tables.interval_text(gain, 3)}"
    learned = any(standings.pooled(each, group.long).low >= LEARNED for each in tested)
    if not learned or not gain.n > 1:
        return "attention undecided", f"{said}, not learned" if not learned else said
    if gain.low > -NONE and gain.high < NONE:
        return "none with attention", said
    return "some with attention" if gain.low > 0 else "attention undecided", said


def _line(group: Group, arm: str) -> Line:
    """Returns the line of an arm and direction; directions are shades of their arm's colour."""
    budgets = group.budgets(arm)
    tested = {budget: group.tested(arm, budget) for budget in budgets}
    l50 = {budget: standings.critical(each) for budget, each in tested.items() if len(each.trained) > 1} if arm in group.fixed else {}
    return Line(arm, arm.partition(",")[0], standings.exact_match(tested[budgets[-1]]), l50)


def _budgets(group: Group) -> str:
    """Returns the largest budget of every mechanism, as text."""
    arms = {base: max(group.budgets(arm)[-1] for arm in group.arms if arm.startswith(f"{base},")) for base in _bases(group)}
    return ", ".join(f"{base} after {budget:,} updates" for base, budget in arms.items())


def _note(group: Group) -> str:
    return f"{_budgets(group)}; {min(group.examples.values()):,} examples a length"


def _budget_text(group: Group) -> str:
    """Returns the seeds and budgets that go with the verdict, as text."""
    seeds = len({row["seed"] for row in standings.reported(group.rows)})
    return f"with {seeds} seeds, {_budgets(group)} and less, each budget a run of its own"


def _gains_table(found: Sequence[Contrast]) -> Table:
    lines = []
    for each in found:
        for direction, of_direction in ((REVERSED, each.backward), (BOTH, each.both)):
            for gain in of_direction:
                l50 = (tables.critical_text(*gain.theirs), tables.critical_text(*gain.ours))
                difference = tables.interval_text(gain.gain, 2) if gain.gain.low == gain.gain.low else "–"
                at = (each.group.name, each.arm, direction, f"{gain.budget:,}")
                lines.append((*at, *l50, difference, tables.multiple_text(*gain.worth)))
    header = ("group", "arm", "direction", "updates", "L50 forward", "L50", "gain, paired by seed", "k")
    return Table("Gains over forward; k: forward is as far after k times the updates", header, lines)


def _positions_table(found: Sequence[Contrast]) -> Table:
    """Tabulates where along the sequence reading backwards gains, at K, where both directions were measured on the same seeds."""
    compared = []
    for each in found:
        arms, budget = [_named(each.arm, direction) for direction in (REVERSED, FORWARD)], each.last.budget if each.last else 0
        length = positions.nearest(each.group, arms[1], budget)[0] if budget else None
        ours, theirs = (positions.read(each.group.rows, arm, budget, length) for arm in arms) if length else (None, None)
        if ours and theirs and ours.seeds == theirs.seeds:
            compared.append((each.group.name, ours, theirs))
    return positions.gains_table(compared, "forced", "Where the gain falls: wrong symbols, true ones before them,")


def _attention_table(found: Sequence[Group]) -> Table:
    lines = []
    for group in found:
        for arm in _bases(group):
            for budget in _shared(group, arm) if arm not in fixed_vectors() else ():
                if made := _of_attention(group, arm, budget):
                    lines.append((group.name, arm, f"{budget:,}", *made))
    return Table("Gains with attention; the largest budget is the verdict's", ("group", "arm", "updates", "in words", "measured"), lines)
