"""Rates of links against the one-set function; joined links against the published procedure; intervals against a plain bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora.links import Links
from attention_jax.statistics import alignments, links
from attention_jax.system.errors import DataError

SET = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9)


def gold_of(sure, more) -> Links:
    return Links(frozenset(sure), frozenset(sure | more))


@given(st.lists(st.tuples(SET, SET, SET), min_size=1, max_size=4))
def test_one_seed_has_the_rates_of_its_links(triples):
    gold, found = [gold_of(sure, more) for sure, more, _ in triples], [A for *_, A in triples]
    counts = links.counted([found], gold)
    one = links.drawn(counts, np.ones((1, 1)), np.ones((1, len(gold))))
    assert links.aer(*one)[0] == pytest.approx(alignments.corpus_alignment_error_rate(*zip(*gold, strict=True), found))
    hits, linked, sure = (
        sum(sizes) for sizes in zip(*((len(A & g.possible), len(A), len(g.sure)) for A, g in zip(found, gold, strict=True)), strict=True)
    )
    assert links.precision(*one)[0] == pytest.approx(hits / linked if linked else 1)
    assert links.recall(*one)[0] == pytest.approx(sum(len(A & g.sure) for A, g in zip(found, gold, strict=True)) / sure if sure else 1)


def grown(e2f: set, f2e: set) -> set:
    """GROW-DIAG and FINAL as the manual of a phrase-based system spells them, word by word."""
    alignment = e2f & f2e
    neighbouring = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    free = lambda i, j: all(link[0] != i for link in alignment) or all(link[1] != j for link in alignment)  # noqa: E731
    while True:
        before = set(alignment)
        for i, j in sorted(alignment):
            for di, dj in sorted(neighbouring):
                if free(i + di, j + dj) and (i + di, j + dj) in e2f | f2e:
                    alignment.add((i + di, j + dj))
        if alignment == before:
            break
    for direction in (e2f, f2e):
        for i, j in sorted(direction):
            if free(i, j):
                alignment.add((i, j))
    return alignment


@given(SET, SET)
def test_joined_links(one, other):
    made = {name: join(set(one), set(other)) for name, join in links.TOGETHER.items()}
    assert made["grow-diag-final"] == grown(one, other)
    assert made["intersection"] == one & other <= made["grow-diag-final"] <= made["union"] == one | other


def counts_of(seed: int, rate: float, R: int = 6, N: int = 60) -> links.Counts:
    """Counts of seeds whose own rates scatter."""
    random = np.random.default_rng(seed)
    gold_N = random.integers(3, 12, N)
    own_Rx1 = np.clip(rate + 0.05 * random.normal(size=(R, 1)), 0.05, 0.95)
    found_RxN = np.broadcast_to(gold_N, (R, N)) + 2
    sure_RxN = random.binomial(np.broadcast_to(gold_N, (R, N)), own_Rx1)
    return links.Counts(sure_RxN, sure_RxN + random.binomial(2, 0.5, (R, N)), found_RxN, gold_N)


def test_intervals_are_those_of_seeds_and_sentences():
    """A plain bootstrap, one draw after the other, has the same standard error up to what the estimate adds for few seeds."""
    counts, random = counts_of(0, 0.6), np.random.default_rng(1)
    R, N = counts.found_RxN.shape
    values = []
    for _ in range(1500):
        seeds, chosen = random.integers(0, R, R), random.integers(0, N, N)
        sure, possible, found = (array[seeds][:, chosen].sum() for array in counts[:3])
        values.append(1 - (sure + possible) / (found + R * counts.gold_N[chosen].sum()))
    estimate = links.estimate(counts)
    sure, possible, found = (array.sum() for array in counts[:3])
    assert estimate.value == pytest.approx(1 - (sure + possible) / (found + R * counts.gold_N.sum()))
    assert np.std(values) < estimate.error < 1.2 * np.std(values)


def test_a_difference_is_paired():
    a = counts_of(0, 0.6)
    b = a._replace(sure_RxN=np.maximum(a.sure_RxN - 1, 0), possible_RxN=np.maximum(a.possible_RxN - 1, 0))
    apart = links.difference(b, a)
    assert apart.value > 0 and apart.error < links.estimate(a).error / 2
    assert links.difference(a, a).value == 0
    alone = links.Counts(*(array[:1] for array in a[:3]), a.gold_N)
    assert links.difference(alone, a).R == 6 and alone.repeated(6).found_RxN.shape == a.found_RxN.shape
    with pytest.raises(DataError, match="the same seeds and sentences"):
        links.difference(a, counts_of(2, 0.5))


def test_a_change_is_that_of_the_parts():
    a, b = counts_of(0, 0.6), counts_of(0, 0.4)
    first_N = np.arange(60) < 30
    parts = [links.difference(a.at(part_N), b.at(part_N)).value for part_N in (~first_N, first_N)]
    assert links.change(a, b, first_N).value == pytest.approx(parts[0] - parts[1])


def test_the_diagonal():
    assert links.diagonal(3, 3) == {(0, 0), (1, 1), (2, 2)} and links.diagonal(5, 2) == {(0, 0), (4, 1)}
    assert links.diagonal(1, 2) == {(0, 0), (0, 1)} and links.diagonal(4, 1) == {(0, 0)} and links.diagonal(0, 2) == set()


def test_chance_is_the_mean_of_random_links():
    gold, words = [gold_of({(0, 0), (1, 2)}, {(2, 2)}), gold_of(set(), {(1, 0)})], [(3, 4), (2, 2)]
    counts, random = links.by_chance(words, gold), np.random.default_rng(0)
    drawn = [[{(int(random.integers(S)), t) for t in range(T)} for S, T in words] for _ in range(4000)]
    every = links.counted(drawn, gold)
    for name in ("sure_RxN", "possible_RxN", "found_RxN"):
        np.testing.assert_allclose(getattr(counts, name)[0], getattr(every, name).mean(0), atol=0.05)


def test_as_many_sentences_as_there_are():
    with pytest.raises(DataError, match="1 sentences have links made by hand"):
        links.counted([[set(), set()]], [gold_of(set(), set())])
