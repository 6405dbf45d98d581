"""Trainability: the least budget at which strings of a length are copied, by length, with and without attention

Claim. Longer strings take more updates to learn. Does the budget grow with the length as fast without attention as with it? U*(L, d, arm)
is the number of updates at which 0.95 of the strings of length L come out entirely right, after training on lengths 1 to L.

Source. Lecture notes, which say it without a number; the search of least budgets after Ebrahimi 2026.
Expected. "the vector's budget grows faster: L^3 without attention, L^0.7 with it" of small; less the warm-up L^3.2 and L^1.7.
    python -m experiments.run --experiment=trainability --preset=small --choose_rates

Arms. `summary`: the final state, projected to d numbers, starts the decoder and is the context of every step. `additive`: attention to
every state, the same start. --arms=none,summary,additive joins the vector that only starts the decoder. d is model.vector_size: encoder
and decoder keep their size. Small and full have a second d without attention; attention stands beside at the first.

Data. Copy of 8 symbols. One source in 8 is never trained on, and alone tested on, at length L, 512 examples.

Budgets. A ladder for each L and arm, fixed beforehand around the U* that the kept rate curves of bottleneck and trials of 2 other seeds led
to expect; each budget is a run of its own, its rate annealed to its own end. Rungs are a factor of 2 apart, with attention √2. The search
that doubles and then halves (Ebrahimi 2026, arXiv 2602.18333) would choose its runs as it goes, and a sweep is a list that is known before
the first run; a ladder ends in the same bracket. U* lies between two rungs: log-odds of exact match, counts pooled over seeds, made
monotone, are interpolated in log budget (`statistics.budgets`). Where the last rung stays below 0.95 U* is a lower bound, where the first
one is above an upper bound; --doublings lengthens every ladder. By seed the same is shown. The first 50 updates of every budget are
warm-up, a floor that weighs most on the smallest: exponents of U* less the warm-up stand beside those of U*.

Rates. Per L, arm, d and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that
cannot be told from the best. The verdict needs those of the two rungs that U* lies between; of a bound, that of its rung.
    python -m experiments.run --experiment=trainability --preset=tiny --choose_rates --keep_rates=experiments/curves/trainability.jsonl

Time. Seconds to U* are U* times the seconds of an update of all seeds: the smallest of seconds / updates over the runs of that L, so that
compiling counts least. They are of the machine that made the runs, with all else that ran on it: neighbouring lengths can differ by a
quarter without a reason in the arm, and exponents in time mean no more than that. They stand beside, and are no part of the verdict.

Verdict, fixed before the runs. The law is U* = c · L^b by least squares of log U* on log L, on lengths whose U* is exact, with Student's
interval on k − 2 degrees of freedom; a bound is no point. D = b of the first fixed arm at the first d − b of attention, by Welch's t.
  the vector's budget grows faster    the interval of D lies above 0
  attention's budget grows faster     it lies below 0
  they grow alike                     it lies within ±0.5
  inconclusive                        else; or an arm has fewer than four exact U*; or a rate curve is missing or ends at an edge, with what
                                      is missing
A U* without attention that grows by a constant factor per symbol is no power of L; b is then the mean steepness over these lengths. Its
exponential law stands beside, with the scatter of both. p of D is corrected for all fixed arms and d (Holm).

Presets. tiny: H = 16, d = 16, L = 3 to 8, 4 seeds; 3 minutes + 3 to compile, 12 to 16 more where its rate curves are measured. small: H =
32, d = 16 with L = 4 to 10 and d = 8 with L = 4 to 8; 14 minutes + 5, and 70 to 100 for its rate curves. full: H = 256, d = 64 and 32, L =
8 to 32, 8 seeds, for an accelerator. Minutes are of two quiet CPU cores, estimated as those of capacity: an update of four seeds on strings
of up to L symbols takes (L + 1) · 0.35 ms at H = 16 and 0.88 ms at H = 32, with attention half as much again; Σ updates · (L + 1) is 0.4
million in tiny and 0.95 in small; each length of an arm and d compiles for a quarter of a minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.report import least_budgets, scoring, tables
from attention_jax.report.figures import ladders, powers
from attention_jax.report.figures.capacities import Line
from attention_jax.report.findings import Finding
from attention_jax.report.least_budgets import REACHED, Series, budget_text, exact_table, laws_table, least_table
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals, laws
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.laws import Pooled
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.verdicts import NOTHING_TO_COMPARE, Verdict, missing
from attention_jax.system.errors import ConfigError

PRESETS = ("tiny", "small", "full")
PAPERS = ("tukey1958", "satterthwaite1946")
ARMS = ("summary", "additive")
FIELDS = ("data.longest", "data.eval_lengths")
GROUP = ("cell", "hidden_size", "vector_size")
ALIKE, LEVEL = 0.5, 0.05


def ladder(smallest: int, rungs: int, step: float = 2) -> tuple[int, ...]:
    """Returns so many budgets, each `step` times the one before, in multiples of 5 updates."""
    return tuple(5 * round(smallest * step**rung / 5) for rung in range(rungs))


class Preset(NamedTuple):
    """Ladders by length: of the fixed arms at each d, and of attention at the first of these."""

    base: Config
    fixed: Mapping[int, Mapping[int, tuple[int, ...]]]  # {d: {L: budgets}}
    attention: Mapping[int, tuple[int, ...]]  # {L: budgets}


TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16),
    data=DataConfig(task="copy", symbols=8, shortest=1, held_out=8, eval_examples=512),
    training=TrainingConfig(
        seeds=4, batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600
    ),
)
SMALL = replace(TINY, model=replace(TINY.model, hidden_size=32, embedding_size=32))
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, embedding_size=64),
    training=replace(
        TINY.training, seeds=8, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100
    ),
)
STEEP = 2**0.5
"""From one budget of attention to the next: it goes from little to nearly all within one doubling."""
TABLE = {
    "tiny": Preset(
        TINY,
        {16: {3: ladder(100, 4), 4: ladder(100, 5), 5: ladder(200, 5), 6: ladder(400, 4), 8: ladder(800, 5)}},
        dict.fromkeys((3, 4, 5, 6, 8), ladder(50, 7, STEEP)),
    ),
    "small": Preset(
        SMALL,
        {
            16: {4: ladder(50, 5), 5: ladder(100, 5), 6: ladder(200, 5), 7: ladder(400, 4), 8: ladder(400, 5), 10: ladder(800, 5)},
            8: {4: ladder(100, 5), 5: ladder(200, 5), 6: ladder(400, 5), 8: ladder(1_600, 4)},
        },
        dict.fromkeys((4, 5, 6, 7, 8, 10), ladder(50, 7, STEEP)),
    ),
    "full": Preset(
        FULL,
        {d: {8: ladder(250, 6), 12: ladder(250, 7), 16: ladder(500, 7), 24: ladder(500, 8), 32: ladder(1_000, 8)} for d in (64, 32)},
        dict.fromkeys((8, 12, 16, 24, 32), ladder(125, 11, STEEP)),
    ),
}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm, d, length and budget."""
    base, fixed, attention = TABLE[preset]
    first = next(iter(fixed))
    return [
        replace(
            base,
            model=replace(base.model, attention=arm, vector_size=d),
            data=replace(base.data, longest=length, eval_lengths=(length,)),
            training=replace(base.training, updates=budget),
        )
        for arm in arms
        for d, by_length in (fixed if arm in fixed_vectors() else {first: attention}).items()
        for length, rungs in by_length.items()
        for budget in rungs
    ]


