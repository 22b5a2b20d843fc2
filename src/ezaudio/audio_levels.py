"""Levels: one channel of several, peaks, loudness, fades at the ends.

Loudness is that of ITU-R BS.1770-4 (integrated, gated), as pyloudnorm measures it; the true peak is
the largest magnitude after resampling to four times the rate, as its annex 2 asks.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Samples: TypeAlias = npt.NDArray[np.float32]
Sound = TypeVar("Sound", Samples, "Tensor")

TRUE_PEAK_DB = -1.0
"""Highest true peak of a sound that is brought to a loudness, in dB re full scale (EBU R 128)."""

CANCELLED_SHARE = 0.05
"""Share of the channels' mean power below which their mean counts as cancelled: two equally loud
channels with a correlation below -0.9."""

_LOUDNESS_BLOCK_S = 0.4
_TRUE_PEAK_FACTOR = 4


def to_mono(samples: Samples) -> Samples:
    """Average channels `(channels, S)` to `(S,)`; the loudest one alone where they cancel.

    The mean of a channel and its inverse is silence, and of a nearly inverse one hardly more.
    """
    mean: Samples = samples.mean(axis=0, dtype=np.float32)
    if len(samples) == 1:
        return mean
    powers = np.mean(np.square(samples, dtype=np.float64), axis=1)
    if float(np.mean(np.square(mean, dtype=np.float64))) >= CANCELLED_SHARE * powers.mean():
        return mean
    return np.ascontiguousarray(samples[int(powers.argmax())])


def peak_guard(sound: Sound, ceiling: float = 0.99) -> Sound:
    """Scale one sound down until its peak is at most `ceiling`; a quieter sound stays as it is.

    Args:
        sound: any shape; all of it is scaled by one factor.
        ceiling: largest magnitude allowed, up to rounding.
    """
    peak = float(abs(sound).max()) if 0 not in sound.shape else 0.0
    if peak <= ceiling:
        return sound
    return sound * (ceiling / peak)


def fade_ends(samples: Samples, length: int, *, start: bool = True, end: bool = True) -> Samples:
    """Let a sound begin and end in zero, so that it begins and ends without a click.

    Args:
        samples: `(S,)`.
        length: of a fade in samples, a half period of a cosine; at most half of the sound.
        start: fade in.
        end: fade out.

    Returns:
        A new sound; the first and the last sample are zero.
    """
    faded = samples.copy()
    length = min(length, len(samples) // 2)
    if length > 0:
        rising = (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)).astype(np.float32)
        if start:
            faded[:length] *= rising
        if end:
            faded[-length:] *= rising[::-1]
    return faded


def loudness_lufs(samples: Samples, sample_rate: int) -> float:
    """Integrated loudness, in LUFS; minus infinity for silence.

    A sound shorter than one block of the measure (0.4 s) is repeated until it fills one.

    Args:
        samples: `(S,)`, or `(channels, S)`.
        sample_rate: in Hz.
    """
    import pyloudnorm

    frames = np.atleast_2d(samples).T.astype(np.float64)  # (S, channels)
    needed = math.ceil(_LOUDNESS_BLOCK_S * sample_rate) + 1
    if len(frames) < needed:
        frames = np.tile(frames, (math.ceil(needed / max(1, len(frames))), 1))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # of silence, which has no loudness
        found = float(pyloudnorm.Meter(sample_rate).integrated_loudness(frames))
    return found if math.isfinite(found) else -math.inf


def true_peak(samples: Samples, sample_rate: int) -> float:
    """Largest magnitude between the samples too: at four times the rate, in units of full scale.

    Args:
        samples: `(S,)`, or `(channels, S)`.
        sample_rate: in Hz.
    """
    from scipy.signal import resample_poly

    finer = resample_poly(samples, _TRUE_PEAK_FACTOR, 1, axis=-1)
    return float(max(np.abs(finer).max(initial=0.0), np.abs(samples).max(initial=0.0)))


def bring_to_loudness(samples: Samples, sample_rate: int, lufs: float) -> Samples:
    """Scale a sound to a loudness, as far as its true peak stays at or below -1 dB.

    One factor for the whole sound, without a limiter: a sound of few, high peaks stays quieter than
    what was asked for. Silence stays silence.

    Args:
        samples: `(S,)`, or `(channels, S)`.
        sample_rate: in Hz.
        lufs: the loudness wanted.
    """
    now = loudness_lufs(samples, sample_rate)
    peak = true_peak(samples, sample_rate)
    if not math.isfinite(now) or peak == 0:
        return samples
    gain = min(10 ** ((lufs - now) / 20), 10 ** (TRUE_PEAK_DB / 20) / peak)
    return samples * np.float32(gain)
