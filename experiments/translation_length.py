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

Presets. tiny: Multi30k German-English, 1 to 4 consecutive captions joined, trained on at most 40 words; 6 runs for 2 CPU cores. full:
Python's documentation English-Spanish, trained on at most 30 and at most 50 words, as in the paper, for an accelerator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.report import by_seed, scoring, standings, tables
from attention_jax.report import findings as said
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import verdicts as text_verdicts
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError

PRESETS = ("tiny", "full")
PAPERS = ("bahdanau2015",)
ARMS = ("summary", "additive")
GROUP = ("task", "max_words")
VALUE = "loss"  # what two folders of results are compared by
BAHDANAU = "Bahdanau, Cho, Bengio 2015, figure 2"
RUNGS = 2  # budgets: half of the updates, and all
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


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config per arm and budget, control included; in `full` per training cap as well."""
    base, caps = (TINY, (TINY.text.max_words,)) if preset == "tiny" else (FULL, (30, 50))
    control = [(arm, True) for arm in arms if arm not in fixed_vectors()][:1]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm),
            text=replace(base.text, max_words=cap, blind=blind),
            training=replace(base.training, updates=base.training.updates // 2**rung),
        )
        for cap in caps
        for arm, blind in [*((arm, False) for arm in arms), *control]
        for rung in reversed(range(RUNGS))
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as additive-gru-h64-w40-u1600, or blind-additive-…"""
    model, blind = config.model, "blind-" * config.text.blind
    return f"{blind}{model.attention}-{model.cell}-h{model.hidden_size}-w{config.text.max_words}-u{config.training.updates}"


def score(rows: list[dict], sentences: Mapping[str, Sentences]) -> Score:
    """Returns loss, chrF and BLEU by bucket, rate curves, and the verdict with its conditions, for every training cap."""
    shown, found = [], {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        named = _named(of_group)
        results = standings.reported(named)
        arms, attention = tables.arms_of(results, (*fixed_vectors(), CONTROL))
        full, half = tables.budgets_of(results)
        for value, mode, digits, budget, title in (
            ("loss", "forced", 3, full, f"Loss, nats per target token, {group}, {full} updates"),
            ("loss", "forced", 3, half, f"Loss, {group}, {half} updates"),
            ("chrf", "free", 1, full, f"chrF, {group}, {full} updates"),
            ("bleu", "free", 1, full, f"BLEU, {group}, {full} updates"),
        ):
            shown.append(tables.by_length(results, arms, attention, value, mode, budget, title, digits))
        for value, what in RIGHT.items():
            if any(value in row for row in results):
                shown.append(tables.by_length(results, arms, attention, value, "free", full, f"{what}, {group}, {full} updates", 3))
        shown += _further(named, arms, attention, full)
        shown.append(tables.by_arm(results, arms, {}, f"Arms, {group}"))
        if of_rates := scoring.rate_curves(named, group):
            shown.append(of_rates)
        found[group] = verdict(of_group, sentences)
        if found[group].learned:
            shown.append(tables.conditions(found[group], f"Conditions, {group}"))
    corrected = verdicts.together(found)
    lines = [(group, str(each), f"{each.p:.2g}", ", ".join(each.failed)) for group, each in corrected.items()]
    shown.append(Table("Verdicts; p of bottleneck, corrected for all of them (Holm)", ("group", "verdict", "p", "what failed"), lines))
    signatures = sorted({row[name] for row in rows for name in ("bleu_signature", "chrf_signature") if name in row})
    shown.append(Table("Signatures", ("sacrebleu",), [(signature,) for signature in signatures]))
    return Score(verdicts.agree(corrected), shown, tables.budget_text(standings.reported(rows)))


def _further(rows: list[dict], arms: Sequence[str], attention: str | None, budget: int) -> list[Table]:
    """Tabulates the results on test sets behind the first one."""
    shown = []
    for test, of_test in tables.grouped(standings.further(rows), ("test",)).items():
        for value, mode, digits, what in (("loss", "forced", 3, "Loss"), ("chrf", "free", 1, "chrF"), ("bleu", "free", 1, "BLEU")):
            shown.append(tables.by_length(of_test, arms, attention, value, mode, budget, f"{what}, {test}, {budget} updates", digits))
        for value, what in RIGHT.items():
            if any(value in row for row in of_test):
                shown.append(tables.by_length(of_test, arms, attention, value, "free", budget, f"{what}, {test}, {budget} updates", 3))
    return shown


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
    return found


def figures(rows: list[dict]) -> dict:
    """Draws loss, chrF and BLEU by source length, at the largest budget and the smallest, and rate curves."""
    drawn = {}
    for group, of_group in tables.grouped(_named(rows), GROUP).items():
        results = [row for row in standings.reported(of_group) if row["attention"] != CONTROL]
        arms, _ = tables.arms_of(results, fixed_vectors())
        full, half = tables.budgets_of(results)
        seen = [row["length"] for row in results if row["seen"]]
        for value, mode, label in (("loss", "forced", "loss (nats per token)"), ("chrf", "free", "chrF"), ("bleu", "free", "BLEU")):
            drawn[f"{value}_{group}".replace(" ", "_")] = curves.length_curves(
                {arm: by_seed.curve(results, arm, value, mode, full) for arm in arms},
                title=f"{group}: {label} by source length",
                ylabel=f"{label}, {full} updates",
                xlabel="source length (words, upper edge of the bucket)",
                trained=(1, max(seen)) if seen else None,
                faint={arm: by_seed.curve(results, arm, value, mode, half) for arm in arms},
                faint_label=f"after {half}",
                percent=False,
                examples=by_seed.examples(results),
                open_lengths=by_seed.open_lengths(results),
            )
        if found := scoring.curves(of_group):
            drawn[f"rates_{group}".replace(" ", "_")] = ladders.rate_curves(found, f"Rate curves, {group}")
    return drawn


def _named(rows: list[dict]) -> list[dict]:
    """Returns rows in which the control is an arm of its own."""
    return [row | {"attention": CONTROL} if row.get("blind") else row for row in rows]
