"""From the lead of a news story to its headline: a fixed vector, attention, and attention that copies, on Reuters-21578

Claim. A lead that is handed over as one vector costs the headline, the more the longer the lead is, and attention over its words brings
that back; a model that may copy words from the lead (See et al. 2017) writes better ones than one that has to spell them. Loss and ROUGE
say so or not: names and figures are not counted apart.

Command. python -m experiments.run --experiment=headlines --data_dir=<folder with reuters21578/reuters21578.tar.gz>

Data. Reuters-21578 (free for research): first paragraphs and titles of stories of 1987, split by date as Lewis did, 9,504 training, 514
validation and 4,163 test pairs; no lead and no headline is in two splits (corpora/reuters.py says what is left out). Files of Gigaword's
format, an article a line and a title a line, are a user's own text, and longer: docs/data.md has the whole command.

Arms. summary: the last states are the context of every step. additive: attention. copy: additive and a pointer-generator (model.copy).
Encoder, decoder, sizes, data order and budgets are the same. Control: additive trained with every source the same (text.blind).
Baselines: lead, its first words, as many as a training headline has; unigram, the most frequent words of training headlines, as many.

Measured. Nats per target token, teacher-forced, by words of the lead; ROUGE-1, -2 and -L of what is written, F, without stems, by test
story. Intervals of ROUGE and of its differences are of a bootstrap over seeds and blocks of 16 consecutive stories.

Verdict, fixed before the runs: `text.verdicts.verdict` of summary against additive, on nats per token, as in translation_length:
  learned     the control's loss on the longer half of leads is above that of additive: lower bound above 0.05 nats
  gap         summary's loss on that half is above additive's: lower bound above 0.05 nats
  length      that difference, and the ratio of losses, grow from short leads to long ones: lower bounds above 0
  rates       no rate of summary's grid closes the gap (means of selection seeds, above 0.05 nats)
  placebo     the gap is larger than what additive loses one rate off
  bottleneck, slower to train, no bottleneck, inconclusive (which names what is missing).
Attention and control run at their own three rungs (full: four), and the best of them by validation loss counts; a rung above is the fixed
vector's alone. Findings of their own, by Holm: ROUGE-1 of additive over the control, of additive over summary, of copy over additive.

Presets. tiny: summary, additive and the control, H = 32, 1,000 subwords, 8 seeds, budgets of 300, 600 and 1,200 updates of 16 pairs, and
2,400 of summary. small: the same budgets, with copy, H = 64, 2,000 subwords. Leads of all lengths are trained, so that validation, which
chooses rates, and ROUGE are of trained lengths. full: H = 256, 4,000 to 32,000 updates of 64, and 64,000 of summary, for an accelerator.
Tables by length are at the largest budget that all arms have. At most 24 subwords of an output are written (full: 48). By `--dry_run` in
the CPU time of one core, halved for two and set against runs that were timed, with rate curves: tiny about 40 minutes, small 80 to 135. Two
seeds of small at rate 0.008 and 400 updates: 4.81 and 4.65 nats on validation, the control 5.12 twice.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.corpora import words
from attention_jax.data.sources import Source
from attention_jax.report import by_seed, further, scores, scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score
from attention_jax.statistics import hypotheses, rouge, verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import scores as story_scores
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.text.blocks import Sums
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
PAPERS = ("rush2015", "see2017", "lin2004")
SETTINGS = {
    "summary": {"attention": "summary"},
    "additive": {"attention": "additive"},
    "copy": {"attention": "additive", "copy": True},
}
"""{arm: its settings of the model}."""
ARMS = ("summary", "additive")
MORE = ("copy",)
"""Arms of small and full besides, unless --arms says which."""
CHOICES = tuple(SETTINGS)
FIELDS = ("model.copy", "text.blind")
FIXED, ATTENDING, COPYING, UNIGRAM, LEAD = "summary", "additive", "copy", "unigram", "lead"
GROUP = ("task", "cell", "hidden_size")
DATA = "real"  # what `--experiment=all-real` runs
VALUE = "loss"  # what two folders of results are compared by
LADDERS = {"tiny": (300, 3), "small": (300, 3), "full": (4000, 4)}
"""The smallest budget, in updates, and how many rungs there are, each twice the one before; the fixed vector has one more."""

TINY = Config(
    model=ModelConfig(hidden_size=32, embedding_size=32, dropout=0.1, tied="all"),
    data=DataConfig(task="reuters", eval_lengths=(20, 24, 28, 32, 60)),
    text=TextConfig(languages="lead-headline", vocabulary_size=1000, buckets=(44, 56, 72, 112), cut=128),
    search=SearchConfig(max_length=24),
    training=TrainingConfig(
        seeds=8,
        batch_size=16,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=300,
        chunk=25,
    ),
)
SMALL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=64, embedding_size=64),
    text=replace(TINY.text, vocabulary_size=2000, buckets=(40, 48, 60, 100)),
    training=replace(TINY.training, learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)),
)
FULL = replace(
    SMALL,
    model=replace(SMALL.model, hidden_size=256, embedding_size=128, dropout=0.3),
    text=replace(SMALL.text, vocabulary_size=4000),
    search=SearchConfig(max_length=48),
    training=replace(
        SMALL.training, batch_size=64, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), checkpoint_every=1000, chunk=100, evaluate="best"
    ),
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
        for rung in range(rungs + (arm == FIXED))
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as copy-gru-h96-u1000, or blind-additive-…"""
    model, blind = config.model, "blind-" * config.text.blind
    arm = COPYING if model.copy else model.attention
    return f"{blind}{arm}-{model.cell}-h{model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for what is drawn, which has no texts."""
    sources.check_texts(config.data, "headlines: set it to a corpus of them, as reuters")


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row per kind of ROUGE: F of what the seed wrote, and of the baselines, summed by block of test stories.

    Raises `DataError` where the run's outputs are not in its folder.
    """
    assert source.texts is not None and trained.folder is not None  # `check` sees to texts; what was trained is in a folder
    test, train = source.texts("test"), source.texts("train")
    written = hypotheses.read(trained.folder / hypotheses.FILE)
    if trained.seed not in written.seeds or list(written.sources) != test.sources:
        raise DataError(f"{trained.folder / hypotheses.FILE} has not what seed {trained.seed} wrote for these stories; delete that folder")
    ours = rouge.scores(written.hypotheses[written.seeds.index(trained.seed)], test.targets)
    beside = baseline_scores(tuple(train.targets), tuple(test.sources), tuple(test.targets))
    return [
        {
            "rouge": kind,
            "stories": len(test.targets),
            "sums": story_scores.spelled(story_scores.summed(ours[kind])),
            **{baseline: story_scores.spelled(story_scores.summed(found[kind])) for baseline, found in beside.items()},
        }
        for kind in rouge.NAMES
    ]


@lru_cache(maxsize=2)
def baseline_scores(headlines: tuple[str, ...], leads: tuple[str, ...], references: tuple[str, ...]) -> dict[str, dict]:
    """Returns ROUGE of the lead's first words, and of the most frequent words of training headlines, as many as these have on average."""
    counted = Counter(word for headline in headlines for word in words.split(headline))
    n = round(counted.total() / len(headlines))
    frequent = " ".join(word for word, _ in counted.most_common(n))
    first = [" ".join(words.split(lead)[:n]) for lead in leads]
    return {LEAD: rouge.scores(first, references), UNIGRAM: rouge.scores([frequent] * len(references), references)}


