"""Autoencoders between waveforms (B, 1, S) and latents (B, C, T)."""

from ezaudio.vae.bottleneck import Posterior
from ezaudio.vae.config import VAE_FAMILIES, VAE_PRESETS, VaeConfig
from ezaudio.vae.model import Autoencoder
from ezaudio.vae.oobleck import OobleckConfig
from ezaudio.vae.spectral import SpectralConfig

__all__ = [
    "VAE_FAMILIES",
    "VAE_PRESETS",
    "Autoencoder",
    "OobleckConfig",
    "Posterior",
    "SpectralConfig",
    "VaeConfig",
]
