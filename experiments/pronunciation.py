"""Spelling to sound: phone and word error rate of soft, exact hard and monotonic attention beside the fixed vector, on CMUdict

Claim. Attention makes fewer phone errors than one fixed vector, and the more so the longer the word (Toshniwal, Livescu 2016). And of
attention that looks at one letter at a time, exact hard attention makes fewer than soft (Wu, Shapiro, Cotterell 2018), and attention that
only moves on along the word fewer still (Wu, Cotterell 2019: theirs is exact, the one here is trained by expectation, Raffel 2017).

Data. The CMU Pronouncing Dictionary, letters to phones without stress, as in published results; 5 % of the words are tested on, by hash.
Trained on the first pronunciation of words of at most 14 letters. A word is right where what was written is one of its pronunciations;
phone errors are edits to the nearest one, per phone of the first. Lengths are letters; words of 15 and more are beyond the trained ones.

Arms. Same encoder, decoder, start, data and updates; the context enters the readout alone, which is where the exact likelihood is exact:
  summary          one fixed vector, the last states, is the context of every step
  additive         soft attention (Bahdanau 2015)
  marginal         additive scores, one letter a step, the likelihood summed over all letters
  monotonic        additive scores, expected monotonic alignment in training, one letter a step in testing
  location_aware   additive scores that see the last weights (Chorowski 2015)
Chance levels: `blind`, soft attention trained with every word the same; and unigram, for each letter the phone it most often meets.

Measured. Phone error rate (PER) and word error rate (WER), greedy, by letters and over all test words; of each arm besides, how clean its
alignments are: entropy and largest weight of a look, and the share of moves that go back along the word.

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget, by validation loss. Curves are kept
with the experiment where there are any; --choose_rates measures them. `additive` and the other arms at U and 2U, `summary` at 4U, too.

Verdict, fixed before the runs: `text.verdicts.verdict` of `summary` against `additive` on phone errors (`text.measures.ERRORS`), by a
bootstrap over seeds and blocks of words; "long" and "short" are halves of the trained buckets of letters:
  bottleneck       at the largest budget summary − additive on long lies above 0.02 errors per phone; it exceeds that on short, as a
                   difference and as a ratio; no rate of the fixed arm closes it; and it is larger than what attention loses one rate off
  slower to train  that was so at a smaller budget, and at the largest the gap lies below 0.02
  no bottleneck    the gap lies below 0.02 and was never a bottleneck
  inconclusive     else, or where attention is not 0.25 better than the control, or runs or rate curves are missing
Between kinds of attention, over all trained lengths at 2U, by the same bootstrap, two-sided at 0.05 by Holm: fewer errors, more errors, no
difference (the interval lies within ±0.01), or undecided. Target at `small`: the upper bound of `additive`'s PER over all test words, at
2U, is 0.12 or less. A table says whether it is reached, and the same of the other kinds of attention.

Presets. tiny: H = 32, two arms and the control, 500 to 2,000 updates. small: H = 64, all arms, 1,500 to 6,000. full: H = 256, two layers,
for an accelerator. By the CPU time of shorter runs, on 2 quiet cores and with kept curves, tiny takes about 20 minutes, small 120; curves
that have to be measured take 2.5 times the training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax

from attention_jax import attention
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.layers import precision
from attention_jax.report import by_seed, error_rates, further, scoring, standings, tables
from attention_jax.report import findings as said
from attention_jax.report import targets as reached
from attention_jax.report.error_rates import Rates
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table
from attention_jax.report.targets import Target
from attention_jax.statistics import alignments, intervals, metrics, unigram, verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.text.measures import ERRORS
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types import Model

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("toshniwal2016", "yao2015", "rao2015", "wu2018", "wu2019", "raffel2017")
ARMS = ("summary", "additive")
MORE = ("marginal", "monotonic", "location_aware")
"""Arms of small and full besides, unless --arms says which."""
CHOICES = tuple(dict.fromkeys((*attention.TABLE, *attention.NORMALISERS, *attention.ESTIMATORS)))
FIELDS = ("model.normaliser", "model.estimator", "text.blind")
GROUP = ("task", "cell", "hidden_size")
VALUE = "loss"  # what two folders of results are compared by
FIXED, SOFT, UNIGRAM = "summary", "additive", "unigram"
PAIRS = (("marginal", SOFT), ("monotonic", SOFT), ("location_aware", SOFT), ("monotonic", "marginal"))
MEASURE = ERRORS._replace(unit="errors per phone", lengths="letters")
CLOSE, TARGET = 0.01, 0.12
BUDGETS = {"tiny": 500, "small": 1500, "full": 16_000}
"""U, in updates."""

PUBLISHED = (
    ("Yao, Zweig 2015", "bidirectional LSTM with alignments", "0.055", "0.236", "older edition"),
    ("Rao and others 2015", "bidirectional LSTM, CTC", "–", "0.258", "older edition"),
    ("Toshniwal, Livescu 2016", "attention, ensemble of five", "0.047", "0.202", "older edition"),
    ("g2p-seq2seq, README", "LSTM, two layers of 512, without attention", "–", "0.233", "older edition"),
    ("the same", "the same", "–", "about 0.31", "2018, without stress"),
    ("the same", "LSTM, two layers of 64, without attention", "–", "about 0.39", "2018, without stress"),
)
"""(source, model, PER, WER, edition of the dictionary): splits and editions differ from ours, so only orders of magnitude compare."""

TINY = Config(
    model=ModelConfig(hidden_size=32, embedding_size=32, timing="after"),
    data=DataConfig(task="cmudict", eval_lengths=(5, 6, 7, 8, 10, 14)),
    text=TextConfig(
        languages="en-phones",
        unit="character",
        target_unit="word",
        vocabularies="separate",
        vocabulary_size=100,
        lengths="characters",
        max_words=14,
        buckets=(8, 11, 16, 24),
        cut=32,
    ),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=500,
        chunk=50,
    ),
)
SMALL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=64),
    training=replace(TINY.training, learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2), chunk=25),
)
FULL = replace(
    SMALL,
    model=replace(TINY.model, hidden_size=256, embedding_size=128, layers=2, decoder_layers=2, dropout=0.2),
    training=replace(
        TINY.training, batch_size=128, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), checkpoint_every=1_000, chunk=100, evaluate="best"
    ),
)
BASES = {"tiny": TINY, "small": SMALL, "full": FULL}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget, the control included: fixed vectors at U, 2U and 4U, others at U and 2U."""
    base, first = BASES[preset], BUDGETS[preset]
    every = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else tuple(arms)
    control = [(arm, True) for arm in every if arm not in attention.fixed_vectors()][:1]
    return [
        replace(
            base,
            model=replace(base.model, **settings(arm)),
            text=replace(base.text, blind=blind),
            training=replace(base.training, updates=first * 2**rung),
        )
        for arm, blind in [*((arm, False) for arm in every), *control]
        for rung in range(3 if arm in attention.fixed_vectors() else 2)
    ]


