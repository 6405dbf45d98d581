import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora.pairs import load, opened
from attention_jax.data.corpora.parallel_text import split_by_content
from attention_jax.system.errors import ConfigError, DataError

DATA = replace(Config().data, task="parallel_text")


def config(source: object, target: object = "", alignment: object = "") -> Config:
    return Config(data=DATA, text=TextConfig(source_file=str(source), target_file=str(target), alignment_file=str(alignment)))


def everything(splits) -> list[tuple[str, str]]:
    return sorted(pair for pairs in splits.values() for pair in zip(pairs.sources, pairs.targets, strict=True))


def test_two_files_in_any_script(tmp_path):
    source, target = tmp_path / "a.el", tmp_path / "a.ja"
    rows = [(f"πρόταση {i}", f"文 {i} です") for i in range(200)]
    source.write_bytes("\ufeff".encode() + "\r\n".join(s for s, _ in rows).encode() + b"\r\n")
    target.write_bytes("\n".join(t for _, t in rows).encode())
    splits = load(config(source, target), None, tmp_path / "cache")
    assert everything(splits) == sorted(rows)
    for name, pairs in splits.items():
        assert pairs.sources == [s for s, _ in rows if s in pairs.sources]
        for line in pairs.sources:
            slot = int(hashlib.md5(line.encode()).hexdigest(), 16) % 100
            assert name == ("test" if slot < 5 else "validation" if slot < 10 else "train")


def test_a_tsv_and_a_path_within_the_data_folder(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.tsv").write_text("one\tuno\tnote\ntwo\tdos\tnote\nthree\ttres\tnote\n")
    splits = load(config("a.tsv"), tmp_path / "raw", tmp_path / "cache")
    assert everything(splits) == [("one", "uno"), ("three", "tres"), ("two", "dos")]
    assert all(len(pairs.sources) == 1 for pairs in splits.values())


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("one\tuno\ntwo\tdos\nthree\ttres\n")
    load(config(path), None, tmp_path / "cache")
    path.write_text("one\tun\ntwo\tdeux\nthree\ttrois\n")
    assert everything(load(config(path), None, tmp_path / "cache")) == [("one", "un"), ("three", "trois"), ("two", "deux")]


@given(st.lists(st.tuples(st.text("abc", max_size=3), st.text("xyz", max_size=2)), max_size=60))
def test_every_split_has_its_own_sources(pairs):
    if len({source for source, _ in pairs}) < 3:
        with pytest.raises(DataError, match=r"a\.tsv has [012] different source lines; at least 3"):
            split_by_content(pairs, "a.tsv")
        return
    splits = split_by_content(pairs, "a.tsv")
    sources = [{source for source, _ in rows} for rows in splits.values()]
    assert all(sources) and sum(map(len, sources)) == len(set.union(*sources))
    assert sorted(row for rows in splits.values() for row in rows) == sorted(pairs)
    for rows in splits.values():
        assert rows == [pair for pair in pairs if pair in rows]
    assert {k: set(v) for k, v in split_by_content(pairs[::-1], "a.tsv").items()} == {k: set(v) for k, v in splits.items()}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\nb\nc\n", b"x\ny\n", r"a\.src has 3 lines, .*a\.tgt has 2: line 3 of .*a\.src has no partner"),
        (b"a\nb\nc\n", b"x\n\nz\n", r"a\.tgt, line 2 is empty"),
        (b"a\nb\nc\n", b"x\ny\nz\xe9\n", r"a\.tgt, line 3, byte 2: not UTF-8"),
        (b"a\na\nb\n", b"x\ny\nz\n", r"a\.src has 2 different source lines"),
        (b"", b"x\n", r"a\.src is empty"),
        (b"a\tx\nb y\n", None, r"a\.src, line 2 has no tab"),
    ],
)
def test_bad_files(tmp_path, source, target, message):
    (tmp_path / "a.src").write_bytes(source)
    if target is not None:
        (tmp_path / "a.tgt").write_bytes(target)
    with pytest.raises(DataError, match=message):
        load(config(tmp_path / "a.src", "" if target is None else tmp_path / "a.tgt"), None, tmp_path / "cache")


def test_missing_files(tmp_path):
    with pytest.raises(ConfigError, match=r"text\.source_file is not set"):
        load(config(""), None, tmp_path / "cache")
    with pytest.raises(DataError, match=r"absent\.txt is missing"):
        load(config(tmp_path / "absent.txt"), None, tmp_path / "cache")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        load(config(tmp_path), None, tmp_path / "cache")


WORDS = [(f"a{i} b c", f"x y{i}") for i in range(40)]


def linked(tmp_path, lines: list[str]) -> tuple:
    """(source, target, links) files of `WORDS`."""
    for name, content in zip("sta", ([s for s, _ in WORDS], [t for _, t in WORDS], lines), strict=True):
        (tmp_path / name).write_text("".join(line + "\n" for line in content))
    return tmp_path / "s", tmp_path / "t", tmp_path / "a"


def test_links_stay_with_their_pairs(tmp_path):
    of_pair = {source: f"{i % 3}-0 2?{i % 2}" for i, (source, _) in enumerate(WORDS)}
    files = linked(tmp_path, list(of_pair.values()))
    splits = load(config(*files), None, tmp_path / "cache")
    assert everything(splits) == sorted(WORDS)
    for pairs in splits.values():
        for source, found in zip(pairs.sources, pairs.links, strict=True):
            i = int(source.split()[0][1:])
            assert set(found) == {(i % 3, 0), (2, i % 2)}  # possible ones count
    without = load(config(*files[:2]), None, tmp_path / "cache")
    assert all(pairs.links is None for pairs in without.values()) and everything(without) == sorted(WORDS)
    files[2].write_text("\n" * len(WORDS))
    assert all(found == [] for pairs in load(config(*files), None, tmp_path / "cache").values() for found in pairs.links)


def test_links_of_joined_and_capped_pairs(tmp_path):
    files = linked(tmp_path, ["2-1 0-0"] * len(WORDS))

    def train(max_words):
        text = replace(config(*files).text, join_max=2, max_words=max_words)
        return load(Config(data=DATA, text=text), None, tmp_path / "cache")["train"]

    pairs, short = train(6), train(3)
    assert {len(source.split()) for source in pairs.sources} == {3, 6}
    for source, found in zip(pairs.sources, pairs.links, strict=True):
        assert sorted(found) == [(0, 0), (2, 1), (3, 2), (5, 3)][: 2 * len(source.split()) // 3]
    assert len(short.links) == len(short.sources) and all(sorted(found) == [(0, 0), (2, 1)] for found in short.links)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0-0"] * 39, r"a has 39 lines of links, .*s has 40 lines: there must be one each"),
        (["0-0"] * 40 + [""], r"a has 41 lines of links, .*s has 40 lines"),
        (["0-0"] * 7 + ["0-0 3-1"] + ["0-0"] * 32, r"a, line 8: a link names source word 3, but the source has 3 words, 0 to 2"),
        (["0-0"] * 39 + ["1?2"], r"a, line 40: a link names target word 2, but the target has 2 words, 0 to 1"),
        (["0-0"] * 5 + ["0.0"] + ["0-0"] * 34, r"a, line 6: '0\.0' is no link"),
    ],
)
def test_bad_links(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        load(config(*linked(tmp_path, lines)), None, tmp_path / "cache")


def test_links_counted_from_1(tmp_path):
    """The last words that they name do not exist; that they count from 1 is what a user has to know."""
    with pytest.raises(DataError, match=r"a: no link names a word 0, so its words are counted from 1; subtract 1"):
        load(config(*linked(tmp_path, ["1-1 3-2"] * 40)), None, tmp_path / "cache")


@pytest.mark.parametrize(("side", "name"), [(0, "s"), (1, "t")])
def test_words_that_an_aligner_counts_otherwise(tmp_path, side, name):
    """A no-break space is no space to fast_align: all links behind it would be between other words, within bounds."""
    files = linked(tmp_path, ["0-0"] * 40)
    lines = [pair[side] for pair in WORDS]
    lines[6] += " 10\u00a0000 d"
    files[side].write_text("".join(line + "\n" for line in lines))
    with pytest.raises(DataError, match=rf"{name}, line 7: aligners take '10\\xa0000' for one word, .* put plain spaces into the text"):
        load(config(*files), None, tmp_path / "cache")
    assert load(config(*files[:2]), None, tmp_path / "cache")  # without links nothing depends on it
    lines[6] = lines[6].replace("\u00a0", "\t ")
    files[side].write_text("".join(line + "\n" for line in lines))
    assert load(config(*files), None, tmp_path / "cache")


def test_only_the_columns_that_are_read_have_words(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"{s}\t{t}\tsee\u00a0there\n" for s, t in WORDS))
    (tmp_path / "links").write_text("0-0\n" * 40)
    files = tmp_path / "a.tsv", "", tmp_path / "links"
    assert everything(load(config(*files), None, tmp_path / "cache")) == sorted(WORDS)
    (tmp_path / "a.tsv").write_text("".join(f"{s}\t{t}\u00a0z\n" for s, t in WORDS))
    with pytest.raises(DataError, match=r"a\.tsv, line 1: aligners take 'y0\\xa0z' for one word"):
        load(config(*files), None, tmp_path / "cache")


def test_missing_links(tmp_path):
    source, target, _ = linked(tmp_path, ["0-0"] * 40)
    with pytest.raises(DataError, match=r"absent is missing .*; check text\.alignment_file"):
        load(config(source, target, tmp_path / "absent"), None, tmp_path / "cache")


def test_links_are_for_lines_of_ones_own(tmp_path):
    other = replace(config(tmp_path, "", "links.txt"), data=replace(DATA, task="multi30k"))
    with pytest.raises(ConfigError, match=r"text\.alignment_file=links\.txt belongs to data\.task=parallel_text"):
        load(other, None, tmp_path / "cache")


