"""The verdict on text: does one fixed vector lose long sentences that attention keeps? One function of rows and sentences.

The order of the questions is that of `attention_jax.statistics.verdicts`, all of them about reported seeds that chose nothing:

0. Is a rung, a seed or a rate curve missing, or does a best rate lie at an edge of its grid?    → inconclusive
1. Is attention not 0.05 better on the long half than the control, which does not see the source? → inconclusive
2. Is the gap at the largest budget below 0.05?  → slower to train, if a to d held at a smaller budget; else no bottleneck
3. Do a to d hold at the largest budget, b in both its forms?                                    → bottleneck
4. Else                                          → inconclusive, with what failed and the runs that would decide it

A bottleneck is *levelling off* if the fixed arm's loss on the long half fell by less than 0.02 nats in the last doubling, by its upper
bound and, at the best rate of each budget, by the mean of the selection seeds; else *still closing*.
"""

from collections.abc import Iterable, Mapping

from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import blocks, conditions, observations
from attention_jax.statistics.text.blocks import BLOCK, FEWEST
from attention_jax.statistics.text.conditions import Arms
from attention_jax.statistics.text.ladder import climb
from attention_jax.statistics.text.measures import NATS, Measure
from attention_jax.statistics.verdicts import Rung, Verdict, concluded

MOST_SEEDS = 64


def verdict(
    rows: Iterable[Mapping], sentences: Mapping[str, Sentences], comparison: Comparison, block: int = BLOCK, measure: Measure = NATS
) -> Verdict:
    """Judges a comparison by its rows (fields: `observations`) and by the sentences of its reported runs, {run: sentences}.

    The comparison's lengths are the upper edges of all trained buckets; sentences are drawn in blocks of so many captions. `measure` is
    `NATS`, or `ERRORS`, where an error rate stands in the place of the loss, and its bars in that of those above. Raises `DataError`
    for rows or sentences that contradict each other.
    """
    seen = observations.read(rows, sentences, comparison, block, measure)
    ladder = climb(seen, comparison)
    if ladder.needs:
        lacks = "; ".join(f"{need.arm} at {need.budget} updates: {need.why}" for need in ladder.needs)
        return Verdict("inconclusive", f"missing: {lacks}", unit=ladder.unit, failed=("missing",), needs=ladder.needs)
    if ladder.unit is None:
        why = "not learned at any rung of the ladder, on the selection seeds"
        return Verdict("inconclusive", why, failed=("learned",), needs=_learn(comparison, _last(comparison), why))
    arms = [Arms(seen, comparison, ladder, budget) for budget in ladder.rungs]
    record = Verdict("inconclusive", "", unit=ladder.unit, short=comparison.first, long=comparison.long)
    if (there := blocks.fewest(arms[-1].reported(comparison.attention))) < FEWEST:
        why = f"a half of the trained buckets has sentences in {there} blocks of {block} captions, and {FEWEST} are needed"
        return record._replace(reason=why, failed=("sentences",))
    record = record._replace(learned=conditions.learned(arms[-1]))
    if not record.learned.met:
        return record._replace(reason=f"not learned: {record.learned}", failed=("learned",), needs=_until_met(arms[-1], record.learned))
    record = record._replace(rungs=tuple(_rung(each) for each in arms))
    return concluded(record, lambda: _progress(arms), lambda condition: _until_met(arms[-1], condition))


def _rung(arms: Arms) -> Rung:
    found = conditions.gap(arms), conditions.widening(arms), conditions.ratio(arms), conditions.all_rates(arms), conditions.placebo(arms)
    return Rung(arms.budget, found)


def _progress(arms: list[Arms]) -> tuple[Interval | None, str]:
    """Returns the fall of the fixed arm's loss on the long half in the last doubling, and the word for it."""
    if len(arms) < 2:
        return None, "still closing"
    fixed = arms[-1].comparison.fixed
    fell = blocks.estimate(blocks.gap, *(each.reported(fixed) for each in arms[-2:])).interval()
    before, after = (min(each.selection(fixed).values()) for each in arms[-2:])  # a rate within the tie set may hide what a budget brings
    return fell, "levelling off" if max(fell.high, before - after) < arms[-1].measure.progress else "still closing"


def _until_met(arms: Arms, condition: Condition) -> tuple[Need, ...]:
    """Returns the runs that would decide a condition that failed at the largest budget, if the estimates are true."""
    comparison, name = arms.comparison, condition.name
    fixed, attention = comparison.fixed, comparison.attention
    if name == "rates":
        return _again(arms, fixed, condition.rate, "the gap is gone at another rate of the fixed arm")
    if name == "placebo" and condition.interval.mean < -arms.measure.margin:
        why = "attention loses far more one rate off: a budget at which rates matter less"
        return (*_learn(comparison, _last(comparison), why), _twice(arms, why))
    if name == "placebo":
        why = "attention loses as much one rate off"
        return (*_again(arms, attention, condition.rate, why), *_again(arms, fixed, arms.rate(fixed), why))
    found, n = conditions.estimate(arms, name), condition.interval.n

    def decides(seeds: int) -> bool:
        interval = found.with_seeds(seeds).interval()
        return interval.low > condition.threshold or (name == "gap" and interval.high < condition.threshold)

    more = next((seeds - n for seeds in range(n + 1, MOST_SEEDS + 1) if decides(seeds)), None)
    if more:
        why = f"{name}: {more} more seeds at the scatter that was observed"
        places = [arms.place(arm) for arm in (attention, observations.CONTROL, fixed)]
        return tuple(Need(*place, "reported", more, (arms.ladder.choices[place].rate,), why) for place in places)
    if name == "learned":
        tried = comparison.attending[-1] if comparison.attending else arms.ladder.best
        return _learn(comparison, tried, "attention has to use the source first")
    why = f"{name}: too close for {MOST_SEEDS} seeds on these sentences"
    return _twice(arms, why), Need(fixed, 2 * arms.budget, "reported", n, (), why)


def _last(comparison: Comparison) -> int:
    """Returns the largest rung of attention and control: their own, where some are declared."""
    return (comparison.attending or comparison.ladder)[-1]


def _twice(arms: Arms, why: str) -> Need:
    """Returns the need: the rate curve of the fixed arm at twice the largest budget."""
    return Need(arms.comparison.fixed, 2 * arms.budget, "selection", SELECTION_SEEDS, arms.comparison.rates, why)


def _again(arms: Arms, arm: str, rate: float, why: str) -> tuple[Need, ...]:
    """Returns the needs: more selection seeds at the rate that decided, and at the arm's chosen one."""
    return (Need(*arms.place(arm), "selection", SELECTION_SEEDS, tuple(sorted({rate, arms.rate(arm)})), why),)


def _learn(comparison: Comparison, budget: int, why: str) -> tuple[Need, ...]:
    """Returns the needs: attention and control at twice the budget."""
    arms = (comparison.attention, observations.CONTROL)
    return tuple(Need(arm, 2 * budget, "selection", SELECTION_SEEDS, comparison.rates, why) for arm in arms)
