"""Distance of log-mel spectrograms at several resolutions (DAC, Kumar 2023, arXiv:2306.06546).

Mel bands are as wide as the ear's, so this loss hears the envelope of a sound and little of its
pitch; it comes beside an STFT loss, not instead of one.
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.config import Config
from ezaudio.nn.precision import full_precision


class MelConfig(Config):
    """Settings of the mel loss.

    Attributes:
        n_ffts: Window sizes in samples; the hop is a quarter of each.
        bands: Mel bands at each size.
        floor: Magnitudes are raised to this share of a full-scale sine's; 1e-3 is -60 dB, below
            which recordings of little bandwidth hold nothing.
    """

    n_ffts: tuple[PositiveInt, ...] = Field((2048, 1024, 512, 256), min_length=1)
    bands: tuple[PositiveInt, ...] = (160, 80, 40, 20)
    floor: float = Field(1e-3, gt=0)

    @model_validator(mode="after")
    def _lists_agree(self) -> MelConfig:
        if len(self.n_ffts) != len(self.bands):
            raise ValueError("one number of bands per window size")
        return self

    def build(self, sample_rate: int) -> MelLoss:
        """Build the loss for sounds of a rate in Hz."""
        return MelLoss(self, sample_rate)


class MelLoss(nn.Module):
    """Mean absolute difference of natural-log mel magnitudes, mean over sizes.

    Args:
        config: settings.
        sample_rate: in Hz.
    """

    def __init__(self, config: MelConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        for size, bands in zip(config.n_ffts, config.bands, strict=True):
            bank = torch.from_numpy(mel_filterbank(sample_rate, size, bands, 0.0, sample_rate / 2))
            bank = bank / bank.sum(1, keepdim=True).clamp_min(1e-8)  # each band averages its bins
            self.register_buffer(f"bank_{size}", bank, persistent=False)  # (bands, F)
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Compare (B, 1, S) with (B, 1, S); a scalar."""
        with full_precision(target):
            waves = torch.cat([output, target])[:, 0].float()  # (2 B, S)
            logs = [self._log_mel(waves, size) for size in self.config.n_ffts]
            rows = target.shape[0]
            return torch.stack([(x[:rows] - x[rows:]).abs().mean() for x in logs]).mean()

    def _log_mel(self, waves: Tensor, size: int) -> Tensor:
        """Log magnitudes of bands, (2 B, bands, T')."""
        window: Tensor = getattr(self, f"window_{size}")
        bank: Tensor = getattr(self, f"bank_{size}")
        spectrum = torch.stft(
            waves, size, size // 4, window=window, pad_mode="constant", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = power.clamp_min(1e-12).sqrt()  # a root has no slope at 0
        return (bank @ magnitude).clamp_min(self.config.floor * size / 4).log()
