"""Is attention a similarity? Ranks of weights beside cosines of query and memory, and what is left when looks are changed

Claim. Attention is often taught as a measure of similarity: the weight of a place grows with how alike its memory vector and the decoder's
state are. Is it, for a learned score? And do weights matter to what is predicted (Jain, Wallace 2019; Wiegreffe, Pinter 2019)?

Source. Lecture notes, of which none was measured; Jain, Wallace 2019 for the question whether weights matter.
Expected. "depends on the score" of small: products rank as cosines do, by their form, and the additive score does not.
    python -m experiments.run --experiment=similarity --preset=small --choose_rates

Arms. The scores additive, general, dot, scaled_dot and cosine, with softmax; encoder, decoder, start and data are the same. The query comes
after the cell and the context enters the readout alone, so that a changed look changes the prediction of its own step and no other. The
decoder is as wide as a memory vector, so that dot can be, and raw vectors can be compared.

Data. copy of 8 symbols, in small and full reverse, sort and cued_recall too, lengths 1 to 8; one source in 8 is never trained on, and alone
tested on.

Measured, teacher-forced, of the trained model of each seed, on the test examples of each trained length from 4 on:
  ranks     Spearman's correlation over source positions of weights and cosines, mean over target positions: projected, of what the score
            compares, each projected (additive: W q and U h; general: q and W h; cosine: W q and h); raw, of q and h as they are; the
            same at the parameters of the start. For cosine projected is 1 by construction, for dot and scaled_dot it is raw, and 0.95
            before training: these three are no findings, and stand in the tables alone
  removed   wrong symbols, EOS aside, where at each step the place with the largest weight is masked and the others are weighed anew; and
            where one of the others is, at random
  permuted  wrong symbols where the weights of each step are dealt to random places and the context is summed anew

Rates. Per arm, task and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that
cannot be told from the best. Curves are kept with the experiment where there are any; --choose_rates measures them. Two budgets, the larger
one of the verdict; nothing is claimed of budgets.

Verdict, fixed before the runs, at the largest budget, over all (task, arm) that have learned (the lower bound of exact match of the typical
seed on the long half is ½ or more): each is a similarity where ρ, the projected correlation by seed, mean over lengths, lies above ½, and
none where it lies below, by two-sided Student tests at 0.05, corrected by Holm for all of them.
  a similarity          every one lies above ½
  no similarity         every one lies below
  depends on the score  some lie above, and some below
  inconclusive          else; or fewer than two have learned, or a measurement or a rate curve is missing or ends at an edge
Whether weights matter stands in the reason: in how many of them removing the most attended place costs more than 0.1 of the symbols beyond
what another place costs, and permuting costs more than 0.1, by the lower bound of Student's interval, paired by seed.

Presets. tiny: copy, 4 seeds, 400 and 800 updates. small: four tasks, 8 seeds, 800 and 1,600. Both have H = 16: all scores learn their task
at that width, and wider ones would cost minutes and ask nothing else. full: lengths 1 to 20, H = 128, for an
accelerator. On 2 quiet CPU cores an update of 4 seeds takes 2 to 3 ms, and a program of an arm and task half a minute to compile, with its
tests and measurements: tiny trains 1,200 updates an arm, 15 s, and with its rate curves takes 5 minutes; small, 9,600 updates an arm of
twice the seeds, trains for 4 minutes and takes 20, with its rate curves 45.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.layers import masks, precision
from attention_jax.layers.affine import product
from attention_jax.model import interventions
from attention_jax.report import findings as said
from attention_jax.report import scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals, similarity
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import LEARNED
from attention_jax.statistics.verdicts import Verdict, missing
from attention_jax.sweeps import pointing
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types.sizes import VocabularySizes

PRESETS = ("tiny", "small", "full")
PAPERS = ("jain2019", "wiegreffe2019", "spearman1904")
ARMS = ("additive", "general", "dot", "scaled_dot", "cosine")
GROUP = ("task", "cell", "hidden_size")
EVERY = ("copy", "reverse", "sort", "cued_recall")
TASKS = {"tiny": EVERY[:1], "small": EVERY, "full": EVERY}
BUDGETS = {"tiny": (400, 800), "small": (800, 1600), "full": (8_000, 16_000)}
SIMILAR, MATTERS, LEVEL = 0.5, 0.1, 0.05
BY_FORM = ("dot", "scaled_dot", "cosine")
"""Scores whose weights rank as cosines do by how they are made, whatever was learned."""
SHORTEST = 4  # source positions of fewer symbols, EOS among them, have too few ranks

PROJECTED = {
    "additive": lambda p, query, memory: (product(query, p["query"]), product(memory, p["memory"])),
    "weight_normalised": lambda p, query, memory: (product(query, p["query"]), product(memory, p["memory"])),
    "general": lambda p, query, memory: (query, product(memory, p["memory"])),
    "dot": lambda p, query, memory: (query, memory),
    "scaled_dot": lambda p, query, memory: (query, memory),
    "cosine": lambda p, query, memory: (product(query, p["query"]), memory),
}
"""{score: (its parameters, query_BxTxH, memory_BxSxM) → the query and the keys that it compares}."""
CHOICES = tuple(PROJECTED)
CHANGED = ("plain", "top removed", "another removed", "permuted")

TINY = Config(
    model=ModelConfig(hidden_size=16, decoder_size=32, embedding_size=16, timing="after"),
    data=DataConfig(symbols=8, shortest=1, longest=8, held_out=8, eval_lengths=(3, 4, 5, 6, 7, 8, 12), eval_examples=512),
    training=TrainingConfig(batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=128, decoder_size=256, embedding_size=64),
    data=replace(TINY.data, longest=20, eval_lengths=(3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 30)),
    training=replace(TINY.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every task, arm and budget."""
    base = FULL if preset == "full" else TINY
    return [
        replace(
            base,
            model=replace(base.model, attention=arm),
            data=replace(base.data, task=task),
            training=replace(base.training, seeds=4 if preset == "tiny" else 8, updates=budget),
        )
        for task in TASKS[preset]
        for arm in arms
        for budget in BUDGETS[preset]
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as general-copy-gru-h16-u800."""
    return f"{config.model.attention}-{config.data.task}-{config.model.cell}-h{config.model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for a model whose looks cannot be changed one by one, and for lengths of which none is measured."""
    if config.model.attention not in PROJECTED:
        raise ConfigError(f"model.attention={config.model.attention}: ranks are of {', '.join(PROJECTED)}")
    interventions.check(config.model)
    if pointing.memory_of(config) > 1:
        raise ConfigError(f"model.encoder={config.model.encoder} joins source positions: ranks are of one memory vector a position")
    sources.check_long(config.data, SHORTEST, "ranks")


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row per trained length from 4 on: correlations at the start and at the end, and wrong symbols under every change."""
    config = trained.config
    correlations, wrong = functions_of(config.model, trained.sizes, config.training.precision)
    start = training.init(trained.model, config.training, trained.seed, 1.0).params
    rows = []
    for batch_Rx in source.evaluation("test", [trained.seed]):
        batch = jax.tree.map(lambda x: x[0], batch_Rx)
        length = int(batch.length_B[0])
        if not SHORTEST <= length <= config.data.longest:
            continue
        row: dict = {"length": length}
        for at, params in (("start", start), ("end", trained.params)):
            row |= {f"{which}_{at}": float(rho) for which, rho in correlations(params, batch).items()}
        rows.append(row | {name: int(count) for name, count in wrong(trained.params, batch).items()})
    return rows


@cache
def functions_of(config: ModelConfig, vocabulary: VocabularySizes, products: str):
    """Returns (params, batch) → ρ by name, and (params, batch) → wrong symbols by change, and all; `products` is training.precision."""
    stages, key = model.stages(config, vocabulary), jax.random.key(0)
    top, other = interventions.most_attended, interventions.another(jax.random.fold_in(key, 0))
    changes = (None, interventions.removed(top), interventions.removed(other), interventions.permuted(jax.random.fold_in(key, 1)))
    models = [interventions.intervened(config, vocabulary, change) if change else model.build(config, vocabulary) for change in changes]

    def correlations(params, batch):
        memory_BxSxM, query_BxTxH, attended = interventions.looks(stages, params, batch)
        score = params["decoder"]["attention"]["score"]
        mask_BxTxS = jnp.broadcast_to(masks.real(batch.source_mask_BxS)[:, None], attended.weights_BxTxS.shape)
        pairs = {"projected": PROJECTED[config.attention](score, query_BxTxH, memory_BxSxM)}
        if query_BxTxH.shape[2] == memory_BxSxM.shape[2]:
            pairs["raw"] = (query_BxTxH, memory_BxSxM)
        found = {}
        for which, (query, key) in pairs.items():
            rho_BxT, defined_BxT = similarity.rank_correlation(attended.weights_BxTxS, similarity.cosine(query, key), mask_BxTxS)
            counted_BxT = defined_BxT & batch.target_mask_BxT
            found[which] = jnp.where(counted_BxT, rho_BxT, 0).sum() / jnp.maximum(counted_BxT.sum(dtype=jnp.int32), 1)
        return found

    def wrong(params, batch):
        all_scores = [training.eval_forced(params, batch, each)[0] for each in models]
        counts = {_field(change): scores.symbol_errors_B.sum() for change, scores in zip(CHANGED, all_scores, strict=True)}
        return counts | {"symbols": all_scores[0].symbols_B.sum()}

    return tuple(jax.jit(precision.applied(function, products)) for function in (correlations, wrong))


class Found(NamedTuple):
    """What is measured of an arm on a task at its largest budget, by seed."""

    rho: dict[str, list[float]]  # {"projected_end", …}: mean over lengths
    accuracy: dict[str, list[float]]  # {change: share of right symbols}
    learned: bool


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of every task, and the verdict over all arms and tasks."""
    shown, found, needs, why = [], {}, [], []
    every = groups(rows)
    for group, besides in every:
        shown += [scoring.by_length(group), scoring.by_budget(group)]
        of_arms = {arm: measured(group, besides, arm) for arm in group.arms}
        shown += [ranks(group, of_arms), left(group, of_arms)]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
        lacks = [need for arm in group.arms for budget in group.budgets(arm) if (need := scoring.lacking(group.rows, arm, budget))]
        needs += lacks
        why += [f"{group.name}: {need.arm}: {need.why}" for need in lacks]
        why += [f"{group.name}: {arm} is not measured for every seed" for arm, each in of_arms.items() if each is None]
        found |= {f"{group.name} {arm}": each for arm, each in of_arms.items() if each and each.learned}
    table, verdict = judged(found)
    if why:
        verdict = missing(why)
    return Score(verdict._replace(needs=tuple(needs)), [*shown, table], scoring.budget_text(every[0][0]))


def groups(rows: Sequence[dict]) -> list[tuple[Group, list[dict]]]:
    """Returns (results and rate curves, what was measured besides) of each task."""
    found = []
    for title, of_task in tables.grouped(rows, GROUP).items():
        results = [row for row in of_task if not standings.is_measured(row)]
        found.append((Group(title, results, ()), [row for row in of_task if standings.is_measured(row)]))
    return found


def measured(group: Group, besides: Sequence[dict], arm: str) -> Found | None:
    """Returns what was measured of an arm at its largest budget; None where a seed lacks it, or there is one seed alone."""
    budget = group.budgets(arm)[-1]
    tested = group.tested(arm, budget)
    by_seed: dict[int, list[dict]] = {}
    for row in besides:
        if row["attention"] == arm and row["budget"] == budget:
            by_seed.setdefault(row["seed"], []).append(row)
    if set(by_seed) != set(tested.seeds) or len(by_seed) < 2:
        return None
    names = [name for name in next(iter(by_seed.values()))[0] if name.startswith(("projected_", "raw_"))]
    rho = {name: [float(np.mean([row[name] for row in rows])) for rows in by_seed.values()] for name in names}
    accuracy = {}
    for change in CHANGED:
        counts = [(sum(row[_field(change)] for row in rows), sum(row["symbols"] for row in rows)) for rows in by_seed.values()]
        accuracy[change] = [1 - wrong / symbols for wrong, symbols in counts]
    return Found(rho, accuracy, standings.pooled(tested, group.long).low >= LEARNED)


def judged(found: Mapping[str, Found]) -> tuple[Table, Verdict]:
    """Returns the table of all that have learned, and the verdict."""
    p = intervals.holm({place: intervals.student_p(each.rho["projected_end"], SIMILAR) for place, each in found.items()})
    rho = {place: intervals.student(each.rho["projected_end"]) for place, each in found.items()}
    said = {place: ("similarity" if rho[place].mean > SIMILAR else "none") if p[place] < LEVEL else "undecided" for place in found}
    lines = [(place, tables.interval_text(rho[place]), tables.p_text(p[place]), said[place]) for place in found]
    table = Table(f"ρ of weights and projected cosines against {SIMILAR}; p two-sided, by Holm", ("arm", "ρ", "p", "so it is"), lines)
    if len(found) < 2:
        return table, Verdict("inconclusive", f"{len(found)} arms have learned their task, and a comparison needs two", failed=("learned",))
    words = {("none",): "no similarity", ("similarity",): "a similarity", ("none", "similarity"): "depends on the score"}
    value = words.get(tuple(sorted(set(said.values()))), "inconclusive")
    of_top = sum(beyond(each.accuracy["another removed"], each.accuracy["top removed"]).low > MATTERS for each in found.values())
    of_all = sum(beyond(each.accuracy["plain"], each.accuracy["permuted"]).low > MATTERS for each in found.values())
    shown = "; ".join(f"{place}: ρ = {tables.interval_text(rho[place])}" for place in found)
    matter = f"removing the most attended place costs more than another in {of_top} of {len(found)}, permuting costs in {of_all}"
    return table, Verdict(value, f"{shown}; {matter}", p=min(p.values()))


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of weights, mean over tasks that are learned: similarity for each score; whether they matter, over all."""
    by_arm: dict[str, list[Found]] = {}
    for group, besides in groups(rows):
        for arm in group.arms:
            found = measured(group, besides, arm)
            if found and found.learned:
                by_arm.setdefault(arm, []).append(found)
    made = []
    for arm, of_arm in by_arm.items():
        if arm in BY_FORM:
            continue
        rho = np.mean([each.rho["projected_end"] for each in of_arm], 0)
        number = f"rank correlation of weights and projected cosines, {arm}, mean over {len(of_arm)} of the tasks"
        made.append(said.of_seeds("Weights grow with the similarity of memory and state", "lecture notes", number, rho, SIMILAR))
    every = [each for of_arm in by_arm.values() for each in of_arm]
    for kept, lost, claim in (
        ("another removed", "top removed", "The most attended place is what an output rests on"),
        ("plain", "permuted", "Weights dealt to random places give other outputs"),
    ):
        if every:
            share = np.mean([np.subtract(each.accuracy[kept], each.accuracy[lost]) for each in every], 0)
            number = f"symbols that are right, {kept} − {lost}, mean over {len(every)} pairs of arm and task"
            made.append(said.of_seeds(claim, "asked by Jain and Wallace 2019", number, share, MATTERS))
    return made


def beyond(kept: Sequence[float], lost: Sequence[float]) -> Interval:
    """Returns the interval of kept − lost, paired by seed."""
    return intervals.student([a - b for a, b in zip(kept, lost, strict=True)])


def ranks(group: Group, of_arms: Mapping[str, Found | None]) -> Table:
    """Tabulates rank correlations of weights and cosines, at the end of training and at its start."""
    columns = {"projected": "projected_end", "raw": "raw_end", "projected, at start": "projected_start", "raw, at start": "raw_start"}
    lines = []
    for arm, found in of_arms.items():
        values = (found.rho.get(field) if found else None for field in columns.values())
        lines.append((arm, *(tables.interval_text(intervals.student(each) if each else None) for each in values)))
    return Table(f"Rank correlation of weights with cosines of query and memory, {group.name}; mean over seeds", ("arm", *columns), lines)


def left(group: Group, of_arms: Mapping[str, Found | None]) -> Table:
    """Tabulates the share of symbols that are right, teacher-forced, with looks as they are and changed."""
    lines = []
    for arm, found in of_arms.items():
        shares = (tables.interval_text(intervals.student(found.accuracy[change]) if found else None) for change in CHANGED)
        more = tables.interval_text(beyond(found.accuracy["another removed"], found.accuracy["top removed"]) if found else None)
        lines.append((arm, *shares, more))
    return Table(f"Symbols that are right, teacher-forced, {group.name}; mean over seeds", ("arm", *CHANGED, "another − top"), lines)


def figures(rows: list[dict]) -> dict:
    """Draws, for every task, exact match by length, correlations by length where there are any, and rate curves."""
    drawn = {}
    for group, besides in groups(rows):
        title, last = group.name.replace(" ", "_"), {arm: group.budgets(arm)[-1] for arm in group.arms}
        drawn[f"lengths_{title}"] = scoring.lengths_drawn(group)
        by_length = {arm: _by_length(besides, arm, last[arm]) for arm in group.arms}
        if any(by_length.values()):
            drawn[f"ranks_{title}"] = curves.length_curves(
                by_length, title=f"{group.name}: weights and projected cosines", ylabel="rank correlation", percent=False
            )
        if found := scoring.curves(group.rows):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn


def _by_length(besides: Sequence[dict], arm: str, budget: int) -> dict[int, Interval]:
    """Returns {length: projected correlation over seeds} of an arm at a budget."""
    rows = [row for row in besides if row["attention"] == arm and row["budget"] == budget]
    lengths = sorted({row["length"] for row in rows})
    return {length: intervals.student([row["projected_end"] for row in rows if row["length"] == length]) for length in lengths}


def _field(change: str) -> str:
    return f"wrong_{change.replace(' ', '_')}"
