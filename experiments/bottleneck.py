"""The fixed vector as a bottleneck: exact match by input length and budget, with and without attention

Claim. An encoder-decoder whose decoder gets one fixed vector loses long inputs, and one that attends to every encoder state does not
(Bahdanau, Cho, Bengio 2015). Is the vector full, or only slow to train? Each budget is a run of its own, its learning rate annealed to
its own end.

Source. Bahdanau, Cho, Bengio 2015, figure 2, of translation. This is the smallest task that shows it.
Expected. "bottleneck up to 16 ×, still closing" of tiny, "up to 64 ×" of verdict and of small at d = 8.
    python -m experiments.run --experiment=bottleneck --preset=tiny

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
from typing import NamedTuple

import numpy as np

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report import findings as said
from attention_jax.report import scoring, tables
from attention_jax.report.figures import ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals

PRESETS = ("tiny", "verdict", "small", "full")
PAPERS = ("bahdanau2015", "zou2008")
ARMS = ("summary", "additive")
BAHDANAU = "Bahdanau, Cho, Bengio 2015"
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
    """Returns a config for every d, arm and budget."""
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
    """Returns a run's name, such as summary-gru-h16-d8-u3200."""
    model = config.model
    return f"{model.attention}-{model.cell}-h{model.hidden_size}-d{model.vector_size}-u{config.training.updates}"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables, conditions and verdicts of every (cell, hidden size, d), and what is lost beyond the trained lengths."""
    found = scoring.score(rows, GROUP, fixed_vectors(), primary="summary")
    besides = beyond_table(scoring.groups(rows, GROUP, fixed_vectors()))
    return found._replace(tables=[*found.tables, besides]) if besides.rows else found


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of the first d: of the gap at U and at the largest budget, of attention; of every d beyond L."""
    several = scoring.groups(rows, GROUP, fixed_vectors())
    group = several[0]
    verdict = scoring.verdict(group, "summary")
    if group.attention is None or not verdict.rungs:
        return []
    long = f"lengths {verdict.long[0]} to {verdict.long[-1]}"
    gap = f"exact match on {long}, {group.attention} − summary of {group.rows[0]['vector_size']} numbers, copy"
    first, last = verdict.rungs[0], verdict.rungs[-1]
    of_seeds = scoring.long_by_seed(group, group.attention, group.budgets(group.attention)[-1])
    kept = [exact / examples for exact, examples in of_seeds.values()]
    longer = f"It loses them still when it is trained {verdict.k:g} times as long"
    made = [
        said.of_condition("A fixed vector loses long inputs that attention keeps", BAHDANAU, f"{gap}, {first.budget:,} updates", first.gap),
        said.of_condition(longer, BAHDANAU, f"{gap}, {last.budget:,} updates", last.gap),
        said.of_seeds("Attention does not lose long inputs", BAHDANAU, f"exact match on {long}, {group.attention}, copy", kept, 0.9),
    ]
    for each in sorted(several, key=_size):
        if found := beyond(each, "summary"):
            before, end, after = found.lengths
            rise = f"their rise from length {end} to {after} − that from {before} to {end}"
            updates, size = each.budgets("summary")[-1], f"{_size(each)} numbers"
            number = f"wrong symbols of summary of {size}, true ones before them, {updates:,} updates: {rise}"
            claim = f"A fixed vector, of {size}, loses most beyond the lengths of training"
            made.append(said.of_seeds(claim, "Pouget-Abadie and others 2014", number, found.rise_R, digits=3))
    return made


class Beyond(NamedTuple):
    """Wrong symbols at three lengths in equal steps, the longest that was trained in the middle."""

    lengths: tuple[int, int, int]
    wrong_Rx3: np.ndarray  # shares by seed, true symbols before each

    @property
    def rise_R(self) -> np.ndarray:
        """Returns by how much wrong symbols rise more in the step beyond the trained lengths than in the step before."""
        before_R, end_R, after_R = self.wrong_Rx3.T
        return (after_R - end_R) - (end_R - before_R)


def beyond(group: Group, arm: str) -> Beyond | None:
    """Returns an arm's wrong symbols about the longest trained length, at its largest budget; None where such lengths were not tested."""
    forced = group.tested(arm, group.budgets(arm)[-1], "forced")
    longest = max(forced.trained, default=0)
    after = min((length for length in forced.lengths if length > longest), default=0)
    steps = (2 * longest - after, longest, after)
    if not set(steps) <= set(forced.lengths):
        return None
    at = forced.at(steps)
    return Beyond(steps, at.count_RxL / at.total_RxL)


def beyond_table(groups: Sequence[Group]) -> Table:
    """Tabulates wrong symbols about the longest trained length, of every group and arm."""
    found = {(group.name, arm): each for group in groups for arm in group.arms if (each := beyond(group, arm))}
    lines = []
    for place, each in found.items():
        shares = [tables.interval_text(intervals.student(wrong_R), 3) for wrong_R in each.wrong_Rx3.T]
        lines.append((*place, *shares, tables.interval_text(intervals.student(each.rise_R), 3)))
    lengths = next(iter(found.values())).lengths if found else ()
    header = ("group", "arm", *(f"length {length}" for length in lengths), "rise beyond − rise within")
    return Table("Beyond the trained lengths: wrong symbols, true ones before them, at the largest budgets", header, lines)


def figures(rows: list[dict]) -> dict:
    """Draws exact match by length beside L50 by budget, a figure per (cell, hidden size), and rate curves, a figure per d."""
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
