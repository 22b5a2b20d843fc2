"""Filter banks that several rooms listen with.

The mel scale is Slaney's (Auditory Toolbox, 1998): linear below 1 kHz, 15 mel there, and
logarithmic above, 27 mel per factor of 6.4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney mel of frequencies in Hz."""
    hz = np.asarray(hz, dtype=np.float64)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Frequencies in Hz of Slaney mels; the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)


def mel_filterbank(
    sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float
) -> npt.NDArray[np.float32]:
    """Triangular mel filters over the bins of a real FFT, each with unit area over Hz.

    Args:
        sample_rate: in Hz.
        n_fft: length of the transform in samples.
        n_mels: number of bands, M.
        f_min: lower edge of the first band in Hz.
        f_max: upper edge of the last band in Hz, at most half the sample rate.

    Returns:
        float32 (M, n_fft // 2 + 1); multiply a power or magnitude spectrum (F, T) from the left.

    Raises:
        ValueError: the band edges are not 0 <= f_min < f_max <= sample_rate / 2.
    """
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(f"band edges {f_min} to {f_max} Hz do not fit below {sample_rate / 2} Hz")
    bins_hz = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    edges = mel_to_hz(np.linspace(hz_to_mel(f_min), hz_to_mel(f_max), n_mels + 2))
    lower, centre, upper = (edges[i : i + n_mels, None] for i in range(3))
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))  # (M, F)
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)
