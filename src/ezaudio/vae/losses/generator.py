"""What an autoencoder is paid for, as one set of settings and one function."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.vae.bottleneck import Posterior
from ezaudio.vae.losses.mel import MelConfig
from ezaudio.vae.losses.spectral import SpectralLossConfig
from ezaudio.vae.losses.stft import MultiStftConfig

RECONSTRUCTION_LOSSES: dict[str, type[MultiStftConfig] | type[SpectralLossConfig]] = {
    "multi-stft": MultiStftConfig,
    "spectral": SpectralLossConfig,
}
"""Every distance of waveforms by its `kind`; each gives a dictionary with `total`."""

ReconstructionConfig: TypeAlias = Annotated[
    MultiStftConfig | SpectralLossConfig, Field(discriminator="kind")
]
"""Settings of any of them; `kind` decides."""


class LossWeights(Config):
    """Weights of the generator's losses; the defaults are the authors'.

    Attributes:
        reconstruction: Of the distance of waveforms.
        mel: Of the mel distance, where a recipe has one.
        adversarial: Of the discriminator's opinion.
        feature: Of feature matching.
        divergence: Of the latent's information (`divergence`).
    """

    reconstruction: float = Field(1.0, ge=0)
    mel: float = Field(1.0, ge=0)
    adversarial: float = Field(0.1, ge=0)
    feature: float = Field(5.0, ge=0)
    divergence: float = Field(1e-4, ge=0)


class LossConfig(Config):
    """Settings of a generator's losses.

    Attributes:
        reconstruction: Distance of waveforms; none where the mel distance stands alone.
        mel: Mel distance beside it.
        adversary: Name in `ADVERSARIES`.
        relative_features: Whether feature matching is relative to each map's magnitude.
        weights: Of all of them.
    """

    reconstruction: ReconstructionConfig | None = MultiStftConfig()
    mel: MelConfig | None = None
    adversary: Literal["hinge", "least-squares"] = "hinge"
    relative_features: bool = False
    weights: LossWeights = LossWeights()


def divergence(posterior: Posterior) -> Tensor:
    """mean^2 + std^2 - 1 - log std^2, summed over channels, mean over batch and frames.

    Twice the nats of `Posterior.kl`: in the authors' trainer the divergence lacks its factor 1/2,
    and their weight of 1e-4 belongs to this value.
    """
    return 2 * posterior.kl()


class GeneratorLoss(nn.Module):
    """Everything but the discriminator's opinion.

    Args:
        config: Settings.
        sample_rate: In Hz.
    """

    def __init__(self, config: LossConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        own = config.reconstruction
        self.reconstruction = own.build(sample_rate) if own is not None else None
        self.mel = config.mel.build(sample_rate) if config.mel is not None else None

    def forward(
        self,
        output: Tensor,
        wave: Tensor,
        posterior: Posterior,
        *,
        divergence_share: float = 1.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum, and its parts without weights.

        Args:
            output: Waveform, (B, 1, S).
            wave: Recording, (B, 1, S).
            posterior: Of the latent that the output was made from.
            divergence_share: Share of the divergence's weight.
        """
        weights = self.config.weights
        terms: dict[str, Tensor] = {}
        total = output.new_zeros(())
        if self.reconstruction is not None:
            terms = self.reconstruction(output.float(), wave)
            total = weights.reconstruction * terms.pop("total")
        if self.mel is not None:
            terms["mel"] = self.mel(output.float(), wave)
            total = total + weights.mel * terms["mel"]
        terms["divergence"] = divergence(posterior)
        return total + weights.divergence * divergence_share * terms["divergence"], terms
