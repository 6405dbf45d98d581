"""Same state, other cells: what a state of equal size recalls and copies in five recurrent cells, with and without attention

Claim. In language models, what is recalled grows with the size of the recurrent state, whatever the layer, and attention, whose memory
grows with the input, recalls what no fixed state of moderate size does (Arora 2023, "Zoology", arXiv:2312.04927; Arora 2024, "Based",
arXiv:2402.18668: the recall-state frontier; Jelassi 2024 for copying). Does it hold of encoder-decoders, where the state crosses once?

Source. Arora 2023 and 2024, Jelassi 2024, whose models are language models without an encoder.
Expected. "attention beats state, cells differ" of tiny.
    python -m experiments.run --experiment=modern --preset=tiny --choose_rates

Arms. `summary`: the encoder's last state starts the decoder, and what its top layer has of it is the context of every step. `additive`:
the same start, and attention over all states of the top layer. Each with gru, lstm, mingru, minlstm (Feng 2024) and diagonal, a real
diagonal linear recurrence (after Orvieto 2023). Encoders have two layers, since one layer of a linear recurrence never sees which symbol
came before, and read forward alone: backwards the questions of recall come first, and a state need keep the answers only.

Equal state. n numbers of float32, 32 n bits, are all that is handed over: the carry of both layers, so 2 H of gru, mingru, minlstm and
diagonal, 4 H of lstm, whose carry is h and c. H follows from n. The state itself has this size at every position of the source, and a
projection (model.vector_size) would leave that larger than what is compared, so there is none: this departs from point 0 of the
protocol, which is about the vector's own size. Decoder (gru, 32 units, whatever the encoder's cell), embeddings and width of the scores
are the same for all cells and sizes, so that none of them shrinks with n; parameters stand beside. With attention the decoder sees the S
states of the top layer besides, n/2 numbers each (lstm n/4): 19 of them at the longest source of recall, 17 of copy. This memory grows with
the source and is not counted in n.

Data. `cued_recall`: 1 to 8 pairs of a key (of 8, without replacement) and a value (of 8), then 2 of the keys, to be repeated in order, each
with its value behind it. This is multi-query associative recall (MQAR) with the questions at the end of the source. MQAR asks between and
behind its pairs, and the model reads the key at the step that answers; so does the decoder here, which has just said it. The keys that are
asked for must have crossed too. `copy`: 1 to 16 symbols of 8. One source in 8 is never trained on, and alone tested on. Not `recall`, whose
answers are values alone: in trials of gru with attention, n = 16 to 64 and 1,600 to 12,800 updates, it was not learned.

Measured. Accuracy: the share of right symbols on the long half of the trained lengths, EOS aside, true symbols before each. Of recall half
of these symbols are the keys that were asked for, repeated, where Zoology scores values alone: an accuracy a here is one of 2 a − 1 of the
values or more, which stands in a table. Chance is 1/8. What an answer gets that repeats the keys and knows no more of the values than which
is the commonest, is in another. L*: pairs, or symbols, at which half of the outputs are entirely right, free running, from the fit
(`capacities`); at 0.9 too.

References, no part of the verdict: `self_attention`, an *encoder* of two blocks of self-attention with the recurrent decoder of all others,
so no transformer; gru and mingru of one layer, on recall; gru by adadelta instead of adam, on copy, its rates from a grid of its own.

Rates. Per run: a grid of 5, 4 selection seeds that are never reported, the whole budget; these cells learn in a narrow window of rates
(Okpekpe & Orvieto 2025), so none takes another's. Rates of tiny are kept once they are measured:
    python -m experiments.run --experiment=modern --choose_rates --keep_rates=experiments/curves/modern.jsonl

Verdict, fixed before the runs, at the largest budget. Two families of differences of accuracy, paired by seed, two-sided Student tests at
0.05, each by Holm over its cells, sizes and tasks. A task counts if some run of it has learned: exact match of the typical seed on the
long half has a lower bound of ½ or more.
  a   gru with attention at the smallest n − each cell without it at the largest n
      attention beats state     all lie above 0
      state beats attention     one lies below 0
      attention undecided       else
  b   each other cell − gru, both without attention, at every n
      cells differ              one differs from 0
      cells alike               none does, and all intervals lie within ±0.1
      cells undecided           else
The verdict is both words. It is inconclusive where a run of these, a seed (4) or a rate curve is missing or a best rate lies at an edge of
its grid, or no task is learned, with what is missing.

Presets. tiny: gru and diagonal, copy, n = 8, 32, 4 seeds; 16 minutes where rates are measured, a third of it with kept ones. small: all
cells and references, both tasks, n = 8, 16, 32 (copy: 8, 32), 8 seeds; 130 minutes, of which 80 are rate curves. full: n = 16 to 256,
longer inputs, for an accelerator. Budgets are 800 and 3,200 updates of recall, 400 and 1,600 of copy. Minutes are of two quiet CPU cores,
estimated from the pace of capacity (0.12 ms a step of a cell for 4 seeds, 15 s to compile a program) and not yet measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attention_jax import model
from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report import capacities, frontiers, tables
from attention_jax.report import findings as said
from attention_jax.report.figures import frontiers as drawing
from attention_jax.report.figures.capacities import Line, bits_by_size
from attention_jax.report.findings import Finding
from attention_jax.report.frontiers import Contrast, Frontier
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals, recall
from attention_jax.statistics.ladder import LEARNED, Need
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.verdicts import Verdict, missing

PRESETS = ("tiny", "small", "full")
PAPERS = ("arora2024zoology", "arora2024based", "jelassi2024")
ARMS = ("summary", "additive")
JUDGED = 2  # lengths of a curve
FIELDS = ("model.encoder", "model.layers", "data.symbols", "data.longest")
GROUP = ("encoder", "layers", "optimizer")  # beside those of any two folders that are compared
CELLS = ("gru", "lstm", "mingru", "minlstm", "diagonal")
BASE = CELLS[0]
"""The cell that the others are compared with."""
LAYERS = 2
SEEDS, LEVEL, ALIKE = 4, 0.05, 0.1
"""The fewest seeds; of adjusted p; how far from 0 an interval of cells that are alike may reach."""
RECALL = "cued_recall"
TASKS = (RECALL, "copy")

TINY = Config(
    model=ModelConfig(embedding_size=16, direction="forward", layers=LAYERS, decoder_cell="gru", decoder_size=32, attention_size=32),
    data=DataConfig(symbols=8, shortest=1, outputs=2, held_out=8, eval_examples=512),
    training=TrainingConfig(
        seeds=4, batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600
    ),
)
LENGTHS = {RECALL: (2, 3, 4, 5, 6, 7, 8), "copy": (3, 4, 5, 6, 8, 10, 12, 14, 16)}
FULL = replace(
    TINY,
    model=replace(TINY.model, embedding_size=64, decoder_size=128, attention_size=128),
    training=replace(
        TINY.training, seeds=8, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100
    ),
)
FULL_LENGTHS = {RECALL: (2, 4, 6, 8, 12, 16, 24, 32, 48, 64), "copy": (3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
ADADELTA = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Rates of adadelta, whose updates have a size of their own; Bahdanau (2015) and Zeiler (2012) use 1."""


