"""Near copies: is a second of a sound a second of a training recording?

A print is what stays of one second of a log-mel spectrogram when level and tone are taken away:
each band loses its mean over the second, and the whole has length 1. Two prints are compared by
their correlation. How like unheard recordings may be to the training set by chance sets the
threshold: the 99th percentile of real validation clips against the training set. Spectrograms find
copies better than embeddings do, which take two dogs for the same (arXiv 2304.01565).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

Float32 = npt.NDArray[np.float32]

BANDS = 32
FRAMES_PER_S = 20
QUANTILE = 0.99
_RANGE_DB = 70.0


def copy_prints(mel_db: npt.NDArray[np.floating], *, hop_frames: int) -> Float32:
    """Prints of every second of a sound.

    Args:
        mel_db: log-mel (M, T) in dB at `FRAMES_PER_S` frames a second, M a multiple of `BANDS`.
        hop_frames: frames between the seconds.

    Returns:
        (windows, BANDS * FRAMES_PER_S); a shorter sound is padded with its lowest level to one
        second. A second without any change gives a print of zeros, which is like nothing.
    """
    if mel_db.ndim != 2 or mel_db.shape[0] % BANDS or not mel_db.shape[1]:
        raise InputError("mel_db", mel_db.shape, f"(M, T) with M a multiple of {BANDS}")
    shown = np.maximum(mel_db - mel_db.max(), -_RANGE_DB)
    shown = shown.reshape(BANDS, -1, mel_db.shape[1]).mean(1)
    missing = max(0, FRAMES_PER_S - shown.shape[1])
    shown = np.pad(shown, ((0, 0), (0, missing)), constant_values=shown.min())
    windows = np.lib.stride_tricks.sliding_window_view(shown, FRAMES_PER_S, axis=1)
    windows = windows[:, ::hop_frames].transpose(1, 0, 2)  # (windows, bands, frames)
    prints = (windows - windows.mean(2, keepdims=True)).reshape(len(windows), -1)
    length = np.linalg.norm(prints, axis=1, keepdims=True)
    unit = np.divide(prints, length, out=np.zeros_like(prints), where=length > 1e-6)
    return np.asarray(unit, dtype=np.float32)


def likeness(prints: Sequence[Float32], bank: Float32) -> npt.NDArray[np.float64]:
    """Greatest correlation of any second of each sound with any print of the bank: (N,)."""
    if not len(bank):
        raise InputError("bank", bank.shape, "prints of at least one training recording")
    return np.array([float((own @ bank.T).max()) for own in prints])


def near_copies(
    generated: npt.NDArray[np.floating],
    real: npt.NDArray[np.floating],
    *,
    quantile: float = QUANTILE,
) -> npt.NDArray[np.bool_]:
    """Which clips are more like the training set than unheard recordings are: (N,).

    Args:
        generated: likeness of generated clips, (N,).
        real: likeness of recordings that are not in the training set, (M,).
        quantile: of `real` that is the threshold.
    """
    if not len(real):
        raise InputError("real", real.shape, "the likeness of at least one unheard recording")
    copied: npt.NDArray[np.bool_] = generated > np.quantile(real, quantile)
    return copied
