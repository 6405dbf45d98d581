"""A chance level for sequences whose symbols follow each other in step: for each source symbol, the target symbol it most often meets.

Source and target are laid side by side, the shorter one stretched evenly over the longer: of T target symbols and S source symbols, source
symbol s meets those at ⌊sT/S⌋ … ⌈(s + 1)T/S⌉ − 1. What is written has a symbol for each source symbol: no context, no order, no length.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence


def learn(sources: Iterable[Sequence[Hashable]], targets: Iterable[Sequence[Hashable]]) -> dict[Hashable, Hashable]:
    """Returns {source symbol: the target symbol that it meets most often}; of equals the first that came."""
    met: defaultdict[Hashable, Counter] = defaultdict(Counter)
    for source, target in zip(sources, targets, strict=True):
        S, T = len(source), len(target)
        for s, symbol in enumerate(source):
            met[symbol].update(target[s * T // S : -(-(s + 1) * T // S)])
    return {symbol: counted.most_common(1)[0][0] for symbol, counted in met.items() if counted}


def write(table: Mapping[Hashable, Hashable], source: Sequence[Hashable]) -> list[Hashable]:
    """Returns what the table writes for a source: nothing for symbols that it lacks."""
    return [table[symbol] for symbol in source if symbol in table]
