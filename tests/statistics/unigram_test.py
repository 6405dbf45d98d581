"""The chance level, on pairs small enough to count by hand."""

from attention_jax.statistics import unigram


def test_each_symbol_becomes_what_it_meets_most_often():
    sources, targets = ["ab", "ab", "b"], ["XY", "XZ", "Y"]
    table = unigram.learn(sources, targets)
    assert table == {"a": "X", "b": "Y"}
    assert unigram.write(table, "abba?") == ["X", "Y", "Y", "X"]


def test_the_shorter_side_is_stretched_over_the_longer():
    """Three letters to two phones: the middle one meets both. Two letters to three phones: each meets one and a half."""
    assert unigram.learn(["abc", "b", "b"], [["P", "Q"], ["Q"], ["P"]]) == {"a": "P", "b": "P", "c": "Q"}
    table = unigram.learn(["ab"] * 2 + ["b"], [["P", "Q", "R"]] * 2 + [["Q"]])
    assert table == {"a": "P", "b": "Q"}
    assert unigram.learn(["abc"], [[]]) == {}
