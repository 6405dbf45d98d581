"""What else L* depends on: whose vector it is, how many bits a symbol has, and how many a number.

    oracle      L* of vectors that were optimised for their targets, beside that of the encoder's, by the same decoder
    entropy     is a vector full of bits, or of symbols? L* of sources with fewer bits a symbol and the same alphabet
    precision   L* of vectors whose numbers are rounded

A factor is a series of its own (`capacities.Series`), read beside the one that differs in nothing else, at the largest budget of both.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attention_jax.report.capacities import SIGNS, WORD, Place, Series, length_text
from attention_jax.report.tables import Table, interval_text
from attention_jax.statistics import laws
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
    """Tabulates L* of optimised vectors beside that of the encoder's, of the same examples, in bits, and as a ratio."""
    lines = []
    for series in several:
        for (d, budget), each in series.oracle.items():
            own, times = series.encoder[d, budget], series.times[d, budget]
            bits = laws.bits(each.length, series.alphabet, series.entropy)
            of = SIGNS.get(each.bound, "")
            cells = ("–", "–") if each.bound == "unsupported" else (f"{of}{bits:.0f}", f"{of}{bits / d:.2f}")
            lines.append((series.name, str(d), f"{budget:,}", length_text(own), length_text(each), ratio_text(times), *cells))
    header = ("series", "d", "updates", "L*, encoder's", "L*, optimised", "times", "bits", "a number")
    title = "Oracle: decoder frozen, the vector optimised for each target; half of the outputs right; times: paired by seed"
    return Table(title, header, lines)


def ratio_text(times: Pooled) -> str:
    """Returns 1.47 [1.39, 1.56], a bound such as >= 2.31, or a dash where the two pull to both sides."""
    if times.bound == "unsupported":
        return "–"
    return SIGNS[times.bound] + interval_text(Interval(times.length, times.low, times.high, times.seeds))


def share(ours: Series, theirs: Series, place: Place) -> Pooled:
    """Returns L* of one series over that of another at a place, paired by the seeds that both have; "unsupported" where they have none."""
    seeds = [seed for seed in ours.tested[place].seeds if seed in theirs.tested[place].seeds]
    if not seeds:
        return Pooled(np.nan, "unsupported", np.nan, np.nan, 0)
    pair = []
    for each in (ours.tested[place], theirs.tested[place]):
        rows = [each.seeds.index(seed) for seed in seeds]
        pair.append((each.lengths, each.count_RxL[rows], each.total_RxL[rows]))
    return laws.ratio(*pair)


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
    last, lines = max(shared), []
    for d, own in base.at(last).items():
        there = [each if (d, last) in each.half else None for each in rounded]
        cells = [f"{length_text(each.half[d, last])}: {ratio_text(share(each, base, (d, last)))} of it" if each else "–" for each in there]
        lines += [(str(d), *cells, length_text(own))] if any(there) else []
    title = f"Precision of the vector: L* by the bits of each number, after {last:,} updates; shares are paired by seed"
    return Table(title, ("d", *(f"{each.word} bits" for each in rounded), "float32"), lines)
