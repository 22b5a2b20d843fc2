"""What an autoencoder is trained with: distances of sounds, and what a discriminator teaches.

`RECONSTRUCTION_LOSSES` and `ADVERSARIES` name what a recipe may choose.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from ezaudio.vae.losses.adversarial import ADVERSARIES, Adversary, feature_matching
from ezaudio.vae.losses.divergence import divergence
from ezaudio.vae.losses.mel import MelConfig, MelLoss
from ezaudio.vae.losses.spectral import SpectralLoss, SpectralLossConfig
from ezaudio.vae.losses.stft import MultiStftConfig, MultiStftLoss

RECONSTRUCTION_LOSSES: dict[str, type[MultiStftConfig] | type[SpectralLossConfig]] = {
    "multi-stft": MultiStftConfig,
    "spectral": SpectralLossConfig,
}
"""Every distance of waveforms by its `kind`; each gives a dictionary with `total`."""

ReconstructionConfig: TypeAlias = Annotated[
    MultiStftConfig | SpectralLossConfig, Field(discriminator="kind")
]
"""Settings of any of them; `kind` decides."""

__all__ = [
    "ADVERSARIES",
    "RECONSTRUCTION_LOSSES",
    "Adversary",
    "MelConfig",
    "MelLoss",
    "MultiStftConfig",
    "MultiStftLoss",
    "ReconstructionConfig",
    "SpectralLoss",
    "SpectralLossConfig",
    "divergence",
    "feature_matching",
]
