"""The fixed vector as a bottleneck: exact match by input length, with and without attention

Claim. Trained on the same data for the same number of updates, an encoder-decoder whose decoder gets one fixed vector
loses long inputs, and one that attends to every encoder state does not (Bahdanau, Cho, Bengio 2015).

Arms. `none` (the final state starts the decoder), `summary` (it is also the context of every step), `additive` (attention).
Encoder, start, query timing, updates and data order are the same in all arms; the learning rate is chosen per arm by
validation loss. Lengths are payload tokens; longer ones than trained on are shown, but do not enter the verdict.

Verdict, fixed before the runs: `statistics.bottleneck_verdict` of `summary` against the attention arm, on free-running exact
match at trained lengths, 95 % intervals over seeds. With short and long the lower and upper half of the evaluated trained lengths:
  inconclusive   if neither arm reaches 0.5 on the long half, or none of the following holds;
  no bottleneck  if attention − summary on the long half lies entirely below 0.1;
  bottleneck     if attention − summary on the long half and short − long of summary both lie entirely above 0.1, summary drops
                 more than attention does, and its teacher-forced accuracy per symbol drops too.
It holds at this budget: the figure shows the same curves at half of it, and a longer training may move them.

Presets. tiny: copy, 8 symbols, lengths 1 to 16, evaluated to 32; 3 runs of 8 seeds, under 5 minutes on 2 CPU cores.
full: lengths 1 to 50, evaluated to 100; GRU and LSTM, hidden sizes 64, 128, 256; 18 runs for an accelerator.
"""

from dataclasses import replace
from functools import partial

from attention_jax import statistics, tables
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.figures import curves
from attention_jax.sweep import Score
from attention_jax.tables import Table

ARMS = ("none", "summary", "additive")
FIXED = ("none", "summary")
GROUP = ("cell", "hidden_size")

TINY = Config(
    model=ModelConfig(hidden_size=64, embedding_size=32, direction="both"),
    data=DataConfig(
        task="copy", symbols=8, shortest=1, longest=16, eval_lengths=(1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32), eval_examples=128
    ),
    training=TrainingConfig(
        seeds=8, updates=800, batch_size=32, learning_rates=(2e-3, 4e-3, 8e-3, 1.6e-2), pilot_updates=100, checkpoint_every=200
    ),
)
FULL = replace(
    TINY,
    data=replace(TINY.data, longest=50, eval_lengths=(1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100), eval_examples=256),
    training=replace(TINY.training, updates=20_000, batch_size=128, pilot_updates=2_000, checkpoint_every=1_000, chunk=100),
)


def sweep(preset: str) -> list[Config]:
    """One run per arm; `full`: per cell and hidden size as well."""
    if preset == "tiny":
        return [replace(TINY, model=replace(TINY.model, attention=arm)) for arm in ARMS]
    return [
        replace(FULL, model=replace(FULL.model, attention=arm, cell=cell, hidden_size=hidden))
        for cell in ("gru", "lstm")
        for hidden in (64, 128, 256)
        for arm in ARMS
    ]


def name(config: Config) -> str:
    """E.g. additive-gru-h64."""
    return f"{config.model.attention}-{config.model.cell}-h{config.model.hidden_size}"


def score(rows: list[dict]) -> Score:
    """Tables by length and by arm for every (cell, hidden size), and the verdict of each fixed arm against attention."""
    shown, verdicts = [], {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        arms, attention = tables.arms_of(of_group, FIXED)
        full, half = tables.budgets_of(of_group)
        for value, budget, title in (
            ("exact_match", full, f"Exact match, free running, {group}, {full} updates"),
            ("exact_match", half, f"Exact match, free running, {group}, half the budget: {half} updates"),
            ("token_accuracy", full, f"Token accuracy, free running, {group}, {full} updates"),
        ):
            shown.append(tables.by_length(of_group, arms, attention, value, "free", budget, title))
        columns = {
            f"L{int(100 * level)} ({budget})": partial(_critical, of_group, level, budget)
            for level in (0.5, 0.99)
            for budget in (full, half)
        }
        shown.append(tables.by_arm(of_group, arms, columns, f"Arms, {group}; L50 and L99 in tokens"))
        for fixed in FIXED:
            for budget in (full, half):
                if fixed in arms and attention:
                    verdicts[group, fixed, budget] = statistics.bottleneck_verdict(of_group, fixed, attention, budget)
    lines = [(group, fixed, str(budget), *verdict) for (group, fixed, budget), verdict in verdicts.items()]
    shown.append(Table("Verdicts", ("group", "fixed arm", "updates", "verdict", "why"), lines))
    full, _ = tables.budgets_of(rows)
    primary = {group: verdict for (group, fixed, budget), verdict in verdicts.items() if (fixed, budget) == ("summary", full)}
    return Score(statistics.agree(primary), shown, tables.budget_text(rows))


def figures(rows: list[dict]) -> dict:
    """Exact match by length, every arm, full and half the budget, a picture per (cell, hidden size)."""
    drawn = {}
    for group, of_group in tables.grouped(rows, GROUP).items():
        arms, _ = tables.arms_of(of_group, FIXED)
        full, half = tables.budgets_of(of_group)
        seen = [row["length"] for row in of_group if row["seen"]]
        drawn[f"exact_match_{group}".replace(" ", "_")] = curves.length_curves(
            {arm: statistics.curve(of_group, arm, "exact_match", "free", full) for arm in arms},
            title=f"{of_group[0]['task']}, {group}: outputs that are entirely right",
            ylabel=f"exact match after {full} updates",
            trained=(min(seen), max(seen)) if seen else None,
            faint={arm: statistics.curve(of_group, arm, "exact_match", "free", half) for arm in arms},
            faint_label=f"after {half}",
            examples=statistics.examples(of_group),
        )
    return drawn


def _critical(rows: list[dict], level: float, budget: int, arm: str) -> str:
    return tables.critical_text(statistics.critical_interval(list(statistics.critical_by_seed(rows, arm, level, budget).values())))
