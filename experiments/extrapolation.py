"""Extrapolation: which ways to attend copy strings up to ten times as long as any that was trained on

Claim. Attention is said to remove the limit of length. On lengths that were trained it does, but what reads content alone finds its place
by what the encoder has counted, and the encoder has counted no further than the longest training string L. Chorowski et al. (2015) found
so in speech, and mended it by scores that know where they attended last. Which of the mechanisms that move along the source carry a copy
to 10 L?

Source. Chorowski 2015; Battenberg 2019 (arXiv 1910.10288) for the location-relative ones; the others beside their arms.
Expected. Of small: stepwise, dynamic_convolution, forward_agent and location_aware_window carry, the others fail.
    python -m experiments.run --experiment=extrapolation --preset=small --choose_rates

Arms. One encoder and decoder, the same data; the query is the previous state (timing before), the decoder starts from the final state.
An arm is a score with softmax, or a normaliser of `additive` scores:
  summary                          no attention: the final state is the context of every step
  additive                         content alone (Bahdanau 2015)
  location                         the query alone: a weight for each of the first places (Luong 2015)
  location_aware                   content, and the last weights around each place (Chorowski 2015)
  gaussian, gmm_v2                 a mixture of bells that only moves on (Graves 2013; Battenberg 2019). Here its log densities go through a
                                   softmax; the papers weigh by the densities themselves, model.normaliser=exponential
  dynamic_convolution              the last weights, through filters that the query makes (Battenberg 2019)
  monotonic, mocha                 hard steps along the source, and a chunk before where it stands (Raffel 2017; Chiu & Raffel 2018)
  forward, forward_agent           a soft step: stay or move on by one (Zhang 2018)
  stepwise                         a hard step: stay or move on by one (He 2019)
  additive_window, location_aware_window   the same as additive and location_aware in training; while decoding, each step attends from one
                                   place before the last attended one to three after it (a window as in Deep Voice 3: Ping 2018; in trials
                                   of other seeds one without a place before cost additive its trained lengths)

Data. Copy of 8 symbols, trained on lengths 1 to L = 8, tested on lengths up to 80. One source in 8 is never trained on, and alone tested
on, 512 examples a length; longer strings are all unseen, and the same share of them is used.

Measured. Exact match by length, and wrong symbols, free running, place by place: behind a symbol too many or too few all are wrong. An
arm's reach R is the largest tested multiple of L up to which exact match of the typical seed has a lower bound of ½ or more at every one.
L50 is of the logistic curve through all tested lengths, those beyond L among them. A seed reaches 10 L where its own exact match there has
a lower bound of ½ (Clopper-Pearson).

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget, by validation loss on trained lengths:
nothing is chosen by what happens beyond L. Curves are kept with the experiment where there are any; this measures those of tiny:
    python -m experiments.run --experiment=extrapolation --preset=tiny --choose_rates --keep_rates=experiments/curves/extrapolation.jsonl

Verdict, fixed before the runs, at the largest budget. An arm has learned if exact match of the typical seed on the long half of the trained
lengths has a lower bound of 0.9 or more. Of those that have, exact match at 10 L is tested against ½: two-sided p of the typical seed's
interval, at 0.05, corrected by Holm for all of them. An arm carries where it lies above, fails where it lies below, else it is undecided.
  carries to 10 L: …    the arms that carry; those that fail, are undecided and have not learned are named beside
  none carries          every arm that has learned fails
  inconclusive          none carries and one is undecided; or no arm has learned; or a rate curve is missing or ends at an edge
What carries here does so on copying, where one symbol of output stands for one of input; nothing is said of other tasks.

Presets. tiny: five arms, 4 seeds, H = 16, 800 and 3,200 updates; 7 minutes, 7 to 9 more where its rate curves are measured. small: all 14
arms, 8 seeds, H = 32, 800 and 1,600 updates; 65 minutes, and 25 to 40 for its rate curves. full: L = 20, tested to 200, H = 128, for an
accelerator. Minutes are of two quiet CPU cores, a rough estimate: 4 ms an update in tiny and 18 in small, the mean of the arms, half a
minute to a minute to compile an arm, and a quarter of a minute to a minute and a half to test a run, most of it at lengths beyond L.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from attention_jax.attention import FIXED, NORMALISERS, SCORES
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.report import findings as said
from attention_jax.report import scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group, Tested
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals, lengths
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Verdict, missing
from attention_jax.system.errors import ConfigError

PRESETS = ("tiny", "small", "full")
PAPERS = ("chorowski2015", "clopper1934")
ARMS = ("summary", "additive", "location_aware", "gmm_v2", "stepwise")
MORE = (
    *("location", "gaussian", "dynamic_convolution", "monotonic", "mocha", "forward", "forward_agent"),
    *("additive_window", "location_aware_window"),
)
"""Arms of small and full besides, unless --arms says which."""
WINDOW, AROUND = "_window", SearchConfig(backward_window=1, forward_window=3)
CHOICES = tuple(
    dict.fromkeys((*FIXED, *SCORES, *(name for name in NORMALISERS if name != "softmax"), *(each for each in MORE if WINDOW in each)))
)
FIELDS = ("model.normaliser", "search.forward_window", "data.longest")
GROUP = ("task", "cell", "hidden_size", "forward_window")
"""Within all but the last of these only arms and budgets differ; a window while decoding is part of an arm's name."""
BUDGETS = {"tiny": (800, 3_200), "small": (800, 1_600), "full": (4_000, 8_000)}
LEARNED, HALF, LEVEL = 0.9, 0.5, 0.05
RELATIVE, BATTENBERG = "Location-relative attention goes far beyond the trained lengths", "Battenberg and others 2019"
SAID = {
    "additive": ("Attention keeps all states, so that no input is too long", "lecture notes; doubted by Chorowski and others 2015"),
    "location_aware": ("Attention that knows where it looked last reads inputs ten times as long", "Chorowski and others 2015"),
    "gmm_v2": (f"{RELATIVE}: a mixture that moves on", BATTENBERG),
    "dynamic_convolution": (f"{RELATIVE}: dynamic convolution", BATTENBERG),
}
"""{arm: a sentence of the literature about it, and who says it}."""
NOT_AS_THERE = {"gmm_v2": ", its densities through a softmax (the paper has none)"}
"""{arm: how it differs from the arm of whom the sentence is}."""

TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16, location_size=128),
    data=DataConfig(
        symbols=8, shortest=1, longest=8, held_out=8, eval_lengths=(3, 4, 5, 6, 7, 8, 12, 16, 24, 40, 56, 80), eval_examples=512
    ),
    training=TrainingConfig(
        seeds=4, batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600
    ),
)
SMALL = replace(TINY, model=replace(TINY.model, hidden_size=32, embedding_size=32), training=replace(TINY.training, seeds=8))
FULL = replace(
    SMALL,
    model=replace(TINY.model, hidden_size=128, embedding_size=64, location_size=256),
    data=replace(TINY.data, longest=20, eval_lengths=(3, 4, 6, 8, 12, 16, 20, 30, 40, 60, 100, 140, 200)),
    training=replace(SMALL.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget."""
    base = {"tiny": TINY, "small": SMALL, "full": FULL}[preset]
    every = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else arms
    return [
        replace(
            base,
            model=replace(base.model, **settings(arm)),
            search=AROUND if arm.endswith(WINDOW) else base.search,
            training=replace(base.training, updates=budget),
        )
        for arm in every
        for budget in BUDGETS[preset]
    ]


def settings(arm: str) -> dict[str, Any]:
    """Returns the settings of an arm: the normaliser, or the row of model.attention, of its name."""
    return {"normaliser": arm} if arm in NORMALISERS else {"attention": arm.removesuffix(WINDOW)}


def arm_of(attention: str, normaliser: str, forward_window: int) -> str:
    """Returns the arm of these settings; the score beside a normaliser where that is not `additive`."""
    score = attention + WINDOW * (forward_window >= 0)
    return score if normaliser == "softmax" else normaliser if score == "additive" else f"{score}_{normaliser}"


def name(config: Config) -> str:
    """Returns a run's name, such as stepwise-copy-gru-h16-l8-u1600."""
    model, data = config.model, config.data
    arm = arm_of(model.attention, model.normaliser, config.search.forward_window)
    return f"{arm}-{data.task}-{model.cell}-h{model.hidden_size}-l{data.longest}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for one tested length, which is no curve."""
    if len(sources.tested_lengths(config.data)) < 2:
        raise ConfigError(f"data.eval_lengths={config.data.eval_lengths}: L50 is read from a curve of two tested lengths or more")


class Reached(NamedTuple):
    """How far an arm carries at a budget; 10 L is the longest tested length."""

    learned: Interval  # exact match on the long half of the trained lengths
    far: Interval  # at 10 L
    wrong: Interval  # wrong symbols at 10 L, mean over seeds
    reach: float  # multiples of L; 0 where exact match is below ½ at L
    half: tuple[Interval, str]  # L50 over all tested lengths
    seeds: tuple[int, int]  # that reach 10 L, of so many
    p: float  # two-sided, of "exact match at 10 L is ½"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns exact match and symbol errors by length, how far each arm carries, rate curves, and the verdict."""
    found = groups(rows)
    shown, lacks = [], []
    for group in found:
        shown += [scoring.by_length(group), wrong_table(group), *(reach_table(group, step) for step in steps(group))]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
    first = found[0]
    last = steps(first)[-1]
    lacks = [need for arm in first.arms if (need := scoring.lacking(first.rows, arm, budget_of(first, arm, last)))]
    return Score(judged(first, last, lacks), shown, scoring.budget_text(first))


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of arms of which something is said: exact match at 10 L, at the largest budget, against ½."""
    group, made = groups(rows)[0], []
    for arm in (arm for arm in SAID if arm in group.arms):
        budget = group.budgets(arm)[-1]
        tested = group.tested(arm, budget)
        column = tested.at(tested.lengths[-1:])
        typical = intervals.typical(column.count_RxL[:, 0], column.total_RxL[:, 0])
        finding = said.of_interval(
            *SAID[arm], f"exact match at {farthest(group)}, {arm}{NOT_AS_THERE.get(arm, '')}", typical.interval, HALF
        )
        learned = standings.pooled(tested, group.long).low >= LEARNED
        made.append(finding if learned else finding._replace(left_open="the trained lengths are not learned"))
    return made


def groups(rows: Sequence[dict]) -> list[Group]:
    """Returns the results and rate curves of each task and size, rows under the names of arms."""
    named = [row | {"attention": arm_of(row["attention"], row["normaliser"], row["forward_window"])} for row in rows]
    return scoring.groups(named, GROUP[:-1], tuple(FIXED))


def steps(group: Group) -> range:
    """Returns the places of the budgets in an arm's ladder, the largest last."""
    return range(min(len(group.budgets(arm)) for arm in group.arms))


def budget_of(group: Group, arm: str, step: int) -> int:
    """Returns an arm's budget at a place of its ladder."""
    return group.budgets(arm)[step]


def longest(group: Group) -> int:
    """Returns L, the longest trained length."""
    return group.rows[0]["longest"]


def farthest(group: Group) -> str:
    """Returns the longest tested length as a multiple of L: 10 L in every preset."""
    return f"{max(group.examples) / longest(group):g} L"


def reached(group: Group, arm: str, budget: int) -> Reached:
    """Returns how far an arm carries at a budget."""
    tested = group.tested(arm, budget)
    column = tested.at(tested.lengths[-1:])
    exact, examples = column.count_RxL.sum(1), column.total_RxL.sum(1)
    typical = intervals.typical(exact, examples)
    reaching = sum(intervals.clopper_pearson(int(k), int(n)).low >= HALF for k, n in zip(exact, examples, strict=True))
    half = lengths.over_seeds(lengths.critical(tested.lengths, tested.count_RxL, tested.total_RxL, HALF))
    return Reached(
        standings.pooled(tested, group.long),
        typical.interval(),
        wrong(group, arm, budget)[tested.lengths[-1]],
        _reach(tested, longest(group)),
        half,
        (reaching, len(exact)),
        intervals.two_sided(intervals.tail(typical.interval, HALF)),
    )


def _reach(tested: Tested, L: int) -> float:
    """Returns the largest tested multiple of L up to which the lower bound of exact match is ½ or more."""
    reach = 0.0
    for length, interval in standings.exact_match(tested).items():
        if length >= L:
            if not interval.low >= HALF:
                break
            reach = length / L
    return reach


def wrong(group: Group, arm: str, budget: int) -> dict[int, Interval]:
    """Returns {length: share of symbols that are wrong, free running, mean over seeds}, cut to 0 to 1."""
    shares: dict[int, list[float]] = {}
    for row in standings.reported(group.rows):
        if (row["attention"], row["budget"], row["mode"]) == (arm, budget, "free"):
            shares.setdefault(row["length"], []).append(row["symbol_errors"] / row["symbols"])
    found = {length: intervals.student(of_seeds) for length, of_seeds in sorted(shares.items())}
    return {length: each._replace(low=max(0.0, each.low), high=min(1.0, each.high)) for length, each in found.items()}


def words_of(found: Mapping[str, Reached]) -> tuple[dict[str, str], dict[str, float]]:
    """Returns {arm: "carries", "fails", "undecided" or "not learned"}, and p corrected for the arms that have learned."""
    p = intervals.holm({arm: each.p for arm, each in found.items() if each.learned.low >= LEARNED})
    words = {arm: "not learned" for arm in found if arm not in p}
    for arm, value in p.items():
        words[arm] = ("carries" if found[arm].far.mean > HALF else "fails") if value < LEVEL else "undecided"
    return {arm: words[arm] for arm in found}, p


def judged(group: Group, step: int, lacks: Sequence[Need]) -> Verdict:
    """Returns the verdict on a group at a place of the ladders."""
    found = {arm: reached(group, arm, budget_of(group, arm, step)) for arm in group.arms}
    words, p = words_of(found)
    named = {word: [arm for arm in found if words[arm] == word] for word in ("carries", "fails", "undecided", "not learned")}
    parts = [f"{word}: {', '.join(arms)}" for word, arms in named.items() if arms]
    reach = ", ".join(f"{arm} {tables.interval_text(found[arm].far)}" for arm in found if arm in p)
    reason = "; ".join((*parts, f"exact match at {farthest(group)}: {reach}" if reach else "no arm has learned the trained lengths"))
    if lacks:
        return missing([f"{need.arm}: {need.why}" for need in lacks], lacks)
    if named["carries"]:
        arms = named["carries"]
        return Verdict(f"carries to {farthest(group)}", reason, ", ".join(arms), p=max(p[arm] for arm in arms))
    if named["fails"] and not named["undecided"]:
        return Verdict("none carries", reason, p=max(p.values()))
    failed, why = ("carries", "more seeds: an arm is undecided") if named["undecided"] else ("learned", "a larger budget, or another size")
    needs = tuple(_need(group, arm, step, why) for arm in named["undecided"] or found)
    return Verdict("inconclusive", reason, failed=(failed,), needs=needs)


def _need(group: Group, arm: str, step: int, why: str) -> Need:
    """Returns as many seeds again where an arm is undecided, the doubled budget where it has not learned."""
    budget = budget_of(group, arm, step)
    seeds = len(group.tested(arm, budget).seeds)
    return Need(arm, budget if "seeds" in why else 2 * budget, "reported", seeds, (), why)


def reach_table(group: Group, step: int) -> Table:
    """Tabulates how far each arm carries at a place of the ladders."""
    found = {arm: reached(group, arm, budget_of(group, arm, step)) for arm in group.arms}
    words, p = words_of(found)
    lines = []
    for arm, each in found.items():
        seeds = f"{each.seeds[0]} of {each.seeds[1]} {_share(*each.seeds)}"
        reach = f"{each.reach:g} L" if each.reach else "below L"
        numbers = (tables.interval_text(each.learned), tables.interval_text(each.far), tables.interval_text(each.wrong))
        budget, corrected = f"{budget_of(group, arm, step):,}", tables.p_text(p[arm]) if arm in p else "–"
        lines.append((arm, budget, *numbers, reach, tables.critical_text(*each.half), seeds, corrected, words[arm]))
    far = farthest(group)
    header = ("arm", "updates", "exact, trained", f"exact at {far}", f"wrong at {far}", "R", "L50", f"seeds at {far}", "p", "so it")
    updates = " and ".join(f"{budget:,}" for budget in sorted({budget_of(group, arm, step) for arm in group.arms}))
    title = f"How far it carries after {updates} updates, {group.name}, L = {longest(group)}; R: multiples of L; p two-sided, by Holm"
    return Table(title, header, lines)


def _share(count: int, total: int) -> str:
    each = intervals.clopper_pearson(count, total)
    return f"[{each.low:.2f}, {each.high:.2f}]"


def wrong_table(group: Group) -> Table:
    """Tabulates the share of wrong symbols by length, each arm at its largest budget."""
    columns = {arm: wrong(group, arm, group.budgets(arm)[-1]) for arm in group.arms}
    L = longest(group)
    lines = [
        (f"{length / L:g} L", str(length), *(tables.interval_text(each.get(length)) for each in columns.values()))
        for length in group.examples
        if length >= L
    ]
    header = ("multiple", "length", *group.arms)
    return Table(f"Wrong symbols, free running, {group.name}; mean over seeds, largest budget", header, lines)


def figures(rows: list[dict]) -> dict:
    """Draws exact match and wrong symbols by length, and rate curves."""
    drawn = {}
    for group in groups(rows):
        title, last = group.name.replace(" ", "_"), {arm: group.budgets(arm)[-1] for arm in group.arms}
        drawn[f"lengths_{title}"] = scoring.lengths_drawn(group)
        drawn[f"wrong_{title}"] = curves.length_curves(
            {arm: wrong(group, arm, last[arm]) for arm in group.arms},
            title=f"{group.name}: symbols that are wrong",
            ylabel=f"wrong symbols, {max(last.values()):,} updates",
            trained=(min(group.trained), max(group.trained)),
        )
        if found := scoring.curves(group.rows):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn
