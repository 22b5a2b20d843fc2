"""How a protocol loads a sound: channel, mean, resampler, shortest length.

These are part of the score: the windowed sinc below is torchaudio's default resampler, 1.8 dB down
at 7 kHz when it goes to 16 kHz, with aliases 7 dB down, and a store hears that.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ezaudio.audio import read_audio, resample
from ezaudio.config import Config
from ezaudio.errors import InputError
from ezaudio.evaluation.sources import Source, open_source

Samples = npt.NDArray[np.float32]

SINC_WIDTH = 6
SINC_ROLLOFF = 0.99
_MOST_KERNEL_VALUES = 20_000_000


class Loading(Config):
    """How a file becomes what an extractor hears.

    Attributes:
        channel: `first`, or `mean` of all.
        subtract_mean: take the mean of the samples away, before resampling.
        resampler: `windowed-sinc` (Hann, width 6, roll-off 0.99), or `soxr` (very high quality).
        shortest_samples: shorter sounds are padded with zeros at their end, after resampling.
    """

    channel: Literal["first", "mean"] = "mean"
    subtract_mean: bool = False
    resampler: Literal["windowed-sinc", "soxr"] = "soxr"
    shortest_samples: int = 1


def load_sound(source: Source, sample_rate: int, loading: Loading) -> Samples:
    """Read a sound as a protocol hears it: float32 (S,) at `sample_rate`.

    Raises:
        AudioFileError: the file cannot be read.
    """
    if not isinstance(source, Path):
        source = open_source(source)
        channels, rate = np.atleast_2d(source.samples), source.sample_rate
    else:
        clip = read_audio(source, mono=False)
        channels, rate = clip.samples, clip.sample_rate
    wave = channels[0] if loading.channel == "first" else channels.mean(0, dtype=np.float32)
    if loading.subtract_mean:
        wave = wave - wave.mean()
    if loading.resampler == "soxr":
        wave = resample(np.ascontiguousarray(wave, dtype=np.float32), rate, sample_rate)
    else:
        wave = windowed_sinc(wave, rate, sample_rate)
    missing = max(0, loading.shortest_samples - len(wave))
    return np.pad(wave, (0, missing)).astype(np.float32)


def windowed_sinc(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Resample by interpolation with a sinc under a Hann window of six zero crossings a side.

    Args:
        samples: (S,).
        from_hz: rate of `samples`.
        to_hz: rate wanted.

    Returns:
        ceil(S * to_hz / from_hz) samples.

    Raises:
        InputError: the two rates have too small a common divisor to be resampled this way.
    """
    if from_hz == to_hz:
        return samples
    divisor = math.gcd(from_hz, to_hz)
    source, target = from_hz // divisor, to_hz // divisor
    kernel, width = _sinc_kernel(source, target)
    padded = F.pad(torch.from_numpy(np.ascontiguousarray(samples)), (width, width + source))
    phases = F.conv1d(padded[None, None], kernel, stride=source)[0]  # (target, S')
    count = math.ceil(target * len(samples) / source)
    resampled: Samples = phases.T.reshape(-1)[:count].numpy()
    return resampled


@lru_cache(maxsize=8)
def _sinc_kernel(source: int, target: int) -> tuple[Tensor, int]:
    """One filter per output phase, (target, 1, taps), and the samples that it reaches to a side."""
    base = min(source, target) * SINC_ROLLOFF
    width = math.ceil(SINC_WIDTH * source / base)
    if target * (2 * width + source) > _MOST_KERNEL_VALUES:
        allowed = "rates with a larger common divisor; resample the files first"
        raise InputError("sample_rate", f"{source}:{target}", allowed)
    times = torch.arange(-width, width + source, dtype=torch.float64)[None, None] / source
    phases = torch.arange(0, -target, -1, dtype=torch.float64)[:, None, None] / target
    t = ((phases + times) * base).clamp(-SINC_WIDTH, SINC_WIDTH)
    window = torch.cos(t * math.pi / SINC_WIDTH / 2).square()
    kernel = torch.sinc(t) * window * (base / source)
    return kernel.float(), width
