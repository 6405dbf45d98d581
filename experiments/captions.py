"""Captions in small: sentences on what stands on a canvas, and where each of their words looks

Claim. A captioner that attends looks at what it names: for nouns at their objects, for function words at nothing in particular; and hard
attention captions better than soft (Xu and others 2015, from pictures of where words looked, and BLEU).

Arms. One convolutional encoder, whose grid of places with their rows and columns is the memory, one decoder, start, data and data order.
  summary      the mean over places, projected to d numbers, starts the decoder and is the context of every step
  soft         additive attention, with the same start
  reinforce    the same score, and one place that is drawn (Xu 2015: a moving average as baseline, an entropy bonus, and half of the
               examples on the expected context)

Data. Canvases of 64 x 128 pixels (small: 64 x 160, full: 64 x 256) with digits of MNIST, small or large, in front of fragments of other
digits, and the sentence that says them from left to right: "a small seven above a large two". No image is in two splits. A word of an
object has the box of its digit as gold region, a preposition the boxes of both objects and what is between. More objects than were trained
on are shown, but enter no verdict.

Measured. Exact match of whole sentences by number of objects, free running, and beside it what needs no source: chance, every size, digit
and preposition one of 2, 10 and 3 at random, the number of objects known, and unigram, the most frequent digit in the place of any. Of each
arm at its largest budget besides, on trained numbers of objects, true words before each, by word class (noun, size, preposition, article):
pointing, the share of words of which the most attended place has its middle in the word's region, beside that of a uniform look; and the
weight of the places of which that holds.

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that cannot be
told from the best. Curves are kept with the experiment where there are any; --choose_rates measures them.

Verdict, fixed before the runs, of soft at its largest budget, once it has learned (the lower bound of exact match of the typical seed on
the long half is ½ or more). What counts is pointing beyond a uniform look, (pointing − that of a uniform look) / (1 − that of a uniform
look), so that words of small and of large regions have one scale: n that of nouns, f that of function words (articles and prepositions), by
Student's intervals of the mean over seeds, paired. A word looks where it is above 0.5.
  nouns alone look    n has a lower bound above 0.5, f an upper bound below 0.5, and n − f a lower bound above 0.1
  nouns look more     n has a lower bound above 0.5, n − f one above 0.1, and f no upper bound below 0.5
  all words look      n and f both have lower bounds above 0.5, and n − f lies within ±0.1
  words look early    n has an upper bound below 0.5, f a lower bound above 0.5: a word is looked up before it is said
  no word looks       n and f both have upper bounds below 0.5
  inconclusive        else, or a run, a seed, a measurement or the largest budget's rate curve is missing, or its best rate lies at an edge
                      of its grid, or soft has not learned
Beside it stand `verdicts.verdict` of summary against soft on exact match, and reinforce − soft, exact match on the long half at the largest
budget of both, paired by seed, two-sided Student's p. The former takes four trained lengths or more: tiny has two, and so cannot judge what
the vector loses; its table says so.

Presets. tiny: 1 and 2 objects on 64 x 128, the three arms, 8 seeds. small: 1 to 4 objects on 64 x 160 and a longer ladder. full: 1 to 6
objects on 64 x 256, larger filters, for an accelerator. Minutes are estimates from those of `spatial`, whose filters these are: tiny, of
26,000 updates of 8 seeds, half an hour on 2 quiet cores, and an hour and a half more for rate curves, where they are measured; small, of
52,000 updates, 75 minutes, and 4 hours for its curves. Tests have 256 examples of each length (small: 128), not the protocol's 512.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from attention_jax import attention
from attention_jax.attention import ESTIMATORS
from attention_jax.config import Config, DataConfig, ModelConfig, SignalConfig, TrainingConfig
from attention_jax.data import signals
from attention_jax.data.signals import captions
from attention_jax.data.sources import Source
from attention_jax.report import findings as said
from attention_jax.report import further, scoring, standings, tables
from attention_jax.report import pointing as pointed
from attention_jax.report.figures import ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import intervals
from attention_jax.statistics.ladder import LEARNED, Need
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.verdicts import Verdict, missing
from attention_jax.sweeps import pointing
from attention_jax.trained import Trained

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("xu2015", "lecun1998", "zhang2016")
ARMS = ("summary", "soft", "reinforce")
CHOICES = (*attention.fixed_vectors(), *ESTIMATORS)
FIELDS = ("model.estimator",)
FIXED = attention.fixed_vectors()
GROUP = ("longest", "hidden_size")
LADDERS = {"tiny": (2000, 3), "small": (4000, 3), "full": (5_000, 4)}
"""The smallest budget, in updates, and how many rungs there are for fixed vectors, each twice the one before."""
RUNGS = 2
"""So many of them are those of arms that attend."""
SOFT, LOOKS, APART = "soft", 0.5, 0.1
FUNCTION = ("article", "preposition")
UNIGRAM = 0.1135
"""The share of the most frequent digit, 1, among the test images of MNIST."""
XU = "Xu and others 2015"

TINY = Config(
    model=ModelConfig(
        encoder="image",
        rows=16,
        kernel=4,
        stride=2,
        convolutions=2,
        coordinates=True,
        hidden_size=36,
        embedding_size=16,
        decoder_size=64,
        attention_size=32,
        vector_size=32,
        entropy_bonus=0.01,
    ),
    data=DataConfig(task="captions", shortest=1, longest=2, eval_lengths=(1, 2, 3), eval_examples=256),
    signal=SignalConfig(height=64, widths=(128,), patch=4, clutter=6, smallest=16, largest=30),
    training=TrainingConfig(
        seeds=8, batch_size=32, schedule="cosine", learning_rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2), checkpoint_every=500, chunk=50
    ),
)
SMALL = replace(
    TINY,
    data=replace(TINY.data, longest=4, eval_lengths=(1, 2, 3, 4, 5), eval_examples=128),
    signal=replace(TINY.signal, widths=(160,), clutter=8),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=128, embedding_size=32, decoder_size=256, attention_size=128, vector_size=128),
    data=replace(TINY.data, longest=6, eval_lengths=(1, 2, 3, 4, 5, 6, 8)),
    signal=replace(TINY.signal, widths=(256, 384), clutter=12),
    training=replace(TINY.training, batch_size=128, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)),
)
BASES = {"tiny": TINY, "small": SMALL, "full": FULL}


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget."""
    base, (first, rungs) = BASES[preset], LADDERS[preset]
    return [
        replace(base, model=replace(base.model, **settings(arm)), training=replace(base.training, updates=first * 2**rung))
        for arm in arms
        for rung in range(rungs if arm in FIXED else RUNGS)
    ]


