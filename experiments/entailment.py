"""Does the first sentence entail the second? Word-by-word attention against the last state (Rocktäschel et al. 2016), on SICK

Claim. A premise that is handed over as its last state alone costs accuracy, and attention over its words brings it back (their 80.9 % to
83.5 % on SNLI, one seed, models of other sizes). Here encoder, decoder, sizes, data order and budgets are the same in every arm.

Command. python -m experiments.run --experiment=entailment --data_dir=<folder with sick/SICK.txt>

Data. SICK (CC BY-NC-SA 3.0): 4,378 training, 491 validation and 4,927 test pairs. The source is the premise; the decoder reads the
hypothesis, word by word, and then says the label (text.given), which alone is trained and scored. Pairs of test are in no other split, but
sentences are: 74 % of its premises are in training pairs, so that a model may know sentences by heart. The control shows what that is
worth. SNLI, in its publisher's files, has longer sentences and more words: docs/data.md has the whole command.

Arms. All embed both sentences by one table, which the labels share (model.tied=all); GRU cells.
  conditional     the decoder starts from the premise's last states, and gets nothing else of it: their conditional encoding
  attention       and at the label it attends over the premise's words (additive scores, query after the cell): their attention
  word_by_word    and at every word of the hypothesis, what it saw being an input of the next one (model.feeding): theirs of that name
  summary         (by --arms) the last states are the context of every step besides
Control. word_by_word trained with every source the same (text.blind): hypothesis and label alone. Also the label that is the most frequent
in training: 56.7 % of test.

Measured. Label errors per test pair, free running, by words of the premise: edits from what is written to the label. Accuracy is the share
of pairs of which the label is written and nothing else; it is 1 minus label errors only where one symbol is written of every pair.
Intervals of accuracy and of its differences are of a bootstrap over seeds and blocks of 16 consecutive pairs, which share sentences. All
arms are evaluated at the checkpoint of the smallest validation loss: 4,378 pairs are read 2 to 17 times at tiny, and up to 234 times at
full.

Verdict, fixed before the runs: `text.verdicts.verdict` of conditional against word_by_word, on label errors:
  learned     the control errs more than word_by_word on the longer half of premises: lower bound above 0.02
  gap         conditional errs more than word_by_word on that half: lower bound above 0.01
  length      that difference, and the ratio of error rates, grow from short premises to long ones: lower bounds above 0
  rates       no rate of conditional's grid closes the gap (means of selection seeds, above 0.01)
  placebo     the gap is larger than what word_by_word loses one rate off
  bottleneck, slower to train, no bottleneck, inconclusive (which names what is missing): as in translation_length.
Attention and control run at their own three rungs (full: four), and the best of them by validation loss counts; a rung above is the fixed
arm's alone. Findings of their own, by Holm: accuracy over all pairs of each attending arm against conditional, and of word_by_word against
the control, which says whether the premise adds anything.

Presets. tiny: conditional, word_by_word and the control, H = 32, 8 seeds, budgets of 300, 600 and 1,200 updates, and 2,400 of conditional.
small: all arms and the control, H = 64, 400 to 1,600, and 3,200. full: H = 100, as theirs, 2,000 to 16,000 updates, and 32,000, for an
accelerator. Tables by length are at the largest budget that all arms have. By `--dry_run` in the CPU time of one core, halved for two and
set against runs that were timed, with rate curves: tiny about 30 minutes, small 90 to 125.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.report import by_seed, further, scores, scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score
from attention_jax.statistics import verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import scores as pair_scores
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.text.blocks import Sums
from attention_jax.statistics.text.measures import ERRORS
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
PAPERS = ("rocktaschel2016", "marelli2014", "bowman2015", "gururangan2018")
SETTINGS = {
    "conditional": {"attention": "none"},
    "attention": {"attention": "additive", "timing": "after"},
    "word_by_word": {"attention": "additive", "timing": "after", "feeding": True},
    "summary": {"attention": "summary"},
}
"""{arm: its settings of the model}."""
ARMS = ("conditional", "word_by_word")
MORE = ("attention",)
"""Arms of small and full besides, unless --arms says which."""
CHOICES = tuple(SETTINGS)
FIELDS = ("model.timing", "model.feeding", "text.blind")
FIXED, ATTENDING = "conditional", "word_by_word"
GROUP = ("task", "cell", "hidden_size")
DATA = "real"  # what `--experiment=all-real` runs
VALUE = "error_rate"  # what two folders of results are compared by
LABELS = ERRORS._replace(unit="label errors", learned=0.02, margin=0.01, progress=0.005)
MAJORITY = "majority"
SOURCE = "Rocktäschel and others 2016"
LADDERS = {"tiny": (300, 3), "small": (400, 3), "full": (2000, 4)}
"""The smallest budget, in updates, and how many rungs there are, each twice the one before; `conditional` and `summary` have one more."""

TINY = Config(
    model=ModelConfig(hidden_size=32, embedding_size=32, dropout=0.2, tied="all"),
    data=DataConfig(task="sick", eval_lengths=(7, 9, 11, 13, 32)),
    text=TextConfig(languages="en-en", unit="word", vocabulary_size=4000, buckets=(12, 16, 24, 36), cut=48, given="=>"),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=100,
        chunk=25,
        evaluate="best",
    ),
)
SMALL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=64, embedding_size=64),
    training=replace(TINY.training, learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)),
)
FULL = replace(
    SMALL,
    model=replace(SMALL.model, hidden_size=100, embedding_size=100),
    training=replace(SMALL.training, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=500, chunk=100),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config per arm and budget, control included."""
    base, (first, rungs) = {"tiny": TINY, "small": SMALL, "full": FULL}[preset], LADDERS[preset]
    chosen = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else arms
    control = [(ATTENDING, True)] if ATTENDING in chosen else []
    return [
        replace(
            base,
            model=replace(base.model, **SETTINGS[arm]),
            text=replace(base.text, blind=blind),
            training=replace(base.training, updates=first * 2**rung),
        )
        for arm, blind in [*((arm, False) for arm in chosen), *control]
        for rung in range(rungs + (arm in (FIXED, "summary")))
    ]


