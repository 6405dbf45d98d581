"""spoken_digits: recordings of digits, one behind the other with silence between them; its words are said in that order.

    silence · recording · silence · recording · … · recording · silence

A recording takes ⌈length / hop⌉ frames, and before them those whose windows reach into it (`lead`): 20 ms of silence at the least. Of
further silence 0 to `signal.silence` frames are drawn for each gap, that before the first recording and that behind the last. So the
features of joined recordings are their features joined, and every recording's are computed once: a test compares. `length` counts digits.
All strings of a batch have room for longest + 1 digits, each of `DIGIT` seconds and a mean silence; the few that would take more are
drawn anew. Recordings have one loudness.
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import Config, SignalConfig, validate
from attention_jax.data.signals import fsdd, log_mel, sound
from attention_jax.data.signals.examples import Drawn, Examples
from attention_jax.data.signals.fsdd import Recording
from attention_jax.system.errors import ConfigError
from attention_jax.types import EOS, FIRST_SYMBOL, PAD
from attention_jax.types.citations import cites

DIGIT = 0.5  # seconds, more than the mean of a recording with its lead


class Spoken(NamedTuple):
    """Frames of the recordings of a split, one behind the other, and of each where it begins, how many it has, and its digit."""

    frame_FxM: np.ndarray
    first_N: np.ndarray
    count_N: np.ndarray
    digit_N: np.ndarray


def lead(rate: int) -> int:
    """Returns how many frames begin before a recording and reach into it, where it begins with a frame."""
    return math.ceil(log_mel.window_of(rate) / log_mel.hop_of(rate)) - 1


def block(sound_L: np.ndarray, rate: int) -> np.ndarray:
    """Returns a recording with silence around it: `lead` hops before it, and behind it what its last frame needs."""
    hop, before = log_mel.hop_of(rate), lead(rate)
    frames = before + math.ceil(len(sound_L) / hop)
    whole = (frames - 1) * hop + log_mel.window_of(rate)
    return np.pad(sound_L, (before * hop, whole - before * hop - len(sound_L)))


def spoken(recordings: Sequence[Recording], rate: int, mels: int) -> Spoken:
    """Computes the frames of the recordings of a split, each brought to one loudness."""
    found = [sound.frames(block(sound.levelled(each.samples_L), rate), rate, mels) for each in recordings]
    count_N = np.array([len(frame_SxM) for frame_SxM in found])
    digit_N = np.array([each.digit for each in recordings])
    return Spoken(np.concatenate(found).astype(np.float32), np.cumsum(count_N) - count_N, count_N, digit_N)


@lru_cache(maxsize=2)
def _load(rate: int, mels: int, data_dir: Path | None, cache_dir: Path) -> dict[str, Spoken]:
    return {split: spoken(found, rate, mels) for split, found in fsdd.read(data_dir, cache_dir).items()}


@cites("jackson2018", "davis1980")
def row(config: Config) -> Drawn:
    """Makes the row. Raises `ConfigError` for settings that the recordings do not fit."""
    signal = validate(config).signal
    if signal.rate != fsdd.RATE:
        raise ConfigError(
            f"signal.rate={signal.rate} is impossible: recordings of data.task=spoken_digits have {fsdd.RATE} samples a second"
        )
    log_mel.filters(signal.rate, signal.mels)
    return Drawn(
        features=signal.mels * signal.stacked,
        words=fsdd.WORDS,
        load=partial(_load, signal.rate, signal.mels),
        draw=partial(draw, signal),
        positions=lambda length: length + 1,
        tests={"test": ("known speakers", 0), "test_speaker": (fsdd.HELD_OUT, 0)},
        rows=1,
        places=places(signal, config.data.longest),
        read=partial(read, signal),
    )


def read(signal: SignalConfig, data: bytes, where: str) -> np.ndarray:
    """Returns the features_SxF of a WAV file of a string, as of those that are drawn: each recording in it has one loudness.

    A recording is what lies between digital silences of a hop or more. Sound without any is one recording, of one loudness throughout.
    Raises `DataError` as `sound.samples` does.
    """
    sound_L = sound.samples(data, signal.rate, where)
    for first, last in sounding(sound_L, log_mel.hop_of(signal.rate)):
        sound_L[first:last] = sound.levelled(sound_L[first:last])
    return sound.stacked(sound.frames(sound_L, signal.rate, signal.mels), signal.stacked)


def sounding(sound_L: np.ndarray, silent: int) -> list[tuple[int, int]]:
    """Returns (first, end) of each stretch of samples that has no run of `silent` zeros or more within it, and none at its ends."""
    at = np.flatnonzero(sound_L)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > silent)
    firsts, ends = at[[0, *(breaks + 1)]], at[[*breaks, -1]] + 1
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


def places(signal: SignalConfig, longest: int) -> int:
    """Returns the positions of a source that has room for so many digits and one more, with a mean silence each."""
    return math.ceil((longest + 1) * (DIGIT / log_mel.HOP + signal.silence / 2) / signal.stacked)


def draw(signal: SignalConfig, rng: np.random.Generator, data: Spoken, count_N: np.ndarray, longest: int, extent: int) -> Examples:
    """Draws strings of count_N digits, each word with its time as a box. `extent` is not used."""
    N, S = len(count_N), places(signal, longest)
    number_NxK, before_NxK, frames_N = drawn(signal, rng, data, count_N, longest, S * signal.stacked)
    frame_NxFxM = np.full((N, S * signal.stacked, signal.mels), sound.silence(), np.float32)
    target_NxT, box_NxTx4 = np.full((N, longest + 1), PAD, np.int32), np.full((N, longest + 1, 4), -1, np.float32)
    for n in range(N):
        place = 0
        for k in range(count_N[n]):
            number = number_NxK[n, k]
            first, count = data.first_N[number], data.count_N[number]
            place += before_NxK[n, k]
            frame_NxFxM[n, place : place + count] = data.frame_FxM[first : first + count]
            target_NxT[n, k] = FIRST_SYMBOL + data.digit_N[number]
            box_NxTx4[n, k] = 0, place / signal.stacked, 1, (place + count) / signal.stacked
            place += count
        target_NxT[n, count_N[n]] = EOS
    mask_NxS = np.arange(S) < np.ceil(frames_N / signal.stacked)[:, None]
    source_NxSxF = np.where(mask_NxS[..., None], frame_NxFxM.reshape(N, S, -1), 0)
    return Examples(source_NxSxF, mask_NxS, target_NxT, box_NxTx4, count_N)


def drawn(
    signal: SignalConfig, rng: np.random.Generator, data: Spoken, count_N: np.ndarray, longest: int, room: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws number_NxK, recordings, before_NxK+1, frames of silence before each and behind the last, and frames_N, of all; again where they
    take more than `room` frames."""
    N = len(count_N)
    number_NxK, before_NxK1 = np.zeros((N, longest), np.int64), np.zeros((N, longest + 1), np.int64)
    frames_N, again_N = np.zeros(N, np.int64), np.arange(N)
    while len(again_N):
        number_NxK[again_N] = rng.integers(0, len(data.digit_N), (len(again_N), longest))
        before_NxK1[again_N] = rng.integers(0, signal.silence + 1, (len(again_N), longest + 1))
        real_NxK = np.arange(longest) < count_N[:, None]
        said_N = np.where(real_NxK, data.count_N[number_NxK], 0).sum(1)
        frames_N = said_N + np.where(np.arange(longest + 1) <= count_N[:, None], before_NxK1, 0).sum(1)
        again_N = np.flatnonzero(frames_N > room)
    return number_NxK, before_NxK1, frames_N