def check(config: Config) -> None:
    """Raises `ConfigError` where the length that is learned is not tested."""
    if config.data.longest not in sources.tested_lengths(config.data):
        raise ConfigError(
            f"data.eval_lengths={config.data.eval_lengths} leaves data.longest={config.data.longest} untested, of which U* is"
        )


def name(config: Config) -> str:
    """Returns a run's name, such as summary-gru-h16-d16-l8-u1600."""
    model = config.model
    sizes = f"{model.cell}-h{model.hidden_size}-d{model.vector_size}-l{config.data.longest}"
    return f"{model.attention}-{sizes}-u{config.training.updates}"


def read(rows: Sequence[dict]) -> list[Series]:
    """Groups rows into series by cell, width, d and arm. Raises `DataError` where seeds differ between budgets."""
    return least_budgets.read(rows, GROUP)


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns least budgets of every series, their laws, differences, rate curves, and the verdict."""
    found = read(rows)
    shown = [*map(least_table, found), *map(exact_table, found), laws_table(found), differences_table(found)]
    for each in found:
        for length, ours in each.rows.items():
            if of_rates := scoring.rate_curves(ours, f"{each.name}, L = {length}", (length,)):
                shown.append(of_rates)
    return Score(verdict(found), shown, _budgets(found))


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of the budget of the claim's own vector; nothing where a law is missing."""
    fixed, attention = sides(read(rows))
    found = steeper(fixed[0].least, attention.least) if fixed and attention else None
    claim, number = "Without attention long inputs are harder to learn", "exponent of L in the least budget, without attention − with it"
    return [Finding(claim, "lecture notes", number, *found)] if found else []


