"""Rows of several sizes and budgets → critical lengths, their laws, tables, and what the laws say.

A series is the runs of one arm that differ in nothing but the size d of the vector, in numbers, and the budget. Each (d, budget) has one
L*, of counts pooled over seeds (`statistics.laws`). Learning rates are measured at a few sizes of a series, once per budget. The other runs
use the rate of the size nearest to theirs; `unsupported_rates` says where that rate is not tied with the best of its curve.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.report import standings
from attention_jax.report.standings import Tested
from attention_jax.report.tables import Table, interval_text, p_text
from attention_jax.statistics import intervals, laws, rates
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import LEARNED, Need
from attention_jax.statistics.laws import Counts, Law, Pooled
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.rates import Choice, Losses
from attention_jax.statistics.verdicts import PROGRESS, Verdict

FLAT = 0.5  # symbols per doubling of d; less is no law worth its name
WORD = 32  # bits of a number in float32: what one number can hold at most
OF_PARAMETER = 5  # bits that a parameter holds of a task that is memorised (Collins 2017)
SIGNS = {"exact": "", "at_least": ">= ", "below": "<= "}

Place = tuple[int, int]
"""(d, budget in updates)."""


class Series(NamedTuple):
    """The measurements of one arm by (d, budget)."""

    name: str
    arm: str
    alphabet: int  # V
    half: dict[Place, Pooled]  # L* at level 0.5
    ninety: dict[Place, Pooled]  # at level 0.9
    rates: dict[Place, float]  # of the reported runs
    curves: dict[Place, Losses]  # where a rate curve was measured
    by_rate: dict[Place, dict[float, Pooled]]  # L* of the selection seeds, by rate
    parameters: dict[Place, int]
    tested: dict[Place, Tested]  # counts at trained lengths
    oracle: dict[Place, Pooled]  # L* of optimised vectors, where they were measured
    encoder: dict[Place, Pooled]  # L* of the encoder's, on the same examples
    times: dict[Place, Pooled]  # how many times as long the former is, paired by seed
    entropy: float = 0.0  # bits of a symbol behind another; 0: independent symbols
    word: int = WORD  # bits of a number
    slots: int = 0  # the most slots of a place

    @property
    def one(self) -> float:
        """The bits of a symbol: the source's entropy rate."""
        return self.entropy or math.log2(self.alphabet)

    @property
    def budgets(self) -> list[int]:
        """The budgets of the series, ascending."""
        return sorted({budget for _, budget in self.half})

    def at(self, budget: int) -> dict[int, Pooled]:
        """Returns {d: L*} at a budget, ascending."""
        return {d: each for (d, of), each in sorted(self.half.items()) if of == budget}

    def bits(self, budget: int) -> dict[int, tuple[float, float, float, str]]:
        """Returns {d: L* in bits with its interval and bound} at a budget, where there is an L*."""
        found = {d: each for d, each in self.at(budget).items() if each.bound != "unsupported"}
        of = functools.partial(laws.bits, alphabet=self.alphabet, entropy=self.entropy)
        return {d: (of(each.length), of(each.low), of(each.high), each.bound) for d, each in found.items()}

    def choice(self, place: Place) -> Choice:
        """Returns what the rate curve of a place chooses; the grid was not declared, so that an edge is an edge."""
        return rates.choose(self.curves[place], tuple(self.curves[place]))

    def nearest(self, place: Place) -> Place | None:
        """Returns the place of the same budget whose rate curve a run uses: that of the nearest d, by ratio."""
        there = [(d, budget) for d, budget in self.curves if budget == place[1]]
        return min(there, key=lambda other: (abs(math.log(other[0] / place[0])), other), default=None)


