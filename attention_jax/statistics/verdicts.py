"""The verdict: does one fixed vector lose long inputs that attention keeps? One function of rows.

The order of the questions, all of them about reported seeds that chose nothing:

0. Is a rung, a seed or a rate curve missing, or does a best rate lie at an edge of its grid?   → inconclusive
1. Has attention not learned the long half, or are fewer than two short lengths known?          → inconclusive
2. Is the gap at the largest budget below 0.1?  → slower to train, if a to d held at a smaller budget; else no bottleneck
3. Do a to d hold at the largest budget?        → bottleneck: levelling off, if L50 gains less than 0.5 symbols in the last doubling
4. Else                                         → inconclusive, with what failed and the runs that would decide it
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attention_jax.statistics import conditions, intervals, lengths, observations
from attention_jax.statistics.conditions import Arms, Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need, climb, more_seeds, multiple
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison, Observations

FEWEST_SHORT = 2
LEVEL = 0.5  # L50
PROGRESS = 0.5  # symbols of L50 per doubling; less is levelling off


class Rung(NamedTuple):
    """The conditions at one budget of the fixed arm, the gap first."""

    budget: int
    conditions: tuple[Condition, ...]

    @property
    def gap(self) -> Condition:
        """The gap on the long half."""
        return self.conditions[0]

    @property
    def failed(self) -> tuple[Condition, ...]:
        """Conditions that are not met."""
        return tuple(condition for condition in self.conditions if not condition.met)

    @property
    def hold(self) -> bool:
        """True where all conditions are met."""
        return not self.failed

    @property
    def p(self) -> float:
        """The p of *bottleneck*: the larger one-sided p of a and b."""
        return max(condition.p for condition in self.conditions if not np.isnan(condition.p))


class Verdict(NamedTuple):
    """`value` is "bottleneck", "slower to train", "no bottleneck" or "inconclusive", or a claim's own word; `reason` one sentence."""

    value: str
    reason: str
    detail: str = ""  # of a bottleneck: "levelling off" or "still closing"; of a law: its slope
    k: float = float("nan")  # multiples of U: up to which there is a bottleneck, or at which the fixed arm has caught up
    unit: int | Any = None  # U, in updates
    learned: Condition | Any = None
    rungs: tuple[Rung, ...] = ()  # from U to K
    short: tuple[int, ...] = ()
    long: tuple[int, ...] = ()
    progress: Interval | None = None  # L50 of the fixed arm at K less that at K/2, where there is a bottleneck
    p: float = 1.0  # of *bottleneck*, at the budget that the value speaks of
    failed: tuple[str, ...] = ()  # of an inconclusive verdict: "missing", "learned", "short", "families", "groups", or conditions' names
    needs: tuple[Need, ...] = ()  # of an inconclusive verdict: what would have to be run

    def __str__(self):
        times = f"{self.k:g} ×"
        words = {"bottleneck": f"bottleneck up to {times}, {self.detail}", "slower to train": f"slower to train: caught up at {times}"}
        return words.get(self.value, f"{self.value}: {self.detail}" if self.detail else self.value)


NOTHING_TO_COMPARE = Verdict(
    "inconclusive", "the rule compares a fixed vector with attention, and the rows do not have both", failed=("missing",)
)


def missing(why: Sequence[str], needs: Sequence[Need] = ()) -> Verdict:
    """Returns the verdict where runs, seeds or rate curves are missing: the first reason, and how many more there are."""
    more = f", and {len(why) - 1} more" if len(why) > 1 else ""
    return Verdict("inconclusive", f"missing: {why[0]}{more}", failed=("missing",), needs=tuple(needs))


def verdict(rows: Iterable[Mapping], comparison: Comparison) -> Verdict:
    """Judges a comparison by its rows (fields: `observations`). Raises `DataError` for rows that contradict each other."""
    return judge(observations.read(rows, comparison), comparison)


