import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.config import Config, TextConfig, override
from attention_jax.data.corpora import TABLE
from attention_jax.data.corpora.pairs import cap, join, load
from attention_jax.system.errors import ConfigError

ROWS = [(f"s{i} x", f"t{i}") for i in range(7)]


def test_joining_takes_whole_groups_of_neighbours_for_every_k():
    pairs = join(ROWS, TextConfig(join_min=2, join_max=3), "train")
    assert pairs.sources == ["s0 x s1 x", "s2 x s3 x", "s4 x s5 x", "s0 x s1 x s2 x", "s3 x s4 x s5 x"]
    assert pairs.targets == ["t0 t1", "t2 t3", "t4 t5", "t0 t1 t2", "t3 t4 t5"]
    assert pairs.length_N.tolist() == [4, 4, 4, 6, 6] and pairs.length_N.dtype == "int32"
    assert list(zip(pairs.first_N, pairs.joined_N, strict=True)) == [(0, 2), (2, 2), (4, 2), (0, 3), (3, 3)]


@given(st.integers(1, 9), st.integers(0, 4))
def test_each_k_sees_the_split_once(join_min, more):
    text = TextConfig(join_min=join_min, join_max=join_min + more)
    if join_min > len(ROWS):
        with pytest.raises(ConfigError, match=f"text.join_min={join_min} is more than the 7 pairs of the test split"):
            join(ROWS, text, "test")
        return
    words = " ".join(join(ROWS, text, "test").targets).split()
    for i, (_, target) in enumerate(ROWS):
        assert words.count(target) == sum(i < len(ROWS) // k * k for k in range(join_min, join_min + more + 1))


def test_the_cap_leaves_out_long_sources():
    pairs = join([("a", "x"), ("a b c", "y"), ("a b", "z")], TextConfig(), "train")
    assert cap(pairs, 0) is pairs
    assert cap(pairs, 2).sources == ["a", "a b"] and cap(pairs, 2).targets == ["x", "z"] and cap(pairs, 2).length_N.tolist() == [1, 2]
    assert cap(pairs, 2).first_N.tolist() == [0, 2] and cap(pairs, 2).joined_N.tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"text\.max_words=1 leaves no training example: the shortest has 3"):
        cap(join([("a b c", "x")], TextConfig(), "train"), 1)


def test_lengths_count_words_or_characters():
    """The space between words is one character, as it is one token."""
    rows = [("ab  c", "x"), ("abcd", "y"), ("é", "z")]
    assert join(rows, TextConfig(), "train").length_N.tolist() == [2, 1, 1]
    pairs = join(rows, TextConfig(lengths="characters"), "train")
    assert pairs.length_N.tolist() == [4, 4, 1] and cap(pairs, 3).sources == ["é"]


def test_further_references_stay_with_their_pairs():
    rows = [("read", "R EH D", "R IY D\tR IY D Z"), ("a", "AH", "")]
    pairs = join(rows, TextConfig(lengths="characters"), "test", others=2)
    assert pairs.accepted == [["R EH D", "R IY D", "R IY D Z"], ["AH"]] and pairs.targets == ["R EH D", "AH"]
    assert cap(pairs, 2).accepted == [["AH"]]
    assert join([("a", "x")], TextConfig(), "test").accepted == [["x"]]
    with pytest.raises(ConfigError, match=r"text\.join_max=2 is impossible: sources of this corpus have several references; set 1"):
        join(rows, TextConfig(join_max=2), "test", others=2)


@pytest.mark.usefixtures("tfds")
def test_the_cap_is_for_training_only(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{'word ' * (1 + i % 5)}{i}\tx\n" for i in range(300)))
    config = override(override(Config(), "data.task", "parallel_text"), "text.source_file", str(path))
    free, capped = load(config, None, tmp_path / "cache"), load(override(config, "text.max_words", 3), None, tmp_path / "cache")
    assert capped["train"].length_N.max() == 3 and len(capped["train"].sources) == (free["train"].length_N <= 3).sum()
    for split in ("validation", "test"):
        assert capped[split].sources == free[split].sources and free[split].length_N.max() > 3


@pytest.mark.usefixtures("tfds")
def test_a_corpus_by_another_name_is_the_same_text(tmp_path, monkeypatch):
    (tmp_path / "a.tsv").write_text("".join(f"word {i}\tx {i}\n" for i in range(100)))
    monkeypatch.setitem(TABLE, "mine", TABLE["parallel_text"])
    config = override(Config(), "text.source_file", str(tmp_path / "a.tsv"))
    own, other = (load(override(config, "data.task", name), None, tmp_path / "cache") for name in ("parallel_text", "mine"))
    assert {split: pairs.sources for split, pairs in own.items()} == {split: pairs.sources for split, pairs in other.items()}


def test_an_unknown_corpus(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.task='multi31k' is unknown \(did you mean 'multi30k'\?\); valid: multi30k, python_docs"):
        load(override(Config(), "data.task", "multi31k"), None, tmp_path)


@pytest.mark.usefixtures("tfds")
def test_no_tensorflow_and_no_tfds_before_it_is_needed():
    code = (
        "import sys; import attention_jax.data.corpora.buckets, attention_jax.data.corpora.pairs;"
        "assert 'tensorflow_datasets' not in sys.modules;"
        "import attention_jax.data.corpora.multi30k; assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[3])