def settings(arm: str) -> dict:
    """Returns the settings of the model of an arm."""
    return {"attention": arm} if arm in FIXED else {"estimator": arm, "mixing": 0.5 if arm == "reinforce" else 0.0}


def arm(row: Mapping) -> str:
    """Returns the arm of a row."""
    return row["attention"] if row["attention"] in FIXED else row["estimator"]


def name(config: Config) -> str:
    """Returns a run's name, such as soft-l2-h32-d32-u2000."""
    model = config.model
    own = arm({"attention": model.attention, "estimator": model.estimator})
    return f"{own}-l{config.data.longest}-h{model.hidden_size}-d{model.vector_size}-u{config.training.updates}"


def measures(config: Config) -> bool:
    """Returns whether a run looks somewhere, and its data say where it should."""
    return attention.looks(config.model.attention) and signals.is_drawn(config.data)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns rows of what looks point at, by number of objects and word class."""
    kinds = {kind: range(captions.FIRST[kind], captions.FIRST[kind] + len(words)) for kind, words in captions.CLASSES.items()}
    return pointing.rows_of(trained, source, kinds)


def rows_of(rows: Sequence[dict]) -> list[dict]:
    """Returns the rows under the names of arms."""
    return [row | {"attention": arm(row)} for row in rows]


def parts(rows: Sequence[dict]) -> tuple[Group, list[Mapping]]:
    """Returns (results and rate curves, what was measured besides of each arm at its largest budget), under the names of arms."""
    named = rows_of(rows)
    results = [row for row in named if standings.is_reported(row) or standings.is_trial(row)]
    title = next(iter(tables.grouped(named, GROUP)))
    group = Group(title, results, FIXED)
    return group, pointed.at_last([row for row in named if standings.is_measured(row)], group)


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns the tables, and the verdict on where words look."""
    group, measured = parts(rows)
    found = scoring.score(list(group.rows), GROUP, FIXED, primary="summary")
    looking = [arm for arm in group.arms if arm not in FIXED]
    shown = [*found.tables, *([chances(group)] if group.rows[0]["task"] == "captions" else [])]
    shown += [further.exact_match(group, apart)] if (apart := standings.further(rows_of(rows))) else []
    if trained := [row for row in measured if row["length"] in group.trained]:
        shown.append(pointed.table(trained, looking, tuple(captions.CLASSES), group.name))
        shown += [table] if (table := pointed.by_test(trained, looking, group.name)) else []
    shown += [ordering(group)] if difference(group) else []
    verdict = judged(group, measured)
    return Score(verdict._replace(needs=verdict.needs or found.verdict.needs if verdict.failed else ()), shown, found.budget)


def ordering(group: Group) -> Table:
    """Tabulates reinforce − soft."""
    d = difference(group)
    shown = tables.interval_text(intervals.student(d).of_difference(0, 1), 3)
    line = (f"{last_of_both(group):,}", shown, tables.p_text(intervals.student_p(d)))
    title = f"Exact match on the long half, reinforce − soft, paired by seed, p two-sided, {group.name}"
    return Table(title, ("updates", "difference", "p"), [line])


def last_of_both(group: Group) -> int:
    """Returns the largest budget of both arms, 0 where there is none."""
    return max({*group.budgets("reinforce")} & {*group.budgets(SOFT)}, default=0)


