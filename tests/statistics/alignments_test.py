"""Error rates against published and hand-worked cases, links against loops over pieces, sums against float64 loops over positions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import alignments
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import Batch

LINKS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)))
SENTENCE = st.tuples(LINKS, LINKS, LINKS)


def by_counting(sentences) -> float:
    """AER, one possible link after the other."""
    found_sure = found_possible = found = sure = 0
    for S, P, A in sentences:
        for link in itertools.product(range(4), range(4)):
            found_sure += link in A and link in S
            found_possible += link in A and (link in P or link in S)
            found += link in A
            sure += link in S
    return 1 - np.float64(found_sure + found_possible) / np.float64(found + sure) if found + sure else 0.0


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.randoms(use_true_random=False))
def test_weights_of_words_are_sums_and_means_over_subwords(words, others, ends, random):
    """Written out, piece by piece; pieces of a word follow the one that begins with ▁."""
    sides = [[piece for w in range(n) for piece in [f"▁{w}", *"x" * random.randrange(3)]] for n in (words, others)]
    source, target = [*sides[0], *["⏎"] * ends], [*sides[1], *["⏎"] * ends]
    weights_TxS = np.array([[0.1 + random.random() for _ in source] for _ in target])
    of = [[sum(piece.startswith("▁") for piece in side[: i + 1]) - 1 for i in range(len(side))] for side in sides]
    expected = np.zeros((others, words + 1))
    for t, j in enumerate(of[1]):
        for s, i in enumerate([*of[0], *[words] * ends]):
            expected[j, i] += weights_TxS[t, s] / of[1].count(j)
    found = alignments.word_weights(weights_TxS, source, target)
    np.testing.assert_allclose(found, expected)
    assert alignments.word_links(found) == {(i, j) for j, i in enumerate(expected.argmax(1)) if i < words}


def test_words_without_weights_and_weights_without_words():
    assert alignments.word_links(alignments.word_weights(np.zeros((2, 3)), ["▁a", "▁b", "⏎"], ["▁x", "⏎"])) == set()
    assert alignments.word_weights(np.ones((1, 1)), ["⏎"], ["⏎"]).shape == (0, 1)
    assert alignments.word_links(np.zeros((0, 1))) == set()
    with pytest.raises(DataError, match=r"weights \(2, 2\) are not of 1 target and 2 source subwords"):
        alignments.word_weights(np.ones((2, 2)), ["▁a", "⏎"], ["▁x"])


def test_published_and_hand_worked_cases(evidence):
    diagonal = {(0, 0), (1, 1), (2, 2)}
    ours = alignments.alignment_error_rate(diagonal, (), {(0, 0), (1, 2), (2, 1)})
    evidence("metric=alignment_error_rate", "NLTK, nltk.translate.metrics: the docstring's example", ours, 0.6666666666666667, 0, 1e-15)
    # S = {0-0, 1-1}, P adds {1-2, 2-2}, A = {0-0, 1-2, 2-1}: 1 - (1 + 2) / (3 + 2)
    ours = alignments.alignment_error_rate([(0, 0), (1, 1)], [(1, 2), (2, 2)], [(0, 0), (1, 2), (2, 1)])
    evidence("metric=alignment_error_rate", "Och & Ney 2003, the formula worked by hand", ours, 0.4, 0, 1e-15)


@given(st.lists(SENTENCE, min_size=1, max_size=5))
def test_error_rate_is_counted_over_the_corpus_and_divided_once(evidence, sentences):
    ours = alignments.corpus_alignment_error_rate(*zip(*sentences, strict=True))
    evidence("metric=alignment_error_rate", "float64, link by link", ours, by_counting(sentences), 0, 1e-12)
    assert 0 <= ours <= 1
    assert ours == alignments.corpus_alignment_error_rate(*zip(*((S, S | P, [*A, *A]) for S, P, A in sentences), strict=True))


@given(SENTENCE)
def test_error_rate_at_its_ends(sentence):
    S, P, _ = sentence
    assert alignments.alignment_error_rate(S, P, S) == 0
    assert alignments.alignment_error_rate(S, P, S | P) == 0
    assert alignments.alignment_error_rate((), (), ()) == 0  # nothing to find, nothing found
    if S:
        assert alignments.alignment_error_rate(S, P, ()) == 1
        assert alignments.alignment_error_rate(S, P, {(9, 9)}) == 1
    assert alignments.alignment_error_rate((), P, {(9, 9)}) == 1


def test_error_rate_refuses_what_does_not_go_together():
    with pytest.raises(DataError, match="2 sure, 1 possible, 1 found: there must be a set of links each per sentence"):
        alignments.corpus_alignment_error_rate([(), ()], [()], [()])
    with pytest.raises(DataError, match="no sentence"):
        alignments.corpus_alignment_error_rate([], [], [])


def test_links_are_the_heaviest_first_of_equals_and_none_for_nothing():
    weights_TxS = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert alignments.links(weights_TxS) == {(1, 0), (0, 1), (2, 3)}
    assert alignments.links(weights_TxS, threshold=0.4) == {(1, 0), (0, 1), (2, 1), (2, 3)}
    assert alignments.links(jnp.asarray(weights_TxS, jnp.bfloat16)) == {(1, 0), (0, 1), (2, 3)}
    assert alignments.links(np.zeros((0, 3))) == alignments.links(np.zeros((3, 0))) == alignments.links(np.zeros((2, 2)), 0.1) == set()
    for threshold in (0, -1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=r"threshold=.* is impossible: it must be in \(0, 1\]"):
            alignments.links(weights_TxS, threshold)
    with pytest.raises(DataError, match=r"shape \(2, 4, 3\)"):
        alignments.links(np.stack([weights_TxS, weights_TxS]))


SOURCE = ["▁ein", "▁klein", "es", "▁Haus", "⏎"]
TARGET = ["▁a", "▁small", "▁hou", "se", "⏎"]


def test_words_are_linked_if_any_of_their_pieces_are_and_eos_is_none():
    assert alignments.to_words([(0, 0), (2, 1), (3, 3)], SOURCE, TARGET) == {(0, 0), (1, 1), (2, 2)}
    assert alignments.to_words([(1, 2), (2, 3), (3, 2), (4, 3), (0, 4), (4, 4)], SOURCE, TARGET) == {(1, 2), (2, 2)}
    assert alignments.to_words([(0, 0), (1, 1)], ["x", "</s>"], ["y", "</s>"]) == {(0, 0)}  # no ▁ before the first word
    assert alignments.to_words([(0, 0)], ["▁⏎x", "⏎"], ["⏎", "▁a"]) == {(0, 0)}  # only a last piece can be EOS
    assert alignments.to_words([], [], []) == set()
    for link in ((5, 0), (0, 5), (-1, 0)):
        with pytest.raises(DataError, match=f"link {link[0]}-{link[1]} is outside 5 source and 5 target subwords"):
            alignments.to_words([link], SOURCE, TARGET)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_words_against_a_loop_over_their_pieces(source_sizes, target_sizes, data):
    """Sizes are numbers of pieces a word; the last position on each side is EOS."""
    source, target = ([["▁a", "b", "c"][i] for size in sizes for i in range(size)] for sizes in (source_sizes, target_sizes))
    piece_links = data.draw(st.sets(st.tuples(st.integers(0, len(source)), st.integers(0, len(target)))))
    spans = [[range(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))] for sizes in (source_sizes, target_sizes)]
    wanted = {
        (i, j)
        for i, j in itertools.product(range(len(source_sizes)), range(len(target_sizes)))
        if any((s, t) in piece_links for s in spans[0][i] for t in spans[1][j])
    }
    assert alignments.to_words(piece_links, [*source, "⏎"], [*target, "⏎"]) == wanted


def test_read_links(tmp_path):
    path = tmp_path / "gold.txt"
    path.write_text("0-0 1?2\n\n2p1 1-1\n")
    first, second, third = alignments.read_links(path)
    assert first == ({(0, 0)}, {(0, 0), (1, 2)}) and second == (set(), set()) and third.possible == {(2, 1), (1, 1)}
    assert alignments.alignment_error_rate(*first, {(0, 0), (1, 2)}) == 0
    path.write_text("0-0\n0:1\n")
    with pytest.raises(DataError, match=r"gold\.txt, line 2: '0:1' is no link"):
        alignments.read_links(path)
    with pytest.raises(DataError, match=r"absent.* cannot be read"):
        alignments.read_links(tmp_path / "absent")


B, T, S = 2, 4, 5
SUMS = jax.jit(alignments.sums)


def batch_of(target_length_B, gold_BxT) -> Batch:
    mask_BxT = np.arange(T)[None, :] < np.asarray(target_length_B)[:, None]
    ones_BxS, numbers_B = np.ones((B, S), np.int32), np.arange(B)
    return Batch(ones_BxS, ones_BxS > 0, np.ones((B, T), np.int32), mask_BxT, np.asarray(gold_BxT, np.int32), numbers_B, numbers_B)


def looked_by_loops(weights_BxTxS, batch):
    """The five sums in float64, position by position."""
    found = np.zeros((5, B))
    for b, t in itertools.product(range(B), range(T)):
        w_S, gold = weights_BxTxS[b, t].astype(np.float64), int(batch.gold_BxT[b, t])
        if not batch.target_mask_BxT[b, t]:
            continue
        if w_S.sum() > 0:
            p_S = w_S / w_S.sum()
            found[0, b] += 1
            found[1, b] -= sum(p * np.log(p) for p in p_S if p > 0)
        if gold >= 0:
            found[2, b] += 1
            found[3, b] += w_S.sum() > 0 and min(s for s in range(S) if w_S[s] == w_S.max()) == gold
            found[4, b] += w_S[gold]
    return found


@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 1e-30, 0.3]), min_size=B * T * S, max_size=B * T * S),
    st.lists(st.integers(0, T), min_size=B, max_size=B),
    st.lists(st.integers(-1, S - 1), min_size=B * T, max_size=B * T),
)
def test_sums_against_loops(evidence, values, target_length_B, gold):
    weights_BxTxS = np.array(values, np.float32).reshape(B, T, S)
    batch = batch_of(target_length_B, np.reshape(gold, (B, T)))
    looked = SUMS(weights_BxTxS, batch)
    ours = np.stack([looked.looks_B, looked.entropy_B, looked.gold_B, looked.agreed_B, looked.mass_B])
    evidence("metric=alignment_entropy, agreement, mass", "float64, position by position", ours, looked_by_loops(weights_BxTxS, batch))


def test_averages_of_known_weights():
    even, sharp, nothing = np.full(S, 1 / S), np.eye(S)[2], np.zeros(S)
    weights_BxTxS = np.array([[even, sharp, nothing, even], [sharp, sharp, sharp, even]], np.float32)
    looked = SUMS(weights_BxTxS, batch_of([3, 3], [[0, 2, 0, 0], [2, 1, -1, 0]]))
    first, second = alignments.averages(looked, np.array([0])), alignments.averages(looked, np.array([False, True]))
    assert first["alignment_entropy"] == pytest.approx(np.log(S) / 2, rel=1e-6)  # two looks; nothing is no look
    assert first["alignment_agreement"] == pytest.approx(2 / 3) and first["alignment_mass"] == pytest.approx((1 / S + 1) / 3)
    assert second == {"alignment_entropy": 0.0, "alignment_agreement": 0.5, "alignment_mass": 0.5}
    both = alignments.averages(looked, np.array([0, 1]))
    assert both["alignment_entropy"] == pytest.approx(np.log(S) / 5) and both["alignment_agreement"] == pytest.approx(3 / 5)
    halved = SUMS(weights_BxTxS / 2, batch_of([3, 3], [[0, 2, 0, 0], [2, 1, -1, 0]]))
    np.testing.assert_allclose(halved.entropy_B, looked.entropy_B, rtol=1e-6)  # of p, not of w
    np.testing.assert_allclose(halved.mass_B, looked.mass_B / 2, rtol=1e-6)


def test_nothing_to_look_at_and_no_gold():
    gold_BxT = np.zeros((B, T), int)
    fixed = alignments.averages(SUMS(np.zeros((B, T, S), np.float32), batch_of([3, 3], gold_BxT)), np.array([0, 1]))
    assert fixed == {"alignment_entropy": None, "alignment_agreement": None, "alignment_mass": None}
    text = alignments.averages(SUMS(np.full((B, T, S), 0.2, np.float32), batch_of([3, 3], gold_BxT - 1)), np.array([0, 1]))
    assert text["alignment_entropy"] == pytest.approx(np.log(S)) and text["alignment_agreement"] is text["alignment_mass"] is None


def test_padding_changes_no_sum():
    weights_BxTxS = np.random.default_rng(0).dirichlet(np.ones(S), (B, T)).astype(np.float32)
    gold_BxT = [[0, 1, 2, -1], [3, -1, 4, -1]]
    plain, padded = batch_of([3, 2], gold_BxT), batch_of([3, 2], np.where(np.arange(T) < [[3], [2]], gold_BxT, 4))
    garbage = np.where(plain.target_mask_BxT[:, :, None], weights_BxTxS, np.nan)
    for one, other in ((weights_BxTxS, plain), (garbage, padded)):
        jax.tree.map(np.testing.assert_array_equal, SUMS(one, other), SUMS(weights_BxTxS, plain))
