"""Soft and hard attention: accuracy, alignment, noise of the gradient and budget of nine ways to attend, on four tasks with known links

Claim. A hard attention that is trained by its exact likelihood does better than one that is trained by sampled positions (Wu, Shapiro,
Cotterell 2018; Deng, Kim, Chiu, Guo, Rush 2018). And what do the ways between soft and hard cost?

Source. Wu 2018 on inflection and transliteration, Deng 2018 on translation and visual question answering. These tasks are smaller.
Expected. "exact learns faster" of tiny, "exact beats sampled" of small.
    python -m experiments.run --experiment=soft_hard --preset=tiny --choose_rates

Arms. One score (`general`), one encoder, decoder, start and data; the query comes after the cell and the context enters the readout
alone, which is where the exact likelihood is exact. An arm is a normaliser or an estimator:
  soft, sparsemax, entmax15        the expected memory vector, by weights that are all above zero, or sparse (Martins 2016; Peters 2019)
  gumbel, straight_through         a relaxed draw; a draw whose gradient is that of a relaxed one (Jang 2017)
  reinforce                        a draw, and the score function, with a moving average as baseline (Xu 2015)
  marginal, variational            the likelihood summed over all positions, and a bound of it (Wu 2018; Deng 2018)
  monotonic                        moves on along the source alone (Raffel 2017): of these tasks it can only copy

Data. copy, reverse, sort and cued_recall of 8 symbols, lengths 1 to 8: each output symbol has one source position, its gold link. One
source in 8 is never trained on, and alone tested on. In sort equal symbols are interchangeable, and in cued_recall a key stands in its pair
and in its question, but the gold link is one of them, so that an error of alignment there is not always one.

Measured. Exact match by length, free running; error of alignment on the long half, teacher-forced: 1 − the share of gold links that have
the largest weight, EOS's link among them, which is the alignment error rate where every output looks somewhere, and above it else;
entropy of the weights that are used, which is 0 for one position by construction. Of each trained model besides, on a batch of
validation, by 32 repeated draws: the entropy of the distribution that is drawn from, and the noise of the gradient g of the score's
parameters, tr Cov g / |E g|², at the parameters of the start, which all arms share, and of the end. Seconds per 1,000 updates of all seeds
are of whatever machine ran it, with all else that ran there. Budget to 0.95: the smallest rung at which exact match on the long half has a
lower bound of 0.95 or more; a ladder that ends below is right-censored.

Rates. Per arm, task and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that
cannot be told from the best. Curves are kept with the experiment where there are any; --choose_rates measures them.

Verdict, fixed before the runs: `marginal` − `reinforce`, paired by seed, in each task that at least one of them has learned (the lower
bound of exact match of the typical seed on the long half is ½ or more at the largest budget). Two families over tasks, two-sided Student
tests at 0.05 by Holm: d, exact match on the long half at the largest budget; and r, rungs of the ladder to 0.95 of each seed by the lower
bound of Clopper and Pearson, a seed that does not get there counting as one rung above the ladder.
  exact beats sampled     d is above 0 in a task, and below 0 in none
  sampled beats exact     the reverse
  exact learns faster     d differs from 0 in no task; r is below 0 in a task, and above 0 in none
  sampled learns faster   the reverse
  depends on the task     d, or where d does not differ r, is above 0 in one task and below 0 in another
  no difference           neither differs, and every interval of d lies within ±0.1
  inconclusive            else, or a run or a rate curve is missing or ends at an edge, or no task is learned, with what is missing

Presets. tiny and small have H = 16, at which soft attention learns: what is compared is how arms are trained. tiny: copy and reverse;
soft, straight_through, reinforce and marginal; 4 seeds, 100 to 1,600 updates. small: all tasks, all arms, 8 seeds. full: lengths 1 to 20,
H = 128, for an accelerator. An update of 4 seeds takes 3.2 ms of CPU in soft, 4.3 in reinforce, 10.6 in marginal, 13.7 in variational, by
the clock half of that on 2 quiet CPU cores. So tiny, 3,100 updates an arm and task, trains for 70 s; compiling 8 times and testing add 4
minutes: 6 in all. Small, with twice the seeds, trains for 14 minutes, compiles and tests for 23: under 40. Curves that have to be
measured take 5 to 7 times the training in tiny, 3 to 5 times in small, and tests of trials: 15 and 110 minutes. All of small took 75.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from attention_jax import model, training
from attention_jax.attention import ESTIMATORS, NORMALISERS
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data.sources import Source
from attention_jax.report import findings as said
from attention_jax.report import scoring, standings, tables
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import alignments, intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import LEARNED, Need
from attention_jax.statistics.verdicts import Verdict, missing
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.training import compiled
from attention_jax.types import Model

PRESETS = ("tiny", "small", "full")
PAPERS = ("wu2018", "deng2018", "clopper1934")
ARMS = ("soft", "straight_through", "reinforce", "marginal")
MORE = ("sparsemax", "entmax15", "gumbel", "variational", "monotonic")  # arms of small and full besides, unless --arms says which
CHOICES = tuple(dict.fromkeys(("soft", *NORMALISERS, *ESTIMATORS)))
FIELDS = ("model.normaliser", "model.estimator")
EVERY = ("copy", "reverse", "sort", "cued_recall")
TASKS = {"tiny": EVERY[:2], "small": EVERY, "full": EVERY}
LADDERS = {"tiny": (100, 5), "small": (100, 5), "full": (500, 7)}  # the smallest budget, in updates, and rungs, each twice the one before
GROUP = ("task", "cell", "hidden_size", "attention")
EXACT, SAMPLED = "marginal", "reinforce"
REACHED, CLOSE, LEVEL = 0.95, 0.1, 0.05
DRAWS = 32

TINY = Config(
    model=ModelConfig(attention="general", hidden_size=16, embedding_size=16, timing="after"),
    data=DataConfig(symbols=8, shortest=1, longest=8, held_out=8, eval_lengths=(3, 4, 5, 6, 7, 8, 12), eval_examples=512),
    training=TrainingConfig(
        seeds=4, batch_size=32, schedule="cosine", learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2), checkpoint_every=1600
    ),
)
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=128, embedding_size=64),
    data=replace(TINY.data, longest=20, eval_lengths=(3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 30)),
    training=replace(TINY.training, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every task, arm and budget."""
    base, (first, rungs) = FULL if preset == "full" else TINY, LADDERS[preset]
    every = (*arms, *MORE) if preset != "tiny" and tuple(arms) == ARMS else arms
    return [
        replace(
            base,
            model=replace(base.model, **settings(arm)),
            data=replace(base.data, task=task),
            training=replace(base.training, seeds=4 if preset == "tiny" else 8, updates=first * 2**rung),
        )
        for task in TASKS[preset]
        for arm in every
        for rung in range(rungs)
    ]