def arm_of(attention: str, timing: str, feeding: bool) -> str:
    """Returns the arm of these settings of a row."""
    if attention in ("none", "summary"):
        return {"none": "conditional", "summary": "summary"}[attention]
    return ("word_by_word" if feeding else "attention") + (f"_{timing}" if timing != "after" else "")


def arm(row: Mapping) -> str:
    """Returns the arm of a row, the control being one."""
    return CONTROL if row["blind"] else arm_of(row["attention"], row["timing"], row["feeding"])


def name(config: Config) -> str:
    """Returns a run's name, such as word_by_word-gru-h64-u800, or blind-word_by_word-…"""
    model, blind = config.model, "blind-" * config.text.blind
    return f"{blind}{arm_of(model.attention, model.timing, model.feeding)}-{model.cell}-h{model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for what is drawn, which has no texts."""
    sources.check_texts(config.data, "pairs of sentences: set it to a corpus of them, as sick")
    if config.text.units[1] == "subword":
        raise ConfigError("a label is a word, and text.unit=subword cuts it: set text.unit to word")


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns the most frequent label of training, and how often it is right in test, by block of pairs."""
    assert source.texts is not None  # `check` sees to that
    train, test = ([labels[0] for labels in source.texts(split).accepted] for split in ("train", "test"))
    most = Counter(train).most_common(1)[0][0]
    return [{"label": most, MAJORITY: pair_scores.spelled(pair_scores.summed([label == most for label in test]))}]


def score(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> Score:
    """Returns label errors by length, accuracy by arm and budget, rate curves, and the verdict with its conditions."""
    shown, found = [], {}
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        results = standings.reported(of_group)
        arms, _ = tables.arms_of(results, ())
        full, _ = tables.budgets_of(results)
        reference = ATTENDING if ATTENDING in arms else None
        title = f"Accuracy over all test pairs, {group}; {MAJORITY}: the label that training has most"
        shown.append(scores.by_arm(accuracies(of_group, sentences), FIXED, baselines(of_group), title))
        title = f"Label errors by words of the premise, {group}, {full:,} updates"
        shown.append(tables.by_length(results, arms, reference, "error_rate", "free", full, title, 3))
        shown += further.by_length(of_group, arms, reference, full, ("error_rate",))
        shown.append(tables.by_arm(results, arms, {}, f"Arms, {group}"))
        if of_rates := scoring.rate_curves(of_group, group):
            shown.append(of_rates)
        found[group] = verdict(of_group, sentences)
        if found[group].learned:
            shown.append(tables.conditions(found[group], f"Conditions, {group}, {FIXED} against {ATTENDING}"))
    corrected = verdicts.together(found)
    shown.append(tables.corrected(corrected))
    return Score(verdicts.agree(corrected), shown, tables.budget_text(standings.reported(rows)))


def named(rows: Sequence[dict]) -> list[dict]:
    """Returns the rows under the names of arms, the control being one; the control keeps the arm that it is of in `seeing`."""
    return [row | {"attention": arm(row), "seeing": arm_of(row["attention"], row["timing"], row["feeding"])} for row in rows]


def verdict(rows: Sequence[dict], sentences: Mapping[str, Sentences]) -> Verdict:
    """Judges conditional against word_by_word by the rows of a group; inconclusive where there is nothing to compare."""
    arms = {row["attention"] for row in rows}
    if not {FIXED, ATTENDING} <= arms:
        return verdicts.NOTHING_TO_COMPARE
    results = [row | {"attention": row["seeing"]} for row in rows if not standings.is_measured(row)]
    seeing = [row for row in results if not row["blind"]]
    try:
        declared = standings.declared(seeing, FIXED, ATTENDING, own_rungs=True)
        return text_verdicts.verdict(results, sentences, declared, measure=LABELS)
    except ConfigError as error:
        return Verdict("inconclusive", f"no comparison by the protocol: {error}", failed=("missing",))


def accuracies(rows: Sequence[dict], sentences: Mapping[str, Sentences]) -> dict[tuple[str, int], Sums]:
    """Returns right labels of every arm and budget by seed and block of test pairs, of runs whose sentences are there."""
    places = {row["run"]: (row["attention"], row["budget"]) for row in standings.reported(rows)}
    found = {place: sentences[run] for run, place in places.items() if run in sentences}
    return {
        place: pair_scores.of_sentences(of_run.seeds, of_run.exact_RxN) for place, of_run in found.items() if of_run.exact_RxN is not None
    }


def baselines(rows: Sequence[dict]) -> dict[str, list[float]]:
    """Returns how often the most frequent label of training is right, by block of test pairs."""
    measured = [row[MAJORITY] for row in rows if standings.is_measured(row)]
    return {MAJORITY: pair_scores.read(measured[0])} if measured else {}


def findings(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of accuracy at all lengths: of each attending arm against conditional, and against the control."""
    claims = (
        ("Attention at the end of the hypothesis helps to tell entailment", SOURCE, "attention", FIXED),
        ("Attention at every word of the hypothesis helps to tell entailment", SOURCE, ATTENDING, FIXED),
        ("The premise adds to the hypothesis", "Gururangan and others 2018", ATTENDING, CONTROL),
    )
    found = []
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        right = accuracies(of_group, sentences)
        for claim, source, seeing, other in claims:
            if budget := scores.largest(right, seeing, other):
                gained = pair_scores.gained(right[seeing, budget], right[other, budget])
                found.append(scores.finding(claim, source, f"accuracy, {seeing} − {other}, {group}, {budget:,} updates", gained))
    return found


def figures(rows: list[dict]) -> dict:
    """Draws label errors by words of the premise, and rate curves."""
    drawn = {}
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        results, title = standings.reported(of_group), group.replace(" ", "_")
        arms, _ = tables.arms_of(results, ())
        full, _ = tables.budgets_of(results)
        drawn[f"errors_{title}"] = curves.length_curves(
            {arm: by_seed.curve(results, arm, "error_rate", "free", full) for arm in arms},
            title=f"{group}: labels that are wrong",
            ylabel=f"label errors, {full:,} updates",
            xlabel="premise length (words, upper edge of the bucket)",
            percent=False,
            examples=by_seed.examples(results),
            open_lengths=by_seed.open_lengths(results),
        )
        if found := scoring.curves(of_group):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group}")
    return drawn
