"""Which autoencoders exist: families, presets, and the settings type that holds any of them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from ezaudio.vae.oobleck import OobleckConfig
from ezaudio.vae.spectral import SpectralConfig

VAE_FAMILIES: dict[str, type[OobleckConfig] | type[SpectralConfig]] = {
    "oobleck": OobleckConfig,
    "spectral": SpectralConfig,
}
"""Every family by its `kind`."""

VaeConfig: TypeAlias = Annotated[OobleckConfig | SpectralConfig, Field(discriminator="kind")]
"""Settings of any family; `kind` decides."""

VAE_PRESETS: dict[str, OobleckConfig | SpectralConfig] = {
    "official": OobleckConfig(),
    "oobleck-tiny": OobleckConfig(latent_channels=8, base_width=4),
}
"""Named settings: the authors' released autoencoder, and one small enough for tests."""