def read(rows: Sequence[Mapping], name: Callable[[Mapping], str]) -> list[Series]:
    """Groups rows into series by arm and `name`, in order of appearance."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["attention"], name(row)), []).append(row)
    found = [_series(arm, of_series, ours) for (arm, of_series), ours in groups.items()]
    return [series for series in found if series.half]


def _series(arm: str, name: str, rows: Sequence[Mapping]) -> Series:
    by_place: dict[Place, list[Mapping]] = {}
    for row in rows:
        by_place.setdefault((row["state_size"], row["budget"]), []).append(row)
    first, most = rows[0], max(row.get("slots", 0) for row in rows)
    own = {"entropy": first.get("source_entropy", 0.0), "word": first.get("vector_bits", 0) or WORD, "slots": most}
    series = Series(f"{arm} {name}", arm, first["alphabet"], {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, **own)
    for place, every in sorted(by_place.items()):
        ours = [row for row in every if not standings.is_measured(row)]
        if both := _of_oracle([row for row in every if standings.is_measured(row)]):
            series.oracle[place], series.encoder[place] = (laws.pooled(*counts) for counts in both)
            series.times[place] = laws.ratio(*both)
        reported = [row for row in ours if standings.is_reported(row)]
        if curve := standings.curve(ours, arm, place[1]):
            series.curves[place] = curve
            series.by_rate[place] = {rate: each for rate in sorted(curve) if (each := _of_trials(ours, rate))}
        if reported:
            tested = standings.tested(reported, arm, place[1])
            trained = tested.at(tested.trained)
            series.tested[place] = trained
            counts = (trained.lengths, trained.count_RxL, trained.total_RxL)
            series.half[place], series.ninety[place] = laws.pooled(*counts, 0.5), laws.pooled(*counts, 0.9)
            series.rates[place], series.parameters[place] = reported[0]["learning_rate"], reported[0]["parameters"]
    return series


def _of_oracle(rows: Sequence[Mapping]) -> tuple[Counts, Counts] | None:
    """Returns the counts of optimised vectors and of the encoder's, of the same examples; None where there are none."""
    fields = ("exact", "encoder_exact")
    ours, own = (_counts({(row["seed"], row["length"]): (row[field], row["examples"]) for row in rows}) for field in fields)
    return (ours, own) if ours and own else None


def _of_trials(rows: Sequence[Mapping], rate: float) -> Pooled | None:
    """Returns L* of the selection seeds at a rate; None where one of them diverged."""
    ours = [row for row in rows if standings.is_trial(row) and row["learning_rate"] == rate and row.get("exact") is not None]
    counts = _counts({(row["seed"], row["length"]): (row["exact"], row["examples"]) for row in ours if row["seen"]})
    return laws.pooled(*counts) if counts else None


def _counts(found: Mapping[tuple[int, int], tuple[int, int]]) -> Counts | None:
    """Returns {(seed, length): (exact, examples)} as arrays; None where a seed lacks a length, or there is one length alone."""
    seeds, lengths = (sorted({place[i] for place in found}) for i in range(2))
    if len(found) != len(seeds) * len(lengths) or len(lengths) < 2:
        return None
    exact, examples = (np.array([[found[seed, length][i] for length in lengths] for seed in seeds]) for i in range(2))
    return lengths, exact, examples


def unsupported_rates(series: Series) -> list[str]:
    """Returns a line for every run whose rate no curve supports: none was measured at its budget, it has an edge, or ties another rate."""
    lines = []
    for place, rate in series.rates.items():
        where = f"d = {place[0]} at {place[1]:,} updates"
        nearest = series.nearest(place)
        if nearest is None:
            lines.append(f"{where}: no rate curve")
            continue
        choice = series.choice(nearest)
        if choice.rate is None or choice.at_edge:
            lines.append(f"{where}: the best rate of the curve at d = {nearest[0]} lies at an edge")
        elif rate not in choice.tied:
            lines.append(f"{where}: ran at {rate:g}, and the curve at d = {nearest[0]} chooses {choice.rate:g}")
    return lines


