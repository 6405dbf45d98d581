"""Damaged files: every target of fuzz/targets.py with valid inputs whose bytes are changed, lost, doubled, moved and made up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import READERS

PIECES = [
    *(bytes([byte]) for byte in b'\0\n\r\t"\\[{},:=\xff'),
    *(b"-1", b"0", b"9" * 5000, b"1e999", b"NaN", b"null", b"true", b'"\\ud800"', b"../", b"PK\1\2", b"\x1b["),
    *(b"\xed\xa0\x80", "\u202e\u2028ß".encode(), b"[" * 50, b"[" * 100_000, b'{"a":' * 200),
]
"""What valid inputs seldom hold."""


@st.composite
def damaged(draw, seeds: list[bytes]) -> bytes:
    """A valid input after a few accidents."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["flip", "byte", "insert", "replace", "lose", "double", "truncate", "swap"]))
        first, last = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        if kind in ("flip", "byte") and data:
            at = min(first, len(data) - 1)
            new = data[at] ^ (1 << draw(st.integers(0, 7))) if kind == "flip" else draw(st.integers(0, 255))
            data = data[:at] + bytes([new]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:first] + draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + data[first:]
        elif kind == "replace":
            last = min(last, first + 8)
            data = data[:first] + draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + data[last:]
        elif kind == "lose":
            data = data[:first] + data[last:]
        elif kind == "double":
            data = data[:last] + data[first:]
        elif kind == "truncate":
            data = data[:first]
        elif kind == "swap":
            data = data[last:] + data[first:last] + data[:first]
    return data


@pytest.mark.parametrize("name", READERS)
def test_valid_inputs_are_fine(name):
    for seed in READERS[name].seeds:
        READERS[name].check(seed)


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_are_right_or_clearly_refused(name):
    @settings(max_examples=200)
    @given(damaged(READERS[name].seeds))
    def check(data):
        READERS[name].check(data)

    check()


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("\ud800\n") | st.just(10**400)
)
NAMES = st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5)


@st.composite
def changed(draw, seeds: list[bytes]) -> bytes:
    """Lines of JSON in some of whose places there is another value, or none."""
    lines = [json.loads(line) for line in draw(st.sampled_from(seeds)).splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(lines))
        while True:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
                break
            place = place[key]
        if isinstance(place, dict) and draw(st.booleans()):
            place[draw(NAMES)] = place.pop(key)
        else:
            place[key] = draw(VALUES)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.mark.parametrize("name", ["config.json", "example.json", "rows without checksums"])
def test_other_values_in_json_are_right_or_clearly_refused(name):
    @settings(max_examples=200)
    @given(changed(READERS[name].seeds))
    def check(data):
        READERS[name].check(data)

    check()


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_right_or_clearly_refused(name):
    @given(st.binary(max_size=200))
    def check(data):
        READERS[name].check(data)

    check()
