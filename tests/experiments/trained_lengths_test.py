"""Lengths that a table calls trained are trained on: the buckets of tokens hold nearly all training pairs of each."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.data.corpora import buckets, pairs, vocabularies
from experiments import entailment, headlines, multi30k, translation_length

LEAST = 0.85
"""The share of pairs of a length that have to fit. The Hansards of `alignment`, which take minutes to build, are left out: 98 % fit."""

JUDGED = [(entailment, "tiny"), (headlines, "tiny"), (headlines, "small"), (translation_length, "small"), (multi30k, "small")]
"""`multi30k` at tiny trains on few of its long captions; its docstring says so, and it judges no lengths. Words of CMUdict are short."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for builds and vocabularies of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.long
@pytest.mark.parametrize(("claim", "preset"), JUDGED, ids=lambda each: getattr(each, "__name__", each).rpartition(".")[2])
def test_every_trained_length_is_trained_on(data_dir, cache, claim, preset):
    for config in {config.text.max_words: config for config in claim.sweep(preset) if not config.text.blind}.values():
        train = pairs.load(config, data_dir, cache)["train"]
        vocabulary = vocabularies.learn(train.sources, train.targets, config.text, cache)
        encoded = buckets.encode(train, vocabulary, config.text.buckets, config.text.given)
        fits_N = np.isin(np.arange(len(train.sources)), np.concatenate(encoded.members))
        for below, edge in zip((0, *config.data.eval_lengths), config.data.eval_lengths, strict=False):
            is_in_N = (train.length_N > below) & (train.length_N <= edge)
            if not config.text.max_words or edge <= config.text.max_words:
                assert fits_N[is_in_N].mean() > LEAST, (edge, fits_N[is_in_N].mean())
