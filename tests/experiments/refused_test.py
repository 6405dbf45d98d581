"""Settings that an experiment measures nothing of are refused before anything trains, and not by its `measure` behind the training."""

import importlib

import pytest

from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from experiments import spoken_digits

DRAWN = "data.task=spoken_digits model.encoder=pyramidal data.longest=2 data.eval_lengths=1,2"
LINKED = "data.task=copy text.test_sources=gold.a text.test_targets=gold.b text.test_links=gold.links"

REFUSED = [
    ("alignment", "data.task=copy", r"alignment scores hand-made links, which copy has not"),
    ("alignment", LINKED, r"alignment scores hand-made links, which copy has not"),
    ("anatomy", "data.task=sort", r"data\.task=sort: positions of source and output are the same in copy alone"),
    ("anatomy", "model.start=zero", r"model\.start=zero hands no vector over, of which a probe reads; bridge does"),
    ("capacity", "model.start=zero", r"a vector is optimised where model\.vector_size is above 0 and model\.start is bridge"),
    ("entailment", "data.task=copy", r"data\.task=copy has no pairs of sentences: set it to a corpus of them, as sick"),
    ("anatomy", "data.symbols=64 data.eval_lengths=2", r"none of data\.eval_lengths=\(2,\) is tested, trained, and 3 or more"),
    ("reversal", "data.symbols=64 data.eval_lengths=2", r"none of data\.eval_lengths=\(2,\) is tested, trained, and 3 or more"),
    ("similarity", "model.encoder=pyramidal model.layers=2", r"model\.encoder=pyramidal joins source positions: ranks"),
    ("bottleneck", "data.symbols=2 data.longest=8", r"0 of data\.eval_lengths=.* are trained lengths that are tested; a verdict needs 1"),
    ("capacity", "data.eval_lengths=6", r"1 of data\.eval_lengths=\(6,\) are trained lengths that are tested; a verdict needs 2"),
    ("extrapolation", "data.eval_lengths=6", r"data\.eval_lengths=\(6,\): L50 is read from a curve of two tested lengths"),
    ("modern", "data.eval_lengths=6", r"1 of data\.eval_lengths=\(6,\) are .* needs 2"),
    ("soft_hard", "model.heads=2", r"model\.attention=general, model\.heads=2: noise is of the gradient of a score's parameters"),
    ("soft_hard", "model.attention=dot model.decoder_size=32", r"model\.attention=dot, model\.heads=1: noise is of"),
    ("soft_hard", "model.attention=summary", r"model\.attention=summary, model\.heads=1: noise is of"),
    ("echo", "data.eval_lengths=5,6", r"data\.eval_lengths=\(5, 6\): a repeat is tested at one length"),
    ("entailment", "text.unit=subword", r"a label is a word, and text\.unit=subword cuts it"),
    ("entailment", DRAWN + " model.tied=none text.given=", r"data\.task=spoken_digits has no pairs of sentences"),
    ("headlines", "text.blind=true", r"text\.blind: this sweep has a control that is blind beside its arms"),
    ("headlines", "data.task=copy", r"data\.task=copy has no headlines: set it to a corpus of them, as reuters"),
    ("multi30k", "data.task=copy", r"data\.task=copy has no texts to translate: set it to a corpus of pairs, as multi30k"),
    ("multi30k", DRAWN, r"data\.task=spoken_digits has no texts to translate"),
    ("pronunciation", "data.task=copy", r"pronunciation reads symbols: set data\.task to a corpus"),
    ("pronunciation", "text.unit=subword", r"text\.unit and text\.target_unit to character or word"),
    ("pronunciation", "text.target_unit=subword", r"text\.unit and text\.target_unit to character or word"),
    ("reversal", "data.task=recall", r"data\.task=recall: positions are compared in copy, reverse, sort"),
    ("similarity", "model.slots=2", r"model\.slots=2: looks are changed one by one where it is 0"),
    ("similarity", "model.attention=concat", r"model\.attention=concat: ranks are of additive, weight_normalised, general"),
    ("similarity", "data.eval_lengths=3", r"none of data\.eval_lengths=\(3,\) is tested, trained, and 4 or more"),
    ("spoken_digits", "data.task=copy", r"data\.task=copy has no texts: set it to a corpus, or to files of your own"),
    ("spoken_digits", "data.task=own_speech", r"texts in subwords have no error rate: set text\.unit to word or character"),
    ("translation_length", "text.max_words=3", r"0 of data\.eval_lengths=.* are trained lengths that are tested; a verdict needs 1"),
    ("trainability", "data.eval_lengths=3", r"data\.eval_lengths=\(3,\) leaves data\.longest=.* untested, of which U\* is"),
    ("translation_length", "data.task=copy", r"data\.task=copy has no texts to translate"),
]
"""(experiment, settings, what is said)."""


@pytest.mark.parametrize(("experiment", "settings", "said"), REFUSED)
def test_what_cannot_be_measured_is_refused_before_anything_trains(experiment, settings, said):
    with pytest.raises(ConfigError, match=said):
        sweep.plan(importlib.import_module(f"experiments.{experiment}"), "tiny", settings.split())


def test_speech_of_ones_own_in_words_is_planned():
    assert sweep.plan(spoken_digits, "tiny", ["data.task=own_speech", "text.unit=word"])
