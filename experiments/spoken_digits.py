"""Spoken digits: which ways to attend read recordings ten times as long as any that was trained on

Claim. Attention by content alone reads speech as long as that of training and fails on longer, since equal sounds look equal wherever they
are; scores that also see where they attended last read utterances ten times as long with at most two points more errors (Chorowski and
others 2015, of phones in joined utterances of TIMIT: 17.6 to 18 %, and 20 %).

Expected. "holds in part" of tiny: additive collapses, and so does location_aware; gmm_v2 loses.
    python -m experiments.run --experiment=spoken_digits --preset=tiny --choose_rates

Arms. One pyramidal encoder (Chan and others 2016), one decoder, data and data order; the decoder starts from zeros, so that nothing but the
context says how long a source is; the query is the previous state. Filters of past weights see a second before and behind each place, as
Chorowski's do. An arm is a score with softmax, or a normaliser of `additive` scores:
  summary                      no attention: the final state is the context of every step
  location_aware               content, and the last weights around each place (Chorowski 2015)
  additive                     content alone (Bahdanau 2015)
  gaussian, gmm_v2             a mixture of bells that only moves on (Graves 2013; Battenberg 2020)
  monotonic, mocha             hard steps along the source, and a chunk before where it stands (Raffel 2017; Chiu & Raffel 2018)
  dynamic_convolution          the last weights, through filters that the query makes (Battenberg 2020)
  location_aware_window        the same as location_aware in training; while decoding, each step attends from one place before the last
                               attended one to twelve, a second, after it (a window, as in Ping 2018)
  dark                         location_aware, trained and tested on sounds that are zeros: what targets alone tell

Data. Recordings of the Free Spoken Digit Dataset, joined to strings with silence of random length between them; log-mel features, four
frames of 10 ms a position, 80 ms a memory vector. Trained on strings of 1 to L digits, tested on up to 10 L. Recordings are split by their
number (`data.signals.fsdd`), so that none is in two splits. One speaker of six is held out entirely; how he is read stands apart and
enters no verdict. Recordings of one's own (`own_speech`) have further test sets if they like: each stands apart, too.

Measured. Word error rate (WER), edits per digit, free running, at 1, 2, 5 and 10 times L; beside it unigram, one digit again and again,
their number known: 0.9. Of one's own recordings unigram is the most frequent symbol of the training texts. Exact match by number of digits.

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget, by validation loss on trained lengths:
nothing is chosen by what happens beyond L. Curves are kept with the experiment where there are any; --choose_rates measures them. dark has
one rate.

Verdict, fixed before the runs, each arm at its largest budget. An arm has learned if the upper bound of its mean WER at L is at most 0.2.
Of those that have, WER at 10 L less that at L, paired by seed, is tested against 0.02: two-sided, Student, at 0.05, by Holm for all of
them. An arm carries where it lies below; where it lies above it collapses, if the lower bound of its WER at 10 L is 0.5 or more, else it
loses.
  holds            location_aware carries, and additive collapses
  holds in part    one of the two does so, and the other is decided otherwise
  does not hold    both are decided otherwise
  inconclusive     one of them is undecided, has not learned or is missing, a rate curve is missing or ends at an edge, or nothing is
                   tested that is ten times as long as L
Beside it stands `verdicts.verdict` of summary against location_aware on exact match of trained lengths. Target of every preset, judged in a
table: the upper bound of WER at L of location_aware is 0.1 or less.

Presets. tiny: L = 4, the first four arms, 300 to 1,200 updates. small: L = 8, all arms, 500 to 2,000. full: L = 8, three layers of 128,
for an accelerator. 8 seeds each. On one quiet core tiny took 50 minutes, its rate curves in them: 25 on two, and 10 with kept ones. By the
pace of short runs small takes 135 with kept curves; those that have to be measured take 2.5 times the training. One seed each, rate 0.008,
WER at L, 2 L, 5 L and 10 L: at L = 4 after 600 updates location_aware 0.01, 0.11, 0.68, 0.83, additive 0.01, 0.47, 0.76, 0.87, gmm_v2 0.02,
0.06, 0.12, 0.19, monotonic 0.07 at L and mocha 0.18, summary after 1,200 0.09. At L = 8 location_aware gets further the longer it trains:
after 600, 1,600 and 3,200 updates 0.86, 0.87 and 0.67 at 10 L, and 0.74, 0.58 and 0.23 at 5 L; with its window after 1,600 0.24 at 10 L,
and 0.16 at 5 L; gmm_v2 after 1,600 0.03 at L and 0.04 at 10 L.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from attention_jax.attention import FIXED, NORMALISERS, SCORES
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, SignalConfig, TrainingConfig
from attention_jax.data import signals
from attention_jax.data.signals import fsdd
from attention_jax.data.sources import Source
from attention_jax.report import error_rates, scoring, standings, tables, targets
from attention_jax.report import findings as said
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.reaches import COLLAPSED, LEARNED, LOST, farthest, last, longest, reached, wer, words_of
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.report.targets import Target
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Verdict, missing
from attention_jax.sweeps import unigrams
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("chorowski2015", "chan2016", "raffel2017", "chiu2018", "battenberg2020", "jackson2018", "levenshtein1966")
ARMS = ("summary", "location_aware", "additive", "gmm_v2")
MORE = ("monotonic", "mocha", "gaussian", "dynamic_convolution", "location_aware_window", "dark")
"""Arms of small and full besides, unless --arms says which."""
WINDOW, AROUND = "_window", SearchConfig(backward_window=1, forward_window=12)
DARK, CONTENT, PLACE = "dark", "additive", "location_aware"
CHOICES = tuple(
    dict.fromkeys((*FIXED, *SCORES, *(name for name in NORMALISERS if name != "softmax"), CONTENT + WINDOW, PLACE + WINDOW, DARK))
)
FIELDS = ("model.normaliser", "search.forward_window", "data.longest", "signal.dark")
GROUP = ("task", "longest", "hidden_size")
LADDERS = {"tiny": (300, 3), "small": (500, 3), "full": (4_000, 4)}
"""The smallest budget, in updates, and how many rungs there are for fixed vectors, each twice the one before."""
RUNGS = 2
"""So many of them are those of arms that attend."""
TARGET = 0.1
FAR = 10
"""The claim is about lengths of so many times L."""
ONE_DIGIT = 0.9
"""Edits per digit of one digit, said again and again: each of the ten is a tenth of the tested recordings."""
SPEAKER = "the speaker held out"
CHOROWSKI = "Chorowski and others 2015"

TINY = Config(
    model=ModelConfig(
        encoder="pyramidal",
        layers=2,
        hidden_size=32,
        embedding_size=32,
        decoder_size=64,
        attention_size=32,
        start="zero",
        filters=10,
        filter_width=25,
        location_size=1024,
    ),
    data=DataConfig(task="spoken_digits", shortest=1, longest=4, eval_lengths=(1, 2, 3, 4, 8, 20, 40), eval_examples=64),
    signal=SignalConfig(mels=24, stacked=4),
    training=TrainingConfig(
        seeds=8, batch_size=32, schedule="cosine", learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2), checkpoint_every=500, chunk=50
    ),
)
SMALL = replace(TINY, data=replace(TINY.data, longest=8, eval_lengths=(2, 4, 6, 8, 16, 40, 80)))
FULL = replace(
    SMALL,
    model=replace(TINY.model, layers=3, hidden_size=128, embedding_size=64, decoder_size=256, attention_size=128, dropout=0.2),
    signal=SignalConfig(mels=32, stacked=2),
    training=replace(TINY.training, batch_size=128, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), chunk=100),
)
BASES = {"tiny": TINY, "small": SMALL, "full": FULL}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget."""
    every = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else tuple(arms)
    return [each for arm in every for each in of_arm(BASES[preset], arm, *LADDERS[preset])]


