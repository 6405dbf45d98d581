"""What splits of the published files share, counted by their content."""

from dataclasses import replace
from itertools import combinations

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data import corpora
from attention_jax.data.corpora import pairs, raw

BOTH, SOURCES = ("sources", "targets"), ("sources",)
DISJOINT = {
    ("hansards", "en-fr"): BOTH,
    ("tatoeba", "en-fr"): BOTH,
    ("tatoeba", "fr-en"): BOTH,
    ("reuters", "lead-headline"): BOTH,
    ("python_docs", "en-es"): SOURCES,
    ("cmudict", "en-phones"): SOURCES,
}
SHARED = {"de": 1, "en": 1, "fr": 3}
"""{language of multi30k: lines of validation that are in training}."""
FOLDERS = {"reuters": "reuters21578"}
ELSEWHERE = {"multi30k", "sick", "snli", "parallel_text"}
"""Corpora whose splits are compared below, or in tests of their own."""


def splits_of(task: str, languages: str, data_dir, cache) -> dict[str, pairs.Pairs]:
    """The splits of a corpus, as they are read."""
    if not (data_dir / FOLDERS.get(task, task)).is_dir():
        pytest.skip(f"no files of {task} in {data_dir}")
    return pairs.load(Config(data=replace(Config().data, task=task), text=TextConfig(languages=languages)), data_dir, cache)


def test_every_corpus_is_looked_at():
    assert set(corpora.TABLE) == {task for task, _ in DISJOINT} | ELSEWHERE


@pytest.mark.long
@pytest.mark.parametrize(("task", "languages"), DISJOINT)
def test_splits_share_nothing(tmp_path, data_dir, task, languages):
    splits = splits_of(task, languages, data_dir, tmp_path)
    for side in DISJOINT[task, languages]:
        for one, other in combinations(splits, 2):
            assert not set(getattr(splits[one], side)) & set(getattr(splits[other], side)), (side, one, other)


@pytest.mark.long
@pytest.mark.parametrize("languages", ["de-en", "fr-de"])
def test_multi30k_shares_what_its_publishers_left(tmp_path, data_dir, languages):
    splits = splits_of("multi30k", languages, data_dir, tmp_path)
    for side, language in zip(BOTH, languages.split("-"), strict=True):
        train, validation, test = (set(getattr(splits[name], side)) for name in ("train", "validation", "test"))
        assert not test & train and not test & validation and len(validation & train) == SHARED[language]


def test_rows_that_share_a_side_with_a_later_split_are_left_out():
    splits = {
        "train": [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        "validation": [("e", "2"), ("f", "9")],
        "test": [("c", "9"), ("g", "4")],
    }
    assert raw.apart(splits) == {"train": [("a", "1")], "validation": [("e", "2")], "test": splits["test"]}
