"""Oobleck: the convolutional waveform autoencoder of the paper (after Stable Audio, 2402.04825).

The encoder is a convolution, then one level per stride (three residual units with dilations 1, 3
and 9, Snake, a strided convolution of twice the stride's width), Snake, and a convolution to mean
and scale. The decoder mirrors it. The standard deviation is softplus(scale) + 1e-4.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.vae.blocks import NormedConv1d, ResidualUnit, Snake
from ezaudio.vae.model import Autoencoder

STD_FLOOR = 1e-4
"""Smallest standard deviation of the posterior."""

_DILATIONS = (1, 3, 9)
_EDGE_KERNEL = 7
_POSTERIOR_KERNEL = 3


class OobleckConfig(Config):
    """Size of an Oobleck autoencoder; the defaults are the released one (43.8 M parameters).

    Attributes:
        sample_rate: in Hz.
        latent_channels: C.
        base_width: width at the sample rate, multiplied per level by `multipliers`.
        multipliers: of the width, one per stride.
        strides: from the sample rate down; their product is the hop.
    """

    kind: Literal["oobleck"] = "oobleck"
    sample_rate: PositiveInt = 24_000
    latent_channels: PositiveInt = 128
    base_width: PositiveInt = 128
    multipliers: tuple[PositiveInt, ...] = (1, 2, 4, 8)
    strides: tuple[PositiveInt, ...] = (2, 4, 6, 10)

    @model_validator(mode="after")
    def _levels_agree(self) -> OobleckConfig:
        if not self.strides or len(self.strides) != len(self.multipliers) or min(self.strides) < 2:
            raise ValueError("one multiplier per stride, and every stride at least 2")
        return self

    @property
    def hop_samples(self) -> int:
        """Samples per latent frame."""
        return prod(self.strides)

    @property
    def widths(self) -> tuple[int, ...]:
        """Width at the sample rate, then after each stride."""
        return (self.base_width, *(self.base_width * m for m in self.multipliers))

    def build(self) -> OobleckAutoencoder:
        """Build the network with random weights."""
        return OobleckAutoencoder(self)


class EncoderLevel(nn.Module):
    """Residual units at the input rate, then a stride: (B, D, S) -> (B, D', S / stride)."""

    def __init__(self, width: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.units = nn.Sequential(*(ResidualUnit(width, d) for d in _DILATIONS))
        self.snake = Snake(width)
        self.down = NormedConv1d((width, width_out), 2 * stride, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, S) -> (B, D', S / stride)."""
        y: Tensor = self.down(self.snake(self.units(x)))
        return y


class DecoderLevel(nn.Module):
    """A stride up, then residual units at the output rate: (B, D, S) -> (B, D', S * stride)."""

    def __init__(self, width: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.snake = Snake(width)
        self.up = NormedConv1d((width, width_out), 2 * stride, stride=stride, transposed=True)
        self.units = nn.Sequential(*(ResidualUnit(width_out, d) for d in _DILATIONS))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, S) -> (B, D', S * stride)."""
        y: Tensor = self.units(self.up(self.snake(x)))
        return y


class Encoder(nn.Module):
    """Waveform to mean and scale: (B, 1, S) -> (B, 2 C, T)."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        widths = config.widths
        pairs = zip(widths, widths[1:], config.strides, strict=False)
        self.enter = NormedConv1d((1, widths[0]), _EDGE_KERNEL)
        self.levels = nn.Sequential(*(EncoderLevel(a, b, stride) for a, b, stride in pairs))
        self.snake = Snake(widths[-1])
        self.leave = NormedConv1d((widths[-1], 2 * config.latent_channels), _POSTERIOR_KERNEL)

    def forward(self, wave: Tensor) -> Tensor:
        """(B, 1, S) -> (B, 2 C, T)."""
        both: Tensor = self.leave(self.snake(self.levels(self.enter(wave))))
        return both


class Decoder(nn.Module):
    """Latent to waveform: (B, C, T) -> (B, 1, S)."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        pairs = zip(widths, widths[1:], config.strides[::-1], strict=False)
        self.enter = NormedConv1d((config.latent_channels, widths[0]), _EDGE_KERNEL)
        self.levels = nn.Sequential(*(DecoderLevel(a, b, stride) for a, b, stride in pairs))
        self.snake = Snake(widths[-1])
        self.leave = NormedConv1d((widths[-1], 1), _EDGE_KERNEL, bias=False)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, C, T) -> (B, 1, S)."""
        wave: Tensor = self.leave(self.snake(self.levels(self.enter(latent))))
        return wave


class OobleckAutoencoder(Autoencoder):
    """The paper's autoencoder: waveform (B, 1, S), latent (B, C, T), S = T * hop_samples."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            hop_samples=config.hop_samples,
            latent_channels=config.latent_channels,
        )
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on each side that can reach a frame of the output, in either direction."""
        return _reach(self.config, max(_POSTERIOR_KERNEL, _EDGE_KERNEL))

    def freeze_encoder(self) -> None:
        """Exclude the encoder's weights from training."""
        self.encoder.requires_grad_(False)

    def fold_weight_norm(self) -> None:
        """Multiply each direction by its length, in place; the output stays the same."""
        for module in self.modules():
            if isinstance(module, NormedConv1d):
                module.fold()

    def _encode(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self.encoder(wave).chunk(2, dim=1)  # (B, C, T) each
        return mean, F.softplus(scale) + STD_FLOOR

    def _decode(self, latent: Tensor, noise: Tensor) -> Tensor:
        wave: Tensor = self.decoder(latent)
        return wave


def _reach(config: OobleckConfig, latent_kernel: int) -> int:
    """Latent frames that a side looks to the left and right, rounded up.

    A convolution of stride s and width 2 s, plain or transposed, reaches ceil(s / 2) of its own
    finer samples beyond the coarse sample that it belongs to.
    """
    units = sum(_DILATIONS) * (ResidualUnit.KERNEL // 2)
    reach, rate = _EDGE_KERNEL // 2, 1  # in samples
    for stride in config.strides:
        reach += rate * (units + -(-stride // 2))
        rate *= stride
    reach += rate * (latent_kernel // 2)
    return -(-reach // config.hop_samples)
