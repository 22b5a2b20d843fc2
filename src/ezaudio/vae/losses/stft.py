"""Multi-resolution STFT loss, as the authors weigh it.

For every window size, with magnitudes X of the recording and Y of the output,

    convergence  ||X - Y||_F / ||X||_F        (Arik et al. 2018, arXiv:1808.06719)
    logarithms   mean |log X - log Y|         (Yamamoto et al. 2020, arXiv:1910.11480, eq. 4 to 6)

are added, and the sizes are averaged. Before, both sounds may pass an A-weighting filter.

Deviation: the authors' trainer hands recording and output over in the other order, so that its
convergence is divided by the magnitude of the output, which a louder output makes smaller. Here it
is divided by the recording's, as in the papers.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.nn.precision import full_precision
from ezaudio.vae.losses.weighting import AWeighting

AUTHORS_N_FFTS = (1280, 640, 320, 160, 80, 40, 20)
"""Window sizes of the released autoencoder, in samples at 24 kHz: 53 ms to 0.8 ms."""


class MultiStftConfig(Config):
    """Settings of the multi-resolution STFT loss; the defaults are the authors'.

    Attributes:
        n_ffts: Window sizes in samples; the hop is a quarter of each.
        a_weighting: Filter both sounds by the A-weighting curve first.
        power_floor: Least power of a bin. 1e-8 is far below what a 16-bit recording holds; a
            higher one keeps the loss from the empty bands of recordings of little bandwidth.
        per_row: Take the convergence of each sound apart and average, so that a loud sound does
            not hide a quiet one and a batch may be split over processes. The authors take it over
            the batch.
    """

    kind: Literal["multi-stft"] = "multi-stft"
    n_ffts: tuple[PositiveInt, ...] = Field(AUTHORS_N_FFTS, min_length=1)
    a_weighting: bool = True
    power_floor: float = Field(1e-8, gt=0)
    per_row: bool = False

    def build(self, sample_rate: int) -> MultiStftLoss:
        """Build the loss for sounds of a rate in Hz."""
        return MultiStftLoss(self, sample_rate)


class MultiStftLoss(nn.Module):
    """Distance of waveforms (B, 1, S) by their magnitudes at several resolutions.

    Args:
        config: settings.
        sample_rate: in Hz.
    """

    def __init__(self, config: MultiStftConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.weighting = AWeighting(sample_rate) if config.a_weighting else nn.Identity()
        for size in config.n_ffts:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare (B, 1, S) with (B, 1, S): `convergence`, `log_magnitude` and their sum `total`.

        The sounds are longer than half of the largest window.
        """
        with full_precision(target):
            rows = target.shape[0]
            waves = self.weighting(torch.cat([output, target])[:, 0].float())  # (2 B, S)
            parts = [self._distances(waves, rows, size) for size in self.config.n_ffts]
            convergence, log_magnitude = torch.stack([torch.stack(p) for p in parts]).mean(0)
        return {
            "total": convergence + log_magnitude,
            "convergence": convergence,
            "log_magnitude": log_magnitude,
        }

    def _distances(self, waves: Tensor, rows: int, size: int) -> tuple[Tensor, Tensor]:
        """Convergence and distance of logarithms at one size; outputs (B, S), then targets."""
        window: Tensor = getattr(self, f"window_{size}")
        spectrum = torch.stft(waves, size, max(1, size // 4), window=window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        power = power.clamp_min(self.config.power_floor)  # (2 B, F, T')
        y, x = power.sqrt().split(rows)
        axes = (1, 2) if self.config.per_row else (0, 1, 2)
        error = torch.linalg.vector_norm(x - y, dim=axes)
        convergence = (error / torch.linalg.vector_norm(x, dim=axes)).mean()
        logs = power.log() / 2
        return convergence, (logs[:rows] - logs[rows:]).abs().mean()
