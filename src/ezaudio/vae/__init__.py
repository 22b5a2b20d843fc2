"""Autoencoders between waveforms (B, 1, S) and latents (B, C, T)."""

from ezaudio.vae.bottleneck import Posterior
from ezaudio.vae.config import VAE_FAMILIES, VAE_PRESETS, OobleckConfig, SpectralConfig, VaeConfig
from ezaudio.vae.model import Autoencoder

__all__ = [
    "VAE_FAMILIES",
    "VAE_PRESETS",
    "Autoencoder",
    "OobleckConfig",
    "Posterior",
    "SpectralConfig",
    "VaeConfig",
]
