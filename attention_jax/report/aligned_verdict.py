"""Judges links of an arm that attends beside those of IBM model 1: conditions, the verdict's word, and all arms side by side."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from attention_jax.report import aligned, tables
from attention_jax.report.aligned import Direction, Links
from attention_jax.report.tables import Table
from attention_jax.statistics import intervals, links
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.text.blocks import Estimate
from attention_jax.statistics.verdicts import Verdict

BASELINE = "ibm1"
MARGIN, FALLS = 0.05, 0.01
OTHER = "another sentence"


def conditions(name: str, own: Links, direction: Direction, longest: int) -> dict[str, Condition]:
    """Returns what the verdict asks of an arm, `name`, in its direction.

    `longest` is the largest number of source words that was trained; 0 where all were.
    """
    counts, model_1 = own.counts(direction), direction.counts(BASELINE)
    within_N = direction.length_N <= longest if longest else np.ones(len(direction.gold), bool)
    found = {
        "learned": (f"AER of the diagonal − {name}", links.difference(direction.counts("diagonal"), counts), MARGIN),
        "words": (f"AER where {name} reads another sentence − its own", links.difference(own.read(OTHER, direction), counts), MARGIN),
        "gap": (f"AER of model 1 − {name}", links.difference(model_1, counts), 0.0),
        "within": ("the same, within the trained lengths", links.difference(model_1.at(within_N), counts.at(within_N)), 0.0),
    }
    if 1 < within_N.sum() < len(within_N) - 1:
        says = f"{name} − model 1 beyond the trained lengths, less that within"
        found["length"] = (says, links.change(counts, model_1, within_N), 0.0)
    return {
        key: Condition(key, says, made.interval(), bar, made.interval().low > bar, made.p(bar)) for key, (says, made, bar) in found.items()
    }


class Beside(NamedTuple):
    """Arms side by side, and the one of source → target with the smallest AER."""

    table: Table
    best: str
    says: str  # which is the best, and how it stands to model 1


def beside(last: Mapping[str, Links], of: Mapping[bool, Direction], budgets: Mapping[str, int], left_out: Mapping[str, str]) -> Beside:
    """Tests every arm against model 1 of its direction, by Holm, and says which arm of source → target is the best.

    `left_out` is {arm: why it is not among them}.
    """
    counts = {arm: each.counts(of[each.swapped]) for arm, each in last.items()}
    gaps = {arm: links.difference(of[each.swapped].counts(BASELINE), counts[arm]) for arm, each in last.items()}
    p = intervals.holm({arm: intervals.two_sided(gap.p(0.0)) for arm, gap in gaps.items()})
    lines = [(arm, f"{budgets[arm]:,}", tables.interval_text(gap.interval(), 3), tables.p_text(p[arm])) for arm, gap in gaps.items()]
    lines += [(arm, f"{budgets[arm]:,}", f"left out: {why}", "–") for arm, why in left_out.items()]
    title = "AER of model 1 − AER of each arm at its largest budget, in its direction; p two-sided, by Holm"
    table = Table(title, ("arm", "updates", "gap", "p"), lines)
    rates = {arm: links.estimate(counts[arm]).value for arm, each in last.items() if not each.swapped}
    best = min(rates, key=rates.__getitem__)
    gap = tables.interval_text(gaps[best].interval(), 3)
    says = f"the best arm is {best} at {budgets[best]:,} updates, {rates[best]:.3f}, gap {gap}, p = {p[best]:.2g}"
    return Beside(table, best, says)


def against(name: str, own: Links, direction: Direction, longest: int, budget: int, batch: int | None) -> Table:
    """Tabulates an arm against model 1: AER, precision, recall, AER by whether the length is trained, and the pairs that each has read.

    `batch` are the pairs of an update; None where rows do not say.
    """
    counts, model_1 = own.counts(direction), direction.counts(BASELINE)
    is_within_N = direction.length_N <= longest if longest else np.ones(len(direction.gold), bool)
    every_N = np.ones(len(is_within_N), bool)
    columns = [(rate, every_N) for rate in aligned.RATES.values()] + [(links.aer, part_N) for part_N in (is_within_N, ~is_within_N)]
    lines: list[list[str]] = [[], [], []]
    for rate, part_N in columns:
        ours, theirs = counts.at(part_N), model_1.at(part_N)
        cells = ["–"] * 3
        if part_N.sum() > 1:
            cells = [aligned.interval(links.estimate(ours, rate)), aligned.without_seeds(theirs, rate)]
            cells.append(aligned.interval(links.difference(theirs, ours, rate)))
        for line, cell in zip(lines, cells, strict=True):
            line.append(cell)
    read = f"{budget * batch:,}" if batch else "–"
    names = (f"{name}, {budget:,} updates", BASELINE, f"{BASELINE} − {name}")
    rows = [(who, *line, pairs) for who, line, pairs in zip(names, lines, (read, aligned.READ, ""), strict=True)]
    header = ("links of", *aligned.RATES, "AER within trained lengths", "AER beyond", "pairs read")
    return Table(f"The best arm against model 1, by largest budgets: {name}", header, rows)


def judged(found: Mapping[str, Condition], before: Estimate | None, best: str) -> Verdict:
    """Returns the verdict by the rule of `alignment`.

    `before` is AER at the second largest budget less that at the largest; None where there is one budget.
    """
    failed = tuple(key for key in ("learned", "words") if not found[key].met)
    learned, words, gap = (found[key].interval for key in ("learned", "words", "gap"))
    if learned.high < MARGIN and words.high < MARGIN:
        value, failed = "no alignment", ()
    elif learned.high < 0 and found["words"].met:
        value, failed = "worse than the diagonal", ()
    elif failed:
        value = "inconclusive"
    elif found["gap"].met:
        value = "better than model 1"
    elif found["within"].met:
        value = "better within trained lengths"
    else:
        value, failed = ("worse than model 1", ()) if gap.high < 0 else ("inconclusive", ("gap",))
    between = before.interval() if before else None
    said = [f"between the budgets {tables.interval_text(between, 3)}"] if between else []
    reason = "; ".join([*map(str, found.values()), *said, best])
    detail = falls(between) if between and value != "inconclusive" else ""
    return Verdict(value, reason, detail, p=found["gap"].p, failed=failed)


def falls(between: Interval) -> str:
    """Says whether AER still falls, by what the larger of two budgets gains."""
    if between.low > FALLS:
        return "AER still falls"
    return "AER has levelled off" if between.high < FALLS else "AER may still fall"
