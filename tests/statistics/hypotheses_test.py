"""What was written comes back as it was, whatever the text; damage is one line."""

import gzip
import json

import pytest

from attention_jax.statistics import hypotheses
from attention_jax.statistics.hypotheses import Written
from attention_jax.system.errors import DataError

WRITTEN = Written(
    (7, "ensemble"), ["ein Satz", "zwei\u2028Zeilen \x85 ☃"], [["a line"], ["two lines", ""]], [["a", "b"], ['"quoted" \\n', "\ud800 half"]]
)


def test_what_was_written_comes_back(tmp_path):
    hypotheses.write(tmp_path / "a.gz", WRITTEN)
    found = hypotheses.read(tmp_path / "a.gz")
    assert [list(part) for part in found] == [list(part) for part in WRITTEN]
    hypotheses.write(tmp_path / "b.gz", found)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    lines = gzip.decompress((tmp_path / "a.gz").read_bytes()).split(b"\n")
    assert json.loads(lines[1]) == {"source": "ein Satz", "references": ["a line"], "hypotheses": ["a", '"quoted" \\n']}


def test_names_of_files():
    assert [hypotheses.named(test) for test in range(3)] == ["hypotheses.gz", "hypotheses1.gz", "hypotheses2.gz"]
    assert [hypotheses.named(test, hypotheses.OF_BEAM) for test in range(2)] == ["hypotheses_beam.gz", "hypotheses_beam1.gz"]


def test_seeds_are_added_to_a_file_or_replaced(tmp_path):
    one, other = (WRITTEN._replace(seeds=(seed,), hypotheses=[[f"{seed}", "x"]]) for seed in (7, 9))
    for each in (one, other, one._replace(hypotheses=[["again", "y"]])):
        hypotheses.add(tmp_path / "a.gz", each)
    found = hypotheses.read(tmp_path / "a.gz")
    assert found.seeds == (7, 9) and [list(of_seed) for of_seed in found.hypotheses] == [["again", "y"], ["9", "x"]]
    with pytest.raises(DataError, match=r"a\.gz is of other sentences"):
        hypotheses.add(tmp_path / "a.gz", one._replace(sources=["ein Satz", "ein anderer"]))


@pytest.mark.parametrize(
    "wrong", [WRITTEN._replace(references=[["a"]]), WRITTEN._replace(hypotheses=[["a"], ["b", "c"]]), WRITTEN._replace(seeds=(7,))]
)
def test_what_does_not_fit_is_not_written(wrong, tmp_path):
    with pytest.raises(DataError, match=r"2 sentences and \d seeds need as many references and hypotheses"):
        hypotheses.write(tmp_path / "a.gz", wrong)
    assert not (tmp_path / "a.gz").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{}"], "its first line is not that of such a file"),
        (['{"format": 2, "seeds": [1], "sentences": 0}'], "its first line is not"),
        (['{"format": 1, "seeds": [], "sentences": 0}'], "its seeds are no list of numbers"),
        (['{"format": 1, "seeds": [1], "sentences": 2}'], "promises 2 sentences, and 0 follow"),
        (['{"format": 1, "seeds": [1], "sentences": 1}', "[]"], "line 2 is no sentence"),
        (['{"format": 1, "seeds": [1], "sentences": 1}', '{"source": 1, "references": [], "hypotheses": []}'], "that is no text"),
        (['{"format": 1, "seeds": [1], "sentences": 1}', '{"source": "", "references": [], "hypotheses": []}'], "0 hypotheses, and there"),
        (["["], "is damaged, or no file of hypotheses"),
    ],
)
def test_damage_is_one_line(lines, message, tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))
    with pytest.raises(DataError, match=message):
        hypotheses.read(tmp_path / "a.gz")


def test_what_is_torn_or_absent(tmp_path):
    hypotheses.write(tmp_path / "a.gz", WRITTEN)
    data = (tmp_path / "a.gz").read_bytes()
    for content in (data[:-3], data + b"x", b"", b"no gzip"):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(DataError, match="is damaged, or no file of hypotheses"):
            hypotheses.read(tmp_path / "a.gz")
    with pytest.raises(DataError, match="cannot read hypotheses from"):
        hypotheses.read(tmp_path / "absent.gz")
