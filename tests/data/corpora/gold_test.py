import pytest

from attention_jax.data.corpora import gold, links
from attention_jax.system.errors import DataError

PAIRS = [("a b c", "x y"), ("a", "x"), ("a b", "x y z")]
EXPECTED = [({(0, 0), (2, 1)}, {(0, 0), (2, 1), (1, 1)}), (set(), set()), (set(), {(1, 2)})]


@pytest.mark.parametrize(
    "text",
    [
        "0-0 1?1 2-1\n\n1p2\n",
        "1-1 2p2 3-2\n\n2?3",
        "\ufeff1-1  3-2 2p2\r\n\r\n2p3\r\n",
        "1 1 1 S\n1 2 2 P\n1 3 2\n3 2 3 P\n",
        "0001 1 1 S\n0001 3 2 S 0.9\n\n0003 2 3 P .2\n0001 02 2 P\n0001 1 0 S\n3 0 1 P",
    ],
)
def test_formats(text):
    assert gold.read(text.encode(), "g.txt", PAIRS) == EXPECTED


def test_what_is_spelled_is_read_back():
    found = gold.read(b"1-1 2p2 3-2\n\n2?3", "g.txt", PAIRS)
    text = "\n".join(map(links.spelled, found))
    assert text == "0-0 1?1 2-1\n\n1?2" and gold.read(text.encode(), "g.txt", PAIRS) == found
    assert gold.read(b"\n\n\n", "g.txt", PAIRS) == [(set(), set())] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-1\n\n1-1", r"g\.txt: no link names a word 0, and none a last word by its number: count words from 0"),
        ("0-0", r"g\.txt has 1 lines of links for 3 pairs of sentences"),
        ("0-0\n0-1\n0-0", r"g\.txt, line 2: a link names target word 1, but the target has 1 words, 0 to 0"),
        ("1-1 3-2\n2-1\n1-1", r"g\.txt, line 2: a link names source word 1, but the source has 1 words"),
        ("0-0 x\n\n\n", r"g\.txt, line 1: 'x' is no link"),
        ("1 1 1\n1 1", r"g\.txt, line 2: '1 1' is no link; valid: pair, source word, target word, S or P"),
        ("1 1 1 Q\n", r"g\.txt, line 1: '1 1 1 Q' is no link"),
        ("4 1 1\n", r"g\.txt, line 1 names pair 4, and there are 3, from 1"),
        ("0 1 1\n", r"g\.txt, line 1 names pair 0"),
        ("1 1 3\n", r"g\.txt, line 1: a link names target word 2, but the target has 2 words, 0 to 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(DataError, match=message):
        gold.read(text.encode(), "g.txt", PAIRS)