class Kind(NamedTuple):
    """What the runs of a frontier have in common."""

    cell: str
    sizes: tuple[int, ...]
    encoder: str = "recurrent"
    layers: int = LAYERS
    optimizer: str = "adam"
    tasks: tuple[str, ...] = TASKS


class Preset(NamedTuple):
    """What a preset runs: every kind and size, on every task of both, after each of the budgets."""

    base: Config
    kinds: tuple[Kind, ...]
    lengths: Mapping[str, tuple[int, ...]]
    budgets: Mapping[str, tuple[int, ...]]


def _references(n: int) -> tuple[Kind, ...]:
    """Returns the kinds that stand beside the verdict, at one size."""
    single = (Kind(cell, (n,), layers=1, tasks=(RECALL,)) for cell in ("gru", "mingru"))
    return (Kind(BASE, (n,), encoder="self_attention"), *single, Kind(BASE, (n,), optimizer="adadelta", tasks=("copy",)))


BUDGETS = {RECALL: (800, 3200), "copy": (400, 1600)}
FULL_BUDGETS = {RECALL: (2_000, 8_000, 32_000), "copy": (2_000, 8_000)}
SIZES, ENDS, FULL_SIZES = (8, 16, 32), (8, 32), (16, 32, 64, 128, 256)
TABLE = {
    "tiny": Preset(TINY, (Kind("gru", ENDS), Kind("diagonal", ENDS)), {"copy": LENGTHS["copy"]}, BUDGETS),
    "small": Preset(
        replace(TINY, training=replace(TINY.training, seeds=8)),
        (
            *(Kind(cell, SIZES, tasks=(RECALL,)) for cell in CELLS),
            *(Kind(cell, ENDS, tasks=("copy",)) for cell in CELLS),
            *_references(SIZES[-1]),
        ),
        LENGTHS,
        BUDGETS,
    ),
    "full": Preset(FULL, (*(Kind(cell, FULL_SIZES) for cell in CELLS), *_references(64)), FULL_LENGTHS, FULL_BUDGETS),
}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every task, kind, size, arm and budget."""
    base, kinds, lengths, budgets = TABLE[preset]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm, **settings(kind, n)),
            data=replace(base.data, task=task, longest=tested[-1], eval_lengths=tested),
            training=_trained(base.training, kind, updates),
        )
        for task, tested in lengths.items()
        for kind in kinds
        if task in kind.tasks
        for n in kind.sizes
        for arm in arms
        for updates in budgets[task]
    ]


def settings(kind: Kind, n: int) -> dict:
    """Returns the settings of the encoder that hands over n numbers."""
    carries = 1 if kind.encoder == "self_attention" else kind.layers * (2 if kind.cell == "lstm" else 1)
    return {"cell": kind.cell, "encoder": kind.encoder, "layers": kind.layers, "hidden_size": n // carries}


def _trained(base: TrainingConfig, kind: Kind, updates: int) -> TrainingConfig:
    grid = ADADELTA if kind.optimizer == "adadelta" else base.learning_rates
    return replace(base, optimizer=kind.optimizer, learning_rates=grid, updates=updates)


def named(encoder: str, cell: str, layers: int, optimizer: str) -> str:
    """Returns the name of a kind: its cell, or its encoder where that has none, and what is not as in the others."""
    kind = encoder if encoder != "recurrent" else cell
    return "-".join([kind, *([f"l{layers}"] if layers != LAYERS else []), *([optimizer] if optimizer != "adam" else [])])


def label(row: Mapping) -> str:
    """Returns the name of a row's kind."""
    return named(row["encoder"], row["cell"], row["layers"], row["optimizer"])