def difference(group: Group) -> list[float]:
    """Returns exact match of reinforce less that of soft, long half, by seed; nothing where one of them, or a second seed, is missing."""
    if not (budget := last_of_both(group)):
        return []
    hard, soft = (scoring.long_by_seed(group, arm, budget) for arm in ("reinforce", SOFT))
    found = [hard[seed][0] / hard[seed][1] - soft[seed][0] / soft[seed][1] for seed in sorted(set(hard) & set(soft))]
    return found if len(found) > 1 else []


def chances(group: Group) -> Table:
    """Tabulates what needs no source, by number of objects: exact match of chance, and of the most frequent digit."""
    lengths = group.tested(group.arms[0], group.budgets(group.arms[0])[0]).lengths
    lines = [(str(n), *(f"{(digit / 2) ** n / 3 ** (n - 1):.2g}" for digit in (0.1, UNIGRAM))) for n in lengths]
    return Table(f"Exact match without a source, the number of objects known, {group.name}", ("length", "chance", "unigram"), lines)


def beyond(measured: Sequence[Mapping], kinds: Sequence[str], trained: Sequence[int]) -> list[float]:
    """Returns pointing of soft beyond a uniform look, by seed, over words of these classes in sentences of trained lengths."""
    ours = [row for row in measured if (row["attention"], row["split"]) == (SOFT, "test") and row["words"] in kinds]
    return pointed.beyond([row for row in ours if row["length"] in trained])


def judged(group: Group, measured: Sequence[Mapping]) -> Verdict:
    """Returns the verdict on where the words of soft look."""
    if SOFT not in group.arms:
        return missing([f"no run of {SOFT}"])
    budget = group.budgets(SOFT)[-1]
    if need := scoring.lacking(group.rows, SOFT, budget):
        return missing([f"{need.arm} at {need.budget} updates: {need.why}"], [need])
    tested = group.tested(SOFT, budget)
    exact = standings.pooled(tested, group.long)
    if exact.low < LEARNED:
        why = f"not learned: exact match on the long half is {tables.interval_text(exact)}"
        return Verdict("inconclusive", why, failed=("learned",), needs=(Need(SOFT, 2 * budget, "selection", SELECTION_SEEDS, (), why),))
    nouns, others = (beyond(measured, kinds, group.trained) for kinds in (("noun",), FUNCTION))
    if len(nouns) != len(tested.seeds) or len(others) != len(nouns) or len(nouns) < 2:
        return missing([f"{SOFT} is not measured for every seed, or there is one seed alone"])
    return looks(nouns, others)


def looks(nouns: Sequence[float], others: Sequence[float]) -> Verdict:
    """Returns the verdict on how far nouns and function words point, beyond a uniform look, in each seed."""
    n, f, apart = intervals.student(nouns), intervals.student(others), intervals.student(np.subtract(nouns, others))
    if n.low > LOOKS and apart.low > APART:
        value = "nouns alone look" if f.high < LOOKS else "nouns look more"
    elif n.low > LOOKS and f.low > LOOKS and apart.low > -APART and apart.high < APART:
        value = "all words look"
    elif n.high < LOOKS and (f.high < LOOKS or f.low > LOOKS):
        value = "no word looks" if f.high < LOOKS else "words look early"
    else:
        value = "inconclusive"
    shown = ", ".join(f"{what} {tables.interval_text(of)}" for what, of in (("nouns", n), ("function words", f), ("difference", apart)))
    return Verdict(value, f"pointing beyond a uniform look: {shown}", failed=("looks",) if value == "inconclusive" else ())


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of nouns and function words, and of reinforce against soft."""
    group, measured = parts(rows)
    if SOFT not in group.arms:
        return []
    budget, made = group.budgets(SOFT)[-1], []
    nouns, others = (beyond(measured, kinds, group.trained) for kinds in (("noun",), FUNCTION))
    if len(nouns) > 1 and len(nouns) == len(others):
        number = f"pointing beyond a uniform look, nouns − articles and prepositions, soft, {budget:,} updates"
        made.append(said.of_seeds("Nouns look at their objects more than function words do", XU, number, np.subtract(nouns, others), APART))
    if d := difference(group):
        lengths = f"lengths {group.long[0]} to {group.long[-1]}"
        number = f"exact match of sentences of {lengths}, reinforce − soft, {last_of_both(group):,} updates"
        made.append(said.of_seeds("Hard attention captions better than soft attention", XU, number, d))
    return made


def figures(rows: list[dict]) -> dict:
    """Draws exact match and pointing by number of objects, and rate curves."""
    group, measured = parts(rows)
    made = {"lengths": scoring.lengths_drawn(group)}
    looking = [arm for arm in group.arms if arm not in FIXED]
    for kind in captions.CLASSES if measured else ():
        of_kind, trained = [row for row in measured if row["words"] == kind], (min(group.trained), max(group.trained))
        if of_kind:
            made[f"pointing_{kind}"] = pointed.drawn(of_kind, looking, f"{group.name}, {kind}", trained)
    if found := scoring.curves(group.rows):
        made["rates"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return made
