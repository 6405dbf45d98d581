"""Edit distance against its definition, written out as a recursion, and against what any distance must be."""

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.statistics import edits

TEXT = st.text("abc", max_size=7)


def by_definition(one: str, other: str) -> int:
    """The fewest edits, of all ways to undo the last symbols."""

    @cache
    def least(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return least(len(one), len(other))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_every_pair_has_the_distance_of_the_definition(pairs):
    ones, others = [one for one, _ in pairs], [other for _, other in pairs]
    found = edits.distances(ones, others)
    assert found.tolist() == [by_definition(*pair) for pair in pairs]
    assert found.tolist() == edits.distances(others, ones).tolist()


@given(TEXT, TEXT, TEXT)
def test_it_is_a_distance(a, b, c):
    ab, bc, ac = edits.distances([a, b, a], [b, c, c])
    assert ac <= ab + bc and (ab == 0) == (a == b) and abs(len(a) - len(b)) <= ab <= max(len(a), len(b))


def test_symbols_may_be_anything_that_can_be_compared():
    assert edits.distances([["K", "AE", "T"], []], [["K", "AH", "T", "S"], ["T"]]).tolist() == [2, 1]
    assert edits.distances([[1, None, (2,)]], [[None, (2,), 1]]).tolist() == [2]
    assert edits.distances([], []).shape == (0,) and edits.distances([""], [""]).dtype == np.int64