def name(config: Config) -> str:
    """Returns a run's name, such as additive-gru-copy-n16-u1600."""
    own = config.model
    kind = named(own.encoder, own.cell, own.layers, config.training.optimizer)
    return f"{own.attention}-{kind}-{config.data.task}-n{model.state_size(own)}-u{config.training.updates}"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns frontiers of every task, rate curves, both families of contrasts, and the verdict on them."""
    found = frontiers.read(rows, label)
    shown = [baselines(found), values_table(found)]
    for task in dict.fromkeys(each.task for each in found):
        of_task = [each for each in found if each.task == task]
        shown += [frontiers.table(of_task, budget) for budget in sorted({budget for each in of_task for budget in each.series.budgets})]
    families = [frontiers.contrasts(pairs) for pairs in (attention_pairs(found), cell_pairs(found))]
    titles = (f"a. {BASE} with attention at the smallest n − cells without it at the largest", f"b. cells − {BASE}, without attention")
    shown += [frontiers.contrasts_table(*each) for each in zip(families, titles, strict=True)]
    shown.append(capacities.rates_table([each.series for each in found]))
    return Score(judged(found, *families), [table for table in shown if table.rows], _budgets(found))


def _place(found: Sequence[Frontier], task: str, cell: str, attends: bool) -> Frontier | None:
    """Returns the frontier of a cell of the verdict on a task, by the first arm of its kind."""
    ours = (each for each in found if (each.task, each.label) == (task, cell) and (each.arm not in fixed_vectors()) == attends)
    return next(ours, None)


def _of_verdict(found: Sequence[Frontier], task: str) -> list[Frontier | None]:
    """Returns attention's frontier on a task, then those of all cells without it; None where one was not run."""
    return [_place(found, task, BASE, True), *(_place(found, task, cell, False) for cell in CELLS)]


def counted(found: Sequence[Frontier]) -> list[str]:
    """Returns the tasks of which some run has learned the long half."""
    learned = {each.task for each in found if any(each.exact[n, each.last].low >= LEARNED for n in each.sizes)}
    return [task for task in dict.fromkeys(each.task for each in found) if task in learned]


