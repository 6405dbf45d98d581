"""Rows and sentences of text with an error rate → tables: error rates of arms at budgets, and how arms differ.

The error rate of symbols is edits per symbol of the reference over all test sentences, that of sequences the share of sentences that are
not right throughout. Rows are those of one group, under the names of arms (`attention`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from attention_jax.report import standings, tables
from attention_jax.report.tables import Table
from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import BLOCK, Estimate, Sums
from attention_jax.statistics.text.measures import Measure
from attention_jax.system.errors import DataError

LEVEL = 0.05


class Rates(NamedTuple):
    """Error rates over all test sentences, by seed."""

    symbols: dict[int, float]
    sequences: dict[int, float]


def overall(rows: Iterable[Mapping], arm: str, budget: int) -> Rates:
    """Returns the error rates of an arm at a budget, over all lengths, trained or not."""
    sums: dict[int, list[int]] = {}
    for row in rows:
        if row["attention"] == arm and row["budget"] == budget and row.get("mode") == "free" and standings.is_reported(row):
            counts = row["edits"], row["reference_symbols"], row["examples"] - row["exact"], row["examples"]
            sums[row["seed"]] = [a + b for a, b in zip(sums.get(row["seed"], [0] * 4), counts, strict=True)]
    rates = {seed: (edits / symbols, wrong / examples) for seed, (edits, symbols, wrong, examples) in sorted(sums.items())}
    return Rates(*({seed: pair[which] for seed, pair in rates.items()} for which in range(2)))


def of_seeds(values: Mapping[int, float]) -> Interval:
    """Returns the mean over seeds with Student's interval, which ends at 0."""
    found = intervals.student(list(values.values()))
    return found._replace(low=max(found.low, 0.0) if found.n > 1 else found.low)


def by_budget(rows: Sequence[Mapping], arms: Sequence[str], beside: Mapping[str, Rates], title: str, names: tuple[str, str]) -> Table:
    """Tabulates the error rates of every arm and budget, then those of `beside`, which are no arms; `names` are those of both rates."""
    lines = []
    for arm in arms:
        for budget in sorted({row["budget"] for row in rows if row["attention"] == arm and standings.is_reported(row)}):
            row = next(row for row in rows if row["attention"] == arm and row["budget"] == budget and standings.is_reported(row))
            found = overall(rows, arm, budget)
            rate = f"{row['learning_rate']:g}"
            lines.append((arm, f"{budget:,}", f"{row['parameters']:,}", rate, str(len(found.symbols)), *map(mean_text, found)))
    lines += [(name, "–", "–", "–", "–", *map(mean_text, found)) for name, found in beside.items()]
    return Table(title, ("arm", "updates", "parameters", "rate", "seeds", *names), lines)


def mean_text(values: Mapping[int, float]) -> str:
    """Returns the mean over seeds with its interval, as text; a dash where there is no seed."""
    return tables.interval_text(of_seeds(values) if values else None, 3)


def differences(
    rows: Sequence[Mapping], sentences: Mapping[str, Sentences], pairs: Sequence[tuple[str, str]], lengths: Sequence[int], measure: Measure
) -> dict[tuple[str, str], Estimate]:
    """Estimates one − other of each pair over sentences of all trained lengths, at the largest budget that both have.

    It is paired by seed and sentence, by a bootstrap over both. A pair is left out that lacks runs, equal seeds or sentences enough.
    """
    found = {}
    for one, other in pairs:
        budgets = [{row["budget"] for row in rows if row["attention"] == arm and standings.is_reported(row)} for arm in (one, other)]
        if not budgets[0] & budgets[1]:
            continue
        try:
            arms = [_sums(rows, sentences, arm, max(budgets[0] & budgets[1]), lengths, measure) for arm in (one, other)]
            share_2 = arms[0].tokens_Kx2.sum(0) / arms[0].tokens_Kx2.sum()
            found[one, other] = blocks.estimate(lambda a, b, share_2=share_2: ((a - b) * share_2).sum(-1), *arms)
        except DataError:
            continue
    return found


def _sums(
    rows: Sequence[Mapping], sentences: Mapping[str, Sentences], arm: str, budget: int, lengths: Sequence[int], measure: Measure
) -> Sums:
    """The sums of an arm's runs at a budget. Raises `DataError` where one has no sentences."""
    runs = dict.fromkeys(row["run"] for row in rows if row["attention"] == arm and row["budget"] == budget and standings.is_reported(row))
    if absent := [run for run in runs if run not in sentences]:
        raise DataError(f"the sentences of {absent[0]} are missing")
    return blocks.together([blocks.by_block(measure.of(sentences[run]), lengths, BLOCK) for run in runs])


def compared(found: Mapping[tuple[str, str], Estimate], close: float, title: str) -> tuple[Table, dict[tuple[str, str], str]]:
    """Tabulates differences with two-sided p by Holm, and their words: "fewer errors", "more errors", "no difference" or "undecided".

    There is no difference where the interval lies within ±`close`.
    """
    p = intervals.holm({str(i): intervals.two_sided(each.p(0.0)) for i, each in enumerate(found.values())})
    lines, words = [], {}
    for i, ((one, other), each) in enumerate(found.items()):
        interval = each.interval()
        word = "undecided"
        if p[str(i)] < LEVEL:
            word = "fewer errors" if each.value < 0 else "more errors"
        elif -close < interval.low and interval.high < close:
            word = "no difference"
        words[one, other] = word
        lines.append((one, other, tables.interval_text(interval, 4), tables.p_text(p[str(i)]), word))
    return Table(title, ("arm", "against", "difference", "p", "it makes"), lines), words
