"""Log-mel features against Kaldi's, and the word error rate against jiwer's."""

import random

import numpy as np
import pytest

from attention_jax.data.signals import log_mel
from attention_jax.statistics import metrics

INSTALLS = "is not installed: make test-peers installs it"


@pytest.mark.parametrize(("rate", "mels"), [(8000, 24), (16000, 40), (48000, 64)])
def test_log_mel_features_are_those_of_kaldi(rate, mels):
    kaldi = pytest.importorskip("kaldi_native_fbank", reason=f"kaldi-native-fbank {INSTALLS}")
    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither, options.frame_opts.preemph_coeff = rate, 0, 0
    options.frame_opts.remove_dc_offset, options.frame_opts.window_type, options.frame_opts.snip_edges = False, "hanning", True
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = mels, 20, 0
    options.energy_floor, options.use_energy = 0, False
    samples_L = np.random.default_rng(0).normal(0, 0.1, rate // 2).astype(np.float32)
    theirs = kaldi.OnlineFbank(options)
    theirs.accept_waveform(rate, samples_L.tolist())
    theirs.input_finished()
    expected = np.stack([theirs.get_frame(i) for i in range(theirs.num_frames_ready)])
    found = np.asarray(log_mel.log_mel(samples_L[None], rate, mels, 1e-20))[0]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_word_error_rate_is_that_of_jiwer():
    jiwer = pytest.importorskip("jiwer", reason=f"jiwer {INSTALLS}")
    draw = random.Random(0)
    targets, outputs = ([[draw.choice("abcd") for _ in range(draw.randrange(1, 12))] for _ in range(200)] for _ in range(2))
    found = metrics.edits_of(outputs, targets).averages(np.arange(200))
    assert found["error_rate"] == pytest.approx(jiwer.wer([" ".join(words) for words in targets], [" ".join(words) for words in outputs]))
