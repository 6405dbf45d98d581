"""Aligners against enumeration: every alignment of a pair of sentences, its probability written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data import aligners
from attention_jax.system.errors import ConfigError, DataError

SOURCES = ["das haus", "das buch", "ein buch", "das buch das haus", "ein haus hier"]
TARGETS = ["the house", "the book", "a book", "the book the house", "a house here"]


def jump_probability(count_J, words: int, before: int, to: int) -> float:
    """p(to | before) among real words 1 … words; before = 0 is in front of the sentence."""
    weights = [count_J[np.clip(word - before, -aligners.FURTHEST, aligners.FURTHEST) + aligners.FURTHEST] for word in range(1, words + 1)]
    return (1 - aligners.UNIFORM) * weights[to - 1] / sum(weights) + aligners.UNIFORM / words


def enumerated(kind: str, t_TxS: np.ndarray, count_J: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """(posterior_TxS, log p, expected jumps by the counts) of one pair: column 0 is the empty word."""
    T, S = t_TxS.shape
    posterior_TxS, total, jump_J = np.zeros((T, S)), 0.0, np.zeros_like(count_J)
    for alignment in product(range(S), repeat=T):
        p, place, jumps = 1.0, 0, []
        for t, s in enumerate(alignment):
            p *= t_TxS[t, s]
            if kind == "ibm1":
                p /= S
            elif s == 0:
                p *= aligners.EMPTY
            else:
                step = jump_probability(count_J, S - 1, place, s)
                jumps.append((s - place, (step - aligners.UNIFORM / (S - 1)) / step))
                p *= (1 - aligners.EMPTY) * step
                place = s
        total += p
        posterior_TxS[np.arange(T), alignment] += p
        for jump, share in jumps:
            jump_J[jump + aligners.FURTHEST] += p * share
    return posterior_TxS / total, np.log(total), jump_J / total


@pytest.mark.parametrize("kind", aligners.ESTEPS)
@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (3, 4), (4, 3)])
def test_the_expectation_is_that_of_all_alignments(kind, shape, evidence):
    random = np.random.default_rng(sum(shape))
    t_NxTxS, count_J = random.random((3, *shape)), random.random(2 * aligners.FURTHEST + 1)
    found = aligners.ESTEPS[kind](t_NxTxS, count_J)
    every = [enumerated(kind, t_TxS, count_J) for t_TxS in t_NxTxS]
    evidence(f"aligner={kind}", "every alignment enumerated", found.posterior_NxTxS, [each[0] for each in every], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.log_p, sum(each[1] for each in every), rtol=1e-12)
    np.testing.assert_allclose(found.jump_J, sum(each[2] for each in every) if kind == "hmm" else 0 * count_J, atol=1e-12)
    np.testing.assert_allclose(found.posterior_NxTxS.sum(2), 1)


def test_a_round_of_model_1_is_expected_counts_divided():
    made = aligners.train("ibm1", SOURCES, TARGETS, iterations=1)
    counts: dict[tuple[str, str], float] = {}
    for source, target in zip(SOURCES, TARGETS, strict=True):
        words = ["", *source.split()]
        for word in target.split():
            for each in words:
                counts[word, each] = counts.get((word, each), 0) + 1 / len(words)
    names = [{i: word for word, i in ids.items()} for ids in (made.target_ids, {"": 0, **made.source_ids})]
    for key, t in zip(made.key_C, made.t_C, strict=False):
        target, source = (names[i][number] for i, number in enumerate(divmod(int(key), len(names[1]))))
        assert t == pytest.approx(counts[target, source] / sum(n for (_, other), n in counts.items() if other == source))


def test_likelihood_never_falls_and_words_find_each_other():
    made = aligners.train("ibm1", SOURCES, TARGETS, iterations=0)
    blocks, log_p = list(aligners._blocks(made, SOURCES, TARGETS)), []
    for _ in range(8):
        made, each = aligners._improved(made, blocks)
        log_p.append(each)
    assert (np.diff(log_p[1:]) > 0).all()  # the first t, 1 throughout, is no distribution
    for kind in aligners.ESTEPS:
        links = aligners.train(kind, SOURCES, TARGETS, iterations=20).links(["das buch", "haus das"], ["the book", "house the"])
        assert links == [[(0, 0), (1, 1)]] * 2


def test_an_order_is_what_the_hmm_adds():
    """Words that say nothing: all of them are the same."""
    sources, targets = ["a a a"] * 20 + ["a b a"] * 20, ["x x x"] * 20 + ["x y x"] * 20
    assert aligners.train("hmm", sources, targets).links(["a a a"], ["x x x"]) == [[(0, 0), (1, 1), (2, 2)]]


def test_unseen_words_and_empty_sentences():
    made = aligners.train("ibm1", SOURCES, TARGETS)
    assert made.links(["neu das", "", "das"], ["the new", "the", ""]) == [[(1, 0)], [], []]


@given(st.lists(st.tuples(st.text("ab ", max_size=8), st.text("xy ", max_size=8)), max_size=6), st.sampled_from(sorted(aligners.ESTEPS)))
def test_links_are_to_words_that_are_there(pairs, kind):
    made = aligners.train(kind, SOURCES + [s for s, _ in pairs], TARGETS + [t for _, t in pairs], iterations=2)
    sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
    for source, target, links in zip(sources, targets, made.links(sources, targets), strict=True):
        assert all(i < len(source.split()) and j < len(target.split()) for i, j in links)
        assert len({j for _, j in links}) == len(links)


def test_large_blocks_are_cut(monkeypatch):
    whole = aligners.train("hmm", SOURCES, TARGETS)
    monkeypatch.setattr(aligners, "CELLS", 1)
    cut = aligners.train("hmm", SOURCES, TARGETS)
    np.testing.assert_allclose(cut.t_C, whole.t_C)
    assert cut.links(SOURCES, TARGETS) == whole.links(SOURCES, TARGETS)


def test_what_is_refused():
    with pytest.raises(ConfigError, match="aligner='ibm2' is unknown"):
        aligners.train("ibm2", SOURCES, TARGETS)
    with pytest.raises(DataError, match="no words to align"):
        aligners.train("ibm1", ["", " "], ["x", "y"])