def settings(arm: str) -> dict[str, str]:
    """Returns the settings of an arm: the normaliser or the estimator of its name."""
    return {"normaliser" if arm in NORMALISERS else "estimator": arm}


def arm_of(normaliser: str, estimator: str) -> str:
    """Returns the arm of these settings: the one that is not the default, or both."""
    named = [word for word, default in ((normaliser, "softmax"), (estimator, "soft")) if word != default]
    return "_".join(named) or "soft"


def name(config: Config) -> str:
    """Returns a run's name, such as marginal-copy-gru-h16-u1600."""
    arm = arm_of(config.model.normaliser, config.model.estimator)
    return f"{arm}-{config.data.task}-{config.model.cell}-h{config.model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for a mechanism without a score that learns: noise is measured of its gradient."""
    decoder = jax.eval_shape(model.build(config.model, 4).init, jax.random.key(0))["decoder"]
    if not jax.tree.leaves(decoder.get("attention", {}).get("score")):
        given = f"model.attention={config.model.attention}, model.heads={config.model.heads}"
        raise ConfigError(f"{given}: noise is of the gradient of a score's parameters, of one head; dot and vectors have none")


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns noise of the gradient and entropy of the distribution over positions, at the parameters of the start and of the end."""
    config = trained.config
    batch = jax.tree.map(lambda x: x[0, : config.training.batch_size], next(iter(source.evaluation("validation", [trained.seed]))))
    state = training.init(trained.model, config.training, trained.seed, 1.0)
    rows = []
    for parameters, params in (("start", state.params), ("end", trained.params)):
        noise, entropy = noise_of(trained.model, compiled.shared(config.training))(state.replace(params=params), batch)
        rows.append({"parameters_of": parameters, "gradient_noise": float(noise), "entropy": float(entropy)})
    return rows


@cache
def noise_of(built: Model, config: TrainingConfig, draws: int = DRAWS):
    """Returns (state, batch) → (noise of the gradient, entropy in nats), jitted.

    noise = Σ_n |g_n − ḡ|² / ((N − 1) |ḡ|²), g_n the gradient of the score's parameters with the draws of update n; at most N, and 0 where
    nothing is drawn. The baseline that an average is has settled: it is the mean log p per token of this batch.
    """

    def drawn(state, batch):
        """Gradients as rows, and nats per token, of N updates from the same parameters."""

        def one(n):
            grads, sums = training.gradients(state.replace(step=n), batch, built, config)
            return ravel_pytree(grads["decoder"]["attention"]["score"])[0], sums.nll / sums.tokens

        return jax.lax.map(one, jnp.arange(draws, dtype=jnp.int32))

    def found(state, batch):
        _, nll_N = drawn(state, batch)
        grads_NxP, _ = drawn(state.replace(average=-nll_N.mean()), batch)
        mean_P = grads_NxP.mean(0)
        apart_NxP = grads_NxP - mean_P[None, :]
        noise = (apart_NxP**2).sum() / (draws - 1) / jnp.maximum((mean_P**2).sum(), jnp.finfo(jnp.float32).tiny)
        looked = alignments.sums(built.forced(state.params, batch, state.key).weights_BxTxS, batch)
        return noise, looked.entropy_B.sum() / jnp.maximum(looked.looks_B.sum(), 1)

    return jax.jit(found)


class Compared(NamedTuple):
    """Exact − sampled in one task: d of exact match, r of rungs, by seed; whether a seed's rung is censored."""

    d: list[float]
    r: list[int]
    censored: bool


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of every task, and the verdict on exact against sampled."""
    shown, compared, needs, why = [], {}, [], []
    found = groups(rows)
    for group, measured in found:
        shown += [scoring.by_length(group), scoring.by_budget(group), by_arm(group, measured), budgets(group)]
        if of_rates := scoring.rate_curves(group.rows, group.name, group.long):
            shown.append(of_rates)
        lacks = lacking(group)
        needs += [need for need in lacks if isinstance(need, Need)]
        why += [f"{group.name}: {need.arm}: {need.why}" if isinstance(need, Need) else f"{group.name}: {need}" for need in lacks]
        if not lacks and is_learned(group):
            compared[group.name] = compare(group)
    outcomes = judged(compared)
    shown += [by_task([group for group, _ in found]), outcomes[0]]
    verdict = outcomes[1]
    if why:
        verdict = missing(why)
    return Score(verdict._replace(needs=tuple(needs)), shown, scoring.budget_text(found[0][0]))


def groups(rows: Sequence[dict]) -> list[tuple[Group, list[dict]]]:
    """Returns (results and rate curves, what was measured besides) of each task, its rows under the names of arms."""
    found = []
    for title, of_task in tables.grouped(rows, GROUP).items():
        named = [row | {"attention": arm_of(row["normaliser"], row["estimator"])} for row in of_task]
        besides = [row for row in named if standings.is_measured(row)]
        found.append((Group(title, [row for row in named if not standings.is_measured(row)], ()), besides))
    return found


def lacking(group: Group) -> list[Need | str]:
    """Returns what exact and sampled lack in a task to be compared: arms, budgets, seeds, rate curves."""
    if absent := [arm for arm in (EXACT, SAMPLED) if arm not in group.arms]:
        return [f"no run of {arm}" for arm in absent]
    if group.budgets(EXACT) != group.budgets(SAMPLED):
        return ["exact and sampled have different budgets"]
    if len(scoring.long_by_seed(group, EXACT, group.budgets(EXACT)[-1])) < 2:
        return ["a comparison by seed needs two seeds or more"]
    needs = (scoring.lacking(group.rows, arm, budget) for arm in (EXACT, SAMPLED) for budget in group.budgets(arm))
    return [need for need in needs if need]


def is_learned(group: Group) -> bool:
    """Returns whether exact or sampled has learned the long half at the largest budget."""
    bounds = (standings.pooled(group.tested(arm, group.budgets(arm)[-1]), group.long).low for arm in (EXACT, SAMPLED))
    return any(low >= LEARNED for low in bounds)


def compare(group: Group) -> Compared:
    """Returns exact − sampled of a task, by seed. Raises `DataError` where their seeds differ."""
    exact, sampled = (
        {seed: k / n for seed, (k, n) in scoring.long_by_seed(group, arm, group.budgets(arm)[-1]).items()} for arm in (EXACT, SAMPLED)
    )
    intervals.paired(exact, sampled)  # refuses a seed that only one side has
    ours, theirs = rungs(group, EXACT), rungs(group, SAMPLED)
    last = len(group.budgets(EXACT))
    censored = last in (*ours.values(), *theirs.values())
    return Compared([exact[seed] - sampled[seed] for seed in exact], [ours[seed] - theirs[seed] for seed in exact], censored)


def rungs(group: Group, arm: str) -> dict[int, int]:
    """Returns {seed: the first rung, from 0, at which its own exact match has a lower bound of 0.95, else the number of rungs}."""
    found: dict[int, int] = {}
    for rung, budget in enumerate(group.budgets(arm)):
        for seed, (exact, examples) in scoring.long_by_seed(group, arm, budget).items():
            if intervals.clopper_pearson(exact, examples).low >= REACHED:
                found.setdefault(seed, rung)
    return {seed: found.get(seed, len(group.budgets(arm))) for seed in scoring.long_by_seed(group, arm, group.budgets(arm)[-1])}


def judged(compared: Mapping[str, Compared]) -> tuple[Table, Verdict]:
    """Returns the table of tasks and the verdict."""
    p_d = intervals.holm({task: intervals.student_p(each.d) for task, each in compared.items()})
    p_r = intervals.holm({task: intervals.student_p(each.r) for task, each in compared.items()})
    lines, d_signs, r_signs, d_of = [], set(), set(), {}
    for task, each in compared.items():
        d_of[task], r = intervals.student(each.d), intervals.student(each.r)
        d_signs |= {np.sign(d_of[task].mean)} if p_d[task] < LEVEL else set()
        r_signs |= {np.sign(r.mean)} if p_r[task] < LEVEL else set()
        rungs_r = tables.interval_text(r) + " (a rung is censored)" * each.censored
        lines.append((task, tables.interval_text(d_of[task], 3), tables.p_text(p_d[task]), rungs_r, tables.p_text(p_r[task])))
    header = ("task", "exact match on the long half", "p", "rungs to 0.95", "p")
    table = Table(f"{EXACT} − {SAMPLED}, paired by seed; p two-sided, by Holm over tasks", header, lines)
    reason = "; ".join(f"{task}: {tables.interval_text(d, 3)} in exact match" for task, d in d_of.items())
    p = min((*p_d.values(), *p_r.values()), default=1.0)
    return table, Verdict(worded(d_signs, r_signs, list(d_of.values())), reason or "no task is learned", p=p)


def worded(d_signs: Set[float], r_signs: Set[float], d: Sequence[Interval]) -> str:
    """Returns the word of the rule for the signs of what differs."""
    if not d:
        return "inconclusive"
    if len(d_signs) > 1 or (not d_signs and len(r_signs) > 1):
        return "depends on the task"
    if d_signs:
        return "exact beats sampled" if 1 in d_signs else "sampled beats exact"
    if r_signs:
        return "exact learns faster" if -1 in r_signs else "sampled learns faster"
    return "no difference" if all(each.low > -CLOSE and each.high < CLOSE for each in d) else "inconclusive"


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of exact and sampled, over all tasks that both have: mean over tasks, paired by seed."""
    made = [compare(group) for group, _ in groups(rows) if not lacking(group) and is_learned(group)]
    if not made:
        return []
    d, r = np.mean([each.d for each in made], 0), np.mean([each.r for each in made], 0)
    where, source = f"{EXACT} − {SAMPLED}, mean over {len(made)} of the tasks", "Wu, Shapiro, Cotterell 2018; Deng and others 2018"
    return [
        said.of_seeds("Hard attention that is trained exactly beats hard attention by samples", source, f"exact match on long, {where}", d),
        said.of_seeds("And it needs fewer updates", source, f"doublings of the budget saved on the way to {REACHED}, {where}", -r),
    ]


