"""The fixed vector as a bottleneck: exact match by input length and budget, with and without attention

Claim. An encoder-decoder whose decoder gets one fixed vector loses long inputs, and one that attends to every encoder state does not
(Bahdanau, Cho, Bengio 2015). Is the vector full, or only slow to train? Each budget is a run of its own, its learning rate annealed to
its own end.

Arms. `summary`: the final state, projected to d numbers, starts the decoder and is the context of every step; `additive`: attention, with
the same start. Encoder, decoder, start, query timing, data and data order are the same. `none` (the vector starts the decoder and is no
context) joins with --arms=none,summary,additive; any other mechanism does likewise.

Data. One source in 8 is never trained on, and alone tested on; a length with fewer than 48 of these is not tested. Longer sources than
trained on are shown, but do not enter the verdict: attention does not carry this task beyond trained lengths either.

Rates. Per arm and budget: each rate of the grid, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that
cannot be told from the best. Curves are kept with the experiment for the runs of tiny and verdict; --choose_rates measures them.

Verdict, fixed before the runs: `verdicts.verdict` of `summary` against attention on free-running exact match. U is the smallest budget at
which attention has learned the long half of the trained lengths; results are multiples of U.
  bottleneck        up to k × U: at the largest budget attention leads by more than 0.1 on the long half, symbol errors of the fixed arm
                    grow with length by more than attention's, no rate of its grid closes the gap, and it is larger than what attention
                    loses one rate off; "levelling off" if the last doubling gained less than 0.5 tokens of L50, else "still closing"
  slower to train   that was so at a smaller budget, and at the largest the gap is below 0.1
  no bottleneck     the gap is below 0.1 and was never a bottleneck
  inconclusive      else, with what failed and the runs that would decide it

Presets. tiny: copy of 8 symbols, lengths 1 to 16, H = 16, d = 8, 8 seeds; under 5 minutes on 2 CPU cores. verdict: the same with a longer
ladder. small: d = 4, 8, 16, 32. full: lengths 1 to 50, H = 256, d = 16 to 128, for an accelerator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report import scoring, tables
from attention_jax.report.figures import ladders
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score

PRESETS = ("tiny", "verdict", "small", "full")
ARMS = ("summary", "additive")
GROUP = ("cell", "hidden_size", "vector_size")

TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16, vector_size=8),
    data=DataConfig(
        task="copy",
        symbols=8,
        shortest=1,
        longest=16,
        held_out=8,
        eval_lengths=(3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32),
        eval_examples=512,
    ),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=1600,
    ),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, embedding_size=64, vector_size=16),
    data=replace(TINY.data, longest=50, eval_lengths=(3, 4, 5, 6, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 60, 80, 100)),
    training=replace(TINY.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)
LADDERS = {"tiny": (100, 6), "verdict": (100, 8), "small": (100, 8), "full": (500, 8)}
"""The smallest budget, in updates, and how many rungs there are, each twice the one before."""
RUNGS = 3
"""So many of them are attention's: at the second it has learned, so that these are U, 2U, and one below U."""
SIZES = {"small": (8, 4, 16, 32), "full": (32, 16, 64, 128)}
"""d; the first one is the claim's own."""


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """A run for every d, arm and budget."""
    base, (first, rungs) = FULL if preset == "full" else TINY, LADDERS[preset]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm, vector_size=d),
            training=replace(base.training, updates=first * 2**rung),
        )
        for d in SIZES.get(preset, (base.model.vector_size,))
        for arm in arms
        for rung in range(rungs if arm in fixed_vectors() else RUNGS)
    ]


def name(config: Config) -> str:
    """E.g. summary-gru-h16-d8-u3200."""
    model = config.model
    return f"{model.attention}-{model.cell}-h{model.hidden_size}-d{model.vector_size}-u{config.training.updates}"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Tables, conditions and verdicts of every (cell, hidden size, d)."""
    return scoring.score(rows, GROUP, fixed_vectors(), primary="summary")


def figures(rows: list[dict]) -> dict:
    """Exact match by length beside L50 by budget, every d in one picture of a (cell, hidden size); rate curves, a picture for every d."""
    groups = scoring.groups(rows, GROUP, fixed_vectors())
    drawn = {}
    for alike, of_alike in tables.grouped(rows, GROUP[:-1]).items():
        several = [group for group in groups if group.rows[0] in of_alike]
        lines = [line for group in sorted(several, key=_size) for line in scoring.lines(group, several)]
        lines.sort(key=lambda line: line.arm not in fixed_vectors())
        first = several[0]
        title = f"{first.rows[0]['task']}, {alike}: outputs that are entirely right"
        ends = (min(first.trained), max(first.trained))
        drawn[f"vector_and_budget_{alike}".replace(" ", "_")] = ladders.lengths_and_budgets(
            lines, title=title, trained=ends, note=scoring.note(several)
        )
    for group in groups:
        if found := scoring.curves(group.rows):
            drawn[f"rates_{group.name}".replace(" ", "_")] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn


def _size(group: Group) -> int:
    return group.rows[0]["vector_size"]
