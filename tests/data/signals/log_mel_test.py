"""Log-mel features against the equations in plain NumPy, bin by bin, and what follows from them."""

import math

import jax
import numpy as np
import pytest

from attention_jax.data.signals import log_mel
from attention_jax.system.errors import ConfigError


def brute(samples, rate: int, mels: int, floor: float) -> np.ndarray:
    """The equations of the module, one number at a time."""
    N, H = rate // 40, rate // 100
    K = next(2**i for i in range(20) if 2**i >= N)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / (N - 1)) for n in range(N)]

    def mel(hertz):
        return 1127 * math.log(1 + hertz / 700)

    step = (mel(rate / 2) - mel(20)) / (mels + 1)
    found = np.zeros((1 + (len(samples) - N) // H, mels))
    for s in range(len(found)):
        frame = [samples[s * H + n] * window[n] for n in range(N)]
        power = [abs(sum(y * np.exp(-2j * math.pi * k * n / K) for n, y in enumerate(frame))) ** 2 for k in range(K // 2)]
        for m in range(mels):
            left, peak, right = (mel(20) + (m + i) * step for i in range(3))
            energy = 0.0
            for k in range(K // 2):
                at = mel(k * rate / K)
                if left < at < right:
                    energy += power[k] * ((at - left) / (peak - left) if at <= peak else (right - at) / (right - peak))
            found[s, m] = math.log(max(energy, floor))
    return found


@pytest.mark.parametrize(("rate", "mels"), [(8000, 24), (11000, 10)])
def test_features_are_those_of_the_equations(rate, mels):
    samples_L = np.random.default_rng(0).normal(0, 0.1, rate // 25).astype(np.float32)
    found = np.asarray(log_mel.log_mel(samples_L[None], rate, mels, 1e-6))[0]
    np.testing.assert_allclose(found, brute(samples_L.astype(float), rate, mels, 1e-6), atol=1e-4)
    assert found.shape == (log_mel.frames_of(len(samples_L), rate), mels)


def test_units():
    """Ten times the amplitude is ln 100 more, and silence is the floor."""
    samples_2xL = np.random.default_rng(1).normal(0, 0.01, (1, 800)) * np.array([[1], [10]])
    quiet, loud = log_mel.log_mel(samples_2xL, 8000, 20, 1e-20)
    np.testing.assert_allclose(loud - quiet, math.log(100), atol=1e-4)
    assert np.allclose(log_mel.log_mel(np.zeros((1, 800)), 8000, 20, 1e-3), math.log(1e-3))


@pytest.mark.parametrize("hertz", [400, 1000, 2500])
def test_a_tone_is_loudest_in_the_filter_that_it_lies_in(hertz):
    tone_L = np.sin(2 * np.pi * hertz * np.arange(1600) / 8000)
    corner = np.linspace(log_mel.mel(20), log_mel.mel(4000), 24 + 2)
    nearest = int(np.abs(corner[1:-1] - log_mel.mel(hertz)).argmin())
    assert set(np.asarray(log_mel.log_mel(tone_L[None], 8000, 24, 1e-9))[0].argmax(1).tolist()) == {nearest}


def test_frames_lie_within_the_samples():
    assert [log_mel.frames_of(length, 8000) for length in (0, 199, 200, 279, 280, 8000)] == [0, 0, 1, 1, 2, 98]


def test_it_compiles_and_has_a_gradient():
    def total(samples_BxL):
        return log_mel.log_mel(samples_BxL, 8000, 10, 1e-6).sum()

    samples_BxL = np.random.default_rng(0).normal(0, 0.1, (2, 400)).astype(np.float32)
    assert np.isfinite(jax.grad(total)(samples_BxL)).all()
    both = jax.jit(lambda x: log_mel.log_mel(x, 8000, 10, 1e-6))(samples_BxL)
    np.testing.assert_allclose(both[1], log_mel.log_mel(samples_BxL[1:], 8000, 10, 1e-6)[0], atol=1e-5)


def test_more_filters_than_bins_are_refused():
    with pytest.raises(ConfigError, match=r"^signal\.mels=100 is impossible with signal\.rate=8000"):
        log_mel.filters(8000, 100)
