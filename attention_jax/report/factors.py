"""What else L* depends on: whose vector it is, how many bits a symbol has, and how many a number.

    oracle      L* of vectors that were optimised for their targets, beside that of the encoder's, by the same decoder
    entropy     is a vector full of bits, or of symbols? L* of sources with fewer bits a symbol and the same alphabet
    precision   L* of vectors whose numbers are rounded

A factor is a series of its own (`capacities.Series`), read beside the one that differs in nothing else, at the largest budget of both.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from attention_jax.report.capacities import SIGNS, WORD, Series, length_text
from attention_jax.report.tables import Table, interval_text
from attention_jax.statistics import intervals, laws
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.laws import Law, Pooled
from attention_jax.system.errors import DataError

CLOSE = 0.25  # of an exponent: as near as this is the same


def is_factor(series: Series) -> bool:
    """Returns whether a series has another source, other numbers or other slots than most."""
    return bool(series.entropy or series.slots) or series.word != WORD


def oracles(several: Sequence[Series]) -> list[Series]:
    """Returns series of the optimised vectors, as their laws are read; their rates are those of the models that they are of."""
    found = []
    for each in several:
        if each.oracle:
            rates = {place: each.rates[place] for place in each.oracle}
            found.append(each._replace(name=f"{each.name}, oracle", half=each.oracle, ninety={}, rates=rates, oracle={}))
    return found


def oracles_table(several: Sequence[Series]) -> Table:
    """Tabulates L* of optimised vectors beside that of the encoder's, in bits, and how many times as long they are."""
    lines = []
    for series in several:
        for (d, budget), each in series.oracle.items():
            own = series.half[d, budget]
            bits = laws.bits(each.length, series.alphabet, series.entropy)
            of = SIGNS.get(each.bound, "")
            cells = ("–", "–") if each.bound == "unsupported" else (f"{of}{bits:.0f}", f"{of}{bits / d:.2f}")
            lines.append((series.name, str(d), f"{budget:,}", length_text(own), length_text(each), ratio_text(each, own), *cells))
    header = ("series", "d", "updates", "L*, encoder's", "L*, optimised", "times", "bits", "a number")
    return Table("Oracle: decoder frozen, the vector optimised for each target; half of the outputs right", header, lines)


def ratio_text(a: Pooled, b: Pooled) -> str:
    """Returns L*_a / L*_b, its interval by MOVER of the logarithms, as if independent; a bound where one of them is; else a dash."""
    if {a.bound, b.bound} == {"exact"}:
        logs = intervals.difference(_log(a), _log(b))
        return interval_text(logs._replace(mean=math.exp(logs.mean), low=math.exp(logs.low), high=math.exp(logs.high)))
    signs = {("at_least", "exact"): ">= ", ("exact", "below"): ">= ", ("at_least", "below"): ">= "}
    signs |= {("below", "exact"): "<= ", ("exact", "at_least"): "<= ", ("below", "at_least"): "<= "}
    return f"{signs[a.bound, b.bound]}{a.length / b.length:.2f}" if (a.bound, b.bound) in signs else "–"


def _log(each: Pooled) -> Interval:
    mean, low, high = np.log([each.length, each.low, each.high])
    return Interval(float(mean), float(low), float(high), each.seeds)


def entropies(base: Series, several: Sequence[Series]) -> dict[float, dict[int, Pooled]]:
    """Returns {bits a symbol: {d: L*}} of sources of fewer bits and of the base's, at the largest budget that all of them have."""
    chains = [each for each in several if each.entropy and each.arm == base.arm]
    if not (shared := set.intersection(*(set(each.budgets) for each in (base, *chains)))):
        return {}
    by_entropy = {each.one: each.at(max(shared)) for each in (*chains, base)}
    return {bits: by_entropy[bits] for bits in sorted(by_entropy)} if chains else {}


def exponents(found: Mapping[float, Mapping[int, Pooled]], alphabet: int) -> tuple[Law, Law] | str:
    """Returns the exponents of L* and of its bits in the bits of a symbol, one for all d; or why there are none.

    A size takes part where its L* is exact at two entropies or more.
    """
    exact = {(d, one): each.length for one, by_size in found.items() for d, each in by_size.items() if each.is_exact}
    points = {place: length for place, length in exact.items() if sum(d == place[0] for d, _ in exact) > 1}
    of_bits = {(d, one): laws.bits(length, alphabet, one) for (d, one), length in points.items()}
    try:
        return laws.shared_power(points), laws.shared_power(of_bits)
    except DataError as error:
        return str(error)


def limit(symbols: Interval, bits: Interval) -> str:
    """Says what fills a vector, from the exponents of L* and of its bits; the rule is in `experiments.capacity`."""
    for word, interval in (("bits fill it", bits), ("symbols fill it", symbols)):
        if interval.low >= -CLOSE and interval.high <= CLOSE:
            return word
    return "between bits and symbols" if symbols.high < 0 < bits.low else "inconclusive"


def entropies_table(base: Series, several: Sequence[Series]) -> Table:
    """Tabulates L* and its bits by d and by the bits of a symbol; the title has the exponents, and what they say."""
    found = entropies(base, several)
    lines = []
    for d in sorted({d for by_size in found.values() for d in by_size}):
        there = [(one, by_size.get(d)) for one, by_size in found.items()]
        lines.append((str(d), *(_symbols_and_bits(each, base.alphabet, one) for one, each in there)))
    title = "Entropy of the source: L* in symbols, and its bits"
    if fitted := exponents(found, base.alphabet) if found else None:
        if isinstance(fitted, str):
            title += f"; inconclusive: {fitted}"
        else:
            symbols, bits = (law.slope for law in fitted)
            title += f"; exponent of h: {interval_text(symbols)} of L*, {interval_text(bits)} of its bits: {limit(symbols, bits)}"
    return Table(title, ("d", *(f"h = {one:g}" for one in found)), lines)


def _symbols_and_bits(each: Pooled | None, alphabet: int, one: float) -> str:
    if each is None or each.bound == "unsupported":
        return "–"
    return f"{length_text(each)}: {SIGNS[each.bound]}{laws.bits(each.length, alphabet, one):.0f} bits"


def precisions_table(base: Series, several: Sequence[Series]) -> Table:
    """Tabulates L* by d and by the bits of a number, and the share of that of float32."""
    rounded = sorted((each for each in several if each.word != WORD and each.arm == base.arm), key=lambda each: each.word)
    shared = set.intersection(*(set(each.budgets) for each in (base, *rounded)))
    if not rounded or not shared:
        return Table("Precision of the vector", ("d",), [])
    full, by_word = base.at(max(shared)), {each.word: each.at(max(shared)) for each in rounded}
    lines = []
    for d in sorted({d for by_size in by_word.values() for d in by_size} & set(full)):
        there = [by_size.get(d) for by_size in by_word.values()]
        cells = ["–" if each is None else f"{length_text(each)}: {ratio_text(each, full[d])} of it" for each in there]
        lines.append((str(d), *cells, length_text(full[d])))
    title = f"Precision of the vector: L* by the bits of each number, after {max(shared):,} updates"
    return Table(title, ("d", *(f"{word} bits" for word in by_word), "float32"), lines)
