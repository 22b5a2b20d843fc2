"""What a waveform says about itself: level, silence, clipping, bandwidth.

Clips that are learnt from and sounds that were generated are measured here alike; each room has
limits of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

FULL_SCALE = 0.999
CLIPPED_RUN_SAMPLES = 3
BLOCK_S = 0.05
BAND_SHARE = 0.99
_SILENCE = 1e-12
_FRAME, _HOP = 2048, 1024
_FRAMES_AT_ONCE = 32
_BLACKMAN_HARRIS = (0.35875, -0.48829, 0.14128, -0.01168)
_HALF_LOBE_BINS = 4


def power_db(power: float) -> float:
    """Mean power in dB re full scale, at least -120."""
    return float(10 * np.log10(power + _SILENCE))


def rms_db(samples: Samples) -> float:
    """Root mean square of (S,) in dB re full scale."""
    return power_db(float(np.mean(samples.astype(np.float64) ** 2)))


def block_db(samples: Samples, sample_rate: int) -> npt.NDArray[np.float64]:
    """RMS of each 50 ms in dB re full scale, the last one padded with zeros: (blocks,)."""
    size = max(1, round(BLOCK_S * sample_rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    levels: npt.NDArray[np.float64] = 10 * np.log10(
        (padded.reshape(-1, size) ** 2).mean(1) + _SILENCE
    )
    return levels


def loudest_db(samples: Samples, sample_rate: int) -> float:
    """RMS of the loudest 50 ms in dB re full scale; what is silent all over is below a limit."""
    return float(block_db(samples, sample_rate).max(initial=power_db(0.0)))


def clipped_share(samples: Samples) -> float:
    """Share of samples in runs of three or more at 0.999 of full scale or beyond."""
    full = np.abs(samples) >= FULL_SCALE
    if full.sum() < CLIPPED_RUN_SAMPLES:
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN_SAMPLES].sum() / len(samples))


def bandwidth_hz(samples: Samples, sample_rate: int, *, share: float = BAND_SHARE) -> float:
    """Frequency below which `share` of the energy lies; 0 for silence."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    total = float(power.sum())
    if total <= _SILENCE:
        return 0.0
    index = int(np.searchsorted(np.cumsum(power), share * total))
    return float(np.fft.rfftfreq(len(samples), 1 / sample_rate)[min(index, len(power) - 1)])


def highest_hz(samples: Samples, sample_rate: int, *, below_db: float) -> float:
    """Highest frequency at which the loudest spectrum is within `below_db` of its peak; 0 for
    silence.

    In each band the loudest stretch of 2048 samples decides, so a single crackle counts. For a
    tone, and for noise that ends somewhere, this is what `bandwidth_hz` gives: the window
    (Blackman-Harris) reaches four bins beyond what it looks at, which are taken away again.

    Args:
        samples: (S,).
        sample_rate: in Hz.
        below_db: up to 90; the sidelobes of the window are 92 dB down.
    """
    phase = 2 * np.pi * np.arange(_FRAME) / _FRAME
    window = sum(a * np.cos(n * phase) for n, a in enumerate(_BLACKMAN_HARRIS))
    window = np.asarray(window, np.float32)
    # No padding beyond that: where a clip is cut, a step would count as a crackle.
    padded = np.pad(samples, (0, max(0, _FRAME - len(samples))))
    every = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)
    starts = np.append(np.arange(0, len(every) - 1, _HOP), len(every) - 1)  # and at the end
    loudest = np.zeros(_FRAME // 2 + 1)
    for begin in range(0, len(starts), _FRAMES_AT_ONCE):
        spectra = np.fft.rfft(every[starts[begin : begin + _FRAMES_AT_ONCE]] * window)
        loudest = np.maximum(loudest, (spectra.real**2 + spectra.imag**2).max(0))
    if loudest.max() <= 0:
        return 0.0
    within = np.flatnonzero(loudest >= loudest.max() * 10 ** (-below_db / 10))
    reached = within[-1]
    if reached < _FRAME // 2:  # else the band is full, and there is nothing beyond it
        reached = max(0, reached - _HALF_LOBE_BINS)
    return float(reached * sample_rate / _FRAME)
