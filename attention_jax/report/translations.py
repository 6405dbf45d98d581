"""Rows of translation on one corpus → scores at equal updates beside published ones, and the price of the same loss without attention.

`Group` reads results, rate curves and what `trained.translation` measured; tables are made of it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attention_jax.report import scoring, standings, tables
from attention_jax.report.tables import Table
from attention_jax.statistics import gains, intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.rates import Losses
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import blocks, order
from attention_jax.statistics.text.blocks import Sums
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.text.order import Arm

SCORES = {
    "perplexity": ("perplexity, subword", "greedy", 2),
    "perplexity_of_words": ("per word", "greedy", 2),
    "bleu": ("BLEU, greedy", "greedy", 1),
    "chrf": ("chrF, greedy", "greedy", 1),
    "bleu_uncased": ("BLEU lowercased, greedy", "greedy", 1),
    "beam bleu": ("BLEU, beam", "beam", 1),
    "beam chrf": ("chrF, beam", "beam", 1),
    "beam bleu_uncased": ("BLEU lowercased, beam", "beam", 1),
    "beam length_penalty": ("α", "beam", 2),
}
"""{a number, with "beam " where the beam's is meant: (heading, search, digits)}."""

SIGNATURES = ("bleu_signature", "chrf_signature", "bleu_uncased_signature")


class Published(NamedTuple):
    """A line of a published table: numbers by the names of `SCORES`; those of `otherwise` are measured in another way than ours."""

    arm: str
    parameters: str
    values: Mapping[str, float]
    otherwise: tuple[str, ...] = ()


class Group:
    """Rows and sentences of one corpus, in which arms differ in mechanism and budget. The control is an arm of its own, `CONTROL`."""

    def __init__(self, name: str, rows: Sequence[dict], sentences: Mapping[str, Sentences], fixed: Sequence[str]):
        self.name, self.sentences = name, sentences
        named = [row | {"attention": CONTROL} if row.get("blind") else row for row in rows]
        self.rows = [row for row in named if not standings.is_measured(row)]
        self.measured = [row for row in named if standings.is_measured(row)]
        self.results = standings.reported(self.rows)
        self.arms = [arm for arm in dict.fromkeys(row["attention"] for row in self.results) if arm != CONTROL]
        self.fixed = [arm for arm in fixed if arm in self.arms]
        self.attending = [arm for arm in self.arms if arm not in fixed]

    def budgets(self, arm: str) -> list[int]:
        """Returns the budgets of an arm, ascending."""
        return sorted({row["budget"] for row in self.results if row["attention"] == arm})

    @property
    def shared(self) -> int:
        """The largest budget that all arms have, the control too."""
        arms = {row["attention"] for row in self.results}
        common = set.intersection(*(set(self.budgets(arm)) for arm in arms))
        return max(common, default=min(self.budgets(self.arms[0])))

    def pairs(self) -> list[tuple[str, str]]:
        """Returns the steps of the declared order, (worse, better): fixed vectors in their order, then the last one and each other arm."""
        return [*zip(self.fixed, self.fixed[1:], strict=False), *((self.fixed[-1], arm) for arm in self.attending if self.fixed)]

    def sums(self, arm: str, budget: int) -> Sums | None:
        """Returns the losses of an arm at a budget on the whole test set; None where no run has kept its sentences."""
        runs = dict.fromkeys(str(row.get("run")) for row in self.results if row["attention"] == arm and row["budget"] == budget)
        found = [blocks.whole(self.sentences[run]) for run in runs if run in self.sentences]
        return blocks.together(found) if found else None

    def curve(self, arm: str) -> Losses:
        """Returns the rate curve of an arm at the shared budget."""
        return standings.curve(self.rows, arm, self.shared)

    def arm(self, name: str) -> Arm:
        """Returns an arm at the shared budget. Raises `KeyError` where `lacking` names something."""
        if (sums := self.sums(name, self.shared)) is None:
            raise KeyError(name)
        return Arm(name, sums, self.curve(name), scoring.choice(self.rows, name, self.shared))

    def lacking(self) -> list[Need]:
        """Returns what the order needs and there is not: rate curves of the arms, and losses of all arms on the same seeds."""
        arms, needs = dict.fromkeys(arm for pair in self.pairs() for arm in pair), []
        for arm in (*arms, CONTROL):
            if need := scoring.lacking(self.rows, arm, self.shared):
                needs.append(need)
        found = {arm: self.sums(arm, self.shared) for arm in (*arms, CONTROL)}
        seeds = {seed for each in found.values() if each for seed in each.seeds}
        for arm, each in found.items():
            if missing := max(len(seeds), 2) - (len(each.seeds) if each else 0):
                needs.append(Need(arm, self.shared, "reported", missing, (), "losses of the test sentences are missing"))
        return needs

    @property
    def tests(self) -> list[str]:
        """Names of the test sets that outputs were measured on, that of verdicts first."""
        return list(dict.fromkeys(row["test"] for row in self.measured))

    def scores(self, arm: str, budget: int, name: str, test: str = "") -> dict[int, float]:
        """Returns {seed: one of `SCORES`} of an arm on a test set, by default the first."""
        _, search, _ = SCORES[name]
        place, field = (arm, budget, search, test or next(iter(self.tests), "")), name.rpartition(" ")[2]
        ours = (row for row in self.measured if (row["attention"], row["budget"], row["search"], row["test"]) == place)
        return {int(row["seed"]): float(row[field]) for row in ours}

    def price(self, fixed: str, arm: str, budget: int) -> tuple[Interval, str] | None:
        """Returns how many times the updates a fixed vector needs for the loss of an arm at a budget, and its sign as in `gains.worth`."""
        wanted, ladder = self.sums(arm, budget), {each: self.sums(fixed, each) for each in self.budgets(fixed)}
        there = {each: sums for each, sums in ladder.items() if sums and wanted and sums.seeds == wanted.seeds}
        if wanted is None or not there:
            return None
        return gains.worth(_heights(wanted), {each: _heights(sums) for each, sums in there.items()}, budget)


def _heights(sums: Sums) -> list[CriticalLength]:
    """Returns −loss of each seed, which grows with the budget as a critical length does."""
    return [CriticalLength(-loss, "exact") for loss in order.losses(sums).values()]


def scores_table(group: Group, published: Sequence[Published], test: str = "", note: str = "") -> Table:
    """Tabulates the scores of arms at the shared budget on a test set, by default the first, and published ones below.

    Those that are measured in another way have a †, and `note` says in the title what is different.
    """
    lines = []
    for arm in group.arms:
        first = next(row for row in group.results if row["attention"] == arm and row["budget"] == group.shared)
        values = ({name: list(group.scores(arm, group.shared, name, test).values()) for name in SCORES}).items()
        cells = (tables.interval_text(intervals.student(each) if each else None, SCORES[name][2]) for name, each in values)
        lines.append((arm, f"{first['parameters']:,}", *cells))
    for each in published:
        marks = {name: " †" * (name in each.otherwise) for name in each.values}
        cells = (f"{each.values[name]:.{SCORES[name][2]}f}{marks[name]}" if name in each.values else "–" for name in SCORES)
        lines.append((each.arm, each.parameters, *cells))
    noted = f"; †: {note}" if note and published else ""
    title = f"Scores, {group.name}, {group.shared:,} updates each{f', on {test}' if test else ''}; means over seeds{noted}"
    return Table(title, ("arm", "parameters", *(heading for heading, _, _ in SCORES.values())), lines)


def losses_table(group: Group) -> Table:
    """Tabulates the loss on the whole test set and BLEU, by arm and budget."""
    lines = []
    for arm in (*group.arms, CONTROL):
        for budget in group.budgets(arm):
            row = next(row for row in group.results if row["attention"] == arm and row["budget"] == budget)
            sums = group.sums(arm, budget)
            loss = intervals.student(list(order.losses(sums).values())) if sums else None
            bleu = list(group.scores(arm, budget, "bleu").values())
            cells = tables.interval_text(loss, 3), tables.interval_text(intervals.student(bleu) if bleu else None, 1)
            lines.append((arm, f"{budget:,}", f"{row['parameters']:,}", f"{row['learning_rate']:g}", *cells, f"{row['seconds']:.0f}"))
    header = ("arm", "updates", "parameters", "rate", "loss, nats per subword", "BLEU, greedy", "seconds")
    return Table(f"Arms and budgets, {group.name}; the whole test set, mean over seeds", header, lines)


def by_budget(group: Group, arm: str) -> dict[int, Interval]:
    """Returns {budget: loss of forced rows over all lengths, in nats per target token, over seeds} of an arm."""
    found = {}
    for budget in group.budgets(arm):
        sums: dict[int, list[float]] = {}
        for row in group.results:
            if (row["attention"], row["budget"], row["mode"]) == (arm, budget, "forced"):
                tokens = row["symbols"] + row["examples"]
                of_seed = sums.setdefault(row["seed"], [0.0, 0])
                of_seed[0], of_seed[1] = of_seed[0] + row["loss"] * tokens, of_seed[1] + tokens
        found[budget] = intervals.student([nll / tokens for nll, tokens in sums.values()])
    return found


def price_table(group: Group) -> Table:
    """Tabulates how many times the updates the last fixed vector needs for the loss of each other arm; a bound where its ladder ends."""
    lines = []
    for fixed in group.fixed[-1:]:
        for arm in group.attending:
            for budget in group.budgets(arm):
                found = group.price(fixed, arm, budget)
                last = group.budgets(fixed)[-1]
                cell = tables.multiple_text(*found) if found else "–"
                lines.append((fixed, arm, f"{budget:,}", cell, f"{last:,} ({last / budget:g} ×)"))
    header = ("fixed vector", "arm", "its updates", "times as many for its loss", "longest tried")
    return Table(f"Price of attention's loss in updates without attention, {group.name}; geometric mean over seeds", header, lines)


def steps_table(group: Group, found: Sequence[order.Step], learned: order.Condition) -> Table:
    """Tabulates the steps of the order, with every condition."""
    lines = [_condition("", learned, "")]
    for step in found:
        for condition in step.conditions:
            lines.append(_condition(step.name, condition, tables.p_text(step.p) if condition.name == "gap" else ""))
        lines.append((step.name, step.value, "", "", "", "", ""))
    header = ("step", "condition", "what", "value", "bar", "met", "p (Holm)")
    return Table(f"Steps of the order, {group.name}, {group.shared:,} updates", header, lines)


def _condition(step: str, each: order.Condition, p: str) -> Sequence[str]:
    rate = "" if each.rate is None else f", at rate {each.rate:g}"
    value = "none to compare with" if each.interval.mean != each.interval.mean else tables.interval_text(each.interval, 3)
    return (step, each.name, f"{each.says.rstrip(',')}{rate}", value, f"{each.threshold:g}", "yes" if each.met else "no", p)


def signatures(group: Group) -> Table:
    """Tabulates sacreBLEU's signatures."""
    found = sorted({row[name] for row in (*group.results, *group.measured) for name in SIGNATURES if name in row})
    return Table("Signatures", ("sacrebleu",), [(each,) for each in found])


def longer(group: Group, step: order.Step) -> tuple[Need, ...]:
    """Returns the needs of a step that is open: the rate curves of both arms at twice the budget."""
    why = f"{step.name}: {', '.join(step.failed)}"
    return tuple(Need(arm, 2 * group.shared, "selection", SELECTION_SEEDS, (), why) for arm in (step.worse, step.better))