def by_arm(group: Group, measured: Sequence[dict]) -> Table:
    """Tabulates how each arm looks at its largest budget, the noise of its gradient, and what its updates cost."""
    lines = []
    for arm in group.arms:
        budget = group.budgets(arm)[-1]
        rows = [row for row in standings.reported(group.rows) if row["attention"] == arm and row["budget"] == budget]
        error = over_long([row for row in rows if row["mode"] == "forced"], "alignment_agreement", group.long)
        entropy = over_long([row for row in rows if row["mode"] == "forced"], "alignment_entropy", group.long)
        ours = [row for row in measured if row["attention"] == arm and row["budget"] == budget]
        besides = [
            tables.interval_text(of_seeds([row[value] for row in ours if row["parameters_of"] == at], least=0.0))
            for value, at in (("entropy", "end"), ("gradient_noise", "start"), ("gradient_noise", "end"))
        ]
        wrong = error and Interval(1 - error.mean, max(0.0, 1 - error.high), min(1.0, 1 - error.low), error.n)
        cost = f"{1000 * rows[0]['seconds'] / budget:.1f}"
        lines.append((arm, f"{budget:,}", tables.interval_text(wrong), tables.interval_text(entropy), *besides, cost))
    header = ("arm", "updates", "alignment error", "entropy used", "entropy drawn from", "noise at start", "at end", "s / 1,000 updates")
    title = (
        f"How arms look, and what they cost, {group.name}; mean over seeds, long half; seconds of the machine and all else that ran there"
    )
    return Table(title, header, lines)


