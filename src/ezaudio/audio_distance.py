"""How far a sound came from the original: distances for people who judge or train autoencoders.

Both sounds are scaled by the original's peak first, so that loudness does not count and a wrong
level does. None of them says how a difference sounds; they rank codecs of one kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.signal import get_window

from ezaudio.audio_features import hz_to_mel, mel_filterbank, mel_to_hz

Samples: TypeAlias = npt.NDArray[np.float32]
Spectrum: TypeAlias = npt.NDArray[np.float64]

MEL_BANDS = 80
MEL_WINDOW = 1024
MEL_HOP = 240
MEL_FLOOR = 0.1
STFT_RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""(transform, hop, window) in samples: the three of Parallel WaveGAN, arXiv:1910.11480."""

_POWER_FLOOR = 1e-8
_FRAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class Distances:
    """Distances between an original and another version of it.

    Attributes:
        log_mel_l1: mean absolute difference of natural-log mel magnitudes; 0 is equal.
        multi_resolution_stft: spectral convergence plus log-magnitude difference, mean over three
            resolutions; 0 is equal.
        si_sdr_db: scale-invariant signal-to-distortion ratio; infinite is equal. Models that remake
            phase have low values however well they sound.
    """

    log_mel_l1: float
    multi_resolution_stft: float
    si_sdr_db: float

    @staticmethod
    def mean(parts: Sequence[Distances]) -> Distances:
        """Mean of each distance over sounds."""
        names = [field.name for field in fields(Distances)]
        return Distances(*(float(np.mean([getattr(p, name) for p in parts])) for name in names))


def distances(original: Samples, other: Samples, sample_rate: int) -> Distances:
    """Measure all distances between two sounds `(S,)` of one length.

    Raises:
        ValueError: the lengths differ, or there are no samples.
    """
    return Distances(
        log_mel_l1(original, other, sample_rate),
        multi_resolution_stft(original, other),
        si_sdr_db(original, other),
    )


def log_mel_l1(original: Samples, other: Samples, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectrograms.

    80 triangles of height 1 on Slaney's mel scale, up to half the rate, over the magnitudes of a
    transform with a Hann window of 1024 samples and hop 240; floor 0.1, natural logarithm; both
    sounds divided by the original's peak.

    Args:
        original: `(S,)`.
        other: `(S,)`.
        sample_rate: in Hz.
    """
    one, two = _scaled(original, other)
    mel = _mel_bank(sample_rate)
    total, count = 0.0, 0
    resolution = (MEL_WINDOW, MEL_HOP, MEL_WINDOW)
    for a, b in zip(_spectra(one, *resolution), _spectra(two, *resolution), strict=True):
        difference = np.log(np.maximum(a @ mel.T, MEL_FLOOR))
        difference -= np.log(np.maximum(b @ mel.T, MEL_FLOOR))
        total += float(np.abs(difference).sum())
        count += difference.size
    return total / count


def multi_resolution_stft(original: Samples, other: Samples) -> float:
    """Spectral convergence plus mean log-magnitude difference, mean over `STFT_RESOLUTIONS`.

    Source: Yamamoto et al. 2020, arXiv:1910.11480, equations (4) to (6).
    """
    one, two = _scaled(original, other)
    values = []
    for resolution in STFT_RESOLUTIONS:
        error, energy, logs, count = 0.0, 0.0, 0.0, 0
        for a, b in zip(_spectra(one, *resolution), _spectra(two, *resolution), strict=True):
            error += float(np.square(a - b).sum())
            energy += float(np.square(a).sum())
            logs += float(np.abs(np.log(a) - np.log(b)).sum())
            count += a.size
        values.append(math.sqrt(error / energy) + logs / count)
    return float(np.mean(values))


def si_sdr_db(original: Samples, other: Samples) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv:1811.02508)."""
    one, two = (x - x.mean() for x in _scaled(original, other))
    energy = float(one @ one)
    if energy == 0.0:
        return 0.0 if bool(two.any()) else math.inf
    target = (float(two @ one) / energy) * one
    error = float(np.square(two - target).sum())
    signal = float(target @ target)
    if error <= 1e-20 * signal:
        return math.inf
    return 10.0 * math.log10(max(signal / error, 1e-10))


def _scaled(original: Samples, other: Samples) -> tuple[Spectrum, Spectrum]:
    if original.ndim != 1 or original.shape != other.shape or original.size == 0:
        raise ValueError(f"two sounds (S,) of one length, got {original.shape} and {other.shape}")
    peak = float(np.abs(original).max()) or 1.0
    return original.astype(np.float64) / peak, other.astype(np.float64) / peak


@lru_cache(maxsize=8)
def _mel_bank(sample_rate: int) -> Spectrum:
    """Mel bands as triangles of height 1, (bands, bins)."""
    area_one = mel_filterbank(sample_rate, MEL_WINDOW, MEL_BANDS, 0.0, sample_rate / 2)
    edges_hz = mel_to_hz(np.linspace(0.0, float(hz_to_mel(sample_rate / 2)), MEL_BANDS + 2))
    height_one: Spectrum = area_one * ((edges_hz[2:] - edges_hz[:-2]) / 2.0)[:, None]
    return height_one


def _spectra(wave: Spectrum, n_fft: int, hop: int, window_samples: int) -> Iterator[Spectrum]:
    """Magnitudes (frames, bins), some thousand frames at a time, centred, edges reflected."""
    window = np.zeros(n_fft)
    left = (n_fft - window_samples) // 2
    window[left : left + window_samples] = get_window("hann", window_samples)
    padded = np.pad(wave, n_fft // 2, mode="reflect" if len(wave) > n_fft // 2 else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        power = np.abs(np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window)) ** 2
        yield np.sqrt(np.maximum(power, _POWER_FLOOR))
