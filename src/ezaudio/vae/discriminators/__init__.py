"""Networks that tell recordings from what an autoencoder makes of them.

Every one maps waveforms (B, 1, S) to logits, one map per scale, and to the inner maps that feature
matching compares. One that is new is a file here and a line in `DISCRIMINATORS`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from ezaudio.vae.discriminators.compressed_stft import (
    CompressedStftDiscriminator,
    CompressedStftDiscriminatorConfig,
)
from ezaudio.vae.discriminators.multi_stft import (
    MultiStftDiscriminator,
    MultiStftDiscriminatorConfig,
    Verdict,
)

DISCRIMINATORS: dict[
    str, type[MultiStftDiscriminatorConfig] | type[CompressedStftDiscriminatorConfig]
] = {
    "compressed-stft": CompressedStftDiscriminatorConfig,
    "multi-stft": MultiStftDiscriminatorConfig,
}
"""Every discriminator by its `kind`."""

DiscriminatorConfig: TypeAlias = Annotated[
    CompressedStftDiscriminatorConfig | MultiStftDiscriminatorConfig, Field(discriminator="kind")
]
"""Settings of any of them; `kind` decides."""

__all__ = [
    "DISCRIMINATORS",
    "CompressedStftDiscriminator",
    "CompressedStftDiscriminatorConfig",
    "DiscriminatorConfig",
    "MultiStftDiscriminator",
    "MultiStftDiscriminatorConfig",
    "Verdict",
]
