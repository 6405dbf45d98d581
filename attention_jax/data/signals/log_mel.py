"""Log-mel features of sound: samples → frames of M numbers, a pure function of its arguments that compiles.

    y_sn = w_n x_{sH+n},   w_n = ½ − ½ cos(2πn / (N − 1)),   n = 0 … N − 1      frame s, under a Hann window
    p_sk = |Σ_n y_sn exp(−2πi kn / K)|²,   k = 0 … K/2 − 1                       K: the least power of two that is N or more
    e_sm = Σ_k h_mk p_sk                                                         h: M triangles, corners evenly on the mel scale
    f_sm = ln max(e_sm, floor)                                                   mel(Hz) = 1127 ln(1 + Hz / 700)

N samples are `WINDOW` seconds, H are `HOP` seconds: 25 and 10 ms. The first triangle begins at `LOWEST` Hz, the last ends at half the rate.
Frames lie within the samples: S = 1 + ⌊(length − N) / H⌋. Samples are amplitudes, full scale ±1, so that e is a power and `floor` one, too.
These are Kaldi's filter banks (compute-fbank-feats) without dither, pre-emphasis and removal of the mean. Davis and Mermelstein 1980.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.system.errors import ConfigError
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array

WINDOW, HOP = 0.025, 0.010  # seconds
LOWEST = 20.0  # Hz


def window_of(rate: int) -> int:
    """Returns N, the samples of a frame at `rate` samples a second."""
    return round(WINDOW * rate)


def hop_of(rate: int) -> int:
    """Returns H, the samples between the beginnings of two frames."""
    return round(HOP * rate)


def frames_of(samples: int, rate: int) -> int:
    """Returns S, the number of frames that lie within so many samples; 0 where there are fewer than N."""
    return max(0, 1 + (samples - window_of(rate)) // hop_of(rate))


def mel(hertz: float | np.ndarray) -> np.ndarray:
    """Returns the place of a frequency, or of each of several, on the mel scale."""
    return np.asarray(1127 * np.log1p(np.asarray(hertz) / 700))


@lru_cache(maxsize=8)
def filters(rate: int, mels: int) -> np.ndarray:
    """Returns the triangles h_KxM over the K/2 lowest bins, each with peak 1. Raises `ConfigError` for more than there are bins for."""
    size = 1 << (window_of(rate) - 1).bit_length()
    corner_M2 = np.linspace(mel(LOWEST), mel(rate / 2), mels + 2)
    left_M, peak_M, right_M = corner_M2[:-2], corner_M2[1:-1], corner_M2[2:]
    mel_Kx1 = mel(np.arange(size // 2) * rate / size)[:, None]
    rising_KxM, falling_KxM = (mel_Kx1 - left_M) / (peak_M - left_M), (right_M - mel_Kx1) / (right_M - peak_M)
    triangle_KxM = np.maximum(0, np.minimum(rising_KxM, falling_KxM)).astype(np.float32)
    if not triangle_KxM.any(0).all():
        raise ConfigError(f"signal.mels={mels} is impossible with signal.rate={rate}: a filter would lie between two of {size // 2} bins")
    return triangle_KxM


@cites("davis1980")
@partial(jax.jit, static_argnums=(1, 2))
def log_mel(samples_BxL: Array, rate: int, mels: int, floor: float) -> jax.Array:
    """Returns features_BxSxM of samples at `rate` samples a second, S = `frames_of(L, rate)`, in nats.

    Raises `ConfigError` for more filters than there are bins for.
    """
    N, S = window_of(rate), frames_of(samples_BxL.shape[1], rate)
    triangle_KxM = filters(rate, mels)
    place_SxN = hop_of(rate) * np.arange(S)[:, None] + np.arange(N)
    weight_1x1xN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N) / (N - 1))).astype(np.float32)[None, None]
    frame_BxSxN = jnp.asarray(samples_BxL, jnp.float32)[:, place_SxN] * weight_1x1xN
    bin_BxSxK = jnp.fft.rfft(frame_BxSxN, 2 * len(triangle_KxM))[..., : len(triangle_KxM)]
    power_BxSxK = jnp.square(bin_BxSxK.real) + jnp.square(bin_BxSxK.imag)
    energy_BxSxM = jnp.matmul(power_BxSxK, triangle_KxM, precision=jax.lax.Precision.HIGHEST)
    return jnp.log(jnp.maximum(energy_BxSxM, floor))
