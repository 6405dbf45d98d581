"""Strings of recordings: their features against those of the joined sound, what is said of them, and splits that keep apart."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.io import wavfile

from attention_jax.config import Config, DataConfig, ModelConfig, SignalConfig, override
from attention_jax.data import signals, sources
from attention_jax.data.signals import fsdd, log_mel, sound, spoken_digits
from attention_jax.running.resolved import check
from attention_jax.system.errors import ConfigError
from attention_jax.types import EOS, FIRST_SYMBOL, PAD

N = 12
BASE = Config(
    model=ModelConfig(encoder="pyramidal", layers=2),
    data=DataConfig(task="spoken_digits", shortest=1, longest=3, eval_lengths=(1, 3, 12), eval_examples=N),
    signal=SignalConfig(mels=16, stacked=3, silence=5),
)


@pytest.fixture
def source(spoken_dir, tmp_path):
    """The small set, opened."""
    return sources.build(BASE, None, spoken_dir, tmp_path)


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_features_of_joined_recordings_are_their_features_joined(rate):
    """Silence of whole hops between them, and what each brings along."""
    rng = np.random.default_rng(0)
    hop, sounds = log_mel.hop_of(rate), [rng.normal(0, 0.1, length).astype(np.float32) for length in (700, 801, 1999, 1600)]
    blocks = [spoken_digits.block(each, rate) for each in sounds]
    frames = [sound.frames(block, rate, 16) for block in blocks]
    gaps = [0, 3, 1, 7]
    silent = np.full((1, 16), sound.silence(), np.float32)
    joined = np.concatenate([part for gap, each in zip(gaps, frames, strict=True) for part in (np.repeat(silent, gap, 0), each)])
    whole_L = np.zeros(len(joined) * hop + log_mel.window_of(rate) - hop, np.float32)
    place = 0
    for gap, each, found in zip(gaps, sounds, frames, strict=True):
        place += gap + spoken_digits.lead(rate)
        whole_L[place * hop : place * hop + len(each)] += each
        place += len(found) - spoken_digits.lead(rate)
    np.testing.assert_allclose(sound.frames(whole_L, rate, 16), joined, atol=1e-4)


def strings_of(batch, split: str, spoken) -> None:
    """Asserts that each word of a batch is a recording of the split that says so, in its box, and that all else is silence."""
    of_digit = {digit: np.flatnonzero(spoken.digit_N == digit) for digit in range(10)}
    for source_SxF, mask_S, target_T, box_Tx4, length in zip(
        *(np.asarray(of)[0] for of in (batch.source_BxS, batch.source_mask_BxS, batch.target_BxT, batch.box_BxTx4, batch.length_B)),
        strict=True,
    ):
        frame_FxM, left = source_SxF[mask_S].reshape(-1, 16), np.ones(3 * int(mask_S.sum()), bool)
        assert not source_SxF[~mask_S].any() and (np.diff(mask_S.astype(int)) <= 0).all()
        assert target_T[length] == EOS and (target_T[length + 1 :] == PAD).all() and (box_Tx4[length:] == -1).all()
        ends = [0.0]
        for token, (top, start, bottom, end) in zip(target_T[:length], box_Tx4[:length], strict=True):
            assert (top, bottom) == (0, 1) and start >= ends[-1]
            ends.append(float(end))
            first, last = round(3 * float(start)), round(3 * float(end))
            pieces = (spoken.frame_FxM[spoken.first_N[n] :][: spoken.count_N[n]] for n in of_digit[int(token) - FIRST_SYMBOL])
            assert any(np.array_equal(frame_FxM[first:last], piece) for piece in pieces), split
            left[first:last] = False
        assert np.allclose(frame_FxM[left], sound.silence())


def test_every_word_is_a_recording_of_its_split(source, spoken_dir, tmp_path):
    data = spoken_digits.row(BASE).load(spoken_dir, tmp_path)
    for split in ("validation", "test", "test_speaker"):
        for batch in source.evaluation(split, [0]):
            strings_of(batch, split, data[split])
    train = source.read.read([0], 0)
    assert train.box_BxTx4 is None and not np.array_equal(data["train"].frame_FxM[:20], data["test"].frame_FxM[:20])


def test_training_shows_recordings_of_training_alone(spoken_dir, tmp_path):
    data = spoken_digits.row(BASE).load(spoken_dir, tmp_path)["train"]
    found = spoken_digits.draw(BASE.signal, np.random.default_rng(0), data, np.array([1, 2, 3] * 9), 3, 0)
    assert set(found.target_NxT[found.target_NxT >= FIRST_SYMBOL].tolist()) == set(range(FIRST_SYMBOL, FIRST_SYMBOL + 10))
    assert found.source_NxSxF.shape == (27, spoken_digits.places(BASE.signal, 3), 48)


def test_batches_are_a_function_of_seed_and_step(spoken_dir, tmp_path):
    first, again = (sources.build(BASE, None, spoken_dir, tmp_path) for _ in range(2))
    one, same, other = first.read.read([3, 4], 7), again.read.read([4, 3], 7), again.read.read([3, 4], 8)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a[::-1], b), one, same))
    assert not np.array_equal(one.source_BxS, other.source_BxS) and not np.array_equal(one.source_BxS[0], one.source_BxS[1])
    assert signals.positions(BASE) == (one.source_BxS.shape[2], one.target_BxT.shape[2])


def test_two_test_sets_at_every_length(source):
    assert dict(source.tests) == {"test": "known speakers", "test_speaker": fsdd.HELD_OUT} and source.rows == 1
    for split in source.tests:
        batches = list(source.evaluation(split, [0, 1]))
        assert [set(batch.length_B.ravel().tolist()) for batch in batches] == [{1}, {3}, {12}]
        assert all(batch.source_BxS.shape[:2] == (2, N) and batch.target_BxT.shape[2] <= source.longest_output for batch in batches)
    lengths = np.concatenate([batch.length_B for batch in source.evaluation("validation", [0])], axis=1)
    assert set(lengths.ravel().tolist()) == {1, 2, 3}


def test_silence_is_as_long_as_is_asked_for_and_strings_fit(spoken_dir, tmp_path):
    data = spoken_digits.row(BASE).load(spoken_dir, tmp_path)["test"]
    for most in (0, 9):
        signal, count_N = replace(BASE.signal, silence=most), np.repeat([1, 4], 200)
        room = spoken_digits.places(signal, 4) * signal.stacked
        number_NxK, before_NxK1, frames_N = spoken_digits.drawn(signal, np.random.default_rng(0), data, count_N, 4, room)
        assert set(np.unique(before_NxK1)) == set(range(most + 1)) and frames_N.max() <= room
        for n in range(len(count_N)):
            said = data.count_N[number_NxK[n, : count_N[n]]].sum()
            assert frames_N[n] == said + before_NxK1[n, : count_N[n] + 1].sum()


def test_strings_that_take_too_long_are_drawn_anew():
    data = spoken_digits.Spoken(np.zeros((110, 4), np.float32), np.array([0, 10]), np.array([10, 100]), np.array([0, 1]))
    signal = replace(BASE.signal, silence=2)
    number_NxK, _, frames_N = spoken_digits.drawn(signal, np.random.default_rng(0), data, np.full(50, 2), 2, 40)
    assert not number_NxK.any() and frames_N.max() <= 40


def test_a_file_of_a_string_is_read_as_the_source_that_it_sounds_like(spoken_dir, tmp_path):
    """Each recording has the loudness that its speaker left it, as when the string is made by another tool."""
    row, recordings = spoken_digits.row(BASE), fsdd.read(spoken_dir, tmp_path)["test"]
    data, hop, count_N = row.load(spoken_dir, tmp_path)["test"], log_mel.hop_of(fsdd.RATE), np.array([1, 3, 2])
    drawn = row.draw(np.random.default_rng(5), data, count_N, 3, 0)
    room = spoken_digits.places(BASE.signal, 3) * BASE.signal.stacked
    number_NxK, before_NxK1, frames_N = spoken_digits.drawn(BASE.signal, np.random.default_rng(5), data, count_N, 3, room)
    for n, count in enumerate(count_N):
        whole_L, place = np.zeros((frames_N[n] - 1) * hop + log_mel.window_of(fsdd.RATE)), 0
        for k in range(count):
            samples_L = recordings[number_NxK[n, k]].samples_L * (0.2 + 0.3 * k)
            place += before_NxK1[n, k] + spoken_digits.lead(fsdd.RATE)
            whole_L[place * hop : place * hop + len(samples_L)] = samples_L
            place += -(-len(samples_L) // hop)
        wavfile.write(tmp_path / "string.wav", fsdd.RATE, whole_L)
        found_SxF, shown_SxF = signals.features(BASE, str(tmp_path / "string.wav"), "x"), drawn.source_NxSxF[n][drawn.mask_NxS[n]]
        np.testing.assert_allclose(found_SxF, shown_SxF, atol=2e-3)


def test_silence_alone_sounds_like_silence(tmp_path):
    wavfile.write(tmp_path / "nothing.wav", fsdd.RATE, np.zeros(fsdd.RATE, np.int16))
    np.testing.assert_allclose(signals.features(BASE, str(tmp_path / "nothing.wav"), "x"), sound.silence(), rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("signal.rate", 16000, r"signal\.rate=16000 is impossible: recordings of data\.task=spoken_digits have 8000"),
        ("signal.mels", 100, r"signal\.mels=100 is impossible with signal\.rate=8000"),
        ("model.copy", True, r"data\.task=spoken_digits has no tokens as sources, and model\.copy=True"),
    ],
)
def test_what_cannot_be_is_refused(path, value, said):
    with pytest.raises(ConfigError, match=said):
        check(override(BASE, path, value))