def judge(seen: Observations, comparison: Comparison) -> Verdict:
    """Judges observations that `observations.read` returned."""
    ladder = climb(seen, comparison)
    if ladder.needs:
        why = [f"{need.arm} at {need.budget} updates: {need.why}" for need in ladder.needs]
        return missing(why, ladder.needs)._replace(unit=ladder.unit)
    if ladder.unit is None:
        beyond = 2 * comparison.ladder[-1]
        why = "not learned at any rung of the ladder, on the selection seeds"
        need = Need(comparison.attention, beyond, "selection", SELECTION_SEEDS, comparison.rates, why)
        return Verdict("inconclusive", why, failed=("learned",), needs=(need,))

    arms = [Arms(seen, comparison, ladder, budget) for budget in ladder.rungs]
    short = conditions.short(arms[-1])
    record = Verdict("inconclusive", "", unit=ladder.unit, learned=conditions.learned(arms[-1]), short=short, long=comparison.long)
    if not record.learned.met:
        needs = _until_learned(arms[-1], record.learned)
        return record._replace(reason=f"not learned: {record.learned}", failed=("learned",), needs=needs)
    if len(short) < FEWEST_SHORT:
        return record._replace(
            reason=f"fewer than {FEWEST_SHORT} short lengths: of {comparison.first}, both arms keep {conditions.KNOWN} of the examples at "
            f"{short or 'none'}, selection seeds",
            failed=("short",),
            needs=_longer(arms[-1], "too few short lengths are known"),
        )

    record = record._replace(rungs=tuple(_rung(each, short) for each in arms))
    return concluded(record, lambda: _progress(arms), lambda condition: _until_met(arms[-1], condition))


def concluded(
    record: Verdict, progress: Callable[[], tuple[Interval | None, str]], until_met: Callable[[Condition], tuple[Need, ...]]
) -> Verdict:
    """Concludes from the rungs of a record, U to K: questions 2, 3 and 4 above.

    `progress()` returns the fixed arm's gain in the last doubling and the word for it, `until_met(condition)` the runs that would decide.
    """
    last = record.rungs[-1]
    record = record._replace(p=last.p, k=last.budget / record.unit)
    if last.gap.interval.high < last.gap.threshold:
        return _closed(record)
    if last.hold:
        gained, detail = progress()
        return record._replace(value="bottleneck", detail=detail, progress=gained, reason="; ".join(map(str, last.conditions)))
    reason = f"at {multiple(last.budget, record.unit)} " + "; ".join(map(str, last.failed))
    needs = tuple(need for condition in last.failed for need in until_met(condition))
    return record._replace(reason=reason, failed=tuple(condition.name for condition in last.failed), needs=needs)


