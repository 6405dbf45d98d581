"""Links of our aligners are made once for equal text, whatever process asks."""

import pytest

from attention_jax.data import aligners
from attention_jax.data.corpora import kept_links
from attention_jax.system.errors import DataError

TRAIN = (["das haus", "das buch", "ein buch"] * 3, ["the house", "the book", "a book"] * 3)
TESTED = (["ein haus"], ["a house"])


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The kinds of aligners that were trained, in order."""
    found, train = [], aligners.train
    monkeypatch.setattr(aligners, "train", lambda kind, *sides: [found.append(kind), train(kind, *sides)][1])
    return found


def test_an_aligner_is_trained_once_for_equal_text(tmp_path, trained):
    once, again = (kept_links.of("ibm1", TRAIN, TESTED, tmp_path) for _ in range(2))
    assert once == again == [[(0, 0), (1, 1)]] and trained == ["ibm1"]
    assert once == [sorted(links) for links in aligners.train("ibm1", *TRAIN).links(*TESTED)]


def test_other_text_and_other_aligners_are_others(tmp_path, trained):
    sides = (
        (TRAIN, TESTED),
        (TRAIN, None),
        (TRAIN, TRAIN),
        (([*TRAIN[0], "haus"], [*TRAIN[1], "house"]), TESTED),
        (TRAIN, (["buch"], ["book"])),
    )
    for train, tested in sides:
        assert len(kept_links.of("ibm1", train, tested, tmp_path)) == len((tested or train)[0])
    kept_links.of("hmm", TRAIN, TESTED, tmp_path)
    assert trained == ["ibm1"] * 5 + ["hmm"] and len(list((tmp_path / "links").iterdir())) == 6


def test_a_damaged_file_is_named(tmp_path):
    kept_links.of("ibm1", TRAIN, TESTED, tmp_path)
    (file,) = (tmp_path / "links").iterdir()
    file.write_text("0-0\n1-1\n")
    with pytest.raises(DataError, match=r"\.txt is damaged: it has 2 lines for 1 pairs; remove it"):
        kept_links.of("ibm1", TRAIN, TESTED, tmp_path)
