"""Sound: the bytes of a WAV file → samples at the rate that is asked for, at one loudness → features_SxF that a model reads.

A position of a source is `signal.stacked` frames of log-mel features side by side (`log_mel`), so that F = stacked · mels.
"""

import io
import math
import warnings

import numpy as np

from attention_jax.config import SignalConfig
from attention_jax.data.signals import log_mel
from attention_jax.system.errors import DataError

RATES = (8_000, 48_000)  # samples a second of a file, least and most
LONGEST = 120  # seconds of a file
LEVEL = 0.1  # root mean square that samples are brought to, full scale 1
FLOOR = 1e-3  # of the energy of a filter; a digital silence has it
MIDDLE, SPREAD = -2.0, 3.0  # nats: what a model reads is about 0 and varies by about 1
SHORTEST = 1 << 12  # samples: sounds are padded to a power of two from here on, so that few sizes are compiled
TRUNCATED = "Reached EOF prematurely"


def samples(data: bytes, rate: int, where: str) -> np.ndarray:
    """Reads a WAV file of whole numbers or floats, mono or stereo: samples_L at `rate` a second, loudness as in the file, full scale ±1.

    Two channels become their mean; another rate is resampled by a polyphase filter. Raises `DataError`, which begins with `where`, for
    anything else, for fewer samples than a frame, numbers that are not finite, and more than `LONGEST` seconds.
    """
    from scipy.signal import resample_poly  # for sound alone

    found_rate, found = _read(data, where)
    if not RATES[0] <= found_rate <= RATES[1]:
        raise DataError(f"{where} has {found_rate:,} samples a second; valid: {RATES[0]:,} to {RATES[1]:,}")
    if found.ndim > 2 or (found.ndim == 2 and found.shape[1] > 2):
        raise DataError(f"{where} has {found.shape[1]} channels; valid: 1 or 2")
    if len(found) > LONGEST * found_rate:
        raise DataError(f"{where} takes {len(found) / found_rate:.0f} s, more than {LONGEST}: cut it into utterances")
    sound_L = scaled(found, where)
    if sound_L.ndim == 2:
        sound_L = sound_L.mean(1)
    if found_rate != rate:
        divisor = math.gcd(found_rate, rate)
        sound_L = resample_poly(sound_L, rate // divisor, found_rate // divisor)
    if not log_mel.frames_of(len(sound_L), rate):
        raise DataError(f"{where} has {len(found)} samples, less than a frame of {1000 * log_mel.WINDOW:g} ms")
    return sound_L.astype(np.float32)


def _read(data: bytes, where: str) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile  # for sound alone

    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always", wavfile.WavFileWarning)  # of chunks that hold no samples
            rate, found = wavfile.read(io.BytesIO(data))
    except Exception as error:  # of damaged headers it raises whatever it meets
        raise DataError(f"{where} is no WAV file that can be read ({' '.join(str(error).split())[:80]})") from None
    if any(TRUNCATED in str(each.message) for each in noted):
        raise DataError(f"{where} is truncated: it holds fewer samples than it says")
    return rate, found


def scaled(found: np.ndarray, where: str) -> np.ndarray:
    """Returns samples as floats, full scale ±1; those of 24 bits come in 32, those of 8 bits and fewer have no sign.

    Raises `DataError` for numbers that are not finite.
    """
    if found.dtype.kind == "u":
        return found.astype(np.float64) / 128 - 1
    if found.dtype.kind == "i":
        return found / float(1 << 8 * found.dtype.itemsize - 1)
    if not np.isfinite(found).all():
        raise DataError(f"{where} holds numbers that are not finite")
    return found.astype(np.float64)


def levelled(sound_L: np.ndarray) -> np.ndarray:
    """Brings samples to the root mean square of `LEVEL`; digital silence stays as it is."""
    loudness = float(np.sqrt(np.mean(np.square(sound_L, dtype=np.float64))))
    return sound_L if loudness == 0 else (sound_L * (LEVEL / loudness)).astype(np.float32)


def frames(sound_L: np.ndarray, rate: int, mels: int) -> np.ndarray:
    """Returns the frames_SxM of samples at this loudness, as a model reads them: log-mel features, moved and scaled by constants."""
    size = max(SHORTEST, 1 << (len(sound_L) - 1).bit_length())
    padded_1xL = np.pad(sound_L, (0, size - len(sound_L)))[None]
    found_SxM = np.asarray(log_mel.log_mel(padded_1xL, rate, mels, FLOOR))[0]
    return (found_SxM[: log_mel.frames_of(len(sound_L), rate)] - MIDDLE) / SPREAD


def silence() -> float:
    """Returns what every number of a frame of digital silence is."""
    return (math.log(FLOOR) - MIDDLE) / SPREAD


def stacked(frame_SxM: np.ndarray, count: int) -> np.ndarray:
    """Puts `count` frames side by side, one position; the last ones are filled up with silence."""
    S, M = frame_SxM.shape
    full_SxM = np.pad(frame_SxM, ((0, -S % count), (0, 0)), constant_values=silence())
    return full_SxM.reshape(-1, count * M).astype(np.float32)


def features(signal: SignalConfig, data: bytes, where: str) -> np.ndarray:
    """Returns the features_SxF of a WAV file, at one loudness. Raises `DataError` as `samples` does."""
    sound_L = levelled(samples(data, signal.rate, where))
    return stacked(frames(sound_L, signal.rate, signal.mels), signal.stacked)
