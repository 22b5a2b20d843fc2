"""Losses that an autoencoder is trained with.

`SpectralLoss` sums, over several window sizes, the spectral convergence ||X|-|Y||_F / ||X||_F and
the mean absolute difference of log magnitudes (Parallel WaveGAN, arXiv 1910.11480), and adds the
same log distance on mel bands. Magnitudes are floored, so that the inaudible part of a band-limited
recording is not what is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.config import Config


class SpectralLossConfig(Config):
    """Settings of `SpectralLoss`.

    Attributes:
        n_ffts: Window sizes in samples.
        mels, mel_n_fft: Mel bands, and the window that they are taken from.
        mel_weight: Weight of the mel term.
        floor: Magnitudes are raised by this share of a full-scale sine's.
    """

    kind: Literal["spectral"] = "spectral"
    n_ffts: tuple[PositiveInt, ...] = Field((2048, 1024, 512, 256, 128), min_length=1)
    mels: PositiveInt = 80
    mel_n_fft: PositiveInt = 1024
    mel_weight: float = Field(1.0, ge=0)
    floor: float = Field(1e-3, gt=0)

    def build(self, sample_rate: int) -> SpectralLoss:
        """Build the loss for sounds of a rate in Hz."""
        settings = self.model_dump(exclude={"kind"})
        return SpectralLoss(sample_rate=sample_rate, **settings)


def magnitude_spectrogram(wave: Tensor, window: Tensor, hop: int) -> Tensor:
    """Magnitude STFT, centred with zero padding.

    Args:
        wave: (B, S).
        window: (n_fft,).
        hop: Samples between frames.

    Returns:
        (B, F, T'), not scaled by the window.
    """
    spectrum = torch.stft(
        wave, window.shape[0], hop, window=window, pad_mode="constant", return_complex=True
    )
    return (spectrum.real.square() + spectrum.imag.square()).clamp_min(1e-10).sqrt()


class SpectralLoss(nn.Module):
    """Multi-resolution STFT distance and mel distance between waveforms.

    Args:
        n_ffts: Window sizes in samples; the hop is a quarter of each.
        sample_rate: Hz, of the mel bands.
        mels: Mel bands at window `mel_n_fft`.
        mel_weight: Weight of the mel term.
        floor: Magnitudes below floor * n_fft / 4 (a sine's peak is n_fft / 4 with a Hann window)
            are raised to it.
    """

    mel: Tensor

    def __init__(
        self,
        n_ffts: Sequence[int] = (2048, 1024, 512, 256, 128),
        *,
        sample_rate: int = 24_000,
        mels: int = 80,
        mel_n_fft: int = 1024,
        mel_weight: float = 1.0,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        self.n_ffts, self.mel_weight, self.floor, self.mel_n_fft = (
            tuple(n_ffts),
            mel_weight,
            floor,
            mel_n_fft,
        )
        for size in {*n_ffts, mel_n_fft}:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
        bank = torch.as_tensor(mel_filterbank(sample_rate, mel_n_fft, mels, 0.0, sample_rate / 2))
        bank = bank.float() / bank.float().sum(1, keepdim=True).clamp_min(1e-8)
        self.register_buffer("mel", bank, persistent=False)  # (M, F), each band averages its bins

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Distances of (B, 1, S) waveforms: scalars `convergence`, `log_magnitude`, `log_mel` and
        their sum `total`.
        """
        y, x = output[:, 0], target[:, 0]
        zero = x.new_zeros(())
        convergence, log_magnitude, log_mel = zero, zero, zero
        for size in {*self.n_ffts, self.mel_n_fft}:
            window = getattr(self, f"window_{size}")
            a, b = (magnitude_spectrogram(wave, window, size // 4) for wave in (y, x))
            floor = self.floor * size / 4
            if size in self.n_ffts:
                distance = (a - b).square().sum((1, 2)).sqrt()
                energy = b.square().sum((1, 2)).sqrt() + floor * b[0].numel() ** 0.5
                convergence = convergence + (distance / energy).mean() / len(self.n_ffts)
                difference = (a + floor).log() - (b + floor).log()
                log_magnitude = log_magnitude + difference.abs().mean() / len(self.n_ffts)
            if size == self.mel_n_fft:
                bands = [(self.mel @ s + floor).log() for s in (a, b)]
                log_mel = (bands[0] - bands[1]).abs().mean()
        total = convergence + log_magnitude + self.mel_weight * log_mel
        return {
            "total": total,
            "convergence": convergence,
            "log_magnitude": log_magnitude,
            "log_mel": log_mel,
        }
