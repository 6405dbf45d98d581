"""WAV files of every kind that is read, against the tone that they hold; and those that are refused."""

import io
import struct
import wave
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile

from attention_jax.config import SignalConfig
from attention_jax.data.signals import log_mel, sound
from attention_jax.system.errors import DataError

HERTZ, SECONDS = 440, 0.5


def tone(rate: int, seconds: float = SECONDS) -> np.ndarray:
    """Half of full scale."""
    return 0.5 * np.sin(2 * np.pi * HERTZ * np.arange(round(seconds * rate)) / rate)


def written(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of samples as they are."""
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def whole(samples: np.ndarray, rate: int, width: int) -> bytes:
    """A WAV file of whole numbers of so many bytes, by Python's own module."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((samples.shape[1] if samples.ndim > 1 else 1, width, rate, 0, "NONE", ""))
        numbers = np.rint(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64).ravel()
        out.writeframes(b"".join(int(n).to_bytes(width, "little", signed=True) for n in numbers))
    return file.getvalue()


KINDS = {
    "16 bits": lambda x, rate: whole(x, rate, 2),
    "24 bits": lambda x, rate: whole(x, rate, 3),
    "32 bits": lambda x, rate: whole(x, rate, 4),
    "8 bits": lambda x, rate: written(np.rint(128 + 127 * x).astype(np.uint8), rate),
    "float": lambda x, rate: written(x.astype(np.float32), rate),
    "double": lambda x, rate: written(x.astype(np.float64), rate),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_full_scale_one(kind, channels):
    samples = tone(8000)
    both = np.stack([1.5 * samples, 0.5 * samples], axis=1) if channels == 2 else samples
    found = sound.samples(KINDS[kind](both, 8000), 8000, "x.wav")
    assert found.dtype == np.float32 and found.shape == samples.shape
    assert np.abs(found - samples).max() < (0.02 if kind == "8 bits" else 1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("asked", [8000, 16000])
def test_a_tone_keeps_its_height_and_length_whatever_the_rate(rate, asked):
    found = sound.samples(KINDS["float"](tone(rate), rate), asked, "x.wav")
    assert abs(len(found) - SECONDS * asked) <= 1
    inner = slice(200, -200)
    assert np.abs(found - tone(asked, len(found) / asked)[: len(found)])[inner].max() < 0.01


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


REFUSED = {
    "empty": (b"", "is no WAV file that can be read"),
    "text": (b"no sound at all", "is no WAV file that can be read"),
    "a header alone": (whole(tone(8000), 8000, 2)[:30], "is no WAV file that can be read"),
    "truncated": (cut_short(whole(tone(8000), 8000, 2)), "is truncated: it holds fewer samples than it says"),
    "no samples": (whole(tone(8000)[:0], 8000, 2), "has 0 samples, less than a frame of 25 ms"),
    "less than a frame": (whole(tone(8000)[:199], 8000, 2), "has 199 samples, less than a frame of 25 ms"),
    "a low rate": (whole(tone(4000), 4000, 2), "has 4,000 samples a second; valid: 8,000 to 48,000"),
    "a high rate": (whole(tone(96000), 96000, 2), "has 96,000 samples a second"),
    "channels": (whole(np.stack([tone(8000)] * 3, 1), 8000, 2), "has 3 channels; valid: 1 or 2"),
    "not finite": (written(np.array([0, np.nan] * 200, np.float32), 8000), "holds numbers that are not finite"),
    "compressed": (whole(tone(8000), 8000, 2).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 7, 1), 1), "is no WAV file"),
    "long": (written(np.zeros(8000 * 121, np.uint8), 8000), "takes 121 s, more than 120: cut it into utterances"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused(kind):
    data, said = REFUSED[kind]
    with pytest.raises(DataError, match=f"^x.wav {said}"):
        sound.samples(data, 8000, "x.wav")


def test_chunks_beside_the_samples_are_passed_over():
    data = whole(tone(8000), 8000, 2)
    more = data[:12] + b"LIST" + struct.pack("<I", 4) + b"INFO" + data[12:]
    assert np.array_equal(sound.samples(more, 8000, "x"), sound.samples(data, 8000, "x"))


def test_features_do_not_depend_on_loudness_and_end_in_silence():
    signal = SignalConfig(mels=20, stacked=3)
    quiet, loud = (sound.features(signal, KINDS["double"](scale * tone(8000), 8000), "x") for scale in (0.01, 1.0))
    np.testing.assert_allclose(quiet, loud, atol=1e-4)
    frames = log_mel.frames_of(4000, 8000)
    assert quiet.shape == (-(-frames // 3), 60) and quiet.dtype == np.float32
    assert np.allclose(quiet[-1].reshape(3, 20)[frames % 3 or 3 :], sound.silence())
    one = sound.features(replace(signal, stacked=1), KINDS["double"](tone(8000), 8000), "x")
    np.testing.assert_allclose(quiet.reshape(-1, 20)[:frames], one, atol=1e-4)


def test_digital_silence_is_silence():
    found = sound.features(SignalConfig(), written(np.zeros(4000, np.int16), 8000), "x")
    np.testing.assert_allclose(found, sound.silence(), rtol=1e-5)
