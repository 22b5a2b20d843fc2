"""What an autoencoder is trained with: distances of sounds, and what a discriminator teaches.

`RECONSTRUCTION_LOSSES` and `ADVERSARIES` name what a recipe may choose.
"""

from ezaudio.vae.losses.adversarial import ADVERSARIES, Adversary, feature_matching
from ezaudio.vae.losses.generator import (
    RECONSTRUCTION_LOSSES,
    GeneratorLoss,
    LossConfig,
    LossWeights,
    divergence,
)
from ezaudio.vae.losses.mel import MelConfig, MelLoss
from ezaudio.vae.losses.spectral import SpectralLoss, SpectralLossConfig
from ezaudio.vae.losses.stft import MultiStftConfig, MultiStftLoss

__all__ = [
    "ADVERSARIES",
    "RECONSTRUCTION_LOSSES",
    "Adversary",
    "GeneratorLoss",
    "LossConfig",
    "LossWeights",
    "MelConfig",
    "MelLoss",
    "MultiStftConfig",
    "MultiStftLoss",
    "SpectralLoss",
    "SpectralLossConfig",
    "divergence",
    "feature_matching",
]