def growth(series: Series) -> dict[int, Interval]:
    """Returns {d: symbols of L* per doubling of the budget, from the last budget but one to the last}; only where both are exact.

    MOVER of the two L*, as if independent: each budget is a run of its own.
    """
    if len(series.budgets) < 2:
        return {}
    before, last = series.budgets[-2:]
    doublings = math.log2(last / before)
    found = {}
    for d, after in series.at(last).items():
        earlier = series.half.get((d, before))
        if earlier and earlier.is_exact and after.is_exact:
            change = intervals.difference(_interval(after), _interval(earlier))
            found[d] = change._replace(mean=change.mean / doublings, low=change.low / doublings, high=change.high / doublings)
    return found


def converged(series: Series) -> list[int]:
    """Returns the sizes whose L* gained less than half a symbol in the last doubling of the budget: upper bound of `growth`."""
    return [d for d, change in growth(series).items() if change.high < PROGRESS]


def verdict(series: Series) -> Verdict:
    """Says whether L* follows a law in d at the largest budget, and at what price; the rule is in `experiments.capacity`."""
    budget = series.budgets[-1]
    law = laws.attempt(laws.per_doubling, series.at(budget))
    if isinstance(law, str):
        bounds = [f"d = {d}: {length_text(each)}" for d, each in series.at(budget).items() if not each.is_exact]
        reason = f"at {budget:,} updates {law} ({'; '.join(bounds) or 'run more sizes'})"
        return Verdict("inconclusive", reason, failed=("missing",), needs=_until_exact(series))
    if lines := unsupported_rates(series):
        more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
        wrong = [u for u in series.budgets if any(f"at {u:,} updates" in line for line in lines)]
        needs = tuple(Need(series.arm, u, "selection", SELECTION_SEEDS, (), "the rate of some sizes is not that of a curve") for u in wrong)
        return Verdict("inconclusive", f"learning rates: {'; '.join(lines[:3])}{more}", failed=("rates",), needs=needs)
    slope = f"{_signed(law.slope)} symbols per doubling of d"
    exponent = laws.power(series.at(budget)).slope
    sizes = f"{law.slope.n} sizes" + (f", {law.left_out} bounds left out" if law.left_out else "")
    reason = f"{series.name} at {budget:,} updates: {slope}, exponent {interval_text(exponent)}, from {sizes}; {_capacity(series)}"
    price = laws.attempt(laws.price, series.half)
    if not isinstance(price, str):
        d, updates = price.slopes
        reason += f"; over all budgets {_signed(d)} per doubling of d and {_signed(updates)} per doubling of the budget"
    if law.slope.low > 0:
        return Verdict("a law", reason, f"{slope} at {budget:,} updates", p=law.p)
    if law.slope.high < FLAT:
        return Verdict("no law", reason, f"{slope} at {budget:,} updates", p=law.p)
    needs = (Need(series.arm, budget, "selection", SELECTION_SEEDS, (), "more sizes: the points scatter about the law"),)
    return Verdict("inconclusive", f"{reason}; the interval contains 0", p=law.p, failed=("law",), needs=needs)


def _until_exact(series: Series) -> tuple[Need, ...]:
    """Returns the needs: a larger budget where L* lies below the shortest length, else longer training lengths, or more sizes."""
    budget, needs = series.budgets[-1], []
    bounds = {bound: [d for d, each in series.at(budget).items() if each.bound == bound] for bound in ("below", "unsupported", "at_least")}
    if short := bounds["below"] + bounds["unsupported"]:
        seeds = max(each.seeds for each in series.half.values())
        why = f"L* at d = {', '.join(map(str, short))} lies below the shortest length, and grows with the budget"
        needs.append(Need(series.arm, 2 * budget, "reported", seeds, (), why))
    why = "more sizes, or longer training lengths (data.longest, data.eval_lengths) where L* lies beyond them"
    return (*needs, Need(series.arm, budget, "selection", SELECTION_SEEDS, (), why))


