"""Translation quality by sentence length, with and without attention: figure 2 of Bahdanau, Cho, Bengio (2015) at our scale

Claim. On real text, too, the decoder that gets one fixed vector (`summary`: the last state is the context of every step, as
in their RNNencdec) loses more than the one that attends (`additive`, their RNNsearch) the longer the source is. Unlike theirs
both arms here have the same bidirectional encoder, start, timing, number of updates and data order, several seeds, and subwords
instead of an unknown word.

Lengths are words of the raw source; a bucket is named by its upper edge, the open one behind them by its first length. Each arm is
judged by teacher-forced loss (nats per target subword), and free-running chrF and BLEU of the bucket; the learning rate is chosen per arm
by validation loss.

Verdict, fixed before the runs: `statistics.length_loss_verdict` of `summary` against `additive` on trained buckets:
  bottleneck     if summary − additive on the longer half of the buckets lies entirely above 0.05 nats and exceeds that on the
                 shorter half (95 % intervals over seeds, paired);
  no bottleneck  if it lies entirely below 0.05 on the longer half, or is smaller there than on the shorter;
  inconclusive   otherwise.
It holds at this budget only.

Presets. tiny: Multi30k German-English, 1 to 4 consecutive captions joined, trained on at most 40 words; 2 runs, under 30
minutes on 2 CPU cores. full: Python's documentation English-Spanish, trained on at most 30 and at most 50 words, as in
the paper; 4 runs for an accelerator.
"""

from collections.abc import Sequence
from dataclasses import replace

from attention_jax import standings, statistics, tables, verdicts
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.figures import curves
from attention_jax.tables import Score, Table

PRESETS = ("tiny", "full")
ARMS = ("summary", "additive")
FIXED = ("none", "summary")
GROUP = ("task", "max_words")
VALUE = "loss"  # what two folders of results are compared by

TINY = Config(
    model=ModelConfig(hidden_size=64, embedding_size=64, dropout=0.1),
    data=DataConfig(task="multi30k", eval_lengths=(10, 20, 30, 40, 50, 60)),
    text=TextConfig(languages="de-en", vocabulary_size=1000, join_min=1, join_max=4, max_words=40, buckets=(20, 32, 48, 88), cut=128),
    training=TrainingConfig(
        seeds=8,
        updates=2400,
        batch_size=32,
        schedule="cosine",
        learning_rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
        checkpoint_every=400,
        chunk=25,
    ),
)
FULL = Config(
    model=ModelConfig(hidden_size=512, embedding_size=256, dropout=0.2),
    data=DataConfig(task="python_docs", eval_lengths=(10, 20, 30, 40, 50, 60, 70)),
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
    """A run per arm and budget, half of the updates and all; `full`: per training cap as well."""
    base, caps = (TINY, (TINY.text.max_words,)) if preset == "tiny" else (FULL, (30, 50))
    return [
        replace(
            base,
            model=replace(base.model, attention=arm),
            text=replace(base.text, max_words=cap),
            training=replace(base.training, updates=updates),
        )
        for cap in caps
        for arm in arms
        for updates in (base.training.updates // 2, base.training.updates)
    ]


def name(config: Config) -> str:
    """E.g. additive-gru-h64-w40-u2400."""
    model, budget = config.model, config.training.updates
    return f"{model.attention}-{model.cell}-h{model.hidden_size}-w{config.text.max_words}-u{budget}"


def score(rows: list[dict]) -> Score:
    """Loss, chrF and BLEU by bucket, and the verdict, for every training cap."""
    rows, shown, found = standings.reported(rows), [], {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        arms, attention = tables.arms_of(of_group, FIXED)
        full, half = tables.budgets_of(of_group)
        for value, mode, digits, budget, title in (
            ("loss", "forced", 3, full, f"Loss, nats per target subword, {group}, {full} updates"),
            ("loss", "forced", 3, half, f"Loss, {group}, half the budget: {half} updates"),
            ("chrf", "free", 1, full, f"chrF, {group}, {full} updates"),
            ("bleu", "free", 1, full, f"BLEU, {group}, {full} updates"),
        ):
            shown.append(tables.by_length(of_group, arms, attention, value, mode, budget, title, digits))
        shown.append(tables.by_arm(of_group, arms, {}, f"Arms, {group}"))
        for budget in (full, half):
            if "summary" in arms and attention:
                found[group, budget] = statistics.length_loss_verdict(of_group, "summary", attention, budget)
    shown.append(
        Table("Verdicts", ("group", "updates", "verdict", "why"), [(g, str(b), each.value, each.reason) for (g, b), each in found.items()])
    )
    signatures = sorted({row[name] for row in rows for name in ("bleu_signature", "chrf_signature") if name in row})
    shown.append(Table("Signatures", ("sacrebleu",), [(signature,) for signature in signatures]))
    full, _ = tables.budgets_of(rows)
    primary = {group: verdict for (group, budget), verdict in found.items() if budget == full}
    return Score(verdicts.agree(primary), shown, tables.budget_text(rows))


def figures(rows: list[dict]) -> dict:
    """Loss, chrF and BLEU by source length; full and half the budget."""
    rows, drawn = standings.reported(rows), {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        arms, _ = tables.arms_of(of_group, FIXED)
        full, half = tables.budgets_of(of_group)
        seen = [row["length"] for row in of_group if row["seen"]]
        for value, mode, label in (("loss", "forced", "loss (nats per subword)"), ("chrf", "free", "chrF"), ("bleu", "free", "BLEU")):
            drawn[f"{value}_{group}".replace(" ", "_")] = curves.length_curves(
                {arm: statistics.curve(of_group, arm, value, mode, full) for arm in arms},
                title=f"{group}: {label} by source length",
                ylabel=f"{label}, {full} updates",
                xlabel="source length (words, upper edge of the bucket)",
                trained=(1, max(seen)) if seen else None,
                faint={arm: statistics.curve(of_group, arm, value, mode, half) for arm in arms},
                faint_label=f"after {half}",
                percent=False,
                examples=statistics.examples(of_group),
                open_lengths=statistics.open_lengths(of_group),
            )
    return drawn