def settings(arm: str) -> dict[str, str]:
    """Returns the settings of an arm: a mechanism, or additive scores with the normaliser or the estimator of its name."""
    if arm in attention.TABLE:
        return {"attention": arm}
    return {"attention": SOFT, "normaliser" if arm in attention.NORMALISERS else "estimator": arm}


def arm_of(mechanism: str, normaliser: str, estimator: str) -> str:
    """Returns the arm of these settings: what is not the default, else the mechanism."""
    named = [word for word, default in ((normaliser, "softmax"), (estimator, "soft")) if word != default]
    return "_".join([*([mechanism] if mechanism != SOFT or not named else []), *named])


def name(config: Config) -> str:
    """Returns a run's name, such as marginal-gru-h64-u3000, or blind-additive-…"""
    model, blind = config.model, "blind-" * config.text.blind
    arm = arm_of(model.attention, model.normaliser, model.estimator)
    return f"{blind}{arm}-{model.cell}-h{model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for texts whose letters and phones are not told apart: what is drawn has none, subwords are neither."""
    if sources.is_drawn(config.data) or "subword" in config.text.units:
        raise ConfigError("pronunciation reads symbols: set data.task to a corpus, text.unit and text.target_unit to character or word")


def measures(config: Config) -> bool:
    """Returns whether a run is measured besides: those that look at letters, and the control."""
    return attention.looks(config.model.attention)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns how an arm reads the test words, teacher-forced; of the control, errors of the unigram chance level by length instead."""
    if trained.config.text.blind:
        return chance(source)
    read = reader(trained.model, trained.config.training.precision)
    sums: dict[str, float] = {}
    for batch in source.evaluation("test", [trained.seed]):
        for field, value in read(trained.params, jax.tree.map(lambda x: x[0], batch)).items():
            sums[field] = sums.get(field, 0.0) + float(value)
    looks, moves = max(sums["looks"], 1.0), max(sums["moves"], 1.0)
    return [{"looks": sums["looks"], "largest_weight": sums["top"] / looks, "moves_back": sums["back"] / moves}]


@cache
def reader(model: Model, products: str):
    """Returns (params, batch) → sums of `alignments.reading`, jitted."""

    def read(params, batch):
        return alignments.reading(model.forced(params, batch, jax.random.key(0)).weights_BxTxS, batch.target_mask_BxT)

    return jax.jit(precision.applied(read, products))


def chance(source: Source) -> list[dict]:
    """Returns the errors of the unigram chance level on the test words: a row per length."""
    assert source.vocabularies is not None and source.texts is not None  # `check` sees to texts, and to symbols
    cuts = [vocabulary.symbols for vocabulary in source.vocabularies]
    assert cuts[0] is not None and cuts[1] is not None
    train, test = source.texts("train"), source.texts("test")
    table = unigram.learn(map(cuts[0], train.sources), map(cuts[1], train.targets))
    joint = "" if cuts[1]("ab") == "ab" else " "
    written = [joint.join(map(str, unigram.write(table, cuts[0](text)))) for text in test.sources]
    judged = metrics.judge([written], test.accepted, cuts[1])
    chosen = metrics.by_bucket(test.length_N, source.lengths)
    return [{"baseline": UNIGRAM, "length": length, "examples": len(each), **judged.of(0, each)} for length, each in chosen.items()]


class Parts(NamedTuple):
    """Rows of a group under the names of arms: results, rate curves with them, and what was measured besides."""

    name: str
    rows: list[dict]  # the control is an arm of its own
    measured: list[dict]
    arms: list[str]

    @property
    def results(self) -> list[dict]:
        """The reported rows."""
        return standings.reported(self.rows)

    @property
    def budget(self) -> int:
        """The largest budget that all arms have."""
        return max(set.intersection(*({row["budget"] for row in self.results if row["attention"] == arm} for arm in self.arms)))

    @property
    def trained(self) -> list[int]:
        """The trained lengths, ascending."""
        return standings.trained_lengths(self.results)


def groups(rows: Sequence[dict]) -> list[Parts]:
    """Returns the groups of rows, their arms named."""
    found = []
    for title, of_group in tables.grouped(rows, GROUP).items():
        named = [row | {"attention": CONTROL if row.get("blind") else _arm(row)} for row in of_group]
        named = [_with_words(row) if row.get("mode") == "free" and "exact_match" in row else row for row in named]
        measured = [row for row in named if standings.is_measured(row)]
        named = [row for row in named if not standings.is_measured(row)]
        found.append(Parts(title, named, measured, tables.arms_of(standings.reported(named), ())[0]))
    return found


def _with_words(row: dict) -> dict:
    return row | {"word_error_rate": 1.0 - float(row["exact_match"])}


def _arm(row: Mapping) -> str:
    return arm_of(row["attention"], row.get("normaliser", "softmax"), row.get("estimator", "soft"))


def score(rows: list[dict], sentences: Mapping[str, Sentences]) -> Score:
    """Returns error rates by length and over all words, how arms look, differences, published results, and the verdict."""
    shown, found = [], {}
    for part in groups(rows):
        reference = SOFT if SOFT in part.arms else None
        for value, what in (("error_rate", "Phone error rate"), ("word_error_rate", "Word error rate")):
            title = f"{what} by letters, {part.name}, {part.budget:,} updates; mean over seeds"
            shown.append(tables.by_length(part.results, part.arms, reference, value, "free", part.budget, title, 3))
        shown += further.by_length(part.rows, part.arms, reference, part.budget, ("error_rate", "exact_match"))
        title = f"Error rates over all test words, {part.name}; mean over seeds"
        shown.append(error_rates.by_budget(part.rows, part.arms, chance_level(part), title, ("PER", "WER")))
        shown += [targets(part), looks(part)]
        if of_rates := scoring.rate_curves(part.rows, part.name):
            shown.append(of_rates)
        if estimates := error_rates.differences(part.results, sentences, PAIRS, part.trained, MEASURE):
            title = f"Phone error rate, arm − another, trained lengths, {part.name}"
            shown.append(error_rates.compared(estimates, CLOSE, title)[0])
        found[part.name] = verdict([row for row in rows if row.get("role") != "measured"], part, sentences)
        if found[part.name].learned:
            shown.append(tables.conditions(found[part.name], f"Conditions, {part.name}, {FIXED} against {SOFT}"))
    corrected = verdicts.together(found)
    shown.append(Table("Published results, of other splits and editions", ("source", "model", "PER", "WER", "CMUdict"), PUBLISHED))
    shown.append(tables.corrected(corrected))
    return Score(verdicts.agree(corrected), shown, tables.budget_text(standings.reported(rows)))


def verdict(rows: Sequence[dict], part: Parts, sentences: Mapping[str, Sentences]) -> Verdict:
    """Judges `summary` against `additive` of a group, by phone errors; inconclusive where there is nothing to compare."""
    if not {FIXED, SOFT} <= set(part.arms):
        return verdicts.NOTHING_TO_COMPARE
    runs = {row["run"] for row in part.rows}
    named = [row | {"attention": _arm(row)} for row in rows if row["run"] in runs]
    try:
        declared = standings.declared([row for row in named if not row.get("blind")], FIXED, SOFT)
        return text_verdicts.verdict(named, sentences, declared, measure=MEASURE)
    except ConfigError as error:
        return Verdict("inconclusive", f"no comparison by the protocol: {error}", failed=("missing",))


def chance_level(part: Parts) -> dict[str, Rates]:
    """Returns {"unigram": its error rates}, which have no seeds; nothing where it was not measured."""
    if not (ours := [row for row in part.measured if row.get("baseline") == UNIGRAM]):
        return {}
    of_one = [row for row in ours if (row["run"], row["seed"]) == (ours[0]["run"], ours[0]["seed"])]
    edits, symbols, exact, examples = (sum(row[field] for row in of_one) for field in ("edits", "reference_symbols", "exact", "examples"))
    return {UNIGRAM: Rates({0: edits / symbols}, {0: 1 - exact / examples})}


def targets(part: Parts) -> Table:
    """Tabulates the target of every arm that looks at letters, at the largest shared budget."""
    seeing = [arm for arm in part.arms if arm not in (*attention.fixed_vectors(), CONTROL)]
    rates = {arm: error_rates.overall(part.rows, arm, part.budget).symbols for arm in seeing}
    declared = [Target(f"{arm}, PER", TARGET, error_rates.of_seeds(of_arm), at_most=True) for arm, of_arm in rates.items()]
    return reached.table(declared, f"all test words, {part.name}, {part.budget:,} updates")


def looks(part: Parts) -> Table:
    """Tabulates how clean alignments are, teacher-forced: entropy and largest weight of a look, and moves that go back."""
    lines = []
    for arm in part.arms:
        measured = [row for row in part.measured if row["attention"] == arm and row["budget"] == part.budget and row.get("looks")]
        besides = [{row["seed"]: row[field] for row in measured} for field in ("largest_weight", "moves_back")]
        lines.append((arm, *map(error_rates.mean_text, (entropies(part, arm), *besides))))
    header = ("arm", "entropy, nats", "largest weight", "moves back")
    return Table(f"How arms look at letters, {part.name}, {part.budget:,} updates; mean over seeds", header, lines)


def entropies(part: Parts, arm: str) -> dict[int, float]:
    """Returns {seed: entropy of a look, in nats, mean over all test words} of an arm; nothing for one that does not look."""
    found: dict[int, list[tuple[float, int]]] = {}
    for row in part.results:
        ours = row["attention"] == arm and row["budget"] == part.budget and row["mode"] == "forced"
        if ours and row.get("alignment_entropy") is not None:
            found.setdefault(row["seed"], []).append((row["alignment_entropy"], row["examples"]))
    return {seed: sum(x * n for x, n in pairs) / sum(n for _, n in pairs) for seed, pairs in found.items()}


SENTENCES = {
    ("marginal", SOFT): ("Exact hard attention makes fewer errors than soft attention", "Wu, Shapiro, Cotterell 2018"),
    ("monotonic", "marginal"): ("Attention that only moves on makes fewer errors still", "Wu, Cotterell 2019"),
}
"""{(arm, other): what is said of them, and who says it}."""


def findings(rows: list[dict], sentences: Mapping[str, Sentences]) -> list[Finding]:
    """Returns what the rows say of spelling to sound: the fixed vector on long words, and kinds of attention over all trained ones."""
    found = []
    for part in groups(rows):
        judged = verdict([row for row in rows if row.get("role") != "measured"], part, sentences)
        for rung in judged.rungs[-1:]:
            at, source = f"{part.name}, {rung.budget:,} updates", "Toshniwal, Livescu 2016"
            gap, widening = rung.conditions[:2]
            found += [
                said.of_condition("Spelling to sound through a fixed vector is worse on long words", source, f"{gap.says} {at}", gap, 3),
                said.of_condition("Its errors grow with length faster than attention's", source, f"{widening.says} {at}", widening, 3),
            ]
        for pair, each in error_rates.differences(part.results, sentences, tuple(SENTENCES), part.trained, MEASURE).items():
            fewer = each._replace(value=-each.value)
            number = f"{pair[1]} − {pair[0]} in errors per phone, {part.name}, {part.budget:,} updates"
            p = intervals.two_sided(fewer.p(0.0))
            found.append(Finding(*SENTENCES[pair], number, fewer.interval(), p, digits=4))
    return found


def figures(rows: list[dict]) -> dict:
    """Draws phone and word error rate by letters, phone error rate by budget, and rate curves."""
    drawn = {}
    for part in groups(rows):
        seeing = [arm for arm in part.arms if arm != CONTROL]
        title = part.name.replace(" ", "_")
        for value, what in (("error_rate", "phone error rate"), ("word_error_rate", "word error rate")):
            drawn[f"{value}_{title}"] = curves.length_curves(
                {arm: by_seed.curve(part.results, arm, value, "free", part.budget) for arm in seeing},
                title=f"{part.name}: {what} by letters",
                ylabel=f"{what}, {part.budget:,} updates",
                xlabel="letters (upper edge of the bucket)",
                trained=(1, max(part.trained)) if part.trained else None,
                percent=False,
                examples=by_seed.examples(part.results),
                open_lengths=by_seed.open_lengths(part.results),
            )
        budgets = {arm: sorted({row["budget"] for row in part.results if row["attention"] == arm}) for arm in seeing}
        drawn[f"budgets_{title}"] = curves.length_curves(
            {
                arm: {budget: error_rates.of_seeds(error_rates.overall(part.rows, arm, budget).symbols) for budget in of_arm}
                for arm, of_arm in budgets.items()
            },
            title=f"{part.name}: phone error rate over all test words",
            ylabel="phone error rate",
            xlabel="budget (updates, each a run of its own)",
            percent=False,
            budgets=True,
        )
        if found := scoring.curves(part.rows):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {part.name}")
    return drawn
