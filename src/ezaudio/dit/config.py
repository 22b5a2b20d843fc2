"""Settings of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from ezaudio.config import Config
from ezaudio.dit.adaln import AdaLNConfig, SolaAdaLN
from ezaudio.nn.feedforward import hidden_width
from ezaudio.nn.norms import NormKind, QKNormKind

if TYPE_CHECKING:
    from ezaudio.dit.model import EzAudioDiT


class DiTConfig(Config):
    """What an EzAudio-DiT is made of.

    Attributes:
        latent_channels: channels `C` of the autoencoder's latent.
        width: model width `D`; a multiple of twice the heads.
        depth: blocks in the two halves together; even. Between the halves there is one more block.
        heads: attention heads `H`.
        mlp_ratio: hidden width of the feed-forward layers over the width.
        patch_size: latent frames per position.
        text_width: width `E` of the text encoder; None for a network without text and
            cross-attention.
        adaln: how the diffusion step steers the blocks.
        long_skips: whether each block of the second half also gets the output of its mirror image.
        skip_norm: whether a long skip is normalised before its projection.
        qk_norm: norm over the queries and keys of each head.
        norm: norm everywhere else.
        dropout: probability of dropping hidden channels of the feed-forward layers while training.

    Deviation: the paper counts 24 and 28 blocks for L and XL; the released networks, and this one,
        have one more in the middle (25 and 29), which the paper's parameter counts include.
    """

    latent_channels: int = Field(default=128, ge=1)
    width: int = Field(ge=2)
    depth: int = Field(ge=0, multiple_of=2)
    heads: int = Field(ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    patch_size: int = Field(default=1, ge=1)
    text_width: int | None = Field(default=None, ge=1)
    adaln: AdaLNConfig = SolaAdaLN()
    long_skips: bool = True
    skip_norm: bool = True
    qk_norm: QKNormKind = "layernorm"
    norm: NormKind = "layernorm"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _heads_fit(self) -> DiTConfig:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of 2 x heads = {2 * self.heads}, got {self.width}"
            )
        return self

    @property
    def half(self) -> int:
        """Blocks before the middle one, and after it."""
        return self.depth // 2

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layers."""
        return hidden_width(self.width, self.mlp_ratio)

    def build(self) -> EzAudioDiT:
        """Make the network with fresh weights."""
        from ezaudio.dit.model import EzAudioDiT

        return EzAudioDiT(self)
