"""Is attention alignment? Error rate of its links on 447 Hansard sentences that were aligned by hand, beside IBM model 1 and an HMM

Claim. Where a translating decoder attends is which source word it translates: "alignment" is the name that attention had (Bahdanau, Cho,
Bengio 2015), and its error rate was .34 to .39 where it was first measured (Luong, Pham, Manning 2015, English-German, another test set).
Are its links as good as those of IBM model 1, which does nothing but align, and reads all training pairs five times?

Arms, English to French. One encoder, decoder and start; the query comes after the cell and the context enters the readout alone.
  additive, dot     scores, with softmax
  local_p           additive within a Gaussian window around a place that the decoder predicts (Luong 2015)
  monotonic         additive; moves on along the source alone (Raffel 2017)
  hard              additive; one position a step, its likelihood summed over all of them (Wu 2018)
  guided            additive, trained to attend where our HMM links the training text, besides (Chen 2016)
  swapped           additive, French to English: for links that both directions make together
A fixed vector attends to nothing and has no links. Chance levels are named instead. The table of methods has, for each direction, a line of
a random source word for each target word, and one of the diagonal, a source word at the same share of the sentence. The table of links that
are read otherwise has each arm's own weights where it reads another sentence of about equal length, which is what it knows of positions.
Weights of `hard` are those of its prior, which has not seen the target word that is linked.

Data. Hansards of the 36th Parliament, 305,000 pairs of at most 18 words mostly; 447 sentences of up to 30 words with sure and possible
links, none of which, in either language, is trained on. A test set of one's own: docs/data.md. Subwords of each language.

Measured, of the trained model of each seed, with the given translation fed (forced decoding). The weights of the step that predicts a
token are that token's, whatever model.timing is; those of one step before and after are shown, too. Weights of subwords become those of
words: the sum over the source word's, the mean over the target word's. A target word is linked to the source word with the largest weight,
or to none, where EOS has more. AER, precision and recall over all sentences and by length in source words; links of both directions
together, of seeds of the same number. Baselines are trained in the same run: IBM model 1 and an HMM, 5 iterations each over all pairs.
Arms read a part of the pairs in tiny and small: the table says how many.
The links are in the folder links/ beside the rows, in Pharaoh format, so that any other tool can score them.

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget, by loss: no hand-made link chooses
anything. Curves are kept with the experiment where there are any; --choose_rates measures them. Trials have no weights measured, so that no
condition is on other rates than the chosen one.

Verdict, fixed before the runs: additive, English to French, at its largest budget. Intervals are of a bootstrap over seeds × sentences.
  learned   AER of the diagonal − AER has a lower bound above 0.05
  words     AER where it reads another sentence − AER has a lower bound above 0.05
  gap       AER of model 1 − AER, over all sentences, and over those within the trained lengths
  better than model 1             the gap's lower bound is above 0
  better within trained lengths   not so, but on sentences of at most text.max_words source words it is
  worse than model 1              the gap's upper bound is below 0
  no alignment                    the upper bounds of what learned and words say are below 0.05: no more is known than places
  worse than the diagonal         links follow words, as words says, and the upper bound of what learned says is below 0
  inconclusive                    else; or additive lacks a run, one of 8 seeds, a measurement or a rate curve, or one ends at an edge
With it goes whether AER still falls: its difference between the two largest budgets has a lower bound above 0.01; or has levelled off: an
upper bound below; else it may. One budget says neither. Each other arm is tested against model 1 by the same gap, two-sided, by Holm, at
its own largest budget, which the table names, and so is the best. An arm that lacks something there is left out, and a line says why. A
table holds the best arm against model 1: precision, recall, AER within and beyond the trained lengths, and the pairs that either has read.
An update of `hard` makes a readout over all target words for every source word: one seed took 0.94 s of CPU time where additive took 0.05,
18 times as long. So it has an eighth of the updates of the others, and of the pairs.

Presets. tiny: additive in both directions and guided, 1,000 and 2,000 updates of 32 pairs. small: all arms, 2,000 and 4,000, `hard` 250 and
500, additive 8,000 besides. full: 8,000 and 16,000 of 128, for an accelerator. Logits use the target's embedding: in trials of two seeds
the loss after 800 updates was 3.1 nats, and 4.3 without. An update of a seed takes about 30 ms of CPU time, of `hard` 0.6 to 1.2 s: tiny
trains for 20 minutes on 2 quiet cores, and its rate curves take 45 more; small for 120 to 150, 30 to 60 of them for `hard`, and 5 to 6
hours more for its curves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data.corpora import kept_links
from attention_jax.data.sources import Source
from attention_jax.report import aligned, aligned_verdict, by_seed, scoring, standings, tables
from attention_jax.report import findings as said
from attention_jax.report.aligned import Direction, Links
from attention_jax.report.aligned_verdict import BASELINE, OTHER
from attention_jax.report.figures import curves, ladders, looks
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import links
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import missing
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained, linked

PRESETS = ("tiny", "small", "full")
DATA = "real"
VALUE = "loss"  # what two folders of results are compared by
PAPERS = ("brown1993", "vogel1996", "och2003", "koehn2003", "mihalcea2003", "luong2015")
SETTINGS: dict[str, dict[str, Any]] = {
    "additive": {},
    "dot": {"model": {"attention": "dot"}},
    "local_p": {"model": {"window": "local_p"}},
    "monotonic": {"model": {"normaliser": "monotonic"}},
    "hard": {"model": {"estimator": "marginal"}},
    "guided": {"training": {"guided": 1.0}, "text": {"aligner": "hmm"}},
    "swapped": {"text": {"swapped": True}},
}
"""{arm: {section: settings in which it differs from additive}}."""
CHOICES = tuple(SETTINGS)
ARMS = ("additive", "swapped", "guided")
MORE = ("dot", "local_p", "monotonic", "hard")
"""Arms of small and full besides, unless --arms says which."""
NAMED = ("attention", "window", "normaliser", "estimator")
"""Settings of a model whose values name an arm, where they are not those of additive."""
FIELDS = (*(f"model.{field}" for field in NAMED), "training.guided", "training.batch_size", "text.aligner", "text.swapped")
FEWER = {"hard": 8}
"""{arm: how many times smaller its budgets are, because its updates take long}."""
BUDGETS = {"tiny": (1_000, 2_000), "small": (2_000, 4_000), "full": (8_000, 16_000)}
FURTHER = {"small": (8_000,)}
"""Budgets of additive beyond those."""

PRIMARY = "additive"
SEEDS = 8  # that are asked for
PUBLISHED = (
    ("global (location)", 0.39),
    ("local-m (general)", 0.34),
    ("local-p (general)", 0.36),
    ("ensemble", 0.34),
    ("Berkeley aligner", 0.32),
)
LUONG = "Luong, Pham, Manning 2015"

TINY = Config(
    model=ModelConfig(hidden_size=64, decoder_size=128, embedding_size=64, timing="after", tied="output"),
    data=DataConfig(task="hansards", eval_lengths=(6, 10, 14, 17, 21, 25, 30)),
    text=TextConfig(languages="en-fr", vocabularies="separate", vocabulary_size=2000, max_words=17, buckets=(16, 24, 32), cut=80),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=400,
        chunk=25,
    ),
)
SMALL = replace(TINY, training=replace(TINY.training, learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)))
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, decoder_size=512, embedding_size=256, dropout=0.2),
    text=replace(TINY.text, vocabulary_size=8000),
    training=replace(TINY.training, batch_size=128, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), checkpoint_every=1_000, chunk=100),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget."""
    base = {"tiny": TINY, "small": SMALL, "full": FULL}[preset]
    every = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else arms
    budgets = {arm: BUDGETS[preset] + (FURTHER.get(preset, ()) if arm == PRIMARY else ()) for arm in every}
    return [with_settings(base, arm, budget // FEWER.get(arm, 1)) for arm in every for budget in budgets[arm]]


def with_settings(base: Config, arm: str, updates: int) -> Config:
    """Returns the config of an arm at a budget."""
    differs = {section: replace(getattr(base, section), **values) for section, values in SETTINGS[arm].items()}
    config = replace(base, **differs)
    return replace(config, training=replace(config.training, updates=updates))


def check(config: Config) -> None:
    """Raises `ConfigError` for text without links made by hand."""
    if config.data.task != TINY.data.task and not (config.data.task == "parallel_text" and config.text.test_links):
        raise ConfigError(
            f"alignment scores hand-made links, which {config.data.task} has not: give text.test_links, or data.task=hansards"
        )


def arm(values: Mapping[str, Any]) -> str:
    """Returns the arm of a row, or of the settings in `FIELDS` by their last words: what differs from additive."""
    differ = [values[field] for field in NAMED if values[field] != getattr(TINY.model, field)]
    found = ["hard" if word == "marginal" else word for word in differ]
    return "_".join([*found, *["guided"] * bool(values["guided"]), *["swapped"] * values["swapped"]]) or PRIMARY


def values_of(config: Config) -> dict[str, Any]:
    """Returns the settings of a config by their last words."""
    return {**vars(config.model), **vars(config.training), **vars(config.text)}


def name(config: Config) -> str:
    """Returns a run's name, such as guided-gru-h64-u800."""
    return f"{arm(values_of(config))}-{config.model.cell}-h{config.model.hidden_size}-u{config.training.updates}"


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns the links of a seed, and how they are where they are read otherwise; with the first seed what all of them share.

    Raises `ConfigError` for a test set without links made by hand.
    """
    pairs = source.texts(next(iter(source.tests))) if source.texts else None
    if pairs is None or pairs.gold is None:
        raise ConfigError("alignment scores links made by hand, and the first test set has none: give text.test_links")
    attended = trained.attended(pairs.sources, pairs.targets)
    weights = linked.weights(attended)
    misled = linked.weights(trained.attended(linked.elsewhere(pairs.sources), pairs.targets))
    own = linked.found(weights)
    ways = {
        "a step before": linked.found(linked.weights(attended, later=-1)),
        "a step after": linked.found(linked.weights(attended, later=1)),
        OTHER: linked.within(linked.found(misled), pairs.sources),
        "EOS does not count": linked.found(weights, with_end=False),
    }
    rows = [{"what": "links", "links": aligned.lines(own)}]
    rows += [{"what": how, "counts": aligned.numbers(found, pairs.gold)} for how, found in ways.items()]
    if trained.seed == trained.config.training.first_seed:
        rows += [aligned.gold_row(pairs), *aligned.example_rows(pairs, weights, own)]
        if arm(values_of(trained.config)) in (PRIMARY, "swapped"):
            rows += [{"what": kind, "links": aligned.lines(found)} for kind, found in others(source).items()]
    return rows


def others(source: Source) -> dict[str, list]:
    """Trains the aligners on the training pairs, once for equal text, and returns their links of the test sentences."""
    assert source.texts is not None and source.cache is not None
    train, test = ((pairs.sources, pairs.targets) for pairs in map(source.texts, ("train", next(iter(source.tests)))))
    return {kind: kept_links.of(kind, train, test, source.cache) for kind in aligned.ALIGNERS}


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of links by method, by length, of both directions and of ways to read them, and the verdict."""
    group, places, of = read(rows)
    last = at_largest(group, places)
    shown = []
    if of:
        shown += [
            aligned.by_method(places, of, PUBLISHED, LUONG, group.rows[0].get("batch_size")),
            aligned.by_length(last, of, *lengths(group)),
        ]
        shown.append(aligned.otherwise(places, of))
        if both := in_both(places, of):
            shown.append(aligned.together(both, of[False]))
    shown += translation(group)
    if of_rates := scoring.rate_curves(group.rows, group.name):
        shown.append(of_rates)
    budgets, why, needs = group.budgets(PRIMARY), *lacking(group, places, of)
    if why:
        return Score(missing(why, needs), shown, scoring.budget_text(group))
    left_out = unjudged(group, places, of)
    standing = {arm: each for arm, each in last.items() if arm not in left_out}
    found = aligned_verdict.conditions(PRIMARY, last[PRIMARY], of[False], lengths(group)[1])
    last_of = {arm: group.budgets(arm)[-1] for arm in group.arms}
    beside = aligned_verdict.beside(standing, of, last_of, left_out)
    batch = group.rows[0].get("batch_size")
    compared = aligned_verdict.against(beside.best, last[beside.best], of[False], lengths(group)[1], last_of[beside.best], batch)
    counts = [places[PRIMARY, budget].counts(of[False]) for budget in budgets[-2:]]
    before = links.difference(counts[0], counts[1]) if len(counts) == 2 else None
    shown += [aligned.conditions(found, f"Conditions, {PRIMARY} at its largest budget"), beside.table, compared]
    return Score(aligned_verdict.judged(found, before, beside.says), shown, scoring.budget_text(group))


def read(rows: Sequence[dict]) -> tuple[Group, dict[aligned.Place, Links], dict[bool, Direction]]:
    """Returns results and rate curves under the names of arms, what was measured of each arm and budget, and the test sentences."""
    under = [row | {"attention": arm(row)} for row in rows]
    besides = [row for row in under if standings.is_measured(row)]
    group = Group(str(rows[0]["task"]), [row for row in under if not standings.is_measured(row)], ())
    return group, aligned.measured(besides, lambda row: row["attention"]), aligned.directions(besides)


def at_largest(group: Group, places: Mapping[aligned.Place, Links]) -> dict[str, Links]:
    """Returns what was measured of each arm at its largest budget."""
    found = {arm: places.get((arm, group.budgets(arm)[-1])) for arm in group.arms}
    return {arm: each for arm, each in found.items() if each is not None}


def lengths(group: Group) -> tuple[tuple[int, ...], int]:
    """Returns the edges of buckets of source length, and the longest that is trained; 0 where all are."""
    results = standings.reported(group.rows)
    edges = tuple(sorted({row["length"] for row in results if not row.get("open")}))
    seen = [row["length"] for row in results if row["seen"]]
    return edges, max(seen, default=0) if any(not row["seen"] for row in results) else 0


def lacking(group: Group, places: Mapping[aligned.Place, Links], of: Mapping[bool, Direction]) -> tuple[list[str], list[Need]]:
    """Returns why additive cannot be judged, and the runs that are needed for it; nothing where it can."""
    if PRIMARY not in group.arms:
        return [f"no run of {PRIMARY}"], []
    budgets = group.budgets(PRIMARY)
    needs = [need for budget in budgets if (need := scoring.lacking(group.rows, PRIMARY, budget) or few_seeds(group, budget))]
    why = [f"{PRIMARY} at {need.budget:,} updates: {need.why}" for need in needs]
    why += [each for budget in budgets if (each := unmeasured(group, places, PRIMARY, budget))]
    why += ["its test sentences and the links of aligners are not there"] * (False not in of or BASELINE not in of[False].aligners)
    if len({frozenset(seeds(group, PRIMARY, budget)) for budget in budgets[-2:]}) > 1:
        why.append(f"{PRIMARY} has other seeds at {budgets[-1]:,} than at {budgets[-2]:,} updates")
    return why, needs


def unjudged(group: Group, places: Mapping[aligned.Place, Links], of: Mapping[bool, Direction]) -> dict[str, str]:
    """Returns {arm: why it is left out of what stands beside additive, at its largest budget}."""
    found = {}
    for arm in group.arms:
        budget = group.budgets(arm)[-1]
        need, unread = scoring.lacking(group.rows, arm, budget), unmeasured(group, places, arm, budget)
        direction = None if unread else of.get(places[arm, budget].swapped)
        if need or unread:
            found[arm] = need.why if need else unread
        elif direction is None or BASELINE not in direction.aligners:
            found[arm] = "the links of aligners in its direction are not there"
    return found


def few_seeds(group: Group, budget: int) -> Need | None:
    """Returns the reported seeds that additive lacks at a budget; None where there are as many as the protocol asks for."""
    there = seeds(group, PRIMARY, budget)
    short = f"{len(there)} seeds, and the protocol asks for {SEEDS}"
    rate = scoring.choice(group.rows, PRIMARY, budget).rate
    return Need(PRIMARY, budget, "reported", SEEDS - len(there), (rate,), short) if len(there) < SEEDS else None


def seeds(group: Group, arm: str, budget: int) -> set[int]:
    """Returns the reported seeds of an arm at a budget."""
    return {row["seed"] for row in standings.reported(group.rows) if (row["attention"], row["budget"]) == (arm, budget)}


def unmeasured(group: Group, places: Mapping[aligned.Place, Links], arm: str, budget: int) -> str:
    """Says that some seeds of an arm at a budget have no links; "" where all have."""
    whole = (arm, budget) in places and set(places[arm, budget].found) == seeds(group, arm, budget)
    return "" if whole else f"{arm} at {budget:,} updates is not measured for every seed"


def in_both(places: Mapping[aligned.Place, Links], of: Mapping[bool, Direction]) -> dict[str, tuple]:
    """Returns the links of both directions, of additive at the largest budget that `swapped` has too, and of the aligners."""
    shared = [budget for arm, budget in places if arm == "swapped" and (PRIMARY, budget) in places]
    return aligned.in_both(PRIMARY, places[PRIMARY, max(shared)], places["swapped", max(shared)], of) if shared else {}


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of attention as alignment: whether its links follow the words that it reads, and are those of model 1."""
    group, places, of = read(rows)
    last = at_largest(group, places)
    if PRIMARY not in last or False not in of or BASELINE not in of[False].aligners:
        return []
    counts = last[PRIMARY].counts(of[False])
    misled = last[PRIMARY].read(OTHER, of[False])
    made = []
    for claim, source, other, theirs in (
        ("Attention aligns words", "Bahdanau, Cho, Bengio 2015", f"AER where it reads {OTHER}", misled),
        ("Attention aligns as well as a word aligner", "often said of its heat maps", f"AER of {BASELINE}", of[False].counts(BASELINE)),
    ):
        gap = links.difference(theirs, counts)
        made.append(said.of_interval(claim, source, f"{other} − AER of additive", gap.interval, digits=3))
    return made


def translation(group: Group) -> list[Table]:
    """Tabulates loss and BLEU by length of arms that write the same language, each at its largest budget, which its column names."""
    last = {arm: group.budgets(arm)[-1] for arm in group.arms}
    named = {arm: f"{arm}, {budget:,}" for arm, budget in last.items()}
    results = [row for row in standings.reported(group.rows) if not row["swapped"] and row["budget"] == last[row["attention"]]]
    if not results:
        return []
    together = [row | {"attention": named[row["attention"]], "budget": 0} for row in results]  # a column each, at whatever budget
    arms = list(dict.fromkeys(row["attention"] for row in together))
    reference = named[PRIMARY] if named.get(PRIMARY) in arms else None
    columns = "columns are arm, updates"
    return [
        tables.by_length(together, arms, reference, value, mode, 0, f"{title}; {columns}", digits)
        for value, mode, title, digits in (("loss", "forced", "Loss, nats per token", 3), ("bleu", "free", "BLEU", 1))
    ]


def figures(rows: list[dict]) -> dict:
    """Draws the best, the median and the worst sentence of every arm, AER by length, the loss by length, and rate curves."""
    group, places, of = read(rows)
    last, (edges, longest) = at_largest(group, places), lengths(group)
    title = "Weights where the translation is given; links made by hand are framed, sure ones by a line"
    examples = {arm: aligned.panels(arm, each.examples) for arm, each in last.items() if each.examples}
    drawn = {f"sentences_{arm}": looks.alignments(panels, title) for arm, panels in examples.items()}
    if False in of:
        drawn["aer_by_length"] = curves.length_curves(
            aligned.curves_by_length(last, of[False], edges),
            title="Alignment error rate by source length",
            ylabel="AER",
            xlabel="source length (words, upper edge of the bucket)",
            trained=(1, longest) if longest else None,
            line_label="all seeds and sentences",
        )
    results = [row for row in standings.reported(group.rows) if not row["swapped"]]
    if with_target := {row["attention"] for row in results}:
        drawn["loss_by_length"] = curves.length_curves(
            {arm: by_seed.curve(results, arm, "loss", "forced", group.budgets(arm)[-1]) for arm in group.arms if arm in with_target},
            title="Loss by source length",
            ylabel="loss (nats per token), largest budget",
            xlabel="source length (words, upper edge of the bucket)",
            percent=False,
            examples=by_seed.examples(results),
            open_lengths=by_seed.open_lengths(results),
        )
    if found := scoring.curves(group.rows):
        drawn["rates"] = ladders.rate_curves(found, "Rate curves")
    return drawn


def files(rows: list[dict]) -> dict[str, str]:
    """Returns the links of every run and seed, of the aligners, and those made by hand, as files in Pharaoh format."""
    return aligned.files([row for row in rows if standings.is_measured(row)])