def score(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> Score:
    """Returns ROUGE by arm and budget, losses by length, rate curves, and the verdict with its conditions."""
    shown, found = [], {}
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        results = standings.reported(of_group)
        arms, _ = tables.arms_of(results, ())
        full, _ = tables.budgets_of(results)
        reference = ATTENDING if ATTENDING in arms else None
        for kind in rouge.NAMES:
            title = f"{kind.upper()}, F, over all test stories, {group}; {LEAD}: its first words, {UNIGRAM}: the most frequent words"
            shown.append(scores.by_arm(written(of_group, kind), FIXED, baselines(of_group, kind), title))
        title = f"Loss, nats per target token, by words of the lead, {group}, {full:,} updates"
        shown.append(tables.by_length(results, arms, reference, "loss", "forced", full, title, 3))
        shown += further.by_length(of_group, arms, reference, full, ("loss",))
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
    """Returns the rows under the names of arms, copying and the control being two."""
    return [row | {"attention": arm(row)} for row in rows]


def arm(row: Mapping) -> str:
    """Returns the arm of a row, copying and the control being two."""
    return CONTROL if row["blind"] else COPYING if row["copy"] else row["attention"]


def verdict(rows: Sequence[dict], sentences: Mapping[str, Sentences]) -> Verdict:
    """Judges summary against additive by the rows of a group; inconclusive where there is nothing to compare."""
    if not {FIXED, ATTENDING} <= {row["attention"] for row in rows}:
        return verdicts.NOTHING_TO_COMPARE
    ours = [row for row in rows if row["attention"] in (FIXED, ATTENDING, CONTROL) and not standings.is_measured(row)]
    results = [row | {"attention": ATTENDING} if row["blind"] else row for row in ours]
    seeing = [row for row in results if not row["blind"]]
    try:
        declared = standings.declared(seeing, FIXED, ATTENDING, own_rungs=True)
        return text_verdicts.verdict(results, sentences, declared)
    except ConfigError as error:
        return Verdict("inconclusive", f"no comparison by the protocol: {error}", failed=("missing",))


def written(rows: Sequence[dict], kind: str) -> dict[tuple[str, int], Sums]:
    """Returns ROUGE of every arm and budget by seed and block of test stories, of runs that were measured."""
    by_place: dict[tuple[str, int], dict[int, list[float]]] = {}
    ours = [row for row in rows if standings.is_measured(row) and row["rouge"] == kind]
    for row in ours:
        by_place.setdefault((row["attention"], row["budget"]), {})[row["seed"]] = story_scores.read(row["sums"])
    return {place: story_scores.of_blocks(of_seed, ours[0]["stories"]) for place, of_seed in by_place.items()}


def baselines(rows: Sequence[dict], kind: str) -> dict[str, list[float]]:
    """Returns ROUGE of the baselines by block of test stories."""
    ours = [row for row in rows if standings.is_measured(row) and row["rouge"] == kind]
    return {baseline: story_scores.read(ours[0][baseline]) for baseline in (LEAD, UNIGRAM) if ours}


def findings(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of ROUGE-1: of attention over the control, and over the fixed vector; of copying."""
    kind, found = rouge.NAMES[0], []
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        ours = written(of_group, kind)
        for claim, source, seeing, reference in (
            ("Attention writes headlines of their own story", "Rush, Chopra, Weston 2015", ATTENDING, CONTROL),
            ("Headlines through a fixed vector are worse", "Bahdanau, Cho, Bengio 2015", ATTENDING, FIXED),
            ("Copying from the source makes better headlines", "See, Liu, Manning 2017", COPYING, ATTENDING),
        ):
            if budget := scores.largest(ours, seeing, reference):
                gained = story_scores.gained(ours[seeing, budget], ours[reference, budget])
                found.append(scores.finding(claim, source, f"{kind}, {seeing} − {reference}, {group}, {budget:,} updates", gained))
    return found


def figures(rows: list[dict]) -> dict:
    """Draws losses by words of the lead, and rate curves."""
    drawn = {}
    for group, of_group in tables.grouped(named(rows), GROUP).items():
        results, title = standings.reported(of_group), group.replace(" ", "_")
        arms, _ = tables.arms_of(results, ())
        full, _ = tables.budgets_of(results)
        drawn[f"loss_{title}"] = curves.length_curves(
            {arm: by_seed.curve(results, arm, "loss", "forced", full) for arm in arms},
            title=f"{group}: loss by the lead's length",
            ylabel=f"nats per token, {full:,} updates",
            xlabel="lead (words, upper edge of the bucket)",
            percent=False,
            examples=by_seed.examples(results),
            open_lengths=by_seed.open_lengths(results),
        )
        if found := scoring.curves(of_group):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group}")
    return drawn