def sides(found: Sequence[Series]) -> tuple[list[Series], Series | None]:
    """Returns the series of fixed arms, the first of them the claim's own, and that of attention."""
    return [each for each in found if each.arm in fixed_vectors()], next((each for each in found if each.arm not in fixed_vectors()), None)


def verdict(found: Sequence[Series]) -> Verdict:
    """Says which budget grows faster with the length; the rule is in the docstring of this module."""
    fixed, attention = sides(found)
    if not fixed or attention is None:
        return NOTHING_TO_COMPARE
    ours = fixed[0]
    if needs := [need for each in (ours, attention) for need in lacking(each)]:
        return missing([f"{need.arm}: {need.why}" for need in needs], needs)
    for each in (ours, attention):
        if isinstance(why := laws.attempt(laws.power, each.least), str):
            return _no_law(each, why)
    return _judged(ours, attention, corrected(fixed, attention)[ours.name])


def _no_law(series: Series, why: str) -> Verdict:
    """Returns the verdict where a series has too few exact U*."""
    bounds = [f"L = {length}: {budget_text(least)}" for length, least in series.least.items() if not least.is_exact]
    reason = f"{series.name}: {why.replace('sizes', 'lengths').replace('L*', 'U*')} ({'; '.join(bounds) or 'run more lengths'})"
    return Verdict("inconclusive", reason, failed=("missing",), needs=until_exact(series))


def _judged(ours: Series, attention: Series, p: float) -> Verdict:
    """Returns the verdict on two laws; `p` is that of their difference, corrected."""
    vector, attending = laws.power(ours.least), laws.power(attention.least)
    difference, _ = laws.slope_difference(vector, attending)
    slopes = f"L^{tables.interval_text(vector.slope)} without attention, L^{tables.interval_text(attending.slope)} with it"
    reason = f"U* grows as {slopes}; the difference of exponents is {tables.interval_text(difference)}{_beside(ours, attention)}"
    if difference.low > 0 and p < LEVEL:
        return Verdict("the vector's budget grows faster", reason, slopes, p=p)
    if difference.high < 0 and p < LEVEL:
        return Verdict("attention's budget grows faster", reason, slopes, p=p)
    if difference.low > -ALIKE and difference.high < ALIKE:
        return Verdict("they grow alike", reason, slopes, p=p)
    why = "more lengths: the points scatter about the laws"
    needs = tuple(Need(each.arm, each.ladder[max(each.ladder)][-1], "selection", SELECTION_SEEDS, (), why) for each in (ours, attention))
    return Verdict("inconclusive", reason, p=p, failed=("law",), needs=needs)


def steeper(ours: Mapping[int, Pooled], theirs: Mapping[int, Pooled]) -> tuple[Interval, float] | None:
    """Returns the exponent of ours − that of theirs, and its two-sided p; None where one of them has no law."""
    a, b = laws.attempt(laws.power, ours), laws.attempt(laws.power, theirs)
    return None if isinstance(a, str) or isinstance(b, str) else laws.slope_difference(a, b)


def corrected(fixed: Sequence[Series], attention: Series) -> dict[str, float]:
    """Returns {series: p of its difference from attention}, corrected by Holm; 1 where there is none."""
    found = {each.name: steeper(each.least, attention.least) for each in fixed}
    return intervals.holm({name: each[1] if each else 1.0 for name, each in found.items()})


def _beside(ours: Series, attention: Series) -> str:
    """Returns the difference behind the warm-up and in time, and the exponential law of the fixed arm, as text."""
    behind, (difference, _) = (
        steeper(ours.behind_warmup, attention.behind_warmup),
        laws.slope_difference(laws.power(ours.times), laws.power(attention.times)),
    )
    less = f", in updates less the warm-up {tables.interval_text(behind[0])}" if behind else ""
    curved = laws.exponential(ours.least)
    doublings = f"{tables.interval_text(curved.slope)} doublings per symbol"
    return f"{less}, in seconds of its machine {tables.interval_text(difference)}; as an exponential, without attention, {doublings}"


def lacking(series: Series) -> list[Need]:
    """Returns the rate curves that a series lacks at the rungs that decide."""
    needs = []
    for length, ours in series.rows.items():
        for budget in series.deciding(length):
            if need := scoring.lacking(ours, series.arm, budget):
                needs.append(need._replace(why=f"L = {length} at {budget:,} updates: {need.why}"))
    return needs


def until_exact(series: Series) -> tuple[Need, ...]:
    """Returns the needs: twice the last budget where U* lies beyond it, half the first where U* lies before."""
    needs = []
    for length, each in series.least.items():
        ladder, where = series.ladder[length], f"L = {length}: U* lies"
        if each.bound == "at_least":
            needs.append(Need(series.arm, 2 * ladder[-1], "reported", each.seeds, (), f"{where} beyond the ladder"))
        elif each.bound == "below":
            needs.append(Need(series.arm, ladder[0] // 2, "reported", each.seeds, (), f"{where} before the ladder"))
    last = max(ladder[-1] for ladder in series.ladder.values())
    return tuple(needs) or (Need(series.arm, last, "selection", SELECTION_SEEDS, (), "more lengths"),)


def differences_table(found: Sequence[Series]) -> Table:
    """Tabulates the exponent of each fixed series less attention's, in updates, in those behind the warm-up, and in seconds."""
    fixed, attention = sides(found)
    lines = []
    if attention:
        p = corrected(fixed, attention)
        for each in fixed:
            pairs = (each.least, attention.least), (each.behind_warmup, attention.behind_warmup), (each.times, attention.times)
            found_of = [steeper(*pair) for pair in pairs]
            lines.append((each.name, *(tables.interval_text(one and one[0]) for one in found_of), tables.p_text(p[each.name])))
    header = ("series", "updates", "updates less warm-up", "seconds", "p of updates")
    return Table("Exponents without attention − with it, by Welch's t; p two-sided, by Holm", header, lines)


def figures(rows: list[dict]) -> dict:
    """Draws U* by length, in updates and in seconds, and rate curves of each length."""
    found = read(rows)
    updates, seconds = (
        [Line(each.name, each.arm, {x: (y.length, y.low, y.high, y.bound) for x, y in points.items()}) for each, points in measured]
        for measured in ([(each, each.least) for each in found], [(each, each.times) for each in found])
    )
    drawn = {"least_budgets": powers.two(updates, seconds, f"Least budgets for {REACHED} of length L", ("updates", "seconds"))}
    for each in found:
        for length, ours in each.rows.items():
            if curves := scoring.curves(ours):
                stem = f"rates_{each.name}_l{length}".replace(" ", "_")
                drawn[stem] = ladders.rate_curves(curves, f"Rate curves, {each.name}, L = {length}")
    return drawn


def _budgets(found: Sequence[Series]) -> str:
    """Returns the lengths, budgets and seeds that go with the verdict, as text."""
    seeds = max(least.seeds for each in found for least in each.least.values())
    parts = []
    for each in found:
        ladders_of = each.ladder.values()
        ends = min(ladder[0] for ladder in ladders_of), max(ladder[-1] for ladder in ladders_of)
        parts.append(f"{each.name} at {ends[0]:,} to {ends[1]:,} updates, L = {', '.join(map(str, each.ladder))}")
    return f"with {seeds} seeds, {'; '.join(parts)}, each budget a run of its own"