def together(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Corrects the p of verdicts on one page by Holm; a bottleneck that does not survive becomes inconclusive.

    The level is 0.025, one-sided, as that of the intervals. "Slower to train" by conditions that do not survive becomes "no bottleneck".
    """
    adjusted = intervals.holm({name: each.p for name, each in verdicts.items()})
    level = (1 - intervals.CONFIDENCE) / 2
    found = {}
    for name, each in verdicts.items():
        found[name] = each._replace(p=adjusted[name])
        if each.value in ("bottleneck", "slower to train") and adjusted[name] > level:
            value = "inconclusive" if each.value == "bottleneck" else "no bottleneck"
            reason = f"p = {each.p:.2g} is {adjusted[name]:.2g} among {len(verdicts)} claims, above {level:g} (Holm); alone: {each.reason}"
            failed = ("families",) if value == "inconclusive" else ()
            found[name] = found[name]._replace(value=value, detail="", reason=reason, failed=failed)
    return found


def agree(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Returns one verdict over groups: theirs where all agree, else inconclusive."""
    if not verdicts:
        return NOTHING_TO_COMPARE
    first, *others = verdicts.values()
    if not others:
        return first
    reason = "; ".join(f"{group}: {each}, {each.reason}" for group, each in verdicts.items())
    if any(each.value != first.value for each in others):
        needs = tuple(need for each in verdicts.values() for need in each.needs)
        return Verdict("inconclusive", f"the groups differ: {reason}", failed=("groups",), needs=needs)
    details = {each.detail for each in verdicts.values()}
    detail = details.pop() if len(details) == 1 else "still closing"
    needs, failed = (tuple(x for each in verdicts.values() for x in getattr(each, name)) for name in ("needs", "failed"))
    k, p = min(each.k for each in verdicts.values()), max(each.p for each in verdicts.values())
    return Verdict(first.value, reason, detail, k, p=p, failed=tuple(dict.fromkeys(failed)), needs=needs)


def _rung(arms: Arms, short: tuple[int, ...]) -> Rung:
    found = conditions.gap(arms), conditions.memory(arms, short), conditions.all_rates(arms), conditions.placebo(arms)
    return Rung(arms.budget, found)


def _closed(record: Verdict) -> Verdict:
    """Concludes where the gap at the largest budget is small: slower to train if a smaller budget had a bottleneck, else no bottleneck."""
    rungs = record.rungs
    before = [rung for rung in rungs[:-1] if rung.hold]
    reason = f"at {multiple(rungs[-1].budget, record.unit)} {rungs[-1].gap}, and its upper bound is below {rungs[-1].gap.threshold:g}"
    if not before:
        return record._replace(value="no bottleneck", reason=reason)
    since = len(rungs)
    while since and rungs[since - 1].gap.interval.high < rungs[since - 1].gap.threshold:
        since -= 1
    held = "; ".join(map(str, before[0].conditions))
    times, first = rungs[since].budget / record.unit, multiple(before[0].budget, record.unit)
    return record._replace(value="slower to train", k=times, p=before[0].p, reason=f"{reason}; at {first} {held}")


def _progress(arms: list[Arms]) -> tuple[Interval | None, str]:
    """Returns the gain of the fixed arm's L50 in the last doubling, and the word for it."""
    if len(arms) < 2:
        return None, "still closing"
    comparison = arms[-1].comparison
    counts = [each.reported(comparison.fixed, "free") for each in arms[-2:]]
    before, after = (lengths.critical(comparison.lengths, each.count_RxL, each.total_RxL, LEVEL) for each in counts)
    gained = lengths.change(after, before)
    return gained, "levelling off" if gained.high < PROGRESS else "still closing"


def _until_learned(arms: Arms, learned: Condition) -> tuple[Need, ...]:
    """Returns the needs: more seeds where the typical seed itself is above the threshold, else a larger budget."""
    ladder, arm = arms.ladder, arms.comparison.attention
    mean, low, _, n = learned.interval
    seeds = more_seeds(n, lambda f: mean - f * (mean - low) >= learned.threshold) if mean >= learned.threshold else None
    if seeds:
        return _seeds(arms, seeds, "learned")
    beyond = 2 * max(budget for of_arm, budget in ladder.choices if of_arm == arm)
    return (Need(arm, beyond, "selection", SELECTION_SEEDS, arms.comparison.rates, "attention has to learn the long half first"),)


def _until_met(arms: Arms, condition: Condition) -> tuple[Need, ...]:
    """Returns the runs that would decide a condition that failed at the largest budget, if the estimates are true."""
    mean, low, high, n = condition.interval
    comparison, threshold = arms.comparison, condition.threshold
    if condition.name == "gap":
        seeds = more_seeds(n, lambda f: mean - f * (mean - low) > threshold or mean + f * (high - mean) < threshold)
        return _seeds(arms, seeds, "gap") if seeds else _longer(arms, "the gap is too close to the margin for 64 seeds")
    if condition.name == "memory":
        seeds = more_seeds(n, lambda f: mean - f * (mean - low) > threshold) if mean > threshold else None
        why = "errors per symbol grow with length no more than attention's, or too little for 64 seeds: so far a handicap, not memory"
        return _seeds(arms, seeds, "memory") if seeds else _longer(arms, why)
    fixed, attention = (arms.chosen(arm).rate for arm in (comparison.fixed, comparison.attention))
    if condition.name == "rates":
        which = tuple(sorted({condition.rate, fixed}))
        return (
            Need(comparison.fixed, arms.budget, "selection", SELECTION_SEEDS, which, "the gap is gone at another rate of the fixed arm"),
        )
    which = tuple(sorted({condition.rate, attention}))
    why = "attention loses as much one rate off"
    return (
        Need(comparison.attention, arms.ladder.best, "selection", SELECTION_SEEDS, which, why),
        Need(comparison.fixed, arms.budget, "selection", SELECTION_SEEDS, (fixed,), why),
    )


def _seeds(arms: Arms, seeds: int, name: str) -> tuple[Need, ...]:
    comparison, ladder = arms.comparison, arms.ladder
    places = ((comparison.attention, ladder.best), (comparison.fixed, arms.budget))
    why = f"{name}: {seeds} more seeds at the scatter that was observed"
    return tuple(Need(arm, budget, "reported", seeds, (ladder.choices[arm, budget].rate,), why) for arm, budget in places)


def _longer(arms: Arms, why: str) -> tuple[Need, ...]:
    """Returns the needs: the fixed arm at twice the largest budget: its rate curve, then the reported seeds."""
    fixed, rates = arms.comparison.fixed, arms.comparison.rates
    return (
        Need(fixed, 2 * arms.budget, "selection", SELECTION_SEEDS, rates, why),
        Need(fixed, 2 * arms.budget, "reported", len(arms.ladder.seeds), (), why),
    )