def _capacity(series: Series) -> str:
    """Says at how many sizes L* has stopped growing, and the law of these: only they hold what they can."""
    points, stopped = series.at(series.budgets[-1]), converged(series)
    share = f"{len(stopped)} of {len(points)} sizes have stopped growing with the budget"
    if len(stopped) == len(points):
        return f"a capacity: {share}"
    law = laws.attempt(laws.per_doubling, {d: points[d] for d in stopped})
    return f"a price at this budget: {share}" + ("" if isinstance(law, str) else f", with {_signed(law.slope)} per doubling of d")


def lengths_table(series: Series) -> Table:
    """Tabulates L* by d and budget, with what it is in bits: in all, per number of the vector, of its float32, and per parameter."""
    lines = []
    for (d, budget), each in series.half.items():
        bits = laws.bits(each.length, series.alphabet, series.entropy)
        of = SIGNS.get(each.bound, "")
        shares = (f"{bits:.0f}", f"{bits / d:.2f}", f"{bits / (series.word * d):.1%}", f"{bits / series.parameters[d, budget]:.4f}")
        cells = ["–"] * 4 if each.bound == "unsupported" else [f"{of}{text}" for text in shares]
        rate = f"{series.rates[d, budget]:g}"
        lines.append((str(d), f"{budget:,}", str(each.seeds), rate, length_text(each), length_text(series.ninety[d, budget]), *cells))
    of_word = "of float32" if series.word == WORD else f"of {series.word} bits"
    header = ("d", "updates", "seeds", "rate", "L*, symbols", "L* at 0.9", "bits", "a number", of_word, "a parameter")
    return Table(f"Critical lengths, {series.name}; one symbol a number would be {series.one:g} bits a number", header, lines)


