"""What a waveform is made of, below its envelope: rough or smooth, repeating or not.

Distances of spectrograms are nearly blind to both, and both are what tells rain from a buzz of the
same spectrum. Neither needs a reference: noise has known values.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

NOISE_TEXTURE = np.pi / np.sqrt(24)
"""Deviation of the log magnitude of Gaussian noise, 0.64: that of half the log of an exponential."""

_RATE = 24_000
_WINDOW, _HOP = 1024, 256
_AROUND = (9, 9)  # frequencies x frames
_FLOOR, _HEARD = 1e-4, 2e-4


def texture(samples: NDArray[np.float32], sample_rate: int) -> float:
    """Deviation of the log magnitude around its local mean, where there is sound.

    Gaussian noise has `NOISE_TEXTURE`, a smoothed spectrogram less; onsets and harmonics add to it,
    so compare recordings of one kind.

    Args:
        samples: (S,).
        sample_rate: In Hz; brought to 24 kHz, where the windows are 43 ms long.

    Returns:
        In nats; NaN for silence.
    """
    from scipy.ndimage import uniform_filter
    from scipy.signal import stft

    wave = np.asarray(samples, np.float32)
    if sample_rate != _RATE:
        wave = soxr.resample(wave, sample_rate, _RATE)
    wave = wave / max(float(np.abs(wave).max(initial=0)), 1e-9)
    wave = np.pad(wave, (0, max(0, _WINDOW - len(wave))))
    magnitude = np.abs(stft(wave, _RATE, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)[2])
    level = np.log(magnitude + _FLOOR)
    heard = uniform_filter(magnitude, _AROUND) > _HEARD
    if not heard.any():
        return float("nan")
    return float((level - uniform_filter(level, _AROUND))[heard].std())


def repetition(samples: NDArray[np.float32], sample_rate: int, *, period_s: float = 0.02) -> float:
    """Autocorrelation of a waveform at a lag, as a share of its power.

    A decoder that repeats itself from frame to frame is heard as a buzz at the frame rate; at the
    length of a frame rain has 0.

    Args:
        samples: (S,).
        sample_rate: In Hz.
        period_s: The lag; 20 ms is a frame of 50 a second.

    Returns:
        From -1 to 1; 0 for silence, and for what is shorter than two periods.
    """
    lag = round(period_s * sample_rate)
    wave = np.asarray(samples, np.float64)
    if len(wave) < 2 * lag:
        return 0.0
    early, late = wave[:-lag], wave[lag:]
    power = np.sqrt(np.square(early).sum() * np.square(late).sum())
    return float((early * late).sum() / power) if power > 1e-12 else 0.0
