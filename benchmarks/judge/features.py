"""Log-mel spectrograms, and what may happen to a sound on its way to the judge.

Recordings are turned into log-mels once; takes are chained, cut, coloured, blurred and mixed as
log-mels in decibels (M, T), which costs far less than doing so with waveforms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ezaudio.audio_features import mel_filterbank

SAMPLE_RATE = 24_000
HOP_SAMPLES = 300
N_FFT = 1024
N_MELS = 64
FRAME_RATE = SAMPLE_RATE / HOP_SAMPLES
FLOOR_DB = -100.0
RANGE_DB = 70.0


def log_mel(waves: Tensor) -> Tensor:
    """Mel power in dB, at least -100.

    Args:
        waves: (N, S) at 24 kHz.

    Returns:
        (N, M, T), 64 bands and 80 frames a second.
    """
    bank = torch.from_numpy(mel_filterbank(SAMPLE_RATE, N_FFT, N_MELS, 40.0, SAMPLE_RATE / 2))
    window = torch.hann_window(N_FFT)
    padded = F.pad(waves.float(), (N_FFT // 2, N_FFT // 2))
    spectrum = torch.stft(
        padded, N_FFT, HOP_SAMPLES, window=window, center=False, return_complex=True
    )
    power = spectrum.abs().square() / window.square().sum()
    return 10.0 * torch.log10(bank @ power + 10 ** (FLOOR_DB / 10))


def levelled(mel_db: Tensor) -> Tensor:
    """What the network sees: dB re the loudest band of the clip, 70 dB of range, near unit scale.

    Args:
        mel_db: (B, M, T).

    Returns:
        (B, M, T) between -1.75 and 1.75.
    """
    relative = mel_db - mel_db.amax(dim=(1, 2), keepdim=True)
    return (relative.clamp(min=-RANGE_DB) + RANGE_DB / 2) / (RANGE_DB / 3.5)


def uniform(low: float, high: float, generator: Generator) -> float:
    """One number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def whole(low: int, high: int, generator: Generator) -> int:
    """One whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def filled(takes: Sequence[Tensor], frames: int, generator: Generator) -> Tensor:
    """`frames` frames of sound: a part of the first take, or takes in turn with small gaps.

    Args:
        takes: (M, T) each, of one kind of sound; the first is what must be heard.
        frames: wanted length.
        generator: draws the cut and the gaps of 0.05 to 0.5 s.

    Returns:
        (M, frames).
    """
    first = takes[0]
    if (spare := first.shape[1] - frames) >= 0:
        start = whole(0, spare, generator)
        return first[:, start : start + frames]
    parts, length, turn = [first], first.shape[1], 1
    while length < frames:
        gap = whole(round(0.05 * FRAME_RATE), round(0.5 * FRAME_RATE), generator)
        take = takes[turn % len(takes)]
        parts += [first.new_full((N_MELS, gap), FLOOR_DB), take]
        length += gap + take.shape[1]
        turn += 1
    return torch.cat(parts, dim=1)[:, :frames]


def stretched(mel_db: Tensor, generator: Generator) -> Tensor:
    """Play 0.85 to 1.15 times as fast, and move the spectrum by up to three bands: (M, T')."""
    frames = round(mel_db.shape[1] * uniform(0.85, 1.15, generator))
    longer = F.interpolate(mel_db[None], size=max(1, frames), mode="linear")[0]
    shift = whole(-3, 3, generator)
    padded = F.pad(longer[None], (0, 0, 3, 3), mode="replicate")[0]
    return padded[3 + shift : 3 + shift + N_MELS]


def coloured(mel_db: Tensor, generator: Generator) -> Tensor:
    """Random tone control, band limits, background noise and smear of a batch: (B, M, T)."""
    batch, _, frames = mel_db.shape
    rand = torch.rand(batch, 4, 1, 1, generator=generator)
    knots = 4.0 * torch.randn(batch, 1, 7, generator=generator)
    curve = F.interpolate(knots, size=N_MELS, mode="linear", align_corners=True)[:, 0, :, None]
    band = torch.arange(N_MELS)[None, :, None]
    low_pass = (band - (30 + 55 * rand[:, 0])).clamp(min=0) * 5.0
    high_pass = ((22 * rand[:, 1] - 14) - band).clamp(min=0) * 4.0
    mel_db = mel_db + curve - low_pass - high_pass
    peak = mel_db.amax(dim=(1, 2), keepdim=True)
    tilt = (band / N_MELS - 0.5) * (40 * rand[:, 2] - 20)
    level = -75 + 45 * rand[:, 3].square()
    noise = peak + level + tilt + 2.5 * torch.randn(batch, N_MELS, frames, generator=generator)
    mel_db = torch.logaddexp(mel_db * _NEPER, noise * _NEPER) / _NEPER
    return smeared(mel_db, generator)


def smeared(mel_db: Tensor, generator: Generator) -> Tensor:
    """Spread the power of about half of a batch over bands and frames, as coarse coders do.

    Harmonics melt into their neighbours and attacks soften; one size, of up to eleven bands and
    five frames, is drawn for the batch (B, M, T).
    """
    bands = 2 * whole(0, 5, generator) + 1
    frames = 2 * whole(0, 2, generator) + 1
    spread = F.avg_pool2d(
        (mel_db * _NEPER).exp()[:, None],
        (bands, frames),
        1,
        (bands // 2, frames // 2),
        count_include_pad=False,
    )[:, 0]
    chosen = torch.rand(len(mel_db), 1, 1, generator=generator) < 0.5
    return torch.where(chosen, (spread + 1e-10).log() / _NEPER, mel_db)


_NEPER = 0.230258509299  # ln(10) / 10: dB of power to natural logarithm


def hidden_spans(shown: Tensor, generator: Generator) -> Tensor:
    """Hide up to eight bands and a quarter second of each sound of a batch: (B, M, T)."""
    batch, bands, frames = shown.shape
    middle = shown.mean(dim=(1, 2), keepdim=True)
    hide = torch.zeros(batch, bands, frames, dtype=torch.bool)
    for row in range(batch):
        width, length = whole(0, 8, generator), whole(0, min(20, frames // 4), generator)
        top, start = whole(0, bands - width, generator), whole(0, frames - length, generator)
        hide[row, top : top + width] = True
        hide[row, :, start : start + length] = True
    return torch.where(hide, middle, shown)