def test_lines_that_end_with_carriage_returns_alone_are_refused(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_bytes(b"a\tb\r\nc\td\re\tf\r")
    with pytest.raises(DataError, match=r"pairs\.tsv, line 2: a carriage return without a newline ends no line here"):
        load(config(file), None, tmp_path / "cache")


def official(tmp_path, **names: str) -> Config:
    """Settings of files of one's own for every split: a pair for training, a TSV for validation, two test sets."""
    for name, count in (("train", 30), ("dev", 5), ("test", 4), ("more", 3)):
        rows = [(f"{name} {i}", f"{i} {name}") for i in range(count)]
        (tmp_path / f"{name}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in rows))
        (tmp_path / f"{name}.a").write_text("".join(f"{source}\n" for source, _ in rows))
        (tmp_path / f"{name}.b").write_text("".join(f"{target}\n" for _, target in rows))
    files = {"source_file": "train.a", "target_file": "train.b", "validation_source": "dev.tsv"}
    files |= {"test_sources": ("test.a", "more.a"), "test_targets": ("test.b", "more.b")}
    return Config(data=DATA, text=TextConfig(**(files | names)))


def test_splits_of_ones_own_are_the_files(tmp_path):
    config = official(tmp_path)
    corpus = opened(config, tmp_path, tmp_path / "cache")
    assert {split: len(pairs.sources) for split, pairs in corpus.splits.items()} == {"train": 30, "validation": 5, "test": 4, "test_2": 3}
    assert corpus.tests == {"test": "test.a", "test_2": "more.a"}
    assert corpus.splits["test_2"].sources == ["more 0", "more 1", "more 2"] and corpus.splits["test"].targets[1] == "1 test"
    assert corpus.place("test_2", 1) == f"{tmp_path / 'more.a'}, line 2"
    assert all(corpus.rows[split][i][0] == source for split in corpus.splits for i, source in enumerate(corpus.splits[split].sources))


@pytest.mark.parametrize("given", ["validation", "test", "neither"])
def test_a_split_without_a_file_is_a_share_of_the_training_lines(tmp_path, given):
    files = {"validation": {"test_sources": (), "test_targets": ()}, "test": {"validation_source": ""}}
    config = official(tmp_path, **files.get(given, files["validation"] | files["test"]))
    (tmp_path / "train.a").write_text("".join(f"line {i}\n" for i in range(400)))
    (tmp_path / "train.b").write_text("".join(f"{i}\n" for i in range(400)))
    corpus = opened(config, tmp_path, tmp_path / "cache")
    shared = {"validation": ["test"], "test": ["validation"], "neither": ["validation", "test"]}[given]
    found = [set(corpus.splits[split].sources) for split in ("train", *shared)]
    assert sum(map(len, found)) == len(set.union(*found)) == 400
    assert all(5 < len(lines) < 40 for lines in found[1:])
    for split in ("train", *shared):
        for i, source in enumerate(corpus.splits[split].sources):
            assert corpus.place(split, i) == f"{tmp_path / 'train.a'}, line {int(source.split()[1]) + 1}"


def test_test_sets_of_one_name_are_told_apart_by_their_folder(tmp_path):
    config = official(tmp_path, test_sources=("test.tsv", "other/test.tsv"), test_targets=())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test.tsv").write_text("a\tb\n")
    tests = opened(config, tmp_path, tmp_path / "cache").tests
    assert tests == {"test": str(tmp_path / "test.tsv"), "test_2": str(tmp_path / "other" / "test.tsv")}


def test_paths_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = official(tmp_path, test_sources=("~/test.a", "~/more.a"), test_targets=("~/test.b", "~/more.b"))
    assert opened(config, tmp_path, tmp_path / "cache").tests == {"test": "test.a", "test_2": "more.a"}
    with pytest.raises(DataError, match=r"~nobody-of-this-name/x is missing"):
        load(official(tmp_path, source_file="~nobody-of-this-name/x"), None, tmp_path / "cache")


def test_a_test_set_is_named_once(tmp_path):
    config = official(tmp_path, test_sources=("test.a", "more.a", "./test.a"), test_targets=("test.b", "more.b", "test.b"))
    with pytest.raises(ConfigError, match=r"text\.test_sources names .*/test\.a twice"):
        load(config, tmp_path, tmp_path / "cache")


def test_what_is_wrong_with_a_file_of_any_split_is_named(tmp_path):
    config = official(tmp_path)
    (tmp_path / "more.b").write_text("0 more\n\n2 more\n")
    with pytest.raises(DataError, match=r"more\.b, line 2 is empty"):
        load(config, tmp_path, tmp_path / "cache")
    (tmp_path / "more.b").unlink()
    with pytest.raises(DataError, match=r"more\.b is missing .*; check text\.test_targets"):
        load(config, tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match=r"dev\.a, line 1 has no tab"):
        load(official(tmp_path, validation_source="dev.a"), tmp_path, tmp_path / "cache")