def over_long(rows: Sequence[Mapping], value: str, long: Sequence[int]) -> Interval | None:
    """Returns the mean over seeds of the mean over long lengths, a value that is never below 0; None where a value is missing."""
    of_seed: dict[int, list] = {}
    for row in rows:
        if row["length"] in long:
            of_seed.setdefault(row["seed"], []).append(row.get(value))
    if any(x is None for values in of_seed.values() for x in values):
        return None
    return of_seeds([float(np.mean(values)) for values in of_seed.values()], least=0.0)


def of_seeds(values: Sequence[float], least: float = -np.inf) -> Interval | None:
    """Returns the interval of the mean over seeds, cut at `least`; None for no seed."""
    if not len(values):
        return None
    found = intervals.student(values)
    return found._replace(low=float(np.maximum(found.low, least)))


def budgets(group: Group) -> Table:
    """Tabulates the smallest budget at which each arm reaches 0.95, and how many of its seeds do by themselves."""
    lines = []
    for arm in group.arms:
        ladder, found = group.budgets(arm), rungs(group, arm)
        each = ", ".join(f"{ladder[rung]:,}" if rung < len(ladder) else f"> {ladder[-1]:,}" for rung in found.values())
        lines.append((arm, first(group, arm), f"{sum(rung < len(ladder) for rung in found.values())} of {len(found)}", each))
    return Table(f"Updates to {REACHED} on the long half, {group.name}", ("arm", "typical seed", "seeds that get there", "by seed"), lines)


