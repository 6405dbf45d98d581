"""Which step's weights are a token's: what each row depends on, by timing; and words, where a model is misled."""

from dataclasses import replace

import numpy as np
import pytest

from attention_jax import trained
from attention_jax.data.corpora import words
from attention_jax.trained import Decoded, linked
from tests import built

LINES = ["der Hund sah das Meer", "ein alter Mann ging"]
TARGETS = ["DER HUND SAH DAS MEER", "EIN MANN GING"]
TEXT = {"unit": "word", "vocabularies": "separate", "vocabulary_size": 40}


def run_of(timing: str) -> trained.Trained:
    config = replace(built.SMALL, model=replace(built.SMALL.model, timing=timing))
    return trained.chosen(built.untrained(config, TEXT))


@pytest.mark.long
@pytest.mark.parametrize(("timing", "first"), [("before", 4), ("after", 3), ("between", 3)])
def test_a_row_of_weights_is_of_the_step_that_predicts_its_token(timing, first):
    """The step that predicts token t reads token t - 1, and not token t. With timing=before its weights are made of what was before that.

    So of token 2 (SAH), changed, no row up to 2 may know; the first that may is row 3, and with timing=before row 4.
    """
    run = run_of(timing)
    (one,), (other,) = (run.attended(LINES[:1], [target]) for target in (TARGETS[0], TARGETS[0].replace("SAH", "DER")))
    assert one.output_tokens == ["▁DER", "▁HUND", "▁SAH", "▁DAS", "▁MEER", "⏎"] and one.source_tokens[-1] == "⏎"
    changed = np.abs(one.weights_TxS - other.weights_TxS).max(1) > 0
    assert changed.tolist() == [t >= first for t in range(6)]


def test_given_targets_cost_what_they_cost_and_weights_are_those_of_each_line_alone():
    run = run_of("after")
    found, (nll_N, tokens_N) = run.attended(LINES, TARGETS), run.losses(LINES, TARGETS)
    np.testing.assert_allclose([-each.score for each in found], nll_N, rtol=1e-5)
    for each, line, target, tokens in zip(found, LINES, TARGETS, tokens_N, strict=True):
        (alone,) = run.attended([line], [target])
        assert each.weights_TxS.shape == (tokens, len(words.split(line)) + 1) and each.text == target
        np.testing.assert_allclose(each.weights_TxS, alone.weights_TxS, atol=1e-6)
        np.testing.assert_allclose(each.weights_TxS.sum(1), 1, atol=1e-5)


def test_an_unknown_word_is_a_word_of_its_own():
    (found,) = run_of("after").attended(["der Xyz sah"], ["DER QQ QQ"])
    assert found.source_tokens == ["▁der", "▁Xyz", "▁sah", "⏎"] and found.output_tokens == ["▁DER", "▁QQ", "▁QQ", "⏎"]
    assert linked.weights([found])[0].shape == (3, 4)


DECODED = Decoded("X YZ", ["▁a", "▁b", "⏎"], ["▁x", "▁y", "z", "⏎"], np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.5, 0.1, 0.4], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (0, [[0.9, 0.1, 0], [0.35, 0.45, 0.2]]),
        (1, [[0.2, 0.8, 0], [0.25, 0.05, 0.7]]),
        (-1, [[0, 0, 0], [0.55, 0.45, 0]]),
        (9, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_a_step_before_and_after(later, expected):
    (found,) = linked.weights([DECODED], later)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_links_with_and_without_the_end():
    weights_JxI = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], [0.0, 0.0, 0.0]])
    assert linked.found([weights_JxI]) == [{(0, 1)}] and linked.found([weights_JxI], with_end=False) == [{(1, 0), (0, 1)}]


def test_another_sentence_is_another_of_about_the_same_length():
    sources = ["a b", "c", "a b", "d e", "f g h i", "j k l"]
    assert linked.elsewhere(sources) == ["d e", "a b", "d e", "j k l", "j k l", "f g h i"]
    assert linked.elsewhere(["a", "a"]) == ["a", "a"]
    assert linked.within([{(0, 0), (1, 0), (2, 5)}], ["x y"]) == [{(0, 0), (1, 0)}]
