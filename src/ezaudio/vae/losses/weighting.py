"""A-weighting as a short symmetric filter: frequencies count as much as the ear hears them.

The curve is that of IEC 61672-1: four zeros at 0 Hz and poles at 20.6 (twice), 107.7, 737.9 and
12194 Hz (twice), 0 dB at 1 kHz. The bilinear transform brings it to the sample rate, and a
least-squares fit of its magnitude to a filter with linear phase. As a filter before a spectral
loss: Wright & Välimäki 2019, arXiv:1911.08922.

The transform bends frequencies near half the rate, and 101 taps cannot fall as steeply as the
curve below some 300 Hz: the filter is a weight of the loss, not a meter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 101

_POLES_HZ = (20.598997, 20.598997, 107.65265, 737.86223, 12194.217, 12194.217)
_GAIN_AT_1_KHZ_DB = 1.9997
_FIT_POINTS = 512


def a_weighting_taps(sample_rate: int, taps: int = TAPS) -> npt.NDArray[np.float64]:
    """Symmetric filter, (taps,), whose magnitude follows the A-weighting curve.

    Args:
        sample_rate: in Hz.
        taps: odd length of the filter.
    """
    from scipy import signal

    poles = -2 * np.pi * np.asarray(_POLES_HZ)
    gain = (2 * np.pi * _POLES_HZ[-1]) ** 2 * 10 ** (_GAIN_AT_1_KHZ_DB / 20)
    digital = signal.zpk2tf(*signal.bilinear_zpk(np.zeros(4), poles, gain, sample_rate))
    hz, response = signal.freqz(*digital, worN=_FIT_POINTS, fs=sample_rate)
    fitted: npt.NDArray[np.float64] = signal.firls(taps, hz, np.abs(response), fs=sample_rate)
    return fitted


class AWeighting(nn.Module):
    """Filter sounds by the A-weighting curve: (B, S) -> (B, S), zeros beyond the ends.

    Args:
        sample_rate: in Hz.
    """

    taps: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        taps = torch.from_numpy(a_weighting_taps(sample_rate)).float()
        self.register_buffer("taps", taps[None, None], persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, S)."""
        padding = self.taps.shape[-1] // 2
        return F.conv1d(wave[:, None], self.taps, padding=padding)[:, 0]