def attention_pairs(found: Sequence[Frontier]) -> list[tuple[str, dict[int, float], dict[int, float]]]:
    """Returns the pairs of family a, of the tasks that count."""
    pairs = []
    for task in counted(found):
        ours = _place(found, task, BASE, True)
        for cell in CELLS:
            theirs = _place(found, task, cell, False)
            if ours and theirs:
                least, most = ours.sizes[0], theirs.sizes[-1]
                pairs.append((f"{task}: {ours.name}, n = {least} − {theirs.name}, n = {most}", ours.shares(least), theirs.shares(most)))
    return _alike(pairs)


def cell_pairs(found: Sequence[Frontier]) -> list[tuple[str, dict[int, float], dict[int, float]]]:
    """Returns the pairs of family b, of the tasks that count."""
    pairs = []
    for task in counted(found):
        base = _place(found, task, BASE, False)
        for cell in CELLS[1:]:
            ours = _place(found, task, cell, False)
            if base and ours:
                shared = [n for n in ours.sizes if n in base.sizes]
                pairs += [(f"{task}: {ours.label} − {BASE}, n = {n}", ours.shares(n), base.shares(n)) for n in shared]
    return _alike(pairs)


def _alike(pairs: list) -> list:
    """Returns the pairs whose sides have the same seeds; the others are among what is missing."""
    return [pair for pair in pairs if pair[1].keys() == pair[2].keys()]


def judged(found: Sequence[Frontier], a: Sequence[Contrast], b: Sequence[Contrast]) -> Verdict:
    """Returns the verdict of the rule above on both families."""
    if lacks := lacking(found):
        return missing(*zip(*lacks, strict=True))
    if not counted(found):
        why = "no run has learned its task: the lower bound of exact match on the long half is below ½ everywhere"
        needs = tuple(Need(each.arm, 2 * each.last, "selection", SELECTION_SEEDS, (), "a task is not learned") for each in found[-1:])
        return Verdict("inconclusive", why, failed=("learned",), needs=needs)
    ends = min(a, key=lambda each: each.difference.mean, default=None), max(b, key=lambda each: abs(each.difference.mean), default=None)
    parts = [f"{each.name}: {tables.interval_text(each.difference, 3)}" for each in ends if each]
    left = [task for task in dict.fromkeys(each.task for each in found) if task not in counted(found)]
    parts += [f"{task} is not learned and does not count" for task in left]
    return Verdict(f"{_attention_word(a)}, {_cells_word(b)}", "; ".join(parts), p=min((each.p for each in (*a, *b)), default=1.0))


def _attention_word(a: Sequence[Contrast]) -> str:
    signs = {each.sign(LEVEL) for each in a}
    return "state beats attention" if -1 in signs else "attention beats state" if signs == {1} else "attention undecided"