def first(group: Group, arm: str) -> str:
    """Returns the smallest budget at which the typical seed of an arm reaches 0.95, as text."""
    ladder = group.budgets(arm)
    bounds = {budget: standings.pooled(group.tested(arm, budget), group.long).low for budget in ladder}
    return next((f"{budget:,}" for budget, low in bounds.items() if low >= REACHED), f"> {ladder[-1]:,}")


def by_task(found: Sequence[Group]) -> Table:
    """Tabulates the budget to 0.95 of every arm in every task."""
    arms = dict.fromkeys(arm for group in found for arm in group.arms)
    lines = [(arm, *(first(group, arm) if arm in group.arms else "" for group in found)) for arm in arms]
    return Table(f"Tasks: updates to {REACHED} on the long half, typical seed", ("arm", *(group.name for group in found)), lines)


def figures(rows: list[dict]) -> dict:
    """Draws, for every task, exact match by length and by budget, and rate curves of exact and sampled."""
    drawn = {}
    for group, _ in groups(rows):
        title = group.name.replace(" ", "_")
        drawn[f"lengths_{title}"] = scoring.lengths_drawn(group)
        drawn[f"budgets_{title}"] = curves.length_curves(
            {arm: {budget: standings.pooled(group.tested(arm, budget), group.long) for budget in group.budgets(arm)} for arm in group.arms},
            title=f"{group.name}: lengths {group.long[0]} to {group.long[-1]}",
            ylabel="exact match",
            xlabel="budget (updates, each a run of its own)",
            line_label="typical seed",
            budgets=True,
        )
        if found := [curve for curve in scoring.curves(group.rows) if curve.arm in (EXACT, SAMPLED)]:
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn
