"""Edit distance against RapidFuzz's."""

import random

import pytest

from attention_jax.statistics import edits

rapidfuzz = pytest.importorskip("rapidfuzz", reason="RapidFuzz is not installed: make test-peers installs it")


def test_edit_distance_is_that_of_rapidfuzz():
    draw = random.Random(0)
    pairs = [tuple("".join(draw.choices("abcde ", k=draw.randrange(40))) for _ in range(2)) for _ in range(500)]
    theirs = [rapidfuzz.distance.Levenshtein.distance(*pair) for pair in pairs]
    assert edits.distances(*zip(*pairs, strict=True)).tolist() == theirs
    words = [tuple(text.split() for text in pair) for pair in pairs]
    theirs = [rapidfuzz.distance.Levenshtein.distance(*pair) for pair in words]
    assert edits.distances(*zip(*words, strict=True)).tolist() == theirs
