"""Translation quality by sentence length, with and without attention: figure 2 of Bahdanau, Cho, Bengio (2015) at our scale

Claim. On real text, too, the decoder that gets one fixed vector (`summary`: the last state is the context of every step, as
in their RNNencdec) loses more than the one that attends (`additive`, their RNNsearch) the longer the source is. Unlike theirs
both arms here have the same bidirectional encoder, start, timing, budgets and data order, several seeds, and subwords
instead of an unknown word. Logits are read through maxout units, as theirs: tanh units saturate, and seeds stay at word frequencies.

Control. `additive` trained with every source the same (text.blind): what can be learned of targets alone. An arm that is not 0.05
nats better has not learned to translate.

Lengths are words of the raw source; a bucket is named by its upper edge, the open one behind them by its first length. Each arm is
judged by teacher-forced loss (nats per target token); chrF and BLEU of the bucket, free running, stand beside. The learning rate of each
arm and budget is chosen by its rate curve, see `rates`.

Verdict, fixed before the runs: `text.verdicts.verdict` of `summary` against `additive` on trained buckets, by a bootstrap over seeds and
blocks of consecutive test captions, each caption once in each length of joining. "Long" and "short" are halves of the trained buckets:
  bottleneck       at the largest budget summary − additive on long lies above 0.05 nats; it exceeds that on short, as a difference and as a
                   ratio of losses; no rate of the fixed arm closes it; and it is larger than what attention loses one rate off
  slower to train  that was so at a smaller budget, and at the largest the gap lies below 0.05
  no bottleneck    the gap lies below 0.05 and was never a bottleneck
  inconclusive     else, or where attention is not 0.05 better than the control

Figure 2. Where arms are trained on two caps, BLEU by length of all four models stands in one figure with its bands: search-30 and search-50
(attention), encdec-30 and encdec-50 (`summary`). Facts of its shape, fixed before the runs, at the largest budget, of BLEU in buckets of
length that is weighted by their sentences, paired by seed, p by Holm for all of a corpus:
  search-30 lies above encdec-50, over all lengths
  attention's lead at cap 50 is larger on sources of 31 to 50 words than on those of 20 and less
  search-50 is flat: beyond 50 words it has lost less than 2 BLEU of what it has on 31 to 50

Presets. tiny: Multi30k German-English, 1 to 4 consecutive captions joined, trained on at most 40 words, 400 and 800 updates; 6 runs for 2
CPU cores. small: 1 to 5 captions joined, so that 200 test sources have more than 50 words, trained on at most 30 and on at most 50, 400 and
800 updates, and `summary` 1,600 besides; 14 runs. full: natural lengths, of Python's documentation English-Spanish, and those of small, for
an accelerator; `summary` has twice the largest budget there, too. Tables by length and the facts of figure 2 are at the largest budget that
all arms have.

Not met at small: natural lengths. `additive` of small's size on Python's documentation, one seed, 1,000 updates at cap 50, had 14 BLEU on
sources of at most 20 words, 9 on 31 to 50 and 7 beyond. A seed takes about twice as long an update as on captions: one cap with rate curves
would take two hours, both four, and small takes 150 without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.report import by_seed, further, scoring, standings, tables
from attention_jax.report import findings as said
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table, interval_text
from attention_jax.statistics import verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("bahdanau2015",)
ARMS = ("summary", "additive")
GROUP = ("task", "max_words")
CORPUS = GROUP[:1]
VALUE = "loss"  # what two folders of results are compared by
BAHDANAU = "Bahdanau, Cho, Bengio 2015, figure 2"
RUNGS = 2  # budgets: half of the updates, and all
FURTHER = {"tiny": 0, "small": 1, "full": 1}
"""Doublings that fixed vectors have beyond them. The rows of tiny that are kept have none."""

CAPS = (30, 50)  # words of the longest source that is trained on
FLAT = 2.0  # BLEU
RIGHT = {"exact_match": "Exact match", "error_rate": "Error rate, edits per symbol of the reference"}
"""{field of a row of free running: the heading of its table}, where rows have it."""

TINY = Config(
    model=ModelConfig(hidden_size=64, embedding_size=64, readout="maxout", dropout=0.1),
    data=DataConfig(task="multi30k", eval_lengths=(10, 20, 30, 40, 50, 60)),
    text=TextConfig(languages="de-en", vocabulary_size=1000, join_min=1, join_max=4, max_words=40, buckets=(20, 32, 48, 88), cut=128),
    training=TrainingConfig(
        seeds=8,
        updates=800,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=400,
        chunk=25,
    ),
)
FULL = Config(
    model=ModelConfig(hidden_size=512, embedding_size=256, readout="maxout", dropout=0.2),
    data=DataConfig(task="python_docs", eval_lengths=(5, 10, 15, 20, 25, 30, 40, 50, 60, 70)),
    text=TextConfig(languages="en-es", vocabulary_size=8000, buckets=(16, 32, 48, 64, 96, 128), cut=256),
    training=TrainingConfig(
        seeds=8,
        updates=32_000,
        batch_size=64,
        schedule="cosine",
        learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
        checkpoint_every=1_000,
        chunk=100,
        evaluate="best",
    ),
)


SMALL = replace(
    TINY,
    data=replace(TINY.data, eval_lengths=(10, 15, 20, 30, 40, 50, 60)),
    text=replace(TINY.text, join_max=5, buckets=(20, 32, 48, 80, 112)),
    training=replace(TINY.training, updates=800),
)
JOINED = replace(
    FULL,
    data=SMALL.data,
    text=replace(SMALL.text, vocabulary_size=8000),
)
SWEEPS = {"tiny": ((TINY, (TINY.text.max_words,)),), "small": ((SMALL, CAPS),), "full": ((FULL, CAPS), (JOINED, CAPS))}
"""{preset: (a corpus and its model, caps in words), one or more}."""


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config per corpus, training cap, arm and budget, control included."""
    control = [(arm, True) for arm in arms if arm not in fixed_vectors()][:1]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm),
            text=replace(base.text, max_words=cap, blind=blind),
            training=replace(base.training, updates=base.training.updates // 2 ** (RUNGS - 1) * 2**rung),
        )
        for base, caps in SWEEPS[preset]
        for cap in caps
        for arm, blind in [*((arm, False) for arm in arms), *control]
        for rung in range(RUNGS + FURTHER[preset] * (arm in fixed_vectors()))
    ]


