"""Sizes that have a name."""

from __future__ import annotations

from ezaudio.dit.adaln import SolaAdaLN
from ezaudio.dit.config import DiTConfig

DIT_PRESETS: dict[str, DiTConfig] = {
    "l": DiTConfig(
        latent_channels=128,
        width=1024,
        depth=24,
        heads=16,
        text_width=1024,
        adaln=SolaAdaLN(rank=32),
    ),
    "xl": DiTConfig(
        latent_channels=128,
        width=1152,
        depth=28,
        heads=16,
        text_width=2048,
        adaln=SolaAdaLN(rank=36),
    ),
    "starter": DiTConfig(
        latent_channels=32,
        width=128,
        depth=6,
        heads=4,
        mlp_ratio=8 / 3,
        patch_size=2,
        text_width=384,
        adaln=SolaAdaLN(rank=8),
    ),
    "tiny": DiTConfig(
        latent_channels=4,
        width=32,
        depth=2,
        heads=2,
        mlp_ratio=2.0,
        text_width=16,
        adaln=SolaAdaLN(rank=2),
    ),
}
"""`l` and `xl` are the paper's, `starter` is bundled, `tiny` is for tests and dry runs."""
