"""Numbers against sacreBLEU and against sums written out by hand; counts add, buckets cover everything once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import metrics
from attention_jax.system.errors import DataError
from attention_jax.types import Counted


def counted(rows):
    """(nll, tokens, correct, exact, symbols, symbol errors) per example."""
    return Counted(*(np.array(column, np.float32) for column in zip(*rows, strict=True)))


def test_one_division_after_all_sums():
    three = counted([(1.0, 2, 2, 1, 1, 0), (6.0, 4, 1, 0, 3, 2), (3.0, 3, 3, 1, 2, 0)])
    first_and_last = {"examples": 2, "exact_match": 1.0, "token_accuracy": 1.0, "loss": pytest.approx(4 / 5)}
    assert metrics.averages(three, np.array([True, False, True])) == first_and_last | {"exact": 2, "symbols": 3, "symbol_errors": 0}
    second = {"examples": 1, "exact_match": 0.0, "token_accuracy": 0.25, "loss": 1.5, "exact": 0, "symbols": 3, "symbol_errors": 2}
    assert metrics.averages(three, np.array([1])) == second
    together = metrics.averages(counted([(1.0, 2, 2, 1, 1, 0), (6.0, 4, 1, 0, 3, 2)]), np.array([True, True]))
    assert together["loss"] == pytest.approx(7 / 6) and together["token_accuracy"] == pytest.approx(3 / 6)
    assert all(type(value) in (int, float) for value in together.values())


def test_no_example_has_no_average():
    with pytest.raises(DataError, match="no example"):
        metrics.averages(counted([(1.0, 2, 2, 1, 1, 0)]), np.array([], int))


@given(st.lists(st.integers(0, 60), max_size=30), st.sets(st.integers(1, 50), min_size=1, max_size=5).map(sorted))
def test_buckets_hold_each_example_once_below_their_edge(words, edges):
    buckets = metrics.by_bucket(words, edges)
    assert sorted(np.concatenate([*buckets.values(), np.array([], int)]).tolist()) == list(range(len(words)))
    assert list(buckets) == sorted(buckets) and all(len(chosen) for chosen in buckets.values())
    for edge, chosen in buckets.items():
        below = max((other for other in edges if other < edge), default=-1)
        assert all(below < words[i] and (words[i] <= edge or edge > edges[-1]) for i in chosen)
        assert edge in edges or edge == edges[-1] + 1


def test_longer_than_the_last_edge_is_one_more_bucket_named_by_its_first_length():
    """Whatever its longest example is, so that two corpora, or two cuts of one, have the same rows."""
    for longest in (21, 40):
        buckets = metrics.by_bucket([3, 10, 11, 25, longest], (10, 20))
        assert {edge: chosen.tolist() for edge, chosen in buckets.items()} == {10: [0, 1], 20: [2], 21: [3, 4]}


def test_perfect_and_hopeless():
    good = metrics.translation(["a b c d e"], ["a b c d e"])
    assert good["bleu"] == pytest.approx(100) and good["chrf"] == pytest.approx(100)
    assert "tok:13a" in good["bleu_signature"] and "nc:6" in good["chrf_signature"]
    bad = metrics.translation(["x y"], ["a b c d e"])
    assert bad["bleu"] == 0 and bad["chrf"] == 0
    assert metrics.translation([""], ["a b"])["bleu"] == 0


def test_refuses_nothing_and_unequal_numbers():
    with pytest.raises(DataError, match="no sentence"):
        metrics.translation([], [])
    with pytest.raises(DataError, match="2 hypotheses for 1 references"):
        metrics.translation(["a", "b"], ["a"])


def test_uncased_is_bleu_of_lowercased_texts():
    written, wanted = ["A Man rides a Horse .", "two dogs"], ["a man Rides a horse .", "Two dogs run"]
    lowered = metrics.translation([text.lower() for text in written], [text.lower() for text in wanted])["bleu"]
    found = metrics.uncased(written, [[text] for text in wanted])
    assert found["bleu_uncased"] == pytest.approx(lowered)
    assert found["bleu_uncased"] > metrics.translation(written, wanted)["bleu"]
    assert "case:lc" in str(found["bleu_uncased_signature"])


def test_perplexity_of_words_counts_punctuation_and_ends():
    found = metrics.perplexities(np.array([6.0, 4.0]), np.array([8, 4]), ["A dog, here.", "No"])
    assert found["target_words"] == (5 + 1) + (1 + 1)  # A dog , here . and the end; No and the end
    assert found["perplexity"] == pytest.approx(np.exp(10 / 12)) and found["perplexity_of_words"] == pytest.approx(np.exp(10 / 8))


@pytest.mark.parametrize("targets", [[], ["one"]])
def test_perplexities_need_a_target_each(targets):
    with pytest.raises(DataError, match="one each"):
        metrics.perplexities(np.array([6.0, 4.0]), np.array([8, 4]), targets)


REFERENCES = [["K AE T"], ["R EH D", "R IY D", "R IY D Z"], ["AH"]]


def test_errors_are_those_to_the_nearest_reference_per_symbol_of_the_first():
    judged = metrics.judge([["K AE T", "R IY D S", ""], ["K  AE T", "R IY D Z", "AH AH"]], REFERENCES, str.split)
    assert judged.exact_RxN.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert judged.edits_RxN is not None and judged.symbols_N is not None
    assert judged.edits_RxN.tolist() == [[0, 1, 1], [0, 0, 1]] and judged.symbols_N.tolist() == [3, 3, 1]
    both = {"exact_match": 0.5, "exact": 1, "error_rate": 1 / 4, "edits": 1, "reference_symbols": 4}
    assert judged.of(0, np.array([0, 2])) == both and judged.of(1, np.array([1]))["error_rate"] == 0.0
    assert all(type(value) in (int, float) for value in both.values())


def test_subwords_have_no_error_rate_and_exact_match_is_of_texts():
    judged = metrics.judge([["a b ", "b"]], [["a  b"], ["a", "b"]])
    assert judged.of(0, np.array([0, 1])) == {"exact_match": 1.0, "exact": 2}
    assert judged.edits_RxN is None and judged.symbols_N is None


def test_outputs_without_references_are_refused():
    with pytest.raises(DataError, match="2 hypotheses for 1 references"):
        metrics.judge([["a", "b"]], [["a"]], str.split)
    with pytest.raises(DataError, match="has no reference"):
        metrics.judge([["a", "b"]], [["a"], []], str.split)


TEXTS = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3)


@given(st.lists(st.tuples(st.text("ab ", max_size=5), TEXTS), min_size=1, max_size=6))
def test_no_edits_means_exact_and_another_reference_never_adds_edits(pairs):
    hypotheses, references = [text.strip() for text, _ in pairs], [found for _, found in pairs]
    judged = metrics.judge([hypotheses], references, list)
    assert judged.edits_RxN is not None
    assert ((judged.edits_RxN == 0) == (judged.exact_RxN == 1)).all()
    alone = metrics.judge([hypotheses], [found[:1] for found in references], list)
    assert alone.edits_RxN is not None and (judged.edits_RxN <= alone.edits_RxN).all()
