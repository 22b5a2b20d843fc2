"""What can be wrong with clips apart from their kind: silence, clipping, sameness, copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from judge.features import SAMPLE_RATE, levelled, log_mel

SILENT_RMS_DB = -60.0
AUDIBLE_DB = -45.0
TAIL_DB = -50.0
FULL_SCALE = 0.999
RUN_SAMPLES = 3
BLOCK_SAMPLES = 1200
COPY_BANDS = 32
COPY_FRAMES = 20
COPY_POOL = 4
COPY_HOP = 5


def block_db(waves: Tensor) -> Tensor:
    """RMS of each 50 ms in dB re full scale: (N, S) -> (N, blocks)."""
    padded = F.pad(waves.float(), (0, -waves.shape[1] % BLOCK_SAMPLES))
    power = padded.unflatten(1, (-1, BLOCK_SAMPLES)).square().mean(dim=2)
    return 10 * torch.log10(power + 1e-12)


def silent(waves: Tensor) -> Tensor:
    """Which clips cannot be heard: RMS under -60 dBFS, or no 50 ms over -45 dBFS. (N,)."""
    rms_db = 10 * torch.log10(waves.float().square().mean(dim=1) + 1e-12)
    return (rms_db < SILENT_RMS_DB) | (block_db(waves).amax(dim=1) < AUDIBLE_DB)


def clipped(waves: Tensor) -> Tensor:
    """Which clips have three samples in a row at 0.999 or beyond: (N,)."""
    full = (waves.abs() >= FULL_SCALE).float()
    if full.shape[1] < RUN_SAMPLES:
        return full.amax(dim=1) > 0
    return F.avg_pool1d(full[:, None], RUN_SAMPLES, 1)[:, 0].amax(dim=1) > 1 - 1e-3


def silent_tail_s(waves: Tensor) -> Tensor:
    """Seconds after the last 50 ms within 50 dB of the loudest 50 ms: (N,)."""
    levels = block_db(waves)
    heard = levels > levels.amax(dim=1, keepdim=True) + TAIL_DB
    last = heard.float().cumsum(dim=1).argmax(dim=1) + 1
    return (levels.shape[1] - last) * (BLOCK_SAMPLES / SAMPLE_RATE)


def mel_distance(mels: Tensor) -> float:
    """Mean absolute difference in dB of levelled log-mels over all pairs: (N, M, T), N > 1.

    Frames are compared in place, so a take and its delayed copy differ too.
    """
    shown = levelled(mels) * 20.0
    pairs = torch.combinations(torch.arange(len(shown)))
    gaps = [(shown[a] - shown[b]).abs().mean() for a, b in pairs.tolist()]
    return float(torch.stack(gaps).mean())


def copy_prints(mel_db: Tensor, hop: int) -> Tensor:
    """What stays of each second of a sound when its level and tone are taken away.

    Args:
        mel_db: one log-mel (M, T).
        hop: frames of 50 ms between the seconds.

    Returns:
        (windows, J) of unit length, J = 32 bands times 20 frames; each band has zero mean.
    """
    shown = F.avg_pool2d(levelled(mel_db[None]), (mel_db.shape[0] // COPY_BANDS, COPY_POOL))[0]
    if (short := COPY_FRAMES - shown.shape[1]) > 0:
        shown = F.pad(shown, (0, short), value=float(shown.min()))
    windows = shown.unfold(1, COPY_FRAMES, hop)  # (bands, windows, frames)
    prints = windows - windows.mean(dim=2, keepdim=True)
    return F.normalize(rearrange(prints, "m n t -> n (m t)"), dim=1)


class CopyFinder:
    """Finds how like a second of a training clip some second of a sound is.

    Args:
        mels: log-mels (M, T) of training clips.
    """

    def __init__(self, mels: Sequence[Tensor]) -> None:
        self.prints = torch.cat([copy_prints(mel, COPY_HOP) for mel in mels])

    def likeness(self, mels: Sequence[Tensor]) -> Tensor:
        """Greatest correlation of any second of each sound with any training second: (N,)."""
        return torch.stack([(copy_prints(mel, 1) @ self.prints.T).amax() for mel in mels])


def mels_of(waves: Tensor) -> list[Tensor]:
    """Log-mels (M, T) of clips (N, S)."""
    return list(log_mel(waves))
