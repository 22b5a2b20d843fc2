"""What can be wrong with a sound whatever it should be: silence, clipping, level, band, length,
a texture that is smooth, or repeats, where sound is rough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ezaudio.audio_checks import BLOCK_S, bandwidth_hz, block_db, clipped_share, rms_db
from ezaudio.audio_levels import loudness_lufs as integrated_loudness
from ezaudio.audio_texture import repetition, texture
from ezaudio.errors import InputError

Samples = npt.NDArray[np.float32]

SILENT_RMS_DB = -60.0
AUDIBLE_DB = -45.0
TAIL_DB = -50.0
SHORTEST_LOUDNESS_S = 0.4
REPEATING = 0.5


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
        texture: deviation of the log magnitude around its local mean; NaN for silence.
        repeats: the waveform's autocorrelation at 20 ms, the length of a latent frame, is above
            a half: a buzz at the frame rate.
    """

    duration_s: float
    rms_db: float
    silent: bool
    clipped: bool
    silent_tail_s: float
    bandwidth_hz: float
    loudness_lufs: float
    texture: float
    repeats: bool


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
    level_db = rms_db(samples)
    heard = np.flatnonzero(blocks > blocks.max() + TAIL_DB)
    tail = (len(blocks) - 1 - heard[-1]) * BLOCK_S if len(heard) else len(blocks) * BLOCK_S
    return SoundFacts(
        duration_s=len(samples) / sample_rate,
        rms_db=level_db,
        silent=bool(level_db < SILENT_RMS_DB or blocks.max() < AUDIBLE_DB),
        clipped=clipped_share(samples) > 0,
        silent_tail_s=float(tail),
        bandwidth_hz=bandwidth_hz(samples, sample_rate),
        loudness_lufs=loudness_lufs(samples, sample_rate),
        texture=texture(samples, sample_rate),
        repeats=repetition(samples, sample_rate) > REPEATING,
    )


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