def _cells_word(b: Sequence[Contrast]) -> str:
    if any(each.sign(LEVEL) for each in b):
        return "cells differ"
    within = [each.difference.low > -ALIKE and each.difference.high < ALIKE for each in b]
    return "cells alike" if within and all(within) else "cells undecided"


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of attention against the best fixed state of each seed, and of larger states; means over learned tasks."""
    found = frontiers.read(rows, label)
    tasks = [] if lacking(found) else counted(found)
    gaps, grown = [], []
    for task in tasks:
        ours, *fixed = (each for each in _of_verdict(found, task) if each)
        gaps.append(ours.by_seed(ours.sizes[0]) - np.max([each.by_seed(each.sizes[-1]) for each in fixed], 0))
        grown += [each.by_seed(each.sizes[-1]) - each.by_seed(each.sizes[0]) for each in fixed]
    if not tasks:
        return []
    least, most, of_tasks = found[0].sizes[0], found[0].sizes[-1], f"accuracy, {' and '.join(tasks)}"
    gap = f"{of_tasks}, {BASE} with attention, n = {least} − the best cell without it, n = {most}"
    rise = f"{of_tasks}, mean of cells without attention, n = {most} − n = {least}"
    return [
        said.of_seeds(
            "Attention recalls what no fixed state of moderate size does", "Arora 2023; Jelassi 2024 of copying", gap, np.mean(gaps, 0)
        ),
        said.of_seeds("What a state recalls grows with its size", "Arora 2024", rise, np.mean(grown, 0)),
    ]


def lacking(found: Sequence[Frontier]) -> list[tuple[str, Need]]:
    """Returns what the verdict lacks, as (why, runs): frontiers, seeds at the largest budget, rates that a curve supports."""
    lacks: list[tuple[str, Need]] = []
    for task in dict.fromkeys(each.task for each in found):
        attends, base, *others = _of_verdict(found, task)
        if not attends or not base or not any(others):
            why = f"{task}: {BASE} with attention, and {BASE} and another cell without it"
            last = max(each.last for each in found if each.task == task)
            lacks.append((why, Need(ARMS[0], last, "selection", SELECTION_SEEDS, (), f"no run of {why}")))
        lacks += _short([each for each in (attends, base, *others) if each])
    return lacks


def _short(there: Sequence[Frontier]) -> list[tuple[str, Need]]:
    """Returns the seeds and rate curves that the frontiers of one task lack."""
    lacks: list[tuple[str, Need]] = []
    seeds = {seed for each in there for n in each.sizes for seed in each.right[n, each.last]}
    for each in there:
        fewest = min(len(each.right[n, each.last]) for n in each.sizes)
        if lack := max(SEEDS, len(seeds)) - fewest:
            why = f"{lack} seeds of {each.name} on {each.task}"
            lacks.append((why, Need(each.arm, each.last, "reported", lack, (), f"{why} are missing")))
        if lines := [line for line in capacities.unsupported_rates(each.series) if f"at {each.last:,} updates" in line]:
            why = f"learning rates of {each.name} on {each.task}: {lines[0]}"
            lacks.append((why, Need(each.arm, each.last, "selection", SELECTION_SEEDS, (), "a rate is not that of a curve")))
    return lacks


def baselines(found: Sequence[Frontier]) -> Table:
    """Tabulates, per task, accuracy by chance, and of an answer that repeats the keys and knows values, not whose they are."""
    lines = []
    for each in {each.task: each for each in found}.values():
        V = each.series.alphabet
        ends = each.long[0], each.long[-1]
        trivial = [f"{(1 + recall.without_keys(pairs, V)) / 2:.3f}" if each.task == RECALL else "–" for pairs in ends]
        lines.append((each.task, f"{1 / V:.3f}", *trivial))
    header = ("task", "chance", "keys, values of any key, shortest of the long half", "longest of it")
    return Table("Accuracy that needs no recall", header, lines)


def values_table(found: Sequence[Frontier]) -> Table:
    """Tabulates, for recall, how many of the values are right at least, whatever keys are."""
    lines = []
    for each in (each for each in found if each.task == RECALL):
        for n in each.sizes:
            least = intervals.student([recall.of_values(share) for share in each.by_seed(n)])
            lines.append((each.name, str(n), tables.interval_text(each.accuracy((n, each.last)), 3), tables.interval_text(least, 3)))
    return Table("Recall, largest budget: half of the symbols are keys, repeated", ("cell", "n", "accuracy", "of values, at least"), lines)


def figures(rows: list[dict]) -> dict:
    """Draws the frontiers of every task at the largest budget, accuracy by state, and bits of L* by state without attention."""
    panels: dict[str, list[drawing.Line]] = {}
    found = frontiers.read(rows, label)
    for each in found:
        points = {n: each.accuracy((n, each.last)) for n in each.sizes}
        line = drawing.Line(each.label, each.arm, each.arm not in fixed_vectors(), points)
        panels.setdefault(f"{each.task} after {each.last:,} updates", []).append(line)
    drawn = {"frontiers": drawing.frontiers(panels, "State and recall", 1 / found[0].series.alphabet)}
    for task in dict.fromkeys(each.task for each in found):
        ours = [each for each in found if each.task == task and each.arm in fixed_vectors()]
        lines = [Line(each.label, each.label, each.series.bits(each.last)) for each in ours]
        if lines := [line for line in lines if line.points]:
            beside = capacities.references(ours[0].series, ours[0].last)
            drawn[f"bits_{task}"] = bits_by_size(lines, beside, f"Bits of the longest input, {task}, without attention")
    return drawn


def _budgets(found: Sequence[Frontier]) -> str:
    """Returns the budgets and seeds that go with the verdict, as text."""
    seeds = max(half.seeds for each in found for half in each.series.half.values())
    budgets: dict[str, set[int]] = {}
    for each in found:
        budgets.setdefault(each.task, set()).update(each.series.budgets)
    parts = [f"{task} at {', '.join(f'{budget:,}' for budget in sorted(of_task))} updates" for task, of_task in budgets.items()]
    return f"with {seeds} seeds, {' and '.join(parts)}, each budget a run of its own"
