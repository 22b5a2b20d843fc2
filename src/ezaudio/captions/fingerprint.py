"""A fingerprint of a sound that survives gain, coding and resampling, to find a recording again.

The energies of 16 bands (100 Hz to 3.6 kHz) in 16 equal pieces of the sound without its silent
ends, in dB around their mean. Two fingerprints are compared by their mean distance; which pairs are
compared at all is decided by 32 short words of bits, of which the fingerprints of one recording
share at least one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ezaudio.audio import resample
from ezaudio.types import Clip

_RATE_HZ = 8000
_N_FFT, _HOP = 512, 128
_BANDS, _PIECES = 16, 16
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 3600.0
_SILENT_DB = -50.0
_SHORTEST_S = 0.2
_FLOOR_DB = 60.0
_WORDS, _WORD_BITS = 32, 32
NEAR_DB = 2.0
"""Fingerprints of one recording differ by less, on average over bands and pieces."""


@dataclass(frozen=True)
class Fingerprint:
    """A fingerprint.

    Attributes:
        seconds: length without silent ends.
        levels: (bands x pieces,) in dB around their mean, as whole numbers.
        words: 32 words of 32 bits.
    """

    seconds: float
    levels: npt.NDArray[np.int8]
    words: tuple[int, ...]

    def near(self, other: Fingerprint, *, most_db: float = NEAR_DB) -> bool:
        """True when both are of one recording."""
        longer = max(self.seconds, other.seconds)
        if abs(self.seconds - other.seconds) > max(0.1, 0.05 * longer):
            return False
        apart = np.abs(self.levels.astype(np.int16) - other.levels.astype(np.int16))
        return float(apart.mean()) <= most_db


def fingerprint_of(clip: Clip) -> Fingerprint | None:
    """Take the fingerprint of a sound; None when it is silent or shorter than 0.2 s."""
    samples = resample(clip.samples, clip.sample_rate, _RATE_HZ)
    samples = _without_silent_ends(samples)
    if len(samples) < max(_N_FFT, _SHORTEST_S * _RATE_HZ):
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples, _N_FFT)[::_HOP]
    window = np.hanning(_N_FFT).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2  # (T', F)
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1)
    edges = np.round(edges_hz * _N_FFT / _RATE_HZ).astype(int)
    bands = np.stack([power[:, a : max(a + 1, b)].sum(1) for a, b in pairwise(edges)])
    cuts = np.linspace(0, bands.shape[1], _PIECES + 1).round().astype(int)
    pieces = np.stack([bands[:, a : max(a + 1, b)].mean(1) for a, b in pairwise(cuts)], axis=1)
    level = 10 * np.log10(pieces + 1e-12)  # (bands, pieces)
    level = np.maximum(level, level.max() - _FLOOR_DB)
    level -= level.mean()
    return Fingerprint(
        len(samples) / _RATE_HZ, level.round().astype(np.int8).ravel(), _words(level)
    )


def _without_silent_ends(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    peak = float(np.abs(samples).max(initial=0.0))
    loud = np.flatnonzero(np.abs(samples) > peak * 10 ** (_SILENT_DB / 20))
    return samples[loud[0] : loud[-1] + 1] if peak > 0 else samples[:0]


def _words(level: npt.NDArray[np.floating]) -> tuple[int, ...]:
    """Bits (louder than the band's middle, louder than the next band), drawn into words."""
    over_time = level > np.median(level, axis=1, keepdims=True)
    over_bands = level[:-1] > level[1:]
    bits = np.concatenate([over_time.ravel(), over_bands.ravel()])
    words = np.packbits(bits[_PLACES], axis=1).view(">u4").ravel()
    return tuple(int(word) for word in words)


_BITS = (2 * _BANDS - 1) * _PIECES
_DRAW = np.random.default_rng(20260409)
_PLACES = np.stack([_DRAW.permutation(_BITS)[:_WORD_BITS] for _ in range(_WORDS)])