def learned_table(several: Sequence[Series]) -> Table:
    """Tabulates exact match of attention on the longest half of its lengths; at a budget with a lower bound of ½ the task is learned."""
    lines = []
    for series in several:
        for (d, budget), tested in series.tested.items():
            long = tested.lengths[len(tested.lengths) - len(tested.lengths) // 2 :]
            share = standings.pooled(tested, long)
            word = "yes" if share.low >= LEARNED else "no"
            lines.append((series.name, str(d), f"{budget:,}", f"{long[0]} to {long[-1]}", interval_text(share), word))
    header = ("series", "d", "updates", "lengths", "exact match", "learned")
    return Table("Whether the task is learned: attention on the longest half of its lengths, typical seed", header, lines)


def references(series: Series, budget: int) -> dict[str, dict[int, float]]:
    """Returns lines that bits are read beside, {what: {d: bits}} at a budget: a symbol a number, all bits of it, parameters."""
    sizes = list(series.at(budget))
    return {
        "a symbol a number": {d: series.one * d for d in sizes},
        f"{series.word} bits a number": {d: float(series.word * d) for d in sizes},
        f"{OF_PARAMETER} bits a parameter": {d: float(OF_PARAMETER * series.parameters[d, budget]) for d in sizes},
    }


def references_table() -> Table:
    """Tabulates what others found, beside which bits are read."""
    lines = [
        ("a number", "one real number a unit, of a vector shown once", "Collins 2017"),
        ("of float32", "100 %: copying every string needs a bit of state for each bit of input", "Jelassi 2024"),
        ("a parameter", f"about {OF_PARAMETER} bits, of a task that is memorised", "Collins 2017"),
    ]
    return Table("Read beside the bits", ("bits", "what others found", "source"), lines)


def laws_table(several: Sequence[Series]) -> Table:
    """Tabulates the laws of every series and budget; p is of "the slope is not above 0", corrected for all laws of the table (Holm)."""
    places = [(series, budget) for series in several for budget in series.budgets]
    fits = {(each.name, budget): laws.attempt(laws.per_doubling, each.at(budget)) for each, budget in places}
    corrected = intervals.holm({f"{name}, {budget}": law.p for (name, budget), law in fits.items() if isinstance(law, Law)})
    lines = []
    for series, budget in places:
        law, points = fits[series.name, budget], series.at(budget)
        exact = sum(each.is_exact for each in points.values())
        wrong = sum(f"at {budget:,} updates" in line for line in unsupported_rates(series))
        counts = (series.name, f"{budget:,}", f"{exact} of {len(points)}", f"{wrong} of {len(points)}")
        if not isinstance(law, Law):
            lines.append((*counts, "–", "–", "–", "–"))
            continue
        exponent = laws.power(points)
        p = p_text(corrected[f"{series.name}, {budget}"])
        lines.append((*counts, interval_text(law.slope), f"{law.scatter:.2f}", interval_text(exponent.slope), p))
    header = ("series", "updates", "exact sizes", "rates not measured", "symbols per doubling of d", "scatter", "exponent of d", "p")
    return Table("Laws by size: least squares on sizes whose L* is exact, Student's interval on k − 2 degrees of freedom", header, lines)


def prices_table(several: Sequence[Series]) -> Table:
    """Tabulates what a doubling of d and one of the budget buy, fitted together, and L*'s last gain by size."""
    lines = []
    for series in several:
        price = laws.attempt(laws.price, series.half)
        gains = ", ".join(f"d = {d}: {interval_text(gain)}" for d, gain in growth(series).items())
        cells = ("–", "–") if isinstance(price, str) else tuple(interval_text(slope) for slope in price.slopes)
        if len(series.budgets) > 1:
            lines.append((series.name, *cells, gains or "–", f"{len(converged(series))} of {len(series.at(series.budgets[-1]))}"))
    header = ("series", "per doubling of d", "per doubling of the budget", "last gain per doubling of the budget", "converged")
    return Table("The price of a symbol: L* = a + b · log₂ d + c · log₂ budget, symbols", header, lines)


def forms_table(several: Sequence[Series]) -> Table:
    """Tabulates forms of L*(d) compared by AICc, where six sizes or more are exact."""
    lines = []
    for series in several:
        for budget in series.budgets:
            found = laws.attempt(laws.forms, series.at(budget))
            if not isinstance(found, str):
                best = found[0].aicc
                for each in found:
                    numbers = (f"{each.scatter:.3f}", f"{each.aicc - best:.1f}", f"{each.weight:.2f}")
                    lines.append((series.name, f"{budget:,}", each.name, each.equation, *numbers))
    title = "Forms of L*(d) by AICc. Six sizes tell these three apart, not a saturation: none of them says what larger vectors hold"
    return Table(title, ("series", "updates", "form", "equation", "scatter of log L*", "Δ AICc", "weight"), lines)


def rates_table(several: Sequence[Series]) -> Table:
    """Tabulates L* of the selection seeds by rate; * is the rate that the curve of validation loss chooses, = is tied with the best."""
    grid = sorted({rate for series in several for curve in series.curves.values() for rate in curve})
    lines = []
    for series in several:
        for place, curve in series.curves.items():
            choice = series.choice(place)
            marks = {rate: "*" if rate == choice.rate else "=" if rate in choice.tied else "" for rate in curve}
            found = series.by_rate[place]
            cells = [(length_text(found[rate]) if rate in found else "–" * (rate in curve)) + marks.get(rate, "") for rate in grid]
            lines.append((series.name, str(place[0]), f"{place[1]:,}", *cells, "at an edge" if choice.at_edge else ""))
    header = ("series", "d", "updates", *(f"{rate:g}" for rate in grid), "best")
    return Table("Rate curves: L* of the selection seeds by learning rate; * chosen by loss, = tied with the best", header, lines)


def length_text(each: Pooled) -> str:
    """Returns 6.1 [5.8, 6.4], a bound such as >= 32.0, or a dash where there is no such length."""
    if each.bound == "unsupported":
        return "–"
    return f"{SIGNS[each.bound]}{interval_text(_interval(each), 1)}"


def _interval(each: Pooled) -> Interval:
    return Interval(each.length, each.low, each.high, each.seeds)


def _signed(interval: Interval) -> str:
    return ("+" if interval.mean >= 0 else "") + interval_text(interval, 1)