def of_arm(base: Config, arm: str, first: int, rungs: int) -> list[Config]:
    """Returns the configs of an arm at each of its budgets; dark has the largest alone, and one rate."""
    budgets = [first * 2**rung for rung in range(rungs if arm in FIXED else RUNGS)]
    training, signal, search = base.training, base.signal, AROUND if arm.endswith(WINDOW) else base.search
    if arm == DARK:
        rates = training.learning_rates
        budgets, signal = budgets[-1:], replace(signal, dark=True)
        training = replace(training, learning_rates=rates[len(rates) // 2 :][:1])
    model = replace(base.model, **settings(arm))
    return [replace(base, model=model, signal=signal, search=search, training=replace(training, updates=budget)) for budget in budgets]


def settings(arm: str) -> dict[str, Any]:
    """Returns the settings of the model of an arm: the normaliser, or the row of model.attention, of its name."""
    return {"normaliser": arm} if arm in NORMALISERS else {"attention": PLACE if arm == DARK else arm.removesuffix(WINDOW)}


def arm(row: Mapping) -> str:
    """Returns the arm of a row; the score beside a normaliser where that is not `additive`."""
    if row["dark"]:
        return DARK
    score = row["attention"] + WINDOW * (row["forward_window"] >= 0)
    return score if row["normaliser"] == "softmax" else row["normaliser"] if score == CONTENT else f"{score}_{row['normaliser']}"


def name(config: Config) -> str:
    """Returns a run's name, such as location_aware-l4-h32-u600."""
    model, window = config.model, config.search.forward_window
    own = arm({"attention": model.attention, "normaliser": model.normaliser, "forward_window": window, "dark": config.signal.dark})
    return f"{own}-l{config.data.longest}-h{model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for files of one's own whose texts are read in subwords, which have no error rate."""
    if not signals.is_drawn(config.data):
        unigrams.check(config)


def measures(config: Config) -> bool:
    """Returns whether a run's test texts are files, of which nobody knows the most frequent symbol beforehand."""
    return not signals.is_drawn(config.data)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns rows of the most frequent symbol, by test set and length."""
    return unigrams.rows_of(source)


class Part(NamedTuple):
    """Rows of one size, under the names of arms: results and rate curves, and apart from them those of each further test set."""

    group: Group
    who: str  # the first test set
    apart: dict[str, list[dict]]  # {further test set: its results}
    measured: list[dict]


def parts(rows: Sequence[dict]) -> list[Part]:
    """Returns the rows of each size."""
    named = [row | {"attention": arm(row)} for row in rows]
    found = []
    for title, of_size in tables.grouped(named, GROUP).items():
        (first, ours), *apart = standings.of_tests(of_size).items()
        results = [row for row in ours if standings.is_reported(row) or standings.is_trial(row)]
        measured = [row for row in of_size if standings.is_measured(row)]
        found.append(Part(Group(title, results, tuple(FIXED)), first or "the test set", dict(apart), measured))
    return found


def said_of(test: str) -> str:
    """Returns what a further test set is in words: the speaker held out, or its own name."""
    return SPEAKER if test == fsdd.HELD_OUT else test


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns word error rates by length, of every test set, what each arm loses, rate curves, and the verdict."""
    shown = []
    every = parts(rows)
    for part in every:
        group = part.group
        shown += [wer_table(part, part.who, group.rows), *reach_table(part), *aims(group), scoring.by_budget(group)]
        shown += [wer_table(part, test, of_test) for test, of_test in part.apart.items()]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
        if group.fixed and PLACE in group.arms:
            of_vector = scoring.verdict(pair(group), group.fixed[0])
            lines = [(group.fixed[0], str(of_vector), tables.p_text(of_vector.p), of_vector.reason)]
            title = f"The fixed vector against {PLACE} on trained lengths, by exact match, {group.name}"
            shown.append(Table(title, ("fixed arm", "verdict", "p", "why"), lines))
            shown += [tables.conditions(of_vector, f"Conditions, {group.name}")] if of_vector.learned else []
    first = every[0].group
    judged_arms = [arm for arm in first.arms if arm != DARK]
    lacks = [need for arm in judged_arms if (need := scoring.lacking(first.rows, arm, last(first, arm)))]
    return Score(judged(first, lacks), shown, scoring.budget_text(first))


def aims(group: Group) -> list[Table]:
    """Tabulates the declared target, of the data that it was declared for."""
    if group.rows[0]["task"] not in signals.DRAWN:
        return []
    at_L = reached(group, PLACE).at_L if PLACE in group.arms else None
    return [targets.table([Target(f"{PLACE}, WER at L = {longest(group)}", TARGET, at_L, at_most=True)], group.name)]


def pair(group: Group) -> Group:
    """Returns the fixed arms of a group and location-aware attention, on the trained lengths alone."""
    arms = (*group.fixed, PLACE)
    return Group(
        group.name, [row for row in group.rows if row["attention"] in arms and row.get("length", 0) <= longest(group)], group.fixed
    )


def judged(group: Group, lacks: Sequence[Need]) -> Verdict:
    """Returns the verdict on a group."""
    found = {arm: reached(group, arm) for arm in group.arms}
    words, p = words_of(found)
    told = (f"{arm} {words[arm]}: {tables.interval_text(each.at_L)} and {tables.interval_text(each.far)}" for arm, each in found.items())
    reason = f"WER at L and {farthest(group)}: {'; '.join(told)}"
    L, far = longest(group), max(group.examples)
    if far < FAR * L:
        shown = "; ".join(f"{arm}: {tables.interval_text(each.at_L)}" for arm, each in found.items())
        why = f"nothing is tested that is {FAR} times as long as L = {L}, the longest is {far}; WER at L: {shown}"
        return Verdict("inconclusive", why, failed=("missing",), needs=tuple(lacks))
    if lacks:
        return missing([f"{need.arm}: {need.why}" for need in lacks], lacks)
    if absent := [arm for arm in (PLACE, CONTENT) if arm not in found]:
        return Verdict("inconclusive", f"{absent[0]} is no arm of these runs; {reason}", failed=("missing",))
    if open_ := [arm for arm in (PLACE, CONTENT) if words[arm] in ("undecided", "not learned")]:
        needs = tuple(_need(group, arm, words[arm]) for arm in open_)
        return Verdict("inconclusive", reason, failed=(words[open_[0]],), needs=needs)
    holding = [words[PLACE] == "carries", words[CONTENT] == "collapses"]
    value = "holds" if all(holding) else "holds in part" if any(holding) else "does not hold"
    return Verdict(value, reason, p=max(p[PLACE], p[CONTENT]))


def _need(group: Group, arm: str, word: str) -> Need:
    """Returns as many seeds again where an arm is undecided, the doubled budget where it has not learned."""
    budget = last(group, arm)
    seeds = len(group.tested(arm, budget).seeds)
    if word == "undecided":
        return Need(arm, budget, "reported", seeds, (), "more seeds: it is undecided")
    return Need(arm, 2 * budget, "reported", seeds, (), "a larger budget: it has not learned")


def unigram(part: Part, test: str) -> dict[int, float]:
    """Returns {length: WER of one symbol, said again and again} on a test set; nothing where that was not measured."""
    if part.group.rows[0]["task"] in signals.DRAWN:
        return dict.fromkeys(part.group.examples, ONE_DIGIT)
    ours = [row for row in part.measured if row.get("baseline") == unigrams.UNIGRAM and (row["test"] == test or not part.apart)]
    return {row["length"]: row["error_rate"] for row in ours}


def wer_table(part: Part, test: str, rows: Sequence[dict]) -> Table:
    """Tabulates WER on a test set by length, each arm at its largest budget, and that of one symbol said again and again."""
    group, alone = part.group, unigram(part, test)
    columns = {arm: wer(rows, arm, last(group, arm)) for arm in group.arms}
    L, lines = longest(group), []
    for length in sorted({length for column in columns.values() for length in column}):
        cells = [tables.interval_text(error_rates.of_seeds(column[length])) if length in column else "–" for column in columns.values()]
        lines.append((f"{length / L:.3g} L", str(length), *cells, f"{alone[length]:.2g}" if length in alone else "–"))
    header = ("multiple", "symbols", *group.arms, unigrams.UNIGRAM)
    return Table(f"Word error rate, {said_of(test)}, {group.name}; mean over seeds, largest budget", header, lines)


def reach_table(part: Part) -> list[Table]:
    """Tabulates what each arm loses from L to the longest tested length, and its word; no table where nothing beyond L is tested."""
    group = part.group
    if max(group.examples) <= longest(group):
        return []
    found = {arm: reached(group, arm, part.apart) for arm in group.arms}
    words, p = words_of(found)
    lines = []
    for arm, each in found.items():
        numbers = (tables.interval_text(of, 3) for of in (each.at_L, each.far, each.lost, *each.apart))
        lines.append((arm, f"{each.budget:,}", *numbers, tables.p_text(p[arm]) if arm in p else "–", words[arm]))
    far = farthest(group)
    others = (f"at L, {said_of(test)}" for test in part.apart)
    header = ("arm", "updates", "WER at L", f"at {far}", "it loses", *others, "p", "so it")
    return [Table(f"What is lost from L = {longest(group)} to {far}, {group.name}; p two-sided, against {LOST}, by Holm", header, lines)]


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of Chorowski's two sentences, at the longest tested length."""
    group, made = parts(rows)[0].group, []
    far, L = max(group.examples), longest(group)
    for arm in (arm for arm in (PLACE, CONTENT) if arm in group.arms and far > L):
        found, each = wer(group.rows, arm, last(group, arm)), reached(group, arm)
        left_open = "" if each.at_L.high <= LEARNED else "the trained lengths are not learned"
        if arm == PLACE:
            values, claim = [LOST - (found[far][seed] - found[L][seed]) for seed in sorted(found[L])], "with at most two points more errors"
            text = f"Attention that knows where it looked last reads speech {far / L:g} times as long {claim}"
            finding = said.of_seeds(text, CHOROWSKI, f"{LOST} − (WER at {farthest(group)} − WER at L), {arm}", values, digits=3)
        else:
            text, number = "Attention by content alone fails on speech longer than it was trained on", f"WER at {farthest(group)}, {arm}"
            finding = said.of_seeds(text, CHOROWSKI, number, list(found[far].values()), COLLAPSED)
        made.append(finding._replace(left_open=left_open))
    return made


def figures(rows: list[dict]) -> dict:
    """Draws word error rates by length, of every test set, exact match, and rate curves."""
    drawn = {}
    for part in parts(rows):
        group = part.group
        title = group.name.replace(" ", "_")
        every = {f"wer_{test}": (test, of_test) for test, of_test in part.apart.items()}
        for what, (who, of_set) in {"wer": (part.who, group.rows), **every}.items():
            by_arm = {arm: wer(of_set, arm, last(group, arm)) for arm in group.arms}
            drawn[f"{what}_{title}"] = curves.length_curves(
                {arm: {length: error_rates.of_seeds(of_seeds) for length, of_seeds in found.items()} for arm, found in by_arm.items()},
                title=f"{group.name}: word error rate, {said_of(who)}",
                ylabel="edits per symbol",
                xlabel="symbols in a string",
                trained=(min(group.trained), longest(group)),
                percent=False,
                examples=group.examples,
            )
        drawn[f"lengths_{title}"] = scoring.lengths_drawn(group)
        if found := scoring.curves(group.rows):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn
