"""What can be wrong with a sound whatever it should be: silence, clipping, level, band, length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ezaudio.audio_levels import loudness_lufs as integrated_loudness
from ezaudio.errors import InputError

Samples = npt.NDArray[np.float32]

SILENT_RMS_DB = -60.0
AUDIBLE_DB = -45.0
TAIL_DB = -50.0
FULL_SCALE = 0.999
CLIPPED_RUN_SAMPLES = 3
BLOCK_S = 0.05
BAND_SHARE = 0.99
SHORTEST_LOUDNESS_S = 0.4
_SILENCE = 1e-12


@dataclass(frozen=True)
class SoundFacts:
    """What a waveform says about itself.

    Attributes:
        duration_s: length.
        rms_db: root mean square in dB re full scale; -120 for digital silence.
        silent: RMS under -60 dB, or no 50 ms over -45 dB.
        clipped: three samples in a row at 0.999 of full scale or beyond.
        silent_tail_s: time after the last 50 ms within 50 dB of the loudest 50 ms.
        bandwidth_hz: frequency below which 99 % of the energy lies; 0 for silence.
        loudness_lufs: integrated loudness (ITU-R BS.1770-4); NaN under 0.4 s and for silence.
    """

    duration_s: float
    rms_db: float
    silent: bool
    clipped: bool
    silent_tail_s: float
    bandwidth_hz: float
    loudness_lufs: float


def sound_facts(samples: Samples, sample_rate: int) -> SoundFacts:
    """Measure one sound.

    Args:
        samples: (S,) as it was written, not resampled.
        sample_rate: in Hz.

    Raises:
        InputError: no samples, several channels, or values that are not finite.
    """
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise InputError("samples", samples.shape, "finite (S,), S > 0")
    blocks = block_db(samples, sample_rate)
    rms_db = float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + _SILENCE))
    heard = np.flatnonzero(blocks > blocks.max() + TAIL_DB)
    tail = (len(blocks) - 1 - heard[-1]) * BLOCK_S if len(heard) else len(blocks) * BLOCK_S
    return SoundFacts(
        duration_s=len(samples) / sample_rate,
        rms_db=rms_db,
        silent=bool(rms_db < SILENT_RMS_DB or blocks.max() < AUDIBLE_DB),
        clipped=is_clipped(samples),
        silent_tail_s=float(tail),
        bandwidth_hz=bandwidth_hz(samples, sample_rate),
        loudness_lufs=loudness_lufs(samples, sample_rate),
    )


def block_db(samples: Samples, sample_rate: int) -> npt.NDArray[np.float64]:
    """RMS of each 50 ms in dB re full scale, the last one padded with zeros: (blocks,)."""
    size = max(1, round(BLOCK_S * sample_rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    levels: npt.NDArray[np.float64] = 10 * np.log10(
        (padded.reshape(-1, size) ** 2).mean(1) + _SILENCE
    )
    return levels


def is_clipped(samples: Samples) -> bool:
    """Whether three samples in a row are at full scale."""
    full = (np.abs(samples) >= FULL_SCALE).astype(np.int64)
    run = np.convolve(full, np.ones(min(CLIPPED_RUN_SAMPLES, len(full)), np.int64), "valid")
    return bool(run.max() >= CLIPPED_RUN_SAMPLES)


def bandwidth_hz(samples: Samples, sample_rate: int, *, share: float = BAND_SHARE) -> float:
    """Frequency below which `share` of the energy lies; 0 for silence."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    total = float(power.sum())
    if total <= _SILENCE:
        return 0.0
    index = int(np.searchsorted(np.cumsum(power), share * total))
    return float(np.fft.rfftfreq(len(samples), 1 / sample_rate)[min(index, len(power) - 1)])


def loudness_lufs(samples: Samples, sample_rate: int) -> float:
    """Integrated loudness; NaN for what has none: under 0.4 s, or silence."""
    if len(samples) < SHORTEST_LOUDNESS_S * sample_rate:
        return float("nan")
    found = integrated_loudness(samples, sample_rate)
    return found if np.isfinite(found) else float("nan")


def duration_errors(
    durations_s: npt.NDArray[np.floating], asked_s: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """How far each clip misses the length that was asked for, in seconds: (N,)."""
    if durations_s.shape != asked_s.shape:
        raise InputError("asked_s", asked_s.shape, f"{durations_s.shape}, one per clip")
    errors: npt.NDArray[np.float64] = np.abs(durations_s - asked_s).astype(np.float64)
    return errors
