"""Found links of seeds against links made by hand: counts by sentence, AER, precision and recall, with a bootstrap over seeds × sentences.

    precision = |A ∩ P| / |A|        recall = |A ∩ S| / |S|        AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

summed over sentences and, where there are several, over seeds (Och & Ney 2003). Two sets of links, one of each direction of translation,
become one by a row of `TOGETHER` (Koehn 2003 and after).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.data.corpora.links import Link, Links
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text.blocks import Estimate
from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites


class Counts(NamedTuple):
    """Links of R seeds in N sentences."""

    sure_RxN: np.ndarray  # |A ∩ S|
    possible_RxN: np.ndarray  # |A ∩ P|
    found_RxN: np.ndarray  # |A|
    gold_N: np.ndarray  # |S|

    def at(self, chosen_N: np.ndarray) -> "Counts":
        """Returns the counts of some sentences, by a mask or by numbers."""
        return Counts(*(array[..., chosen_N] for array in self))

    def repeated(self, R: int) -> "Counts":
        """Returns the counts of one seed as those of R equal ones: a method without seeds beside one that has some."""
        sure, possible, found = (np.repeat(array, R, 0) for array in self[:3])
        return Counts(sure, possible, found, self.gold_N)


def counted(found: Sequence[Sequence[Iterable[Link]]], gold: Sequence[Links]) -> Counts:
    """Counts found links, a set for each sentence of each seed. Raises `DataError` for another number of sentences, and for none."""
    if not gold or not found or any(len(of_seed) != len(gold) for of_seed in found):
        raise DataError(f"{len(gold)} sentences have links made by hand: each seed needs links for as many, and there must be one")
    sets = [[set(links) for links in of_seed] for of_seed in found]
    hits = [[[len(A & side) for A, side in zip(of_seed, sides, strict=True)] for of_seed in sets] for sides in zip(*gold, strict=True)]
    return Counts(*(np.array(each) for each in (*hits, [[len(A) for A in of_seed] for of_seed in sets], [len(of.sure) for of in gold])))


def drawn(counts: Counts, times_ExR: np.ndarray, times_ExN: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns summed |A ∩ S|, |A ∩ P|, |A| and |S| of each draw of seeds and sentences."""
    sums = [np.einsum("en,en->e", times_ExR @ array, times_ExN) for array in counts[:3]]
    return *sums, times_ExR.sum(1) * (times_ExN @ counts.gold_N)


def aer(sure_E: np.ndarray, possible_E: np.ndarray, found_E: np.ndarray, gold_E: np.ndarray) -> np.ndarray:
    """Returns 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|); 0 where there is no link on either side."""
    total_E = found_E + gold_E
    return np.where(total_E > 0, 1 - (sure_E + possible_E) / np.maximum(total_E, 1), 0.0)


def precision(sure_E: np.ndarray, possible_E: np.ndarray, found_E: np.ndarray, gold_E: np.ndarray) -> np.ndarray:
    """Returns |A ∩ P| / |A|; 1 where nothing is linked."""
    return np.where(found_E > 0, possible_E / np.maximum(found_E, 1), 1.0)


def recall(sure_E: np.ndarray, possible_E: np.ndarray, found_E: np.ndarray, gold_E: np.ndarray) -> np.ndarray:
    """Returns |A ∩ S| / |S|; 1 where nothing is to be linked."""
    return np.where(gold_E > 0, sure_E / np.maximum(gold_E, 1), 1.0)


Rate = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def estimate(counts: Counts, rate: Rate = aer) -> Estimate:
    """Estimates a rate over all seeds and sentences: `aer`, `precision` or `recall`."""
    return blocks.crossed(lambda times_ExR, times_ExN: rate(*drawn(counts, times_ExR, times_ExN)), *counts.found_RxN.shape)


def difference(a: Counts, b: Counts, rate: Rate = aer) -> Estimate:
    """Estimates rate(a) − rate(b), paired by seeds and sentences; a side of one seed counts as so many equal ones.

    Raises `DataError` for different sentences, or numbers of seeds.
    """
    R = max(len(a.found_RxN), len(b.found_RxN))
    a, b = (side.repeated(R) if len(side.found_RxN) == 1 else side for side in (a, b))
    if a.found_RxN.shape != b.found_RxN.shape or not np.array_equal(a.gold_N, b.gold_N):
        raise DataError("a difference of alignment needs the same seeds and sentences on both sides")

    def of(times_ExR: np.ndarray, times_ExN: np.ndarray) -> np.ndarray:
        return rate(*drawn(a, times_ExR, times_ExN)) - rate(*drawn(b, times_ExR, times_ExN))

    return blocks.crossed(of, *a.found_RxN.shape)


def change(a: Counts, b: Counts, first_N: np.ndarray) -> Estimate:
    """Estimates (AER(a) − AER(b)) on the other sentences, less the same on the first ones, which a mask tells."""
    R = max(len(a.found_RxN), len(b.found_RxN))
    a, b = (side.repeated(R) if len(side.found_RxN) == 1 else side for side in (a, b))

    def of(times_ExR: np.ndarray, times_ExN: np.ndarray) -> np.ndarray:
        apart = [
            aer(*drawn(a, times_ExR, times_ExN * part_N)) - aer(*drawn(b, times_ExR, times_ExN * part_N)) for part_N in (~first_N, first_N)
        ]
        return apart[0] - apart[1]

    return blocks.crossed(of, *a.found_RxN.shape)


def diagonal(source_words: int, target_words: int) -> set[Link]:
    """Links target word j to the source word at the same share of the sentence: round(j (S - 1) / (T - 1)), ties to the even one."""
    return {(round(j * (source_words - 1) / max(target_words - 1, 1)), j) for j in range(target_words)} if source_words else set()


def by_chance(words: Sequence[tuple[int, int]], gold: Sequence[Links]) -> Counts:
    """Returns the counts that are expected where each target word is linked to a source word at random; `words` (source, target)."""
    sides = zip(*gold, strict=True)
    sure_N, possible_N = (np.array([len(of) / max(S, 1) for of, (S, _) in zip(side, words, strict=True)]) for side in sides)
    found_N = np.array([float(T) for _, T in words])
    return Counts(sure_N[None], possible_N[None], found_N[None], np.array([len(of.sure) for of in gold]))


@cites("och2003")
def intersection(one: set[Link], other: set[Link]) -> set[Link]:
    """Returns the links that both directions have."""
    return one & other


@cites("och2003")
def union(one: set[Link], other: set[Link]) -> set[Link]:
    """Returns the links that either direction has."""
    return one | other


@cites("koehn2003")
def grow_diag_final(one: set[Link], other: set[Link]) -> set[Link]:
    """Returns the intersection, grown by links of the union, and then those of either direction to a word that has none.

    It grows to the eight neighbours of its links, while one of the two words has no link; both passes go in the order of the links.
    """
    found, every = one & other, one | other
    sources, targets = ({link[side] for link in found} for side in (0, 1))

    def add(link: Link) -> bool:
        if link in found or (link[0] in sources and link[1] in targets):
            return False
        found.add(link)
        sources.add(link[0])
        targets.add(link[1])
        return True

    grown = True
    while grown:
        near = [(i + di, j + dj) for i, j in sorted(found) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        grown = sum(add(link) for link in near if link in every) > 0
    for links in (one, other):
        for link in sorted(links):
            add(link)
    return found


TOGETHER: dict[str, Callable[[set[Link], set[Link]], set[Link]]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag-final": grow_diag_final,
}
"""Row: row(links of one direction, links of the other) → links; all (source, target) of the first direction."""