def check(config: Config) -> None:
    """Raises `ConfigError` for what is drawn, which has no texts."""
    sources.check_texts(config.data, "texts to translate: set it to a corpus of pairs, as multi30k")


def name(config: Config) -> str:
    """Returns a run's name, such as summary-gru-h64-w40-u1600, or blind-additive-…; -natural where lengths are those of a corpus."""
    model, blind, natural = config.model, "blind-" * config.text.blind, "-natural" * (config.data.task == FULL.data.task)
    sizes = f"{model.cell}-h{model.hidden_size}-w{config.text.max_words}-u{config.training.updates}"
    return f"{blind}{model.attention}-{sizes}{natural}"


def score(rows: list[dict], sentences: Mapping[str, Sentences]) -> Score:
    """Returns loss, chrF and BLEU by bucket, rate curves, and the verdict with its conditions, for every training cap."""
    shown, found = [], {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        named = _named(of_group)
        results = standings.reported(named)
        arms, attention = tables.arms_of(results, (*fixed_vectors(), CONTROL))
        full, least = tables.budgets_of(results)
        losses = {full: "Loss, nats per target token"} | ({least: "Loss"} if least < full else {})
        for value, mode, digits, budget, title in (
            *(("loss", "forced", 3, budget, f"{title}, {group}, {budget} updates") for budget, title in losses.items()),
            ("chrf", "free", 1, full, f"chrF, {group}, {full} updates"),
            ("bleu", "free", 1, full, f"BLEU, {group}, {full} updates"),
        ):
            shown.append(tables.by_length(results, arms, attention, value, mode, budget, title, digits))
        for value, what in RIGHT.items():
            if any(value in row for row in results):
                shown.append(tables.by_length(results, arms, attention, value, "free", full, f"{what}, {group}, {full} updates", 3))
        shown += further.by_length(named, arms, attention, full)
        shown.append(tables.by_arm(results, arms, {}, f"Arms, {group}"))
        if of_rates := scoring.rate_curves(named, group):
            shown.append(of_rates)
        found[group] = verdict(of_group, sentences)
        if found[group].learned:
            shown.append(tables.conditions(found[group], f"Conditions, {group}"))
    corrected = verdicts.together(found)
    shown += [
        shape_table(corpus, of_corpus) for corpus, of_corpus in tables.grouped(_named(rows), CORPUS).items() if shape(corpus, of_corpus)
    ]
    shown.append(tables.corrected(corrected))
    signatures = sorted({row[name] for row in rows for name in ("bleu_signature", "chrf_signature") if name in row})
    shown.append(Table("Signatures", ("sacrebleu",), [(signature,) for signature in signatures]))
    return Score(verdicts.agree(corrected), shown, tables.budget_text(standings.reported(rows)))


def verdict(rows: list[dict], sentences: Mapping[str, Sentences]) -> Verdict:
    """Judges `summary` against the attention arm of a group; inconclusive where there is nothing to compare."""
    seeing = [row for row in _named(rows) if row["attention"] != CONTROL]
    arms, attention = tables.arms_of(seeing, fixed_vectors())
    if "summary" not in arms or attention is None:
        return verdicts.NOTHING_TO_COMPARE
    try:
        return text_verdicts.verdict(rows, sentences, standings.declared(seeing, "summary", attention))
    except ConfigError as error:
        return Verdict("inconclusive", f"no comparison by the protocol: {error}", failed=("missing",))


def findings(rows: list[dict], sentences: Mapping[str, Sentences]) -> list[Finding]:
    """Returns what the rows say of translation: what the fixed arm lacks on long sources, and how much more than on short ones."""
    found = []
    for group, of_group in tables.grouped(rows, GROUP).items():
        for rung in verdict(of_group, sentences).rungs[-1:]:
            gap, widening = rung.conditions[:2]
            at = f"{group}, {rung.budget:,} updates"
            found += [
                said.of_condition("Translation through a fixed vector is worse on long sentences", BAHDANAU, f"{gap.says} {at}", gap, 3),
                said.of_condition("Its loss grows with length faster than attention's", BAHDANAU, f"{widening.says} {at}", widening, 3),
            ]
    for corpus, of_corpus in tables.grouped(_named(rows), CORPUS).items():
        found += shape(corpus, of_corpus)
    return found


def shape(corpus: str, rows: list[dict]) -> list[Finding]:
    """Returns the facts of figure 2 on a corpus, of rows in which the control has its own name; nothing without both caps and arms."""
    models = _models(rows)
    if len(models) < 2 * len(CAPS):
        return []
    results = standings.reported(rows)
    shared, _ = tables.budgets_of(results)
    trained = CAPS[-1]
    every = sorted({row["length"] for row in results})
    short, long = ([x for x in every if low < x <= high] for low, high in ((0, 20), (CAPS[0], trained)))
    beyond = [x for x in every if x > trained]

    def bleu(model: str, lengths: Sequence[int]) -> np.ndarray:
        of_model, arm = models[model]
        found = by_seed.pooled(of_model, arm, "bleu", "free", shared, lengths)
        return np.array([found[seed] for seed in sorted(found)])

    lead = {name: bleu(f"search-{trained}", x) - bleu(f"encdec-{trained}", x) for name, x in (("short", short), ("long", long)) if x}
    made = [
        said.of_seeds(
            f"Attention trained on {CAPS[0]} words beats a fixed vector trained on {trained}",
            BAHDANAU,
            f"BLEU, search-{CAPS[0]} − encdec-{trained}, all lengths, {corpus}",
            bleu(f"search-{CAPS[0]}", every) - bleu(f"encdec-{trained}", every),
            digits=1,
        )
    ]
    if len(lead) == 2:
        number = f"BLEU, search-{trained} − encdec-{trained}, {CAPS[0] + 1} to {trained} words less up to 20, {corpus}"
        made.append(said.of_seeds("Attention's lead grows with length", BAHDANAU, number, lead["long"] - lead["short"], digits=1))
    if beyond and long:
        change = bleu(f"search-{trained}", beyond) - bleu(f"search-{trained}", long)
        number = f"BLEU, search-{trained}, beyond {trained} words less {CAPS[0] + 1} to {trained}, {corpus}"
        made.append(said.of_seeds("Attention does not deteriorate with sentences of 50 words and more", BAHDANAU, number, change, -FLAT, 1))
    return made


def shape_table(corpus: str, rows: list[dict]) -> Table:
    """Tabulates the facts of figure 2 on a corpus, corrected together."""
    judged = said.together(shape(corpus, rows))
    lines = [(each.number, interval_text(each.interval, 1), f"{each.bar:g}", tables.p_text(p), word) for each, p, word in judged]
    return Table(f"Facts of figure 2, {corpus}; p two-sided, by Holm", ("what", "value", "bar", "p", "so it"), lines)


def _models(rows: list[dict]) -> dict[str, tuple[list[dict], str]]:
    """Returns {"search-30", …: (its results, its arm)} of rows of one corpus that were trained on both caps."""
    results = [row for row in standings.reported(rows) if row["attention"] != CONTROL]
    arms, attention = tables.arms_of(results, fixed_vectors())
    words = {"encdec": "summary", "search": attention}
    found = {}
    for word, arm in words.items():
        for cap in CAPS:
            of_cap = [row for row in results if row["attention"] == arm and row.get("max_words") == cap]
            if arm in arms and of_cap:
                found[f"{word}-{cap}"] = (of_cap, arm)
    return found


def figures(rows: list[dict]) -> dict:
    """Draws loss, chrF and BLEU by source length, at the largest budget and the smallest, and rate curves."""
    drawn = {}
    for group, of_group in tables.grouped(_named(rows), GROUP).items():
        results = [row for row in standings.reported(of_group) if row["attention"] != CONTROL]
        arms, _ = tables.arms_of(results, fixed_vectors())
        full, least = tables.budgets_of(results)
        seen = [row["length"] for row in results if row["seen"]]
        for value, mode, label in (("loss", "forced", "loss (nats per token)"), ("chrf", "free", "chrF"), ("bleu", "free", "BLEU")):
            drawn[f"{value}_{group}".replace(" ", "_")] = curves.length_curves(
                {arm: by_seed.curve(results, arm, value, mode, full) for arm in arms},
                title=f"{group}: {label} by source length",
                ylabel=f"{label}, {full} updates",
                xlabel="source length (words, upper edge of the bucket)",
                trained=(1, max(seen)) if seen else None,
                faint={arm: by_seed.curve(results, arm, value, mode, least) for arm in arms} if least < full else None,
                faint_label=f"after {least}",
                percent=False,
                examples=by_seed.examples(results),
                open_lengths=by_seed.open_lengths(results),
            )
        if found := scoring.curves(of_group):
            drawn[f"rates_{group}".replace(" ", "_")] = ladders.rate_curves(found, f"Rate curves, {group}")
    for corpus, of_corpus in tables.grouped(_named(rows), CORPUS).items():
        if len(models := _models(of_corpus)) == 2 * len(CAPS):
            drawn[f"figure_2_{corpus}"] = figure_2(corpus, models)
    return drawn


def figure_2(corpus: str, models: Mapping[str, tuple[list[dict], str]]):
    """Draws BLEU by length of search-30, search-50, encdec-30 and encdec-50, at the largest budget that all have."""
    every = [row for of_model, _ in models.values() for row in of_model]
    shared, _ = tables.budgets_of(every)
    return curves.length_curves(
        {name: by_seed.curve(of_model, arm, "bleu", "free", shared) for name, (of_model, arm) in models.items()},
        title=f"{corpus}: BLEU by source length; names say the longest that was trained on",
        ylabel=f"BLEU, greedy, {shared:,} updates",
        xlabel="source length (words, upper edge of the bucket)",
        percent=False,
        examples=by_seed.examples(every),
        open_lengths=by_seed.open_lengths(every),
    )


def _named(rows: list[dict]) -> list[dict]:
    """Returns rows in which the control is an arm of its own."""
    return [row | {"attention": CONTROL} if row.get("blind") else row for row in rows]
