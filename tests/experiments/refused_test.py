"""Settings that an experiment measures nothing of are refused before anything trains, and not by its `measure` behind the training."""

import importlib

import pytest

from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from experiments import spoken_digits

REFUSED = [
    ("alignment", "data.task=copy", r"alignment scores hand-made links, which copy has not"),
    ("anatomy", "data.task=sort", r"data\.task=sort: positions of source and output are the same in copy alone"),
    ("anatomy", "model.start=zero", r"model\.start=zero hands no vector over, of which a probe reads; bridge does"),
    ("capacity", "model.start=zero", r"a vector is optimised where model\.vector_size is above 0 and model\.start is bridge"),
    ("entailment", "data.task=copy", r"data\.task=copy has no pairs of sentences: set it to a corpus of them, as sick"),
    ("headlines", "data.task=copy", r"data\.task=copy has no headlines: set it to a corpus of them, as reuters"),
    ("multi30k", "data.task=copy", r"data\.task=copy has no texts to translate: set it to a corpus of pairs, as multi30k"),
    ("pronunciation", "data.task=copy", r"pronunciation reads symbols: set data\.task to a corpus"),
    ("pronunciation", "text.unit=subword", r"text\.unit and text\.target_unit to character or word"),
    ("pronunciation", "text.target_unit=subword", r"text\.unit and text\.target_unit to character or word"),
    ("reversal", "data.task=recall", r"data\.task=recall: positions are compared in copy, reverse, sort"),
    ("similarity", "model.slots=2", r"model\.slots=2: looks are changed one by one where it is 0"),
    ("spoken_digits", "data.task=copy", r"data\.task=copy has no texts: set it to a corpus, or to files of your own"),
    ("spoken_digits", "data.task=own_speech", r"texts in subwords have no error rate: set text\.unit to word or character"),
]
"""(experiment, setting, what is said)."""


@pytest.mark.parametrize(("experiment", "setting", "said"), REFUSED)
def test_what_cannot_be_measured_is_refused_before_anything_trains(experiment, setting, said):
    with pytest.raises(ConfigError, match=said):
        sweep.plan(importlib.import_module(f"experiments.{experiment}"), "tiny", [setting])


def test_speech_of_ones_own_in_words_is_planned():
    assert sweep.plan(spoken_digits, "tiny", ["data.task=own_speech", "text.unit=word"])
