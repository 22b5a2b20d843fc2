"""The Gaussian bottleneck: what an encoder says about a latent.

The encoder gives a mean and a standard deviation per value; a latent is `mean + std * noise`. The
divergence from a unit Gaussian, KL(N(mean, std) || N(0, 1)) = (mean^2 + std^2 - 1) / 2 - log std,
keeps the latents bounded during training (Kingma & Welling, arXiv 1312.6114, appendix B).

Deviation: the authors' trainer leaves out the factor 1/2, so a weight w there is 2 w here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """Independent Gaussians over a latent.

    Attributes:
        mean: (B, C, T).
        std: (B, C, T), positive.
    """

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError when mean and std have different shapes."""
        if self.mean.shape != self.std.shape:
            raise ValueError(
                f"mean and std differ in shape: {tuple(self.mean.shape)}, {tuple(self.std.shape)}"
            )

    @property
    def mode(self) -> Tensor:
        """The most likely latent, (B, C, T)."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw a latent, (B, C, T).

        Args:
            generator: source of the noise. Its device decides where the noise is drawn, so a CPU
                generator gives the same latent on every device. None draws from the global state of
                the latent's device.
        """
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(
            self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Nats from a unit Gaussian: summed over channels, mean over batch and frames."""
        nats = (self.mean.square() + self.std.square() - 1) / 2 - self.std.log()
        return nats.sum(1).mean()
