"""The velocity error of a batch, row by row, as one function of the network.

All that a step of training does with the network happens in `VelocityError.forward`, which is what
data-parallel training wraps. It gives sums, not means: the mean over a batch is taken over all rows
of all processes, so that it does not matter which process has which row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ezaudio.diffusion import Schedule
from ezaudio.diffusion.prediction import coefficients
from ezaudio.dit import EzAudioDiT
from ezaudio.types import TextEmbedding


class Rows(NamedTuple):
    """Some rows of a batch, ready for the network.

    Attributes:
        x0: Clean latents (B, C, T).
        noise: (B, C, T).
        steps: Diffusion steps (B,).
        alpha, sigma: Shares of sound and noise at those steps, (B, 1, 1).
        regenerate: True where the sound is to be made, (B, 1, T).
        weight: Of the error of each frame, 0 where nothing is to be made, (B, 1, T).
        tokens, attend: Text, (B, L, E) and (B, L); None without text.
    """

    x0: Tensor
    noise: Tensor
    steps: Tensor
    alpha: Tensor
    sigma: Tensor
    regenerate: Tensor
    weight: Tensor
    tokens: Tensor | None
    attend: Tensor | None

    def to(self, device: torch.device) -> Rows:
        """The rows on a device."""
        if device == self.x0.device:
            return self
        moved = (None if x is None else x.to(device, non_blocking=True) for x in self)
        return Rows(*moved)  # type: ignore[arg-type]

    def split(self, rows: int | None) -> list[Rows]:
        """Parts of at most `rows` rows; one part without a limit."""
        if rows is None or rows >= len(self.x0):
            return [self]
        return [
            Rows(*(None if x is None else x[i : i + rows] for x in self))  # type: ignore[arg-type]
            for i in range(0, len(self.x0), rows)
        ]


def noised(
    x0: Tensor, noise: Tensor, steps: Tensor, schedule: Schedule, *, weight: Tensor, hide: Tensor
) -> Rows:
    """Rows without text.

    Args:
        x0: Clean latents (B, C, T).
        noise: (B, C, T).
        steps: (B,).
        schedule: Noise schedule.
        weight: Of frames, (B, 1, T).
        hide: True where the sound is to be made, bool (B, 1, T).
    """
    alpha, sigma = coefficients(steps, schedule, like=x0)
    return Rows(x0, noise, steps, alpha, sigma, hide, weight * hide, None, None)


class VelocityError(nn.Module):
    """Weighted squared velocity error of each row.

    Args:
        network: With or without text.
        channel_weights: Of the error of each channel, (C,), mean 1.
        min_snr: Gamma of min-SNR weighting (arXiv:2303.09556); None weighs all steps alike.

    Deviation: none by default. Min-SNR weighs a velocity error by min(SNR, gamma) / (SNR + 1),
        computed here as min(alpha^2, gamma sigma^2), which divides by nothing; it is 0 in pure
        noise, the step that zero terminal SNR was made for.
    """

    channel_weights: Tensor

    def __init__(
        self, network: EzAudioDiT, channel_weights: Tensor, *, min_snr: float | None = None
    ) -> None:
        super().__init__()
        self.network, self.min_snr = network, min_snr
        self.register_buffer("channel_weights", channel_weights[:, None], persistent=False)

    def forward(self, rows: Rows) -> Tensor:
        """Sum over frames of weight times error, averaged over channels: float32 (B,)."""
        text = None
        if rows.tokens is not None and rows.attend is not None:
            text = TextEmbedding(rows.tokens, rows.attend)
        condition = self.network.prepare(text)
        x_t = torch.addcmul(rows.alpha * rows.x0, rows.sigma, rows.noise)
        low = self.network.unknown.dtype  # below float32 where the weights are frozen
        target = torch.addcmul(rows.alpha * rows.noise, rows.sigma, rows.x0, value=-1)
        velocity: Tensor = self.network(
            x_t.to(low), rows.steps, condition, known=rows.x0, regenerate=rows.regenerate
        )
        error = (velocity.float() - target).square() * self.channel_weights
        sums: Tensor = (error.mean(dim=1, keepdim=True) * rows.weight).sum(dim=(1, 2))  # (B,)
        if self.min_snr is None:
            return sums
        limit = torch.minimum(rows.alpha.square(), self.min_snr * rows.sigma.square())
        weighed: Tensor = sums * limit[:, 0, 0]
        return weighed
